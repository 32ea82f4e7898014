from itertools import pairwise
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikelore.kernels import convolution, rank_order, reward_stdp, stdp
from spikelore.kernels.convolution.reference import potentials
from spikelore.kernels.reward_stdp import Rates, SpikeLists, known_potentials, numba_cpu

BOTH = ("reference", "numba_cpu")
seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=30, deadline=None)


def both(operation, *arguments, **settings):
    return [operation(*arguments, **settings, backend=backend) for backend in BOTH]


@st.composite
def layers(draw):
    """Draw random input bins and weights of a small layer, with some silent images."""
    rng = np.random.default_rng(draw(seeds))
    total_bins = draw(st.integers(1, 6))
    images, channels, features = draw(st.integers(1, 5)), draw(st.integers(1, 3)), draw(st.integers(1, 20))
    kernel, padding = draw(st.integers(1, 3)), draw(st.integers(0, 2))
    height, width = draw(st.integers(4, 8)), draw(st.integers(4, 8))
    bins = rng.integers(0, total_bins, (images, channels, height, width))
    bins[rng.random(bins.shape) > draw(st.sampled_from([0.2, 0.6, 1.0]))] = total_bins
    bins[rng.random(images) < 0.2] = total_bins
    weights = rng.uniform(0.1, 0.9, (features, channels, kernel, kernel)).astype(np.float32)
    threshold = float(rng.uniform(0.05, 0.6) * channels * kernel**2)
    return rng, bins.astype(np.int8), weights, padding, threshold, total_bins


