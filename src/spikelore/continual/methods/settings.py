"""Each method as a frozen dataclass of its own settings; imports no torch, so that reading them stays quick.

What a method does stands with its learner, which `Method.start` imports. A method of one's own is a subclass of
`Method`, or of one of these, with `Method.learner` set to a class of its own:

- another loss: a subclass of `spikelore.continual.methods.gradient.GradientLearner` (or of the learner of the method
  that is changed) that overrides ``loss``;
- other gradients: a subclass of `GradientReplay` that gives ``gradient``.
"""

from dataclasses import MISSING, dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, get_args

from spikelore.continual.memory import Budget, Memory, Policy, example_bytes
from spikelore.continual.method import Method, cannot, name_of
from spikelore.continual.records import Records, record_bytes
from spikelore.continual.storage import Form
from spikelore.errors import InputError, check_fields, check_whole
from spikelore.metrics.learning_cost import Tally
from spikelore.networks.gradient_learning import Augmentation
from spikelore.networks.protocol import Differentiable, Features

if TYPE_CHECKING:
    import numpy as np
    import torch

    from spikelore.continual.methods.projection import GradientReplayLearner

_HERE = "spikelore.continual.methods"
_PARTS = ("features", "head")
_LARGEST = 1e30
_LEAST = {
    "replay_batch": 1, "fisher_images": 1, "freeze_after": 0, "rehearsal_steps": 0, "stored_batches": 0,
    "consolidate_after": 0, "sleep_images": 1, "patch": 1, "units": 1,
}  # fmt: skip
_POSITIVE = ("rehearsal_learning_rate", "replay_learning_rate", "temperature", "damping", "gain")
_NOT_NEGATIVE = ("strength", "replay_strength", "potentiation", "depression")

Fault = Literal[
    "targets of the current task", "heads not replayed", "task 0 as no task", "saved before the end",
    "own head for the current task",
]  # fmt: skip
FAULTS: tuple[Fault, ...] = get_args(Fault)
"""Faults of the published code that are the learner's; see `spikelore.continual.methods.published`."""

ReplayOrder = Literal["beside", "after", "same after"]
"""When latent replay learns from stored spikes: beside the new examples of each step, or from all that was stored of
earlier tasks after each pass over a task's new ones. ``same after`` has a fault of Dequino et al.'s code (arXiv
2407.03111): the batches of stored spikes are put together once, so that they hold nothing of the tasks that come
later."""

LossOver = Literal["all", "seen", "batch"]
"""Outputs that a cross entropy is over: all; of the classes seen so far; of those among the new images.

``seen`` does not push down the outputs of classes to come, ``batch`` those of earlier ones either (for replayed
images it is as ``seen``): ER-ACE, Caccia et al. 2022 (arXiv 2104.05025).
"""


def _no_layer_to_cut(method: str, network: Any) -> str | None:
    """Return in a sentence that a network has no layer whose spikes a method can take; None if it has."""
    if not hasattr(network, "module"):
        return cannot(method, Features, network)
    module = None if isinstance(network, type) else network.module
    if hasattr(module, "forward") and not all(callable(getattr(module, one, None)) for one in _PARTS):
        return f"{method} needs a network with features and head, which {type(module).__name__} does not have"
    return None


