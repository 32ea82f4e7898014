"""Methods that work around another one: use it or lose it, pruning, protection, and networks trained apart and fused.

Each has a ``base``, the method by which the network learns meanwhile; naive learning if not given. It reaches the
network through its contract alone, so it works beside every base and on every network with the capability.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from spikelore.continual import fusion, importance, unused_decay
from spikelore.continual.method import Learner, Method
from spikelore.continual.methods.replay import Naive
from spikelore.errors import InputError
from spikelore.networks.protocol import Network, Synapses, Units
from spikelore.randomness import generator
from spikelore.shapes import Images, Labels, as_images

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
        super().__post_init__()

    def why_not(self, network: Any) -> str | None:
        """Return why it has no meaning on a network: its own needs, then those of its base."""
        return super().why_not(network) or self.base.why_not(network)


class AroundLearner:
    """Passes everything on to the base's learner; subclasses add to it."""

    def __init__(self, method: Any, network: Any, *, seed: int, tasks: int) -> None:
        self.method = method
        self.network = network
        self.seed = seed
        self.learner: Learner = method.base.start(network, seed=seed, tasks=tasks)

    def __getattr__(self, name: str) -> Any:
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

    tau_prune_images: float = 0.0
    period_images: int = 100
    strength: float = 1.0

    def tau_prune_ms(self, network: Network) -> float:
        """Return the time constant on a network."""
        return (self.tau_prune_images or 5 * len(network.classes)) * IMAGE_MS

    def start(self, network: Network, *, seed: int = 0, tasks: int = 1) -> Learner:
        """Return a learner whose network fades as it learns."""
        self.check(network)

        def ticking() -> unused_decay.OnlineDecay:
            return unused_decay.OnlineDecay(
                tau_prune_ms=self.tau_prune_ms(network),
                period_ms=self.period_images * IMAGE_MS,
                strength=self.strength,
            )

        return _Ticking(self, network, ticking, seed=seed, tasks=tasks)


@dataclass(frozen=True, kw_only=True)
class WeightDecay(Around):
    """The baseline that looks at no use: all weights shrink alike, ``dw/dt = -w / tau``.

    Attributes:
        tau_images: the time constant, in inputs shown.
        period_images: inputs between two ticks.
    """

    name: ClassVar[str] = "weight decay"
    needs: ClassVar[tuple[type, ...]] = (Synapses,)

    tau_images: float = 100_000.0
    period_images: int = 100

    def start(self, network: Network, *, seed: int = 0, tasks: int = 1) -> Learner:
        """Return a learner whose network shrinks as it learns."""
        self.check(network)
        tau = self.tau_images * IMAGE_MS
        return _Ticking(self, network, lambda: unused_decay.WeightDecay(tau_ms=tau), seed=seed, tasks=tasks)


class _Ticking(AroundLearner):
    """After each batch the clocks run on, and after each period every layer is charged."""

    def __init__(self, method: Any, network: Any, ticking: Callable[[], Any], *, seed: int, tasks: int) -> None:
        super().__init__(method, network, seed=seed, tasks=tasks)
        self.tickings = {name: ticking() for name in network.synapses()}
        self.waiting = 0

    def learn(self, images: Images, labels: Labels, task: int) -> float:
        """Let the base learn, then charge what went unused."""
        loss = self.learner.learn(images, labels, task)
        self.network.use_(as_images(images))
        self.waiting += len(images)
        if self.waiting >= self.method.period_images:
            self.waiting = 0
            for name, synapses in self.network.synapses().items():
                self.tickings[name].tick_(synapses)
        return loss

    def state_dict(self) -> tuple[dict[str, NDArray], str]:
        """Return the ticks beside the base's state."""
        arrays, facts = self.learner.state_dict()
        for name, ticking in self.tickings.items():
            arrays |= {f"decay/{name}/{key}": value for key, value in ticking.state_dict().items()}
        return {**arrays, "decay/waiting": np.array([self.waiting])}, facts

    def load_state_dict(self, arrays: Mapping[str, NDArray], facts: str) -> None:
        """Take over what `state_dict` returned."""
        self.learner.load_state_dict(arrays, facts)
        self.waiting = int(arrays["decay/waiting"][0])
        for name, ticking in self.tickings.items():
            prefix = f"decay/{name}/"
            ticking.load_state_dict({k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)})


