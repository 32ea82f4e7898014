"""Methods that work around another one: use it or lose it, pruning, protection, and networks trained apart and fused.

Each has a ``base``, the method by which the network learns meanwhile; naive learning if not given. It reaches the
network through its contract alone, so it works beside every base and on every network with the capability.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from spikelore.continual import fusion, importance, unused_decay
from spikelore.continual.method import Learner, Method
from spikelore.continual.methods.local import LocalReplay
from spikelore.continual.methods.settings import MemorySettings, Naive
from spikelore.continual.storage import checked_inputs
from spikelore.errors import InputError, check_fields, check_whole
from spikelore.files import arrays_beside, arrays_under
from spikelore.networks.protocol import Network, Synapses, Units, arrays_of, synapses_changed_
from spikelore.randomness import generator
from spikelore.shapes import Images, Labels

_HERE = __name__
IMAGE_MS = 500.0
"""How long an input is shown, with its pause, in the published experiment."""


@dataclass(frozen=True, kw_only=True)
class Around(Method):
    """What such methods share: passes and batches are those of the ``base``.

    Attributes:
        base: how the network learns meanwhile.
    """

    base: Method = field(default_factory=Naive)
    epochs: int = field(init=False, repr=False, default=1)
    batch: int = field(init=False, repr=False, default=32)

    def __post_init__(self) -> None:
        object.__setattr__(self, "epochs", self.base.epochs)
        object.__setattr__(self, "batch", self.base.batch)
        object.__setattr__(self, "boundaries", self.boundaries or self.base.boundaries)
        check_fields(self)
        super().__post_init__()

    def why_not(self, network: Any) -> str | None:
        """Return why it has no meaning on a network: its own needs, then those of its base."""
        return super().why_not(network) or self.base.why_not(network)


class AroundLearner:
    """Passes everything on to the base's learner; subclasses add to it.

    Args:
        method: whose learner it is.
        network: that learns.
        seed: root seed.
        tasks: number of tasks to come.
    """

    def __init__(self, method: Any, network: Any, *, seed: int, tasks: int) -> None:
        self.method = method
        self.network = network
        self.seed = seed
        self.learner: Learner = method.base.start(network, seed=seed, tasks=tasks)

    def __getattr__(self, name: str) -> Any:
        if name == "learner":
            raise AttributeError(name)
        return getattr(self.learner, name)

    @property
    def deciding(self) -> Any:
        """The network that decides."""
        return getattr(self.learner, "deciding", self.network)


@dataclass(frozen=True, kw_only=True)
class OnlineDecay(Around):
    """Use it or lose it while learning: synapses that go unused fade; see `spikelore.continual.unused_decay`.

    Attributes:
        tau_prune_images: the time constant tau_prune, in inputs shown; 0 for the published 5 a class.
        period_images: inputs between two ticks, which is how rarely a synapse may be used at no cost.
        strength: the coefficient k.
    """

    name: ClassVar[str] = "online decay"
    needs: ClassVar[tuple[type, ...]] = (Synapses,)
    learner: ClassVar[Any] = f"{_HERE}:Ticking"

    tau_prune_images: float = 0.0
    period_images: int = 100
    strength: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("period_images", self.period_images, 1)

    def ticking(self, network: Network) -> unused_decay.OnlineDecay:
        """Return what charges a layer of a network."""
        images = self.tau_prune_images or 5 * len(network.classes)
        return unused_decay.OnlineDecay(
            tau_prune_ms=images * IMAGE_MS, period_ms=self.period_images * IMAGE_MS, strength=self.strength
        )


@dataclass(frozen=True, kw_only=True)
class WeightDecay(Around):
    """The baseline that looks at no use: all weights shrink alike, ``dw/dt = -w / tau``.

    Attributes:
        tau_images: the time constant, in inputs shown.
        period_images: inputs between two ticks.
    """

    name: ClassVar[str] = "weight decay"
    needs: ClassVar[tuple[type, ...]] = (Synapses,)
    learner: ClassVar[Any] = f"{_HERE}:Ticking"

    tau_images: float = 100_000.0
    period_images: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("period_images", self.period_images, 1)

    def ticking(self, network: Network) -> unused_decay.WeightDecay:
        """Return what charges a layer of a network."""
        del network
        return unused_decay.WeightDecay(tau_ms=self.tau_images * IMAGE_MS)


class Ticking(AroundLearner):
    """After each batch the clocks run on, and after each period every layer is charged."""

    def __init__(self, method: Any, network: Any, *, seed: int, tasks: int) -> None:
        super().__init__(method, network, seed=seed, tasks=tasks)
        self.tickings: dict[str, Any] = {}
        self.waiting = 0

    def learn(self, images: Images, labels: Labels, task: int) -> float:
        """Let the base learn, then charge what went unused."""
        loss = self.learner.learn(images, labels, task)
        self.network.use_(checked_inputs(self.network, images))
        self.waiting += len(images)
        if self.waiting >= self.method.period_images:
            self.waiting = 0
            for name, synapses in self.network.synapses().items():
                self._ticking(name).tick_(synapses)
            synapses_changed_(self.network)
        return loss

    def _ticking(self, name: str) -> Any:
        """Return what charges a layer, which may have come with further classes."""
        return self.tickings.get(name) or self.tickings.setdefault(name, self.method.ticking(self.network))

    def state_dict(self) -> tuple[dict[str, NDArray], str]:
        """Return the ticks beside the base's state."""
        arrays, facts = self.learner.state_dict()
        for name, ticking in self.tickings.items():
            arrays |= {f"decay/{name}/{key}": value for key, value in ticking.state_dict().items()}
        return {**arrays, "decay/waiting": np.array([self.waiting])}, facts

    def load_state_dict(self, arrays: Mapping[str, NDArray], facts: str) -> None:
        """Take over what `state_dict` returned."""
        own = arrays_under("decay", arrays)
        self.learner.load_state_dict(arrays_beside(["decay"], arrays), facts)
        self.waiting = int(own["waiting"][0])
        for name in self.network.synapses():
            if state := arrays_under(name, own):
                self._ticking(name).load_state_dict(state)


