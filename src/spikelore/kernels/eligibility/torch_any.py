"""The same on any device that torch has, of layers that hold tensors; equations and parts are the package's."""

from collections.abc import Sequence

import torch
from torch.nn import functional as F  # noqa: N812 - the field's name

from spikelore.kernels.eligibility import Gradients, Layer, parts
from spikelore.kernels.lif_scan.torch_any import surrogate_slope
from spikelore.kernels.recurrent.torch_any import backward, forward

Tensor = torch.Tensor
_Passed = tuple[Tensor, Tensor, Tensor]


class _Running:
    """Layers that go on from part to part."""

    def __init__(self, inputs: Tensor, layers: Sequence[Layer]) -> None:
        self.layers = layers
        examples = inputs.shape[1]
        self.states = [inputs.new_zeros(4, examples, len(layer.bias)) for layer in layers]
        self.traces = [inputs.new_zeros(4, examples, layer.weights.shape[1]) for layer in layers]
        self.own_traces = [torch.zeros_like(state) for state in self.states]
        self.bias_traces = [inputs.new_zeros(4, 1, 1) for _ in layers]

    def run(self, spikes: Tensor) -> list[_Passed]:
        """Return what enters each layer in a part of the steps, its own spikes a step before, and its potentials."""
        found = []
        for layer, state in zip(self.layers, self.states, strict=True):
            last = state[2:3].clone()
            currents = F.linear(spikes, layer.weights, layer.bias)
            fired, potentials, _ = forward(currents, layer.connections, layer.alpha, layer.beta, layer.neuron, state)
            own = currents if fired is None else torch.cat([last, fired[:-1]])
            found.append((spikes, own, potentials))
            spikes = spikes if fired is None else fired
        return found


def _filtered(layer: Layer, spikes: Tensor, state: Tensor) -> Tensor:
    """Return the eligibility traces e of spikes, of their shape, and move the state on."""
    return forward(spikes, None, layer.alpha, layer.beta, None, state)[1]


def outputs(inputs: Tensor, layers: Sequence[Layer]) -> Tensor:
    """Return the readout's potentials, (T,B,K); see the package's `outputs`."""
    running = _Running(inputs, layers)
    return torch.cat([running.run(inputs[part])[-1][2] for part in parts(inputs.shape, layers)])


def gradients(inputs: Tensor, layers: Sequence[Layer], errors: Tensor) -> list[Gradients]:
    """Return the gradients of all layers; see the package's `gradients`."""
    *hidden, readout = layers
    carried, _, _ = backward(None, errors, None, errors, None, None, readout.alpha, readout.beta, None)
    running = _Running(inputs, layers)
    weights = [torch.zeros_like(layer.weights) for layer in layers]
    bias = [torch.zeros_like(layer.bias) for layer in layers]
    own = [None if layer.connections is None else torch.zeros_like(layer.connections) for layer in layers]
    for part in parts(inputs.shape, layers):
        passed = running.run(inputs[part])
        error = carried[part]
        weights[-1] += _product(error, passed[-1][0])
        bias[-1] += error.sum((0, 1))
        error = error @ readout.weights
        for index in range(len(hidden) - 1, -1, -1):
            layer, (entered, before, potentials) = layers[index], passed[index]
            neuron = layer.neuron
            assert neuron is not None
            error = error * surrogate_slope(potentials - neuron.threshold, neuron.surrogate, neuron.slope)
            weights[index] += _product(error, _filtered(layer, entered, running.traces[index]))
            ones = error.new_ones(len(error), 1, 1)
            bias[index] += (error * _filtered(layer, ones, running.bias_traces[index])).sum((0, 1))
            if (found := own[index]) is not None:
                found += _product(error, _filtered(layer, before, running.own_traces[index]))
            if index:
                error = error @ layer.weights
    return [Gradients(*each) for each in zip(weights, bias, own, strict=True)]


def _product(errors: Tensor, entered: Tensor) -> Tensor:
    """Return the sum over steps and examples of errors (T,B,H) times what entered (T,B,N): (H,N)."""
    return errors.flatten(0, 1).T @ entered.flatten(0, 1)
