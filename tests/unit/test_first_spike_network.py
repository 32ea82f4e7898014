import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from spikelore.coding.rank_order import DifferenceOfGaussians, RankOrderConfig
from spikelore.errors import InputError
from spikelore.files import save_tensors
from spikelore.kernels import convolution
from spikelore.learning.reward_stdp import Outcome, RewardStdpConfig, learn_epoch
from spikelore.learning.stdp import StdpConfig, learn_layer
from spikelore.networks.first_spike import (
    DecisionLayerConfig,
    FeatureLayerConfig,
    FirstSpikeConfig,
    FirstSpikeNetwork,
)

CONFIG = FirstSpikeConfig(
    layer_1=FeatureLayerConfig(4, 3, 1, 2.0, 2, 2, 1),
    layer_2=FeatureLayerConfig(5, 3, 1, 2.0, 2, 2, 1),
    decision=DecisionLayerConfig(features=4, kernel=3, padding=1),
)
FORMAT = "spikelore first-spike network 1"


@pytest.fixture(scope="module")
def network():
    net = FirstSpikeNetwork.create(CONFIG, classes=(3, 7), seed=5)
    rng = np.random.default_rng(0)
    return replace(
        net,
        unit_gains=rng.uniform(0.5, 1.5, 4).astype(np.float32),
        unit_centres=rng.uniform(0, 0.1, 4).astype(np.float32),
    )


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).integers(0, 256, (6, 16, 16), dtype=np.uint8)


def metadata(net, name=FORMAT):
    return {"format": name, "config": json.dumps(asdict(net.config))}


def test_create_shares_the_units_among_the_classes():
    net = FirstSpikeNetwork.create(CONFIG, classes=(3, 7), seed=5)
    assert net.unit_classes.tolist() == [3, 3, 7, 7]
    assert net.classes == (3, 7)
    assert net.weights_1.shape == (4, 6, 3, 3)
    assert net.weights_2.shape == (5, 4, 3, 3)
    assert net.unit_weights.shape == (4, 5, 3, 3)
    assert net.unit_weights.dtype == np.float32
    again = FirstSpikeNetwork.create(CONFIG, classes=(0, 1), seed=5)
    assert again.features_digest == net.features_digest
    assert FirstSpikeNetwork.create(CONFIG, classes=(3, 7), seed=6).features_digest != net.features_digest


@pytest.mark.parametrize("classes", [(0, 1, 2), (0, 1, 2, 3, 4)])
def test_create_refuses_classes_that_the_units_do_not_divide_among(classes):
    with pytest.raises(InputError, match=f"choose a multiple of {len(classes)}"):
        FirstSpikeNetwork.create(CONFIG, classes=classes, seed=0)


@pytest.mark.parametrize("classes", [(), (1, 1), (-1, 2)])
def test_create_refuses_no_class_a_repeated_or_a_negative_one(classes):
    with pytest.raises(InputError, match="give at least one label of 0 or more, each once"):
        FirstSpikeNetwork.create(CONFIG, classes=classes, seed=0)


def test_the_smallest_image_leaves_one_place_in_the_decision_layer(network):
    # by hand: decision 3 - 2 = 1; layer 2 pooled 2, kernel 3, padding 1: 2; layer 1 the same: 4
    assert network.smallest_side == 4
    assert network.features(network.encode(np.full((1, 4, 5), 9, np.uint8))).shape == (5, 1, 1)
    wide = replace(CONFIG, decision=DecisionLayerConfig(features=4, kernel=5, padding=0))
    net = FirstSpikeNetwork.create(wide, classes=(3, 7), seed=5)
    assert net.smallest_side == 20
    image = np.random.default_rng(0).integers(0, 256, (1, 20, 20), dtype=np.uint8)
    assert net.scores(net.features(net.encode(image))).shape == (1, 4)
    assert FirstSpikeNetwork.create(FirstSpikeConfig(), classes=(0,), seed=0).smallest_side == 6


@pytest.mark.parametrize("shape", [(2, 3, 16), (2, 16, 3), (1, 0, 0)])
def test_images_too_small_for_the_layers_are_refused(network, shape):
    with pytest.raises(InputError, match=rf"images are {shape[1]} x {shape[2]} pixels; .* less than 4 x 4"):
        network.predict(np.ones(shape, np.uint8))


