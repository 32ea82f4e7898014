"""What a recurrent layer is told about its neurons."""

from dataclasses import dataclass
from typing import Literal

from spikelore.errors import InputError, check_fields

_MOST_REFRACTORY = 1000


@dataclass(frozen=True)
class Spiking:
    """When neurons spike, what a spike does to them, and what stands for its derivative.

    Attributes:
        threshold: a neuron spikes when its potential is greater.
        reset: what a spike does in the step after: ``subtract`` takes the threshold off, ``zero`` empties the neuron,
            and that step's current is lost.
        refractory: further steps in which the neuron takes no current and does not spike.
        surrogate: whose derivative stands for that of the spike, ``fast_sigmoid`` or ``atan``.
        slope: k of ``1 / (1 + k |x|)^2``, or alpha of ``alpha/2 / (1 + (pi/2 alpha x)^2)``.
    """

    threshold: float = 1.0
    reset: Literal["subtract", "zero"] = "zero"
    refractory: int = 0
    surrogate: Literal["fast_sigmoid", "atan"] = "fast_sigmoid"
    slope: float = 100.0

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("threshold", "slope"):
            value = getattr(self, name)
            if value <= 0:
                raise InputError(f"{name} is {value}; it must be positive")
        if not 0 <= self.refractory <= _MOST_REFRACTORY:
            raise InputError(f"refractory is {self.refractory}; it must be 0 to {_MOST_REFRACTORY} steps")

    @property
    def silent_steps(self) -> int:
        """Steps after a spike in which a neuron takes no current."""
        return self.refractory + (self.reset == "zero")
