"""The first-spike network answers as SpykeTorch does, for any file of the golden format."""

from functools import cached_property

import numpy as np
import pytest

from spikelore.coding.rank_order import RankOrderConfig
from spikelore.kernels import convolution, rank_order, reward_stdp, stdp

BINS = 15


class Golden:
    """One spyketorch.npz with the initial weights it implies."""

    def __init__(self, path):
        self.file = np.load(path)

    def __getitem__(self, key):
        return self.file[key]

    @cached_property
    def seed(self):
        """The seed of the initial weights, found by their correlation with the learned ones."""
        after = self["conv2_weight_after"].ravel()
        for seed in range(10_000):
            start = np.random.default_rng([seed, 2]).normal(0.8, 0.05, after.shape)
            if np.corrcoef(start, after)[0, 1] > 0.03:  # 8 standard errors of an unrelated start
                return seed
        pytest.fail("no seed below 10000 gives initial weights like the learned ones")

    def initial(self, layer, shape):
        return np.random.default_rng([self.seed, layer]).normal(0.8, 0.05, shape).astype(np.float32)

    def order(self, steps):
        return np.arange(steps) % len(self["images"])


@pytest.fixture(scope="module")
def spyketorch(golden_file):
    return Golden(golden_file("spyketorch.npz"))


def steps_of(spyketorch, key, backend):
    """All steps for the fast kernel, the first few for the readable one."""
    return len(spyketorch[key]) if backend == "numba_cpu" else 6


BACKENDS = pytest.mark.parametrize("backend", ["numba_cpu", "reference"])


def test_filters(spyketorch):
    kernels = RankOrderConfig().kernels()
    np.testing.assert_allclose(kernels, spyketorch["dog_kernels"][:, 0], rtol=0, atol=2e-7)


@BACKENDS
def test_intensities(spyketorch, backend):
    ours = rank_order.intensities(
        spyketorch["images"],
        RankOrderConfig().kernels(),
        threshold=50,
        normalization_radius=8,
        backend=backend,
    )
    # responses at the threshold itself may fall on either side in float32
    theirs = spyketorch["intensity"]
    differ = (ours > 0) != (theirs > 0)
    assert differ.mean() < 1e-5
    np.testing.assert_allclose(ours[~differ], theirs[~differ], rtol=1e-5, atol=2e-5)


@BACKENDS
def test_first_spike_bins_of_their_intensities(spyketorch, backend):
    ours = rank_order.first_spike_bins(spyketorch["intensity"], total_bins=BINS, backend=backend)
    differ = ours != spyketorch["first_spike_bin"]
    # only equal intensities at the edge of a bin may swap: their sort is not stable
    for image in np.flatnonzero(differ.any(axis=(1, 2, 3))):
        values = spyketorch["intensity"][image]
        for value in values[differ[image]]:
            tied = values == value
            assert tied.sum() > 1
            assert (
                np.bincount(ours[image][tied], minlength=BINS + 1).tolist()
                == np.bincount(spyketorch["first_spike_bin"][image][tied], minlength=BINS + 1).tolist()
            )


def test_coding_from_pixels(spyketorch):
    intensity = rank_order.intensities(
        spyketorch["images"], RankOrderConfig().kernels(), threshold=50, normalization_radius=8
    )
    ours = rank_order.first_spike_bins(intensity, total_bins=BINS)
    differ = ours != spyketorch["first_spike_bin"]
    # where the order differs, the two intensities that swapped differ by rounding only
    for image in np.flatnonzero(differ.any(axis=(1, 2, 3))):
        values = spyketorch["intensity"][image]
        for value in values[differ[image]]:
            assert (np.abs(values - value) <= 2e-5 * max(1.0, value)).sum() > 1
    assert differ.mean() < 1e-3


def constant(rate, steps):
    return np.full(steps, rate, np.float32)


@BACKENDS
def test_layer_1(spyketorch, backend):
    steps = steps_of(spyketorch, "conv1_winners", backend)
    weights, winners = stdp.train(
        spyketorch["first_spike_bin"], spyketorch.order(steps), spyketorch.initial(1, (30, 6, 5, 5)),
        padding=2, threshold=15, total_bins=BINS, winners=5, radius=3, ltp=constant(0.1, steps),
        ltd=constant(-0.075, steps), backend=backend,
    )  # fmt: skip
    np.testing.assert_array_equal(winners, spyketorch["conv1_winners"][:steps])
    if steps == len(spyketorch["conv1_winners"]):
        np.testing.assert_allclose(weights, spyketorch["conv1_weight_after"], rtol=0, atol=1e-6)


@pytest.fixture(scope="module")
def layer_1_output(spyketorch):
    return convolution.first_spike_bins(
        spyketorch["first_spike_bin"], spyketorch["conv1_weight_after"], padding=2, threshold=15,
        total_bins=BINS, pool=2,
    )  # fmt: skip


