"""Every layout, type and range of images and labels gives what the contiguous uint8 array gives, or one sentence."""

from pathlib import Path

import numpy as np
import pytest
import torch

from spikelore.coding.rank_order import encode
from spikelore.data import Examples, load
from spikelore.data.streams import split_tasks
from spikelore.errors import InputError
from spikelore.learning.reward_stdp import RewardStdpConfig, learn_epoch
from spikelore.learning.stdp import StdpConfig, learn_layer
from spikelore.learning.template_stdp import consolidate
from spikelore.networks.first_spike import DecisionLayerConfig, FirstSpikeConfig, FirstSpikeNetwork
from spikelore.networks.rate_lif import RateLIFConfig, RateLIFNetwork
from spikelore.shapes import as_images, as_labels

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (6, 5, 4), np.uint8)
IMAGES.setflags(write=False)


def read_only(x):
    x = x.copy()
    x.setflags(write=False)
    return x


def memory_mapped(x, folder: Path):
    np.save(folder / "x.npy", x)
    return np.load(folder / "x.npy", mmap_mode="r")


LAYOUTS = {
    "as it is": lambda x, _: x.copy(),
    "Fortran order": lambda x, _: np.asfortranarray(x),
    "negative strides": lambda x, _: x[::-1, ::-1, ::-1].copy()[::-1, ::-1, ::-1],
    "every second of more": lambda x, _: np.repeat(np.repeat(x, 2, axis=0), 2, axis=2)[::2, :, ::2],
    "axes exchanged": lambda x, _: x.transpose(2, 1, 0).copy().transpose(2, 1, 0),
    "read-only": lambda x, _: read_only(x),
    "memory-mapped": memory_mapped,
    "one channel first": lambda x, _: x[:, None],
    "one channel last": lambda x, _: x[..., None],
    "int64": lambda x, _: x.astype(np.int64),
    "big-endian": lambda x, _: x.astype(">i2"),
    "whole floats": lambda x, _: x.astype(np.float32),
    "half floats": lambda x, _: x.astype(np.float16),
    "tensor": lambda x, _: torch.from_numpy(x.copy()),
    "list": lambda x, _: x.tolist(),
    "masked, nothing hidden": lambda x, _: np.ma.masked_array(x.copy()),
}
"""Name to what makes a layout from contiguous uint8 images and a folder."""


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_without_loss_is_the_same_images(layout: str, tmp_path: Path):
    found = as_images(LAYOUTS[layout](IMAGES, tmp_path))
    assert type(found) is np.ndarray
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, IMAGES)


def test_what_is_right_already_is_not_copied():
    assert np.shares_memory(as_images(IMAGES), IMAGES)
    labels = np.arange(3)
    assert np.shares_memory(as_labels(labels), labels)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (
            IMAGES / IMAGES.max(),
            r"images are float64 from 0 to 1, expected .*\(x \* 255\).round\(\).astype\(np.uint8\)",
        ),
        (torch.rand(2, 3, 3), r"\(x \* 255\).round\(\)"),
        (IMAGES > 9, r"images are bool.*\(x \* 255\).astype\(np.uint8\)"),
        (np.array([[[0, 300]]]), "images are int64 from 0 to 300, expected .images, rows, columns. of uint8"),
        (IMAGES.astype(np.int16) - 9, "images are int16 from -"),
        (IMAGES + 0.5, r"not whole numbers.*x.round\(\).astype\(np.uint8\)"),
        (np.full((1, 2, 2), np.nan), "from nan to nan"),
        (IMAGES[0], r"images are uint8 of shape \(5, 4\).*x\[None\]"),
        (IMAGES[0].view(np.matrix), r"shape \(5, 4\)"),
        (np.zeros((2, 3, 4, 4), np.uint8), r"shape \(2, 3, 4, 4\).*make colours grey"),
        (np.zeros(4, np.uint8), r"shape \(4,\)"),
        (np.ma.masked_equal(IMAGES, IMAGES[0, 0, 0]), "masked"),
        ([[[1, 2], [3]]], "images are no array"),
        (np.array([[["a"]]]), "images are <U1, expected"),
        (None, "images are object of shape"),
        (torch.ones(1, 2, 2, requires_grad=True), "images are no array"),
    ],
)
def test_what_would_lose_something_is_refused_in_a_sentence(values, says: str):
    with pytest.raises(InputError, match=says) as caught:
        as_images(values)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "labels",
    [
        [3, 0, 2147483600],
        (3, 0, 2147483600),
        np.array([3.0, 0.0, 2147483600.0]),
        np.array([3, 0, 2147483600], np.uint32),
        np.array([3, 0, 2147483600], ">i4"),
        np.array([3, 0, 2147483600], object),
        np.array([[3], [0], [2147483600]]),
        np.array([3, 9, 0, 9, 2147483600])[::2],
        torch.tensor([3, 0, 2147483600]),
    ],
)
def test_labels_of_every_kind_are_the_same(labels):
    found = as_labels(labels, 3)
    assert found.dtype == np.int64
    assert found.tolist() == [3, 0, 2147483600]


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ([1.5, 2], "labels hold 1.5, expected whole numbers"),
        ([np.nan, 2], "labels hold nan"),
        (np.array([2**63, 1], np.uint64), "labels hold 9223372036854775808, expected whole numbers below"),
        ([1e30, 1], "labels hold 1e"),
        ([-1, 2], "label -1 is negative, expected 0 or more"),
        (["cat", "dog"], "such as .*'cat'.*number the classes"),
        (np.array(["cat", None], object), "labels are object, such as 'cat'"),
        (np.eye(2, dtype=int), r"one-hot rows become labels with x.argmax\(axis=1\)"),
        (np.ones((2, 2)), r"of shape \(2, 2\).*one whole number an image"),
        ([1, 2, 3], r"labels have shape \(3,\), expected \(2,\)"),
        (3, r"of shape \(\)"),
    ],
)
def test_labels_that_are_none_are_refused_in_a_sentence(labels, says: str):
    with pytest.raises(InputError, match=says):
        as_labels(labels, 2)