@dataclass(frozen=True)
class MemorySettings:
    """A memory of examples.

    Attributes:
        images: budget in examples; 0 where ``bytes`` is given.
        bytes: budget in bytes, labels included; 0 where ``images`` is given.
        policy: what is kept; see `spikelore.continual.memory.Memory`.
        storage: ``raw`` grey images, a byte a pixel, of recordings of spikes the bins that the network makes of them, a
            bit each; ``spikes``: a pixel of 128 or more is a spike, a bit a pixel, for networks that see images so;
            ``events``: recordings exactly as they came, four bytes an event, as many as fit ``bytes``. Latent replay
            leaves it at ``raw``: it keeps a layer's spikes, a bit a neuron and step.
        compression: steps of spikes over time that are stored as one: any spike in them counts.
        replayed: compressed spikes over time are replayed ``stretched``, each at the last of its steps, or ``short``,
            in the steps that are stored.
        arithmetic_coding: spikes stored as bits take the bytes that their likelihood asks for, some fifth of the bits,
            and come back exactly; as many as fit ``bytes``. See `spikelore.kernels.spike_coder`.
    """

    images: int = 0
    bytes: int = 0
    policy: Policy = "class-balanced"
    storage: Form = "raw"
    compression: int = 1
    replayed: Literal["stretched", "short"] = "stretched"
    arithmetic_coding: bool = False

    def __post_init__(self) -> None:
        check_fields(self, "memory.")
        check_whole("memory.compression", self.compression, 1)
        if self.storage == "events" and (self.compression > 1 or self.arithmetic_coding):
            wrong = f"compression is {self.compression}" if self.compression > 1 else "arithmetic_coding is true"
            raise InputError(
                f"memory.{wrong} with the storage events, expected bits for that; leave it out or choose the storage "
                "raw, or spikes for images"
            )
        if self.own_lengths and self.images:
            asked = "the storage events" if self.storage == "events" else "arithmetic_coding"
            raise InputError(
                f"memory.images is {self.images} with {asked}, expected memory.bytes alone, which examples of their "
                f"own length fill; set that, or leave {asked} out"
            )
        if self.replayed == "short" and self.compression == 1:
            raise InputError(
                "memory.replayed is 'short' with a compression of 1, expected a compression above 1, which alone "
                "leaves fewer steps; set it or leave replayed out"
            )

    @property
    def own_lengths(self) -> bool:
        """Whether each example takes its own number of bytes, so that `Records` hold them."""
        return self.storage == "events" or self.arithmetic_coding

    def budget(self) -> Budget:
        """Return the budget; InputError if none or both are given."""
        return Budget(self.images, self.bytes)

    def room(self, row_bytes: int, classes: int, extras: int = 0) -> int:
        """Return how many places the memory has, or bytes where each example takes its own number.

        Args:
            row_bytes: bytes of a row.
            classes: how many there are.
            extras: float32 values kept with each example.

        Raises:
            InputError: fewer examples fit than there are classes, even if each took a byte.
        """
        if self.own_lengths:
            self.budget().examples(record_bytes(1, extras), classes)
            return self.bytes
        return self.budget().examples(example_bytes(row_bytes, extras), classes)

    def create(
        self, row_bytes: int, classes: int, rng: "np.random.Generator", *, extras: int = 0, tasks: int = 1,
        tally: Tally | None = None,
    ) -> Memory | Records:  # fmt: skip
        """Return such a memory, empty; see `Memory` and `room`."""
        room = self.room(row_bytes, classes, extras)
        if self.own_lengths:
            return Records(self.policy, room, rng, extras=extras, tasks=tasks, tally=tally)
        return Memory(self.policy, room, row_bytes, rng, extras=extras, tasks=tasks, tally=tally)