def test_spikes_and_operations_by_hand():
    """One lit pixel in 8 x 8, seen by an on-centre filter; few features a layer."""
    config = FirstSpikeConfig(
        coding=RankOrderConfig(
            filters=(DifferenceOfGaussians(3, 1 / 3, 2 / 3),), threshold=1, normalization_radius=8, total_bins=1
        ),
        layer_1=FeatureLayerConfig(2, 3, 1, 0.5, 2, 1, 1),
        layer_2=FeatureLayerConfig(3, 1, 0, 10.0, 2, 1, 1),
        decision=DecisionLayerConfig(features=4, kernel=2, padding=0),
    )
    net = FirstSpikeNetwork.create(config, classes=(0,), seed=0)
    net = replace(net, weights_1=np.ones((2, 1, 3, 3), np.float32), weights_2=np.full((3, 2, 1, 1), 6, np.float32))
    image = np.zeros((2, 8, 8), np.uint8)
    image[0, 2, 2] = 255
    assert (net.encode(image)[0] < 1).sum() == 1
    counts = net.count_spikes(image)  # the second image is blank: every mean is half of the first's
    # the spike reaches 3 x 3 places of 2 features, which fire: places 1..3, so pooled windows 0 and 1 of either axis;
    # these 2 x 4 spikes reach 1 place each of 3 features; all four windows' 3 features fire and pool into one place,
    # which no 2 x 2 window but the only one covers
    assert counts.spikes == (1 / 2, 2 * 9 / 2, 3 * 4 / 2)
    assert counts.operations == (2 * 9 / 2, 3 * 8 / 2, 4 * 3 * 1 / 2)
    assert counts.total_operations() == 9 + 12 + 6
    assert counts.total_operations(2.5) == 9 + 12 + 15
    with pytest.raises(InputError, match="no images"):
        net.count_spikes(image[:0])


def counted_one_by_one(net, images):
    """Operations of the network's three layers by adding every weight of every window by itself."""
    done = [0, 0, 0]
    one, two, decision = net.config.layer_1, net.config.layer_2, net.config.decision
    waves = net.encode(images, backend="reference") < net.config.coding.total_bins
    for spiked in waves:
        for n, (layer, weights) in enumerate(
            ((one, net.weights_1), (two, net.weights_2), (decision, net.unit_weights))
        ):
            padded = np.pad(spiked, ((0, 0), (layer.padding, layer.padding), (layer.padding, layer.padding)))
            for row in range(padded.shape[1] - layer.kernel + 1):
                for column in range(padded.shape[2] - layer.kernel + 1):
                    window = padded[:, row : row + layer.kernel, column : column + layer.kernel]
                    done[n] += len(weights) * int(window.sum())
            if n < 2:
                spiked = convolution.spikes(
                    spiked[None], weights, padding=layer.padding, threshold=layer.threshold, pool=layer.pool,
                    backend="reference",
                )[0]  # fmt: skip
    return tuple(count / len(images) for count in done)


def test_counts_equal_those_of_the_reference_and_of_every_addition_one_by_one(network, images):
    counts = network.count_spikes(images)
    assert counts == network.count_spikes(images, backend="reference")
    assert counts.operations == counted_one_by_one(network, images)
    assert min(counts.spikes) > 0
    bins = network.encode(images)
    assert counts.spikes[0] == (bins < 15).sum() / len(images)


def test_a_checkpoint_gives_back_the_same_network(network, images, tmp_path):
    network.save(tmp_path / "net.safetensors")
    loaded = FirstSpikeNetwork.load(tmp_path / "net.safetensors")
    assert loaded.config == network.config
    for name, array in network.state_dict().items():
        assert np.array_equal(loaded.state_dict()[name], array)
        assert loaded.state_dict()[name].dtype == array.dtype
    assert loaded.features_digest == network.features_digest
    assert np.array_equal(loaded.class_scores(images), network.class_scores(images))


def test_a_flipped_byte_is_damage(network, tmp_path):
    path = tmp_path / "net.safetensors"
    network.save(path)
    content = path.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    for at in (header, (header + len(content)) // 2, len(content) - 1):
        flipped = bytearray(content)
        flipped[at] ^= 0x01
        path.write_bytes(flipped)
        with pytest.raises(InputError, match="is damaged: its content does not match the SHA-256"):
            FirstSpikeNetwork.load(path)


def test_a_flipped_byte_in_the_header_is_refused(network, tmp_path):
    path = tmp_path / "net.safetensors"
    network.save(path)
    content = path.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    for at in range(0, header, 7):
        flipped = bytearray(content)
        flipped[at] ^= 0x01
        path.write_bytes(flipped)
        with pytest.raises(InputError, match=r"damaged|broken"):
            FirstSpikeNetwork.load(path)


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_a_truncated_checkpoint_is_broken(network, tmp_path, keep):
    path = tmp_path / "net.safetensors"
    network.save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match="is broken"):
        FirstSpikeNetwork.load(path)


