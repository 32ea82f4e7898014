"""Training with a teacher that lets only the neurons of the image's class take part."""

import numpy as np
import pytest

from spikelore.continual.unused_decay import OnlineDecay
from spikelore.data import load
from spikelore.errors import InputError
from spikelore.kernels.lif_network import Delays, Forcing, initial_state, train_forced_
from spikelore.networks.rate_lif import RateLIFConfig, RateLIFNetwork

BACKENDS = ["reference", "numba_cpu"]
SIDE = 6
CONFIG = RateLIFConfig(
    classes=(4, 1),
    neurons_per_class=3,
    height=SIDE,
    width=SIDE,
    dt_ms=1.0,
    active_ms=100.0,
    silent_ms=50.0,
    exc_to_inh_weight=10.0,
    inh_to_exc_total=3.0,
    exc_to_inh_delay_ms=3.0,
    weight_max=0.4,
    weight_norm=2.0,
    learning_rate=0.05,
    teacher="forced",
)
NORM = CONFIG.weight_norm * CONFIG.weight_max


def halves(count, seed=0):
    """Return images with a bright upper half (class 4) or left half (class 1), some pixels dark."""
    rng = np.random.default_rng(seed)
    labels = np.where(np.arange(count) % 2 == 0, 4, 1)
    images = np.zeros((count, SIDE, SIDE), np.uint8)
    images[labels == 4, : SIDE // 2, :] = 255
    images[labels == 1, :, : SIDE // 2] = 255
    images[rng.random(images.shape) < 0.3] = 0
    return images, labels.astype(np.int64)


def train(images, targets, backend, in_use_steps=10**6, weights=None, learning_rate=0.05, homeostasis_mv=1.0):
    constants = RateLIFConfig(**{**vars(CONFIG), "learning_rate": learning_rate}).constants()
    rng = np.random.default_rng(3)
    delays = Delays(rng.integers(0, 4, 6), rng.integers(0, 3, (6, 6)))
    if weights is None:
        weights = rng.uniform(0, CONFIG.weight_max, (36, 6))
    state = initial_state(weights, constants, delays, (-80.0, -80.0))
    counts = train_forced_(
        state, constants, delays, CONFIG.presentation(), Forcing(NORM, in_use_steps, homeostasis_mv), images,
        np.array(targets), np.repeat([0, 1], 3), seed=0, stream=0, first_image=0, backend=backend,
    )  # fmt: skip
    return state, counts, weights


@pytest.mark.parametrize("in_use_steps", [99, 10**6])
def test_both_backends_are_equal(in_use_steps):
    images, labels = halves(12)
    (slow, slow_counts, _), (fast, fast_counts, start) = (
        train(images, (labels == 1).astype(np.int64), backend, in_use_steps) for backend in BACKENDS
    )
    assert slow_counts.sum() > 30
    assert np.array_equal(slow_counts, fast_counts)
    assert np.abs(fast.weights - start).max() > 0.02
    for name, expected in slow.arrays().items():
        np.testing.assert_allclose(getattr(fast, name), expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_only_the_group_of_the_class_fires_learns_and_moves_its_thresholds(backend):
    images, _ = halves(1)
    state, counts, start = train(images, [0], backend)
    fired = counts[0, :3]
    assert fired.max() > fired.min()
    assert counts[0, 3:].tolist() == [0, 0, 0]
    assert np.array_equal(state.weights[:, 3:], start[:, 3:])
    assert state.homeostatic_threshold[3:].tolist() == [0, 0, 0]
    assert state.homeostatic_threshold[:3] == pytest.approx(fired / fired.sum() - 1 / 3, rel=1e-12)
    for j in range(3):
        assert np.array_equal(state.weights[:, j], start[:, j]) == (fired[j] == 0)
    assert state.step.tolist() == [150]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_silent_image_lowers_all_thresholds_of_its_group(backend):
    state, counts, start = train(np.zeros((2, SIDE, SIDE), np.uint8), [1, 1], backend, homeostasis_mv=0.6)
    assert counts.sum() == 0
    assert state.homeostatic_threshold == pytest.approx([0, 0, 0, -0.4, -0.4, -0.4], rel=1e-12)
    assert np.array_equal(state.weights, start)


@pytest.mark.parametrize("backend", BACKENDS)
def test_weights_of_inputs_in_use_have_the_norm_and_others_stay(backend):
    images, _ = halves(1)
    start = np.random.default_rng(5).uniform(0.05, 0.15, (36, 6))
    state, counts, start = train(images, [0], backend, in_use_steps=99, weights=start)
    lit = state.last_input_spike > 0
    assert 10 < lit.sum() < 20
    for j in np.flatnonzero(counts[0]):
        assert np.linalg.norm(state.weights[lit, j]) == pytest.approx(NORM, rel=1e-12)
        assert np.array_equal(state.weights[~lit, j], start[~lit, j])
    state, counts, _ = train(images, [0], backend, weights=start)
    assert counts.sum() > 0
    for j in np.flatnonzero(counts[0]):
        assert np.linalg.norm(state.weights[:, j]) == pytest.approx(NORM, rel=1e-12)
        assert (state.weights[~lit, j] != start[~lit, j]).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_scaling_stops_at_the_largest_weight_and_spikes_of_the_input_depress_nothing(backend):
    start = np.zeros((36, 6))
    start[:3] = 0.3
    images = np.zeros((1, SIDE, SIDE), np.uint8)
    images[0, 0, :3] = 255
    state, counts, _ = train(images, [0], backend, weights=start, learning_rate=0.0)
    assert counts.sum() > 0  # many more input spikes follow the first output spike
    fired = np.flatnonzero(counts[0])
    assert state.weights[:3, fired].tolist() == [[0.4] * len(fired)] * 3
    assert np.linalg.norm([0.4] * 3) < NORM


@pytest.fixture(scope="module")
def trained(seed):
    network = RateLIFNetwork(CONFIG, seed=seed)
    network.train(*halves(60))
    return network


def test_the_network_learns_and_its_neurons_share_the_images(trained, learned):
    images, labels = halves(40, seed=9)
    learned("accuracy", (trained.predict(images) == labels).mean(), at_least=0.9)
    counts = trained.copy().train(*halves(60, seed=4))
    learned("spikes of the neuron that fires least", counts.sum(0).min(), at_least=1)


def test_testing_leaves_the_homeostatic_thresholds_out(trained):
    images, _ = halves(6, seed=2)
    arrays = trained.state_dict()
    assert np.abs(arrays["homeostatic_threshold"]).max() > 0.1
    other = trained.copy()
    other.load_state_dict({**arrays, "homeostatic_threshold": np.full(6, 30.0)})
    assert trained.count_spikes(images).sum() > 0
    assert np.array_equal(trained.count_spikes(images), other.count_spikes(images))


def test_the_preset_learns_ten_digits(learned, seed):
    digits = load("digits-sample").train
    order = np.random.default_rng(seed).permutation(len(digits))
    train, test = digits.take(order[:2000]), digits.take(order[2000:2300])
    network = RateLIFNetwork(RateLIFConfig.best(tuple(range(10)), neurons_per_class=20, images=2000), seed=seed)
    network.train(train.inputs, train.labels)
    learned("accuracy", (network.predict(test.inputs) == test.labels).mean(), at_least=0.82)


@pytest.mark.parametrize("cut", [1, 7])
def test_a_run_stopped_in_the_middle_goes_on_bit_for_bit(cut):
    images, labels = halves(16)
    config = RateLIFConfig(**{**vars(CONFIG), "fine_after_images": 10, "fine_learning_rate": 0.01})
    networks = [RateLIFNetwork(config, seed=3) for _ in range(2)]
    decays = [OnlineDecay(tau_prune_ms=900.0, period_ms=4 * CONFIG.image_ms) for _ in range(2)]
    counts = networks[0].train(images, labels, every_images=4, between=decays[0].tick_)
    parts = [
        networks[1].train(images[part], labels[part], every_images=4, between=decays[1].tick_)
        for part in (slice(0, cut), slice(cut, 16))
    ]
    assert counts.sum() > 30
    assert np.array_equal(counts, np.concatenate(parts))
    whole, pieces = (network.state_dict() for network in networks)
    assert all(np.array_equal(whole[name], pieces[name]) for name in whole)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"teacher": "strict"}, "teacher is 'strict'"),
        ({"weight_norm": 0.0}, "weight_norm is 0"),
        ({"in_use_ms": -1.0}, "in_use_ms is -1"),
        ({"homeostasis_mv": float("nan")}, "homeostasis_mv is nan"),
    ],
)
def test_bad_configurations_get_a_sentence(change, message):
    with pytest.raises(InputError, match=message):
        RateLIFConfig(**{**vars(CONFIG), **change})
