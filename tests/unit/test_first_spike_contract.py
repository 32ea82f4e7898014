"""The first-spike network answers the contract of networks: learning in place, features, units, synapses."""

import json
from dataclasses import replace

import numpy as np
import pytest

from spikelore.continual.fusion import bagging, fuse
from spikelore.continual.unused_decay import decay_unused_
from spikelore.data import load
from spikelore.data.streams import Stream, split_tasks
from spikelore.errors import InputError
from spikelore.files import load_tensors, save_tensors
from spikelore.kernels.template_stdp.correlation import gains_and_centres
from spikelore.learning.online_templates import OnlineLearning
from spikelore.learning.stdp import StdpConfig
from spikelore.networks.checkpoint import load as load_network
from spikelore.networks.first_spike import (
    DecisionLayerConfig,
    FeatureLayerConfig,
    FirstSpikeConfig,
    FirstSpikeNetwork,
)
from spikelore.networks.layer_use import LayerUse
from spikelore.networks.protocol import Differentiable, Features, Network, Synapses, Units

SIDE = 16
CONFIG = FirstSpikeConfig(
    layer_1=FeatureLayerConfig(6, 3, 1, 8.0, 2, 2, 1),
    layer_2=FeatureLayerConfig(9, 3, 1, 16.0, 2, 2, 1),
    decision=DecisionLayerConfig(features=6, kernel=5, padding=2),
)
LEARNING = OnlineLearning(layer_1_images=5, layer_2_images=7, stdp=StdpConfig(ltp=0.05, ltd=-0.04))


def bars(count, classes=(3, 7), seed=0):
    """Return images of a bar that lies (first class) or stands (second), or both (third), at a random place."""
    rng = np.random.default_rng(seed)
    kind = np.arange(count) % len(classes)
    images = np.zeros((count, SIDE, SIDE), np.uint8)
    for image, shape in zip(images, kind, strict=True):
        row, column = rng.integers(4, SIDE - 4, 2)
        if shape != 1:
            image[row : row + 2, row - 2 : row + 6] = 220
        if shape != 0:
            image[column - 2 : column + 6, column : column + 2] = 220
        image[tuple(rng.integers(0, SIDE, (2, 8)))] = 150
    return images, np.array(classes, np.int64)[kind]


def fresh(config=CONFIG, **changes):
    network = FirstSpikeNetwork.create(config, classes=(3, 7), seed=1)
    network = replace(network, input_shape=(SIDE, SIDE), learning=replace(LEARNING, **changes), templates=True)
    network.follow_weights_()
    return network


def trained(count=40, **changes):
    network = fresh(**changes)
    network.learn_(*bars(count))
    return network