def test_a_missing_checkpoint_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot read checkpoint"):
        FirstSpikeNetwork.load(tmp_path / "none.safetensors")


def test_another_format_is_refused(network, tmp_path):
    path = tmp_path / "net.safetensors"
    save_tensors(path, network.state_dict(), metadata(network, "other network 9"))
    with pytest.raises(InputError, match=f"holds 'other network 9'; expected '{FORMAT}'"):
        FirstSpikeNetwork.load(path)
    save_tensors(path, network.state_dict(), {})
    with pytest.raises(InputError, match="holds 'no format'"):
        FirstSpikeNetwork.load(path)


def test_missing_arrays_and_configurations_are_refused(network, tmp_path):
    path = tmp_path / "net.safetensors"
    arrays = network.state_dict()
    save_tensors(path, arrays, {"format": FORMAT})
    with pytest.raises(InputError, match="does not describe a first-spike network"):
        FirstSpikeNetwork.load(path)
    del arrays["weights_2"]
    save_tensors(path, arrays, metadata(network))
    with pytest.raises(InputError, match="weights_2"):
        FirstSpikeNetwork.load(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_refused(network, tmp_path, value):
    weights = network.unit_weights.copy()
    weights[1, 2, 0, 0] = value
    replace(network, unit_weights=weights).save(tmp_path / "net.safetensors")
    with pytest.raises(InputError, match="unit_weights holds NaN or infinite"):
        FirstSpikeNetwork.load(tmp_path / "net.safetensors")


@pytest.mark.parametrize(
    ("name", "kind", "says"),
    [
        ("weights_2", np.float64, "weights_2 is of type float64; expected float32"),
        ("unit_gains", np.float16, "unit_gains is of type float16; expected float32"),
        ("unit_classes", np.int32, "unit_classes is of type int32; expected int64"),
    ],
)
def test_types_other_than_float32_and_int64_are_refused(network, tmp_path, name, kind, says):
    replace(network, **{name: getattr(network, name).astype(kind)}).save(tmp_path / "net.safetensors")
    with pytest.raises(InputError, match=says):
        FirstSpikeNetwork.load(tmp_path / "net.safetensors")


def test_a_negative_class_is_refused(network, tmp_path):
    replace(network, unit_classes=np.array([3, 3, -1, 7])).save(tmp_path / "net.safetensors")
    with pytest.raises(InputError, match="unit_classes holds -1"):
        FirstSpikeNetwork.load(tmp_path / "net.safetensors")


def test_a_configuration_of_another_form_is_refused(network, tmp_path):
    config = {**asdict(network.config), "coding": "none"}
    save_tensors(tmp_path / "net", network.state_dict(), {"format": FORMAT, "config": json.dumps(config)})
    with pytest.raises(InputError, match="does not describe a first-spike network"):
        FirstSpikeNetwork.load(tmp_path / "net")


def test_shapes_other_than_the_configurations_are_refused(network, tmp_path):
    replace(network, weights_1=network.weights_1[:, :5]).save(tmp_path / "net.safetensors")
    with pytest.raises(InputError, match=r"weights_1 has shape \(4, 5, 3, 3\).*\(4, 6, 3, 3\)"):
        FirstSpikeNetwork.load(tmp_path / "net.safetensors")


def test_a_blank_image_is_silent_and_others_get_the_class_of_the_strongest_unit(network, images):
    weights = np.full((4, 5, 3, 3), 0.3, np.float32)
    weights[2] = 0.6
    classes = np.array([3, 3, 7, 7])
    mixed = np.concatenate([images[:2], np.zeros((1, 16, 16), np.uint8)])
    assert network.with_units(weights, classes).predict(mixed).tolist() == [7, 7, -1]
    # the unit of class 7 loses to the others where its gain is small, and silence stays silence
    gains = np.array([1, 1, 0.1, 1], np.float32)
    scaled = network.with_units(weights, classes, gains, np.full(4, 0.1, np.float32))
    assert scaled.predict(mixed).tolist() == [3, 3, -1]
    scores = scaled.class_scores(mixed)
    assert scores.shape == (3, 2)
    assert scores[2].tolist() == [0, 0]


@pytest.mark.parametrize(
    "bad",
    [np.full((2, 16, 16), 0.5), np.full((2, 16, 16), 256), np.zeros((16, 16), np.uint8),
     np.zeros((2, 3, 16, 16), np.uint8)],
)  # fmt: skip
def test_images_of_another_type_or_shape_are_refused(network, bad):
    with pytest.raises(InputError, match=r"expected \(images, rows, columns\) of uint8"):
        network.predict(bad)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lower": 0.9}, "must be below upper"),
        ({"kernel": 0}, "network.decision.kernel is 0; it must be positive"),
        ({"padding": -1}, "network.decision.padding is -1; it must be zero or more"),
        ({"upper": float("nan")}, "network.decision.upper is nan"),
    ],
)
def test_impossible_settings_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        replace(CONFIG, decision=replace(CONFIG.decision, **change))


