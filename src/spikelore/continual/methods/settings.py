"""What a continual learner is told; imports no torch, so that reading a configuration stays quick."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self, get_args

from spikelore.continual.memory import Budget, Policy
from spikelore.errors import InputError, check_choices, check_whole

Method = Literal[
    "naive", "joint", "experience replay", "published replay", "gdumb", "der++", "latent replay", "ewc", "lwf"
]
METHODS: tuple[Method, ...] = get_args(Method)
"""What `LearnerSettings.method` may be."""

_WITH_MEMORY = ("experience replay", "gdumb", "der++", "latent replay")
_LARGEST = 1e30
_NEED_BOUNDARIES = ("ewc", "lwf", "published replay")

Fault = Literal[
    "targets of the current task", "heads not replayed", "task 0 as no task", "saved before the end",
    "own head for the current task",
]  # fmt: skip
FAULTS: tuple[Fault, ...] = get_args(Fault)
"""Faults of the published code that are the learner's; see `spikelore.continual.methods.published`."""


@dataclass(frozen=True)
class MemorySettings:
    """A memory of examples.

    Attributes:
        images: budget in examples; 0 where ``bytes`` is given.
        bytes: budget in bytes, labels included; 0 where ``images`` is given.
        policy: what is kept; see `spikelore.continual.memory.Memory`.
        storage: ``raw`` grey images, a byte a pixel; ``spikes``: a pixel of 128 or more is a spike, a bit a pixel.
            Latent replay leaves it at ``raw``: it keeps a layer's spikes, a bit a neuron and step.
    """

    images: int = 0
    bytes: int = 0
    policy: Policy = "class-balanced"
    storage: Literal["raw", "spikes"] = "raw"

    def __post_init__(self) -> None:
        check_choices(self, "memory.")

    def budget(self) -> Budget:
        """Return the budget; InputError if none or both are given."""
        return Budget(self.images, self.bytes)


@dataclass(frozen=True)
class Augmentation:
    """Random changes of an image, each drawn anew whenever it is shown; all 0 for none.

    Attributes:
        rotation: largest rotation either way, degrees.
        scale: largest relative change of the size of each axis.
        shear: largest shear.
        shift: largest shift along each axis, pixels.
        elastic: standard deviation of a smooth random displacement of each point, pixels.
    """

    rotation: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    shift: float = 0.0
    elastic: float = 0.0

    def __post_init__(self) -> None:
        for name in ("rotation", "scale", "shear", "shift", "elastic"):
            if not getattr(self, name) >= 0:
                raise InputError(f"augmentation.{name} is {getattr(self, name)}, expected 0 or more; 0 turns it off")

    @property
    def any(self) -> bool:
        """Whether an image is changed at all."""
        return max(self.rotation, self.scale, self.shear, self.shift, self.elastic) > 0