@few
@given(
    seeds, st.integers(1, 3), st.integers(1, 3), st.integers(1, 7), st.integers(1, 7), st.integers(1, 15),
    st.sampled_from([0.0, 0.1, 1.0]), st.booleans(),
)  # fmt: skip
def test_rank_order_bins(seed, images, channels, height, width, total_bins, density, coarse):
    rng = np.random.default_rng(seed)
    intensity = rng.uniform(1e-6, 400, (images, channels, height, width)).astype(np.float32)
    if coarse:  # equal intensities keep array order in both
        intensity = np.ceil(intensity / 100).astype(np.float32)
    intensity[rng.random(intensity.shape) >= density] = 0
    slow, fast = both(rank_order.first_spike_bins, intensity, total_bins=total_bins)
    assert np.array_equal(slow, fast)
    assert fast.dtype == np.int8
    for one, bins in zip(intensity, fast, strict=True):
        counts = np.bincount(bins.ravel(), minlength=total_bins + 1)[:total_bins]
        assert (counts == np.count_nonzero(one) // total_bins).all()
        spiked = [one[bins == t] for t in range(total_bins)]
        assert all(a.min() >= b.max() for a, b in pairwise(spiked) if a.size)


@few
@given(layers(), st.integers(1, 3))
def test_convolution_bins_and_spikes(layer, pool):
    _, bins, weights, padding, threshold, total_bins = layer
    common = {"padding": padding, "threshold": threshold, "pool": pool}
    slow, fast = both(convolution.first_spike_bins, bins, weights, total_bins=total_bins, **common)
    assert np.array_equal(slow, fast)
    sides = [(side + 2 * padding - weights.shape[2] + 1) // pool for side in bins.shape[2:]]
    assert fast.shape == (len(bins), len(weights), *sides)
    ever_slow, ever_fast = both(convolution.spikes, bins < total_bins, weights, **common)
    assert np.array_equal(ever_slow, ever_fast)
    assert np.array_equal(ever_fast, fast < total_bins)


@pytest.mark.parametrize("pool", [1, 2, 3])
def test_many_features_and_channels_and_windows_too_large_to_list(pool, monkeypatch):
    """More than one tile of features, and rows of a window that are listed in parts."""
    rng = np.random.default_rng(pool)
    spiked = rng.random((3, 12, 9, 8)) < 0.3
    weights = rng.random((40, 12, 5, 5), np.float32)
    common = {"padding": 2, "threshold": 45.0, "pool": pool}
    slow, fast = both(convolution.spikes, spiked, weights, **common)
    assert np.array_equal(slow, fast)
    assert 0.05 < slow.mean() < 0.95
    monkeypatch.setattr("spikelore.kernels.convolution.numba_cpu.LARGEST_WINDOW", 12 * 13 * 5 - 1)
    assert np.array_equal(convolution.spikes(spiked, weights, **common), slow)


def test_a_convolution_by_hand():
    bins = np.array([[[[0, 2], [1, 3]]]], np.int8)
    weights = np.ones((1, 1, 2, 2), np.float32)
    for backend in BOTH:
        settings = {"padding": 0, "total_bins": 3, "backend": backend}
        found = [convolution.first_spike_bins(bins, weights, threshold=v, **settings).item() for v in (0, 1, 2, 3)]
        assert found == [0, 1, 2, 3]
        assert found[2] == 2  # a potential equal to the threshold does not fire


def check_winners(winners, bins, order, total_bins):
    for each, image in zip(winners, order, strict=True):
        chosen = each[each[:, 0] >= 0, 0]
        assert len(set(chosen.tolist())) == len(chosen)
        if (bins[image] == total_bins).all():
            assert (each == -1).all()


@few
@given(layers(), st.integers(1, 4), st.integers(0, 2), st.sampled_from([0.0, 0.3]))
def test_stdp_training(layer, k, radius, outside):
    rng, bins, weights, padding, threshold, total_bins = layer
    weights.flat[rng.integers(0, weights.size, 2)] += outside  # may start above the upper bound
    start = weights.copy()
    order = rng.integers(0, len(bins), 6)
    ltp, ltd = rng.uniform(0.01, 0.08, 6).astype(np.float32), rng.uniform(-0.08, -0.01, 6).astype(np.float32)
    (slow, slow_winners), (fast, fast_winners) = both(
        stdp.train, bins, order, weights, padding=padding, threshold=threshold, total_bins=total_bins,
        winners=k, radius=radius, ltp=ltp, ltd=ltd, stabilizer=False,
    )  # fmt: skip
    assert np.array_equal(slow_winners, fast_winners)
    assert np.array_equal(fast, slow)
    assert np.array_equal(weights, start)
    assert fast.min() >= 0
    assert fast.max() <= 1
    check_winners(fast_winners, bins, order, total_bins)
    never = np.setdiff1d(np.arange(len(weights)), fast_winners[:, :, 0])
    assert np.array_equal(fast[never], np.clip(start[never], 0, 1))


@few
@given(layers(), st.integers(1, 4), st.integers(0, 2))
def test_stdp_training_with_the_stabilizer(layer, k, radius):
    rng, bins, weights, padding, threshold, total_bins = layer
    for image in range(len(bins)):
        ltp, ltd = (rng.uniform(*ends, 1).astype(np.float32) for ends in ((0.01, 0.3), (-0.3, -0.01)))
        (slow, slow_winners), (fast, fast_winners) = both(
            stdp.train, bins, np.array([image]), weights, padding=padding, threshold=threshold,
            total_bins=total_bins, winners=k, radius=radius, ltp=ltp, ltd=ltd,
        )  # fmt: skip
        assert np.array_equal(slow_winners, fast_winners)
        assert np.array_equal(fast, slow)
        check_winners(fast_winners, bins, [image], total_bins)
        for f in fast_winners[0, :, 0]:
            if f >= 0:
                room = weights[f] * (1 - weights[f])
                rate = (fast[f] - weights[f]) / room
                assert (np.isclose(rate, ltp, atol=1e-4) | np.isclose(rate, ltd, atol=1e-4)).all()
        weights = slow


@pytest.mark.parametrize("backend", BOTH)
def test_of_equal_potentials_the_first_feature_row_and_column_wins(backend):
    """The same weights in another order, or the same inputs in other bins, add up to the same potential."""
    rng = np.random.default_rng(0)
    values = rng.uniform(0, 1, 60).astype(np.float32)
    one_place = {"padding": 0, "threshold": 5.0, "winners": 1, "radius": 0, "backend": backend}
    rates = {"ltp": np.float32([0.1]), "ltd": np.float32([-0.1])}
    for _ in range(10):
        weights = np.stack([rng.permutation(values) for _ in range(20)]).reshape(20, 60, 1, 1)
        inputs = np.zeros((1, 60, 1, 1), np.int8)
        _, winners = stdp.train(inputs, np.array([0]), weights, total_bins=1, **one_place, **rates)
        assert winners.tolist() == [[[0, 0, 0]]]
        # every place has all inputs from bin 4 on, each place in an order of its own
        inputs = rng.integers(0, 4, (1, 60, 4, 5)).astype(np.int8)
        inputs[0, 0] = 4
        late = {**one_place, "threshold": float(values.sum() - values[0] / 2)}
        _, winners = stdp.train(
            inputs, np.array([0]), values.reshape(1, 60, 1, 1), total_bins=5, **late, **rates
        )  # fmt: skip
        assert winners.tolist() == [[[0, 0, 0]]]


def test_whether_a_neuron_ever_spikes_does_not_depend_on_the_order_of_its_inputs():
    """Thresholds of exactly a neuron's sum: a rounding either way would tell the two forms apart."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        weights = rng.uniform(0, 1, (1, 60, 1, 1)).astype(np.float32)
        bins = rng.integers(0, 6, (1, 60, 3, 3)).astype(np.int8)
        bins[0, :, 1, 1] = np.minimum(bins[0, :, 1, 1], 4)
        for threshold in (float(weights.sum()), float(weights.astype(np.float64).sum())):
            common = {"padding": 0, "threshold": threshold}
            slow, fast = both(convolution.first_spike_bins, bins, weights, total_bins=5, **common)
            assert np.array_equal(slow, fast)
            assert np.array_equal(convolution.spikes(bins < 5, weights, **common), fast < 5)


@st.composite
def decisions(draw):
    """Draw spikes (image 0 has none), labels and weights of a small decision layer."""
    rng = np.random.default_rng(draw(seeds))
    images, channels, features = draw(st.integers(2, 6)), draw(st.integers(1, 40)), draw(st.integers(1, 20))
    kernel, padding = draw(st.integers(1, 5)), draw(st.integers(0, 2))
    height, width = draw(st.integers(5, 6)), draw(st.integers(5, 6))
    spiked = rng.random((images, channels, height, width)) < draw(st.sampled_from([0.05, 0.3, 0.9]))
    spiked[0] = False
    weights = rng.uniform(0.3, 0.7, (features, channels, kernel, kernel)).astype(np.float32)
    return rng, spiked, weights, padding


@few
@given(decisions(), st.booleans())
def test_feature_potentials(layer, centred):
    rng, spiked, weights, padding = layer
    weights = weights - np.float32(0.5) if centred else weights
    spikes = SpikeLists.from_spikes(spiked)
    assert np.array_equal([spikes.spikes(n) for n in range(len(spiked))], spiked)
    assert np.array_equal(spikes.counts(), spiked.sum(axis=(1, 2, 3)))
    slow, fast = both(reward_stdp.feature_potentials, spikes, weights, padding=padding)
    np.testing.assert_allclose(fast, slow, rtol=1e-5, atol=1e-4)
    some = rng.permutation(len(weights))[: rng.integers(1, len(weights) + 1)]
    beside_others = reward_stdp.feature_potentials(spikes, weights[some], padding=padding)
    assert np.array_equal(beside_others, fast[:, some])  # a feature's potential depends on no other feature
    assert (fast[0] == 0).all()
    assert np.array_equal(reward_stdp.decide(slow), reward_stdp.decide(fast))
    assert reward_stdp.decide(fast)[0] == -1


@few
@given(decisions(), st.integers(1, 100), st.booleans(), st.sampled_from([1.0, 5.0]))
def test_rewarded_training(layer, steps, unclipped, speed):
    rng, spiked, weights, padding = layer
    features = len(weights)
    if unclipped:
        weights.flat[rng.integers(0, weights.size, 3)] = rng.choice([0.05, 0.95], 3)
    start = weights.copy()
    order = rng.integers(0, len(spiked), steps)
    order[rng.integers(0, steps)] = 0
    labels, classes = rng.integers(0, 3, len(spiked)), rng.integers(0, 3, features)
    plasticity = rng.uniform(0.5, 1, features).astype(np.float32)
    plasticity[rng.random(features) < 0.3] = 0
    rates = Rates((0.00041 * speed, -0.00029 * speed), (-0.00037 * speed, 0.00005 * speed))

    def trained(order):
        return both(
            reward_stdp.train, SpikeLists.from_spikes(spiked), order, labels, weights, classes,
            padding=padding, rates=rates, plasticity=plasticity,
        )  # fmt: skip

    (slow, slow_winners, slow_best), (fast, fast_winners, fast_best) = trained(order)
    apart = np.flatnonzero((slow_winners != fast_winners).any(axis=1))
    if len(apart):  # two features that run level may win in either order: sums are taken in two orders, and round
        step = apart[0]
        one, other, image = slow_winners[step], fast_winners[step], order[step]
        order = order[:step]
        (slow, slow_winners, slow_best), (fast, fast_winners, fast_best) = trained(order)
        level = potentials(spiked[image], slow, padding).astype(np.float64)
        assert abs(level[tuple(one)] - level[tuple(other)]) <= 1e-6 * level[tuple(one)]
    assert np.array_equal(slow_winners, fast_winners)
    np.testing.assert_allclose(fast, slow, rtol=0, atol=1e-6)
    np.testing.assert_allclose(fast_best, slow_best, rtol=1e-5)
    assert np.array_equal(weights, start)
    silent = ~spiked[order].any(axis=(1, 2, 3))
    assert silent.any() or len(apart)
    assert (fast_winners[silent] == -1).all()
    assert (fast_best[silent] == 0).all()
    decided = (fast_winners[:, 0] >= 0).any()
    expected = np.clip(start, np.float32(0.2), np.float32(0.8)) if decided else start
    assert np.array_equal(fast[plasticity == 0], expected[plasticity == 0])


@few
@given(decisions(), st.booleans(), st.integers(1, 4), st.sampled_from([0.1, 1.0, 20.0]))
def test_what_is_known_of_potentials_changes_nothing_else(layer, unclipped, least, speed):
    rng, spiked, weights, padding = layer
    spiked = np.concatenate([spiked, spiked[::-1]])  # potentials of two images that are level
    if unclipped:
        weights.flat[rng.integers(0, weights.size)] = 0.95
    weights[-1] = weights[0]  # and of two features
    spikes, known = SpikeLists.from_spikes(spiked), reward_stdp.KnownPotentials()
    labels, classes = rng.integers(0, 3, len(spikes)), rng.integers(0, 3, len(weights))
    rates = Rates((0.004 * speed, -0.003 * speed), (-0.004 * speed, 0.0005 * speed))
    common = {"padding": padding, "rates": rates}
    with patch.object(known_potentials, "_LEAST", least), patch.object(numba_cpu, "BLOCK", 2):
        for begun in range(6):
            asked = weights - weights.mean() if begun % 3 == 2 else weights  # other weights, negative ones among them
            assert_same_winners(spikes, asked, padding, known)
            order = rng.permutation(len(spikes))[: rng.integers(1, len(spikes) + 1)]
            alone, kept = (
                reward_stdp.train(spikes, order, labels, weights, classes, **common, known=one) for one in (None, known)
            )
            assert all(np.array_equal(one, other) for one, other in zip(alone, kept, strict=True))
            assert_bounds(spikes, weights, padding, known)  # those from before, which many have fallen from
            weights = kept[0]
    assert_same_winners(SpikeLists.from_spikes(spiked[:3]), weights, padding, known)


def assert_bounds(spikes, weights, padding, known):
    kernel, packed = weights.shape[2], numba_cpu.pack_synapses(weights)
    known.begin(spikes, np.arange(len(spikes)), packed, kernel, abs(weights).max(), learns=False)
    every = reward_stdp.feature_potentials(spikes, weights, padding=padding)
    assert (every[known.seen] <= (known.above + known.slack[:, None])[known.seen]).all()


def assert_same_winners(spikes, weights, padding, known):
    every = reward_stdp.decide(reward_stdp.feature_potentials(spikes, weights, padding=padding))
    assert np.array_equal(reward_stdp.winners(spikes, weights, padding=padding, known=known), every)


def test_few_potentials_are_taken_again_once_learning_has_settled():
    rng = np.random.default_rng(0)
    spikes = SpikeLists.from_spikes(rng.random((40, 30, 5, 5)) < 0.3)
    weights = rng.uniform(0.3, 0.7, (50, 30, 5, 5)).astype(np.float32)
    known = reward_stdp.KnownPotentials()
    common = {"padding": 2, "rates": Rates((1e-5, -1e-5), (-1e-5, 1e-5)), "known": known}
    order, labels, classes = np.arange(40), rng.integers(0, 5, 40), np.repeat(np.arange(5), 10)
    learned, _, _ = reward_stdp.train(spikes, order, labels, weights, classes, **common)
    with patch.object(numba_cpu, "block_potentials", side_effect=AssertionError):
        again, _, _ = reward_stdp.train(spikes, order, labels, learned, classes, **common)
        reward_stdp.winners(spikes, again, padding=2, known=known)
    assert not known.crowded
    with patch.object(numba_cpu, "block_potentials", wraps=numba_cpu.block_potentials) as taken:
        far = weights[::-1].copy()
        reward_stdp.train(spikes, order, labels, far, classes, **common)  # one block to see that all bounds are reached
        assert known.crowded
        reward_stdp.train(spikes, order, labels, far, classes, **common)
    taken.assert_called_once()


def test_reward_and_punishment_by_hand():
    spiked = np.array([[[[True]], [[False]]]])
    weights = np.array([[0.5, 0.5], [0.4, 0.4]], np.float32).reshape(2, 2, 1, 1)
    for backend in BOTH:
        for label, change in ((7, [0.01, -0.02]), (3, [-0.03, 0.04])):
            learned, winners, best = reward_stdp.train(
                SpikeLists.from_spikes(spiked), np.array([0]), np.array([label]), weights, np.array([7, 3]),
                padding=0, rates=Rates((0.01, -0.02), (-0.03, 0.04)), backend=backend,
            )  # fmt: skip
            assert winners.tolist() == [[0, 0, 0]]
            assert best.tolist() == [0.5]
            np.testing.assert_allclose(learned[0].ravel(), 0.5 + np.array(change), rtol=1e-6)
            assert np.array_equal(learned[1], weights[1])
