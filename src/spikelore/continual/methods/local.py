"""Learners that drive a network through its contract alone: of local rules, or whatever else it learns by.

See `spikelore.networks.protocol.Network`. Stored examples are learned in one batch with the new ones, after them; a
network with the capability `Rehearsal` learns the new ones, and then rehearses the batch.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikelore.continual.memory import Memory
from spikelore.continual.records import Records
from spikelore.continual.storage import CodedSpikes, PackedSpikes, Storage, checked_inputs, form_of_inputs
from spikelore.errors import InputError, SpikeloreError
from spikelore.files import arrays_under
from spikelore.networks.gradient_learning import SPIKE_FROM
from spikelore.networks.protocol import Network, SeesSpikes
from spikelore.randomness import generator
from spikelore.shapes import Images, Labels, as_labels


class LocalLearner:
    """Naive learning: each batch is learned as it comes. Joint training is the same on a joint stream.

    Args:
        method: whose settings these are.
        network: that learns; it is changed.
        seed: root seed of what the method draws.
        tasks: number of tasks, for memories that divide by task.
    """

    drop_last = False

    def __init__(self, method: Any, network: Network, *, seed: int, tasks: int) -> None:
        self.method = method
        self.network = network
        self.seed = seed
        self.tasks = tasks
        self.questions = 0
        self.growth: list[tuple[tuple[int, ...], int]] = []
        self.memory: Memory | Records | None = None

    @property
    def classes(self) -> tuple[int, ...]:
        """Labels that the network knows."""
        return tuple(self.network.classes)

    @property
    def deciding(self) -> Network:
        """The network that decides."""
        return self.network

    @property
    def memory_images(self) -> int:
        """Places for examples of earlier tasks; see `Learner.memory_images`."""
        return self.memory.places if self.memory is not None else 0

    @property
    def memory_bytes(self) -> int:
        """Bytes of these places, or of what is held, with labels."""
        return self.memory.bytes if self.memory is not None else 0

    def begin_task(self, task: int, classes: tuple[int, ...]) -> None:
        """Hear that a task begins."""

    def begin_epoch(self, task: int) -> None:
        """Hear that a pass over a task's inputs begins."""

    def end_task(self, task: int) -> None:
        """Hear that a task has ended."""

    def grow(self, classes: tuple[int, ...], tasks: int) -> None:
        """Make room for further classes and tasks."""
        if classes:
            self.network.grow_(classes)
        self.tasks = tasks
        self.growth.append((tuple(classes), tasks))

    def learn(self, images: Images, labels: Labels, task: int) -> float:
        """Learn a batch; return 0, since local rules have no loss.

        Raises:
            InputError: images or labels of another kind, or a label that the network does not know.
        """
        images = self._checked(images)
        labels = as_labels(labels, len(images))
        unknown = sorted(set(labels.tolist()) - set(self.classes))
        if unknown:
            raise InputError(
                f"label {unknown[0]} is none of the network's classes {list(self.classes)}; make the network with it, "
                "or leave its inputs out"
            )
        self.step(images, labels, task)
        return 0.0

    def _checked(self, images: Images) -> Images:
        images, shape = checked_inputs(self.network, images), tuple(self.network.input_shape)
        if not isinstance(self.network, SeesSpikes) and tuple(images.shape[1:]) != shape:
            raise InputError(
                f"images are of shape {tuple(images.shape[1:])}, expected {shape} as the network was made for; resize "
                "them or make another network"
            )
        if not len(images):
            raise InputError("the batch has no image, expected at least one; leave it out")
        return images

    def step(self, images: Images, labels: Labels, task: int) -> None:
        """Learn a batch that was checked."""
        del task
        self.network.learn_(images, labels)

    @contextmanager
    def asked(self) -> Iterator[None]:
        """While the block runs, the network is the one that decides; afterwards learning goes on undisturbed."""
        yield
        self.questions += 1

    def decide(self, images: Images, among: Sequence[int]) -> Labels:
        """Return the class in ``among`` that each input is decided for, -1 for none.

        Raises:
            SpikeloreError: the network gives something else.
        """
        images = checked_inputs(self.network, images)
        if not len(images):
            return np.zeros(0, np.int64)
        found = np.asarray(self.network.predict(images, tuple(among)))
        if found.shape != (len(images),) or found.dtype.kind not in "iu":
            raise SpikeloreError(
                f"predict of the network gave {found.dtype} of shape {found.shape}, expected {len(images)} labels; "
                "return one whole number an input"
            )
        return found.astype(np.int64)

    def state_dict(self) -> tuple[dict[str, NDArray], str]:
        """Return everything that decides how learning goes on: arrays by name, and the rest as JSON."""
        arrays = {f"network/{name}": np.array(array) for name, array in self.network.state_dict().items()}
        if self.memory is not None:
            arrays.update({f"memory/{name}": array.copy() for name, array in self.memory.state_dict().items()})
        return arrays, json.dumps(self.facts())

    def facts(self) -> dict[str, Any]:
        """Return the part of the state that is no array."""
        found: dict[str, Any] = {"method": self.method.name, "questions": self.questions, "growth": self.growth}
        if self.memory is not None:
            found["memory generator"] = self.memory.rng.bit_generator.state
        return found

    def load_state_dict(self, arrays: Mapping[str, NDArray], facts: str) -> None:
        """Take over what `state_dict` returned for a learner that was started alike.

        Raises:
            InputError: it is of another method or network.
        """
        told = json.loads(facts)
        if told.get("method") != self.method.name:
            raise InputError(
                f"the saved state is of the method {told.get('method')!r}, expected {self.method.name!r}; start the "
                "learner as that one was started"
            )
        self.load_facts(told)
        self.network.load_state_dict(_under("network", arrays))
        if self.memory is not None:
            self.memory.load_state_dict(_under("memory", arrays))

    def load_facts(self, facts: Mapping[str, Any]) -> None:
        """Take over what `facts` returned; grows as that learner did."""
        for classes, tasks in facts["growth"]:
            self.grow(tuple(classes), tasks)
        self.questions = facts["questions"]
        if self.memory is not None:
            self.memory.rng.bit_generator.state = facts["memory generator"]


