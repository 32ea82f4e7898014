"""The rate-coded network answers the contract of networks, with groups of unequal size, units and plasticity."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikelore.continual.fusion import bagging, fuse, merge
from spikelore.continual.unused_decay import decay_unused_
from spikelore.data import load
from spikelore.data.streams import Stream, split_tasks
from spikelore.errors import InputError
from spikelore.kernels.lif_network import Delays, Forcing, Rule, initial_state, train_, train_forced_
from spikelore.networks.protocol import Network, Synapses, Units
from spikelore.networks.rate_lif import RateLIFConfig, RateLIFNetwork

SIDE = 6
SMALL = {
    "height": SIDE, "width": SIDE, "dt_ms": 1.0, "active_ms": 100.0, "silent_ms": 50.0, "weight_max": 0.4,
    "weight_norm": 2.0, "learning_rate": 0.05, "exc_to_inh_weight": 10.0, "exc_to_inh_delay_ms": 3.0,
}  # fmt: skip
FORCED = RateLIFConfig(classes=(4, 1), neurons_per_class=(2, 4), teacher="forced", **SMALL)
FREE = replace(FORCED, teacher="none")


def halves(count, classes=(4, 1), seed=0):
    """Return images with a bright upper or left half, or lower for a third class, some pixels dark."""
    rng = np.random.default_rng(seed)
    kind = np.arange(count) % len(classes)
    images = np.zeros((count, SIDE, SIDE), np.uint8)
    images[kind == 0, : SIDE // 2, :] = 255
    images[kind == 1, :, : SIDE // 2] = 255
    images[kind == 2, SIDE // 2 :, :] = 255
    images[rng.random(images.shape) < 0.3] = 0
    return images, np.array(classes, np.int64)[kind]


def trained(config=FORCED, count=24, **given):
    network = RateLIFNetwork(config, seed=0, **given)
    network.learn_(*halves(count))
    return network


def same(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def test_it_has_the_capabilities():
    network = RateLIFNetwork(FORCED, seed=0)
    assert isinstance(network, Network)
    assert isinstance(network, Units)
    assert isinstance(network, Synapses)
    assert (network.name, network.classes, network.input_shape) == ("rate-lif", (4, 1), (SIDE, SIDE))


@pytest.mark.parametrize("config", [FORCED, FREE])
def test_answers_depend_on_the_image_alone(config):
    network, (images, _) = trained(config), halves(9, seed=2)
    scores, decided = network.class_scores(images), network.predict(images)
    assert scores.any(1).all()
    order = np.random.default_rng(0).permutation(9)
    parts = [network.class_scores(images[part]) for part in (order[:1], order[1:4], order[4:])]
    assert np.array_equal(np.concatenate(parts), scores[order])
    assert np.array_equal(network.predict(images[order]), decided[order])
    assert np.array_equal(decided, np.array(network.classes)[scores.argmax(1)])
    other = trained(config, backend="reference")
    assert np.array_equal(other.class_scores(images[:3]), scores[:3])


def test_decisions_among_some_classes_and_of_silent_images():
    network = trained()
    images, _ = halves(4)
    images[0] = 0
    assert network.predict(images)[0] == -1
    assert network.class_scores(images)[0].tolist() == [0, 0]
    assert set(network.predict(images, (1,)).tolist()) <= {1, -1}
    with pytest.raises(InputError, match="label 7 is not one of the classes"):
        network.predict(images, (7,))


def test_learning_in_batches_is_learning_in_order():
    images, labels = halves(10)
    whole, parts = RateLIFNetwork(FORCED, seed=1), RateLIFNetwork(FORCED, seed=1)
    whole.train(images, labels)
    for part in (slice(0, 3), slice(3, 10)):
        parts.learn_(images[part], labels[part])
    assert whole.weights.sum() > 0
    assert same(whole, parts)


def test_rehearsal_learns_from_what_is_decided_wrongly_alone():
    network, (images, labels) = trained(), halves(30, seed=5)
    labels[0] = 5 - labels[0]  # 4 for 1, or 1 for 4
    wrong = network.predict(images) != labels
    assert 0 < wrong.sum() < 30
    rehearsed, taught, still = network.copy(), network.copy(), network.copy()
    rehearsed.rehearse_(images, labels)
    taught.learn_(images[wrong], labels[wrong])
    still.rehearse_(images[~wrong], labels[~wrong])
    assert same(rehearsed, taught)
    assert same(still, network)
    assert not same(rehearsed, network)


def test_costs_count_all_spikes():
    for backend in ("numba_cpu", "reference"):
        network = trained(backend=backend)
        images, _ = halves(3, seed=5)
        cost = network.cost(images)
        shown = network._shown(images)
        seen = network.record(images[0], index=2)
        first = network._counts(images[:1], np.array([2]))
        assert [len(seen.input_spikes), len(seen.exc_spikes), len(seen.inh_spikes)] == [
            first.inputs[0], first.exc[0].sum(), first.inh[0],
        ]  # fmt: skip
        assert shown.inputs.min() > 0
        assert shown.inh.min() > 0
        assert cost.spikes == pytest.approx((shown.inputs.sum() + shown.exc.sum() + shown.inh.sum()) / 3)
        assert cost.accumulates == pytest.approx((shown.inputs.sum() + shown.exc.sum()) * 6 / 3)


def test_groups_have_their_sizes_and_all_their_spikes_are_votes():
    assert RateLIFConfig(classes=(0, 1), neurons_per_class=(3, 3)) == RateLIFConfig(classes=(0, 1), neurons_per_class=3)
    assert (FORCED.neurons, FORCED.group_sizes) == (6, (2, 4))
    network = RateLIFNetwork(FORCED, seed=0)
    assert network.unit_classes.tolist() == [4, 4, 1, 1, 1, 1]
    assert network.decide(np.array([[2, 1, 1, 0, 0, 1], [2, 0, 1, 1, 1, 1], [0] * 6])).tolist() == [4, 1, -1]
    for wrong in ((1, 2, 3), (1, 0)):
        with pytest.raises(InputError, match="neurons_per_class"):
            RateLIFConfig(classes=(0, 1), neurons_per_class=wrong)


def test_a_class_that_was_not_taught_yet_stays_silent_where_weights_start_at_their_norm(learned, seed):
    digits = load("digits-sample").train
    network = RateLIFNetwork(RateLIFConfig.stream((0, 1, 2), neurons_per_class=20), seed=seed)
    known = digits.of_classes((0, 1))
    order = np.random.default_rng(seed).permutation(len(known))[:300]
    network.learn_(known.inputs[order], known.labels[order])
    network.grow_((3,))
    spikes = network.class_scores(digits.inputs[::25]).sum(0)
    learned("share of spikes of classes to come", spikes[2:].sum() / spikes.sum(), at_most=0.05)


@pytest.mark.parametrize("config", [FORCED, FREE])
def test_growth_keeps_what_was_learned(tmp_path, config):
    network = trained(config)
    before = network.copy()
    network.grow_((9,))
    assert network.classes == (4, 1, 9)
    assert network.config.group_sizes == (2, 4, 3)
    assert network.config.constants().inh_to_exc_weight == pytest.approx(config.constants().inh_to_exc_weight)
    assert np.array_equal(network.weights[:, :6], before.weights)
    assert network.now_ms == before.now_ms
    images, labels = halves(12, (4, 1, 9), seed=3)
    network.unit_plasticity = np.repeat([0, 1], [6, 3])
    network.learn_(images, labels)
    assert np.array_equal(network.weights[:, :6], before.weights)
    network.save(tmp_path / "grown")
    loaded = RateLIFNetwork.load(tmp_path / "grown")
    assert loaded.config == network.config
    for each in (network, loaded):
        each.learn_(images, labels)
    assert same(network, loaded)
    assert same(network, network.copy())
    assert np.array_equal(loaded.unit_plasticity, network.unit_plasticity)
    with pytest.raises(InputError, match="expected each once"):
        network.grow_((4,))


def test_spikes_on_their_way_arrive_after_growth():
    network = RateLIFNetwork(replace(FREE, silent_ms=0.0, exc_to_inh_delay_ms=9.0, inh_to_exc_delay_ms=9.0), seed=0)
    queues = ("to_inh_queue", "to_exc_queue")
    for _ in range(20):
        network.learn_(*halves(1))
        if sum(network.state_dict()[name].sum() for name in queues) > 0:
            break
    step, before = int(network._state.step[0]), network.state_dict()
    network.grow_((9, 8))
    after = network.state_dict()
    assert sum(before[name].sum() for name in queues) > 0
    for name in queues:
        for ahead in range(len(before[name])):
            row = after[name][(step + ahead) % len(after[name])]
            assert np.array_equal(row[:6], before[name][(step + ahead) % len(before[name])])


def test_units_can_be_taken_out_and_put_in():
    network = trained()
    again = network.with_units(network.unit_weights, network.unit_classes)
    assert again.config == network.config
    assert again.features_digest == network.features_digest
    np.testing.assert_allclose(again.weights, network.weights, rtol=1e-6)
    assert (again.now_ms, again.images_seen) == (network.now_ms, network.images_seen)
    few = network.with_units(network.unit_weights[[0, 3, 4]], np.array([1, 1, 7]), np.array([1.0, 0.5, 99.0]))
    assert (few.classes, few.config.group_sizes) == ((1, 7), (2, 1))
    assert few.config.constants().inh_to_exc_weight == FORCED.inh_to_exc_total / 3
    np.testing.assert_allclose(few.unit_weights[1], network.unit_weights[3] / 2)
    assert few.weights.max() == FORCED.weight_max
    assert few.features_digest == network.features_digest
    assert RateLIFNetwork(replace(FORCED, dt_ms=0.5), seed=0).features_digest != network.features_digest
    fresh = network.with_fresh_units((5, 6, 7, 8), seed=3)
    assert (fresh.classes, fresh.config.group_sizes) == ((5, 6, 7, 8), (2, 2, 1, 1))
    weights, classes = network.unit_weights, network.unit_classes
    for wrong, message in [
        ((weights, classes, None, np.ones(6)), "cannot be negative"),
        ((weights[:3], classes), "give each neuron a row"),
        ((weights * np.nan, classes), "NaN"),
        ((weights, np.array([1, 4, 1, 4, 1, 4])), "expected each once"),
    ]:
        with pytest.raises(InputError, match=message):
            network.with_units(*wrong)


def test_plasticity_is_checked_and_only_set_as_a_whole():
    network = RateLIFNetwork(FORCED, seed=0)
    with pytest.raises(ValueError, match="read-only"):
        network.unit_plasticity[0] = 0
    for wrong in (np.ones(5), np.full(6, 1.5), np.full(6, np.nan)):
        with pytest.raises(InputError, match="unit_plasticity"):
            network.unit_plasticity = wrong


def test_synapses_are_the_networks_own():
    network = trained()
    synapses = network.synapses()["input"]
    before, now = network.weights.copy(), synapses.now_ms
    network.use_(halves(2)[0])
    assert synapses.now_ms == now == 24 * 150
    decay_unused_(synapses, tau_prune_ms=1000.0)
    assert network.weights.sum() < before.sum()


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    forced=st.booleans(),
    decay=st.sampled_from([None, 300.0]),
    threshold=st.sampled_from(["hold", "continuous"]),
)
def test_both_kernels_learn_alike_with_any_plasticity_and_none_keeps_everything(seed, forced, decay, threshold):
    rng = np.random.default_rng(seed)
    config = replace(FREE, decay_each_spike_tau_ms=decay, threshold_mode="hold" if forced else threshold)
    constants, shares = config.constants(), rng.choice([0.0, 0.25, 1.0], 6)
    shares[[0, 3]] = 0
    delays = Delays(rng.integers(0, 4, 6), rng.integers(0, 3, (6, 6)))
    start = rng.uniform(0, config.weight_max, (SIDE * SIDE, 6))
    images, labels = halves(6, seed=seed)
    found = []
    for backend in ("reference", "numba_cpu"):
        state = initial_state(start, constants, delays, (-60.0, -60.0))
        state.homeostatic_threshold[:] = np.linspace(-1, 0, 6)
        learn, how = (train_forced_, Forcing(0.8, 200, 1.0)) if forced else (train_, Rule(1.0, -1.0))
        counts = learn(
            state, constants, delays, config.presentation(), how, images, (labels == 1).astype(np.int64),
            np.repeat([0, 1], (2, 4)), plasticity=shares, seed=seed, stream=0, first_image=0, backend=backend,
        )  # fmt: skip
        assert np.array_equal(state.weights[:, shares == 0], start[:, shares == 0])
        assert np.array_equal(state.homeostatic_threshold[shares == 0], np.linspace(-1, 0, 6)[shares == 0])
        found.append((counts, state))
    (slow, slow_state), (fast, fast_state) = found
    assert slow[:, [0, 3]].sum() > 0
    assert np.array_equal(slow, fast)
    for name, expected in slow_state.arrays().items():
        np.testing.assert_allclose(getattr(fast_state, name), expected, rtol=1e-11, atol=1e-12)


def test_the_setting_for_streams():
    digits = load("digits-sample")
    stream = Stream("class-incremental", split_tasks(digits, [(2, 3), (0, 1)]))
    network = RateLIFNetwork.for_stream(stream, seed=4, neurons_per_class=7, learning_rate=0.006)
    assert (network.classes, network.seed, network.input_shape) == ((2, 3, 0, 1), 4, (28, 28))
    config = network.config
    assert (config.teacher, config.learning_rate, config.fine_after_images) == ("forced", 0.006, None)
    assert config.constants().inh_to_exc_weight == 0.5
    assert RateLIFConfig.stream((1, 2), inh_to_exc_total=7.0).inh_to_exc_total == 7.0
    with pytest.raises(InputError, match="neurons is not known"):
        RateLIFNetwork.for_stream(stream, neurons=7)


def learn_digits(classes, seed, neurons_per_class):
    tasks = split_tasks(load("digits-sample"), [classes], seed=seed)
    stream = Stream("class-incremental", tasks)
    return RateLIFNetwork.for_stream(stream, seed=seed, neurons_per_class=neurons_per_class), tasks[0]


def test_naive_learning_of_two_digits_after_two_forgets_little(learned, seed):
    digits = load("digits-sample")
    groups = [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)]
    stream = Stream("class-incremental", split_tasks(digits, groups, seed=seed))
    network = RateLIFNetwork.for_stream(stream, seed=seed, neurons_per_class=30)
    best = []
    for task in stream.tasks:
        order = np.random.default_rng(seed).permutation(len(task.train))
        network.learn_(task.train.inputs[order], task.train.labels[order])
        best.append((network.predict(task.test.inputs, task.classes) == task.test.labels).mean())
    after = [(network.predict(task.test.inputs, task.classes) == task.test.labels).mean() for task in stream.tasks]
    right = [(network.predict(task.test.inputs) == task.test.labels).mean() for task in stream.tasks]
    learned("accuracy", np.mean(right), at_least=0.82)
    learned("lost among a task's own classes", np.mean(best[:4]) - np.mean(after[:4]), at_most=0.1)


def test_two_networks_fused_to_the_size_of_one_keep_most_of_the_ensemble(learned, seed):
    networks = []
    for classes in (range(5), range(5, 10)):
        network, task = learn_digits(tuple(classes), seed, 40)
        order = np.random.default_rng(seed).permutation(len(task.train))
        network.learn_(task.train.inputs[order], task.train.labels[order])
        networks.append(network)
    test = load("digits-sample").test
    both = bagging(networks)
    ensemble = (both.predict(test.inputs) == test.labels).mean()
    for name, one in {"fuse": fuse(networks, importances="order"), "merge": merge(networks, score="raw")}.items():
        assert one.config.neurons <= 200 < both.config.neurons
        share = (one.predict(test.inputs) == test.labels).mean() / ensemble
        learned(f"{name}: share of the ensemble's accuracy", share, at_least=0.9)
