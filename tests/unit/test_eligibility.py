"""Gradients by eligibility traces against those by backpropagation, with what traces leave out left out there too."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from test_recurrent_kernel import Spike

from spikelore.kernels import eligibility
from spikelore.kernels.eligibility import Layer
from spikelore.kernels.recurrent import Spiking

NEURON = Spiking(reset="subtract", slope=5.0)


def drawn(sizes, connected, kind=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    layers = []
    for n, (before, after) in enumerate(pairwise(sizes)):
        last = n + 2 == len(sizes)
        weights = rng.normal(0, 1.6 * before**-0.5, (after, before)).astype(kind)
        own = rng.normal(0, 0.3, (after, after)).astype(kind) if connected and not last else None
        bias = rng.normal(0, 0.1, after).astype(kind)
        layers.append(Layer(weights, bias, own, 0.6 - 0.1 * n, 0.8 + 0.05 * n, None if last else NEURON))
    inputs = (rng.random((40, 5, sizes[0])) < 0.3).astype(kind)
    return inputs, layers, rng.normal(size=(40, 5, sizes[-1])).astype(kind)


def by_autograd(inputs, layers, errors):
    """Backpropagation through a graph without what traces leave out: connections and memory on the way down."""
    tensors = [[None if each is None else torch.tensor(each, requires_grad=True) for each in parts]
               for parts in ((layer.weights, layer.bias, layer.connections) for layer in layers)]  # fmt: skip
    signal = torch.tensor(inputs)
    spiked = []
    for (weights, bias, own), layer in zip(tensors, layers, strict=True):
        last = layer.neuron is None
        carried = signal if last else signal.detach()
        now = torch.zeros_like(signal) if last else signal - signal.detach()  # 0, with the gradient of this step alone
        current = potential = spike = torch.zeros(inputs.shape[1], len(bias), dtype=signal.dtype)
        spikes, potentials = [], []
        for t in range(len(signal)):
            current = layer.alpha * current + carried[t] @ weights.T + bias
            if own is not None:
                current = current + spike.detach() @ own.T
            potential = layer.beta * potential + current
            if not last:
                potential = potential - layer.neuron.threshold * spike.detach()
                spike = Spike.apply(potential + now[t] @ weights.detach().T - layer.neuron.threshold, layer.neuron)
            spikes.append(spike)
            potentials.append(potential)
        signal = torch.stack(spikes)
        spiked.append(float(signal.detach().mean()))
    (torch.stack(potentials) * torch.tensor(errors)).sum().backward()
    assert min(spiked[:-1]) > 0.03
    return torch.stack(potentials).detach(), tensors


@pytest.mark.parametrize("together", [2**21, 150])
@pytest.mark.parametrize(("sizes", "connected"), [((12, 9, 4), False), ((12, 9, 4), True), ((12, 9, 7, 4), True)])
def test_traces_give_the_gradients_of_backpropagation(sizes, connected, together, monkeypatch):
    monkeypatch.setattr(eligibility, "_TOGETHER", together)
    inputs, layers, errors = drawn(sizes, connected)
    potentials, tensors = by_autograd(inputs, layers, errors)
    np.testing.assert_allclose(eligibility.outputs(inputs, layers, backend="reference"), potentials, rtol=1e-10)
    found = eligibility.gradients(inputs, layers, errors, backend="reference")
    for one, (weights, bias, own) in zip(found, tensors, strict=True):
        np.testing.assert_allclose(one.weights, weights.grad, rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(one.bias, bias.grad, rtol=1e-9, atol=1e-11)
        if own is not None:
            np.testing.assert_allclose(one.connections, own.grad, rtol=1e-9, atol=1e-11)


def test_the_compiled_form_equals_the_definition():
    inputs, layers, errors = drawn((30, 20, 11, 4), True, np.float32)
    expected = eligibility.gradients(inputs, layers, errors, backend="reference")
    found = eligibility.gradients(inputs, layers, errors)
    wanted = eligibility.outputs(inputs, layers, backend="reference")
    np.testing.assert_allclose(eligibility.outputs(inputs, layers), wanted, rtol=1e-4, atol=1e-4)
    for one, other in zip(found, expected, strict=True):
        for name in ("weights", "bias", "connections"):
            mine, theirs = getattr(one, name), getattr(other, name)
            if theirs is not None:
                near = 1e-4 * np.abs(theirs).max()
                np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=near, err_msg=name)
