"""The recurrent layer's definition against autograd and by hand, and its compiled form against the definition."""

import numpy as np
import pytest
import torch

from spikelore.errors import InputError
from spikelore.kernels import recurrent, spike_linear
from spikelore.kernels.recurrent import Spiking
from spikelore.networks.autograd import recurrent_layer

BACKENDS = ["reference", "numba_cpu"]
NEURONS = {
    "zero": Spiking(slope=5.0),
    "subtract": Spiking(reset="subtract", slope=5.0),
    "zero, refractory": Spiking(refractory=2, slope=5.0),
    "subtract, refractory": Spiking(reset="subtract", refractory=3, slope=5.0),
    "atan": Spiking(surrogate="atan", slope=2.0, threshold=0.7),
    "integrates": None,
}


class Spike(torch.autograd.Function):
    """A step whose derivative is the surrogate's."""

    @staticmethod
    def forward(ctx, distance, neuron):
        ctx.save_for_backward(distance)
        ctx.neuron = neuron
        return (distance > 0).to(distance.dtype)

    @staticmethod
    def backward(ctx, gradient):
        (distance,), neuron = ctx.saved_tensors, ctx.neuron
        if neuron.surrogate == "atan":
            slope = neuron.slope / 2 / (1 + (torch.pi / 2 * neuron.slope * distance) ** 2)
        else:
            slope = 1 / (neuron.slope * distance.abs() + 1) ** 2
        return gradient * slope, None


def unrolled(currents, weights, alpha, beta, neuron):
    """The equations once more, as a graph of torch."""
    current = potential = spike = torch.zeros_like(currents[0])
    past, spikes, potentials = [], [], []
    for t in range(len(currents)):
        current = alpha * current + currents[t]
        if weights is not None:
            current = current + spike @ weights.T
        takes = torch.ones_like(spike)
        if neuron is not None:
            for before in past[max(0, t - neuron.silent_steps) :]:
                takes = takes * (1 - before)
        if neuron is None:
            potential = beta * potential + current
        elif neuron.reset == "zero":
            potential = takes * (beta * potential + current)
        else:
            potential = beta * potential + takes * current - neuron.threshold * spike.detach()
        if neuron is not None:
            spike = takes * Spike.apply(potential - neuron.threshold, neuron)
        past.append(spike.detach())
        spikes.append(spike)
        potentials.append(potential)
    return torch.stack(spikes), torch.stack(potentials)


def drawn(kind, *, steps=15, examples=6, size=9, seed=0):
    rng = np.random.default_rng(seed)
    currents = rng.normal(0.15, 0.4, (steps, examples, size)).astype(kind)
    weights = rng.normal(0, 0.3, (size, size)).astype(kind)
    alpha, beta = rng.uniform(0.4, 0.9, (2, size)).astype(kind)
    gradients = rng.normal(size=(2, steps, examples, size)).astype(kind)
    return currents, weights, alpha, beta, gradients


@pytest.mark.parametrize("connected", [True, False])
@pytest.mark.parametrize("name", NEURONS)
def test_the_definition_has_autograds_gradients(name, connected):
    neuron = NEURONS[name]
    *arrays, gradients = drawn(np.float64)
    currents, weights, alpha, beta = (torch.tensor(each, requires_grad=True) for each in arrays)
    spikes, potentials = unrolled(currents, weights if connected else None, alpha, beta, neuron)
    ours = [arrays[0], arrays[1] if connected else None, *arrays[2:]]
    course = recurrent.forward(*ours, neuron, with_synaptic=True, backend="reference")
    np.testing.assert_allclose(course.potentials, potentials.detach(), rtol=1e-12, atol=1e-12)
    loss = (potentials * torch.tensor(gradients[1])).sum()
    if neuron is not None:
        assert np.array_equal(course.spikes, spikes.detach())
        assert 0.03 < course.spikes.mean() < 0.7
        loss = loss + (spikes * torch.tensor(gradients[0])).sum()
    loss.backward()
    found = recurrent.backward(
        gradients[0] if neuron else None, gradients[1], course, *ours[1:], neuron, backend="reference"
    )
    wanted = {"currents": currents.grad, "alpha": alpha.grad, "beta": beta.grad}
    for title, gradient in wanted.items():
        np.testing.assert_allclose(getattr(found, title), gradient, rtol=1e-10, atol=1e-11, err_msg=title)


