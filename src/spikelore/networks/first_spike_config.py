"""What a first-spike network is made of: its layers' sizes and constants."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from spikelore.coding.rank_order import DifferenceOfGaussians, RankOrderConfig
from spikelore.errors import InputError, check_fields


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
        split: feature layers, 1 or 2, whose spikes stand for an input where a method keeps spikes or sums of them.
    """

    coding: RankOrderConfig = field(default_factory=RankOrderConfig)
    layer_1: FeatureLayerConfig = FeatureLayerConfig(30, 5, 2, 15.0, 2, 5, 3)
    layer_2: FeatureLayerConfig = FeatureLayerConfig(250, 3, 1, 10.0, 3, 8, 1)
    decision: DecisionLayerConfig = DecisionLayerConfig()
    weight_mean: float = 0.8
    weight_deviation: float = 0.05
    split: int = 2

    def __post_init__(self) -> None:
        check_fields(self, "network.")
        if self.split not in (1, 2):
            raise InputError(f"network.split is {self.split}, expected 1 or 2, the feature layers; choose one")
        for name in ("layer_1", "layer_2", "decision"):
            layer = getattr(self, name)
            check_fields(layer, f"network.{name}.")
            for key, value in asdict(layer).items():
                positive = key not in ("padding", "inhibition_radius", "lower")
                if value < 0 or (positive and value == 0):
                    kind = "positive" if positive else "zero or more"
                    raise InputError(f"network.{name}.{key} is {value}; it must be {kind}")
            if layer.padding >= layer.kernel:
                raise InputError(
                    f"network.{name}.padding is {layer.padding}, expected less than its kernel, {layer.kernel}: "
                    "places beyond see nothing; choose a smaller one"
                )
        if self.decision.lower >= self.decision.upper:
            raise InputError(
                f"network.decision.lower is {self.decision.lower}; it must be below upper ({self.decision.upper})"
            )

    def maps(self, shape: tuple[int, int]) -> dict[str, tuple[int, int]]:
        """Return rows and columns of the maps of ``layer_1`` and ``layer_2``, before pooling, for images of a shape."""
        found, sides = {}, shape
        for name, layer in (("layer_1", self.layer_1), ("layer_2", self.layer_2)):
            rows, columns = (side + 2 * layer.padding - layer.kernel + 1 for side in sides)
            found[name], sides = (rows, columns), (rows // layer.pool, columns // layer.pool)
        return found

    def check_radii(self, shape: tuple[int, int], where: str = "network.") -> None:
        """Refuse an inhibition that reaches beyond the map it is in.

        Args:
            shape: rows and columns of an image.
            where: what stands before a layer's name in the message.

        Raises:
            InputError: a radius is not smaller than a layer's map.
        """
        for name, sides in self.maps(shape).items():
            radius = getattr(self, name).inhibition_radius
            if radius >= max(sides):
                raise InputError(
                    f"{where}{name}.inhibition_radius is {radius}, larger than the map of {sides[0]} x {sides[1]} "
                    f"places, expected below {max(sides)}; choose a smaller radius"
                )


def config_of(raw: Mapping[str, Any]) -> FirstSpikeConfig:
    """Return the configuration that a checkpoint holds, plain."""
    coding = dict(raw["coding"])
    filters = tuple(DifferenceOfGaussians(**one) for one in coding.pop("filters"))
    return FirstSpikeConfig(
        coding=RankOrderConfig(filters=filters, **coding),
        layer_1=FeatureLayerConfig(**raw["layer_1"]),
        layer_2=FeatureLayerConfig(**raw["layer_2"]),
        decision=DecisionLayerConfig(**raw["decision"]),
        weight_mean=raw["weight_mean"],
        weight_deviation=raw["weight_deviation"],
        split=raw.get("split", 2),  # written before there was a choice
    )