def same(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def test_it_has_the_capabilities():
    network = fresh()
    assert all(isinstance(network, each) for each in (Network, Features, Units, Synapses))
    assert not isinstance(network, Differentiable)
    assert (network.name, network.classes, network.input_shape) == ("first-spike", (3, 7), (SIDE, SIDE))


def test_what_is_learned_does_not_depend_on_how_images_are_divided():
    images, labels = bars(40)
    whole, parts = trained(), fresh()
    for part in (slice(0, 1), slice(1, 9), slice(9, 30), slice(30, 40)):
        parts.learn_(images[part], labels[part])
    assert whole.features_frozen
    assert whole.images_seen.tolist() == [5, 7]
    assert whole.unit_wins.sum() == 28
    assert same(whole, parts)


def test_rehearsal_widens_the_margin_and_counts_no_image_again():
    images, labels = bars(40)
    before = trained(margin=1.0, rehearsal_rate=0.1)
    whole, parts, features = before.copy(), before.copy(), before.copy()
    whole.rehearse_(images, labels)
    for part in (slice(0, 1), slice(1, 40)):
        parts.rehearse_(images[part], labels[part])
    features.rehearse_features_(before.encode_features(images), labels)
    assert same(whole, parts)
    assert same(whole, features)
    assert np.array_equal(whole.unit_wins, before.unit_wins)
    assert not np.array_equal(whole.unit_weights, before.unit_weights)

    def lead(network):
        scores = network.class_scores(images)
        own = np.searchsorted(network.classes, labels)
        return (scores[np.arange(40), own] - scores[np.arange(40), 1 - own]).mean()

    assert lead(whole) > lead(before)


def test_rehearsal_moves_no_protected_unit_and_none_without_a_template():
    images, labels = bars(40)
    before = trained(margin=1.0, rehearsal_rate=0.1)
    before.unit_plasticity = (before.unit_classes == 3).astype(np.float32)
    after = before.copy()
    after.rehearse_(images, labels)
    moved = (after.unit_weights != before.unit_weights).any(axis=(1, 2, 3))
    assert moved[before.unit_classes == 3].any()
    assert not moved[before.unit_classes == 7].any()
    early = fresh()
    start = early.copy()
    early.rehearse_(images, labels)
    assert same(early, start)
    sure = trained(margin=0.0)
    start = sure.copy()
    right = sure.predict(images) == labels
    sure.rehearse_(images[right], labels[right])
    assert same(sure, start)


def test_layers_learn_one_after_the_other_and_then_stand_still():
    images, labels = bars(20)
    network = fresh()
    start = network.copy()
    network.learn_(images[:5], labels[:5])
    assert not np.array_equal(network.weights_1, start.weights_1)
    assert np.array_equal(network.weights_2, start.weights_2)
    assert not network.features_frozen
    first = network.copy()
    network.learn_(images[5:12], labels[5:12])
    assert np.array_equal(network.weights_1, first.weights_1)
    assert not np.array_equal(network.weights_2, first.weights_2)
    assert network.features_frozen
    assert np.array_equal(network.unit_weights, start.unit_weights)
    assert (network.predict(images) == -1).all()  # no unit has a template yet
    digest = network.features_digest
    network.learn_(images[12:], labels[12:])
    assert network.features_digest == digest
    assert network.unit_wins.sum() == 8


def test_a_unit_takes_its_first_image_and_becomes_the_mean_of_what_it_wins():
    network = fresh(replace(CONFIG, decision=DecisionLayerConfig(features=2, kernel=5, padding=2)), least_rate=0.0)
    network.freeze_features_()
    images, labels = bars(9)
    spikes = network.encode_features(images)
    network.learn_features_(spikes[:1], labels[:1])
    first, second = network.unit_weights
    assert set(np.unique(first)) == {0, 1}
    assert first.sum() == spikes[0].sum()  # taken where it sees the whole image
    assert network.unit_wins.tolist() == [1, 0]
    assert network.unit_gains[1] == 0
    assert set(network.predict(images).tolist()) == {3}
    network.learn_features_(spikes[1:], labels[1:])
    assert network.unit_wins.tolist() == [5, 4]
    np.testing.assert_allclose(network.unit_weights[0] * 5, np.rint(network.unit_weights[0] * 5), atol=1e-5)
    np.testing.assert_allclose(network.unit_weights[1] * 4, np.rint(network.unit_weights[1] * 4), atol=1e-5)
    assert not np.array_equal(second, network.unit_weights[1])


def test_new_classes_move_no_unit_of_the_old_ones():
    network = trained()
    network.grow_((1, 9))
    assert network.classes == (1, 3, 7, 9)
    assert network.unit_classes.tolist() == [1] * 3 + [3] * 3 + [7] * 3 + [9] * 3
    images, labels = bars(20, (9, 1), seed=4)
    before = network.copy()
    assert not set(network.predict(images).tolist()) & {1, 9}
    network.learn_(images, labels)
    old = np.isin(network.unit_classes, (3, 7))
    assert np.array_equal(network.unit_weights[old], before.unit_weights[old])
    assert network.unit_wins[~old].sum() == 20
    assert set(network.predict(images, (1, 9)).tolist()) <= {1, 9}
    with pytest.raises(InputError, match="class 7 has units already"):
        network.grow_((7,))


def test_answers_depend_on_the_image_alone():
    network = trained()
    images, _ = bars(11, seed=5)
    images[4] = 0
    scores, decided = network.class_scores(images), network.predict(images)
    assert decided[4] == -1
    assert set(decided.tolist()) == {-1, 3, 7}
    order = np.random.default_rng(0).permutation(11)
    parts = [network.class_scores(images[part]) for part in (order[:1], order[1:4], order[4:])]
    assert np.array_equal(np.concatenate(parts), scores[order])
    assert np.array_equal(network.predict(images[order]), decided[order])
    heard = scores.any(axis=1)
    assert np.array_equal(decided[heard], np.array([3, 7])[scores[heard].argmax(1)])
    assert set(network.predict(images, (7,)).tolist()) == {-1, 7}


@pytest.mark.parametrize(("split", "shape"), [(1, (6, 8, 8)), (2, (9, 4, 4))])
def test_features_in_place_of_images(split, shape):
    images, labels = bars(40)
    by_images, by_features = fresh(), fresh(replace(CONFIG, split=split))
    by_images.learn_(images, labels)
    with pytest.raises(InputError, match=r"learned from \[0, 0\] images, expected \[5, 7\]"):
        by_features.learn_features_(np.zeros((1, *shape), np.bool_), labels[:1])
    by_features.learn_(images[:12], labels[:12])
    spikes = by_features.encode_features(images[12:])
    assert spikes.dtype == np.bool_
    assert spikes.shape[1:] == by_features.feature_shape == shape
    assert 0 < spikes.mean() < 1
    if split == 1:
        waves = by_features.layer_1_bins(by_features.encode(images[12:]))
        assert np.array_equal(spikes, waves < by_features.config.coding.total_bins)
    by_features.learn_features_(spikes, labels[12:])
    assert same(by_images, by_features)
    by_images.rehearse_(images, labels)
    by_features.rehearse_features_(by_features.encode_features(images), labels)
    assert same(by_images, by_features)
    assert by_images.features_digest == by_features.features_digest
    for wrong in (spikes.astype(np.uint8), spikes[:, :5], spikes[:0]):
        with pytest.raises(InputError, match="give what encode_features returns"):
            by_features.learn_features_(wrong, labels[12 : 12 + len(wrong)])


def test_protected_units_stay():
    network = trained()
    network.unit_plasticity = np.array([0, 1, 1, 0, 0, 0], np.float32)
    before = network.unit_weights.copy()
    network.learn_(*bars(30, seed=8))
    moved = (network.unit_weights != before).any(axis=(1, 2, 3))
    assert moved[1:3].any()
    assert not moved[[0, 3, 4, 5]].any()
    network.unit_plasticity = np.full(6, 2, np.float32)
    with pytest.raises(InputError, match=r"unit_plasticity holds 2\.0, expected 0 to 1"):
        network.learn_(*bars(2))


def test_networks_taught_apart_on_shared_features_are_fused():
    first = trained()
    second = first.with_fresh_units((5, 2), seed=3)
    assert second.features_digest == first.features_digest
    assert second.unit_classes.tolist() == [2] * 3 + [5] * 3
    assert second.unit_wins.sum() == 0
    assert not np.array_equal(second.unit_weights, first.unit_weights)
    second.learn_(*bars(30, (2, 5), seed=2))
    both = bagging([first, second], score="correlation")
    assert both.templates
    images, _ = bars(10, seed=6)
    assert np.array_equal(both.class_scores(images)[:, [1, 3]], first.class_scores(images))
    fused = fuse([first, second], importances="order", score="correlation")
    assert fused.classes == (2, 3, 5, 7)
    before = fused.unit_weights.copy()
    fused.learn_(*bars(1, (3, 7), seed=9))
    moved = np.abs(fused.unit_weights - before).max()
    assert 0 < moved <= 1 / 100  # what has learned elsewhere is not begun anew
    assert trained().with_fresh_units((1, 2, 3, 4), seed=0).unit_classes.tolist() == [1, 1, 2, 2, 3, 4]
    with pytest.raises(InputError, match="7 classes for 6 units"):
        first.with_fresh_units(range(7), seed=0)


def test_clocks_run_by_use_and_decay_changes_the_network():
    network = trained()
    images, _ = bars(6, seed=7)
    images[-2:] = 0
    assert network.synapses()["layer 1"].now_ms == 0
    parts = network.copy()
    network.use_(images)
    parts.use_(images[:2])
    parts.use_(images[2:])
    assert same(network, parts)
    assert not same(network, trained())
    layers = network.synapses()
    assert list(layers) == ["layer 1", "layer 2", "decision"]
    bins, config = network.encode(images), network.config
    inputs = (bins < config.coding.total_bins, network.layer_1_bins(bins) < config.coding.total_bins,
              network.encode_features(images))  # fmt: skip
    paddings = (config.layer_1.padding, config.layer_2.padding, config.decision.padding)
    uses = [LayerUse(each.weights, padding=padding) for each, padding in zip(layers.values(), paddings, strict=True)]
    for use, spiked in zip(uses, inputs, strict=True):
        use.show_(spiked)
    for number, (name, layer) in enumerate(layers.items(), start=1):
        use = uses[number - 1]
        assert layer.now_ms == use.now_ms == 3000.0
        np.testing.assert_array_equal(layer.last_presynaptic_spike_ms, use.last_presynaptic_spike_ms)
        before = layer.weights.copy()
        decay_unused_(layer, tau_prune_ms=500.0)
        assert (layer.weights < before).any(), name
        assert np.shares_memory(layer.weights, (network.weights_1, network.weights_2, network.unit_weights)[number - 1])
    network.class_scores(images)
    gains, centres = gains_and_centres(network.unit_weights.reshape(6, -1).astype(np.float64))
    np.testing.assert_array_equal(network.unit_gains, gains.astype(np.float32))
    np.testing.assert_array_equal(network.unit_centres, centres.astype(np.float32))


def test_a_checkpoint_and_a_state_go_on_as_if_nothing_had_come_between(tmp_path):
    images, labels = bars(40)
    network = fresh(replace(CONFIG, split=1))
    network.learn_(images[:8], labels[:8])  # in the midst of layer 2
    network.use_(images[:8])
    network.unit_plasticity = np.linspace(0, 1, 6, dtype=np.float32)
    network.save(tmp_path / "net")
    loaded = load_network(tmp_path / "net")
    assert isinstance(loaded, FirstSpikeNetwork)
    assert (loaded.config, loaded.learning) == (network.config, network.learning)
    assert (loaded.classes, loaded.input_shape) == (network.classes, network.input_shape)
    restored = fresh()
    restored.load_state_dict(network.state_dict())
    untouched = network.copy()
    for each in (network, loaded, restored):
        each.learn_(images[8:], labels[8:])
    assert same(network, loaded)
    assert same(network, restored)
    assert not same(network, untouched)
    state = network.state_dict()
    state.pop("unit_wins")
    with pytest.raises(InputError, match="the state has no 'unit_wins'"):
        network.load_state_dict(state)


def test_a_checkpoint_of_before_is_of_a_trained_network(tmp_path):
    network = fresh()
    network.save(tmp_path / "net")
    arrays, metadata = load_tensors(tmp_path / "net")
    names = ("weights_1", "weights_2", "unit_weights", "unit_classes", "unit_gains", "unit_centres")
    metadata.pop("learning")
    config = json.loads(metadata["config"])
    config.pop("split")
    metadata["config"] = json.dumps(config)
    save_tensors(tmp_path / "old", {name: arrays[name] for name in names}, metadata)
    old = FirstSpikeNetwork.load(tmp_path / "old")
    assert (old.config, old.input_shape, old.templates, old.features_frozen) == (network.config, (), False, True)
    before = old.copy()
    old.learn_(*bars(4))
    assert old.features_digest == before.features_digest
    assert old.templates
    moved = np.abs(old.unit_weights - before.unit_weights).max()
    assert 0 < moved <= 2 / 100


@pytest.mark.parametrize(
    ("give", "says"),
    [
        (lambda images, labels: (images[:, 1:], labels), "images are 15 x 16 pixels, expected 16 x 16"),
        (lambda images, labels: (images, labels + 1), "label 4 is none of the network's classes"),
        (lambda images, labels: (images, labels[1:]), "give one label an image"),
        (lambda images, labels: (images[:0], labels[:0]), "there are no images to learn from"),
    ],
)
def test_batches_that_are_refused_change_nothing(give, says):
    network = trained()
    before = network.copy()
    with pytest.raises(InputError, match=says):
        network.learn_(*give(*bars(4)))
    assert same(network, before)


def test_refusals():
    network = trained()
    with pytest.raises(InputError, match="among holds class 5"):
        network.predict(bars(2)[0], (3, 5))
    with pytest.raises(InputError, match="was not made for images of one size"):
        _ = replace(network, input_shape=()).feature_shape
    for wrong in ({"layer_1_images": -1}, {"least_rate": 1.5}, {"margin": -0.1}):
        with pytest.raises(InputError, match=f"learning.{next(iter(wrong))}"):
            OnlineLearning(**wrong)


def test_a_copy_shares_nothing():
    network = trained()
    other = network.copy()
    other.unit_weights[:] = 0
    other.learn_(*bars(4))
    assert same(network, trained())


def test_cost_is_that_of_the_spikes_counted():
    network = trained()
    images, _ = bars(5)
    counts, cost = network.count_spikes(images), network.cost(images)
    assert cost.spikes == sum(counts.spikes) > 0
    assert cost.accumulates == sum(counts.operations) > 0
    assert cost.multiply_accumulates == 0


@pytest.fixture(scope="module")
def stream():
    groups = [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)]
    return Stream("class-incremental", split_tasks(load("digits-sample"), groups, validation_share=0.1))


def test_a_network_is_made_for_a_stream(stream):
    network = FirstSpikeNetwork.for_stream(stream, seed=2, decision=DecisionLayerConfig(features=60))
    assert network.classes == tuple(range(10))
    assert (network.input_shape, network.feature_shape, len(network.unit_classes)) == ((28, 28), (250, 4, 4), 60)
    assert sum(network.learning.feature_images) < len(stream.tasks[0].train)
    assert (network.predict(stream.tasks[0].test.inputs[:3]) == -1).all()
    with pytest.raises(InputError, match="has no setting 'neurons'"):
        FirstSpikeNetwork.for_stream(stream, neurons=3)
    assert FirstSpikeNetwork.for_stream(stream, split=1).feature_shape == (30, 14, 14)
    with pytest.raises(InputError, match=r"network.split is 3, expected 1 or 2"):
        FirstSpikeNetwork.for_stream(stream, split=3)