@pytest.mark.parametrize("connected", [True, False])
@pytest.mark.parametrize("name", NEURONS)
@pytest.mark.parametrize("size", [1, 37, 70])
def test_the_compiled_form_equals_the_definition(name, connected, size):
    neuron = NEURONS[name]
    currents, weights, alpha, beta, gradients = drawn(np.float32, size=size, examples=7, seed=1)
    arguments = weights if connected else None, alpha, beta, neuron
    wanted = recurrent.forward(currents, *arguments, with_synaptic=True, backend="reference")
    course = recurrent.forward(currents, *arguments, with_synaptic=True)
    if neuron is not None:
        assert np.array_equal(course.spikes, wanted.spikes)
        assert course.spikes.any()
    np.testing.assert_allclose(course.potentials, wanted.potentials, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(course.synaptic, wanted.synaptic, rtol=1e-4, atol=1e-5)
    for given in (gradients[0], None), (gradients[0], gradients[1]), (None, gradients[1]):
        if neuron is None and given[1] is None:
            continue
        expected = recurrent.backward(*given, wanted, *arguments, backend="reference")
        found = recurrent.backward(*given, course, *arguments)
        for title in ("currents", "alpha", "beta"):
            one, other = getattr(found, title), getattr(expected, title)
            near = 2e-5 * max(1, np.abs(other).max())  # sums of a hundred terms
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=near, err_msg=title)


@pytest.mark.parametrize("backend", BACKENDS)
def test_currents_and_potentials_by_hand(backend):
    currents = np.zeros((5, 1, 1), np.float32)
    currents[0] = 1.5
    alpha, beta = np.array([[0.5], [0.25]], np.float32)
    neuron = Spiking(reset="subtract")
    course = recurrent.forward(currents, None, alpha, beta, neuron, with_synaptic=True, backend=backend)
    assert course.synaptic[:, 0, 0].tolist() == [1.5, 0.75, 0.375, 0.1875, 0.09375]
    assert course.potentials[:, 0, 0].tolist() == [1.5, 0.125, 0.40625, 0.2890625, 0.166015625]
    assert course.spikes[:, 0, 0].tolist() == [1, 0, 0, 0, 0]
    emptied = recurrent.forward(currents, None, alpha, beta, Spiking(), backend=backend)
    assert emptied.potentials[:, 0, 0].tolist() == [1.5, 0, 0.375, 0.28125, 0.1640625]
    assert emptied.synaptic is None
    tired = recurrent.forward(currents, None, alpha, beta, Spiking(refractory=2), backend=backend)
    assert tired.potentials[:, 0, 0].tolist() == [1.5, 0, 0, 0, 0.09375]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_spike_reaches_other_neurons_one_step_later(backend):
    currents = np.zeros((3, 1, 2), np.float32)
    currents[0, 0, 0] = 2
    weights = np.array([[0, 0], [1.5, 0]], np.float32)  # from the first to the second
    none = np.zeros(2, np.float32)
    course = recurrent.forward(currents, weights, none, none, Spiking(), backend=backend)
    assert course.spikes[:, 0].tolist() == [[1, 0], [0, 1], [0, 0]]


def test_the_course_of_snntorchs_neurons():
    snntorch = pytest.importorskip("snntorch")
    for reset in ("zero", "subtract"):
        currents, weights, alpha, beta, gradients = drawn(np.float32, size=20, seed=2)
        theirs = snntorch.RSynaptic(
            alpha=torch.tensor(alpha), beta=torch.tensor(beta), linear_features=20, reset_mechanism=reset,
            spike_grad=snntorch.surrogate.fast_sigmoid(slope=5),
        )  # fmt: skip
        with torch.no_grad():
            theirs.recurrent.weight.copy_(torch.tensor(weights))
            theirs.recurrent.bias.zero_()
        given = torch.tensor(currents, requires_grad=True)
        spike, synaptic, potential = (torch.zeros(given.shape[1:]) for _ in range(3))
        spikes = []
        for current in given:
            spike, synaptic, potential = theirs(current, spike, synaptic, potential)
            spikes.append(spike)
        (torch.stack(spikes) * torch.tensor(gradients[0])).sum().backward()
        neuron = Spiking(reset=reset, slope=5.0)
        course = recurrent.forward(currents, weights, alpha, beta, neuron)
        assert np.array_equal(course.spikes, torch.stack(spikes).detach())
        assert course.spikes.mean() > 0.03
        found = recurrent.backward(gradients[0], None, course, weights, alpha, beta, neuron)
        np.testing.assert_allclose(found.currents, given.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threshold": 0.0}, "threshold is 0.0; it must be positive"),
        ({"slope": -1.0}, "slope is -1.0"),
        ({"refractory": -1}, "refractory is -1; it must be 0 to 1000 steps"),
        ({"reset": "half"}, "reset is 'half'"),
    ],
)
def test_constants_without_sense_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        Spiking(**change)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
@pytest.mark.parametrize(("count", "units", "neurons"), [(130, 21, 13), (0, 5, 70), (300, 270, 64), (513, 17, 101)])
def test_sums_over_spikes_are_the_dense_products(backend, share, count, units, neurons):
    rng = np.random.default_rng(0)
    spikes = (rng.random((count, units)) < share).astype(np.float32)
    weights, bias = rng.integers(-8, 8, (neurons, units)) / 8, rng.integers(-8, 8, neurons) / 8  # sums are exact
    gradients = (rng.integers(-8, 8, (count, neurons)) / 8).astype(np.float32)
    rows = spike_linear.rows_of(spikes[None], backend=backend)
    assert len(rows.units) == spikes.sum()
    found = spike_linear.forward(rows, weights.astype(np.float32), bias.astype(np.float32), backend=backend)
    np.testing.assert_array_equal(found, spikes @ weights.T + bias)
    np.testing.assert_array_equal(spike_linear.weight_gradients(rows, gradients, backend=backend), gradients.T @ spikes)


