"""The networks and methods that are crossed, third-party ones among them."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

import spikelore as sl
from spikelore.data.events import Events
from spikelore.data.examples import Examples

sys.path.append(str(Path(__file__).parents[2] / "examples"))
from agem import AGem
from own_network import NearestMean

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


@cache
def spike_stream() -> sl.Stream:
    """Recordings of 24 units over 100 ms: in each class another part of them is active first, another later."""
    rng = np.random.default_rng(0)

    def some(classes, count):
        labels = np.repeat(classes, count)
        rng.shuffle(labels)
        recordings = []
        for label in labels.tolist():
            shown = rng.random((2, 5, 24)) < 0.08
            for part, first in zip(shown, (6 * label, 6 * label + 9), strict=True):
                part[:, np.arange(first, first + 6) % 24] = rng.random((5, 6)) < 0.8
            steps, units = np.nonzero(shown.reshape(10, 24))
            recordings.append((steps * 10_000 + 5_000, units))
        return Examples(Events.of_recordings(recordings, (24,)), labels)

    tasks = [
        sl.Task(f"{low}, {high}", (low, high), some((low, high), 60), some((low, high), 10), some((low, high), 20))
        for low, high in TASKS
    ]
    return sl.Stream("class-incremental", tuple(tasks))


def stream_of(network: str) -> sl.Stream:
    """Return the small stream whose inputs a network takes."""
    return spike_stream() if network == "recurrent" else small_stream()


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


def surrogate(stream: sl.Stream, learning: sl.GradientLearning | None = None) -> sl.SurrogateNetwork:
    """Return a surrogate network with six output units a class."""
    return sl.SurrogateNetwork.for_stream(stream, seed=0, learning=learning, hidden=(32,), units_per_class=6)


NETWORKS: dict[str, Callable[[sl.Stream], Any]] = {
    "surrogate": surrogate,
    "first-spike": lambda stream: sl.FirstSpikeNetwork.for_stream(stream, seed=0),
    "rate-lif": lambda stream: sl.RateLIFNetwork.for_stream(stream, seed=0, neurons_per_class=10),
    "recurrent": lambda stream: sl.RecurrentNetwork.for_stream(
        stream,
        seed=0,
        hidden=(24, 16),
        units_per_class=6,
        learning=sl.GradientLearning(learning_rate=5e-3, readout="mean", averaging=0.98),
    ),
    "wrapped": lambda stream: sl.TorchNetwork(
        Rates(len(stream.classes)), stream.classes, (28, 28), name="wrapped", learning=sl.GradientLearning(5e-3)
    ),
    "nearest mean": NearestMean.for_stream,
}
"""Each network by name, made for a stream."""


def methods(memory: sl.Memory, **steps: int) -> dict[str, sl.Method]:
    """Return each method by the name of its row, with a memory and with passes and batches."""
    naive, replay = sl.Naive(**steps), {"memory": memory, **steps, "replay_batch": 8}
    return {
        "naive": naive,
        "joint": sl.Joint(**steps),
        "experience replay": sl.Replay(**replay),
        "published replay": sl.PublishedReplay(stored_batches=2, **steps),
        "gdumb": sl.GDumb(memory=memory, rehearsal_steps=30, **steps),
        "der++": sl.DarkReplay(**replay),
        "latent replay": sl.LatentReplay(**replay),
        "ewc": sl.ElasticWeightConsolidation(**steps, fisher_images=20),
        "nearest prototype": sl.NearestPrototype(**steps),
        "slda": sl.StreamingDiscriminant(**steps),
        "si": sl.SynapticIntelligence(**steps),
        "hlop": sl.HebbianProjection(**steps),
        "sleep": sl.SleepReplay(**steps, sleep_images=50, potentiation=0.0001, depression=0.0003),
        "nearest subspace": sl.NearestSubspace(units=20, **steps),
        "lwf": sl.LearningWithoutForgetting(**steps),
        "a-gem": AGem(**replay),
        "online decay": sl.OnlineDecay(base=naive, tau_prune_images=200.0),
        "decay, replay": sl.OnlineDecay(base=sl.Replay(**replay), tau_prune_images=200.0),
        "decay once": sl.DecayOnce(base=naive, tau_prune_images=400.0),
        "weight decay": sl.WeightDecay(base=naive, tau_images=2000.0),
        "pruning, smallest": sl.Pruning(base=naive, share=0.2),
        "pruning, random": sl.Pruning(base=naive, share=0.05, choice="random"),
        "protected units": sl.Protection(base=naive),
        "fusion, top fraction": sl.Fusion(base=naive, selection="top fraction"),
        "fusion, merge": sl.Fusion(base=naive),
        "bagging": sl.Fusion(base=naive, selection="bagging"),
        "fusion, then replay": sl.FusionThenReplay(base=naive, memory=memory),
        "rate noise": sl.RateNoise(base=naive),
        "frozen weights": sl.FrozenWeights(base=naive),
        "langevin bounds": sl.LangevinBounds(base=naive, images=40, records=10),
        "pseudo-rehearsal": sl.PseudoRehearsal(base=naive, images=60),
        "every second": SkipsEverySecond(**steps),
    }


STEPS = {"batch": 8, "epochs": 3}
NAIVE = sl.Naive(**STEPS)
METHODS = methods(MEMORY, **STEPS)
"""Those of the suite, for its small stream."""

CELLS = [(network, method) for network in NETWORKS for method in METHODS]