@dataclass(frozen=True, kw_only=True)
class DecayOnce(Around):
    """Use it or lose it as published: once, on the network that decides, after it has learned.

    Attributes:
        tau_prune_images: the time constant tau_prune, in inputs shown; 0 for the published 5 a class.
        strength: the coefficient k.
    """

    name: ClassVar[str] = "decay once"
    needs: ClassVar[tuple[type, ...]] = (Synapses,)

    tau_prune_images: float = 0.0
    strength: float = 1.0

    def start(self, network: Network, *, seed: int = 0, tasks: int = 1) -> Learner:
        """Return a learner whose deciding network is faded once."""
        self.check(network)
        tau = (self.tau_prune_images or 5 * len(network.classes)) * IMAGE_MS

        def fade_(synapses: Any, rng: np.random.Generator) -> None:
            del rng
            unused_decay.decay_unused_(synapses, tau_prune_ms=tau, strength=self.strength)

        return _WhenAsked(self, network, fade_, seed=seed, tasks=tasks)


@dataclass(frozen=True, kw_only=True)
class Pruning(Around):
    """A share of each layer's synapses is set to zero in the network that decides.

    Attributes:
        share: of the synapses of each layer.
        choice: the ``smallest`` weights, or a ``random`` share.
    """

    name: ClassVar[str] = "pruning"
    needs: ClassVar[tuple[type, ...]] = (Synapses,)

    share: float = 0.5
    choice: Literal["smallest", "random"] = "smallest"

    def start(self, network: Network, *, seed: int = 0, tasks: int = 1) -> Learner:
        """Return a learner whose deciding network is pruned."""
        self.check(network)

        def prune_(synapses: Any, rng: np.random.Generator) -> None:
            if self.choice == "smallest":
                unused_decay.prune_smallest_(synapses, self.share)
            else:
                unused_decay.prune_random_(synapses, self.share, rng)

        return _WhenAsked(self, network, prune_, seed=seed, tasks=tasks)


class _WhenAsked(AroundLearner):
    """While the network is asked, something is done to its synapses; afterwards they are as they were."""

    def __init__(
        self, method: Any, network: Any, change_: Callable[[Any, np.random.Generator], None], *, seed: int, tasks: int
    ) -> None:
        super().__init__(method, network, seed=seed, tasks=tasks)
        self.change_ = change_

    def learn(self, images: Images, labels: Labels, task: int) -> float:
        """Let the base learn and the clocks run on."""
        loss = self.learner.learn(images, labels, task)
        self.network.use_(as_images(images))
        return loss

    @contextmanager
    def asked(self) -> Iterator[None]:
        """While the block runs, the changed network decides."""
        with self.learner.asked():
            rng = generator(self.seed, "pruning")
            layers = self.deciding.synapses().values()
            kept = [layer.weights.copy() for layer in layers]
            for layer in layers:
                self.change_(layer, rng)
            try:
                yield
            finally:
                for layer, weights in zip(layers, kept, strict=True):
                    layer.weights[...] = weights


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

    share: float = 0.5
    importance: str = "top fraction"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.share <= 1:
            raise InputError(f"share is {self.share}, expected 0 to 1; give the share of units to protect")
        if self.importance not in importance.FROM_WEIGHTS:
            known = ", ".join(importance.FROM_WEIGHTS)
            raise InputError(f"importance is {self.importance!r}, expected one of {known}; choose one")

    def start(self, network: Network, *, seed: int = 0, tasks: int = 1) -> Learner:
        """Return a learner that protects units after each task."""
        self.check(network)
        return _Protecting(self, network, seed=seed, tasks=tasks)


