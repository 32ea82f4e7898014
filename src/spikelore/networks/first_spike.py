"""The first-spike convolutional network: rank-order input, two STDP layers, one rewarded decision layer."""

import copy
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from spikelore.coding.rank_order import encode
from spikelore.errors import InputError
from spikelore.files import load_tensors, save_tensors
from spikelore.kernels import DEFAULT_BACKEND, convolution, reward_stdp, stdp
from spikelore.kernels.reward_stdp import KnownPotentials, SpikeLists
from spikelore.kernels.template_stdp.correlation import gains_and_centres
from spikelore.learning.online_templates import Going, OnlineLearning, learn_features_, learn_units_, rehearse_units_
from spikelore.metrics.learning_cost import Tally, Work
from spikelore.metrics.synaptic_operations import convolution_operations
from spikelore.networks.first_spike_config import (
    DecisionLayerConfig,
    FeatureLayerConfig,
    FirstSpikeConfig,
    config_of,
)
from spikelore.networks.layer_use import latest_use
from spikelore.networks.protocol import Cost
from spikelore.networks.stored import check_finite, check_shapes, described, settings
from spikelore.randomness import generator
from spikelore.shapes import FirstSpikeBins, Images, Labels, Weights, as_image_shape, as_images, as_labels, as_shares

if TYPE_CHECKING:
    from spikelore.data.streams import Stream

__all__ = ["DecisionLayerConfig", "FeatureLayerConfig", "FirstSpikeConfig", "FirstSpikeNetwork", "SpikeCounts"]

_CHUNK = 1024
_IMAGE_MS = 500.0
_UNITS_OF_A_CLASS = (40, 80)
"""Fewest and most; one for every 50 images of the first task's classes in between, chosen on validation images."""
_SETTLED = 100
"""Images that a unit from elsewhere counts as having won: learning online moves it by 1 / 101 and less."""
_FORMAT = "spikelore first-spike network 1"
_LARGEST_SIDE = 1 << 14


def chunks(count: int, size: int = _CHUNK) -> Iterator[slice]:
    """Yield slices that cover ``range(count)``."""
    for start in range(0, count, size):
        yield slice(start, min(count, start + size))


def checked_bins(bins: FirstSpikeBins, weights: Weights, total_bins: int) -> FirstSpikeBins:
    """Return ``bins`` in C order.

    Raises:
        InputError: they are not (N,C,H,W) int8 of the channels that ``weights`` (F,C,K,K) take, or none, or beyond 0
            to ``total_bins``.
    """
    channels, bins = weights.shape[1], np.asarray(bins)
    if bins.ndim != 4 or bins.dtype != np.int8 or bins.shape[1] != channels or not len(bins):
        raise InputError(
            f"bins are {bins.dtype} of shape {bins.shape}, expected int8 of shape (images, {channels}, rows, columns); "
            "give what `encode` returns to layer 1, what `layer_1_bins` returns to layer 2"
        )
    low, high = bins.min(), bins.max()
    if low < 0 or high > total_bins:
        raise InputError(
            f"bins are {low} to {high}, expected 0 to {total_bins}, which means never; give what `encode` of a network "
            "of this coding returns"
        )
    return np.ascontiguousarray(bins)


def _some(images: Images, purpose: str) -> Images:
    found = as_images(images)
    if not len(found):
        raise InputError(f"there are no images to {purpose}; give at least one")
    return found


def _as_classes(classes: Sequence[int]) -> tuple[int, ...]:
    found = tuple(as_labels(classes, what="classes", least=-(2**63)).tolist())
    if not found or len(set(found)) < len(found) or min(found) < 0:
        raise InputError(f"classes are {list(found)}; give at least one label of 0 or more, each once")
    return found


def _drawn(config: FirstSpikeConfig, seed: int, name: str, shape: tuple[int, ...]) -> Weights:
    drawn = generator(seed, name).normal(config.weight_mean, abs(config.weight_deviation), shape)  # it may be -0.0
    return drawn.astype(np.float32)


def _drawn_units(config: FirstSpikeConfig, seed: int) -> Weights:
    decision = config.decision
    shape = (decision.features, config.layer_2.features, decision.kernel, decision.kernel)
    return _drawn(config, seed, "layer 3", shape)


