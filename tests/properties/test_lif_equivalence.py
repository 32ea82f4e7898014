import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from spikelore.continual.unused_decay import OnlineDecay, kept_share
from spikelore.kernels.lif_network import Delays, Events, Plasticity, initial_state, run_
from spikelore.networks.rate_lif import RateLIFConfig


@st.composite
def networks(draw):
    per_class = draw(st.integers(1, 5))
    config = RateLIFConfig(
        classes=(0, 1),
        neurons_per_class=per_class,
        height=1,
        width=draw(st.integers(1, 6)),
        dt_ms=draw(st.sampled_from([0.1, 0.5, 1.0])),
        threshold_mode=draw(st.sampled_from(["hold", "continuous"])),
        weight_max=draw(st.sampled_from([0.05, 0.5, 2.0])),
        decay_each_spike_tau_ms=draw(st.sampled_from([None, 30.0, 1000.0])),
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = config.neurons
    delays = Delays(rng.integers(0, 30, n), rng.integers(0, 15, (n, n)))
    weights = rng.uniform(0, config.weight_max, (config.inputs, n))
    spiking = rng.random((300, config.inputs)) < draw(st.sampled_from([0.0, 0.02, 0.2]))
    when, which = np.nonzero(spiking)
    events = Events(np.searchsorted(when, np.arange(301)), which.astype(np.int32))
    rates = [rng.integers(low, 2, n).astype(float) for low in (0, -1)]
    plasticity = Plasticity(*rates, rng.choice([0.0, 0.3, 1.0], n))
    return config, delays, weights, events, plasticity


@settings(max_examples=40, deadline=None)
@given(networks())
def test_the_fast_kernel_equals_the_definition_and_keeps_the_bounds(network):
    config, delays, weights, events, plasticity = network
    constants = config.constants()
    results = []
    for backend in ("reference", "numba_cpu"):
        state = initial_state(weights, constants, delays, (-52.5, -41.0))
        results.append((run_(state, constants, delays, events, plasticity, backend=backend), state))
    (slow, slow_state), (fast, fast_state) = results
    assert np.array_equal(slow.exc, fast.exc)
    assert np.array_equal(slow.inh, fast.inh)
    for name, expected in slow_state.arrays().items():
        np.testing.assert_allclose(getattr(fast_state, name), expected, rtol=1e-11, atol=1e-12)
    assert fast_state.weights.min() >= 0
    assert fast_state.weights.max() <= config.weight_max
    gaps = [np.diff(fast.exc[fast.exc[:, 1] == j, 0]) for j in range(config.neurons)]
    assert all((gap >= constants.exc_refractory_steps).all() for gap in gaps)


class Synapse:
    def __init__(self):
        self.weights = np.ones((1, 1))
        self.last_presynaptic_spike_ms = np.zeros((1, 1))
        self.now_ms = 0.0


@settings(deadline=None)
@given(
    st.lists(st.floats(0, 5000), max_size=30).map(sorted),
    st.floats(50, 5000),
    st.floats(100, 10_000),
    st.integers(1, 20),
)
def test_online_decay_never_takes_more_than_the_published_curve_of_each_pause(spikes, period, tau, ticks):
    synapse, decay = Synapse(), OnlineDecay(tau_prune_ms=tau, period_ms=period)
    for tick in range(1, ticks + 1):
        synapse.now_ms = tick * period
        last = max([0.0, *(t for t in spikes if t <= synapse.now_ms)])
        synapse.last_presynaptic_spike_ms[:] = last
        decay.tick_(synapse)
    times = [0.0, *(t for t in spikes if t <= synapse.now_ms), synapse.now_ms]
    pauses = np.diff(times)
    assert synapse.weights[0, 0] >= np.prod(kept_share(pauses, tau)) * (1 - 1e-9)
    if pauses.max() <= period:
        assert synapse.weights[0, 0] >= kept_share(np.array([period]), tau)[0] * (1 - 1e-9)
