"""The networks and methods that are crossed, third-party ones among them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, ClassVar

import numpy as np
import torch

import spikelore as sl
from spikelore.networks.protocol import Cost

TASKS = ((0, 1), (2, 3))
MEMORY = sl.Memory(images=40)


@cache
def small_stream() -> sl.Stream:
    """Two tasks of two digits, 60 training and 20 test images a class."""
    stream = sl.split_stream("digits-sample", TASKS)

    def some(images, count):
        keep = [np.flatnonzero(images.labels == label)[:count] for label in np.unique(images.labels)]
        return images.take(np.sort(np.concatenate(keep)))

    tasks = [replace(task, train=some(task.train, 60), test=some(task.test, 20)) for task in stream.tasks]
    return replace(stream, tasks=tuple(tasks))


class NearestMean:
    """A network of somebody else's: not one neuron spikes in it, and it inherits from nothing."""

    name = "nearest mean"

    def __init__(self, classes: tuple[int, ...], input_shape: tuple[int, int]) -> None:
        self.classes, self.input_shape = classes, input_shape
        self.sums = np.zeros((len(classes), *input_shape))
        self.counts = np.zeros(len(classes))

    @classmethod
    def for_stream(cls, stream, seed=0):
        return cls(stream.classes, stream.tasks[0].train.images.shape[1:])

    def learn_(self, inputs, labels):
        for image, label in zip(inputs, labels, strict=True):
            column = self.classes.index(label)
            self.sums[column] += image
            self.counts[column] += 1

    def class_scores(self, inputs):
        means = self.sums / np.maximum(self.counts, 1)[:, None, None]
        return -((inputs[:, None].astype(float) - means) ** 2).sum((2, 3)).astype(np.float32)

    def predict(self, inputs, among=()):
        columns = [column for column, label in enumerate(self.classes) if label in (among or self.classes)]
        return np.array(self.classes)[np.array(columns)[self.class_scores(inputs)[:, columns].argmax(1)]]

    def cost(self, inputs):
        return Cost(0.0, 0.0, float(self.sums.size))

    def copy(self):
        other = type(self)(self.classes, self.input_shape)
        other.load_state_dict(self.state_dict())
        return other

    def grow_(self, classes):
        self.classes = (*self.classes, *classes)
        self.sums = np.concatenate([self.sums, np.zeros((len(classes), *self.input_shape))])
        self.counts = np.concatenate([self.counts, np.zeros(len(classes))])

    def state_dict(self):
        return {"sums": self.sums.copy(), "counts": self.counts.copy()}

    def load_state_dict(self, state):
        self.sums, self.counts = state["sums"].copy(), state["counts"].copy()

    def save(self, path):
        np.savez(path, **self.state_dict())

    @classmethod
    def load(cls, path):
        raise NotImplementedError


class Rates(torch.nn.Module):
    """A torch module of somebody else's: linear layers of integrate-and-fire neurons over four steps."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layer, self.head = torch.nn.Linear(784, 40), torch.nn.Linear(40, classes)

    def forward(self, images):
        hidden = torch.relu(self.layer(images.flatten(1)))
        return torch.sigmoid(self.head(hidden)).expand(4, len(images), -1)


@dataclass(frozen=True, kw_only=True)
class SkipsEverySecond(sl.Method):
    """A method of somebody else's: it learns from every second batch."""

    name: ClassVar[str] = "every second"

    def start(self, network, *, seed=0, tasks=1):
        self.check(network)
        return EverySecond(sl.Naive(batch=self.batch, epochs=self.epochs).start(network, seed=seed, tasks=tasks))


class EverySecond:
    def __init__(self, learner: Any) -> None:
        self.learner, self.batches = learner, 0

    def __getattr__(self, name):
        return getattr(self.learner, name)

    def learn(self, images, labels, task):
        self.batches += 1
        return self.learner.learn(images, labels, task) if self.batches % 2 else 0.0

    def state_dict(self):
        arrays, facts = self.learner.state_dict()
        return {**arrays, "batches": np.array([self.batches])}, facts

    def load_state_dict(self, arrays, facts):
        rest = dict(arrays)
        self.batches = int(rest.pop("batches")[0])
        self.learner.load_state_dict(rest, facts)


@dataclass(frozen=True, kw_only=True)
class AGem(sl.GradientReplay):
    """A method of somebody else's that edits gradients (Chaudhry et al. 2019, arXiv 1812.00420)."""

    name: ClassVar[str] = "a-gem"

    def gradient(self, learner, new, stored):
        dot = new @ stored
        return new if dot >= 0 else new - dot / (stored @ stored) * stored


NETWORKS: dict[str, Callable[[sl.Stream], Any]] = {
    "surrogate": lambda stream: sl.SurrogateNetwork.for_stream(stream, seed=0, hidden=(32,), units_per_class=6),
    "first-spike": lambda stream: sl.FirstSpikeNetwork.for_stream(stream, seed=0),
    "rate-lif": lambda stream: sl.RateLIFNetwork.for_stream(stream, seed=0, neurons_per_class=10),
    "wrapped": lambda stream: sl.TorchNetwork(
        Rates(len(stream.classes)), stream.classes, (28, 28), name="wrapped", learning=sl.GradientLearning(5e-3)
    ),
    "nearest mean": NearestMean.for_stream,
}
"""Each network by name, made for a stream."""

STEPS = {"batch": 8, "epochs": 3}
NAIVE = sl.Naive(**STEPS)
METHODS: dict[str, sl.Method] = {
    "naive": NAIVE,
    "joint": sl.Joint(**STEPS),
    "experience replay": sl.Replay(memory=MEMORY, **STEPS, replay_batch=8),
    "published replay": sl.PublishedReplay(stored_batches=2, **STEPS),
    "gdumb": sl.GDumb(memory=MEMORY, rehearsal_steps=30, **STEPS),
    "der++": sl.DarkReplay(memory=MEMORY, **STEPS, replay_batch=8),
    "latent replay": sl.LatentReplay(memory=MEMORY, **STEPS, replay_batch=8, freeze_after=60),
    "ewc": sl.ElasticWeightConsolidation(**STEPS, fisher_images=20),
    "lwf": sl.LearningWithoutForgetting(**STEPS),
    "a-gem": AGem(memory=MEMORY, **STEPS, replay_batch=8),
    "online decay": sl.OnlineDecay(base=NAIVE, tau_prune_images=200.0),
    "decay, replay": sl.OnlineDecay(base=sl.Replay(memory=MEMORY, **STEPS, replay_batch=8), tau_prune_images=200.0),
    "decay once": sl.DecayOnce(base=NAIVE, tau_prune_images=400.0),
    "weight decay": sl.WeightDecay(base=NAIVE, tau_images=2000.0),
    "pruning, smallest": sl.Pruning(base=NAIVE, share=0.2),
    "pruning, random": sl.Pruning(base=NAIVE, share=0.05, choice="random"),
    "protected units": sl.Protection(base=NAIVE),
    "fusion, top fraction": sl.Fusion(base=NAIVE, selection="top fraction"),
    "fusion, merge": sl.Fusion(base=NAIVE),
    "bagging": sl.Fusion(base=NAIVE, selection="bagging"),
    "fusion, then replay": sl.FusionThenReplay(base=NAIVE, memory=MEMORY),
    "every second": SkipsEverySecond(**STEPS),
}
"""Each method by the name of its row."""

CELLS = [(network, method) for network in NETWORKS for method in METHODS]