def test_a_silent_decision_is_allowed_where_it_is_said():
    assert as_labels([-1, 2], least=-1).tolist() == [-1, 2]
    assert as_labels([], 0).dtype == np.int64


DIGITS = load("digits-sample")
SHOWN = DIGITS.train.take(np.arange(0, 4000, 500))
DECISION = DecisionLayerConfig(features=20)
FIRST_SPIKE = FirstSpikeNetwork.create(FirstSpikeConfig(decision=DECISION), tuple(range(10)), seed=0)
FEW = (IMAGES * (RNG.random(IMAGES.shape) < 0.5)).astype(np.uint8)
LIF = RateLIFConfig(
    classes=(1, 2), height=5, width=4, neurons_per_class=3, dt_ms=0.5, rate_hz_per_level=2.0, weight_max=0.5
)


def answers_of_first_spike(images) -> list[np.ndarray]:
    counts, used = FIRST_SPIKE.count_spikes(images), FIRST_SPIKE.copy()
    used.use_(images)
    return [
        FIRST_SPIKE.encode(images),
        FIRST_SPIKE.predict(images),
        FIRST_SPIKE.class_scores(images),
        np.array([counts.spikes, counts.operations]),
        used.synapses()["layer 2"].last_presynaptic_spike_ms,
    ]


def answers_of_lif(images) -> list[np.ndarray]:
    network = RateLIFNetwork(LIF, seed=0)
    spikes = network.train(images, [1, 2, 1, 2, 1, 2])  # pyright: ignore[reportArgumentType]
    first = images[0] if not hasattr(images, "ndim") or images.ndim == 3 else images[0].reshape(5, 4)
    return [
        spikes,
        network.weights,
        network.count_spikes(images),
        network.predict(images),
        network.class_scores(images),
        network.synaptic_operations(images),
        network.record(first).exc_potential_mv,
    ]


@pytest.mark.parametrize("answers", [answers_of_first_spike, answers_of_lif])
def test_networks_answer_every_layout_alike_and_leave_it_as_it_was(answers, tmp_path: Path):
    images = SHOWN.inputs if answers is answers_of_first_spike else FEW
    expected = answers(images.copy())
    assert all(each.any() for each in expected)
    for name, make in LAYOUTS.items():
        given = make(images, tmp_path)
        before = np.asarray(given).copy()
        for found, right in zip(answers(given), expected, strict=True):
            np.testing.assert_array_equal(found, right, err_msg=name)
        np.testing.assert_array_equal(np.asarray(given), before, err_msg=name)