@dataclass(frozen=True, kw_only=True)
class _Checked(Method):
    """A method whose settings are numbers and choices in known ranges."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self)
        for name in (one.name for one in fields(self)):
            value = getattr(self, name)
            if name in _LEAST:
                check_whole(name, value, _LEAST[name])
            elif name in _POSITIVE and not 0 < value <= _LARGEST:
                raise InputError(f"{name} is {value}, expected above 0 and at most {_LARGEST:g}; choose another number")
            elif name in _NOT_NEGATIVE and not value >= 0:
                raise InputError(f"{name} is {value}, expected 0 or more; choose another number")


@dataclass(frozen=True, kw_only=True)
class Naive(_Checked):
    """Fine-tuning: only the new inputs are learned. What is forgotten without any method."""

    name: ClassVar[str] = "naive"
    listens: ClassVar[bool] = False
    learner: ClassVar[Any] = f"{_HERE}.gradient:GradientLearner"
    local_learner: ClassVar[Any] = f"{_HERE}.local:LocalLearner"


@dataclass(frozen=True, kw_only=True)
class Joint(Naive):
    """All tasks at once, shuffled together: what is there to reach. It learns as `Naive` from a joint stream."""

    name: ClassVar[str] = "joint"


@dataclass(frozen=True, kw_only=True)
class KeepsExamples(_Checked):
    """A method that keeps examples of the stream.

    Attributes:
        memory: what it may keep.
        replay_batch: examples replayed from the memory in each step beside the new ones.
        balanced: draw a class first, then an example of it; otherwise every stored example alike.
        loss_over: outputs that the cross entropy is over. ``all``; ``seen``: of the classes so far, so that those to
            come are not pushed down before they come; ``batch``: for replayed examples likewise, for new ones only of
            the classes among them, so that they do not push the old classes' outputs down (ER-ACE, Caccia et al. 2022,
            arXiv 2104.05025).
    """

    listens: ClassVar[bool] = False
    by_gradients: ClassVar[tuple[str, ...]] = (
        "loss_over", "augmentation", "rehearsal_learning_rate", "freeze_after", "replay_order",
    )  # fmt: skip

    memory: MemorySettings = field(kw_only=False)
    replay_batch: int = 64
    balanced: bool = True
    loss_over: LossOver = "all"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.memory.budget()

    def why_not(self, network: Any) -> str | None:
        """Return also which setting such a network would not use, or what would make stored images unlike new ones."""
        if self.local_learner and not hasattr(network, "module"):
            for one in fields(self):
                default = one.default if one.default is not MISSING else one.default_factory
                default = default() if callable(default) else default
                if one.name in self.by_gradients and getattr(self, one.name) != default:
                    return (
                        f"{one.name} of {self.name} needs gradients, which a {name_of(network)} network does not have"
                    )
        sees = getattr(getattr(network, "learning", None), "input", "spikes")
        if self.memory.storage == "spikes" and sees != "spikes":
            return (
                f"{self.name} with storage 'spikes' would replay other images than a {name_of(network)} network is "
                f"shown, which sees {sees} ones (its input)"
            )
        return super().why_not(network)


@dataclass(frozen=True, kw_only=True)
class _Rehearses(KeepsExamples):
    """A method that keeps images.

    Attributes:
        augmentation: of replayed images.
        rehearsal_steps: steps on the memory alone, for each class seen, that a copy of the network takes before it is
            asked.
        rehearsal_learning_rate: of those steps, falling to 0 along a cosine.
    """

    augmentation: Augmentation = field(default_factory=Augmentation)
    rehearsal_steps: int = 0
    rehearsal_learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.rehearsal_steps and self.rehearsal_learning_rate != type(self).rehearsal_learning_rate:
            raise InputError(
                f"rehearsal_learning_rate is {self.rehearsal_learning_rate}, expected "
                f"{type(self).rehearsal_learning_rate} with 0 rehearsal_steps, which alone use it; leave it out or set "
                "rehearsal_steps"
            )


@dataclass(frozen=True, kw_only=True)
class Replay(_Rehearses):
    """Experience replay: each step learns from new examples and from stored ones.

    Source: Chaudhry et al. 2019 (arXiv 1902.10486); with ``loss_over: batch`` ER-ACE.
    """

    name: ClassVar[str] = "experience replay"
    learner: ClassVar[Any] = f"{_HERE}.replay:ReplayLearner"
    local_learner: ClassVar[Any] = f"{_HERE}.local:LocalReplay"


@dataclass(frozen=True, kw_only=True)
class GDumb(_Rehearses):
    """Only fills the memory; when asked, a network with fresh weights learns from the memory alone.

    A step of that is on ``batch`` and ``replay_batch`` stored images together; ``rehearsal_steps`` is at least 1.

    Source: Prabhu et al. 2020 (ECCV, "GDumb").
    """

    name: ClassVar[str] = "gdumb"
    learner: ClassVar[Any] = f"{_HERE}.replay:GDumbLearner"
    local_learner: ClassVar[Any] = f"{_HERE}.local:LocalGDumb"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.rehearsal_steps:
            raise InputError(
                "rehearsal_steps is 0, expected at least 1 with gdumb, which learns in no other way; set it"
            )


@dataclass(frozen=True, kw_only=True)
class DarkReplay(_Rehearses):
    """DER++: each stored image keeps the logits of its arrival, and replay holds the network to them.

    Attributes:
        strength: alpha, weight of the distance to the kept logits.
        replay_strength: beta, weight of the replayed images' cross entropy.

    Source: Buzzega et al. 2020 (NeurIPS).
    """

    name: ClassVar[str] = "der++"
    needs: ClassVar[tuple[type, ...]] = (Differentiable,)
    learner: ClassVar[Any] = f"{_HERE}.der:DarkReplayLearner"

    strength: float = 1.0
    replay_strength: float = 1.0

    @classmethod
    def best(cls, memory: MemorySettings) -> Self:
        """Return the ``best`` preset: with ER-ACE's loss, augmented; for `GradientLearning.best`."""
        return cls(
            memory, replay_batch=32, strength=0.3, loss_over="batch",
            augmentation=Augmentation(rotation=12.0, scale=0.12, shear=0.1, shift=2.0, elastic=0.5),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class LatentReplay(KeepsExamples):
    """The spikes of a frozen layer are stored in place of images.

    Attributes:
        freeze_after: images after which the layers below the cut stop learning; 0 for after the first task, of which a
            task-free stream does not tell.
        replay_order: see `ReplayOrder`.

    Source: Pellegrini et al. 2020 (arXiv 1912.01100).
    """

    name: ClassVar[str] = "latent replay"
    learner: ClassVar[Any] = f"{_HERE}.latent:LatentReplayLearner"
    local_learner: ClassVar[Any] = f"{_HERE}.local:LocalLatent"

    freeze_after: int = 0
    replay_order: ReplayOrder = "beside"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "listens", not self.freeze_after or self.replay_order != "beside")
        object.__setattr__(self, "boundaries", self.replay_order != "beside")
        if self.memory.storage != "raw":
            raise InputError(
                f"memory.storage is {self.memory.storage!r}, expected 'raw' with latent replay, which stores spikes of "
                "a layer; leave it out"
            )

    def why_not(self, network: Any) -> str | None:
        """Return also whether there is no layer to cut at: no ``features`` and ``head`` in a module."""
        return _no_layer_to_cut(self.name, network) or super().why_not(network)


