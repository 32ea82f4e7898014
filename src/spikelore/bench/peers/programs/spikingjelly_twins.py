"""SpikingJelly in its multi-step mode, torch backend.

Its neurons take the threshold off in the step of the spike, before the leak; ours do in the next step, after it. The
threshold over beta, taken off there, is the threshold taken off here. So the nodes get that threshold, and a spike
function that fires at the network's own.
"""

from collections.abc import Mapping
from typing import Any

import torch
from spikingjelly.activation_based import functional, neuron

from .torch_parts import ConvolutionalLayers, RecurrentLayers, steps
from .types import Action, Arrays

PACKAGES = ("spikingjelly", "torch")


class _FastSigmoid(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, above: torch.Tensor, slope: float) -> torch.Tensor:
        ctx.save_for_backward(above)
        ctx.slope = slope
        return (above > 0).to(above)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        (above,) = ctx.saved_tensors
        return gradients[0] / (ctx.slope * above.abs() + 1) ** 2, None


def _spiking(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a node's threshold, its soft reset and its spike function."""
    threshold, slope = settings["threshold"], settings["slope"]
    lowered = threshold / settings["beta"]

    def spike(above: torch.Tensor) -> torch.Tensor:
        return _FastSigmoid.apply(above + (lowered - threshold), slope)

    return {"v_threshold": lowered, "v_reset": None, "surrogate_function": spike}


class _Surrogate(ConvolutionalLayers):
    def __init__(self, arrays: Arrays, settings: Mapping[str, Any]) -> None:
        super().__init__(arrays, settings)
        tau = 1 / (1 - settings["beta"])
        self.neurons = torch.nn.ModuleList(
            neuron.LIFNode(tau=tau, decay_input=False, detach_reset=True, step_mode="m", **_spiking(settings))
            for _ in range(len(self.convolutions) + 1)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        functional.reset_net(self)
        first = self.pooled(0, images)
        signal = self.neurons[0](first.expand(self.steps, *first.shape))
        for index in range(1, len(self.convolutions)):
            signal = self.neurons[index](functional.seq_to_ann_forward(signal, lambda x, n=index: self.pooled(n, x)))
        return self.neurons[-1](self.heads[0](signal.flatten(2)))


class _Recurrent(RecurrentLayers):
    def __init__(self, arrays: Arrays, settings: Mapping[str, Any]) -> None:
        super().__init__(arrays, settings)
        self.readout = settings["alpha"], settings["beta"]
        self.neurons = torch.nn.ModuleList()
        for _ in self.hidden:
            node = neuron.CUBALIFNode(c_decay=settings["alpha"], v_decay=settings["beta"], **_spiking(settings))
            node.detach_reset = True
            self.neurons.append(node)

    def forward(self, recordings: torch.Tensor) -> torch.Tensor:
        functional.reset_net(self)
        signal = recordings.transpose(0, 1)
        for linear, own, neurons in zip(self.hidden, self.connections, self.neurons, strict=True):
            currents = linear(signal)
            spike = torch.zeros_like(currents[0])
            spikes = []
            for current in currents:
                spike = neurons(current + own(spike))
                spikes.append(spike)
            signal = torch.stack(spikes)
        alpha, beta = self.readout
        synaptic = potential = torch.zeros(())
        output = []
        for current in self.heads[0](signal):
            synaptic = alpha * synaptic + current
            potential = beta * potential + synaptic
            output.append(potential)
        return torch.stack(output)


def prepare(case: str, arrays: Arrays, settings: Mapping[str, Any]) -> dict[str, Action]:
    """Return the works of the surrogate or the recurrent network."""
    twin = _Surrogate if case == "surrogate" else _Recurrent
    return steps(case, twin(arrays, settings), arrays)
