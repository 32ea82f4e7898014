"""The LIF network against Brian2: every spike of every case, from any file of the format."""

import numpy as np
import pytest

from spikelore.kernels.lif_network import Delays, Events, Plasticity, initial_state, run_
from spikelore.networks.rate_lif import RateLIFConfig

CASES = ("hold_plain", "hold_decay", "continuous_plain", "continuous_decay")
TRACED = [0, 11, 25]
TRACE_MS = 1.0


@pytest.fixture(scope="module")
def golden(golden_file):
    with np.load(golden_file("brian2.npz")) as arrays:
        return {key: arrays[key] for key in arrays.files}


def simulate(golden, case, backend):
    """Run all images in slices of a millisecond, so that the traces can be read between them."""
    inputs, neurons = golden["w0"].shape
    classes = golden["classes"].tolist()
    config = RateLIFConfig(
        classes=tuple(classes),
        neurons_per_class=neurons // len(classes),
        height=golden["images"].shape[1],
        width=golden["images"].shape[2],
        dt_ms=float(golden["dt_ms"]),
        threshold_mode="continuous" if case.startswith("continuous") else "hold",
        decay_each_spike_tau_ms=float(golden["tau_prune_ms"]) if case.endswith("decay") else None,
    )
    assert inputs == config.inputs
    constants = config.constants()
    delays = Delays(golden["delay_exc_to_inh_steps"], golden["delay_inh_to_exc_steps"])
    state = initial_state(golden["w0"], constants, delays, (config.exc_start_mv, config.exc_start_mv))
    neuron_classes = np.repeat(classes, config.neurons_per_class)
    steps = round(config.image_ms / config.dt_ms)
    stride = round(TRACE_MS / config.dt_ms)
    when, which = golden["input_spikes"].T
    n_train, n_test = int(golden["n_train"].item()), int(golden["n_test"].item())
    exc, inh, sums, traces = [], [], [], []
    for image, label in enumerate(golden["labels"][: n_train + n_test]):
        trained = float(image < n_train)
        state.firing_threshold[:] = state.adaptive_threshold if trained else config.threshold_rest_mv
        signs = np.where(neuron_classes == label, 1.0, -1.0)
        plasticity = Plasticity(np.full(neurons, trained), trained * signs, np.ones(neurons))
        for start in range(image * steps, (image + 1) * steps, stride):
            traces.append(
                [
                    state.exc_potential[TRACED],
                    state.adaptive_threshold[TRACED],
                    state.exc_conductance[TRACED],
                    state.inh_conductance[TRACED],
                ]
            )
            starts = np.searchsorted(when, np.arange(start, start + stride + 1))
            events = Events(starts - starts[0], which[starts[0] : starts[-1]].astype(np.int32))
            spikes = run_(state, constants, delays, events, plasticity, backend=backend)
            exc.append(spikes.exc)
            inh.append(spikes.inh)
        sums.append(state.weights.sum(0))
    return np.concatenate(exc), np.concatenate(inh), np.array(sums), state, np.array(traces)


@pytest.mark.parametrize("backend", ["reference", "numba_cpu"])
@pytest.mark.parametrize("case", CASES)
def test_every_spike_and_all_weights_equal_brian2(golden, case, backend):
    exc, inh, sums, state, traces = simulate(golden, case, backend)
    assert len(exc) > 0
    assert len(inh) > 0
    assert np.array_equal(exc, golden[f"{case}/exc_spikes"])
    assert np.array_equal(inh, golden[f"{case}/inh_spikes"])
    np.testing.assert_allclose(state.weights, golden[f"{case}/w_end"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(sums, golden[f"{case}/w_sum_after_each"], rtol=0, atol=1e-12 * len(golden["w0"]))
    assert not np.array_equal(state.weights, golden["w0"])
    for k, name in enumerate(("v_mV", "vt_mV", "ge", "gi")):
        expected = golden[f"{case}/traces_{name}"]  # kept in float32
        np.testing.assert_allclose(traces[:, k].T, expected, rtol=2e-7, atol=2e-6)
