import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from spikelore.coding.poisson import image_indices
from spikelore.coding.straight import straightened
from spikelore.continual.unused_decay import OnlineDecay, decay_unused_
from spikelore.errors import InputError
from spikelore.files import load_tensors, save_tensors
from spikelore.networks.rate_lif import RateLIFConfig, RateLIFNetwork

SIDE = 6
CONFIG = RateLIFConfig(
    classes=(4, 1),
    neurons_per_class=3,
    height=SIDE,
    width=SIDE,
    weight_max=0.5,
    active_ms=200.0,
    silent_ms=50.0,
)


def bars(count, seed=0):
    """Return images with a bright upper half (class 4) or left half (class 1), the rest black."""
    rng = np.random.default_rng(seed)
    labels = np.where(np.arange(count) % 2 == 0, 4, 1)
    images = np.zeros((count, SIDE, SIDE), np.uint8)
    images[labels == 4, : SIDE // 2, :] = 255
    images[labels == 1, :, : SIDE // 2] = 255
    dim = rng.random(images.shape) < 0.3
    return np.where(dim, images // 2, images), labels.astype(np.int64)


@pytest.fixture(scope="module")
def trained(seed):
    network = RateLIFNetwork(CONFIG, seed=seed)
    network.train(*bars(60))
    return network


def equal(a, b):
    return all(np.array_equal(a[name], b[name]) for name in a) and a.keys() == b.keys()


def test_it_learns_to_tell_bars_apart(trained, learned, seed):
    images, labels = bars(40, seed=9)
    before = RateLIFNetwork(CONFIG, seed=seed)
    learned("accuracy", (trained.predict(images) == labels).mean(), at_least=0.95)
    learned("accuracy before", (before.predict(images) == labels).mean(), at_most=0.9)


def test_all_ltd_takes_the_weights_of_other_classes(trained, learned):
    rows, columns = np.mgrid[:SIDE, :SIDE]
    upper_right = ((rows < SIDE // 2) & (columns >= SIDE // 2)).ravel()
    lower_left = ((rows >= SIDE // 2) & (columns < SIDE // 2)).ravel()
    of_4 = trained.weights[:, trained.neuron_classes == 4]
    of_1 = trained.weights[:, trained.neuron_classes == 1]
    own = np.log(of_4[upper_right].mean() / of_4[lower_left].mean())
    learned("of class 4: own over other, logarithm", own, at_least=0.0)
    own = np.log(of_1[lower_left].mean() / of_1[upper_right].mean())
    learned("of class 1: own over other, logarithm", own, at_least=0.0)


@pytest.mark.parametrize("cut", [1, 7, 29])
def test_a_run_stopped_in_the_middle_goes_on_bit_for_bit(tmp_path, cut):
    images, labels = bars(30)
    whole = RateLIFNetwork(CONFIG, seed=3)
    decay = OnlineDecay(tau_prune_ms=1500.0, period_ms=5 * CONFIG.image_ms)
    counts = whole.train(images, labels, every_images=5, between=decay.tick_)
    first = RateLIFNetwork(CONFIG, seed=3)
    decay_1 = OnlineDecay(tau_prune_ms=1500.0, period_ms=5 * CONFIG.image_ms)
    counts_1 = first.train(images[:cut], labels[:cut], every_images=5, between=decay_1.tick_)
    save_tensors(tmp_path / "stop.safetensors", {**first.state_dict(), **decay_1.state_dict()}, {})
    arrays, _ = load_tensors(tmp_path / "stop.safetensors")
    second = RateLIFNetwork(CONFIG, seed=99)
    decay_2 = OnlineDecay(tau_prune_ms=1500.0, period_ms=5 * CONFIG.image_ms)
    second.load_state_dict(arrays)
    decay_2.load_state_dict(arrays)
    counts_2 = second.train(images[cut:], labels[cut:], every_images=5, between=decay_2.tick_)
    assert counts.sum() > 100
    assert np.array_equal(counts, np.concatenate([counts_1, counts_2]))
    assert equal(whole.state_dict(), second.state_dict())


def test_a_checkpoint_goes_on_bit_for_bit_and_another_file_is_refused(tmp_path, trained):
    trained.save(tmp_path / "a.safetensors")
    loaded, kept = RateLIFNetwork.load(tmp_path / "a.safetensors"), trained.copy()
    assert loaded.config == CONFIG
    for network in (loaded, kept):
        network.train(*bars(4, seed=3))
    assert equal(loaded.state_dict(), kept.state_dict())
    save_tensors(tmp_path / "b.safetensors", trained.state_dict(), {"format": "other"})
    with pytest.raises(InputError, match="holds 'other'"):
        RateLIFNetwork.load(tmp_path / "b.safetensors")
    save_tensors(
        tmp_path / "c.safetensors",
        trained.state_dict(),
        {"format": "spikelore rate-coded LIF network 1", "config": "{}"},
    )
    with pytest.raises(InputError, match="does not describe"):
        RateLIFNetwork.load(tmp_path / "c.safetensors")


def test_a_checkpoint_with_delays_in_64_bits_goes_on_alike_and_other_delays_are_refused(trained):
    arrays = trained.state_dict()
    delays = arrays["inh_to_exc_delay"]
    assert delays.itemsize == 2
    assert delays.max() > delays.min()
    older = RateLIFNetwork(CONFIG, seed=0)
    older.load_state_dict({**arrays, "inh_to_exc_delay": delays.astype(np.int64)})
    assert equal(older.state_dict(), arrays)
    for value in (-1, 2**40):
        wrong = delays.astype(np.int64)
        wrong[0, 1] = value
        with pytest.raises(InputError, match=rf"^inh_to_exc_delay of the checkpoint holds .*{value}.*, expected 0 to "):
            older.load_state_dict({**arrays, "inh_to_exc_delay": wrong})
    assert equal(older.state_dict(), arrays)


@pytest.mark.parametrize(("delay_ms", "most"), [(5.0, 2.5), (0.0, 0.1)])
def test_a_network_of_many_neurons_takes_little_more_than_its_delays_in_two_bytes(delay_ms, most):
    """``most``: bytes for each pair of neurons, the drawing included; none where all delays are equal."""
    config = replace(CONFIG, neurons_per_class=1000, height=1, width=1, inh_to_exc_delay_ms=delay_ms)
    RateLIFNetwork(CONFIG, seed=0)
    tracemalloc.start()
    network = RateLIFNetwork(config, seed=0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    queues = sum(network._state.arrays()[name].nbytes for name in ("to_inh_queue", "to_exc_queue"))
    assert network._delays.inh_to_exc.shape == (2000, 2000)
    assert peak - queues < most * 2000**2


def test_calls_and_chunks_do_not_change_the_result():
    images, labels = bars(12)
    one, many = RateLIFNetwork(CONFIG, seed=1), RateLIFNetwork(CONFIG, seed=1)
    one.train(images, labels)
    for k in range(0, 12, 4):
        many.train(images[k : k + 4], labels[k : k + 4], every_images=3)
    assert equal(one.state_dict(), many.state_dict())


def test_the_learning_rate_falls_at_its_image_however_training_is_cut(learned):
    images, labels = bars(10)
    fine = RateLIFConfig(**{**vars(CONFIG), "fine_after_images": 7, "fine_learning_rate": 0.0})
    whole, cut = RateLIFNetwork(fine, seed=1), RateLIFNetwork(fine, seed=1)
    whole.train(images, labels, every_images=5)
    for part in (slice(0, 2), slice(2, 7)):
        cut.train(images[part], labels[part])
    at_7 = cut.weights.copy()
    cut.train(images[7:], labels[7:])
    assert equal(whole.state_dict(), cut.state_dict())
    usual = RateLIFNetwork(CONFIG, seed=1)
    usual.train(images, labels)
    moved, moved_usually = np.abs(cut.weights - at_7).max(), np.abs(usual.weights - at_7).max()
    learned("weights moved by what the traces of image 7 still do", moved / moved_usually, at_most=0.05)


def test_between_and_progress_come_at_multiples_of_images_seen():
    images, labels = bars(10)
    network = RateLIFNetwork(CONFIG, seed=1)
    seen, done = [], []
    for part in (slice(0, 3), slice(3, 10)):
        network.train(
            images[part],
            labels[part],
            every_images=4,
            between=lambda n: seen.append(n.images_seen),
            progress=lambda d, total: done.append((d, total)),
        )
    assert seen == [4, 8]
    assert done == [(3, 3), (1, 7), (5, 7), (7, 7)]


def test_testing_depends_on_neither_order_nor_neighbours_and_changes_nothing(trained):
    images, _ = bars(8, seed=2)
    before = trained.state_dict()
    together = trained.count_spikes(images)
    apart = np.concatenate([trained.count_spikes(images[k : k + 1], first_image=k) for k in range(8)])
    assert together.sum() > 20
    assert np.array_equal(together, apart)
    assert equal(before, trained.state_dict())


def test_the_same_seed_gives_the_same_network_and_another_one_another():
    images, labels = bars(4)
    counts = []
    for seed in (5, 5, 6):
        network = RateLIFNetwork(CONFIG, seed=seed)
        counts.append(network.train(images, labels))
    assert np.array_equal(counts[0], counts[1])
    assert not np.array_equal(counts[0], counts[2])


def test_both_backends_train_and_test_alike():
    images, labels = bars(4)
    results = []
    for backend in ("reference", "numba_cpu"):
        network = RateLIFNetwork(CONFIG, seed=0, backend=backend)
        results.append((network.train(images, labels), network.count_spikes(images), network.weights))
    assert results[0][0].sum() > 30
    assert np.array_equal(results[0][0], results[1][0])
    assert np.array_equal(results[0][1], results[1][1])
    np.testing.assert_allclose(results[0][2], results[1][2], rtol=0, atol=1e-12)


def test_the_recording_shows_what_is_counted(trained):
    images, _ = bars(3, seed=4)
    recording = trained.record(images[1], index=1)
    counts = trained.count_spikes(images)[1]
    assert counts.sum() > 0
    assert np.array_equal(np.bincount(recording.exc_spikes[:, 1], minlength=6), counts)
    assert recording.time_ms.tolist() == list(range(200))
    assert recording.exc_potential_mv.shape == recording.adaptive_threshold_mv.shape == (200, 6)
    assert recording.adaptive_threshold_mv.max() > -52
    assert len(recording.inh_spikes) >= len(recording.exc_spikes)
    lit = np.flatnonzero(images[1].ravel())
    assert set(recording.input_spikes[:, 1].tolist()) <= set(lit.tolist())
    operations = trained.synaptic_operations(images)[1]
    assert operations == len(recording.input_spikes) * 6 + counts.sum() * 6


def test_the_decision_is_the_class_with_most_spikes():
    network = RateLIFNetwork(CONFIG, seed=0)
    counts = np.array([[0, 0, 0, 0, 0, 0], [3, 0, 0, 2, 2, 0], [2, 0, 0, 0, 2, 0], [5, 0, 0, 2, 2, 0]])
    assert network.decide(counts).tolist() == [-1, 1, 4, 4]
    images, _ = bars(2)
    votes = [
        network.count_spikes(image[None], first_image=index)[0]
        for image, index in zip(images, image_indices(images), strict=True)
    ]
    assert network.class_scores(images).tolist() == np.reshape(votes, (2, 2, 3)).sum(2).tolist()


def test_unused_synapses_fade_and_used_ones_stay(trained, learned):
    network = trained.copy()
    dark = np.zeros((SIDE, SIDE), bool)
    dark[SIDE // 2 :, SIDE // 2 :] = True
    before = network.weights.copy()
    assert network.now_ms == 60 * 250
    assert (network.last_presynaptic_spike_ms[dark.ravel()] == 0).all()
    assert (network.last_presynaptic_spike_ms[~dark.ravel()] > network.now_ms - 600).all()
    decay_unused_(network, tau_prune_ms=3000.0)
    kept = network.weights.sum(1) / before.sum(1)
    assert kept[dark.ravel()] == pytest.approx(np.exp(-25.0))
    learned("kept of the used synapse that kept least", kept[~dark.ravel()].min(), at_least=0.95)
    assert not np.array_equal(network.weights, trained.weights)


def test_decay_at_every_spike_kills_the_weights_that_online_decay_keeps(learned, seed):
    images, labels = bars(40)
    every = RateLIFNetwork(RateLIFConfig(**{**vars(CONFIG), "decay_each_spike_tau_ms": 500.0}), seed=seed)
    every.train(images, labels)
    online = RateLIFNetwork(CONFIG, seed=seed)
    decay = OnlineDecay(tau_prune_ms=500.0, period_ms=2 * CONFIG.image_ms)
    online.train(images, labels, every_images=2, between=decay.tick_)
    assert every.count_spikes(images).sum() == 0
    learned("accuracy", (online.predict(images) == labels).mean(), at_least=0.9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rate_hz_per_level": -0.1}, "rate_hz_per_level is -0.1"),
        ({"rate_hz_per_level": float("nan")}, "rate_hz_per_level is nan"),
        ({"classes": (3,)}, "expected at least two"),
        ({"classes": (3, 3)}, "expected each once"),
        ({"classes": (3, -1)}, "class -1 is negative"),
        ({"neurons_per_class": 0}, "neurons_per_class is 0"),
        ({"height": 0}, "height is 0"),
        ({"dt_ms": 6.0}, "at most exc_conductance_tau_ms = 5"),
        ({"dt_ms": 0.0}, "dt_ms is 0"),
        ({"exc_tau_ms": 0.0}, "exc_tau_ms is 0"),
        ({"active_ms": 0.0}, "active_ms is 0"),
        ({"silent_ms": -1.0}, "silent_ms is -1"),
        ({"exc_rest_mv": float("inf")}, "exc_rest_mv is inf"),
        ({"threshold_mode": "drift"}, "threshold_mode is 'drift'"),
        ({"decay_each_spike_tau_ms": 0.0}, "decay_each_spike_tau_ms is 0"),
        ({"weight_max": 0.0}, "weight_max is 0"),
        ({"fine_after_images": -1}, "fine_after_images is -1"),
        ({"fine_learning_rate": -1.0}, "fine_learning_rate is -1"),
    ],
)
def test_bad_configurations_get_a_sentence(change, message):
    with pytest.raises(InputError, match=message):
        RateLIFConfig(**change)


def test_bad_input_gets_a_sentence_and_changes_nothing():
    network = RateLIFNetwork(CONFIG, seed=0)
    images, labels = bars(2)
    before = network.state_dict()
    with pytest.raises(InputError, match="label 7 is not one of the classes"):
        network.train(images, np.array([4, 7]))
    with pytest.raises(InputError, match="expected uint8 of shape"):
        network.train(images[:, :3], labels)
    with pytest.raises(InputError, match="one label an image"):
        network.train(images, labels[:1])
    with pytest.raises(InputError, match="every_images is 0"):
        network.train(images, labels, every_images=0)
    with pytest.raises(InputError, match="seed is -1"):
        RateLIFNetwork(CONFIG, seed=-1)
    broken = network.state_dict()
    broken["weights"][0, 0] = np.nan
    with pytest.raises(InputError, match="weights of the checkpoint holds NaN"):
        network.load_state_dict(broken)
    with pytest.raises(InputError, match="the checkpoint has no weights"):
        network.load_state_dict({})
    other = RateLIFNetwork(RateLIFConfig(**{**vars(CONFIG), "neurons_per_class": 4}), seed=0)
    with pytest.raises(InputError, match="load it into a network of its own configuration"):
        network.load_state_dict(other.state_dict())
    assert equal(before, network.state_dict())


def test_a_network_that_straightens_sees_upright_images_in_all_it_does(tmp_path):
    images, labels = bars(12)
    slanted = np.array([[np.roll(row, y - 2) for y, row in enumerate(image)] for image in images])
    upright = straightened(slanted)
    assert (upright != slanted).any()
    assert (straightened(upright) != upright).any()  # so straightening twice would be seen
    own, other = (RateLIFNetwork(replace(CONFIG, straighten=when), seed=0) for when in (True, False))
    assert np.array_equal(own.train(slanted, labels), other.train(upright, labels))
    assert np.array_equal(own.weights, other.weights)
    assert np.array_equal(own.count_spikes(slanted), other.count_spikes(upright))
    assert np.array_equal(own.class_scores(slanted), other.class_scores(upright))
    assert np.array_equal(own.predict(slanted), other.predict(upright))
    assert np.array_equal(own.synaptic_operations(slanted), other.synaptic_operations(upright))
    assert own.cost(slanted) == other.cost(upright)
    assert own.works(slanted, labels) == other.works(upright, labels)
    for mine, yours in zip(own.record(slanted[0]), other.record(upright[0]), strict=True):
        assert np.array_equal(mine, yours)
    own.save(tmp_path / "straight.safetensors")
    assert np.array_equal(
        RateLIFNetwork.load(tmp_path / "straight.safetensors").predict(slanted), other.predict(upright)
    )
    assert own.features_digest != other.features_digest


def test_presets():
    published = RateLIFConfig.published()
    assert (published.neurons, published.inputs, published.image_ms) == (30, 784, 500.0)
    assert published == RateLIFConfig()
    best = RateLIFConfig.best((0, 1, 2, 3))
    assert best.neurons == 160
    assert best.constants().inh_to_exc_weight == best.inh_to_exc_total / 160
    assert (best.teacher, best.constants().continuous_threshold) == ("none", False)
    assert [config.straighten for config in (published, best, RateLIFConfig.stream((0, 1)))] == [False, True, False]
    ten = RateLIFConfig.best(tuple(range(10)), images=60000)
    assert (ten.neurons, ten.teacher, ten.fine_after_images) == (1000, "forced", 40000)
    assert ten.constants().inh_to_exc_weight == 0.5
    assert RateLIFConfig.best(tuple(range(5)), neurons_per_class=7).neurons == 35
    assert [RateLIFConfig.best((3, 5), teacher=teacher).neurons for teacher in ("none", "forced")] == [80, 200]