@dataclass(frozen=True, kw_only=True)
class ElasticWeightConsolidation(_Checked):
    """EWC: weights that mattered for earlier tasks are held near their values.

    Attributes:
        strength: lambda, weight of the penalty.
        fisher_images: images that estimate the Fisher information after each task.

    Source: Kirkpatrick et al. 2017 (doi 10.1073/pnas.1611835114).
    """

    name: ClassVar[str] = "ewc"
    needs: ClassVar[tuple[type, ...]] = (Differentiable,)
    boundaries: ClassVar[bool] = True
    learner: ClassVar[Any] = f"{_HERE}.regularisation:ElasticWeightLearner"

    strength: float = 1.0
    fisher_images: int = 500


@dataclass(frozen=True, kw_only=True)
class LearningWithoutForgetting(_Checked):
    """LwF: on new images the outputs for old classes are held to what the network gave before the task.

    Attributes:
        strength: weight of the distance to the old outputs.
        temperature: of the softened outputs.

    Source: Li & Hoiem 2016 (arXiv 1606.09282).
    """

    name: ClassVar[str] = "lwf"
    needs: ClassVar[tuple[type, ...]] = (Differentiable,)
    boundaries: ClassVar[bool] = True
    learner: ClassVar[Any] = f"{_HERE}.regularisation:WithoutForgettingLearner"

    strength: float = 1.0
    temperature: float = 2.0


@dataclass(frozen=True, kw_only=True)
class SynapticIntelligence(_Checked):
    """SI: weights that brought the loss down on their way are held near their values.

    Attributes:
        strength: weight of the penalty.
        damping: xi, how far a weight must have moved at least, squared, to count in full.
        consolidate_after: images after which importance and anchor are taken anew; 0 for after each task, of which a
            task-free stream does not tell.
        loss_over: outputs that the cross entropy is over; see `LossOver`.

    Source: Zenke, Poole & Ganguli 2017 (arXiv 1703.04200); see `spikelore.continual.methods.synaptic`.
    """

    name: ClassVar[str] = "si"
    needs: ClassVar[tuple[type, ...]] = (Differentiable,)
    learner: ClassVar[Any] = f"{_HERE}.synaptic:SynapticIntelligenceLearner"

    strength: float = 1.0
    damping: float = 0.1
    consolidate_after: int = 0
    loss_over: LossOver = "all"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "boundaries", not self.consolidate_after)
        object.__setattr__(self, "listens", not self.consolidate_after)


