"""The rate-coded network of leaky integrate-and-fire neurons that learns by STDP and all-LTD.

One group of excitatory neurons a class, each with an inhibitory partner that inhibits all others. The group
that fires most names the class. The operation itself is `spikelore.kernels.lif_network`, the constants are in
`spikelore.networks.rate_lif_config`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikelore.coding.poisson import image_indices, poisson_spikes, stream_key
from spikelore.coding.straight import straightened
from spikelore.errors import InputError, check_whole
from spikelore.files import load_tensors, save_tensors
from spikelore.kernels import DEFAULT_BACKEND
from spikelore.kernels.lif_network import (
    Counts,
    Delays,
    Events,
    Forcing,
    Plasticity,
    Rule,
    Spikes,
    State,
    count_spikes,
    initial_state,
    run_,
    train_,
    train_forced_,
)
from spikelore.kernels.lif_network.model import LONG_AGO
from spikelore.metrics.learning_cost import Tally, Work
from spikelore.networks.protocol import Cost
from spikelore.networks.rate_lif_config import MOST_CLASSES_ALL_LTD, RateLIFConfig, Teacher
from spikelore.networks.stored import Arrays, check_finite, check_shapes, described, settings
from spikelore.randomness import generator
from spikelore.shapes import Images, Labels, as_image_shape, as_images, as_labels, as_shares
from spikelore.units import ms_to_steps

if TYPE_CHECKING:
    from spikelore.data.streams import Stream

__all__ = ["MOST_CLASSES_ALL_LTD", "RateLIFConfig", "RateLIFNetwork", "Recording", "Teacher"]

_FORMAT = "spikelore rate-coded LIF network 1"
_TRAINING, _TESTING = 0, 1  # streams of spike trains
_LAST_STEP = 2**60
_STATE_OF_A_PAIR = 6
"""Of an excitatory neuron potential, two conductances and threshold, of its partner potential and drive."""


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

    It answers `spikelore.networks.protocol`: `Network`, `Units` (excitatory neurons with their input weights) and
    `Synapses`. `class_scores`, `predict` and `cost` show each image by the spike train whose index is a digest of its
    pixels (`spikelore.coding.poisson.image_indices`), so that an answer depends on the image alone; `count_spikes`
    numbers the images.

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

    name = "rate-lif"

    def __init__(self, config: RateLIFConfig, *, seed: int, backend: str = DEFAULT_BACKEND) -> None:
        if not isinstance(seed, Integral) or not 0 <= seed < 2**63:
            raise InputError(f"seed is {seed}, expected 0 or more, below 2^63; choose another seed")
        self._begin(config, seed, backend)
        self._delays = _delays(config, config.neurons, seed)
        weights = _first_weights(config, config.neurons, generator(seed, "rate_lif", "weights"))
        self._state = self._fresh_state(weights, config.exc_start_mv)
        self._plasticity = np.ones(config.neurons, np.float32)

    def _begin(self, config: RateLIFConfig, seed: int, backend: str) -> None:
        """Set all but the delays and the state, which are drawn or come out of a checkpoint."""
        self.config = config
        self.seed = seed
        self.images_seen = 0
        self.tally = Tally()
        self._backend = backend
        self._constants = config.constants()
        self._presentation = config.presentation()

    @classmethod
    def for_stream(cls, stream: "Stream", seed: int = 0, **changes: Any) -> Self:
        """Return an untrained network for a stream's classes and images, see `RateLIFConfig.stream`.

        A class has a neuron for each 15 of its training images, 10 to 100; where that is fewer than 40 images a neuron,
        neurons learn faster, .015 in place of .006 (chosen on validation images of small and large data).

        Args:
            stream: to be learned.
            seed: root seed.
            changes: other values of any field of `RateLIFConfig`.
        """
        height, width = as_image_shape(stream.tasks[0].train.inputs.shape[1:])
        images = sum(len(task.train) for task in stream.tasks) // max(1, len(stream.classes))
        neurons = min(100, max(10, images // 15))
        rate = 0.006 if images >= 40 * neurons else 0.015
        sizes = {"neurons_per_class": neurons, "learning_rate": rate}
        given = {"classes": stream.classes, "height": height, "width": width, **sizes, **changes}
        return cls(RateLIFConfig.stream(**given), seed=seed)

    @property
    def classes(self) -> tuple[int, ...]:
        """The labels that it can decide, in the order of the scores' columns."""
        return self.config.classes

    @property
    def input_shape(self) -> tuple[int, int]:
        """Rows and columns of an image."""
        return self.config.height, self.config.width

    @property
    def weights(self) -> NDArray[np.float64]:
        """(I,N) input weights, the network's own array: changing it changes the network."""
        return self._state.weights

    @property
    def neuron_classes(self) -> NDArray[np.int64]:
        """(N,) class of each excitatory neuron."""
        return np.repeat(np.array(self.config.classes, np.int64), self.config.group_sizes)

    @property
    def unit_classes(self) -> NDArray[np.int64]:
        """(N,) class of each excitatory neuron."""
        return self.neuron_classes

    @property
    def unit_weights(self) -> NDArray[np.float32]:
        """(N,I) input weights of each excitatory neuron, a copy."""
        return np.ascontiguousarray(self.weights.T, np.float32)

    @property
    def unit_gains(self) -> NDArray[np.float32]:
        """(N,) ones: neurons compete by their spikes alone."""
        return np.ones(self.config.neurons, np.float32)

    @property
    def unit_centres(self) -> NDArray[np.float32]:
        """(N,) zeros: a conductance cannot be negative."""
        return np.zeros(self.config.neurons, np.float32)

    @property
    def unit_plasticity(self) -> NDArray[np.float32]:
        """(N,) share of its rates that each neuron learns with, 1 at first; a copy that cannot be written.

        A neuron with 0 keeps its weights and its homeostatic threshold bit for bit; it fires and inhibits as ever.
        """
        shares = self._plasticity.copy()
        shares.flags.writeable = False
        return shares

    @unit_plasticity.setter
    def unit_plasticity(self, value: ArrayLike) -> None:
        self._plasticity = as_shares(value, self.config.neurons, "unit_plasticity").copy()

    @property
    def features_digest(self) -> str:
        """`RateLIFConfig.inputs_digest`: the features that the neurons read are the pixels' spike trains."""
        return self.config.inputs_digest

    def with_units(
        self,
        weights: NDArray[np.float32],
        classes: NDArray[np.int64],
        gains: NDArray[np.float32] | None = None,
        centres: NDArray[np.float32] | None = None,
    ) -> Self:
        """Return a network whose excitatory neurons have these input weights; it has lived as long as this one.

        Gains multiply the weights, which then stay within 0 and ``weight_max``. The total of the inhibition that
        reaches a neuron is that of the configuration, whatever their number. Plasticities are 1, homeostatic
        thresholds 0, delays drawn anew.

        Args:
            weights: (N,I).
            classes: (N,), the neurons of a class side by side; their order becomes that of the classes.
            gains: (N,), None for 1.
            centres: (N,), zeros or None.

        Raises:
            InputError: other shapes, numbers that are not finite, classes that are scattered, a centre other than 0.
        """
        labels = as_labels(classes, what="unit classes")
        count, rows = len(labels), np.asarray(weights, np.float64)
        factors = np.ones(count) if gains is None else np.asarray(gains, np.float64)
        if rows.shape != (count, self.config.inputs) or factors.shape != (count,):
            raise InputError(
                f"units have weights of shape {rows.shape} and gains of shape {factors.shape}, expected "
                f"({count}, {self.config.inputs}) and ({count},) for {count} classes; give each neuron a row"
            )
        if not (np.isfinite(rows).all() and np.isfinite(factors).all()):
            raise InputError("units have weights or gains that are NaN or infinite, expected finite; train them again")
        if centres is not None and np.any(centres):
            raise InputError(
                "units have centres other than 0, expected 0: the conductances of a rate-lif network cannot be "
                "negative; choose a score without centres, such as 'raw'"
            )
        starts = np.flatnonzero(np.diff(labels, prepend=-1))
        sizes = np.diff(starts, append=count)
        config = replace(
            self.config, classes=tuple(labels[starts].tolist()), neurons_per_class=tuple(sizes.tolist())
        )  # which refuses a class that comes twice
        other = type(self)(config, seed=self.seed, backend=self._backend)
        other.weights[...] = np.clip((rows * factors[:, None]).T, 0, config.weight_max)
        other.images_seen, other.tally = self.images_seen, self.tally
        for name in ("step", "last_input_spike"):
            setattr(other._state, name, getattr(self._state, name).copy())
        return other

    def with_fresh_units(self, classes: Sequence[int], seed: int) -> Self:
        """Return an untrained network of as many neurons in all, for these classes; the first ones get the odd ones.

        Args:
            classes: labels.
            seed: root seed of the new network.

        Raises:
            InputError: more classes than neurons, or classes that the configuration refuses.
        """
        labels = as_labels(classes, what="classes").tolist()
        share, odd = divmod(self.config.neurons, max(1, len(labels)))
        sizes = tuple(share + (position < odd) for position in range(len(labels)))
        config = replace(self.config, classes=tuple(labels), neurons_per_class=sizes)
        other = type(self)(config, seed=seed, backend=self._backend)
        other.tally = self.tally
        return other

    def freeze_features_(self) -> None:
        """Do nothing: neurons read the inputs themselves."""

    def grow_(self, classes: Sequence[int]) -> None:
        """Add a group of untrained neurons for each further class, as large as the mean of those there are.

        What there is stays: weights, thresholds, delays, what is on its way, and the strength of each inhibitory
        synapse, so the total of the inhibition grows with the number of neurons.

        Raises:
            InputError: a class that is there already, or is no label.
        """
        old, labels = self.config, tuple(as_labels(classes, what="classes").tolist())
        if not labels:
            return
        size = round(old.neurons / len(old.classes))
        sizes = (*old.group_sizes, *(size,) * len(labels))
        config = replace(
            old, classes=(*old.classes, *labels), neurons_per_class=sizes,
            inh_to_exc_total=old.inh_to_exc_total * sum(sizes) / old.neurons,
        )  # fmt: skip
        first, kept = old.neurons, self._state
        more = config.neurons - first
        weights = _first_weights(config, more, generator(self.seed, "rate_lif", "grown weights", first))
        delays = Delays(*map(np.array, _delays(config, config.neurons, self.seed, "grown", first)))
        delays.exc_to_inh[:first] = self._delays.exc_to_inh
        delays.inh_to_exc[:first, :first] = self._delays.inh_to_exc
        self.config, self._constants, self._delays = config, config.constants(), delays
        self._state = self._fresh_state(np.concatenate([kept.weights, weights], axis=1), config.exc_start_mv)
        for name, array in kept.arrays().items():
            own = getattr(self._state, name)
            if name in ("pre_trace", "last_input_spike", "step"):
                own[...] = array
            elif name in ("to_inh_queue", "to_exc_queue"):
                ahead = kept.step[0] + np.arange(len(array))
                own[ahead % len(own), :first] = array[ahead % len(array)]
            else:
                own[..., :first] = array
        self._plasticity = np.concatenate([self._plasticity, np.ones(more, np.float32)])

    def synapses(self) -> Mapping[str, Self]:
        """Return the input synapses; `weights`, `last_presynaptic_spike_ms` and `now_ms` are the network's own."""
        return {"input": self}

    def use_(self, inputs: Images) -> None:
        """Do nothing: training itself moves the clock."""

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
        images = self._some_images(images)
        check_whole("first_image", first_image)
        return self._counts(images, first_image + np.arange(len(images))).exc

    def decide(self, counts: NDArray[np.int64], among: Sequence[int] = ()) -> Labels:
        """Return the class whose neurons fired most, (M,), from spikes (M,N); -1 = none fired.

        Of equal classes the one that comes first in the configuration wins. A class has as many votes as its
        neurons fired spikes in all, whatever the size of its group: neurons inhibit each other, so a larger group knows
        more patterns and does not fire more often. (On MNIST, groups of 20 to 200 neurons: the sum decides 80.6 %
        rightly, the mean a neuron 79.3 %.)

        Args:
            counts: (M,N).
            among: classes to decide among; all if empty.

        Raises:
            InputError: not a column for each neuron, or a class that the network does not have.
        """
        return self._decided(self._votes(counts), among)

    def learn_(self, inputs: Images, labels: Labels) -> None:
        """Learn from ``inputs`` in their order; see `train`."""
        self.train(inputs, labels)

    def rehearse_(self, inputs: Images, labels: Labels) -> None:
        """Learn from those of ``inputs``, new and stored, that are decided wrongly.

        STDP moves weights towards whatever is shown, so that a few stored images shown over and over would drive out
        what the many others have taught.
        """
        inputs = as_images(inputs)
        labels = as_labels(labels, len(inputs))
        wrong = self.predict(inputs) != labels
        if wrong.any():
            self.train(inputs[wrong], labels[wrong])

    def class_scores(self, inputs: Images) -> NDArray[np.float32]:
        """Return the spikes of each class's neurons, (M, classes), in the order of `classes`; zeros if none fired.

        An image's scores depend on its pixels and the network alone.
        """
        return self._votes(self._shown(inputs).exc).astype(np.float32)

    def predict(self, inputs: Images, among: Sequence[int] = ()) -> Labels:
        """Return the decided class of each image, (M,) int64; -1 = unrecognised: no neuron fired.

        Args:
            inputs: (M,H,W) uint8.
            among: classes to decide among; all if empty.
        """
        return self._decided(self._votes(self._shown(inputs).exc), among)

    def cost(self, inputs: Images) -> Cost:
        """Return what deciding ``inputs`` costs, means an image: spikes of inputs and all neurons, and accumulates.

        Accumulates are those of `synaptic_operations`.
        """
        shown = self._shown(inputs)
        spikes = shown.inputs + shown.exc.sum(1) + shown.inh
        return Cost(float(spikes.mean()), float(self._operations(shown).mean()))

    def works(self, inputs: Images, labels: Labels) -> dict[str, Work]:
        """Return what ``forward``, to show an image to all neurons, and ``learn`` take once, means over ``inputs``.

        Where the teacher is ``forced``, only the neurons of an image's class are computed, and learn. An output spike
        changes all of a neuron's weights, and is multiplied with each input's trace that is not 0; where input spikes
        teach, each changes its weights to all neurons. Potentials, conductances and thresholds, six values a pair of
        neurons, are read and written each step; the silence after an image counts where it is computed.

        Raises:
            InputError: no image, one of another size, or a label that is none of `classes`.
        """
        images, targets = self._some_images(inputs), self._class_indices(labels, len(inputs))
        with self.tally.paused():
            operations = float(self._operations(self._shown(inputs)).mean())
        state = _STATE_OF_A_PAIR * self.config.neurons * self._presentation.active_steps
        learned = (self._work_of(*each) for each in zip(images, targets, image_indices(images), strict=True))
        learn = sum(learned, Work()) * (1 / len(images))
        return {"forward": Work(operations, 0.0, operations, 0.0, state, state), "learn": learn}

    def _work_of(self, image: NDArray[np.uint8], target: int, index: int) -> Work:
        """Return the work of learning one image, of which the network itself learns nothing."""
        config, forced = self.config, self.config.teacher == "forced"
        constants, state, rates = config.constants(self.images_seen), self._state.copy(), self._plasticity.astype("f8")
        own = np.repeat(np.arange(len(config.classes)), config.group_sizes) == target
        events, delays = self._events(image, int(index)), self._delays
        plasticity = Plasticity(rates, rates * np.where(own, 1.0, -config.other_classes), rates)
        if forced:
            members = np.flatnonzero(own)
            delays = Delays(delays.exc_to_inh[members], delays.inh_to_exc[np.ix_(members, members)])
            rests = (constants.exc_rest_mv, constants.inh_rest_mv)
            group = initial_state(state.weights[:, members], constants, delays, rests)
            group.firing_threshold += state.homeostatic_threshold[members]
            group.last_input_spike, group.step = state.last_input_spike, state.step
            state, plasticity = group, Plasticity(np.zeros(len(members)), rates[members], rates[members])
        else:
            silence = np.full(self._presentation.silent_steps, events.starts[-1])
            events = Events(np.concatenate([events.starts, silence]), events.inputs)
            if not constants.continuous_threshold:
                state.firing_threshold = state.adaptive_threshold.copy()
        steps, first = len(events.starts) - 1, int(state.step[0])
        traced, fired = state.pre_trace != 0, state.post_trace != 0
        products = 0 if forced else int(fired.sum()) * len(events.inputs)
        spikes = run_(state, constants, delays, events, plasticity, backend=self._backend)
        (size, neurons), count = state.weights.shape, len(spikes.exc)
        operations = (len(events.inputs) + count) * neurons
        for step, neuron in spikes.exc - [first, 0]:
            known = traced.copy()
            known[events.inputs[: events.starts[step + 1]]] = True
            products += int(known.sum())
            if not forced:  # input spikes that come later meet the trace of this neuron
                products += 0 if fired[neuron] else len(events.inputs) - int(events.starts[step + 1])
                fired[neuron] = True
        changed, traces = count * size, count * size + len(events.inputs)
        if forced:
            used = int((state.step[0] - state.last_input_spike <= ms_to_steps(config.in_use_ms, config.dt_ms)).sum())
            scaled = used * len(np.unique(spikes.exc[:, 1]))
            products, changed = products + 2 * scaled, changed + scaled
        else:
            changed += len(events.inputs) * neurons
        pairs = _STATE_OF_A_PAIR * neurons * steps + traces
        return Work(operations, products, operations + changed, changed, pairs, pairs)

    def synaptic_operations(self, images: Images, *, first_image: int = 0) -> NDArray[np.int64]:
        """Return how many synapses spikes cross while each image is shown, (M,): input, partner and lateral.

        An input spike crosses N synapses, an excitatory one one, and the inhibitory one that it causes N - 1.
        """
        images = self._as_images(images)
        return self._operations(self._counts(images, first_image + np.arange(len(images))))

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
                    Plasticity(silent, silent, silent),
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

    def copy(self) -> Self:
        """Return an equal network that shares no state with this one."""
        other = type(self)(self.config, seed=self.seed, backend=self._backend)
        other.load_state_dict(self.state_dict())
        other.tally = self.tally
        return other

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return copies of all arrays that a resumed run needs, by name; ready for safetensors."""
        arrays = self._state.copy().arrays()
        arrays["exc_to_inh_delay"] = self._delays.exc_to_inh.copy()
        arrays["inh_to_exc_delay"] = self._delays.inh_to_exc.copy()
        arrays["unit_plasticity"] = self._plasticity.copy()
        arrays["images_seen"] = np.array([self.images_seen], np.int64)
        arrays["seed"] = np.array([self.seed], np.int64)
        return arrays

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Take over what `state_dict` of a network of the same configuration returned, and go on alike.

        Without plasticities, as older checkpoints are, they are 1.

        Raises:
            InputError: an array is missing, has another shape or type or holds NaN; nothing is changed then.
        """
        neurons = self.config.neurons
        kept = {name: np.asarray(array) for name, array in state.items()}
        expected = self._expected(kept)
        check_shapes(kept, expected, of=" of the checkpoint")
        loaded = {name: np.array(kept[name]) for name in expected}
        check_finite(loaded, of=" of the checkpoint")
        delays = Delays(loaded.pop("exc_to_inh_delay"), loaded.pop("inh_to_exc_delay"))
        seed, images_seen = (int(loaded.pop(name)[0]) for name in ("seed", "images_seen"))
        _check_clocks(delays, loaded)
        check_whole("seed of the checkpoint", seed)
        check_whole("images_seen of the checkpoint", images_seen)
        self.unit_plasticity = loaded.pop("unit_plasticity", np.ones(neurons, np.float32))
        self.seed, self.images_seen = seed, images_seen
        self._delays = Delays(
            _as_delays(delays.exc_to_inh, len(loaded["to_inh_queue"])),
            _as_delays(delays.inh_to_exc, len(loaded["to_exc_queue"])),
        )
        self._state = State(**loaded)

    def _expected(self, given: Mapping[str, np.ndarray]) -> Arrays:
        """Return shape and type of each array of a state; queues are as long as the given ones."""
        inputs, neurons = self.config.inputs, self.config.neurons
        floats, whole = np.float64, np.int64
        queues = {name: given[name].shape[:1] for name in ("to_inh_queue", "to_exc_queue") if name in given}
        longs = ("exc_last_spike", "inh_last_spike")
        delays = {"exc_to_inh_delay": (neurons,), "inh_to_exc_delay": (neurons, neurons)}
        kinds = {name: given[name].dtype for name in delays if name in given and given[name].dtype.kind in "iu"}
        vectors = (
            "exc_potential", "exc_conductance", "inh_conductance", "adaptive_threshold", "firing_threshold",
            "homeostatic_threshold", "post_trace", "inh_potential", "inh_drive",
        )  # fmt: skip
        return {
            "weights": ((inputs, neurons), floats),
            **{name: ((neurons,), floats) for name in vectors},
            **{name: ((neurons,), whole) for name in longs},
            "pre_trace": ((inputs,), floats),
            "last_input_spike": ((inputs,), whole),
            **{name: ((*queues.get(name, (0,)), neurons), whole) for name in ("to_inh_queue", "to_exc_queue")},
            **{name: (shape, kinds.get(name, whole)) for name, shape in delays.items()},
            **{name: ((1,), whole) for name in ("step", "images_seen", "seed")},
            **({"unit_plasticity": ((neurons,), np.float32)} if "unit_plasticity" in given else {}),
        }

    def save(self, path: Path | str) -> None:
        """Write a checkpoint: arrays and configuration in one safetensors file, nothing pickled."""
        save_tensors(path, self.state_dict(), {"format": _FORMAT, "config": json.dumps(asdict(self.config))})

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a checkpoint that `save` wrote; it goes on like the network that was saved.

        Raises:
            InputError: not such a file, damaged, of other shapes than its configuration says, or with NaN.
        """
        tensors, metadata = load_tensors(path)
        if metadata.get("format") != _FORMAT:
            found = metadata.get("format", "no format")
            raise InputError(f"checkpoint {path} holds {found!r}; expected {_FORMAT!r}")
        with described(path, "rate-coded LIF network"):
            raw = settings(metadata, "config")
            config = RateLIFConfig(**{**raw, "classes": raw["classes"]})
            network = cls.__new__(cls)
            network._begin(config, 0, DEFAULT_BACKEND)
        network.load_state_dict(tensors)
        return network

    def _learn(self, images: Images, targets: NDArray[np.int64]) -> NDArray[np.int64]:
        """Show ``images`` with one learning rate and return their excitatory spikes."""
        config = self.config
        self.tally.add("learn", len(images))
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
            neuron_class=np.repeat(np.arange(len(config.classes)), config.group_sizes),
            plasticity=self._plasticity.astype(np.float64),
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

    def _counts(self, images: Images, indices: NDArray[np.int64]) -> Counts:
        """Show each image by the spike train of its index; nothing changes."""
        self.tally.add("forward", len(images))
        return count_spikes(
            self._testing_state(),
            self._constants,
            self._delays,
            self._presentation,
            images,
            seed=self.seed,
            stream=_TESTING,
            indices=indices,
            backend=self._backend,
        )

    def _shown(self, images: Images) -> Counts:
        """Show each image by the spike train that is its own."""
        images = self._some_images(images)
        return self._counts(images, image_indices(images))

    def _operations(self, shown: Counts) -> NDArray[np.int64]:
        return (shown.inputs + shown.exc.sum(1)) * self.config.neurons

    def _decided(self, votes: NDArray, among: Sequence[int]) -> Labels:
        labels = np.array(self.classes, np.int64)
        if len(among):
            self._class_indices(np.asarray(among), len(among))
            known = np.isin(labels, among)
            votes, labels = votes[:, known], labels[known]
        return np.where(votes.any(1), labels[votes.argmax(1)], -1)

    def _votes(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        counts, config = np.asarray(counts), self.config
        if counts.ndim != 2 or counts.shape[1] != config.neurons:
            raise InputError(
                f"counts have shape {counts.shape}, expected (images, {config.neurons}), a column for each neuron; "
                "give what count_spikes returns"
            )
        starts = np.cumsum((0, *config.group_sizes[:-1]))
        return np.add.reduceat(counts, starts, axis=1)

    def _check_weights(self) -> None:
        if not np.isfinite(self._state.weights).all():
            raise InputError("the network's weights hold NaN or infinite values; train it again")

    def _some_images(self, images: Images) -> Images:
        found = self._as_images(images)
        if not len(found):
            raise InputError("there are no images to show; give at least one")
        self._check_weights()
        return found

    def _as_images(self, images: Images) -> Images:
        """Check images that a caller gives and return them as the network sees them."""
        found = as_images(images)
        self.config.check_images(found)
        return straightened(found) if self.config.straighten else found

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


def _check_clocks(delays: Delays, state: Mapping[str, np.ndarray]) -> None:
    """Refuse delays that the queues do not hold, and times that never were.

    Raises:
        InputError: there are such.
    """
    now = int(state["step"][0])
    ranges = {
        "step": (state["step"], 0, _LAST_STEP),
        "last_input_spike": (state["last_input_spike"], 0, now),
        "exc_last_spike": (state["exc_last_spike"], LONG_AGO, now),
        "inh_last_spike": (state["inh_last_spike"], LONG_AGO, now),
        "exc_to_inh_delay": (delays.exc_to_inh, 0, len(state["to_inh_queue"]) - 1),
        "inh_to_exc_delay": (delays.inh_to_exc, 0, len(state["to_exc_queue"]) - 1),
        "to_inh_queue": (state["to_inh_queue"], 0, delays.exc_to_inh.size),
        "to_exc_queue": (state["to_exc_queue"], 0, delays.exc_to_inh.size),
    }
    for name, (values, least, most) in ranges.items():
        if values.size and not least <= values.min() <= values.max() <= most:
            raise InputError(
                f"{name} of the checkpoint holds {values.min()} to {values.max()}, expected {least} to {most}; take "
                "another copy or train it again"
            )


def _first_weights(config: RateLIFConfig, neurons: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the (I,N) weights that neurons begin with."""
    weights = rng.uniform(0, config.weight_max, (config.inputs, neurons))
    if config.start_at_norm:
        weights *= config.weight_norm * config.weight_max / np.sqrt((weights**2).sum(0))
    return weights


