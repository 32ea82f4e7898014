import math
from dataclasses import dataclass

import numpy as np
import pytest

from spikelore.continual.unused_decay import (
    OnlineDecay,
    WeightDecay,
    decay_unused_,
    faded_share,
    kept_share,
    prune_random_,
    prune_smallest_,
)
from spikelore.errors import InputError


@dataclass
class Layer:
    weights: np.ndarray
    last_presynaptic_spike_ms: np.ndarray
    now_ms: float


def layer(now_ms=0.0, last=(0.0, 0.0, 0.0)):
    return Layer(np.full((3, 2), 0.8), np.array(last, float)[:, None], now_ms)


def test_published_decay_follows_the_equation():
    synapses = layer(10_000.0, (10_000.0, 2_500.0, 0.0))
    decay_unused_(synapses, tau_prune_ms=7_500.0)
    expected = 0.8 * np.exp([0.0, -1.0, -((10 / 7.5) ** 2)])
    assert synapses.weights == pytest.approx(np.repeat(expected[:, None], 2, 1))


def test_strength_scales_the_exponent():
    assert kept_share(np.array([100.0]), 100.0, 3.0)[0] == pytest.approx(math.exp(-3))


def test_published_decay_works_on_a_convolution_in_float32():
    synapses = Layer(np.full((4, 2, 3, 3), 0.5, np.float32), np.zeros((1, 2, 3, 3)), 1_000.0)
    synapses.last_presynaptic_spike_ms[0, 1] = 1_000.0
    decay_unused_(synapses, tau_prune_ms=1_000.0)
    assert synapses.weights.dtype == np.float32
    assert synapses.weights[:, 1] == pytest.approx(0.5)
    assert synapses.weights[:, 0] == pytest.approx(0.5 * math.exp(-1))


def test_online_decay_keeps_a_synapse_used_once_in_each_period_and_kills_an_unused_one():
    synapses = layer()
    decay = OnlineDecay(tau_prune_ms=7_500.0, period_ms=1_000.0)
    for tick in range(1, 101):
        synapses.now_ms = tick * 1_000.0
        synapses.last_presynaptic_spike_ms[0] = synapses.now_ms - 990.0
        synapses.last_presynaptic_spike_ms[1] = 0.0
        decay.tick_(synapses)
    assert synapses.weights[0] == pytest.approx(0.8, abs=0)
    assert synapses.weights[1] == pytest.approx(0.8 * math.exp(-((100_000 / 7_500) ** 2)))


def test_the_ticks_of_a_pause_multiply_to_the_published_factor():
    synapses = layer(last=(300.0, 0.0, 0.0))
    decay = OnlineDecay(tau_prune_ms=2_000.0, period_ms=500.0, strength=2.0)
    for tick in range(1, 9):
        synapses.now_ms = tick * 500.0
        decay.tick_(synapses)
    first_tick = 500.0
    exponent = ((4_000 - 300) ** 2 - (first_tick - 300) ** 2) / 2_000**2
    assert synapses.weights[0] == pytest.approx(0.8 * math.exp(-2 * exponent), rel=1e-12)


def test_nothing_happens_before_the_period_is_over_and_the_time_is_charged_at_its_end():
    synapses = layer(400.0)
    decay = OnlineDecay(tau_prune_ms=1_000.0, period_ms=500.0)
    decay.tick_(synapses)
    assert (synapses.weights == 0.8).all()
    synapses.now_ms = 600.0
    decay.tick_(synapses)
    assert synapses.weights == pytest.approx(0.8 * math.exp(-0.36))


def test_online_decay_resumes():
    through, resumed = layer(), layer()
    decay, first = (OnlineDecay(tau_prune_ms=1_000.0, period_ms=500.0) for _ in range(2))
    for now in (500.0, 1_000.0):
        through.now_ms = resumed.now_ms = now
        decay.tick_(through)
        first.tick_(resumed)
    second = OnlineDecay(tau_prune_ms=1_000.0, period_ms=500.0)
    second.load_state_dict(first.state_dict())
    through.now_ms = resumed.now_ms = 1_500.0
    decay.tick_(through)
    second.tick_(resumed)
    assert np.array_equal(through.weights, resumed.weights)
    assert through.weights[0, 0] == pytest.approx(0.8 * math.exp(-2.25))
    with pytest.raises(InputError, match="no time of its last tick"):
        second.load_state_dict({})


def test_weight_decay_shrinks_all_alike():
    synapses = layer(1_000.0, (1_000.0, 0.0, 0.0))
    decay = WeightDecay(tau_ms=4_000.0)
    decay.tick_(synapses)
    decay.tick_(synapses)
    assert synapses.weights == pytest.approx(0.8 * math.exp(-0.25))
    resumed = WeightDecay(tau_ms=4_000.0)
    resumed.load_state_dict(decay.state_dict())
    synapses.now_ms = 2_000.0
    resumed.tick_(synapses)
    assert synapses.weights == pytest.approx(0.8 * math.exp(-0.5))


def test_pruning_takes_the_share_asked_for():
    smallest, random = layer(), layer()
    smallest.weights[:] = [[0.3, 0.1], [0.2, 0.6], [0.5, 0.4]]
    prune_smallest_(smallest, 0.5)
    assert smallest.weights.tolist() == [[0, 0], [0, 0.6], [0.5, 0.4]]
    prune_random_(random, 1 / 3, np.random.default_rng(0))
    assert (random.weights == 0).sum() == 2


def test_faded_share_counts_what_is_nearly_gone():
    assert faded_share(np.array([0.3, 0.0049, 0.0, 0.0051]), 0.5) == 0.5


@pytest.mark.parametrize("tau", [0.0, -1.0, float("nan"), float("inf")])
def test_a_decay_time_must_be_positive(tau):
    for use in (
        lambda: decay_unused_(layer(), tau_prune_ms=tau),
        lambda: OnlineDecay(tau_prune_ms=tau, period_ms=1.0),
        lambda: OnlineDecay(tau_prune_ms=1.0, period_ms=tau),
        lambda: WeightDecay(tau_ms=tau),
    ):
        with pytest.raises(InputError, match="expected a time greater than 0"):
            use()


def test_other_bad_values():
    with pytest.raises(InputError, match="strength is -1"):
        kept_share(np.zeros(1), 1.0, -1)
    with pytest.raises(InputError, match=r"share is 1\.5"):
        prune_smallest_(layer(), 1.5)
