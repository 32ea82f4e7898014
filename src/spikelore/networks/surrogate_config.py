"""Configuration of the surrogate-gradient network; imports no torch, so that reading one is quick."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

from spikelore.errors import InputError, check_fields
from spikelore.kernels.lif_scan import Leaky

_LONGEST_MS = 1e9
_MOST_STEPS = 10_000
"""Steps that are computed, and kept while gradients are."""


@dataclass(frozen=True)
class SurrogateConfig:
    """Sizes and constants; the defaults are the published ones but for the membranes, which are carried.

    Attributes:
        image: channels, rows and columns of an image.
        channels: feature maps of each convolution layer.
        kernel: side of the square kernels, without padding.
        pool: side and stride of the max pooling between a convolution and its neurons; see ``pooling``.
        pooling: ``max``; or ``stride``: none, and the convolutions themselves go in strides of ``pool``, which other
            libraries and chips can take over (`spikelore.networks.nir_format`), since NIR has no max pooling.
        hidden: neurons of each fully connected layer between the convolutions and the output.
        classes: classes of the first head; 0 for a network that starts without one (`add_head`).
        units_per_class: output neurons of each class of a head; a class's spikes and potential are their mean.
        steps: T.
        neuron: constants of all neurons.
        coding: ``bernoulli_once`` draws one spike image with the pixels as probabilities and shows it at
            every step, ``bernoulli`` draws one a step, ``constant`` feeds the pixels as currents; ``events``: the
            input is spikes already, of `spikelore.networks.surrogate_events.SurrogateEventNetwork`.
        membrane: ``carried`` from step to step; ``reinitialised`` before each, as the published code does, so
            that neurons have no memory and a constant input makes all steps alike.
        split: layers that `SurrogateNetwork.features` runs, for latent replay.
        bin_ms: milliseconds of a step of ``events``.
    """

    image: tuple[int, int, int] = (1, 28, 28)
    channels: tuple[int, ...] = (12, 64)
    kernel: int = 5
    pool: int = 2
    hidden: tuple[int, ...] = ()
    classes: int = 10
    steps: int = 30
    neuron: Leaky = field(default_factory=Leaky)
    coding: Literal["bernoulli_once", "bernoulli", "constant", "events"] = "bernoulli_once"
    membrane: Literal["carried", "reinitialised"] = "carried"
    split: int = 1
    units_per_class: int = 1
    pooling: Literal["max", "stride"] = "max"
    bin_ms: float = 10.0

    def __post_init__(self) -> None:
        check_fields(self, "network.")
        least_of = {"kernel": 1, "pool": 1, "steps": 1, "classes": 0, "split": 0, "units_per_class": 1}
        for name, least in least_of.items():
            if getattr(self, name) < least:
                raise InputError(f"network.{name} is {getattr(self, name)}; it must be at least {least}")
        for name in ("image", "channels", "hidden"):
            if any(size < 1 for size in getattr(self, name)):
                raise InputError(f"network.{name} is {getattr(self, name)}; every size must be at least 1")
        if len(self.image) != 3:
            raise InputError(f"network.image is {self.image}; expected channels, rows and columns")
        if self.split > self.layers:
            raise InputError(f"network.split is {self.split}; there are {self.layers} layers before the output")
        if self.steps > _MOST_STEPS:
            raise InputError(f"network.steps is {self.steps}; it must be at most {_MOST_STEPS}")
        if not 1e-3 <= self.bin_ms <= _LONGEST_MS:
            raise InputError(f"network.bin_ms is {self.bin_ms}; it must be 0.001 to {_LONGEST_MS:g} ms")
        self.shapes()

    @property
    def bin_us(self) -> int:
        """Microseconds of a step of ``events``."""
        return round(1000 * self.bin_ms)

    @property
    def layers(self) -> int:
        """Layers of neurons before the output."""
        return len(self.channels) + len(self.hidden)

    @property
    def stride(self) -> int:
        """Stride of the convolutions."""
        return self.pool if self.pooling == "stride" else 1

    def shapes(self) -> list[tuple[int, ...]]:
        """Return the shape of an image's signal before the first layer and after each, output left out."""
        shapes: list[tuple[int, ...]] = [self.image]
        for channels in self.channels:
            odd = self.pool - 1 if self.pooling == "stride" else 0  # a stride may begin where no whole pool fits
            sides = [(side - self.kernel + 1 + odd) // self.pool for side in shapes[-1][1:]]
            if min(sides) < 1:
                raise InputError(
                    f"network.image is {self.image[1]}x{self.image[2]}, too small for {len(self.channels)} "
                    f"convolutions of side {self.kernel} with pooling {self.pool}; remove a layer or enlarge it"
                )
            shapes.append((channels, *sides))
        shapes.extend((size,) for size in self.hidden)
        return shapes

    @classmethod
    def published(cls, **changes: object) -> Self:
        """Return the network of the published code: as the paper's, with membranes re-initialised at each step."""
        return replace(cls(membrane="reinitialised"), **changes)

    @classmethod
    def best(cls, **changes: object) -> Self:
        """Return the network of the ``best`` replay preset: a hidden layer, pixels as currents, T = 4."""
        neuron = Leaky(beta=0.9, surrogate="atan", slope=2.0)
        return replace(cls(hidden=(256,), steps=4, coding="constant", neuron=neuron), **changes)


def config_of(raw: Mapping[str, Any]) -> SurrogateConfig:
    """Return the configuration that a checkpoint holds, plain."""
    sizes = {name: tuple(raw[name]) for name in ("image", "channels", "hidden")}
    return SurrogateConfig(**{**raw, "neuron": Leaky(**raw["neuron"]), **sizes})
