"""Norse: a loop over steps of its box neurons and box integrators.

They multiply their input by 1 - beta, so the weights are larger by that, and gradients smaller. Their reset acts in the
step of the spike; the threshold over beta, taken off there, is the threshold taken off one step later.
"""

from collections.abc import Mapping
from typing import Any

import torch
from norse.torch import LIBoxCell, LIBoxParameters, LIFBoxCell, LIFBoxParameters

from .torch_parts import ConvolutionalLayers, RecurrentLayers, steps
from .types import Action, Arrays

PACKAGES = ("norse", "torch")


def _subtract(z: torch.Tensor, v: torch.Tensor, reset: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    return v - z.detach() * reset


def _spiking(settings: Mapping[str, Any]) -> LIFBoxCell:
    """Return neurons whose step is the unit of time."""
    beta, threshold = settings["beta"], settings["threshold"]
    parameters = LIFBoxParameters(
        tau_mem_inv=torch.tensor(1 - beta), v_th=torch.tensor(threshold), v_reset=torch.tensor(threshold / beta),
        alpha=torch.tensor(float(settings["slope"])), reset_method=_subtract,
    )  # fmt: skip
    return LIFBoxCell(parameters, dt=1.0)


def _integrating(decay: float) -> LIBoxCell:
    return LIBoxCell(LIBoxParameters(tau_mem_inv=torch.tensor(1 - decay)), dt=1.0)


class _Surrogate(ConvolutionalLayers):
    def __init__(self, arrays: Arrays, settings: Mapping[str, Any]) -> None:
        super().__init__(arrays, settings, scale=1 / (1 - settings["beta"]))
        self.neurons = torch.nn.ModuleList(_spiking(settings) for _ in range(len(self.convolutions) + 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.stepwise(images, self.neurons, [None for _ in self.neurons])


class _Recurrent(RecurrentLayers):
    def __init__(self, arrays: Arrays, settings: Mapping[str, Any]) -> None:
        super().__init__(arrays, settings, scale=1 / (1 - settings["alpha"]) / (1 - settings["beta"]))
        self.synapses = torch.nn.ModuleList(_integrating(settings["alpha"]) for _ in self.hidden)
        self.neurons = torch.nn.ModuleList(_spiking(settings) for _ in self.hidden)
        self.readout = torch.nn.ModuleList(_integrating(settings[decay]) for decay in ("alpha", "beta"))

    def forward(self, recordings: torch.Tensor) -> torch.Tensor:
        layers = list(zip(self.hidden, self.connections, self.synapses, self.neurons, strict=True))
        states: list[Any] = [(torch.zeros(len(recordings), size), None, None) for size in self.sizes]
        kept: list[Any] = [None for _ in self.readout]
        output = []
        for signal in recordings.transpose(0, 1):
            for index, (layer, own, synapse, neuron) in enumerate(layers):
                spikes, synaptic, potential = states[index]
                current, synaptic = synapse(layer(signal) + own(spikes), synaptic)
                signal, potential = neuron(current, potential)
                states[index] = signal, synaptic, potential
            current = self.heads[0](signal)
            for index, integrator in enumerate(self.readout):
                current, kept[index] = integrator(current, kept[index])
            output.append(current)
        return torch.stack(output)


def prepare(case: str, arrays: Arrays, settings: Mapping[str, Any]) -> dict[str, Action]:
    """Return the works of the surrogate or the recurrent network."""
    twin = _Surrogate if case == "surrogate" else _Recurrent
    return steps(case, twin(arrays, settings), arrays)