@BACKENDS
def test_layer_2(spyketorch, layer_1_output, backend):
    steps = steps_of(spyketorch, "conv2_winners", backend)
    weights, winners = stdp.train(
        layer_1_output, spyketorch.order(steps), spyketorch.initial(2, (250, 30, 3, 3)), padding=1,
        threshold=10, total_bins=BINS, winners=8, radius=1, ltp=constant(0.1, steps),
        ltd=constant(-0.075, steps), backend=backend,
    )  # fmt: skip
    np.testing.assert_array_equal(winners, spyketorch["conv2_winners"][:steps])
    if steps == len(spyketorch["conv2_winners"]):
        np.testing.assert_allclose(weights, spyketorch["conv2_weight_after"], rtol=0, atol=1e-6)


def test_layer_3_input(spyketorch, layer_1_output):
    bins = convolution.first_spike_bins(
        layer_1_output, spyketorch["conv2_weight_after"], padding=1, threshold=10, total_bins=BINS, pool=3
    )
    np.testing.assert_array_equal(bins, spyketorch["conv3_input_first_spike_bin"])
    last = convolution.spikes(layer_1_output < BINS, spyketorch["conv2_weight_after"], padding=1, threshold=10, pool=3)
    np.testing.assert_array_equal(last, spyketorch["conv3_input_first_spike_bin"] < BINS)


def reward_or_punish(weights, active, winner, rewarded):
    """One R-STDP update as the golden file's README states it."""
    feature, row, column = winner
    on, off = (0.004, -0.003) if rewarded else (-0.004, 0.0005)
    patch = np.pad(active, ((0, 0), (2, 2), (2, 2)))[:, row : row + 5, column : column + 5]
    weights = weights.copy()
    weights[feature] += np.where(patch, np.float32(on), np.float32(off))
    return np.clip(weights, np.float32(0.2), np.float32(0.8))


@BACKENDS
def test_layer_3(spyketorch, backend):
    """Step by step: where SpykeTorch's own rounding makes neurons equal, its choice is taken.

    It adds 15 x the largest potential before it compares, so in float32 potentials closer than
    16 x largest x 2^-23 are one value to it, and the first of them wins.
    """
    steps = steps_of(spyketorch, "conv3_winner", backend)
    active = spyketorch["conv3_input_first_spike_bin"] < BINS
    spikes = reward_stdp.SpikeLists.from_spikes(active)
    classes = np.arange(200) // 20
    weights = spyketorch.initial(3, (200, 250, 5, 5))
    tied = 0
    for step, image in enumerate(spyketorch.order(steps)):
        expected = spyketorch["conv3_winner"][step]
        learned, winners, potentials = reward_stdp.train(
            spikes, np.array([image]), spyketorch["labels"], weights, classes, padding=2,
            rates=reward_stdp.Rates(), backend=backend,
        )  # fmt: skip
        if winners[0].tolist() == expected.tolist():
            weights = learned
        else:
            exact = convolution.reference.potentials(active[image], weights, 2)
            margin = 16 * potentials[0] * 2.0**-23
            assert exact.max() - exact[tuple(expected)] <= margin, (step, winners[0], expected)
            tied += 1
            rewarded = classes[expected[0]] == spyketorch["labels"][image]
            weights = reward_or_punish(weights, active[image], expected, rewarded)
        decision = -1 if expected[0] < 0 else classes[expected[0]]
        assert decision == spyketorch["decision"][step]
        np.testing.assert_allclose(potentials[0], spyketorch["winner_potential"][step], rtol=5e-6)
    assert tied <= max(2, steps // 20)
    if steps == len(spyketorch["conv3_winner"]):
        rows = spyketorch["conv3_rows"]
        np.testing.assert_allclose(weights[rows], spyketorch["conv3_rows_weight_after"], rtol=0, atol=1e-6)


def test_layer_3_in_one_go_equals_step_by_step(spyketorch):
    """The block walk of the fast kernel changes nothing: winners and weights, bit for bit."""
    spikes = reward_stdp.SpikeLists.from_spikes(spyketorch["conv3_input_first_spike_bin"] < BINS)
    common = (spyketorch["labels"],)
    options = {"padding": 2, "rates": reward_stdp.Rates()}
    start = spyketorch.initial(3, (200, 250, 5, 5))
    order, classes = spyketorch.order(80), np.arange(200) // 20
    whole, winners, _ = reward_stdp.train(spikes, order, *common, start, classes, **options)
    weights = start
    for step in range(len(order)):
        weights, winner, _ = reward_stdp.train(spikes, order[step : step + 1], *common, weights, classes, **options)
        assert winner[0].tolist() == winners[step].tolist()
    np.testing.assert_array_equal(whole, weights)
