"""The section ``learner`` of a configuration: a method and how its network learns, by flat names."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, Self

from spikelore.continual.method import Method
from spikelore.continual.methods import METHODS, DarkReplay, Fault, LatentReplay, MemorySettings
from spikelore.continual.methods.settings import ReplayOrder
from spikelore.errors import InputError, check_fields
from spikelore.experiments import typed
from spikelore.experiments.own import own_class
from spikelore.networks.gradient_learning import Augmentation, GradientLearning, Readout, RecordingAugmentation

_CALLED = {"balanced_replay": "balanced"}
"""What a setting is called in a method, where that differs."""

_UNUSED_LEARNING = {
    "gdumb": ("learning_rate", "averaging"),
    "published replay": ("readout", "input", "image_augmentation", "recording_augmentation"),
}
"""How a network learns, as far as a method does not use it."""


_AROUND = ("around", "around_options")


@dataclass(frozen=True)
class LearnerSettings:
    """How a network learns from a stream. What the method does not use keeps its default.

    Attributes:
        method: naive, joint, experience replay, published replay, gdumb, der++, latent replay, ewc, lwf, si, hlop,
            sleep, nearest prototype, nearest subspace or slda; or one of one's own, as ``path/to/file.py:Class`` or
            ``module:Class``.
        options: settings that a method of one's own has beside those here.
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
        augmentation: of replayed images alone, and of GDumb's.
        readout: ``spikes`` are the logits' only source (their count over the steps); ``drive`` adds the membrane
            potential that is left over the threshold; ``maximum``, ``mean``, ``last`` and ``sum`` are those of the
            potential over the steps. All but the first are for networks that give their output potentials.
        averaging: decay of the running mean of the weights that decides in place of the last ones; 0 for none. In the
            first steps n it is n / (n + 9), if that is less.
        image_augmentation: of images, new and replayed ones alike; see
            `spikelore.networks.gradient_learning.Augmentation`.
        recording_augmentation: of recordings of spikes, likewise; see
            `spikelore.networks.gradient_learning.RecordingAugmentation`.
        rehearsal_steps: steps on the memory alone, for each class seen, that a copy of the network takes before it is
            asked; GDumb's only learning, from fresh weights.
        rehearsal_learning_rate: of those steps, falling to 0 along a cosine.
        strength: weight of the term that protects old knowledge: EWC's lambda, LwF's, SI's, DER's alpha.
        replay_strength: weight of the replayed images' cross entropy: DER++'s beta.
        fisher_images: images that estimate EWC's Fisher information after each task.
        temperature: of LwF's softened outputs.
        damping: xi of SI.
        consolidate_after: images after which SI takes importance and anchor anew; 0 for after each task.
        subspace_share: neurons that HLOP learns a task's inputs of a layer with, as a share of what is free.
        hebbian_rate: by which they learn.
        sleep_images: images of noise after each task, of sleep.
        patch: side of their window, pixels.
        gain: factor of the currents in sleep.
        potentiation: step of a synapse whose input spiked when its neuron did, in sleep.
        depression: step of one whose input did not.
        freeze_after: images after which latent replay freezes the layers below ``network.split``; nearest
            prototype, nearest subspace and slda the whole network, of which they then learn the spikes of that layer. 0
            for networks of local rules.
        replay_order: of latent replay: stored spikes ``beside`` the new images of each step, or all ``after`` those of
            a pass; ``same after`` with the fault of the published code; see
            `spikelore.continual.methods.settings.LatentReplay`.
        shrinkage: of slda's covariance.
        units: of a class, of nearest subspace.
        faults: of the published code, to keep; see `spikelore.continual.methods.FAULTS`.
        stored_batches: M of the published replay: stored batches a task.
        replay_learning_rate: of the published replay's second Adam.
        grow_heads: a new head for each task, in training only the task's own (published, class-incremental).
        around: a method that works around this one: online decay, weight decay, decay once, pruning, protected units,
            fusion, or fusion, then replay; a local way: rate noise, frozen weights, langevin bounds, or
            pseudo-rehearsal; or one of one's own as ``method``. None if empty.
        around_options: its own settings, such as ``{tau_prune_images: 200}``; see `spikelore.continual.methods.around`.
    """

    method: str = "experience replay"
    options: dict[str, Any] = field(default_factory=dict, hash=False)
    epochs: int = 1
    batch: int = 32
    learning_rate: float = 1e-3
    replay_batch: int = 64
    balanced_replay: bool = True
    loss_over: Literal["all", "seen", "batch"] = "all"
    input: Literal["grey", "spikes"] = "grey"
    augmentation: Augmentation = field(default_factory=Augmentation)
    readout: Readout = "spikes"
    averaging: float = 0.0
    image_augmentation: Augmentation = field(default_factory=Augmentation)
    recording_augmentation: RecordingAugmentation = field(default_factory=RecordingAugmentation)
    rehearsal_steps: int = 0
    rehearsal_learning_rate: float = 1e-3
    strength: float = 1.0
    replay_strength: float = 1.0
    fisher_images: int = 500
    temperature: float = 2.0
    damping: float = 0.1
    consolidate_after: int = 0
    subspace_share: float = 0.1
    hebbian_rate: float = 1.0
    sleep_images: int = 300
    patch: int = 10
    gain: float = 1.5
    potentiation: float = 0.0002
    depression: float = 0.0006
    freeze_after: int = 5000
    replay_order: ReplayOrder = "beside"
    shrinkage: float = 0.01
    units: int = 40
    faults: tuple[Fault, ...] = ()
    stored_batches: int = 0
    replay_learning_rate: float = 1e-4
    grow_heads: bool = False
    around: str = ""
    around_options: dict[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        check_fields(self)
        if self.method not in METHODS and ":" not in self.method:
            raise InputError(
                f"method is {self.method!r}, expected one of {', '.join(METHODS)}, or one of your own as FILE.py:CLASS;"
                " choose one"
            )

    @property
    def kind(self) -> type[Method]:
        """The method's class; InputError if it is one's own and cannot be imported."""
        expected = "a subclass of spikelore.continual.method.Method with a name"
        return METHODS.get(self.method) or own_class("learner.method", self.method, expected, _is_method)

    @property
    def used(self) -> dict[str, str]:
        """The settings that the method uses, by name: what it calls them, or "" for the network's."""
        has = {one.name for one in fields(self.kind)}
        unused = _UNUSED_LEARNING.get(self.method, ())
        found = {one.name: _CALLED.get(one.name, one.name) for one in fields(self)}
        learning = {one.name: "" for one in fields(GradientLearning) if one.name not in unused}
        return {name: called for name, called in found.items() if called in has} | learning

    def split(self, memory: MemorySettings) -> tuple[Method, GradientLearning]:
        """Return the method with its own settings, and how its network learns.

        Raises:
            InputError: a setting, of these or of the memory, that the method does not use and that differs from its
                default, or a value that the method refuses.
        """
        kind, used = self.kind, self.used
        own = {called: getattr(self, name) for name, called in used.items() if called}
        if "memory" in {one.name for one in fields(kind)}:
            own["memory"] = memory
        elif memory.images or memory.bytes:
            raise InputError(
                f"{kind.name} keeps no examples, so a memory of {memory.images} images and {memory.bytes} bytes has no "
                "meaning; set both to 0 or choose another method"
            )
        else:
            for one in fields(memory):
                _refuse_unused(f"memory.{one.name}", getattr(memory, one.name), _default(one), kind.name)
        for one in fields(self):
            if one.name not in ("method", *_AROUND, *used) and not (
                one.name == "options" and self.method not in METHODS
            ):
                _refuse_unused(one.name, getattr(self, one.name), _default(one), kind.name)
        if given := self.options:
            typed.check_values(kind, given, "learner.options.")
            if both := sorted(set(given) & set(own)):
                raise InputError(f"learner.options has {both[0]}, expected it as a setting of its own; move it there")
            own |= {name: typed.converted(kind, name, value) for name, value in given.items()}
        learning = {one.name: getattr(self, one.name) for one in fields(GradientLearning)}
        return self._with_around(_method(kind, own, "learner.method")), GradientLearning(**learning)

    def _with_around(self, base: Method) -> Method:
        """Return the method that works around another one, if there is one."""
        if not self.around:
            _refuse_unused("around_options", self.around_options, {}, "no method around another")
            return base
        from spikelore.continual.methods.around import AROUND
        from spikelore.continual.methods.local_ways import LOCAL_WAYS

        known = AROUND | LOCAL_WAYS
        kind = known.get(self.around)
        if kind is None and ":" not in self.around:
            raise InputError(
                f"learner.around is {self.around!r}, expected one of {'; '.join(known)}, or one of your own as "
                "FILE.py:CLASS; choose one"
            )
        kind = kind or own_class("learner.around", self.around, "a method that works around another", _is_method)
        typed.check_values(kind, self.around_options, "learner.around_options.")
        given = {name: typed.converted(kind, name, value) for name, value in self.around_options.items()}
        return _method(kind, {**given, "base": base}, "learner.around")

    def turned_to(self, method: str) -> Self:
        """Return the settings for another method: those that it does not use go back to their defaults."""
        other = replace(self, method=method, options={})
        left = [one for one in fields(self) if one.name not in ("method", *other.used)]
        return replace(other, **{one.name: _default(one) for one in left})

    @classmethod
    def of(cls, method: Method, learning: GradientLearning) -> Self:
        """Return the settings that `split` makes one of our methods and a way of learning from."""
        blank = cls(type(method).name)
        given = {name: getattr(method, called) if called else getattr(learning, name)
                 for name, called in blank.used.items()}  # fmt: skip
        return replace(blank, **given)

    @classmethod
    def best(cls, **changes: Any) -> Self:
        """Return the ``best`` replay preset, `DarkReplay.best`; for `SurrogateConfig.best`."""
        learning = GradientLearning(learning_rate=2e-3, readout="drive", averaging=0.98)
        return replace(cls.of(DarkReplay.best(MemorySettings(images=1)), learning), **changes)