@dataclass(frozen=True, kw_only=True)
class DecayOnce(Around):
    """Use it or lose it as published: once, on the network that decides, after it has learned.

    Attributes:
        tau_prune_images: the time constant tau_prune, in inputs shown; 0 for the published 5 a class.
        strength: the coefficient k.
    """

    name: ClassVar[str] = "decay once"
    needs: ClassVar[tuple[type, ...]] = (Synapses,)
    learner: ClassVar[Any] = f"{_HERE}:WhenAsked"

    tau_prune_images: float = 0.0
    strength: float = 1.0

    def change_(self, synapses: Any, network: Network, rng: np.random.Generator) -> None:
        """Let a layer of the network that is asked fade."""
        del rng
        tau = (self.tau_prune_images or 5 * len(network.classes)) * IMAGE_MS
        unused_decay.decay_unused_(synapses, tau_prune_ms=tau, strength=self.strength)


@dataclass(frozen=True, kw_only=True)
class Pruning(Around):
    """A share of each layer's synapses is set to zero in the network that decides.

    Attributes:
        share: of the synapses of each layer.
        choice: the ``smallest`` weights, or a ``random`` share.
    """

    name: ClassVar[str] = "pruning"
    needs: ClassVar[tuple[type, ...]] = (Synapses,)
    learner: ClassVar[Any] = f"{_HERE}:WhenAsked"

    share: float = 0.5
    choice: Literal["smallest", "random"] = "smallest"

    def change_(self, synapses: Any, network: Network, rng: np.random.Generator) -> None:
        """Prune a layer of the network that is asked."""
        del network
        if self.choice == "smallest":
            unused_decay.prune_smallest_(synapses, self.share)
        else:
            unused_decay.prune_random_(synapses, self.share, rng)


