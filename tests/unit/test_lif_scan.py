"""The scan's definition, worked by hand, and what the compiled form must share with it."""

import numpy as np
import pytest

from spikelore.errors import InputError
from spikelore.kernels import lif_scan
from spikelore.kernels.lif_scan import Leaky

BACKENDS = ["reference", "numba_cpu"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_spike_takes_the_threshold_off_one_step_later(backend):
    currents = np.array([[0.75], [0.75], [0.0], [0.0]], np.float32)
    spikes, potentials = lif_scan.forward(
        currents, Leaky(beta=0.5, threshold=1.0), steps=4, with_potentials=True, backend=backend
    )
    assert potentials is not None
    assert potentials[:, 0].tolist() == [0.75, 1.125, -0.4375, -0.21875]
    assert spikes[:, 0].tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_spike_empties_its_neuron_when_the_reset_is_to_zero(backend):
    currents = np.array([[0.75], [0.75], [0.25], [0.25]], np.float32)
    spikes, potentials = lif_scan.forward(
        currents, Leaky(beta=0.5, reset="zero"), steps=4, with_potentials=True, backend=backend
    )
    assert potentials is not None
    assert potentials[:, 0].tolist() == [0.75, 1.125, 0.25, 0.375]
    assert spikes[:, 0].tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_potential_at_the_threshold_is_no_spike(backend):
    currents = np.array([[1.0, np.nextafter(np.float32(1), np.float32(2))]], np.float32)
    spikes, _ = lif_scan.forward(currents, Leaky(), steps=1, backend=backend)
    assert spikes.tolist() == [[0, 1]]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("neuron", "slope"),
    [(Leaky(slope=25.0), 1 / (25 * 0.5 + 1) ** 2), (Leaky(surrogate="atan", slope=2.0), 1 / (1 + (np.pi * 0.5) ** 2))],
)
def test_the_gradient_of_one_step_is_the_surrogates_slope(backend, neuron, slope):
    found = lif_scan.backward(
        np.ones((1, 1), np.float32), None, np.full((1, 1), 1.5, np.float32), neuron, backend=backend
    )
    assert found[0, 0] == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_go_back_through_the_leak_but_not_through_a_reset_to_zero(backend):
    gradients = np.array([[0], [0], [1]], np.float32)
    currents = np.array([[2.0], [0.0], [0.0]], np.float32)  # spikes in the first step
    arguments = gradients, None, currents
    subtract = lif_scan.backward(*arguments, Leaky(beta=0.5, slope=1.0), backend=backend)[:, 0]
    assert subtract.tolist() == [subtract[2] / 4, subtract[2] / 2, subtract[2]]
    assert subtract[2] > 0
    zero = lif_scan.backward(*arguments, Leaky(beta=0.5, slope=1.0, reset="zero"), backend=backend)[:, 0]
    assert zero.tolist() == [0, zero[2] / 2, zero[2]]


def test_a_constant_current_is_that_current_at_every_step():
    rng = np.random.default_rng(0)
    current = rng.normal(0.3, 0.3, (1, 700)).astype(np.float32)
    gradients = rng.normal(size=(12, 700)).astype(np.float32)
    repeated = np.repeat(current, 12, axis=0)
    once, _ = lif_scan.forward(current, Leaky(), steps=12)
    each, _ = lif_scan.forward(repeated, Leaky(), steps=12)
    assert 0 < each.mean() < 1
    assert np.array_equal(once, each)
    summed = lif_scan.backward(gradients, None, repeated, Leaky()).sum(axis=0)
    assert np.allclose(lif_scan.backward(gradients, None, current, Leaky())[0], summed, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"beta": 1.5}, "beta is 1.5"),
        ({"threshold": 0.0}, "threshold is 0.0"),
        ({"slope": float("nan")}, "slope is nan"),
        ({"reset": "half"}, "reset is 'half'"),
        ({"surrogate": "relu"}, "surrogate is 'relu'"),
    ],
)
def test_constants_without_sense_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        Leaky(**change)