def test_stdp_rates_double_at_the_500th_image_up_to_the_limit():
    ltp, ltd = StdpConfig().rates(0, 4000)
    assert ltp.dtype == ltd.dtype == np.float32
    np.testing.assert_allclose(ltp[[0, 498, 499, 998, 999, 2498]], [0.004, 0.004, 0.008, 0.008, 0.016, 0.064])
    np.testing.assert_allclose(ltp[[2499, 2998, 2999, 3999]], [0.128, 0.128, 0.15, 0.15])
    np.testing.assert_allclose(ltd[:499], -0.003)
    np.testing.assert_allclose(ltd[499:], -0.75 * ltp[499:], rtol=1e-6)


def test_the_depression_ratio_holds_from_the_first_doubling_on():
    ltp, ltd = StdpConfig(ltd=-0.001, ltd_ratio=-0.5, double_every=2, ltp_limit=0.01).rates(0, 5)
    np.testing.assert_allclose(ltp, [0.004, 0.008, 0.008, 0.01, 0.01])
    np.testing.assert_allclose(ltd, [-0.001, -0.004, -0.004, -0.005, -0.005])


def test_stdp_rates_go_on_where_they_stopped():
    every = StdpConfig().rates(0, 1200)
    for whole, part in zip(every, StdpConfig().rates(490, 700), strict=True):
        assert np.array_equal(whole[490:1190], part)
    ltp, ltd = StdpConfig().rates(10**9, 2)
    np.testing.assert_allclose(ltp, 0.15)
    np.testing.assert_allclose(ltd, -0.1125)


@pytest.mark.parametrize("wrong", [{"double_every": 0}, {"ltp": 0.2}, {"ltp": 0.0}, {"ltd": 0.1}, {"ltd_ratio": 1.0}])
def test_impossible_stdp_rates_are_refused(wrong):
    with pytest.raises(InputError, match="stdp"):
        StdpConfig(**wrong)


def test_reward_rates_shrink_with_success_and_punishments_grow():
    rates = RewardStdpConfig().adapt(right=0.75, wrong=0.2)
    np.testing.assert_allclose(rates.reward, [0.0008, -0.0006])
    np.testing.assert_allclose(rates.punish, [-0.003, 0.000375])
    rates = RewardStdpConfig(adaptive_scale=0.5).adapt(right=0.75, wrong=0.2)
    np.testing.assert_allclose(rates.reward, [0.0004, -0.0003])
    np.testing.assert_allclose(rates.punish, [-0.0015, 0.0001875])
    base = RewardStdpConfig().base()
    assert base.reward == (0.004, -0.003)
    assert base.punish == (-0.004, 0.0005)


def test_an_outcome_counts_silence_apart():
    outcome = Outcome.of(np.array([1, 2, -1, 3]), np.array([1, 1, 1, 3]))
    assert (outcome.right, outcome.wrong, outcome.silent) == (0.5, 0.25, 0.25)


def test_learning_changes_only_its_own_layer_and_not_the_network_it_starts_from(network, images):
    order = np.arange(len(images))
    before = {name: array.copy() for name, array in network.state_dict().items()}
    bins = network.encode(images)
    learned, winners = learn_layer(network, 1, bins, order, StdpConfig())
    assert 0 < winners <= 2
    features = network.features(bins)
    labels = np.array([3, 7] * 3)
    decided, outcome = learn_epoch(network, features, labels, order, RewardStdpConfig().base())
    assert outcome.silent == 0
    assert outcome.right + outcome.wrong == pytest.approx(1)
    for name, array in before.items():
        same, first, last = (np.array_equal(each.state_dict()[name], array) for each in (network, learned, decided))
        assert same
        assert first == (name not in ("weights_1", "images_seen"))
        assert last == (name not in ("unit_weights", "unit_wins", "images_seen"))
