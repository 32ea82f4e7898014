"""For any input: the kernels equal their reference, and their gradients equal autograd on a plain loop."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F  # noqa: N812

from spikelore.kernels import lif_convolution
from spikelore.kernels.lif_scan import Leaky
from spikelore.networks.autograd import convolve, scan_with_potentials

NEURONS = st.builds(
    lambda beta, threshold, reset, kind: Leaky(beta, threshold, reset, *kind),
    st.sampled_from([0.0, 0.5, 0.9, 0.99, 1.0]),
    st.sampled_from([0.5, 1.0, 1.5]),
    st.sampled_from(["subtract", "zero"]),
    st.sampled_from([("fast_sigmoid", 25.0), ("fast_sigmoid", 2.0), ("atan", 2.0), ("atan", 5.0)]),
)
SEEDS = st.integers(0, 2**32 - 1)


class Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx, distance, neuron):
        ctx.save_for_backward(distance)
        ctx.neuron = neuron
        return (distance > 0).to(distance.dtype)

    @staticmethod
    def backward(ctx, *gradients):
        (distance,) = ctx.saved_tensors
        slope = ctx.neuron.slope
        if ctx.neuron.surrogate == "fast_sigmoid":
            return gradients[0] / (slope * distance.abs() + 1) ** 2, None
        return gradients[0] * slope / 2 / (1 + (torch.pi / 2 * slope * distance) ** 2), None


def plain_loop(currents, neuron, steps):
    """Return spikes and potentials by the equations, one step after the other, for autograd to differentiate."""
    potential = torch.zeros_like(currents[0])
    spikes, potentials = [], []
    for t in range(steps):
        reset = (potential > neuron.threshold).float()
        before = (1 - reset) * potential if neuron.reset == "zero" else potential
        potential = neuron.beta * before + currents[t if len(currents) > 1 else 0]
        if neuron.reset == "subtract":
            potential = potential - reset * neuron.threshold
        potentials.append(potential)
        spikes.append(Spike.apply(potential - neuron.threshold, neuron))
    return torch.stack(spikes), torch.stack(potentials)


def dyadic(rng, shape, scale):
    """Return multiples of 1/256: sums of them are exact in float32, so that their order cannot matter."""
    return np.round(rng.normal(size=shape) * scale * 256).astype(np.float32) / 256


@settings(max_examples=60, deadline=None)
@given(neuron=NEURONS, seed=SEEDS, steps=st.integers(1, 12), constant=st.booleans(), width=st.integers(1, 700))
def test_scan_equals_a_plain_loop_and_its_gradients(neuron, seed, steps, constant, width):
    rng = np.random.default_rng(seed)
    currents = torch.from_numpy(rng.normal(0.3, 0.6, (1 if constant else steps, width)).astype(np.float32))
    weights = [torch.from_numpy(rng.normal(size=(steps, width)).astype(np.float32)) for _ in range(2)]
    answers = []
    for forward in (scan_with_potentials, plain_loop):
        leaf = currents.clone().requires_grad_()
        spikes, potentials = forward(leaf, neuron, steps)
        ((spikes * weights[0]).sum() + (potentials * weights[1]).sum()).backward()
        answers.append((spikes.detach(), potentials.detach(), leaf.grad))
    (spikes, potentials, gradient), (plain_spikes, plain_potentials, plain_gradient) = answers
    assert torch.equal(spikes, plain_spikes)
    assert torch.equal(potentials, plain_potentials)
    torch.testing.assert_close(gradient, plain_gradient, rtol=1e-4, atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(
    neuron=st.none() | NEURONS,
    seed=SEEDS,
    steps=st.integers(1, 4),
    images=st.sampled_from([1, 2, 17]),  # 17 are shared by two jobs
    channels=st.sampled_from([1, 3, 12, 17]),
    features=st.sampled_from([1, 5, 33, 64, 70]),
    kernel=st.integers(1, 5),
    pool=st.integers(1, 3),
    more=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    constant=st.booleans(),
)
def test_convolution_equals_its_reference(
    neuron, seed, steps, images, channels, features, kernel, pool, more, constant
):
    rng = np.random.default_rng(seed)
    side = kernel + pool - 1
    shape = (1 if constant else steps, images, side + more[0], side + more[1], channels)
    currents = dyadic(rng, shape, 1.0)
    if neuron is None:
        currents = (currents > 0.5).astype(np.float32)
    weights, bias = dyadic(rng, (features, channels, kernel, kernel), 0.5), dyadic(rng, features, 0.5)
    forward = [
        lif_convolution.forward(currents, weights, bias, neuron, steps=steps, pool=pool, backend=backend)
        for backend in ("numba_cpu", "reference")
    ]
    for found, expected in zip(*forward, strict=True):
        assert np.array_equal(found, expected)
    pooled, winners = forward[0]
    gradients = dyadic(rng, pooled.shape, 1.0)
    backward = [
        lif_convolution.backward(gradients, winners, currents, weights, neuron, pool=pool, backend=backend)
        for backend in ("numba_cpu", "reference")
    ]
    for found, expected in zip(*backward, strict=True):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * max(1.0, np.abs(expected).max()))


@settings(max_examples=20, deadline=None)
@given(neuron=NEURONS, seed=SEEDS, constant=st.booleans())
def test_convolution_has_the_gradients_of_a_plain_loop(neuron, seed, constant):
    rng = np.random.default_rng(seed)
    steps, images, channels, features = 5, 2, 3, 6
    leaves = [
        dyadic(rng, (1 if constant else steps, images, 7, 6, channels), 1.0),
        dyadic(rng, (features, channels, 3, 3), 0.5),
        dyadic(rng, features, 0.5),
    ]
    factor = torch.from_numpy(dyadic(rng, (steps, images, 2, 2, features), 1.0))
    answers = []
    for fast in (True, False):
        currents, weights, bias = (torch.from_numpy(leaf.copy()).requires_grad_() for leaf in leaves)
        if fast:
            pooled = convolve(currents, weights, bias, neuron, steps, 2)
        else:
            spikes, _ = plain_loop(currents, neuron, steps)
            maps = F.conv2d(spikes.flatten(0, 1).permute(0, 3, 1, 2), weights, bias)
            pooled = F.max_pool2d(maps, 2).permute(0, 2, 3, 1).unflatten(0, (steps, images))
        (pooled * factor).sum().backward()
        answers.append((pooled.detach(), currents.grad, weights.grad, bias.grad))
    for found, expected in zip(*answers, strict=True):
        assert expected is not None
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * max(1.0, float(expected.abs().max())))