class _Protecting(AroundLearner):
    def begin_task(self, task: int, classes: tuple[int, ...]) -> None:
        """Hear which classes the task has."""
        self.current = classes
        self.learner.begin_task(task, classes)

    def end_task(self, task: int) -> None:
        """Protect the most important units of the task's classes."""
        self.learner.end_task(task)
        network, method = self.network, self.method
        ranks = importance.FROM_WEIGHTS[method.importance](network.unit_weights)
        owners = network.unit_classes
        budget = {one: round(method.share * int((owners == one).sum())) for one in self.current}
        plasticity = network.unit_plasticity.copy()
        plasticity[fusion.select(network, ranks, budget)] = 0.0
        network.unit_plasticity = plasticity


@dataclass(frozen=True, kw_only=True)
class Fusion(Around):
    """Each task is learned apart by fresh units on the same frozen features; then these are fused with what is known.

    The network keeps its size; ``bagging`` keeps all units and grows. Nothing of earlier tasks is stored but the units.
    With ``fine_tuning_steps`` the fused network learns from the base's memory after each fusion: fusion, then replay.

    Attributes:
        selection: which units stay: an importance by name, ``merge`` for means of similar ones (Ward), ``assignment``
            for one of each Hungarian pair, for tasks of the same classes, or ``bagging`` for all.
        score: how units of different networks compete; a name in `spikelore.continual.fusion.SCORES`.

    Source: Antonov & Sukhov 2022 (doi 10.1109/ITNT55410.2022.9848660).
    """

    name: ClassVar[str] = "fusion"
    needs: ClassVar[tuple[type, ...]] = (Units,)
    boundaries: ClassVar[bool] = True

    selection: str = "top fraction"
    score: str = "raw"

    def __post_init__(self) -> None:
        super().__post_init__()
        known = (*importance.FROM_WEIGHTS, "merge", "assignment", "bagging")
        if self.selection not in known:
            raise InputError(f"selection is {self.selection!r}, expected one of {', '.join(known)}; choose one")
        if self.score not in fusion.SCORES:
            raise InputError(f"score is {self.score!r}, expected one of {', '.join(fusion.SCORES)}; choose one")

    def fused(self, known: Any, new: Any, size: int) -> Any:
        """Return one network of what is known and what was learned apart."""
        if self.selection == "bagging":
            return fusion.bagging([known, new], score=self.score)
        if self.selection == "merge":
            return fusion.merge([known, new], size=size, score=self.score)
        if self.selection == "assignment":
            return fusion.fuse_by_assignment(known, new, score=self.score)
        return fusion.fuse([known, new], importances=self.selection, size=size, score=self.score)

    def start(self, network: Network, *, seed: int = 0, tasks: int = 1) -> Learner:
        """Return a learner that trains apart and fuses."""
        self.check(network)
        return _Fusing(self, network, seed=seed, tasks=tasks)


class _Fusing(AroundLearner):
    """The base learns a network of the task's classes alone; ``known`` is what was fused so far."""

    def __init__(self, method: Fusion, network: Any, *, seed: int, tasks: int) -> None:
        super().__init__(method, network, seed=seed, tasks=tasks)
        self.size = len(network.unit_classes)
        self.tasks = tasks
        self.known: Any = None

    @property
    def classes(self) -> tuple[int, ...]:
        """The classes of the network that it was started with."""
        return tuple(self.network.classes)

    @property
    def deciding(self) -> Any:
        """What was fused so far; during the first task the network that learns it."""
        return self.learner.network if self.known is None else self.known

    @property
    def memory_bytes(self) -> int:
        """Bytes of the units that stand for earlier tasks."""
        return 0 if self.known is None else int(self.known.unit_weights.nbytes)

    def begin_task(self, task: int, classes: tuple[int, ...]) -> None:
        """Begin with fresh units for the task's classes."""
        before = self.network if self.known is None else self.known
        self.apart = before.with_fresh_units(classes, self.seed + task)
        self.learner = self.method.base.start(self.apart, seed=self.seed + task, tasks=self.tasks)
        self.learner.begin_task(0, classes)

    def end_task(self, task: int) -> None:
        """Fuse what the task taught with what is known."""
        self.learner.end_task(task)
        self.known = self.apart.copy() if self.known is None else self.method.fused(self.known, self.apart, self.size)

    def decide(self, images: Images, among: tuple[int, ...]) -> Labels:
        """Let the fused network decide."""
        return self.deciding.predict(images, tuple(each for each in among if each in self.deciding.classes))