@dataclass(frozen=True, kw_only=True)
class HebbianProjection(_Checked):
    """HLOP: steps are orthogonal to what entered each layer in earlier tasks, which Hebbian neurons learn.

    Attributes:
        subspace_share: neurons that learn a task's inputs of a layer, as a share of the dimensions still free.
        hebbian_rate: by which they learn, at most 1.
        loss_over: outputs that the cross entropy is over; see `LossOver`.

    Source: Xiao et al. 2024 (arXiv 2402.11984); see `spikelore.continual.methods.hebbian`.
    """

    name: ClassVar[str] = "hlop"
    needs: ClassVar[tuple[type, ...]] = (Differentiable,)
    boundaries: ClassVar[bool] = True
    learner: ClassVar[Any] = f"{_HERE}.hebbian:HebbianProjectionLearner"

    subspace_share: float = 0.1
    hebbian_rate: float = 1.0
    loss_over: LossOver = "all"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("subspace_share", "hebbian_rate"):
            if not 0 < getattr(self, name) <= 1:
                raise InputError(
                    f"{name} is {getattr(self, name)}, expected above 0 and at most 1; choose another number"
                )


@dataclass(frozen=True, kw_only=True)
class SleepReplay(_Checked):
    """Sleep-like replay: after each task noise drives the network, and Hebbian plasticity changes its last layers.

    Attributes:
        sleep_images: images of noise after each task.
        patch: side of the window of noise, pixels.
        gain: factor of the currents in sleep.
        potentiation: step of a synapse whose input spiked when its neuron did.
        depression: step of one whose input did not.
        loss_over: outputs that the cross entropy is over; see `LossOver`.

    Source: Tadros et al. 2022 (doi 10.1038/s41467-022-34938-7); see `spikelore.continual.methods.sleep`.
    """

    name: ClassVar[str] = "sleep"
    needs: ClassVar[tuple[type, ...]] = (Differentiable,)
    boundaries: ClassVar[bool] = True
    learner: ClassVar[Any] = f"{_HERE}.sleep:SleepReplayLearner"

    sleep_images: int = 300
    patch: int = 10
    gain: float = 1.5
    potentiation: float = 0.0002
    depression: float = 0.0006
    loss_over: LossOver = "all"

    def why_not(self, network: Any) -> str | None:
        """Return also whether there are no layers that noise could drive."""
        reason = super().why_not(network)
        if reason or isinstance(network, type) or hasattr(network.module, "dense_layers"):
            return reason
        return (
            f"{self.name} needs fully connected layers of spiking neurons that noise can drive, which "
            f"{type(network.module).__name__} does not have"
        )


@dataclass(frozen=True, kw_only=True)
class NearestPrototype(_Checked):
    """Nothing is stored but sums: the mean spikes of each class decide, of layers that have stopped learning.

    Attributes:
        freeze_after: images that a network which gradients teach learns from, as if there were no method, before it is
            frozen; it is the images after these whose spikes are added up. 0 takes the network as it comes. Networks of
            local rules freeze their features by themselves, and this has no meaning for them.

    Source: see `spikelore.continual.methods.prototypes`.
    """

    name: ClassVar[str] = "nearest prototype"
    listens: ClassVar[bool] = False
    learner: ClassVar[Any] = f"{_HERE}.frozen:FrozenFeaturesLearner"
    local_learner: ClassVar[Any] = f"{_HERE}.prototypes:LocalPrototypes"

    freeze_after: int = 0

    def why_not(self, network: Any) -> str | None:
        """Return also whether there is no layer whose spikes can be taken."""
        reason = _no_layer_to_cut(self.name, network) or super().why_not(network)
        if not reason and self.freeze_after and not hasattr(network, "module"):
            return f"freeze_after of {self.name} needs gradients, which a {name_of(network)} network does not have"
        return reason


