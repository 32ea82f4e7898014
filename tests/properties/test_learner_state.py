"""What a learner saves is everything: restored after any batch in a fresh object, it goes on bit for bit."""

from dataclasses import replace

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from methods_by_name import create, settings_of
from spikelore.continual.memory import POLICIES
from spikelore.continual.methods import METHODS, MemorySettings, NearestPrototype
from spikelore.kernels.lif_scan import Leaky
from spikelore.networks.gradient_learning import Augmentation
from spikelore.networks.surrogate import SurrogateConfig, SurrogateNetwork
from spikelore.randomness import torch_generator

SIDE = 6
TASKS = ((0, 1), (2, 3), (4, 5))
GROWS_BEFORE = 2
"""The third task's classes are not known when learning begins."""
BATCHES, SIZE = 3, 6
NETWORK = SurrogateConfig(
    image=(1, SIDE, SIDE), channels=(3,), kernel=3, classes=4, steps=2,
    neuron=Leaky(beta=0.9, threshold=0.2, surrogate="atan", slope=2.0),
)  # fmt: skip


class Noisy(nn.Module):
    """A module of someone's own: draws from torch's global generator, keeps buffers, gets further outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(SIDE**2, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.4))
        self.heads = nn.ModuleList([nn.Linear(12, 4)])

    def add_head(self, classes: int) -> None:
        self.heads.append(nn.Linear(12, classes))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = torch.cat([head(self.body(images)) for head in self.heads], 1)
        return (logits.unsqueeze(0) > torch.rand(3, 1, 1)).float() + logits.sigmoid()


def new_learner(told, memory: MemorySettings, kind: str):
    torch.manual_seed(5)
    if kind == "a module of one's own":
        network = Noisy()
    else:
        published = {"membrane": "reinitialised"} if told.method == "published replay" else {}
        config = replace(NETWORK, coding=kind, classes=0 if told.grow_heads else 4, **published)
        network = SurrogateNetwork(config, torch_generator(1, "network"))
    return create(network, told, memory, (0, 1, 2, 3), (SIDE, SIDE), 2, 2)


def moments(learner, first: int, last: int) -> None:
    """Live through the moments ``first`` to ``last``: what comes before each batch belongs to it."""
    for moment in range(first, last):
        task, number = divmod(moment, BATCHES)
        rng = np.random.default_rng(moment)
        if number == 0:
            if moment:
                learner.end_task(task - 1)
                with learner.asked():
                    learner.decide(rng.integers(0, 256, (4, SIDE, SIDE)).astype(np.uint8), (0, 1))
            if task == GROWS_BEFORE:
                learner.grow(TASKS[task], len(TASKS))
            learner.begin_task(task, TASKS[task])
            learner.begin_epoch(task)
        labels = rng.choice(TASKS[task], SIZE).astype(np.int64)
        images = (rng.integers(0, 100, (SIZE, SIDE, SIDE)) + 25 * labels[:, None, None]).astype(np.uint8)
        learner.learn(images, labels, task)


@st.composite
def cases(draw):
    method = draw(st.sampled_from([*METHODS]))
    kinds = ["constant", "bernoulli", "bernoulli_once"]
    frozen = issubclass(METHODS[method], NearestPrototype)
    if not frozen and method not in ("latent replay", "published replay", "sleep"):
        kinds.append("a module of one's own")
    own = (
        {"freeze_after": draw(st.sampled_from([0, 20])), "units": 2}
        if frozen
        else {
            "published replay": {"stored_batches": 2, "grow_heads": draw(st.booleans())},
            "gdumb": {"rehearsal_steps": 2},
            "si": {"consolidate_after": draw(st.sampled_from([0, 2 * SIZE]))},
            "hlop": {"subspace_share": 0.3},
            "sleep": {"sleep_images": 5, "gain": 5.0, "potentiation": 0.01, "depression": 0.01},
            "latent replay": {"freeze_after": draw(st.sampled_from([1, 20]))},
        }.get(method, {})
    )
    changes = Augmentation(rotation=9, scale=0.1, shift=1, elastic=0.4) if draw(st.booleans()) else Augmentation()
    storage = "raw" if method == "latent replay" else draw(st.sampled_from(["raw", "spikes"]))
    seen = "spikes" if storage == "spikes" and method != "published replay" else "grey"
    told = settings_of(
        method, input=seen, batch=SIZE, replay_batch=SIZE, learning_rate=5e-3, fisher_images=4, augmentation=changes,
        averaging=draw(st.sampled_from([0.0, 0.9])), balanced_replay=draw(st.booleans()), **own,
    )  # fmt: skip
    size = draw(st.sampled_from([{"images": 9}, {"bytes": 9 * (SIDE**2 + 1 + 4 * 4)}]))
    coded = "bytes" in size and (storage == "spikes" or method == "latent replay") and draw(st.booleans())
    memory = MemorySettings(policy=draw(st.sampled_from(POLICIES)), storage=storage, arithmetic_coding=coded, **size)
    return told, memory, draw(st.sampled_from(kinds)), draw(st.integers(0, BATCHES * len(TASKS)))


@settings(max_examples=60, deadline=None)
@given(case=cases())
def test_a_learner_restored_after_any_batch_goes_on_bit_for_bit(case):
    told, memory, kind, stop = case
    end = BATCHES * len(TASKS)
    whole, stopped = new_learner(told, memory, kind), new_learner(told, memory, kind)
    moments(whole, 0, end)
    moments(stopped, 0, stop)
    saved = stopped.state_dict()
    restored = new_learner(told, memory, kind)
    torch.manual_seed(77)  # another process's
    restored.load_state_dict(*saved)
    moments(restored, stop, end)
    (mine, facts), (theirs, others) = whole.state_dict(), restored.state_dict()
    assert facts == others
    assert mine.keys() == theirs.keys()
    for name in mine:
        assert mine[name].tobytes() == theirs[name].tobytes(), name
    images = np.random.default_rng(9).integers(0, 256, (20, SIDE, SIDE)).astype(np.uint8)
    decided = []
    for learner in (whole, restored):
        with learner.asked():
            decided.append(learner.decide(images, learner.classes).tolist())
    assert decided[0] == decided[1]
    if memory.bytes and hasattr(whole, "memory"):
        assert whole.memory_bytes <= memory.bytes