def _correlating(weights: Weights) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the gains and centres (F,) by which correlations compete."""
    gains, centres = gains_and_centres(weights.reshape(len(weights), math.prod(weights.shape[1:])).astype(np.float64))
    return gains.astype(np.float32), centres.astype(np.float32)


def _correlate(weights: Weights, gains: NDArray[np.float32], centres: NDArray[np.float32]) -> bool:
    """Return whether correlations compete; of units by another score the first one tells that they do not."""
    parts = (weights[:1], gains[:1], centres[:1]), (weights, gains, centres)
    return all(all(map(np.array_equal, given, _correlating(units))) for units, *given in parts)


def _pooled(spiked: NDArray[np.bool_], pool: int) -> NDArray[np.bool_]:
    images, features, height, width = spiked.shape
    height, width = height // pool, width // pool
    whole = spiked[:, :, : height * pool, : width * pool]
    return np.asarray(whole.reshape(images, features, height, pool, width, pool).any(axis=(3, 5)))


def _expected(config: FirstSpikeConfig) -> dict[str, tuple[tuple[int, ...], type]]:
    """Return shape and type of each array of a network."""
    one, two, decision = config.layer_1, config.layer_2, config.decision
    channels, units = len(config.coding.filters), (decision.features,)
    return {
        "weights_1": ((one.features, channels, one.kernel, one.kernel), np.float32),
        "weights_2": ((two.features, one.features, two.kernel, two.kernel), np.float32),
        "unit_weights": ((*units, two.features, decision.kernel, decision.kernel), np.float32),
        "unit_classes": (units, np.int64),
        "unit_gains": (units, np.float32),
        "unit_centres": (units, np.float32),
        "unit_wins": (units, np.int64),
        "unit_plasticity": (units, np.float32),
        "images_seen": ((2,), np.int64),
        "last_spikes_1": ((1, channels, one.kernel, one.kernel), np.float64),
        "last_spikes_2": ((1, one.features, two.kernel, two.kernel), np.float64),
        "last_spikes_3": ((1, two.features, decision.kernel, decision.kernel), np.float64),
        "images_used": ((1,), np.int64),
    }


@dataclass(frozen=True)
class SpikeCounts:
    """Work of a forward pass, means per image.

    Attributes:
        spikes: of the input, layer 1 and layer 2: neurons that fire, before pooling.
        operations: synaptic operations into layer 1, layer 2 and the decision layer.
    """

    spikes: tuple[float, float, float]
    operations: tuple[float, float, float]

    def total_operations(self, units: float = 1.0) -> float:
        """Return all synaptic operations; with ``units`` times as many units in the decision layer."""
        return self.operations[0] + self.operations[1] + units * self.operations[2]


@dataclass(frozen=True)
class _Layer:
    """A layer's synapses, as decay sees them; all of it is read from the network when asked."""

    network: "FirstSpikeNetwork"
    weights_name: str
    use_name: str

    @property
    def weights(self) -> Weights:
        """(F,C,K,K), the network's own array."""
        return getattr(self.network, self.weights_name)

    @property
    def last_presynaptic_spike_ms(self) -> NDArray[np.float64]:
        """(1,C,K,K)."""
        return getattr(self.network, self.use_name)

    @property
    def now_ms(self) -> float:
        """500 ms for each image used."""
        return float(self.network.images_used[0] * _IMAGE_MS)