@dataclass(frozen=True)
class LearnerSettings:
    """How a network learns from a stream.

    Attributes:
        method: one of `METHODS`.
        epochs: passes over each task; 1 in a task-free stream.
        batch: new images a step.
        learning_rate: of Adam.
        replay_batch: images replayed from the memory in each step beside the new ones.
        balanced_replay: draw a class first, then an image of it; otherwise every stored image alike.
        loss_over: outputs that the cross entropy of a method with replay is over. ``all``; ``seen``: of the classes so
            far, so that those to come are not pushed down before they come; ``batch``: for replayed images likewise,
            for new ones only of the classes among them, so that they do not push the old classes' outputs down
            (ER-ACE, Caccia et al. 2022, arXiv 2104.05025).
        input: ``grey`` pixels, or ``spikes``: 1 where a pixel is 128 or more, for new, replayed and test images.
        augmentation: of replayed images, and of GDumb's.
        readout: ``spikes`` are the logits' only source (their count over the steps); ``drive`` adds the membrane
            potential that is left over the threshold, for networks that give their output potentials.
        averaging: decay of the running mean of the weights that decides in place of the last ones; 0 for none. In the
            first steps n it is n / (n + 9), if that is less.
        rehearsal_steps: steps on the memory alone, for each class seen, that a copy of the network takes before it is
            asked; GDumb's only learning, from fresh weights. 0 for latent replay, whose memory holds no images.
        rehearsal_learning_rate: of those steps, falling to 0 along a cosine.
        strength: weight of the term that protects old knowledge: EWC's lambda, LwF's, DER's alpha.
        replay_strength: weight of the replayed images' cross entropy: DER++'s beta.
        fisher_images: images that estimate EWC's Fisher information after each task.
        temperature: of LwF's softened outputs.
        freeze_after: images after which latent replay freezes the layers below ``network.split``.
        faults: of the published code, to keep; see `FAULTS`.
        stored_batches: M of the published replay: stored batches a task.
        replay_learning_rate: of the published replay's second Adam.
        grow_heads: a new head for each task, in training only the task's own (published, class-incremental).
    """

    method: Method = "experience replay"
    epochs: int = 1
    batch: int = 32
    learning_rate: float = 1e-3
    replay_batch: int = 64
    balanced_replay: bool = True
    loss_over: Literal["all", "seen", "batch"] = "all"
    input: Literal["grey", "spikes"] = "grey"
    augmentation: Augmentation = field(default_factory=Augmentation)
    readout: Literal["spikes", "drive"] = "spikes"
    averaging: float = 0.0
    rehearsal_steps: int = 0
    rehearsal_learning_rate: float = 1e-3
    strength: float = 1.0
    replay_strength: float = 1.0
    fisher_images: int = 500
    temperature: float = 2.0
    freeze_after: int = 5000
    faults: tuple[Fault, ...] = ()
    stored_batches: int = 0
    replay_learning_rate: float = 1e-4
    grow_heads: bool = False

    def __post_init__(self) -> None:
        check_choices(self)
        for name in ("epochs", "batch", "replay_batch", "fisher_images", "freeze_after"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}, expected at least 1; choose another number")
            check_whole(name, getattr(self, name), 1)
        for name in ("learning_rate", "rehearsal_learning_rate", "replay_learning_rate", "temperature"):
            if not 0 < getattr(self, name) <= _LARGEST:
                raise InputError(
                    f"{name} is {getattr(self, name)}, expected above 0 and at most {_LARGEST:g}; choose another number"
                )
        for name in ("strength", "replay_strength", "rehearsal_steps", "stored_batches"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} is {getattr(self, name)}, expected 0 or more; choose another number")
        for name in ("rehearsal_steps", "stored_batches"):
            check_whole(name, getattr(self, name))
        if not 0 <= self.averaging < 1:
            raise InputError(f"averaging is {self.averaging}, expected 0 or more and below 1; 0.98 is usual")
        unknown = [fault for fault in self.faults if fault not in FAULTS]
        if unknown:
            raise InputError(f"faults has {unknown[0]!r}, expected some of {', '.join(FAULTS)}; choose of these")
        if self.method == "gdumb" and not self.rehearsal_steps:
            raise InputError(
                "rehearsal_steps is 0, expected at least 1 with gdumb, which learns in no other way; set it"
            )
        if self.method == "latent replay" and self.rehearsal_steps:
            raise InputError(
                f"rehearsal_steps is {self.rehearsal_steps}, expected 0 with latent replay, whose memory holds no "
                "images; leave it out"
            )
        self._refuse_ignored()

    def _refuse_ignored(self) -> None:
        """Refuse what the method would not do, though results would name it."""
        needed = {"faults": (), "stored_batches": 0, "grow_heads": False}
        if self.method == "published replay":
            needed = {"readout": "spikes", "input": "grey"}
        for name, value in needed.items():
            if getattr(self, name) != value:
                raise InputError(
                    f"{name} is {getattr(self, name)!r}, expected {value!r} with {self.method}; change one of them"
                )

    @classmethod
    def best(cls, **changes: Any) -> Self:
        """Return the ``best`` replay preset: DER++ with ER-ACE's loss, augmented; for `SurrogateConfig.best`."""
        preset = cls(
            method="der++", batch=32, replay_batch=32, strength=0.3, learning_rate=2e-3, averaging=0.98,
            loss_over="batch", readout="drive",
            augmentation=Augmentation(rotation=12.0, scale=0.12, shear=0.1, shift=2.0, elastic=0.5),
        )  # fmt: skip
        return replace(preset, **changes)

    @property
    def keeps_examples(self) -> bool:
        """Whether the method has a memory with a budget."""
        return self.method in _WITH_MEMORY

    @property
    def needs_boundaries(self) -> bool:
        """Whether the method must be told where tasks begin and end."""
        return self.method in _NEED_BOUNDARIES