@dataclass(frozen=True, kw_only=True)
class StreamingDiscriminant(NearestPrototype):
    """Streaming linear discriminant analysis (SLDA): as `NearestPrototype`, under the covariance of all spikes.

    Attributes:
        shrinkage: share of the unit matrix in the covariance that is inverted; .01 on validation images (the source has
            .0001, of real-valued features).

    Source: Hayes & Kanan 2020 (arXiv 1909.01520); see `spikelore.continual.methods.prototypes`.
    """

    name: ClassVar[str] = "slda"

    shrinkage: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.shrinkage <= 1:
            raise InputError(f"shrinkage is {self.shrinkage}, expected above 0 and at most 1; 0.01 is usual")


@dataclass(frozen=True, kw_only=True)
class NearestSubspace(NearestPrototype):
    """As `NearestPrototype`, and units of each class learn by a Hebbian rule what its mean leaves of the spikes.

    The class decides that leaves least of an input.

    Attributes:
        units: of a class.

    Source: see `spikelore.continual.methods.prototypes`.
    """

    name: ClassVar[str] = "nearest subspace"

    units: int = 40


@dataclass(frozen=True, kw_only=True)
class PublishedReplay(_Checked):
    """The replay of Proietti et al. 2023 as their public code does it; see `spikelore.continual.methods.published`.

    Attributes:
        faults: of the published code, to keep; see `FAULTS`.
        stored_batches: M, stored batches a task.
        replay_learning_rate: of the second Adam.
        grow_heads: a new head for each task, in training only the task's own (class-incremental).
    """

    name: ClassVar[str] = "published replay"
    needs: ClassVar[tuple[type, ...]] = (Differentiable,)
    boundaries: ClassVar[bool] = True
    learner: ClassVar[Any] = f"{_HERE}.published:PublishedReplayLearner"

    faults: tuple[Fault, ...] = ()
    stored_batches: int = 0
    replay_learning_rate: float = 1e-4
    grow_heads: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        unknown = [fault for fault in self.faults if fault not in FAULTS]
        if unknown:
            raise InputError(f"faults has {unknown[0]!r}, expected some of {', '.join(FAULTS)}; choose of these")

    def why_not(self, network: Any) -> str | None:
        """Return also whether the network does not learn as the published one."""
        learning = getattr(network, "learning", None)
        for name, value in (("readout", "spikes"), ("input", "grey")):
            if getattr(learning, name, value) != value and not isinstance(network, type):
                return f"{self.name} has the {name} {value!r} alone, and the network {getattr(learning, name)!r}"
        return super().why_not(network)


@dataclass(frozen=True, kw_only=True)
class GradientReplay(KeepsExamples):
    """Replay that changes the gradient itself: the base of methods of one's own, which give `gradient` and a name.

    Each step finds the gradient of the new examples' loss and, once something is stored, that of stored ones'; the
    optimiser follows what `gradient` makes of the two. On its own it follows their sum, as `Replay` does.

    Example:
        >>> class AGem(GradientReplay):
        ...     name = "a-gem"
        ...
        ...     def gradient(self, learner, new, stored):
        ...         overlap = new @ stored
        ...         return new if overlap >= 0 else new - overlap / (stored @ stored) * stored
        >>> AGem(MemorySettings(images=100), replay_batch=32).name
        'a-gem'
    """

    name: ClassVar[str] = "gradient replay"
    needs: ClassVar[tuple[type, ...]] = (Differentiable,)
    learner: ClassVar[Any] = f"{_HERE}.projection:GradientReplayLearner"

    def gradient(self, learner: "GradientReplayLearner", new: "torch.Tensor", stored: "torch.Tensor") -> Any:
        """Return the gradient to follow, (P,), of all P weights that learn, one after the other.

        Args:
            learner: at work, with its network, memory and ``gradient_of`` for the gradient of other examples.
            new: (P,) gradient of the new examples' mean cross entropy.
            stored: (P,) the same of ``replay_batch`` stored examples.
        """
        del learner
        return new + stored


METHODS: dict[str, type[Method]] = {
    method.name: method
    for method in (
        Naive, Joint, Replay, PublishedReplay, GDumb, DarkReplay, LatentReplay, ElasticWeightConsolidation,
        LearningWithoutForgetting, SynapticIntelligence, HebbianProjection, SleepReplay, NearestPrototype,
        StreamingDiscriminant, NearestSubspace,
    )
}  # fmt: skip
"""The methods that configurations know, by the name that tables have for them."""