def _under(title: str, arrays: Mapping[str, NDArray]) -> dict[str, NDArray]:
    return {name: array.copy() for name, array in arrays_under(title, arrays).items()}


_Learn = Callable[[NDArray, Labels], None]


def _learn_both(
    learn: _Learn, rehearse: _Learn | None, new: tuple[NDArray, Labels], stored: tuple[NDArray, Labels]
) -> None:
    both = np.concatenate([new[0], stored[0]]), np.concatenate([new[1], stored[1]])
    if rehearse is None:
        learn(*both)
    else:
        learn(*new)
        rehearse(*both)


class LocalReplay(LocalLearner):
    """Each batch is learned together with stored examples, which are drawn anew each time; then it is offered to them.

    With ``rehearsal_steps`` a copy of the network learns from the memory alone before it is asked.
    """

    def __init__(self, method: Any, network: Network, *, seed: int, tasks: int) -> None:
        super().__init__(method, network, seed=seed, tasks=tasks)
        self.storage: Storage = self.make_storage()
        self.memory = method.memory.create(
            self.row_bytes(), len(self.classes), generator(seed, "learner", "memory"), tasks=tasks,
            tally=getattr(network, "tally", None),
        )  # fmt: skip

    def make_storage(self) -> Storage:
        """Return the form in which examples are stored."""
        kept = self.method.memory
        return form_of_inputs(self.network, kept.storage, kept.compression, coded=kept.arithmetic_coding)

    def row_bytes(self) -> int:
        """Return how many bytes the row of each stored example has."""
        return self.storage.row_bytes

    def grow(self, classes: tuple[int, ...], tasks: int) -> None:
        """Make room for further classes and tasks; the memory keeps its budget."""
        super().grow(classes, tasks)
        assert self.memory is not None
        room = self.method.memory.room(self.row_bytes(), len(self.classes))
        self.memory.resize(room, extras=0, tasks=tasks)

    def stored(self, count: int) -> tuple[Images, Labels]:
        """Draw stored examples as images."""
        assert self.memory is not None
        rows, labels, _ = self.memory.get(self.memory.sample(count, balanced=getattr(self.method, "balanced", True)))
        images = self.storage.unpack(rows)
        return (images * np.uint8(255) if self.method.memory.storage == "spikes" else images), labels

    def step(self, images: Images, labels: Labels, task: int) -> None:
        """Learn new and stored images, then offer the new ones."""
        assert self.memory is not None
        if len(self.memory):
            stored = self.stored(self.method.replay_batch)
            _learn_both(self.network.learn_, getattr(self.network, "rehearse_", None), (images, labels), stored)
        else:
            self.network.learn_(images, labels)
        self.remember(images, labels, task)

    def remember(self, images: Images, labels: Labels, task: int) -> None:
        """Offer new images to the memory."""
        assert self.memory is not None
        shown = (images >= SPIKE_FROM).astype(np.uint8) if self.method.memory.storage == "spikes" else images
        self.memory.offer(self.storage.pack(shown), labels, task=max(task, 0))

    @contextmanager
    def asked(self) -> Iterator[None]:
        """While the block runs, a copy that has rehearsed decides, if the method rehearses."""
        assert self.memory is not None
        steps, network = getattr(self.method, "rehearsal_steps", 0), self.network
        if steps and len(self.memory):
            drawn, self.memory.rng = self.memory.rng, generator(self.seed, "asked", self.questions, "memory")
            self.network = self.rehearsing()
            learn = self.again()
            for _ in range(steps * len(set(self.memory.labels.tolist()))):
                learn(*self.stored(self.method.batch))
            self.memory.rng = drawn
        try:
            with super().asked():
                yield
        finally:
            self.network = network

    def memory_state(self) -> tuple[dict[str, NDArray], Any]:
        """Return the memory's arrays and the state of its generator."""
        assert self.memory is not None
        arrays = {name: array.copy() for name, array in self.memory.state_dict().items()}
        return arrays, self.memory.rng.bit_generator.state

    def load_memory_state(self, arrays: Mapping[str, NDArray], generator_state: Any) -> None:
        """Take over what `memory_state` returned."""
        assert self.memory is not None
        self.memory.load_state_dict(arrays)
        self.memory.rng.bit_generator.state = generator_state

    def rehearsing(self) -> Network:
        """Return the copy of the network that rehearses."""
        return self.network.copy()

    def again(self) -> _Learn:
        """Return how the copy learns from the memory, all of which it has learned before."""
        return getattr(self.network, "rehearse_", self.network.learn_)