class WhenAsked(AroundLearner):
    """While the network is asked, something is done to its synapses; afterwards they are as they were."""

    def learn(self, images: Images, labels: Labels, task: int) -> float:
        """Let the base learn and the clocks run on."""
        loss = self.learner.learn(images, labels, task)
        self.network.use_(checked_inputs(self.network, images))
        return loss

    @contextmanager
    def asked(self) -> Iterator[None]:
        """While the block runs, the changed network decides."""
        with self.learner.asked():
            rng, network = generator(self.seed, "pruning"), self.deciding
            layers = list(network.synapses().values())
            kept = [layer.weights.copy() for layer in layers]
            for layer in layers:
                self.method.change_(layer, network, rng)
            synapses_changed_(network)
            try:
                yield
            finally:
                for layer, weights in zip(layers, kept, strict=True):
                    layer.weights[...] = weights
                synapses_changed_(network)


def _check_importance(name: str) -> None:
    if name not in importance.FROM_WEIGHTS:
        known = ", ".join(importance.FROM_WEIGHTS)
        raise InputError(f"importance is {name!r}, expected one of {known}; choose one")


@dataclass(frozen=True, kw_only=True)
class Protection(Around):
    """After each task the most important units of its classes are protected: they keep their weights from then on.

    Attributes:
        share: of the units of each class that the task had.
        importance: what ranks units; a name in `spikelore.continual.importance.FROM_WEIGHTS`.

    Source: learning on after fusion, Antonov & Sukhov 2022.
    """

    name: ClassVar[str] = "protected units"
    needs: ClassVar[tuple[type, ...]] = (Units,)
    boundaries: ClassVar[bool] = True
    learner: ClassVar[Any] = f"{_HERE}:Protecting"

    share: float = 0.5
    importance: str = "top fraction"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.share <= 1:
            raise InputError(f"share is {self.share}, expected 0 to 1; give the share of units to protect")
        _check_importance(self.importance)


class Protecting(AroundLearner):
    """Protects units after each task."""

    current: tuple[int, ...] = ()

    def begin_task(self, task: int, classes: tuple[int, ...]) -> None:
        """Hear which classes the task has."""
        self.current = classes
        self.learner.begin_task(task, classes)

    def end_task(self, task: int) -> None:
        """Protect the most important units of the task's classes."""
        self.learner.end_task(task)
        network, method = self.network, self.method
        ranks = importance.FROM_WEIGHTS[method.importance](network.unit_weights)
        owners, plasticity = network.unit_classes, network.unit_plasticity.copy()
        budget = {one: round(method.share * int((owners == one).sum())) for one in self.current}
        plasticity[fusion.select(network, ranks, budget)] = 0.0
        network.unit_plasticity = plasticity

    def state_dict(self) -> tuple[dict[str, NDArray], str]:
        """Return what is protected beside the base's state."""
        arrays, facts = self.learner.state_dict()
        own = {"protected/plasticity": self.network.unit_plasticity.copy()}
        return {**arrays, **own, "protected/current": np.array(self.current, np.int64)}, facts

    def load_state_dict(self, arrays: Mapping[str, NDArray], facts: str) -> None:
        """Take over what `state_dict` returned."""
        own = arrays_under("protected", arrays)
        self.learner.load_state_dict(arrays_beside(["protected"], arrays), facts)
        self.network.unit_plasticity = own["plasticity"].copy()
        self.current = tuple(own["current"].tolist())


