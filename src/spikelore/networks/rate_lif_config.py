"""Constants of the rate-coded network of leaky integrate-and-fire neurons, and the presets."""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, Self

import numpy as np

from spikelore.coding.poisson import level_probabilities
from spikelore.errors import InputError, check_fields, check_whole
from spikelore.kernels.lif_network import Constants, Presentation
from spikelore.shapes import Images, as_labels
from spikelore.units import ms_to_steps

Teacher = Literal["none", "forced"]
"""Whether a teacher chooses who may fire in training."""

MOST_CLASSES_ALL_LTD = 4
"""With more classes `RateLIFConfig.best` takes a teacher."""


@dataclass(frozen=True)
class RateLIFConfig:
    """Every constant of the network; the defaults are the published ones.

    Sources: the public code of Antonov and Sukhov 2024 ("Weight regularization in spiking neural networks",
    Neuroinformatics); constants marked D are those of Diehl and Cook 2015 (doi 10.3389/fncom.2015.00099).

    Attributes:
        classes: labels of the classes, in the order of their groups of neurons.
        neurons_per_class: excitatory neurons a class (10): one number for all, or one for each; equal ones become one.
        height: rows of an image.
        width: columns of an image.
        straighten: whether the network sets each image upright before it becomes spikes, in training and after, see
            `spikelore.coding.straight.straightened`.
        dt_ms: time step; larger steps are another, coarser network with other spikes, not a faster same one.
        rate_hz_per_level: input rate of a pixel by grey level 0 to 255, so 255 means 63.75 Hz (D).
        active_ms: how long an image is shown (D).
        silent_ms: pause after it in training (D).
        threshold_mode: ``hold`` fixes the firing threshold at each image's start to the adaptive one's value,
            and in testing to its rest, as the published code does; ``continuous`` follows it always, as the
            published text says.
        exc_start_mv: excitatory and inhibitory potentials before training, 20 mV below rest.
        exc_rest_mv: resting potential of excitatory neurons (D: -65).
        exc_reset_mv: their potential after a spike (D).
        exc_tau_ms: their membrane time constant (D).
        exc_refractory_ms: time after a spike in which they cannot fire (D).
        exc_reversal_mv: reversal potential of excitatory conductances (D).
        inh_reversal_mv: reversal potential of inhibitory conductances on excitatory neurons (D).
        exc_conductance_tau_ms: decay of excitatory conductances.
        inh_conductance_tau_ms: decay of inhibitory conductances.
        threshold_rest_mv: adaptive threshold at rest (D).
        threshold_tau_ms: its time constant.
        threshold_step_mv: its rise at a spike.
        inh_rest_mv: resting potential of inhibitory neurons (D).
        inh_reset_mv: their potential after a spike (D).
        inh_tau_ms: their membrane time constant (D).
        inh_refractory_ms: time after a spike in which they cannot fire (D).
        inh_threshold_mv: their firing threshold (D).
        exc_to_inh_weight: conductance a spike opens on the partner; makes it fire.
        inh_to_exc_total: conductance a partner's spike opens on each other neuron, times their number.
        exc_to_inh_delay_ms: delays are uniform from 0 to this (D).
        inh_to_exc_delay_ms: delays are uniform from 0 to this.
        weight_max: upper bound of input weights; the lower is 0. They start uniform between the two.
        learning_rate: rise of the presynaptic trace at an input spike, in shares of ``weight_max``.
        fine_learning_rate: the learning rate from image number ``fine_after_images`` on.
        fine_after_images: None for one rate throughout, as published.
        depression: fall of the postsynaptic trace at an output spike, in rises of the presynaptic one.
        trace_tau_ms: decay of both traces.
        other_classes: strength of all-LTD in the neurons of other classes, 1 as strong as STDP.
        teacher: ``none`` lets all neurons take part in training, as published. ``forced`` holds those of other
            classes still, starts each image at rest and learns at output spikes alone, see
            `spikelore.kernels.lif_network.train_forced_`; it uses the next three constants, and neither
            ``depression`` nor ``other_classes``.
        weight_norm: Euclidean norm to which a neuron's weights are scaled, in shares of ``weight_max``.
        start_at_norm: whether weights have that norm from the start. If not, a neuron that never won an image still has
            its many large first weights, fires more than those that learned, and decides for its class.
        in_use_ms: how long ago an input spiked at most for its weights to be scaled.
        homeostasis_mv: change of the homeostatic thresholds an image.
        decay_each_spike_tau_ms: tau_prune of the decay at every presynaptic spike, None for no such decay.
            Weights die of it; see `spikelore.continual.unused_decay` for forms they survive.

    Raises:
        InputError: a value has no meaning: NaN or out of range, one class alone, no neuron, a step longer
            than a time constant.
    """

    classes: tuple[int, ...] = (7, 4, 6)
    neurons_per_class: int | tuple[int, ...] = 10
    height: int = 28
    width: int = 28
    straighten: bool = False
    dt_ms: float = 0.1
    rate_hz_per_level: float = 0.25
    active_ms: float = 350.0
    silent_ms: float = 150.0
    threshold_mode: Literal["hold", "continuous"] = "hold"
    exc_start_mv: float = -80.0
    exc_rest_mv: float = -60.0
    exc_reset_mv: float = -65.0
    exc_tau_ms: float = 100.0
    exc_refractory_ms: float = 5.0
    exc_reversal_mv: float = 0.0
    inh_reversal_mv: float = -100.0
    exc_conductance_tau_ms: float = 5.0
    inh_conductance_tau_ms: float = 10.0
    threshold_rest_mv: float = -52.0
    threshold_tau_ms: float = 150.0
    threshold_step_mv: float = 3.0
    inh_rest_mv: float = -60.0
    inh_reset_mv: float = -45.0
    inh_tau_ms: float = 10.0
    inh_refractory_ms: float = 2.0
    inh_threshold_mv: float = -40.0
    exc_to_inh_weight: float = 3.0
    inh_to_exc_total: float = 3.0
    exc_to_inh_delay_ms: float = 10.0
    inh_to_exc_delay_ms: float = 5.0
    weight_max: float = 0.05
    learning_rate: float = 0.01
    fine_learning_rate: float = 0.0025
    fine_after_images: int | None = None
    depression: float = 1.05
    trace_tau_ms: float = 20.0
    other_classes: float = 1.0
    teacher: Teacher = "none"
    weight_norm: float = 3.0
    start_at_norm: bool = False
    in_use_ms: float = 1e9
    homeostasis_mv: float = 1.0
    decay_each_spike_tau_ms: float | None = None

    def __post_init__(self) -> None:
        plain = as_labels(self.classes, what="classes", least=-(2**63)).tolist()
        object.__setattr__(self, "classes", tuple(plain))
        check_fields(self)
        self._check_numbers()
        if len(set(self.classes)) != len(self.classes):
            raise InputError(f"classes are {list(self.classes)}, expected each once; name each class once")
        if len(self.classes) < 2:
            raise InputError(
                f"classes are {list(self.classes)}, expected at least two; a class alone leaves nothing to "
                "tell apart, add another"
            )
        if any(label < 0 for label in self.classes):
            raise InputError(f"class {min(self.classes)} is negative, expected 0 or more; renumber the classes")
        for name in ("height", "width"):
            _check_size(name, getattr(self, name))
        self._check_groups()
        shortest = min((getattr(self, name), name) for name in _TIME_CONSTANTS)
        if not 0 < self.dt_ms <= shortest[0]:
            raise InputError(
                f"dt_ms is {self.dt_ms}, expected more than 0 and at most {shortest[1]} = {shortest[0]}; "
                "choose a smaller time step"
            )
        if ms_to_steps(self.active_ms, self.dt_ms) < 1:
            raise InputError(f"active_ms is {self.active_ms}, expected at least a time step; show images longer")
        for names, most in _MOST_STEPS.items():
            for name in names:
                if getattr(self, name) / self.dt_ms > most:
                    raise InputError(
                        f"{name} is {getattr(self, name)}, expected at most {most:g} steps of dt_ms = {self.dt_ms}; "
                        "choose a shorter time"
                    )
        level_probabilities(self.rate_hz_per_level, self.dt_ms)

    def _check_groups(self) -> None:
        given = self.neurons_per_class
        if not isinstance(given, Sequence | np.ndarray):
            _check_size("neurons_per_class", given)
            return
        if len(given) != len(self.classes):
            raise InputError(
                f"neurons_per_class are {list(given)}, expected {len(self.classes)} numbers, one for each class, or "
                "one for all; give as many"
            )
        for each in given:
            _check_size("neurons_per_class", each)
        sizes = tuple(int(each) for each in given)
        object.__setattr__(self, "neurons_per_class", sizes[0] if len(set(sizes)) == 1 else sizes)

    def _check_numbers(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "decay_each_spike_tau_ms":
                if value is not None and not value > 0:
                    raise InputError(f"{field.name} is {value}, expected a time greater than 0; give None for no decay")
            elif field.name == "fine_after_images":
                if value is not None and value < 0:
                    raise InputError(f"{field.name} is {value}, expected 0 or more; give None for one rate")
            elif field.name not in ("classes", "neurons_per_class", "threshold_mode", "teacher"):
                if field.name in _TIME_CONSTANTS and not value > 0:
                    raise InputError(f"{field.name} is {value}, expected more than 0; choose a time constant")
                if not field.name.endswith("_mv") and value < 0:
                    raise InputError(f"{field.name} is {value}, expected 0 or more; choose another value")
        if not self.weight_max > 0:
            raise InputError(f"weight_max is {self.weight_max}, expected more than 0; 0.05 is the published one")
        if not self.weight_norm > 0:
            raise InputError(f"weight_norm is {self.weight_norm}, expected more than 0; choose a larger norm")

    @classmethod
    def published(cls, classes: Sequence[int] = (7, 4, 6)) -> Self:
        """Return the network of the public code, for ``classes``."""
        return cls(classes=tuple(classes))

    @classmethod
    def best(
        cls,
        classes: Sequence[int] = (7, 4, 6),
        neurons_per_class: int | None = None,
        images: int = 15000,
        teacher: Teacher | None = None,
    ) -> Self:
        """Return our own setting: local learning only, far better; see docs/decay.md for what was tried.

        Without a teacher: the published rule with neurons that inhibit each other twenty times as strongly,
        brighter input and a smaller learning rate, in steps of 0.5 ms. With one: only the group of the image's
        class learns, in steps of 1 ms, with partners that answer at once.

        Args:
            classes: labels of the classes.
            neurons_per_class: None for 40 with the published rule, 100 with a teacher.
            images: training images to come; the learning rate falls for the last third.
            teacher: None for ``none`` up to `MOST_CLASSES_ALL_LTD` classes and ``forced`` with more: a neuron is
                punished by all other classes and taught by one, so with many of them all-LTD lets weights die.
        """
        labels = tuple(classes)
        if teacher is None:
            teacher = "none" if len(labels) <= MOST_CLASSES_ALL_LTD else "forced"
        if teacher == "none":
            return cls(
                classes=labels,
                straighten=True,
                neurons_per_class=40 if neurons_per_class is None else neurons_per_class,
                dt_ms=0.5,
                rate_hz_per_level=0.4,
                inh_to_exc_total=60.0,
                learning_rate=0.004,
                fine_learning_rate=0.001,
                fine_after_images=images * 2 // 3,
                other_classes=min(1.0, 2 / max(1, len(labels) - 1)),
            )
        group = 100 if neurons_per_class is None else neurons_per_class
        return cls(
            classes=labels,
            straighten=True,
            neurons_per_class=group,
            dt_ms=1.0,
            active_ms=250.0,
            exc_to_inh_weight=10.0,
            inh_to_exc_total=0.5 * group * len(labels),
            exc_to_inh_delay_ms=0.0,
            inh_to_exc_delay_ms=0.0,
            learning_rate=0.015,
            fine_learning_rate=0.003,
            trace_tau_ms=40.0,
            fine_after_images=images * 2 // 3,
            teacher=teacher,
            weight_norm=3.0,
            homeostasis_mv=1.0,
        )

    @classmethod
    def stream(cls, classes: Sequence[int], **changes: Any) -> Self:
        """Return the setting for classes that come one after another: `best` with a teacher and one learning rate.

        `best` lets the learning rate fall for the last third of the images. In a stream that third holds the last
        classes alone, which then hardly learn: on split-MNIST the last task loses tens of points. So the rate is
        constant here, between `best`'s two. Weights start at their norm, so that classes to come are silent. The
        inhibition follows the number of neurons, as there.

        Args:
            classes: labels of all classes to come.
            changes: other values of any field.

        Raises:
            InputError: an unknown field, or a value that has no meaning.

        Example:
            >>> from spikelore.networks.rate_lif import RateLIFConfig
            >>> config = RateLIFConfig.stream(range(10), neurons_per_class=50)
            >>> config.neurons, config.learning_rate, config.constants().inh_to_exc_weight
            (500, 0.006, 0.5)
        """
        known = [field.name for field in fields(cls)]
        if unknown := [name for name in changes if name not in known]:
            raise InputError(f"{unknown[0]} is not known, expected one of {', '.join(known)}; correct the name")
        base = cls.best(tuple(classes), teacher="forced")
        own = {"learning_rate": 0.006, "fine_after_images": None, "start_at_norm": True, "straighten": False}
        found = replace(base, **{**own, **changes})
        if "inh_to_exc_total" in changes:
            return found
        return replace(found, inh_to_exc_total=0.5 * found.neurons)

    @property
    def group_sizes(self) -> tuple[int, ...]:
        """Number of excitatory neurons of each class."""
        sizes = self.neurons_per_class
        return sizes if isinstance(sizes, tuple) else (sizes,) * len(self.classes)

    @property
    def inputs_digest(self) -> str:
        """SHA-256 of everything but the classes, their neurons and the inhibition between these.

        Networks with equal digests show images alike, to neurons that are alike.
        """
        own = {key: value for key, value in asdict(self).items() if key not in _OF_NEURONS}
        return hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()

    @property
    def inputs(self) -> int:
        """Number of pixels."""
        return self.height * self.width

    @property
    def neurons(self) -> int:
        """Number of excitatory neurons."""
        return sum(self.group_sizes)

    def check_images(self, images: Images) -> None:
        """Refuse images (N,H,W) of another size.

        Raises:
            InputError: they have one.
        """
        if images.shape[1:] != (self.height, self.width):
            raise InputError(
                f"images are {images.dtype} of shape {images.shape}, expected uint8 of shape (images, "
                f"{self.height}, {self.width}); configure the network for their size"
            )

    @property
    def image_ms(self) -> float:
        """Time that a training image takes, with its pause."""
        return self.active_ms + self.silent_ms

    def constants(self, images_seen: int = 0) -> Constants:
        """Return what the kernel needs for the image after ``images_seen`` others."""
        fine = self.fine_after_images is not None and images_seen >= self.fine_after_images
        rise = (self.fine_learning_rate if fine else self.learning_rate) * self.weight_max
        return Constants(
            dt_ms=self.dt_ms,
            continuous_threshold=self.threshold_mode == "continuous",
            exc_rest_mv=self.exc_rest_mv,
            exc_reset_mv=self.exc_reset_mv,
            exc_tau_ms=self.exc_tau_ms,
            exc_refractory_steps=ms_to_steps(self.exc_refractory_ms, self.dt_ms),
            exc_reversal_mv=self.exc_reversal_mv,
            inh_reversal_mv=self.inh_reversal_mv,
            exc_conductance_tau_ms=self.exc_conductance_tau_ms,
            inh_conductance_tau_ms=self.inh_conductance_tau_ms,
            threshold_rest_mv=self.threshold_rest_mv,
            threshold_tau_ms=self.threshold_tau_ms,
            threshold_step_mv=self.threshold_step_mv,
            inh_rest_mv=self.inh_rest_mv,
            inh_reset_mv=self.inh_reset_mv,
            inh_tau_ms=self.inh_tau_ms,
            inh_refractory_steps=ms_to_steps(self.inh_refractory_ms, self.dt_ms),
            inh_threshold_mv=self.inh_threshold_mv,
            exc_to_inh_weight=self.exc_to_inh_weight,
            inh_to_exc_weight=self.inh_to_exc_total / self.neurons,
            weight_max=self.weight_max,
            pre_trace_step=rise,
            post_trace_step=-self.depression * rise,
            pre_trace_tau_ms=self.trace_tau_ms,
            post_trace_tau_ms=self.trace_tau_ms,
            tau_prune_ms=self.decay_each_spike_tau_ms or 0.0,
        )

    def presentation(self) -> Presentation:
        """Return how images are shown, for the kernel."""
        probabilities = level_probabilities(self.rate_hz_per_level, self.dt_ms)
        drawn = (probabilities > 0) & (probabilities < 1)
        scales = np.zeros(256)
        scales[drawn] = [1 / math.log1p(-p) for p in probabilities[drawn]]
        active, silent = (ms_to_steps(time, self.dt_ms) for time in (self.active_ms, self.silent_ms))
        return Presentation(active, silent, probabilities, scales)


_MOST_STEPS = {
    ("active_ms", "silent_ms", "exc_to_inh_delay_ms", "inh_to_exc_delay_ms"): 1e5,
    ("trace_tau_ms",): 1e4,
    ("exc_refractory_ms", "inh_refractory_ms", "in_use_ms"): 1e15,
}
"""What is computed step by step, what has a table of its decay, and what is only counted."""

_TIME_CONSTANTS = (
    "exc_tau_ms",
    "exc_conductance_tau_ms",
    "inh_conductance_tau_ms",
    "threshold_tau_ms",
    "inh_tau_ms",
    "trace_tau_ms",
)

_OF_NEURONS = ("classes", "neurons_per_class", "inh_to_exc_total")


def _check_size(name: str, value: Any) -> None:
    if value < 1:
        raise InputError(f"{name} is {value}, expected at least 1; choose a larger number")
    check_whole(name, value, 1)
