"""The forms of kernels for other devices, run on the processor: by torch, and by Triton's interpreter."""

import importlib.util
import os
import subprocess
import sys
from itertools import pairwise, product

import numpy as np
import pytest
import torch

from spikelore.kernels import eligibility, lif_scan, recurrent
from spikelore.kernels.eligibility import torch_any as online_form
from spikelore.kernels.lif_scan import Leaky
from spikelore.kernels.lif_scan import torch_any as scan_form
from spikelore.kernels.recurrent import Spiking, reference
from spikelore.kernels.recurrent import torch_any as layer_form

LEAKY = [
    Leaky(beta=0.9, reset=reset, surrogate=surrogate, slope=3.0)
    for reset, surrogate in product(("subtract", "zero"), ("fast_sigmoid", "atan"))
]
SPIKING = [None, Spiking(slope=3.0), Spiking(reset="subtract", surrogate="atan", slope=3.0),
           Spiking(refractory=2, slope=3.0), Spiking(reset="subtract", refractory=1, slope=3.0)]  # fmt: skip


def tensors(arrays):
    return [None if each is None else torch.from_numpy(np.ascontiguousarray(each)) for each in arrays]


def check_scan(form, leaky: Leaky, constant: bool) -> None:
    """A form of the scan gives the definition's spikes and potentials exactly, and its gradients."""
    rng = np.random.default_rng(0)
    currents = rng.normal(0.4, 0.6, (1 if constant else 6, 300)).astype(np.float32)
    spikes, potentials = lif_scan.forward(currents, leaky, steps=6, with_potentials=True, backend="reference")
    assert 0.05 < spikes.mean() < 0.95
    found = form.forward(torch.from_numpy(currents), leaky, 6, True)
    assert form.forward(torch.from_numpy(currents), leaky, 6, False)[1] is None
    np.testing.assert_array_equal(found[0], spikes)
    np.testing.assert_array_equal(found[1], potentials)
    given = [rng.normal(size=(6, 300)).astype(np.float32) for _ in range(2)]
    for to_spikes, to_potentials in ((given[0], None), (None, given[1]), given):
        zeros = np.zeros_like(given[0])
        expected = lif_scan.backward(
            zeros if to_spikes is None else to_spikes, to_potentials, currents, leaky, backend="reference"
        )
        gradients = form.backward(*tensors((to_spikes, to_potentials, currents)), leaky)
        np.testing.assert_allclose(gradients, expected, rtol=1e-5, atol=1e-6)


def check_layer(form, neuron: Spiking | None, connected: bool, kind: type, tolerance: float) -> None:
    """A form of the recurrent layer gives what the definition gives."""
    rng = np.random.default_rng(1)
    currents = rng.normal(0.3, 0.5, (7, 3, 5)).astype(kind)
    weights = rng.normal(0, 0.5, (5, 5)).astype(kind) if connected else None
    alpha, beta = rng.uniform(0.5, 0.95, (2, 5)).astype(kind)
    constants = weights, alpha, beta
    course = recurrent.forward(currents, *constants, neuron, with_synaptic=True, backend="reference")
    there = tensors(constants)
    found = form.forward(torch.from_numpy(currents), *there, neuron)
    if neuron is None:
        assert found[0] is None
    else:
        assert 0.05 < course.spikes.mean() < 0.95
        np.testing.assert_array_equal(found[0], course.spikes)
    np.testing.assert_allclose(found[1], course.potentials, rtol=0, atol=tolerance)
    np.testing.assert_allclose(found[2], course.synaptic, rtol=0, atol=tolerance)
    given = [rng.normal(size=currents.shape).astype(kind) for _ in range(2)]
    for to_spikes, to_potentials in ((given[0], None), (None, given[1]), given):
        told = course.spikes, course.potentials, course.synaptic
        expected = reference.backward(to_spikes, to_potentials, *told, *constants, neuron)
        gradients = form.backward(*tensors((to_spikes, to_potentials, *told)), *there, neuron)
        for one, other in zip(gradients, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=10 * tolerance)
    assert form.backward(*tensors((*given, *told[:2])), None, *there, neuron)[1:] == (None, None)


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("leaky", LEAKY)
def test_scan_by_torch(leaky, constant):
    check_scan(scan_form, leaky, constant)


@pytest.mark.parametrize(("kind", "tolerance"), [(np.float64, 1e-12), (np.float32, 1e-5)])
@pytest.mark.parametrize("connected", [False, True])
@pytest.mark.parametrize("neuron", SPIKING)
def test_recurrent_layer_by_torch(neuron, connected, kind, tolerance):
    check_layer(layer_form, neuron, connected, kind, tolerance)


@pytest.mark.parametrize("neuron", SPIKING[1:])
def test_eligibility_by_torch(neuron, monkeypatch):
    monkeypatch.setattr(eligibility, "_TOGETHER", 3 * 4 * 6)  # three steps at a time
    rng = np.random.default_rng(2)
    inputs = (rng.random((8, 4, 6)) < 0.4).astype(np.float64)
    sizes, layers = [6, 5, 4, 3], []
    for n, (before, after) in enumerate(pairwise(sizes)):
        weights, bias = rng.normal(0.3, 0.5, (after, before)), rng.normal(0, 0.1, after)
        own = rng.normal(0, 0.3, (after, after)) if n == 0 else None
        layers.append(eligibility.Layer(weights, bias, own, 0.8, 0.9, None if n == 2 else neuron))
    there = [
        eligibility.Layer(*tensors((one.weights, one.bias, one.connections)), one.alpha, one.beta, one.neuron)
        for one in layers
    ]
    expected = eligibility.outputs(inputs, layers, backend="reference")
    np.testing.assert_allclose(online_form.outputs(torch.from_numpy(inputs), there), expected, rtol=0, atol=1e-12)
    errors = rng.normal(size=expected.shape)
    found = online_form.gradients(torch.from_numpy(inputs), there, torch.from_numpy(errors))
    for one, other in zip(found, eligibility.gradients(inputs, layers, errors, backend="reference"), strict=True):
        for name in ("weights", "bias", "connections"):
            if getattr(other, name) is not None:
                np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=0, atol=1e-10, err_msg=name)


def test_by_tritons_interpreter():
    """In a process of its own, since Triton asks once, when it is imported, whether it is to be interpreted."""
    if importlib.util.find_spec("triton") is None:
        if os.environ.get("CI") and sys.platform == "linux":
            pytest.fail("triton is not installed; see the extra test of pyproject.toml")
        pytest.skip("triton is not installed")
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "scan 8, layer 10\n"


def main() -> None:
    """Check the Triton forms."""
    from spikelore.kernels.lif_scan import triton_cuda as scan
    from spikelore.kernels.recurrent import triton_cuda as layer

    scans = [(leaky, constant) for leaky in LEAKY for constant in (False, True)]
    for leaky, constant in scans:
        check_scan(scan, leaky, constant)
    layers = [(neuron, connected) for neuron in SPIKING for connected in (False, True)]
    for neuron, connected in layers:
        check_layer(layer, neuron, connected, np.float32, 1e-5)
    print(f"scan {len(scans)}, layer {len(layers)}")


if __name__ == "__main__":
    main()