@dataclass(frozen=True, kw_only=True)
class Fusion(Around):
    """Each task is learned apart by fresh units on the same features; then these are fused with what is known.

    The network keeps its size; ``bagging`` keeps all units and grows. Features learn in the first task alone. Nothing
    of earlier tasks is stored but the units.

    Attributes:
        selection: which units stay: an importance by name, ``merge`` for means of similar ones (Ward), ``assignment``
            for one of each Hungarian pair, for tasks of the same classes, or ``bagging`` for all.
        score: how units of different networks compete, a name in `spikelore.continual.fusion.SCORES`; if not given,
            what the network's units compete by (its ``unit_score``), else ``raw``.

    Source: Antonov & Sukhov 2022 (doi 10.1109/ITNT55410.2022.9848660).
    """

    name: ClassVar[str] = "fusion"
    needs: ClassVar[tuple[type, ...]] = (Units,)
    boundaries: ClassVar[bool] = True
    learner: ClassVar[Any] = f"{_HERE}:Fusing"

    selection: str = "merge"
    score: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        known = (*importance.FROM_WEIGHTS, "merge", "assignment", "bagging")
        if self.selection not in known:
            raise InputError(f"selection is {self.selection!r}, expected one of {', '.join(known)}; choose one")
        if self.score and self.score not in fusion.SCORES:
            raise InputError(f"score is {self.score!r}, expected one of {', '.join(fusion.SCORES)}; choose one")

    def fused(self, known: Any, new: Any, size: int) -> Any:
        """Return one network of ``size`` units of what is known and what was learned apart."""
        score = self.score or getattr(new, "unit_score", "raw")
        if self.selection == "bagging":
            return fusion.bagging([known, new], score=score)
        if self.selection == "assignment":
            return fusion.fuse_by_assignment(known, new, score=score)
        budgets = _within([known, new], fusion.equal_budgets([known, new], size))
        if self.selection == "merge":
            return fusion.merge([known, new], budgets=budgets, score=score)
        return fusion.fuse([known, new], importances=self.selection, budgets=budgets, score=score)


def _within(networks: list[Any], budgets: list[dict[int, int]]) -> list[dict[int, int]]:
    """Return budgets that ask no network for more units of a class than it has."""
    return [
        {one: min(units, int((network.unit_classes == one).sum())) for one, units in budget.items()}
        for network, budget in zip(networks, budgets, strict=True)
    ]


class Fusing(AroundLearner):
    """The base learns a network of the task's classes alone; ``known`` is what was fused so far."""

    def __init__(self, method: Any, network: Any, *, seed: int, tasks: int) -> None:
        super().__init__(method, network, seed=seed, tasks=tasks)
        self.size = len(network.unit_classes)
        self.tasks = tasks
        self.known: Any = None
        self.apart: Any = network
        self.begun: tuple[int, tuple[int, ...]] | None = None

    @property
    def classes(self) -> tuple[int, ...]:
        """The classes of the network that it was started with."""
        return tuple(self.network.classes)

    @property
    def deciding(self) -> Any:
        """What was fused so far; during the first task the network that learns it."""
        return self.apart if self.known is None else self.known

    @property
    def memory_bytes(self) -> int:
        """Bytes of the units that stand for earlier tasks."""
        return 0 if self.known is None else int(self.known.unit_weights.nbytes)

    def grow(self, classes: tuple[int, ...], tasks: int) -> None:
        """Make room for further classes: their units come with their task."""
        self.network.grow_(classes)
        self.tasks = tasks

    def begin_task(self, task: int, classes: tuple[int, ...]) -> None:
        """Begin with fresh units for the task's classes."""
        self._begin(task, tuple(classes))
        self.learner.begin_task(0, tuple(classes))

    def _begin(self, task: int, classes: tuple[int, ...]) -> None:
        self.begun = task, classes
        self.apart = self.deciding.with_fresh_units(classes, self.seed + task)
        self.learner = self.method.base.start(self.apart, seed=self.seed + task, tasks=1)

    def learn(self, images: Images, labels: Labels, task: int) -> float:
        """Let the network apart learn."""
        del task
        return self.learner.learn(images, labels, 0)

    def end_task(self, task: int) -> None:
        """Freeze the features, which later tasks share, and fuse what the task taught with what is known."""
        self.learner.end_task(0)
        self.apart.freeze_features_()
        self.known = self.apart.copy() if self.known is None else self.method.fused(self.known, self.apart, self.size)

    def decide(self, images: Images, among: tuple[int, ...]) -> Labels:
        """Let the fused network decide, among the classes that it has units for."""
        return self.deciding.predict(images, tuple(each for each in among if each in self.deciding.classes))

    def state_dict(self) -> tuple[dict[str, NDArray], str]:
        """Return what was fused so far beside the state of the learner apart."""
        arrays, facts = self.learner.state_dict()
        if self.known is not None:
            state = {name: array.copy() for name, array in arrays_of(self.known).items()}
            units = {"weights": self.known.unit_weights.copy(), "classes": self.known.unit_classes.copy()}
            arrays = {
                **arrays,
                **{f"known/{name}": array for name, array in state.items()},
                **{f"units/{name}": array for name, array in units.items()},
            }
        return arrays, json.dumps({"apart": facts, "begun": self.begun})

    def load_state_dict(self, arrays: Mapping[str, NDArray], facts: str) -> None:
        """Take over what `state_dict` returned."""
        told, units = json.loads(facts), arrays_under("units", arrays)
        if units:
            self.known = self.network.with_units(units["weights"], units["classes"])
            self.known.load_state_dict(arrays_under("known", arrays))
        if told["begun"]:
            self._begin(told["begun"][0], tuple(told["begun"][1]))
        self.learner.load_state_dict(arrays_beside(["known", "units"], arrays), told["apart"])


