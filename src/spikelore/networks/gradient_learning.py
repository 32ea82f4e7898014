"""How a differentiable network learns and decides; imports no torch, so that reading a configuration stays quick."""

from dataclasses import dataclass
from typing import Literal, Self

from spikelore.errors import InputError, check_fields

Input = Literal["grey", "spikes"]
Readout = Literal["spikes", "drive", "maximum", "mean", "last", "sum"]
SPIKE_FROM = 128
"""A pixel of this value or more is a spike."""
_LARGEST = 1e30


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
    """

    learning_rate: float = 1e-3
    input: Input = "grey"
    readout: Readout = "spikes"
    averaging: float = 0.0

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
    def best(cls) -> Self:
        """Return that of the ``best`` replay preset; for `SurrogateConfig.best`."""
        return cls(learning_rate=2e-3, readout="drive", averaging=0.98)
