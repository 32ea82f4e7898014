import itertools

import numpy as np
import pytest

from spikelore.coding.poisson import poisson_spikes, stream_key
from spikelore.errors import InputError
from spikelore.kernels.lif_network import Delays, Events, Plasticity, initial_state, numba_cpu, run_
from spikelore.networks.rate_lif import RateLIFConfig

BACKENDS = ["reference", "numba_cpu"]


def one_input(neurons=2, weight=0.0, exc_to_inh=3, inh_to_exc=2, **changes):
    config = RateLIFConfig(classes=(0, 1), neurons_per_class=neurons // 2, height=1, width=1, **changes)
    constants = config.constants()
    delays = Delays(np.full(neurons, exc_to_inh), np.full((neurons, neurons), inh_to_exc))
    state = initial_state(np.full((1, neurons), weight), constants, delays, (-60.0, -60.0))
    return constants, delays, state


def spike_at(steps, *times):
    starts = np.searchsorted(np.array(times), np.arange(steps + 1))
    return Events(starts, np.zeros(len(times), np.int32))


def rates(state, pre=1.0, post=1.0):
    n = len(state.exc_potential)
    return Plasticity(np.full(n, pre), np.full(n, post), np.ones(n))


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_input_spike_moves_the_potential_one_step_later_by_euler(backend):
    constants, delays, state = one_input(weight=0.03)
    run_(state, constants, delays, spike_at(1, 0), rates(state), backend=backend)
    assert state.exc_potential.tolist() == [-60.0, -60.0]
    assert state.exc_conductance.tolist() == [0.03, 0.03]
    run_(state, constants, delays, spike_at(1), rates(state), backend=backend)
    assert state.exc_potential == pytest.approx([-60 + 0.1 / 100 * 0.03 * 60] * 2, rel=1e-15)
    assert state.exc_conductance == pytest.approx([0.03 * (1 - 0.1 / 5)] * 2, rel=1e-15)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_spike_resets_raises_the_threshold_and_blocks_for_the_refractory_time(backend):
    constants, delays, state = one_input()
    state.exc_potential[0] = -50.0
    spikes = run_(state, constants, delays, spike_at(1), rates(state), backend=backend)
    assert spikes.exc.tolist() == [[0, 0]]
    assert state.exc_potential[0] == -65.0
    assert state.adaptive_threshold.tolist() == [-49.0, -52.0]
    for step in range(1, 60):
        state.exc_potential[0] = -50.0
        spikes = run_(state, constants, delays, spike_at(1), rates(state), backend=backend)
        assert spikes.exc.tolist() == ([[50, 0]] if step == 50 else [])


@pytest.mark.parametrize("backend", BACKENDS)
def test_hold_ignores_the_raised_threshold_and_continuous_follows_it(backend):
    for mode, again in (("hold", 1), ("continuous", 0)):
        constants, delays, state = one_input(threshold_mode=mode, exc_refractory_ms=0.0)
        state.exc_potential[0] = -45.0
        run_(state, constants, delays, spike_at(1), rates(state), backend=backend)
        state.exc_potential[0] = -50.0
        spikes = run_(state, constants, delays, spike_at(1), rates(state), backend=backend)
        assert len(spikes.exc) == again


@pytest.mark.parametrize("backend", BACKENDS)
def test_inhibition_takes_both_delays_and_spares_the_neuron_itself(backend):
    constants, delays, state = one_input(neurons=4, exc_to_inh=3, inh_to_exc=2)
    state.exc_potential[1] = -50.0
    spikes = run_(state, constants, delays, spike_at(3), rates(state), backend=backend)
    assert spikes.exc.tolist() == [[0, 1]]
    assert state.inh_drive.tolist() == [0, 0, 0, 0]
    run_(state, constants, delays, spike_at(1), rates(state), backend=backend)
    assert state.inh_drive.tolist() == [0, 3, 0, 0]
    spikes = run_(state, constants, delays, spike_at(60), rates(state), backend=backend)
    step, neuron = spikes.inh[0]
    assert neuron == 1
    assert step > 4
    state = initial_state(np.zeros((1, 4)), constants, delays, (-60.0, -60.0))
    state.inh_potential[1] = -30.0
    spikes = run_(state, constants, delays, spike_at(2), rates(state), backend=backend)
    assert spikes.inh.tolist() == [[0, 1]]
    assert state.inh_conductance.tolist() == [0, 0, 0, 0]
    run_(state, constants, delays, spike_at(1), rates(state), backend=backend)
    share = 3 / 4
    assert state.inh_conductance.tolist() == [share, 0, share, share]


@pytest.mark.parametrize("backend", BACKENDS)
def test_stdp_potentiates_pre_before_post_and_all_ltd_depresses(backend):
    for post, expected in ((1.0, 0.02 + 0.0005 * np.exp(-1 / 20)), (-1.0, 0.02 - 0.0005 * np.exp(-1 / 20))):
        constants, delays, state = one_input(weight=0.02)
        run_(state, constants, delays, spike_at(10, 0), rates(state, post=post), backend=backend)
        state.exc_potential[0] = -50.0
        spikes = run_(state, constants, delays, spike_at(1), rates(state, post=post), backend=backend)
        assert spikes.exc.tolist() == [[10, 0]]
        assert state.weights[0] == pytest.approx([expected, 0.02], rel=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_post_before_pre_depresses_but_not_below_zero(backend):
    for weight, expected in ((0.02, 0.02 - 0.000525 * np.exp(-2 / 20)), (0.0001, 0.0)):
        constants, delays, state = one_input(weight=weight)
        state.exc_potential[0] = -50.0
        run_(state, constants, delays, spike_at(20), rates(state), backend=backend)
        run_(state, constants, delays, spike_at(1, 0), rates(state), backend=backend)
        assert state.weights[0] == pytest.approx([expected, weight], rel=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_weights_stop_at_their_maximum(backend):
    constants, delays, state = one_input(weight=0.0499)
    run_(state, constants, delays, spike_at(1, 0), rates(state), backend=backend)
    state.exc_potential[0] = -50.0
    run_(state, constants, delays, spike_at(1), rates(state), backend=backend)
    assert state.weights[0].tolist() == [0.05, 0.0499]


@pytest.mark.parametrize("backend", BACKENDS)
def test_decay_at_each_spike_uses_the_time_since_the_last_one(backend):
    constants, delays, state = one_input(weight=0.04, decay_each_spike_tau_ms=10.0)
    run_(state, constants, delays, spike_at(101, 50, 100), rates(state), backend=backend)
    assert state.weights[0] == pytest.approx([0.04 * np.exp(-0.25 - 0.25)] * 2, rel=1e-12)


@pytest.mark.parametrize("between", ["drawn", "equal", "none"])
def test_backends_agree_on_a_busy_network_cut_anywhere(between):
    config = RateLIFConfig(classes=(3, 5, 8), neurons_per_class=3, height=5, width=5, weight_max=0.6)
    constants = config.constants()
    rng = np.random.default_rng(2)
    delays = Delays(rng.integers(0, 100, 9), rng.integers(0, 50, (9, 9)))
    if between != "drawn":
        delays = delays._replace(inh_to_exc=np.broadcast_to(np.uint16(37 if between == "equal" else 0), (9, 9)))
    start = initial_state(rng.uniform(0, 0.6, (25, 9)), constants, delays, (-80.0, -80.0))
    p = rng.uniform(0, 0.012, 25)
    trains = poisson_spikes(p, 6000, stream_key(0, 0, 0))
    plasticity = Plasticity(np.ones(9), np.repeat([1.0, -1.0, -1.0], 3), np.ones(9))
    states, spikes = {}, {}
    for backend, cuts in (("reference", (0, 6000)), ("numba_cpu", (0, 1, 700, 701, 4000, 6000))):
        state = start.copy()
        parts = []
        for a, b in itertools.pairwise(cuts):
            starts = trains.starts[a : b + 1]
            events = Events(starts - starts[0], trains.inputs[starts[0] : starts[-1]])
            parts.append(run_(state, constants, delays, events, plasticity, backend=backend))
        states[backend] = state
        spikes[backend] = [np.concatenate([getattr(part, kind) for part in parts]) for kind in ("exc", "inh")]
    assert len(spikes["reference"][0]) > 50
    assert len(spikes["reference"][1]) > 50
    for kind in (0, 1):
        assert np.array_equal(spikes["reference"][kind], spikes["numba_cpu"][kind])
    assert np.abs(states["reference"].weights - start.weights).max() > 0.01
    for name, expected in states["reference"].arrays().items():
        np.testing.assert_allclose(getattr(states["numba_cpu"], name), expected, rtol=1e-11, atol=1e-12)


def test_more_neurons_than_are_delivered_at_once_fire_together_as_defined():
    """The queue of those on their way is filled in parts, and holds many spikes for one neuron."""
    neurons = 2 * numba_cpu._DELIVERED + 3
    config = RateLIFConfig(classes=(0, 1), neurons_per_class=1, height=1, width=4, weight_max=3.0)
    constants = config.constants()
    rng = np.random.default_rng(4)
    for between in (rng.integers(0, 9, (neurons, neurons)), np.full((neurons, neurons), 5)):
        delays = Delays(rng.integers(0, 3, neurons), between)
        start = initial_state(rng.uniform(1, 3, (4, neurons)), constants, delays, (-80.0, -41.0))
        events = Events(np.arange(0, 4 * 61, 4), np.tile(np.arange(4, dtype=np.int32), 60))
        states, spikes = [start.copy(), start.copy()], []
        for state, backend in zip(states, BACKENDS, strict=True):
            spikes.append(run_(state, constants, delays, events, rates(state), backend=backend))
        assert max(np.bincount(spikes[0].inh[:, 0])) > 50
        assert states[0].to_exc_queue.max() > 10
        for kind in (0, 1):
            assert np.array_equal(spikes[0][kind], spikes[1][kind])
        for name, expected in states[0].arrays().items():
            np.testing.assert_allclose(getattr(states[1], name), expected, rtol=1e-11, atol=1e-12, err_msg=name)


@pytest.mark.parametrize(("changed", "message"), [(-1, "delays are -1 to 3 steps, "), (9, "delays are 3 to 9 steps, ")])
def test_delays_that_the_queue_cannot_hold_are_refused(changed, message):
    constants, delays, state = one_input(exc_to_inh=3)
    delays.exc_to_inh[1] = changed
    with pytest.raises(InputError, match=f"^{message}expected 0 to 3, what the state's queue holds; make the state"):
        run_(state, constants, delays, spike_at(1), rates(state), backend="numba_cpu")


def test_an_unknown_backend_is_named():
    constants, delays, state = one_input()
    with pytest.raises(InputError, match="backend 'gpu'"):
        run_(state, constants, delays, spike_at(1), rates(state), backend="gpu")