@dataclass(frozen=True, kw_only=True)
class FusionThenReplay(Fusion):
    """`Fusion`, and after each one the fused network learns from a memory of all tasks.

    Attributes:
        memory: what may be kept.
        replay_steps: batches from the memory after each fusion, for each class known.
    """

    name: ClassVar[str] = "fusion, then replay"
    learner: ClassVar[Any] = f"{_HERE}:FusingThenReplaying"

    memory: MemorySettings
    replay_steps: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("replay_steps", self.replay_steps, 1)
        self.memory.budget()


class FusingThenReplaying(Fusing):
    """Keeps a memory beside the units."""

    def __init__(self, method: Any, network: Any, *, seed: int, tasks: int) -> None:
        super().__init__(method, network, seed=seed, tasks=tasks)
        self.store = LocalReplay(method, network, seed=seed, tasks=tasks)

    @property
    def memory_images(self) -> int:
        """Places for examples."""
        return self.store.memory_images

    @property
    def memory_bytes(self) -> int:
        """Bytes of these places and of the units that stand for earlier tasks."""
        return super().memory_bytes + self.store.memory_bytes

    def learn(self, images: Images, labels: Labels, task: int) -> float:
        """Let the network apart learn, and offer the images to the memory."""
        loss = super().learn(images, labels, task)
        self.store.remember(checked_inputs(self.network, images), labels, task)
        return loss

    def end_task(self, task: int) -> None:
        """Fuse, then learn from the memory."""
        super().end_task(task)
        for _ in range(self.method.replay_steps * len(self.known.classes)):
            self.known.learn_(*self.store.stored(self.method.batch))

    def state_dict(self) -> tuple[dict[str, NDArray], str]:
        """Return the memory beside the rest."""
        arrays, facts = super().state_dict()
        memory, told = self.store.memory_state()
        return {**arrays, **{f"store/{name}": array for name, array in memory.items()}}, json.dumps([facts, told])

    def load_state_dict(self, arrays: Mapping[str, NDArray], facts: str) -> None:
        """Take over what `state_dict` returned."""
        fusing, told = json.loads(facts)
        super().load_state_dict(arrays_beside(["store"], arrays), fusing)
        self.store.load_memory_state(arrays_under("store", arrays), told)


AROUND: dict[str, type[Around]] = {
    kind.name: kind for kind in (OnlineDecay, WeightDecay, DecayOnce, Pruning, Protection, Fusion, FusionThenReplay)
}
"""Each method that works around another one, by its name."""
