"""snnTorch, written as its tutorials do: a loop over steps of its neurons."""

from collections.abc import Mapping
from typing import Any

import snntorch
import torch
from snntorch import surrogate

from .torch_parts import ConvolutionalLayers, RecurrentLayers, steps
from .types import Action, Arrays

PACKAGES = ("snntorch", "torch")


class _Surrogate(ConvolutionalLayers):
    def __init__(self, arrays: Arrays, settings: Mapping[str, Any]) -> None:
        super().__init__(arrays, settings)
        self.neurons = torch.nn.ModuleList(
            snntorch.Leaky(
                beta=settings["beta"],
                threshold=settings["threshold"],
                reset_mechanism="subtract",
                spike_grad=surrogate.fast_sigmoid(slope=settings["slope"]),
            )
            for _ in range(len(self.convolutions) + 1)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        neurons: Any = self.neurons
        return self.stepwise(images, neurons, [neuron.reset_mem() for neuron in neurons])


class _Recurrent(RecurrentLayers):
    def __init__(self, arrays: Arrays, settings: Mapping[str, Any]) -> None:
        super().__init__(arrays, settings)
        self.neurons = torch.nn.ModuleList()
        for layer, own in zip(self.hidden, self.connections, strict=True):
            neuron: Any = snntorch.RSynaptic(
                alpha=settings["alpha"], beta=settings["beta"], linear_features=layer.out_features,
                threshold=settings["threshold"], reset_mechanism="subtract",
                spike_grad=surrogate.fast_sigmoid(slope=settings["slope"]),
            )  # fmt: skip
            neuron.recurrent = own
            self.neurons.append(neuron)
        self.readout = snntorch.Synaptic(alpha=settings["alpha"], beta=settings["beta"], reset_mechanism="none")

    def forward(self, recordings: torch.Tensor) -> torch.Tensor:
        neurons: Any = self.neurons
        states = [neuron.reset_mem() for neuron in neurons]
        synaptic, potential = self.readout.reset_mem()
        output = []
        for signal in recordings.transpose(0, 1):
            for index, layer in enumerate(self.hidden):
                states[index] = neurons[index](layer(signal), *states[index])
                signal = states[index][0]
            _, synaptic, potential = self.readout(self.heads[0](signal), synaptic, potential)
            output.append(potential)
        return torch.stack(output)


def prepare(case: str, arrays: Arrays, settings: Mapping[str, Any]) -> dict[str, Action]:
    """Return the works of the surrogate or the recurrent network."""
    twin = _Surrogate if case == "surrogate" else _Recurrent
    return steps(case, twin(arrays, settings), arrays)