def _delays(config: RateLIFConfig, neurons: int, seed: int, *names: str | int) -> Delays:
    draw = generator(seed, "rate_lif", "delays", *names)

    def drawn(most_ms: float, count: int) -> NDArray[np.integer]:
        # abs: a config may say -0.0
        return np.rint(draw.uniform(0, abs(most_ms), count) / config.dt_ms).astype(_delay_type(most_ms / config.dt_ms))

    exc_to_inh, longest = drawn(config.exc_to_inh_delay_ms, neurons), config.inh_to_exc_delay_ms
    if not longest:
        return Delays(exc_to_inh, np.broadcast_to(drawn(longest, 1), (neurons, neurons)))
    inh_to_exc = np.empty((neurons, neurons), _delay_type(longest / config.dt_ms))
    for row in inh_to_exc:  # drawn at once they would take twelve times the memory
        row[:] = drawn(longest, neurons)
    return Delays(exc_to_inh, inh_to_exc)


def _delay_type(steps: float) -> type:
    """Return the type of delays of at most ``steps``: there is one for each pair of neurons."""
    return np.uint16 if steps < 2**16 - 1 else np.int64


def _as_delays(given: NDArray[np.integer], steps: int) -> NDArray[np.integer]:
    """Return delays below so many steps, which older checkpoints have in 64 bits."""
    if given.min() == given.max():
        return np.broadcast_to(given.ravel()[0].astype(_delay_type(steps)), given.shape)
    return given.astype(_delay_type(steps), copy=False)