class LocalGDumb(LocalReplay):
    """Only fills the memory; when asked, a copy of the fresh network learns from the memory alone."""

    def step(self, images: Images, labels: Labels, task: int) -> None:
        """Offer the images to the memory."""
        self.remember(images, labels, task)

    def again(self) -> _Learn:
        """Return how the fresh copy learns from the memory: as from new examples."""
        return self.network.learn_


class LocalLatent(LocalReplay):
    """Spikes of layers that have stopped learning are stored in place of images, a bit each or arithmetic coded.

    Until they stop, the memory holds images, from which nothing is replayed; then each is replaced by its spikes.
    """

    network: Any

    def make_storage(self) -> Storage:
        """Return the packing of the features."""
        self._uncompressed()
        packed = PackedSpikes(tuple(self.network.feature_shape))
        return CodedSpikes(packed) if self.method.memory.arithmetic_coding else packed

    def _uncompressed(self) -> None:
        if self.method.memory.compression > 1:
            raise InputError(
                f"memory.compression is {self.method.memory.compression}, expected 1 with a "
                f"{self.network.name} network, whose features are no spikes over steps; leave it out"
            )

    def _images(self) -> Storage:
        return form_of_inputs(self.network)

    def row_bytes(self) -> int:
        """Return the bytes of an image or of its packed spikes, whichever are more."""
        return max(self.storage.row_bytes, self._images().row_bytes)

    def step(self, images: Images, labels: Labels, task: int) -> None:
        """Learn new images with stored spikes, then offer the new ones."""
        assert self.memory is not None
        if not self.network.features_frozen:
            self.network.learn_(images, labels)
            self.memory.offer(self._images().pack(images), labels, task=max(task, 0))
            if self.network.features_frozen:
                self._encode_what_is_held()
            return
        features = self.network.encode_features(images)
        if len(self.memory):
            rows, stored_labels, _ = self.memory.get(
                self.memory.sample(self.method.replay_batch, balanced=self.method.balanced)
            )
            stored = self.storage.unpack(rows).astype(np.bool_), stored_labels
            rehearse = getattr(self.network, "rehearse_features_", None)
            _learn_both(self.network.learn_features_, rehearse, (features, labels), stored)
        else:
            self.network.learn_features_(features, labels)
        self.memory.offer(self.storage.pack(features.astype(np.uint8)), labels, task=max(task, 0))

    def _encode_what_is_held(self) -> None:
        assert self.memory is not None
        taken = self.memory.taken()
        if len(taken):
            rows, _, _ = self.memory.get(taken)
            features = self.network.encode_features(self._images().unpack(rows))
            self.memory.replace(taken, self.storage.pack(features.astype(np.uint8)))
