"""How a differentiable network learns and decides; imports no torch, so that reading a configuration stays quick."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Self

from spikelore.errors import InputError, check_fields

Input = Literal["grey", "spikes"]
Readout = Literal["spikes", "drive", "maximum", "mean", "last", "sum"]
SPIKE_FROM = 128
"""A pixel of this value or more is a spike."""
_LARGEST = 1e30


@dataclass(frozen=True)
class _Changes:
    """Largest amounts of random changes."""

    @property
    def any(self) -> bool:
        """Whether anything is changed at all."""
        return any(getattr(self, one.name) > 0 for one in fields(self))


@dataclass(frozen=True)
class Augmentation(_Changes):
    """Random changes of an image, each drawn anew whenever it is shown; all 0 for none.

    Attributes:
        rotation: largest rotation either way, degrees.
        scale: largest relative change of the size of each axis.
        shear: largest shear.
        shift: largest shift along each axis, pixels.
        elastic: standard deviation of a smooth random displacement of each point, pixels.
        band: largest share of neighbouring rows that are dark, such as the channels of a recording.
    """

    rotation: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    shift: float = 0.0
    elastic: float = 0.0
    band: float = 0.0

    def __post_init__(self) -> None:
        for name in (one.name for one in fields(self)):
            if not getattr(self, name) >= 0:
                raise InputError(f"augmentation.{name} is {getattr(self, name)}, expected 0 or more; 0 turns it off")
        if not self.band <= 1:
            raise InputError(f"augmentation.band is {self.band}, expected a share, 0 to 1; 0.5 is usual")


@dataclass(frozen=True)
class RecordingAugmentation(_Changes):
    """Random changes of a recording of spikes, drawn anew whenever it is learned from; all 0 for none.

    Places are the units along their axis, such as the channels of a cochlea; of a camera rows and columns, each with
    draws of its own.

    Attributes:
        shift: largest shift along the places, as a share of them: another pitch.
        stretch: largest relative change of distances along the places, about their middle: another vocal tract.
        delay: largest shift in time, as a share of the steps.
        tempo: largest relative change of the tempo, below 1.
        thinning: largest share of the spikes that are dropped one by one: less loud.
        band: largest share of neighbouring places that fall silent.
        gap: largest share of successive steps that fall silent.

    Source: shift and stretch after Cramer et al. 2020 (arXiv 1910.07407) and Jaitly & Hinton 2013 (vocal tract length
    perturbation); bands and gaps after Park et al. 2019 (arXiv 1904.08779).
    """

    shift: float = 0.0
    stretch: float = 0.0
    delay: float = 0.0
    tempo: float = 0.0
    thinning: float = 0.0
    band: float = 0.0
    gap: float = 0.0

    def __post_init__(self) -> None:
        check_fields(self, "recording_augmentation.")
        for name in (one.name for one in fields(self)):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(
                    f"recording_augmentation.{name} is {getattr(self, name)}, expected a share of 0 or more and below "
                    "1; 0 turns it off"
                )


_IMAGES_AS_THEY_ARE = Augmentation()
_AS_IT_IS = RecordingAugmentation()


@dataclass(frozen=True)
class GradientLearning:
    """How a differentiable network learns and decides, whatever the method.

    Attributes:
        learning_rate: of Adam.
        input: ``grey`` pixels, or ``spikes``: 1 where a pixel is 128 or more, for new, replayed and test images.
        readout: ``spikes`` are the logits' only source (their count over the steps); ``drive`` adds the membrane
            potential that is left over the threshold; ``maximum``, ``mean``, ``last`` and ``sum`` are those of the
            potential over the steps. All but the first are for networks that give their output potentials.
        averaging: decay of the running mean of the weights that decides in place of the last ones; 0 for none. In the
            first steps n it is n / (n + 9), if that is less.
        image_augmentation: how methods change images that they learn from, new and replayed ones alike, at random;
            methods with replay change stored ones besides by their own ``augmentation``.
        recording_augmentation: how methods change recordings that they learn from, likewise; of what a frozen layer
            makes of either latent replay changes nothing.
    """

    learning_rate: float = 1e-3
    input: Input = "grey"
    readout: Readout = "spikes"
    averaging: float = 0.0
    image_augmentation: Augmentation = _IMAGES_AS_THEY_ARE
    recording_augmentation: RecordingAugmentation = _AS_IT_IS

    def __post_init__(self) -> None:
        check_fields(self)
        if not 0 < self.learning_rate <= _LARGEST:
            raise InputError(
                f"learning_rate is {self.learning_rate}, expected above 0 and at most {_LARGEST:g}; choose another "
                "number"
            )
        if not 0 <= self.averaging < 1:
            raise InputError(f"averaging is {self.averaging}, expected 0 or more and below 1; 0.98 is usual")

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        """Return that of a checkpoint, which has plain values."""
        kinds = {"image_augmentation": Augmentation, "recording_augmentation": RecordingAugmentation}
        return cls(**{**told, **{name: kind(**told.get(name, {})) for name, kind in kinds.items()}})

    @classmethod
    def best(cls) -> Self:
        """Return that of the ``best`` replay preset; for `SurrogateConfig.best`."""
        return cls(learning_rate=2e-3, readout="drive", averaging=0.98)
