"""The rate-coded network of leaky integrate-and-fire neurons that learns by STDP and all-LTD.

One group of excitatory neurons a class, each with an inhibitory partner that inhibits all others. The group
that fires most names the class. The operation itself is `spikelore.kernels.lif_network`.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from numbers import Integral
from pathlib import Path
from typing import Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from spikelore.coding.poisson import level_probabilities, poisson_spikes, stream_key
from spikelore.errors import InputError, check_whole
from spikelore.files import load_tensors, save_tensors
from spikelore.kernels import DEFAULT_BACKEND
from spikelore.kernels.lif_network import (
    Constants,
    Delays,
    Events,
    Forcing,
    Plasticity,
    Presentation,
    Rule,
    Spikes,
    State,
    count_spikes,
    initial_state,
    run_,
    train_,
    train_forced_,
)
from spikelore.randomness import generator
from spikelore.shapes import Images, Labels, as_images, as_labels
from spikelore.units import ms_to_steps

_FORMAT = "spikelore rate-coded LIF network 1"
_TRAINING, _TESTING = 0, 1  # streams of spike trains


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
        neurons_per_class: excitatory neurons a class (10).
        height: rows of an image.
        width: columns of an image.
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
        in_use_ms: how long ago an input spiked at most for its weights to be scaled.
        homeostasis_mv: change of the homeostatic thresholds an image.
        decay_each_spike_tau_ms: tau_prune of the decay at every presynaptic spike, None for no such decay.
            Weights die of it; see `spikelore.continual.unused_decay` for forms they survive.

    Raises:
        InputError: a value has no meaning: NaN or out of range, one class alone, no neuron, a step longer
            than a time constant.
    """

    classes: tuple[int, ...] = (7, 4, 6)
    neurons_per_class: int = 10
    height: int = 28
    width: int = 28
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
    in_use_ms: float = 1e9
    homeostasis_mv: float = 1.0
    decay_each_spike_tau_ms: float | None = None

    def __post_init__(self) -> None:
        plain = as_labels(self.classes, what="classes", least=-(2**63)).tolist()
        object.__setattr__(self, "classes", tuple(plain))
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
        for name in ("neurons_per_class", "height", "width"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}, expected at least 1; choose a larger number")
            check_whole(name, getattr(self, name), 1)
        shortest = min((getattr(self, name), name) for name in _TIME_CONSTANTS)
        if not 0 < self.dt_ms <= shortest[0]:
            raise InputError(
                f"dt_ms is {self.dt_ms}, expected more than 0 and at most {shortest[1]} = {shortest[0]}; "
                "choose a smaller time step"
            )
        if ms_to_steps(self.active_ms, self.dt_ms) < 1:
            raise InputError(f"active_ms is {self.active_ms}, expected at least a time step; show images longer")
        level_probabilities(self.rate_hz_per_level, self.dt_ms)

    def _check_numbers(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "threshold_mode":
                if value not in ("hold", "continuous"):
                    raise InputError(f"threshold_mode is {value!r}, expected 'hold' or 'continuous'; choose one")
            elif field.name == "teacher":
                if value not in ("none", "forced"):
                    raise InputError(f"teacher is {value!r}, expected 'none' or 'forced'; choose one")
            elif field.name == "decay_each_spike_tau_ms":
                if value is not None and not (math.isfinite(value) and value > 0):
                    raise InputError(f"{field.name} is {value}, expected a time greater than 0; give None for no decay")
            elif field.name == "fine_after_images":
                if value is not None and value < 0:
                    raise InputError(f"{field.name} is {value}, expected 0 or more; give None for one rate")
            elif field.name != "classes":
                if not isinstance(value, float | int | np.number) or not math.isfinite(value):
                    raise InputError(f"{field.name} is {value!r}, expected a finite number; correct it")
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

    @property
    def inputs(self) -> int:
        """Number of pixels."""
        return self.height * self.width

    @property
    def neurons(self) -> int:
        """Number of excitatory neurons."""
        return len(self.classes) * self.neurons_per_class

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


_TIME_CONSTANTS = (
    "exc_tau_ms",
    "exc_conductance_tau_ms",
    "inh_conductance_tau_ms",
    "threshold_tau_ms",
    "inh_tau_ms",
    "trace_tau_ms",
)


class Recording(NamedTuple):
    """One image as the network sees it; steps count from the image's start."""

    input_spikes: NDArray[np.int64]
    """(n,2): step, input."""
    exc_spikes: NDArray[np.int64]
    """(n,2): step, neuron."""
    inh_spikes: NDArray[np.int64]
    """(n,2): step, neuron."""
    time_ms: NDArray[np.float64]
    """(S,) times of the samples below, one a millisecond."""
    exc_potential_mv: NDArray[np.float64]
    """(S,N)"""
    adaptive_threshold_mv: NDArray[np.float64]
    """(S,N)"""


class RateLIFNetwork:
    """The network: configuration, fixed delays, and a state that training carries from image to image.

    The state after n images depends on the configuration, the seed and those images alone: not on how they
    were divided over calls of `train`, nor on a save and load in between. Testing never changes it.

    Args:
        config: every constant.
        seed: root seed of weights, delays and spike trains.
        backend: ``numba_cpu`` or ``reference``.

    Raises:
        InputError: the seed is negative.

    Example:
        >>> import numpy as np
        >>> from spikelore.networks.rate_lif import RateLIFConfig, RateLIFNetwork
        >>> network = RateLIFNetwork(RateLIFConfig(classes=(0, 1), height=2, width=2), seed=0)
        >>> images = np.zeros((3, 2, 2), np.uint8)
        >>> network.predict(images).tolist()
        [-1, -1, -1]
    """

    def __init__(self, config: RateLIFConfig, *, seed: int, backend: str = DEFAULT_BACKEND) -> None:
        if not isinstance(seed, Integral) or not 0 <= seed < 2**63:
            raise InputError(f"seed is {seed}, expected 0 or more, below 2^63; choose another seed")
        self.config = config
        self.seed = seed
        self.images_seen = 0
        self._backend = backend
        self._constants = config.constants()
        self._presentation = config.presentation()
        n = config.neurons
        draw = generator(seed, "rate_lif", "delays")
        self._delays = Delays(
            np.rint(draw.uniform(0, config.exc_to_inh_delay_ms, n) / config.dt_ms).astype(np.int64),
            np.rint(draw.uniform(0, config.inh_to_exc_delay_ms, (n, n)) / config.dt_ms).astype(np.int64),
        )
        weights = generator(seed, "rate_lif", "weights").uniform(0, config.weight_max, (config.inputs, n))
        self._state = self._fresh_state(weights, config.exc_start_mv)

    @property
    def weights(self) -> NDArray[np.float64]:
        """(I,N) input weights, the network's own array: changing it changes the network."""
        return self._state.weights

    @property
    def neuron_classes(self) -> NDArray[np.int64]:
        """(N,) class of each excitatory neuron."""
        return np.repeat(np.array(self.config.classes, np.int64), self.config.neurons_per_class)

    @property
    def adaptive_threshold_mv(self) -> NDArray[np.float64]:
        """(N,) adaptive thresholds, a copy."""
        return self._state.adaptive_threshold.copy()

    @property
    def last_presynaptic_spike_ms(self) -> NDArray[np.float64]:
        """(I,1) when each input last spiked in training, 0 at the start; broadcasts to the weights."""
        return self._state.last_input_spike[:, None].astype(np.float64) * self.config.dt_ms

    @property
    def now_ms(self) -> float:
        """How long the network has been trained, in its own time."""
        return float(self._state.step[0]) * self.config.dt_ms

    def train(
        self,
        images: Images,
        labels: Labels,
        *,
        every_images: int = 100,
        between: Callable[["RateLIFNetwork"], None] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> NDArray[np.int64]:
        """Learn from ``images`` in their order and return their excitatory spikes (M,N).

        Args:
            images: (M,H,W) uint8.
            labels: (M,), each one of the configured classes.
            every_images: images between two calls of ``between`` and ``progress``; they are made when the
                number of images the network has seen is a multiple of it, so a resumed run makes the same.
            between: called with the network, to fade or save weights.
            progress: called with the number of images done and M.

        Raises:
            InputError: images of another size or type, a label that is not one of the classes, or weights that are not
                finite numbers.
        """
        images = self._as_images(images)
        targets = self._class_indices(labels, len(images))
        check_whole("every_images", every_images, 1)
        self._check_weights()
        counts = np.zeros((len(images), self.config.neurons), np.int64)
        done = 0
        while done < len(images):
            chunk = slice(done, min(len(images), done + self._images_to_pause(every_images)))
            counts[chunk] = self._learn(images[chunk], targets[chunk])
            self.images_seen += chunk.stop - chunk.start
            done = chunk.stop
            if between is not None and self.images_seen % every_images == 0:
                between(self)
            if progress is not None:
                progress(done, len(images))
        return counts

    def count_spikes(self, images: Images, *, first_image: int = 0) -> NDArray[np.int64]:
        """Return the excitatory spikes of each image, (M,N), with learning off, on all cores.

        Each image starts from the same state: potentials at rest, no conductance, adaptive thresholds at
        rest. (The published code lets the state run on from image to image; the 150 ms pause leaves little
        of it.) Image m has the spike train of index ``first_image + m`` whatever its neighbours.

        Raises:
            InputError: images of another size or type, or none, or weights that are not finite numbers.
        """
        images = self._as_images(images)
        if not len(images):
            raise InputError("there are no images to show; give at least one")
        check_whole("first_image", first_image)
        self._check_weights()
        return count_spikes(
            self._testing_state(),
            self._constants,
            self._delays,
            self._presentation,
            images,
            seed=self.seed,
            stream=_TESTING,
            first_image=first_image,
            backend=self._backend,
        )

    def decide(self, counts: NDArray[np.int64]) -> Labels:
        """Return the class whose neurons fired most, (M,), from spikes (M,N); -1 = none fired.

        Of equal classes the one that comes first in the configuration wins.

        Raises:
            InputError: not a column for each neuron.
        """
        votes = self._votes(counts)
        winners = np.array(self.config.classes, np.int64)[votes.argmax(1)]
        return np.where(votes.any(1), winners, -1)

    def predict(self, images: Images) -> Labels:
        """Return the decided class of each image, (M,) int64; -1 = unrecognised: no neuron fired."""
        return self.decide(self.count_spikes(images))

    def class_scores(self, images: Images) -> NDArray[np.float32]:
        """Return the spikes of each class's neurons, (M, classes), in the order of the configuration."""
        return self._votes(self.count_spikes(images)).astype(np.float32)

    def synaptic_operations(self, images: Images, *, first_image: int = 0) -> NDArray[np.int64]:
        """Return how many synapses spikes cross while each image is shown, (M,): input, partner and lateral.

        An input spike crosses N synapses, an excitatory one one, and the inhibitory one that it causes N - 1.
        """
        n, images = self.config.neurons, self._as_images(images)
        output = self.count_spikes(images, first_image=first_image).sum(1)
        given = [len(self._events(image, first_image + m).inputs) for m, image in enumerate(images)]
        return np.array(given, np.int64) * n + output * n

    def record(self, image: NDArray[np.uint8], *, index: int = 0) -> Recording:
        """Return every spike and, each millisecond, every potential while one image (H,W) is shown."""
        image = self._as_images(np.asarray(image)[None])[0]
        state, events = self._testing_state(), self._events(image, index)
        silent = np.zeros(self.config.neurons)
        stride = max(1, ms_to_steps(1.0, self.config.dt_ms))
        steps = len(events.starts) - 1
        parts: list[Spikes] = []
        potentials, thresholds = [], []
        for start in range(0, steps, stride):
            potentials.append(state.exc_potential.copy())
            thresholds.append(state.adaptive_threshold.copy())
            starts = events.starts[start : min(steps, start + stride) + 1]
            part = Events(starts - starts[0], events.inputs[starts[0] : starts[-1]])
            parts.append(
                run_(
                    state,
                    self._constants._replace(tau_prune_ms=0.0),
                    self._delays,
                    part,
                    Plasticity(silent, silent),
                    backend=self._backend,
                )
            )
        when = np.repeat(np.arange(steps), np.diff(events.starts))
        return Recording(
            np.stack([when, events.inputs], 1).astype(np.int64),
            np.concatenate([part.exc for part in parts]),
            np.concatenate([part.inh for part in parts]),
            np.arange(0, steps, stride, dtype=np.float64) * self.config.dt_ms,
            np.array(potentials),
            np.array(thresholds),
        )

    def copy(self) -> "RateLIFNetwork":
        """Return an equal network that shares no state with this one."""
        other = RateLIFNetwork(self.config, seed=self.seed, backend=self._backend)
        other.load_state_dict(self.state_dict())
        return other

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return copies of all arrays that a resumed run needs, by name; ready for safetensors."""
        arrays = self._state.copy().arrays()
        arrays["exc_to_inh_delay"] = self._delays.exc_to_inh.copy()
        arrays["inh_to_exc_delay"] = self._delays.inh_to_exc.copy()
        arrays["images_seen"] = np.array([self.images_seen], np.int64)
        arrays["seed"] = np.array([self.seed], np.int64)
        return arrays

    def load_state_dict(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take over what `state_dict` of a network of the same configuration returned, and go on alike.

        Raises:
            InputError: an array is missing, has another shape or type or holds NaN; nothing is changed then.
        """
        loaded = {}
        queues = ("to_inh_queue", "to_exc_queue")  # as long as the longest delay of that network
        for name, own in self.state_dict().items():
            if name not in arrays:
                raise InputError(f"the checkpoint has no {name}; take one of a rate-coded LIF network")
            given = np.array(arrays[name])
            shape = own.shape[1:] if name in queues else own.shape
            if (given.shape[1:] if name in queues else given.shape) != shape or given.dtype != own.dtype:
                raise InputError(
                    f"{name} of the checkpoint is {given.dtype} of shape {given.shape}, expected {own.dtype} "
                    f"of shape {own.shape}; load it into a network of its own configuration"
                )
            if np.isnan(given).any() or (name == "weights" and np.isinf(given).any()):
                kind = "NaN" if np.isnan(given).any() else "infinite values"
                raise InputError(f"{name} of the checkpoint holds {kind}; take another copy or train it again")
            loaded[name] = given
        self.seed = int(loaded.pop("seed")[0])
        self.images_seen = int(loaded.pop("images_seen")[0])
        self._delays = Delays(loaded.pop("exc_to_inh_delay"), loaded.pop("inh_to_exc_delay"))
        self._state = State(**loaded)

    def save(self, path: Path) -> None:
        """Write a checkpoint: arrays and configuration in one safetensors file, nothing pickled."""
        save_tensors(path, self.state_dict(), {"format": _FORMAT, "config": json.dumps(asdict(self.config))})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a checkpoint that `save` wrote; it goes on like the network that was saved.

        Raises:
            InputError: not such a file, damaged, of other shapes than its configuration says, or with NaN.
        """
        tensors, metadata = load_tensors(path)
        if metadata.get("format") != _FORMAT:
            found = metadata.get("format", "no format")
            raise InputError(f"checkpoint {path} holds {found!r}; expected {_FORMAT!r}")
        try:
            raw = json.loads(metadata["config"])
            config = RateLIFConfig(**{**raw, "classes": tuple(raw["classes"])})
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"checkpoint {path} does not describe a rate-coded LIF network: {error}") from error
        network = cls(config, seed=0)
        network.load_state_dict(tensors)
        return network

    def _learn(self, images: Images, targets: NDArray[np.int64]) -> NDArray[np.int64]:
        """Show ``images`` with one learning rate and return their excitatory spikes."""
        config = self.config
        if config.teacher == "forced":
            steps = ms_to_steps(config.in_use_ms, config.dt_ms)
            forcing = Forcing(config.weight_norm * config.weight_max, steps, config.homeostasis_mv)
            learn = partial(train_forced_, forcing=forcing)
        else:
            learn = partial(train_, rule=Rule(1.0, -config.other_classes))
        return learn(
            self._state,
            config.constants(self.images_seen),
            self._delays,
            self._presentation,
            images=images,
            targets=targets,
            neuron_class=np.repeat(np.arange(len(config.classes)), config.neurons_per_class),
            seed=self.seed,
            stream=_TRAINING,
            first_image=self.images_seen,
            backend=self._backend,
        )

    def _images_to_pause(self, every_images: int) -> int:
        """Return how many images come before the next call of ``between`` or the finer learning rate."""
        pause = every_images - self.images_seen % every_images
        fine = self.config.fine_after_images
        return pause if fine is None or fine <= self.images_seen else min(pause, fine - self.images_seen)

    def _fresh_state(self, weights: NDArray[np.float64], potential_mv: float | None) -> State:
        exc = self.config.exc_rest_mv if potential_mv is None else potential_mv
        inh = self.config.inh_rest_mv if potential_mv is None else potential_mv
        return initial_state(weights, self._constants, self._delays, (exc, inh))

    def _testing_state(self) -> State:
        return self._fresh_state(self._state.weights, None)

    def _events(self, image: NDArray[np.uint8], index: int) -> Events:
        probabilities = self._presentation.probabilities[image.ravel()]
        key = stream_key(self.seed, _TESTING, index)
        return Events(*poisson_spikes(probabilities, self._presentation.active_steps, key))

    def _votes(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        counts, config = np.asarray(counts), self.config
        if counts.ndim != 2 or counts.shape[1] != config.neurons:
            raise InputError(
                f"counts have shape {counts.shape}, expected (images, {config.neurons}), a column for each neuron; "
                "give what count_spikes returns"
            )
        return counts.reshape(len(counts), len(config.classes), config.neurons_per_class).sum(2)

    def _check_weights(self) -> None:
        if not np.isfinite(self._state.weights).all():
            raise InputError("the network's weights hold NaN or infinite values; train it again")

    def _as_images(self, images: Images) -> Images:
        found, expected = as_images(images), (self.config.height, self.config.width)
        if found.shape[1:] != expected:
            raise InputError(
                f"images are {found.dtype} of shape {found.shape}, expected uint8 of shape (images, "
                f"{expected[0]}, {expected[1]}); configure the network for their size"
            )
        return found

    def _class_indices(self, labels: Labels, count: int) -> NDArray[np.int64]:
        labels = as_labels(labels, count)
        position = {label: k for k, label in enumerate(self.config.classes)}
        unknown = sorted(set(labels.tolist()) - set(position))
        if unknown:
            raise InputError(
                f"label {unknown[0]} is not one of the classes {list(self.config.classes)}; leave these "
                "images out or configure the class"
            )
        return np.array([position[label] for label in labels.tolist()], np.int64)