@dataclass(eq=False)
class FirstSpikeNetwork:
    """Three layers of non-leaky integrate-and-fire neurons that each fire at most once.

    The units of the decision layer compete by the score ``gain_f (V_f - centre_f n)``, where ``V_f`` is the
    potential and ``n`` the number of input spikes the neuron sees. Units trained as published have gains 1 and centres
    0, so that raw potentials compete. Units that learn online are templates: gains and centres follow from the weights,
    so that correlations compete (`spikelore.learning.online_templates`), and a unit without a template has gain 0.

    It learns in two ways: by the functions of `spikelore.learning`, which return new networks, layer by layer as
    published; and in place, image after image of a stream, by `learn_`.

    Attributes:
        config: sizes and constants.
        weights_1: (30,6,5,5) float32 by default.
        weights_2: (250,30,3,3).
        unit_weights: (200,250,5,5), the decision layer.
        unit_classes: (200,) int64, the class each decision feature stands for.
        unit_gains: (200,) float32.
        unit_centres: (200,) float32.
        input_shape: rows and columns of an image; empty if any will do.
        learning: how it learns online.
        templates: whether gains and centres follow the weights.
        unit_wins: (200,) int64, images that each unit has learned from online.
        unit_plasticity: (200,) float32 in 0..1, share of its rates that each unit learns with online.
        images_seen: (2,) int64, images that each feature layer has learned from.
        last_spikes_1: (1,6,5,5) float64, when each synapse of layer 1 last had a presynaptic spike, in ms.
        last_spikes_2: (1,30,3,3).
        last_spikes_3: (1,250,5,5).
        images_used: (1,) int64, images that the clock has counted.
        tally: how often it has done what `works` names.
        going: what spares the next batch the layout of the weights; no part of the state.

    Source: Mozafari et al. 2019 (doi 10.1016/j.patcog.2019.05.015).
    """

    name = "first-spike"
    unit_score = "correlation"

    config: FirstSpikeConfig
    weights_1: Weights
    weights_2: Weights
    unit_weights: Weights
    unit_classes: NDArray[np.int64]
    unit_gains: NDArray[np.float32]
    unit_centres: NDArray[np.float32]
    input_shape: tuple[int, ...] = ()
    learning: OnlineLearning = field(default_factory=OnlineLearning)
    templates: bool = False
    unit_wins: NDArray[np.int64] = None  # type: ignore[assignment]
    unit_plasticity: NDArray[np.float32] = None  # type: ignore[assignment]
    images_seen: NDArray[np.int64] = None  # type: ignore[assignment]
    last_spikes_1: NDArray[np.float64] = None  # type: ignore[assignment]
    last_spikes_2: NDArray[np.float64] = None  # type: ignore[assignment]
    last_spikes_3: NDArray[np.float64] = None  # type: ignore[assignment]
    images_used: NDArray[np.int64] = None  # type: ignore[assignment]
    tally: Tally = field(default_factory=Tally, repr=False, compare=False)
    going: Going | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.input_shape = tuple(int(side) for side in self.input_shape)
        self.templates = bool(np.all(self.templates))
        for name, (shape, kind) in _expected(self.config).items():
            if getattr(self, name) is None:
                setattr(self, name, (np.ones if name == "unit_plasticity" else np.zeros)(shape, kind))

    @classmethod
    def create(cls, config: FirstSpikeConfig, classes: tuple[int, ...], seed: int) -> Self:
        """Return an untrained network with ``config.decision.features / len(classes)`` features a class.

        Raises:
            InputError: no class, a repeated or negative one, or features that do not divide among them.
        """
        classes = _as_classes(classes)
        features, rest = divmod(config.decision.features, len(classes))
        if rest or not features:
            raise InputError(
                f"network.decision.features is {config.decision.features}, which does not divide among "
                f"{len(classes)} classes; choose a multiple of {len(classes)}"
            )
        channels = len(config.coding.filters)
        one, two = config.layer_1, config.layer_2
        return cls(
            config=config,
            weights_1=_drawn(config, seed, "layer 1", (one.features, channels, one.kernel, one.kernel)),
            weights_2=_drawn(config, seed, "layer 2", (two.features, one.features, two.kernel, two.kernel)),
            unit_weights=_drawn_units(config, seed),
            unit_classes=np.repeat(np.array(classes, np.int64), features),
            unit_gains=np.ones(config.decision.features, np.float32),
            unit_centres=np.zeros(config.decision.features, np.float32),
        )

    @classmethod
    def for_stream(
        cls, stream: "Stream", seed: int = 0, *, learning: OnlineLearning | None = None, **changes: Any
    ) -> Self:
        """Return an untrained network that learns a stream online, with units for each of its classes.

        Args:
            stream: gives the classes, the size of images, and how many images the feature layers learn from.
            seed: root seed of the weights it starts from.
            learning: how it learns online; `OnlineLearning.for_images` of the first task's number if not given.
            changes: of `FirstSpikeConfig`; if the decision layer is not among them, it has 40 to 80 units a class.

        Raises:
            InputError: a change of something that the configuration does not have, or images that are too small.
        """
        unknown = set(changes) - {each.name for each in fields(FirstSpikeConfig)}
        if unknown:
            raise InputError(
                f"a first-spike network has no setting {sorted(unknown)[0]!r}, expected learning or one of "
                f"{', '.join(each.name for each in fields(FirstSpikeConfig))}; change one of these"
            )
        classes = tuple(sorted(stream.classes))
        first = stream.tasks[0]
        images, least, most = first.train.inputs, *_UNITS_OF_A_CLASS
        units = min(most, max(least, len(images) // (50 * len(first.classes))))
        changes.setdefault("decision", DecisionLayerConfig(features=units * len(classes)))
        network = cls.create(FirstSpikeConfig(**changes), classes, seed)
        network.input_shape = as_image_shape(images.shape[1:])
        network.learning = learning or OnlineLearning.for_images(len(images))
        network.templates = True
        network.follow_weights_()
        network.encode(images[:1])
        return network

    @property
    def classes(self) -> tuple[int, ...]:
        """The classes it can decide, ascending."""
        return tuple(np.unique(self.unit_classes).tolist())

    @property
    def smallest_side(self) -> int:
        """Rows or columns that an image needs so that every layer has at least one place."""
        one, two, decision = self.config.layer_1, self.config.layer_2, self.config.decision
        side = 1
        for kernel, padding, pool in (
            (decision.kernel, decision.padding, 1),
            (two.kernel, two.padding, two.pool),
            (one.kernel, one.padding, one.pool),
        ):
            side = max(1, side * pool + kernel - 1 - 2 * padding)
        return side

    @property
    def features_digest(self) -> str:
        """SHA-256 of the coding and the two feature layers."""
        settings = {key: value for key, value in asdict(self.config).items() if key not in ("decision", "split")}
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        for weights in (self.weights_1, self.weights_2):
            digest.update(np.ascontiguousarray(weights).tobytes())
        return digest.hexdigest()

    def with_units(
        self,
        weights: NDArray[np.float32],
        classes: NDArray[np.int64],
        gains: NDArray[np.float32] | None = None,
        centres: NDArray[np.float32] | None = None,
    ) -> Self:
        """Return the network with other decision features; gains 1 and centres 0 if not given."""
        units = len(weights)
        return replace(
            self,
            config=self._config_of(units),
            unit_weights=weights,
            unit_classes=classes,
            unit_gains=np.ones(units, np.float32) if gains is None else gains,
            unit_centres=np.zeros(units, np.float32) if centres is None else centres,
            templates=gains is not None and centres is not None and _correlate(weights, gains, centres),
            unit_plasticity=np.ones(units, np.float32),
            **self._as_learned(units),
        )

    def _config_of(self, units: int) -> FirstSpikeConfig:
        return replace(self.config, decision=replace(self.config.decision, features=units))

    def _as_learned(self, units: int) -> dict[str, NDArray[np.int64]]:
        """Return the counts of a network whose units have learned somehow: they stay, and so do the features."""
        return {
            "unit_wins": np.full(units, _SETTLED, np.int64),
            "images_seen": np.maximum(self.images_seen, self.learning.feature_images),
        }

    def with_learned_units(self, weights: NDArray[np.float32]) -> Self:
        """Return the network with other weights of the decision features, which have learned: `learn_` goes on."""
        return replace(self, unit_weights=weights, **self._as_learned(len(weights)))

    def with_fresh_units(self, classes: Sequence[int], seed: int) -> Self:
        """Return a network of the same features with as many untrained units in all, for these classes.

        The first classes have one more where they do not divide.

        Raises:
            InputError: no class, a repeated or negative one, or more classes than units.
        """
        found, units = np.sort(np.array(_as_classes(classes), np.int64)), len(self.unit_classes)
        if len(found) > units:
            raise InputError(f"there are {len(found)} classes for {units} units, expected no more; give fewer classes")
        sizes = np.full(len(found), units // len(found))
        sizes[: units % len(found)] += 1
        fresh = replace(
            self,
            unit_weights=_drawn_units(self.config, seed),
            unit_classes=np.repeat(found, sizes),
            templates=True,
            unit_wins=np.zeros(units, np.int64),
            unit_plasticity=np.ones(units, np.float32),
        )
        fresh.follow_weights_()
        return fresh

    def follow_weights_(self, changed: NDArray[np.bool_] | None = None) -> None:
        """Set the gains and centres of templates from their weights: of those that changed, or of all."""
        which = np.flatnonzero(np.ones(len(self.unit_classes), np.bool_) if changed is None else changed)
        self.unit_gains, self.unit_centres = self.unit_gains.copy(), self.unit_centres.copy()
        self.unit_gains[which], self.unit_centres[which] = _correlating(self.unit_weights[which])
        self.unit_gains[self.unit_wins == 0] = 0

    @property
    def features_frozen(self) -> bool:
        """Whether the feature layers have learned from as many images as they are to."""
        return bool((self.images_seen >= self.learning.feature_images).all())

    def freeze_features_(self) -> None:
        """Let the feature layers learn no more."""
        self.images_seen = np.maximum(self.images_seen, self.learning.feature_images)

    def _check_frozen(self) -> None:
        if not self.features_frozen:
            raise InputError(
                f"the feature layers have learned from {self.images_seen.tolist()} images, expected "
                f"{list(self.learning.feature_images)}, after which they are frozen; let it learn_ from images first"
            )

    @property
    def feature_shape(self) -> tuple[int, ...]:
        """Shape of one image's spikes of layer ``config.split``, pooled.

        Raises:
            InputError: the size of images is not known.
        """
        if not self.input_shape:
            raise InputError("the network was not made for images of one size; use for_stream, or set its input_shape")
        sides, features = self.input_shape, 0
        for layer, _ in self._layers[: self.config.split]:
            sides = tuple((side + 2 * layer.padding - layer.kernel + 1) // layer.pool for side in sides)
            features = layer.features
        return (features, *sides)

    def encode_features(self, images: Images) -> NDArray[np.bool_]:
        """Return the spikes of layer ``config.split``, pooled, of each image, (N, *feature_shape)."""
        images, last = _some(images, "encode"), self.config.split
        return np.concatenate([
            spiked for part in chunks(len(images)) for spiked in self._spiked(self.encode(images[part]), last=last)
        ])  # fmt: skip

    def learn_features_(self, features: NDArray[np.bool_], labels: Labels) -> None:
        """Let the units learn from spikes in place of images, in order.

        Args:
            features: (N, *feature_shape) bool, as `encode_features` gives them.
            labels: (N,) the class of each.

        Raises:
            InputError: the feature layers still learn, another shape or type, or a label that no unit stands for.
        """
        learn_units_(self, self._as_lists(features), self._known(labels, len(features)))

    def rehearse_features_(self, features: NDArray[np.bool_], labels: Labels) -> None:
        """Let the units rehearse from spikes in place of images; arguments and errors as of `learn_features_`."""
        rehearse_units_(self, self._as_lists(features), self._known(labels, len(features)))

    def _as_lists(self, features: NDArray[np.bool_]) -> SpikeLists:
        self._check_frozen()
        features = np.asarray(features)
        if features.shape[1:] != self.feature_shape or features.dtype != np.bool_ or not len(features):
            raise InputError(
                f"features are {features.dtype} of shape {features.shape}, expected bool of (images, "
                f"{', '.join(map(str, self.feature_shape))}); give what encode_features returns"
            )
        parts = [self._through(features[part], first=self.config.split) for part in chunks(len(features))]
        return SpikeLists.concatenate([SpikeLists.from_spikes(part) for part in parts])

    def learn_(self, images: Images, labels: Labels) -> None:
        """Learn from images, in order.

        With ``learning.passes`` above 1 the feature layers see each call's images several times, so how images are
        divided over calls matters to them; to the units it never does.

        See `spikelore.learning.online_templates`.

        Args:
            images: (N,H,W) uint8.
            labels: (N,) the class of each.

        Raises:
            InputError: no image, one of another size, not one label an image, or a label that no unit stands for.
        """
        images = _some(images, "learn from")
        labels = self._known(labels, len(images))
        self._check_size(images)
        self.input_shape = tuple(images.shape[1:])
        used = learn_features_(self, images)
        for part in chunks(len(images) - used):
            features = self.features(self.encode(images[used:][part]))
            learn_units_(self, features, labels[used:][part])

    def rehearse_(self, images: Images, labels: Labels) -> None:
        """Widen the margin between classes on new and stored images, in order, once the feature layers are frozen.

        See `spikelore.learning.online_templates`; arguments and errors as of `learn_`.
        """
        images = _some(images, "rehearse")
        labels = self._known(labels, len(images))
        for part in chunks(len(images)) if self.features_frozen else ():
            rehearse_units_(self, self.features(self.encode(images[part])), labels[part])

    def _known(self, labels: Labels, count: int) -> Labels:
        self.check()
        labels = as_labels(labels, count)
        unknown = np.setdiff1d(labels, self.unit_classes)
        if len(unknown):
            raise InputError(
                f"label {unknown[0]} is none of the network's classes {list(self.classes)}; leave its images out, or "
                "let it grow_"
            )
        return labels

    def grow_(self, classes: Sequence[int]) -> None:
        """Add units for further classes, as many each as the classes there are have on average.

        Raises:
            InputError: no class, one that it has, a repeated or a negative one.
        """
        new = _as_classes(classes)
        known = sorted(set(new) & set(self.classes))
        if known:
            raise InputError(f"class {known[0]} has units already, expected further classes; leave it out")
        units = max(1, len(self.unit_classes) // len(self.classes)) * len(new)
        config = self._config_of(len(self.unit_classes) + units)
        added = {
            "unit_weights": np.full((units, *self.unit_weights.shape[1:]), config.weight_mean, np.float32),
            "unit_classes": np.repeat(np.array(new, np.int64), units // len(new)),
            "unit_gains": np.zeros(units, np.float32),
            "unit_centres": np.zeros(units, np.float32),
            "unit_wins": np.zeros(units, np.int64),
            "unit_plasticity": np.ones(units, np.float32),
        }
        joined = {name: np.concatenate([getattr(self, name), more]) for name, more in added.items()}
        order = np.argsort(joined["unit_classes"], kind="stable")
        self.config = config
        for name, array in joined.items():
            setattr(self, name, array[order])

    def encode(self, images: Images, *, backend: str = DEFAULT_BACKEND) -> FirstSpikeBins:
        """Return the input wave of each image, (N,C,H,W) int8; see `spikelore.coding.rank_order.encode`.

        Raises:
            InputError: images that `spikelore.shapes.as_images` does not take, or smaller than `smallest_side`.
        """
        images = as_images(images)
        self._check_size(images)
        if min(images.shape[1:]) < self.smallest_side:
            raise InputError(
                f"images are {images.shape[1]} x {images.shape[2]} pixels; the layers of this network leave nothing "
                f"of less than {self.smallest_side} x {self.smallest_side}; give larger images or smaller kernels"
            )
        return encode(images, self.config.coding, backend=backend)

    def _check_size(self, images: Images) -> None:
        if self.input_shape and images.shape[1:] != self.input_shape:
            raise InputError(
                f"images are {images.shape[1]} x {images.shape[2]} pixels, expected {self.input_shape[0]} x "
                f"{self.input_shape[1]}, as those that the network was made for; resize them"
            )

    def layer_1_bins(self, bins: FirstSpikeBins, *, backend: str = DEFAULT_BACKEND) -> FirstSpikeBins:
        """Return layer 1's pooled wave, the input that layer 2 learns from."""
        self.check()
        layer, bins = self.config.layer_1, checked_bins(bins, self.weights_1, self.config.coding.total_bins)
        self.tally.add("forward 1", len(bins))
        return convolution.first_spike_bins(
            bins, self.weights_1, padding=layer.padding, threshold=layer.threshold,
            total_bins=self.config.coding.total_bins, pool=layer.pool, backend=backend,
        )  # fmt: skip

    def layer_inputs(self, layer: Literal[1, 2], images: Images) -> FirstSpikeBins:
        """Return the wave that feature layer ``layer`` learns from, of each image; memory for little else is taken."""
        images = as_images(images)
        if layer == 1:
            return self.encode(images)
        waves = self.layer_1_bins(self.encode(images[:1]))  # for their shape
        waves = np.empty((len(images), *waves.shape[1:]), waves.dtype)
        for part in chunks(len(images)):
            waves[part] = self.layer_1_bins(self.encode(images[part]))
        return waves

    def features_of(self, images: Images) -> SpikeLists:
        """Return `features` of the waves of ``images``, which are made a chunk at a time."""
        images = as_images(images)
        parts = chunks(max(1, len(images)))  # none are refused
        return SpikeLists.concatenate([self.features(self.encode(images[part])) for part in parts])

    def features(self, bins: FirstSpikeBins, *, backend: str = DEFAULT_BACKEND) -> SpikeLists:
        """Return which neurons of layer 2, pooled, ever spike: all that the decision layer needs.

        Args:
            bins: (N,C,H,W) int8 from `encode`.
            backend: ``numba_cpu`` or ``reference``.
        """
        return SpikeLists.concatenate([SpikeLists.from_spikes(part) for part in self._spiked(bins, backend=backend)])

    @property
    def _layers(self) -> tuple[tuple[FeatureLayerConfig, Weights], ...]:
        return (self.config.layer_1, self.weights_1), (self.config.layer_2, self.weights_2)

    def _spiked(
        self, bins: FirstSpikeBins, *, last: int = 2, backend: str = DEFAULT_BACKEND
    ) -> Iterator[NDArray[np.bool_]]:
        """Yield which neurons of layer ``last``, pooled, ever spike, (n,C,H,W), a chunk at a time."""
        self.check()
        bins = checked_bins(bins, self.weights_1, self.config.coding.total_bins)
        for part in chunks(len(bins)):
            yield self._through(bins[part] < self.config.coding.total_bins, last=last, backend=backend)

    def _through(
        self, spiked: NDArray[np.bool_], *, first: int = 0, last: int = 2, backend: str = DEFAULT_BACKEND
    ) -> NDArray[np.bool_]:
        """Return the spikes of layer ``last``, pooled, from those of layer ``first``, of which 0 is the input."""
        for layer in range(first + 1, last + 1):
            self.tally.add(f"forward {layer}", len(spiked))
        for layer, weights in self._layers[first:last]:
            spiked = convolution.spikes(
                spiked,
                weights,
                padding=layer.padding,
                threshold=layer.threshold,
                pool=layer.pool,
                backend=backend,
            )
        return spiked

    def count_spikes(self, images: Images, *, backend: str = DEFAULT_BACKEND) -> SpikeCounts:
        """Return the spikes and synaptic operations of deciding ``images``, means per image.

        Raises:
            InputError: no images, or as `encode`.
        """
        return self.observed(images, backend=backend)[1]

    def observed(self, images: Images, *, backend: str = DEFAULT_BACKEND) -> tuple[SpikeLists, SpikeCounts]:
        """Return `features_of` images, and the spikes and synaptic operations of deciding them, means per image.

        A layer's operations are those of `convolution_operations` for the spikes it receives: the input's,
        layer 1's after pooling (a window passes one spike on), layer 2's after pooling. Feature layers run
        without the competition that they learn by, as when they are frozen. The difference-of-Gaussians
        filters, the ranking of their responses and the comparison of decision units are not counted.
        """
        features, fired, done = self._counted(images, backend)
        spikes, operations = (tuple((counts.sum(0) / len(counts)).tolist()) for counts in (fired, done))
        return features, SpikeCounts(spikes, operations)

    def _counted(
        self, images: Images, backend: str = DEFAULT_BACKEND
    ) -> tuple[SpikeLists, NDArray[np.int64], NDArray[np.int64]]:
        """Return what `observed` does, spikes and operations of each image, (N,3) each."""
        self.check()
        images = _some(images, "count the spikes of")
        fired, done = np.zeros((len(images), 3), np.int64), np.zeros((len(images), 3), np.int64)
        features = []
        for part in chunks(len(images)):
            spiked = self.encode(images[part], backend=backend) < self.config.coding.total_bins
            fired[part, 0] = np.count_nonzero(spiked, axis=(1, 2, 3))
            for n, (layer, weights) in enumerate(self._layers):
                shape = {"kernel": layer.kernel, "padding": layer.padding}
                done[part, n] = convolution_operations(spiked, features=layer.features, **shape)
                spiked = convolution.spikes(
                    spiked, weights, padding=layer.padding, threshold=layer.threshold, backend=backend
                )
                fired[part, n + 1] = np.count_nonzero(spiked, axis=(1, 2, 3))
                spiked = _pooled(spiked, layer.pool)
            features.append(SpikeLists.from_spikes(spiked))
            decision = self.config.decision
            done[part, 2] = convolution_operations(
                spiked, features=decision.features, kernel=decision.kernel, padding=decision.padding
            )
        return SpikeLists.concatenate(features), fired, done

    def cost(self, images: Images) -> Cost:
        """Return what deciding images costs, from `count_spikes`."""
        counts = self.count_spikes(images)
        return Cost(spikes=sum(counts.spikes), accumulates=counts.total_operations())

    def works(self, images: Images, labels: Labels) -> dict[str, Work]:
        """Return what each kind of work takes once, means an image, with the weights as they are.

        ========================= ===============================================================================
        ``forward 1``, ``2``      an accumulate for each spike and synapse into the layer, see `count_spikes`
        ``learn 1``, ``2``        STDP, after the forward pass: each winner changes all of its weights, a
                                  multiply-accumulate each
        ``decide``                the potentials of all decision units
        ``templates``             the potentials of the label's units, one of which moves, see `learn_`
        ``rehearsal``             the potentials of all; a right and a wrong one move where the margin is small
        ``reward``                R-STDP as published: the potentials of all; the winner moves, an accumulate each
        ========================= ===============================================================================

        A neuron's potential is read and written once an image.

        Raises:
            InputError: no image, not one label an image, or a label that no unit stands for.
        """
        images = _some(images, "count the work of")
        labels = self._known(labels, len(images))
        with self.tally.paused():
            return self._works(images, labels)

    def _works(self, images: Images, labels: Labels) -> dict[str, Work]:
        features, _, done = self._counted(images)
        maps, found = self.config.maps((images.shape[1], images.shape[2])), {}
        waves = self.layer_inputs(1, images), self.layer_inputs(2, images)
        for n, ((layer, weights), bins) in enumerate(zip(self._layers, waves, strict=True), start=1):
            operations, neurons = float(done[:, n - 1].mean()), layer.features * math.prod(maps[f"layer_{n}"])
            found[f"forward {n}"] = Work(operations, 0.0, operations, 0.0, neurons, neurons)
            moved = self._winners(layer, weights, bins) * math.prod(weights.shape[1:])
            found[f"learn {n}"] = Work(0.0, moved, moved, moved)
        own = self.unit_classes == labels[:, None]
        decision, sides = self.config.decision, (side // self.config.layer_2.pool for side in maps["layer_2"])
        places = math.prod(side + 2 * decision.padding - decision.kernel + 1 for side in sides)
        scores, spiked = self.scores(features), features.counts() > 0
        lead = np.where(own, scores, -np.inf).max(1) - np.where(own, -np.inf, scores).max(1)
        close = spiked & (lead < self.learning.margin * np.sqrt(features.counts()))

        def told(units: NDArray, moving: NDArray, *, multiplied: bool = True) -> Work:
            """Return the work of so many units' potentials and moving units, each (N,)."""
            operations = float((done[:, 2] * units / own.shape[1]).mean())
            state, moved = float(units.mean()) * places, float(moving.mean()) * math.prod(self.unit_weights.shape[1:])
            sums, products = (0.0, moved) if multiplied else (moved, 0.0)
            return Work(operations + sums, products, operations + moved, moved, state, state)

        every = np.full(len(images), own.shape[1])
        return {
            **found,
            "decide": told(every, 0 * every),
            "templates": told(own.sum(1), spiked),
            "rehearsal": told(every, 2 * close),
            "reward": told(every, spiked, multiplied=False),
        }

    def _winners(self, layer: FeatureLayerConfig, weights: Weights, bins: FirstSpikeBins) -> float:
        """Return how many neurons of a feature layer an image would teach, in the mean."""
        still = np.zeros(len(bins), np.float32)
        _, winners = stdp.train(
            bins, np.arange(len(bins)), weights, padding=layer.padding, threshold=layer.threshold,
            total_bins=self.config.coding.total_bins, winners=layer.winners, radius=layer.inhibition_radius,
            ltp=still, ltd=still,
        )  # fmt: skip
        return float((winners[:, :, 0] >= 0).sum() / len(bins))

    def competing_weights(self) -> Weights:
        """Return the decision layer's weights as they compete: ``gain_f (w_f - centre_f)``."""
        if self.templates:
            self.follow_weights_()
        shape = (-1, 1, 1, 1)
        return (self.unit_weights - self.unit_centres.reshape(shape)) * self.unit_gains.reshape(shape)

    def scores(self, features: SpikeLists, *, backend: str = DEFAULT_BACKEND) -> NDArray[np.float32]:
        """Return each decision feature's largest score over its places, (N,F) float32."""
        self.check()
        padding = self.config.decision.padding
        self.tally.add("decide", features.shape[0])
        return reward_stdp.feature_potentials(features, self.competing_weights(), padding=padding, backend=backend)

    def winners(
        self, features: SpikeLists, known: KnownPotentials | None = None, *, backend: str = DEFAULT_BACKEND
    ) -> NDArray[np.int64]:
        """Return the feature that decides each image, (N,) int64, -1 for a silent image.

        Args:
            features: of the images.
            known: from earlier questions about them; changes nothing but how long it takes.
            backend: ``numba_cpu`` or ``reference``.
        """
        self.check()
        padding = self.config.decision.padding
        self.tally.add("decide", features.shape[0])
        return reward_stdp.winners(features, self.competing_weights(), padding=padding, known=known, backend=backend)

    def decide(
        self, features: SpikeLists, among: Sequence[int] = (), *, known: KnownPotentials | None = None,
        backend: str = DEFAULT_BACKEND,
    ) -> Labels:  # fmt: skip
        """Return the decided class of each image, (N,) int64, of those in ``among`` if given; -1 for a silent image.

        See `winners` for the rest; with ``among`` nothing that is ``known`` is used.
        """
        classes = self.unit_classes
        if len(among):
            allowed = np.isin(classes, self._checked_among(among))
            classes = classes[allowed]
            winner = reward_stdp.decide(self.scores(features, backend=backend)[:, allowed])
        else:
            winner = self.winners(features, known, backend=backend)
        return np.where(winner < 0, -1, classes[winner])

    def _checked_among(self, among: Sequence[int]) -> Labels:
        classes = as_labels(among, what="classes")
        unknown = np.setdiff1d(classes, self.unit_classes)
        if len(unknown):
            raise InputError(
                f"among holds class {unknown[0]}, expected some of {list(self.classes)}; decide among these"
            )
        return classes

    def class_scores(self, images: Images) -> NDArray[np.float32]:
        """Return each class's best feature score, (N, classes) float32, columns as `classes`."""
        images, owners = _some(images, "score"), [self.unit_classes == one for one in self.classes]
        parts = []
        for part in chunks(len(images)):
            scores = self.scores(self.features(self.encode(images[part])))
            parts.append(np.stack([scores[:, units].max(axis=1) for units in owners], axis=1))
        return np.concatenate(parts)

    def predict(self, images: Images, among: Sequence[int] = ()) -> Labels:
        """Return the decided class of each image, (N,) int64, of those in ``among`` if given; -1 if it stays silent.

        Raises:
            InputError: no image, one of another size, or a class that it does not have.
        """
        images = _some(images, "decide")
        parts = [self.decide(self.features(self.encode(images[part])), among) for part in chunks(len(images))]
        return np.concatenate(parts)

    def synapses(self) -> dict[str, _Layer]:
        """Return the layers' weights, last presynaptic spikes and clock: ``layer 1``, ``layer 2``, ``decision``."""
        return {
            "layer 1": _Layer(self, "weights_1", "last_spikes_1"),
            "layer 2": _Layer(self, "weights_2", "last_spikes_2"),
            "decision": _Layer(self, "unit_weights", "last_spikes_3"),
        }

    def use_(self, images: Images) -> None:
        """Let the clocks run on by images, 500 ms each."""
        images, never = _some(images, "use"), self.config.coding.total_bins
        settings = (self.config.layer_1, self.config.layer_2, self.config.decision)
        for part in chunks(len(images)):
            bins = self.encode(images[part])
            ends = (self.images_used[0] + 1 + np.arange(len(bins))) * _IMAGE_MS
            inputs = (bins < never, self.layer_1_bins(bins) < never, np.concatenate(list(self._spiked(bins))))
            for n, (spiked, layer) in enumerate(zip(inputs, settings, strict=True), start=1):
                last = latest_use(getattr(self, f"last_spikes_{n}"), spiked, layer.padding, ends)
                setattr(self, f"last_spikes_{n}", last)
            self.images_used = self.images_used + len(bins)

    def copy(self) -> Self:
        """Return an equal network that shares nothing with this one."""
        return copy.deepcopy(self)

    def state_dict(self) -> dict[str, NDArray]:
        """Return everything that learning changes, arrays by name."""
        return {
            **{name: getattr(self, name) for name in _expected(self.config)},
            "input_shape": np.array(self.input_shape, np.int64),
            "templates": np.array([self.templates]),
        }

    def load_state_dict(self, state: Mapping[str, NDArray], /) -> None:
        """Go on from what `state_dict` of a network with the same feature layers returned.

        Raises:
            InputError: names, shapes or types other than this network's.
        """
        missing = sorted(set(self.state_dict()) - set(state))
        if missing:
            raise InputError(f"the state has no {missing[0]!r}, expected all that state_dict returns; give all of it")
        taken = copy.copy(self)
        for name in _expected(self.config):
            setattr(taken, name, np.array(state[name]))
        taken.config = self._config_of(len(taken.unit_classes))
        taken.input_shape, taken.templates = tuple(state["input_shape"].tolist()), bool(np.all(state["templates"]))
        taken.check("state: ")
        vars(self).update(vars(taken))

    def save(self, path: Path | str) -> None:
        """Write a checkpoint: arrays and configuration in one safetensors file, nothing pickled."""
        metadata = {
            "format": _FORMAT, "config": json.dumps(asdict(self.config)), "learning": json.dumps(asdict(self.learning)),
        }  # fmt: skip
        save_tensors(path, self.state_dict(), metadata)

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a checkpoint that `save` wrote.

        Raises:
            InputError: not such a file, damaged, of other shapes or types than its configuration says,
                with weights that are not finite numbers, or with a negative class.
        """
        tensors: dict[str, Any]
        tensors, metadata = load_tensors(path)
        if metadata.get("format") != _FORMAT:
            found = metadata.get("format", "no format")
            raise InputError(f"checkpoint {path} holds {found!r}; expected {_FORMAT!r}")
        with described(path, "first-spike network"):
            config = config_of(settings(metadata, "config"))
            learning = OnlineLearning()
            if "learning" in metadata:
                learning = OnlineLearning.of(settings(metadata, "learning"))
            sides, follow = tensors.pop("input_shape", np.zeros(0)), tensors.pop("templates", np.zeros(1))
            sides = as_labels(sides, what="rows and columns", least=1)
            if len(sides) not in (0, 2) or sides.max(initial=0) > _LARGEST_SIDE:
                raise InputError(f"input_shape is {sides.tolist()}, expected two sides of at most {_LARGEST_SIDE}")
        known = {name: kind for name, kind in _expected(config).items() if name in tensors}
        check_shapes(tensors, known, f"checkpoint {path}: ")  # before arrays of these sizes are made
        with described(path, "first-spike network"):
            network = cls(config=config, learning=learning, input_shape=tuple(sides.tolist()), **tensors)
            network.templates = bool(np.all(follow))
            if "unit_wins" not in tensors:  # written before networks learned online
                network = replace(network, **network._as_learned(len(network.unit_classes)))
        network.check(f"checkpoint {path}: ")
        return network

    def check(self, where: str = "") -> None:
        """Refuse arrays that the kernels cannot take; all that decides or learns asks first.

        Args:
            where: what stands before the sentence.

        Raises:
            InputError: shapes or types other than the configuration says, numbers that are not finite, or a negative
                class.
        """
        arrays = {name: getattr(self, name) for name in _expected(self.config)}
        check_shapes(arrays, _expected(self.config), where)
        check_finite(arrays, where)
        for name, array in arrays.items():
            if array.dtype == np.int64 and array.min(initial=0) < 0:
                kind = "a class" if name == "unit_classes" else "a count"
                raise InputError(f"{where}{name} holds {array.min()}; {kind} is 0 or more")
        as_shares(self.unit_plasticity, len(self.unit_classes), f"{where}unit_plasticity")
