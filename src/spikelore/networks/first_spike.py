"""The first-spike convolutional network: rank-order input, two STDP layers, one rewarded decision layer."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from spikelore.coding.rank_order import DifferenceOfGaussians, RankOrderConfig, encode
from spikelore.errors import InputError
from spikelore.files import load_tensors, save_tensors
from spikelore.kernels import DEFAULT_BACKEND, convolution, reward_stdp
from spikelore.kernels.reward_stdp import SpikeLists
from spikelore.metrics.synaptic_operations import convolution_operations
from spikelore.networks.layer_use import LayerUse
from spikelore.randomness import generator
from spikelore.shapes import FirstSpikeBins, Images, Labels, Weights, as_images, as_labels

_CHUNK = 1024
_FORMAT = "spikelore first-spike network 1"


@dataclass(frozen=True)
class FeatureLayerConfig:
    """A convolution layer that learns by competition and STDP, with its pooling.

    Attributes:
        features: number of feature maps.
        kernel: side of the square receptive field in places.
        padding: silent rows and columns around the input.
        threshold: a neuron fires when its potential exceeds it (sum of weights).
        pool: side and stride of the max pooling after the layer.
        winners: most neurons an image may train (k of k winners take all).
        inhibition_radius: places around a winner in which no other neuron may win.
    """

    features: int
    kernel: int
    padding: int
    threshold: float
    pool: int
    winners: int
    inhibition_radius: int


@dataclass(frozen=True)
class DecisionLayerConfig:
    """The layer whose winning feature decides.

    Attributes:
        features: number of features, shared equally between the classes.
        kernel: side of the square receptive field in places.
        padding: silent rows and columns around the input.
        lower: lower bound of a weight.
        upper: upper bound of a weight.
    """

    features: int = 200
    kernel: int = 5
    padding: int = 2
    lower: float = 0.2
    upper: float = 0.8


@dataclass(frozen=True)
class FirstSpikeConfig:
    """The whole network; the defaults are the published ones (Mozafari et al. 2019, section 3.1).

    Attributes:
        coding: pixels to spikes.
        layer_1: first feature layer.
        layer_2: second feature layer.
        decision: decision layer.
        weight_mean: mean of the normal distribution weights start from.
        weight_deviation: its standard deviation.
    """

    coding: RankOrderConfig = field(default_factory=RankOrderConfig)
    layer_1: FeatureLayerConfig = FeatureLayerConfig(30, 5, 2, 15.0, 2, 5, 3)
    layer_2: FeatureLayerConfig = FeatureLayerConfig(250, 3, 1, 10.0, 3, 8, 1)
    decision: DecisionLayerConfig = DecisionLayerConfig()
    weight_mean: float = 0.8
    weight_deviation: float = 0.05

    def __post_init__(self) -> None:
        for name in ("layer_1", "layer_2", "decision"):
            for key, value in asdict(getattr(self, name)).items():
                positive = key not in ("padding", "inhibition_radius", "lower")
                if not np.isfinite(value) or value < 0 or (positive and value == 0):
                    kind = "positive" if positive else "zero or more"
                    raise InputError(f"network.{name}.{key} is {value}; it must be {kind}")
        if self.decision.lower >= self.decision.upper:
            raise InputError(
                f"network.decision.lower is {self.decision.lower}; it must be below upper ({self.decision.upper})"
            )


def _config_from_json(text: str) -> FirstSpikeConfig:
    raw = json.loads(text)
    coding = raw["coding"]
    filters = tuple(DifferenceOfGaussians(**one) for one in coding.pop("filters"))
    return FirstSpikeConfig(
        coding=RankOrderConfig(filters=filters, **coding),
        layer_1=FeatureLayerConfig(**raw["layer_1"]),
        layer_2=FeatureLayerConfig(**raw["layer_2"]),
        decision=DecisionLayerConfig(**raw["decision"]),
        weight_mean=raw["weight_mean"],
        weight_deviation=raw["weight_deviation"],
    )


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


def _pooled(spiked: NDArray[np.bool_], pool: int) -> NDArray[np.bool_]:
    images, features, height, width = spiked.shape
    height, width = height // pool, width // pool
    whole = spiked[:, :, : height * pool, : width * pool]
    return np.asarray(whole.reshape(images, features, height, pool, width, pool).any(axis=(3, 5)))


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


@dataclass(frozen=True, eq=False)
class FirstSpikeNetwork:
    """Three layers of non-leaky integrate-and-fire neurons that each fire at most once.

    The units of the decision layer compete by the score ``gain_f (V_f - centre_f n)``, where ``V_f`` is the
    potential and ``n`` the number of input spikes the neuron sees; a trained network has gains 1 and centres
    0, so that raw potentials compete, and fusion may set others.

    Attributes:
        config: sizes and constants.
        weights_1: (30,6,5,5) float32 by default.
        weights_2: (250,30,3,3).
        unit_weights: (200,250,5,5), the decision layer.
        unit_classes: (200,) int64, the class each decision feature stands for.
        unit_gains: (200,) float32.
        unit_centres: (200,) float32.

    Source: Mozafari et al. 2019 (doi 10.1016/j.patcog.2019.05.015).
    """

    config: FirstSpikeConfig
    weights_1: Weights
    weights_2: Weights
    unit_weights: Weights
    unit_classes: NDArray[np.int64]
    unit_gains: NDArray[np.float32]
    unit_centres: NDArray[np.float32]

    @classmethod
    def create(cls, config: FirstSpikeConfig, classes: tuple[int, ...], seed: int) -> Self:
        """Return an untrained network with ``config.decision.features / len(classes)`` features a class.

        Raises:
            InputError: no class, a repeated or negative one, or features that do not divide among them.
        """
        classes = tuple(as_labels(classes, what="classes", least=-(2**63)).tolist())
        if not classes or len(set(classes)) < len(classes) or min(classes) < 0:
            raise InputError(f"classes are {list(classes)}; give at least one label of 0 or more, each once")
        features, rest = divmod(config.decision.features, len(classes))
        if rest or not features:
            raise InputError(
                f"network.decision.features is {config.decision.features}, which does not divide among "
                f"{len(classes)} classes; choose a multiple of {len(classes)}"
            )

        def weights(name: str, outputs: int, inputs: int, kernel: int) -> Weights:
            shape = (outputs, inputs, kernel, kernel)
            drawn = generator(seed, name).normal(config.weight_mean, config.weight_deviation, shape)
            return drawn.astype(np.float32)

        channels = len(config.coding.filters)
        one, two, decision = config.layer_1, config.layer_2, config.decision
        return cls(
            config=config,
            weights_1=weights("layer 1", one.features, channels, one.kernel),
            weights_2=weights("layer 2", two.features, one.features, two.kernel),
            unit_weights=weights("layer 3", decision.features, two.features, decision.kernel),
            unit_classes=np.repeat(np.array(classes, np.int64), features),
            unit_gains=np.ones(decision.features, np.float32),
            unit_centres=np.zeros(decision.features, np.float32),
        )

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
        settings = {key: value for key, value in asdict(self.config).items() if key not in ("decision",)}
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
        decision = replace(self.config.decision, features=len(weights))
        return replace(
            self,
            config=replace(self.config, decision=decision),
            unit_weights=weights,
            unit_classes=classes,
            unit_gains=np.ones(len(weights), np.float32) if gains is None else gains,
            unit_centres=np.zeros(len(weights), np.float32) if centres is None else centres,
        )

    def encode(self, images: Images, *, backend: str = DEFAULT_BACKEND) -> FirstSpikeBins:
        """Return the input wave of each image, (N,C,H,W) int8; see `spikelore.coding.rank_order.encode`.

        Raises:
            InputError: images that `spikelore.shapes.as_images` does not take, or smaller than `smallest_side`.
        """
        images = as_images(images)
        if min(images.shape[1:]) < self.smallest_side:
            raise InputError(
                f"images are {images.shape[1]} x {images.shape[2]} pixels; the layers of this network leave nothing "
                f"of less than {self.smallest_side} x {self.smallest_side}; give larger images or smaller kernels"
            )
        return encode(images, self.config.coding, backend=backend)

    def layer_1_bins(self, bins: FirstSpikeBins, *, backend: str = DEFAULT_BACKEND) -> FirstSpikeBins:
        """Return layer 1's pooled wave, the input that layer 2 learns from."""
        self.check()
        layer, bins = self.config.layer_1, checked_bins(bins, self.weights_1, self.config.coding.total_bins)
        parts = [
            convolution.first_spike_bins(
                bins[part], self.weights_1, padding=layer.padding, threshold=layer.threshold,
                total_bins=self.config.coding.total_bins, pool=layer.pool, backend=backend,
            )
            for part in chunks(len(bins))
        ]  # fmt: skip
        return np.concatenate(parts)

    def features(self, bins: FirstSpikeBins, *, backend: str = DEFAULT_BACKEND) -> SpikeLists:
        """Return which neurons of layer 2, pooled, ever spike: all that the decision layer needs.

        Args:
            bins: (N,C,H,W) int8 from `encode`.
            backend: ``numba_cpu`` or ``reference``.
        """
        self.check()
        parts, bins = [], checked_bins(bins, self.weights_1, self.config.coding.total_bins)
        for part in chunks(len(bins)):
            spiked = bins[part] < self.config.coding.total_bins
            for layer, weights in (
                (self.config.layer_1, self.weights_1),
                (self.config.layer_2, self.weights_2),
            ):
                spiked = convolution.spikes(
                    spiked,
                    weights,
                    padding=layer.padding,
                    threshold=layer.threshold,
                    pool=layer.pool,
                    backend=backend,
                )
            parts.append(SpikeLists.from_spikes(spiked))
        return SpikeLists.concatenate(parts)

    def count_spikes(self, images: Images, *, backend: str = DEFAULT_BACKEND) -> SpikeCounts:
        """Return the spikes and synaptic operations of deciding ``images``, means per image.

        A layer's operations are those of `convolution_operations` for the spikes it receives: the input's,
        layer 1's after pooling (a window passes one spike on), layer 2's after pooling. Feature layers run
        without the competition that they learn by, as when they are frozen. The difference-of-Gaussians
        filters, the ranking of their responses and the comparison of decision units are not counted.
        """
        self.check()
        images = _some(images, "count the spikes of")
        fired, done = np.zeros(3, np.int64), np.zeros(3, np.int64)
        for part in chunks(len(images)):
            spiked = self.encode(images[part], backend=backend) < self.config.coding.total_bins
            fired[0] += np.count_nonzero(spiked)
            for n, (layer, weights) in enumerate(
                ((self.config.layer_1, self.weights_1), (self.config.layer_2, self.weights_2))
            ):
                shape = {"kernel": layer.kernel, "padding": layer.padding}
                done[n] += convolution_operations(spiked, features=layer.features, **shape).sum()
                spiked = convolution.spikes(
                    spiked, weights, padding=layer.padding, threshold=layer.threshold, backend=backend
                )
                fired[n + 1] += np.count_nonzero(spiked)
                spiked = _pooled(spiked, layer.pool)
            decision = self.config.decision
            done[2] += convolution_operations(
                spiked, features=decision.features, kernel=decision.kernel, padding=decision.padding
            ).sum()
        spikes, operations = (tuple((counts / len(images)).tolist()) for counts in (fired, done))
        return SpikeCounts(spikes, operations)

    def competing_weights(self) -> Weights:
        """Return the decision layer's weights as they compete: ``gain_f (w_f - centre_f)``."""
        shape = (-1, 1, 1, 1)
        return (self.unit_weights - self.unit_centres.reshape(shape)) * self.unit_gains.reshape(shape)

    def scores(self, features: SpikeLists, *, backend: str = DEFAULT_BACKEND) -> NDArray[np.float32]:
        """Return each decision feature's largest score over its places, (N,F) float32."""
        self.check()
        padding = self.config.decision.padding
        return reward_stdp.feature_potentials(features, self.competing_weights(), padding=padding, backend=backend)

    def winners(self, features: SpikeLists, *, backend: str = DEFAULT_BACKEND) -> NDArray[np.int64]:
        """Return the feature that decides each image, (N,) int64, -1 for a silent image."""
        return reward_stdp.decide(self.scores(features, backend=backend))

    def decide(self, features: SpikeLists, *, backend: str = DEFAULT_BACKEND) -> Labels:
        """Return the decided class of each image, (N,) int64, -1 for a silent image."""
        winner = self.winners(features, backend=backend)
        return np.where(winner < 0, -1, self.unit_classes[winner])

    def class_scores(self, images: Images) -> NDArray[np.float32]:
        """Return each class's best feature score, (N, classes) float32, columns as `classes`."""
        scores = self.scores(self.features(self.encode(_some(images, "score"))))
        return np.stack([scores[:, self.unit_classes == one].max(axis=1) for one in self.classes], axis=1)

    def predict(self, images: Images) -> Labels:
        """Return the decided class of each image, (N,) int64, -1 where it stays silent."""
        images = _some(images, "decide")
        parts = [self.decide(self.features(self.encode(images[part]))) for part in chunks(len(images))]
        return np.concatenate(parts)

    def layer_use(self, layer: Literal[1, 2, 3], images: Images, *, image_ms: float = 500.0) -> LayerUse:
        """Return a copy of a layer's weights with the last presynaptic spike of each synapse while ``images`` pass.

        It is what `spikelore.continual.unused_decay` works on; `with_layer` takes the weights back.

        Args:
            layer: 1 or 2, the feature layers, or 3, the decision layer.
            images: (N,H,W) uint8, in the order in which they pass.
            image_ms: time an image takes.
        """
        if layer not in (1, 2, 3):
            raise InputError(f"layer is {layer!r}, expected 1, 2 or 3; choose one")
        images, never = as_images(images), self.config.coding.total_bins
        weights, settings = (
            (self.weights_1, self.config.layer_1),
            (self.weights_2, self.config.layer_2),
            (self.unit_weights, self.config.decision),
        )[layer - 1]
        use = LayerUse(weights.copy(), padding=settings.padding, image_ms=image_ms)
        for part in chunks(len(images)):
            bins = self.encode(images[part])
            if layer == 3:
                features = self.features(bins)
                use.show_(np.stack([features.spikes(n) for n in range(len(features))]))
            else:
                use.show_((bins if layer == 1 else self.layer_1_bins(bins)) < never)
        return use

    def with_layer(self, layer: Literal[1, 2, 3], weights: Weights) -> Self:
        """Return the network with other weights, of the same shape, in one layer.

        Raises:
            InputError: the shape differs.
        """
        if layer not in (1, 2, 3):
            raise InputError(f"layer is {layer!r}, expected 1, 2 or 3; choose one")
        name, weights = ("weights_1", "weights_2", "unit_weights")[layer - 1], np.asarray(weights)
        shape = getattr(self, name).shape
        if weights.shape != shape:
            raise InputError(f"weights of layer {layer} have shape {weights.shape}, expected {shape}")
        return replace(self, **{name: weights})

    def state_dict(self) -> dict[str, NDArray]:
        """Return all learned arrays by name."""
        return {
            "weights_1": self.weights_1,
            "weights_2": self.weights_2,
            "unit_weights": self.unit_weights,
            "unit_classes": self.unit_classes,
            "unit_gains": self.unit_gains,
            "unit_centres": self.unit_centres,
        }

    def save(self, path: Path) -> None:
        """Write a checkpoint: arrays and configuration in one safetensors file, nothing pickled."""
        save_tensors(path, self.state_dict(), {"format": _FORMAT, "config": json.dumps(asdict(self.config))})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a checkpoint that `save` wrote.

        Raises:
            InputError: not such a file, damaged, of other shapes or types than its configuration says,
                with weights that are not finite numbers, or with a negative class.
        """
        tensors, metadata = load_tensors(path)
        if metadata.get("format") != _FORMAT:
            found = metadata.get("format", "no format")
            raise InputError(f"checkpoint {path} holds {found!r}; expected {_FORMAT!r}")
        try:
            network = cls(config=_config_from_json(metadata["config"]), **tensors)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"checkpoint {path} does not describe a first-spike network: {error}") from error
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
        config = self.config
        one, two, decision = config.layer_1, config.layer_2, config.decision
        expected = {
            "weights_1": (one.features, len(config.coding.filters), one.kernel, one.kernel),
            "weights_2": (two.features, one.features, two.kernel, two.kernel),
            "unit_weights": (decision.features, two.features, decision.kernel, decision.kernel),
            "unit_classes": (decision.features,),
            "unit_gains": (decision.features,),
            "unit_centres": (decision.features,),
        }
        for name, array in self.state_dict().items():
            if not isinstance(array, np.ndarray):
                raise InputError(f"{where}{name} is a {type(array).__name__}; expected a NumPy array")
            kind = np.int64 if name == "unit_classes" else np.float32
            if array.dtype != kind:
                raise InputError(f"{where}{name} is of type {array.dtype}; expected {np.dtype(kind)}")
            if array.shape != expected[name]:
                raise InputError(f"{where}{name} has shape {array.shape}, but its configuration says {expected[name]}")
            if not np.isfinite(array).all():
                raise InputError(f"{where}{name} holds NaN or infinite values; train it again")
        if self.unit_classes.min(initial=0) < 0:
            raise InputError(f"{where}unit_classes holds {self.unit_classes.min()}; a class is 0 or more")