def test_gradients_of_weights_are_added_row_after_row():
    rng = np.random.default_rng(0)
    spikes, gradients = rng.random((600, 9)) < 0.2, rng.normal(size=(600, 70)).astype(np.float32)
    wanted = np.zeros((9, 70), np.float32)
    for row, gradient in zip(spikes, gradients, strict=True):
        wanted[row] += gradient
    np.testing.assert_array_equal(
        spike_linear.weight_gradients(spike_linear.rows_of(spikes[None]), gradients), wanted.T
    )


@pytest.mark.parametrize("type_", [np.bool_, np.uint8, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("units", [1, 16, 50])
@pytest.mark.parametrize(
    "laid_out",
    [np.asarray, np.asfortranarray, lambda spikes: spikes.swapaxes(0, 1).copy().swapaxes(0, 1)],
)
def test_spikes_of_any_type_and_layout_are_listed_step_by_step(type_, units, laid_out):
    spikes = (np.random.default_rng(0).random((40, 3, units)) < 0.3).astype(type_)
    rows, wanted = spike_linear.rows_of(laid_out(spikes)), spike_linear.rows_of(spikes, backend="reference")
    np.testing.assert_array_equal(rows.starts, wanted.starts)
    np.testing.assert_array_equal(rows.units, wanted.units)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("share", [0.1, 1])
@pytest.mark.parametrize("place", [0, 31, 32, 39])
def test_what_is_no_spike_is_refused(place, share, backend):
    spikes = (np.random.default_rng(0).random((70, 2, 40)) < share).astype(np.float32)
    spikes[65, 1, place] = 0.5
    with pytest.raises(InputError, match=r"^inputs hold 0.5, expected spikes, 0 or 1; "):
        spike_linear.rows_of(spikes, backend=backend)


def layers_gradients(share, backend, seed=0):
    """Return a layer's spikes and potentials, and all gradients, of spikes of which so many are 1."""
    rng = np.random.default_rng(seed)
    inputs = torch.tensor((rng.random((20, 5, 30)) < share).astype(np.float32), requires_grad=True)
    arrays = rng.normal(0, 0.7, (11, 30)), rng.normal(0, 0.1, 11), rng.normal(0, 0.3, (11, 11))
    weights, bias, own = (torch.tensor(each.astype(np.float32), requires_grad=True) for each in arrays)
    alpha, beta = (torch.full((11,), decay, requires_grad=True) for decay in (0.6, 0.8))
    tensors = inputs, weights, bias, own, alpha, beta
    spikes, potentials, rows = recurrent_layer(*tensors, Spiking(slope=5.0), backend=backend)
    assert len(rows.units) == spikes.sum() > 0
    listed = spike_linear.rows_of(inputs.detach().numpy())
    again, _, _ = recurrent_layer(*tensors, Spiking(slope=5.0), listed, backend=backend)
    assert torch.equal(spikes, again)
    signs = torch.tensor(rng.normal(size=(20, 5, 11)).astype(np.float32))
    ((spikes + 0.1 * potentials) * signs).sum().backward()
    return [spikes, potentials, *(each.grad for each in tensors)], tensors, signs


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("share", [0.02, 0.3])
def test_a_layer_has_autograds_gradients_of_all_that_it_is_given(share, backend):
    found, tensors, signs = layers_gradients(share, backend)
    inputs, weights, bias, own, alpha, beta = (each.detach().double().requires_grad_() for each in tensors)
    spikes, potentials = unrolled(inputs @ weights.T + bias, own, alpha, beta, Spiking(slope=5.0))
    ((spikes + 0.1 * potentials) * signs).sum().backward()
    assert torch.equal(found[0], spikes.float())
    wanted = [spikes, potentials, *(each.grad for each in (inputs, weights, bias, own, alpha, beta))]
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(
            one.detach(), other.detach(), rtol=1e-4, atol=2e-5 * max(1, float(other.detach().abs().max()))
        )