def _method(kind: type[Method], settings: Mapping[str, Any], name: str) -> Method:
    try:
        return kind(**settings)
    except TypeError as error:  # a setting without a default, of one's own
        raise InputError(f"{name} names {kind.name}, which is refused ({error}); give its settings") from error


def _is_method(found: type) -> bool:
    return issubclass(found, Method) and bool(getattr(found, "name", ""))


def _default(one: Any) -> Any:
    return one.default_factory() if callable(one.default_factory) else one.default


def _refuse_unused(name: str, value: Any, default: Any, method: str) -> None:
    if value != default:
        raise InputError(
            f"{name} is {value!r}, expected {default!r} with {method}, which does not use it; leave it out or choose "
            "another method"
        )


def for_variant(learner: LearnerSettings, memory: MemorySettings, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a variant's nested values, if it names a method or a kind of network, with all of what it leaves unsaid.

    Of its base's settings it has those that its method and network have; the rest goes back to the defaults.
    """
    given, turned = values.get("learner", {}), learner
    if "kind" in values.get("network", {}):
        turned = replace(turned, **{one.name: one.default for one in fields(GradientLearning)})
    if "method" in given:
        turned = turned.turned_to(given["method"])
        if "memory" not in {one.name for one in fields(turned.kind)}:
            memory = MemorySettings()
        elif turned.kind is LatentReplay:
            memory = replace(memory, storage="raw")
    if turned == learner:
        return dict(values)
    return {
        **values,
        "learner": typed.merged(LearnerSettings, typed.plain(turned), given),
        "memory": typed.merged(MemorySettings, typed.plain(memory), values.get("memory", {})),
    }
