"""Configuration of the recurrent network; imports no torch, so that reading one is quick."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, Literal, Self

from spikelore.errors import InputError, check_fields
from spikelore.kernels.recurrent import Spiking

_MOST_STEPS = 100_000
_LONGEST_MS = 1e9


@dataclass(frozen=True)
class RecurrentConfig:
    """Sizes and constants; the defaults are the published ones.

    Attributes:
        units: shape of the input's units, (U,), or (C,H,W), which are taken in a row.
        hidden: neurons of each hidden layer.
        recurrent: whether a hidden layer's neurons reach each other, for all layers or one by one.
        classes: classes of the first head; 0 for a network that starts without one (`add_head`).
        units_per_class: output neurons of each class of a head; what a class's say is their mean.
        steps: T, bins that events are put into.
        bin_ms: milliseconds of each.
        tau_mem_ms: membrane time constant of the hidden layers; alpha and beta are exp(-bin_ms / tau).
        tau_syn_ms: synaptic time constant of the hidden layers.
        readout_tau_mem_ms: of the output neurons.
        readout_tau_syn_ms: of the output neurons.
        times: whether time constants are ``fixed``, or learned: one for each ``layer``, or for each ``neuron`` (of
            output neurons, which may grow more, one for all).
        neuron: when hidden neurons spike, and what follows.
        output: output neurons only integrate (``integrator``), or are ``spiking`` ones like the hidden.
        gradient: how errors go back through time: ``backpropagation``, or ``e-prop``, which needs memory that does not
            grow with T; see `spikelore.kernels.eligibility`.
        split: layers that `RecurrentNetwork.features` runs, for latent replay.

    Source: Dequino et al. 2024 (arXiv 2407.03111). Their decays are exp(-1/10) and exp(-1/5) a bin, of 14 ms, which
    are those of 140 and 70 ms.
    """

    units: tuple[int, ...] = (700,)
    hidden: tuple[int, ...] = (200, 100, 50)
    recurrent: bool | tuple[bool, ...] = True
    classes: int = 20
    units_per_class: int = 1
    steps: int = 100
    bin_ms: float = 14.0
    tau_mem_ms: float = 140.0
    tau_syn_ms: float = 70.0
    readout_tau_mem_ms: float = 140.0
    readout_tau_syn_ms: float = 70.0
    times: Literal["fixed", "layer", "neuron"] = "fixed"
    neuron: Spiking = field(default_factory=Spiking)
    output: Literal["integrator", "spiking"] = "integrator"
    gradient: Literal["backpropagation", "e-prop"] = "backpropagation"
    split: int = 1

    def __post_init__(self) -> None:
        check_fields(self, "network.")
        for name, least in {"steps": 1, "classes": 0, "split": 0, "units_per_class": 1}.items():
            if getattr(self, name) < least:
                raise InputError(f"network.{name} is {getattr(self, name)}; it must be at least {least}")
        for name in ("units", "hidden"):
            if any(size < 1 for size in getattr(self, name)):
                raise InputError(f"network.{name} is {getattr(self, name)}; every size must be at least 1")
        if not self.hidden or not self.units:
            raise InputError("network.hidden and network.units must name at least one size each; give one")
        if not isinstance(self.recurrent, bool) and len(self.recurrent) != len(self.hidden):
            raise InputError(
                f"network.recurrent has {len(self.recurrent)} values for {len(self.hidden)} hidden layers; give one "
                "for each, or one for all"
            )
        for name in ("bin_ms", "tau_mem_ms", "tau_syn_ms", "readout_tau_mem_ms", "readout_tau_syn_ms"):
            if not 1e-3 <= getattr(self, name) <= _LONGEST_MS:
                raise InputError(f"network.{name} is {getattr(self, name)}; it must be 0.001 to {_LONGEST_MS:g} ms")
        if self.split > self.layers:
            raise InputError(f"network.split is {self.split}; there are {self.layers} layers before the output")
        if self.gradient == "e-prop" and (self.times != "fixed" or self.output != "integrator"):
            raise InputError(
                f"network.gradient is 'e-prop', times {self.times!r} and output {self.output!r}, expected fixed times "
                "and an integrator; change these or learn by backpropagation"
            )
        if self.steps > _MOST_STEPS:
            raise InputError(f"network.steps is {self.steps}; it must be at most {_MOST_STEPS}")

    @property
    def layers(self) -> int:
        """Layers of neurons before the output."""
        return len(self.hidden)

    @property
    def connected(self) -> tuple[bool, ...]:
        """Whether each hidden layer's neurons reach each other."""
        return (self.recurrent,) * self.layers if isinstance(self.recurrent, bool) else tuple(self.recurrent)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Neurons of the input and of each hidden layer."""
        return prod(self.units), *self.hidden

    @property
    def bin_us(self) -> int:
        """Microseconds of a bin."""
        return round(1000 * self.bin_ms)

    @classmethod
    def published(cls, **changes: object) -> Self:
        """Return the network of the published code."""
        return replace(cls(), **changes)

    @classmethod
    def best(cls, **changes: object) -> Self:
        """Return the network of the ``best`` preset."""
        return replace(
            cls(
                hidden=(256, 128), bin_ms=10.0, steps=60, tau_mem_ms=60.0, tau_syn_ms=20.0, readout_tau_mem_ms=100.0,
                readout_tau_syn_ms=20.0, times="neuron", neuron=Spiking(reset="subtract", slope=10.0),
            ),
            **changes,
        )  # fmt: skip


def config_of(raw: Mapping[str, Any]) -> RecurrentConfig:
    """Return the configuration that a checkpoint holds, plain."""
    sizes = {name: tuple(raw[name]) for name in ("units", "hidden")}
    recurrent = raw["recurrent"] if isinstance(raw["recurrent"], bool) else tuple(raw["recurrent"])
    return RecurrentConfig(**{**raw, "recurrent": recurrent, "neuron": Spiking(**raw["neuron"]), **sizes})
