"""What a scan is told about its neurons."""

from dataclasses import dataclass
from typing import Literal

from spikelore.errors import InputError, check_fields


@dataclass(frozen=True)
class Leaky:
    """Leaky integrate-and-fire neurons in discrete time.

    Attributes:
        beta: share of the membrane potential that is left after a step, 0 to 1.
        threshold: a neuron spikes when its potential is greater.
        reset: what a spike does in the step after: ``subtract`` takes the threshold off, ``zero`` empties.
        surrogate: whose derivative stands for that of the spike, ``fast_sigmoid`` or ``atan``.
        slope: k of ``1 / (1 + k |x|)^2``, or alpha of ``alpha/2 / (1 + (pi/2 alpha x)^2)``.
    """

    beta: float = 0.99
    threshold: float = 1.0
    reset: Literal["subtract", "zero"] = "subtract"
    surrogate: Literal["fast_sigmoid", "atan"] = "fast_sigmoid"
    slope: float = 25.0

    def __post_init__(self) -> None:
        check_fields(self)
        if not 0 <= self.beta <= 1:
            raise InputError(f"beta is {self.beta}; it must lie between 0 and 1")
        for name in ("threshold", "slope"):
            value = getattr(self, name)
            if value <= 0:
                raise InputError(f"{name} is {value}; it must be positive")