def test_learning_takes_labels_of_every_kind(tmp_path: Path):
    features = FIRST_SPIKE.features(FIRST_SPIKE.encode(SHOWN.inputs))
    order = np.arange(len(SHOWN))

    def learned(labels) -> list[np.ndarray]:
        rewarded, _ = learn_epoch(FIRST_SPIKE, features, labels, order, RewardStdpConfig().base())
        return [rewarded.unit_weights, consolidate(rewarded, features, labels).unit_weights]

    expected = learned(SHOWN.labels)
    for labels in (SHOWN.labels.astype(np.float64)[:, None], SHOWN.labels.tolist(), SHOWN.labels.astype(np.uint8)):
        for found, right in zip(learned(labels), expected, strict=True):
            np.testing.assert_array_equal(found, right)
    with pytest.raises(InputError, match="expected \\(8,\\)"):
        learned(SHOWN.labels[:5])
    with pytest.raises(InputError, match="label 77 is none of the network's classes"):
        consolidate(FIRST_SPIKE, features, [77] * 8)  # pyright: ignore[reportArgumentType]


def test_images_of_zero_count_are_refused_where_nothing_can_be_answered():
    none = SHOWN.inputs[:0]
    assert encode(none, FIRST_SPIKE.config.coding).shape == (0, 6, 28, 28)
    for ask in (FIRST_SPIKE.predict, FIRST_SPIKE.class_scores, FIRST_SPIKE.count_spikes):
        with pytest.raises(InputError, match="there are no images to"):
            ask(none)
    with pytest.raises(InputError, match="there are no images to show"):
        RateLIFNetwork(LIF, seed=0).predict(FEW[:0])


def test_labelled_images_are_kept_as_uint8_and_int64():
    found = Examples(IMAGES.astype(np.int32)[:, None], [[0.0], [1], [2], [0], [1], [2]])  # pyright: ignore
    assert (found.inputs.dtype, found.labels.dtype, found.inputs.shape) == (np.uint8, np.int64, IMAGES.shape)
    with pytest.raises(InputError, match="5 labels for 6 images"):
        Examples(IMAGES, np.zeros(5, int))


def test_classes_may_be_any_array_and_are_plain_numbers_in_a_checkpoint(tmp_path: Path):
    classes = np.array([4.0, 7.0])
    RateLIFNetwork(RateLIFConfig.published(classes), seed=0).save(tmp_path / "lif")  # pyright: ignore[reportArgumentType]
    assert RateLIFNetwork.load(tmp_path / "lif").config.classes == (4, 7)
    network = FirstSpikeNetwork.create(FirstSpikeConfig(), classes, seed=0)  # pyright: ignore[reportArgumentType]
    network.save(tmp_path / "first")
    assert FirstSpikeNetwork.load(tmp_path / "first").classes == (4, 7)
    tasks = split_tasks(DIGITS, classes.astype(int).reshape(2, 1))  # pyright: ignore[reportArgumentType]
    assert [task.classes for task in tasks] == [(4,), (7,)]
    with pytest.raises(InputError, match=r"classes hold 0.5"):
        RateLIFConfig(classes=(0.5, 1))  # pyright: ignore[reportArgumentType]


def test_waves_of_every_layout_and_no_others(tmp_path: Path):
    bins = FIRST_SPIKE.encode(SHOWN.inputs)
    pooled = FIRST_SPIKE.layer_1_bins(bins)
    order = np.arange(len(bins))
    learned, _ = learn_layer(FIRST_SPIKE, 1, bins, order, StdpConfig())
    for layout in ("Fortran order", "negative strides", "read-only", "memory-mapped"):
        given = LAYOUTS[layout](bins, tmp_path)
        np.testing.assert_array_equal(FIRST_SPIKE.layer_1_bins(given), pooled)
        np.testing.assert_array_equal(FIRST_SPIKE.features(given).channels, FIRST_SPIKE.features(bins).channels)
        np.testing.assert_array_equal(
            learn_layer(FIRST_SPIKE, 1, given, order, StdpConfig())[0].weights_1, learned.weights_1
        )
    for wrong in (bins[:0], bins[0], bins.astype(np.int64), bins[:, :3]):
        for ask in (FIRST_SPIKE.layer_1_bins, FIRST_SPIKE.features):
            with pytest.raises(
                InputError, match=r"bins are int.* of shape .*, expected int8 of shape .images, 6, rows"
            ):
                ask(wrong)
    with pytest.raises(InputError, match=r"expected int8 of shape .images, 30, rows, columns."):
        learn_layer(FIRST_SPIKE, 2, bins, order, StdpConfig())
