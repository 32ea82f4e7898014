"""Learning of templates: rewarded STDP with soft bounds."""

import numpy as np
import pytest

from spikelore.errors import InputError
from spikelore.kernels import template_stdp
from spikelore.kernels.reward_stdp import SpikeLists

BACKENDS = ("reference", "numba_cpu")


def patches(rng, images=60, channels=3, side=4):
    """Images of two classes: class 0 lights the left half more, class 1 the right half."""
    labels = rng.integers(0, 2, images)
    chance = np.where(np.arange(side) < side // 2, 0.8, 0.2)
    chance = np.where(labels[:, None] == 0, chance, 1 - chance)[:, None, None, :]
    return SpikeLists.from_spikes(rng.random((images, channels, side, side)) < chance), labels


@pytest.mark.parametrize("backend", BACKENDS)
def test_weights_become_the_mean_of_the_inputs_a_unit_is_rewarded_for(backend):
    rng = np.random.default_rng(0)
    spikes, labels = patches(rng)
    weights = rng.random((2, 3, 4, 4), np.float32)
    result = template_stdp.train(
        spikes, np.arange(60), labels, weights, np.array([0, 1]), padding=0, rate=None, margin=None, backend=backend
    )
    for unit in (0, 1):
        mean = np.mean([spikes.spikes(n) for n in np.flatnonzero(labels == unit)], axis=0)
        np.testing.assert_allclose(result.weights[unit], mean, atol=1e-6)
        assert result.rewarded[unit] == (labels == unit).sum()


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_image_by_hand(backend):
    spiked = np.zeros((1, 2, 1, 1), bool)
    spiked[0, 0] = True
    weights = np.array([[0.4, 0.6], [0.9, 0.1]], np.float32).reshape(2, 2, 1, 1)
    result = template_stdp.train(
        SpikeLists.from_spikes(spiked), np.array([0]), np.array([0]), weights, np.array([0, 1]), padding=0,
        rate=0.5, margin=0.0, backend=backend,
    )  # fmt: skip
    # unit 1 of the wrong class is best: it moves away; unit 0 moves halfway to (1, 0)
    np.testing.assert_allclose(result.weights.reshape(2, 2), [[0.7, 0.3], [0.85, 0.15]], atol=1e-6)
    assert result.right == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_image_that_only_warns_rewards_no_unit(backend):
    spikes = SpikeLists.from_spikes(np.array([[1, 0, 0], [0, 1, 1]], np.bool_).reshape(2, 3, 1, 1))
    weights = np.array([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25]], np.float32).reshape(2, 3, 1, 1)
    result = template_stdp.train(
        spikes, np.array([0, 1]), np.array([0, 0]), weights, np.array([0, 1]), padding=0, rate=0.5, margin=2.0,
        warning=np.array([True, True]), batch=1, backend=backend,
    )  # fmt: skip
    np.testing.assert_array_equal(result.weights[0], weights[0])
    assert result.rewarded.tolist() == [0, 0]
    # away from 1 0 0, then from 0 1 1, half the way each
    np.testing.assert_allclose(result.weights[1].ravel(), [0.375, 0.0625, 0.0625], atol=1e-6)


def test_margin_leaves_clear_images_alone():
    rng = np.random.default_rng(1)
    spikes, labels = patches(rng)
    templates = np.stack([np.mean([spikes.spikes(n) for n in np.flatnonzero(labels == c)], axis=0) for c in (0, 1)])
    templates = templates.astype(np.float32)
    result = template_stdp.train(
        spikes, np.arange(60), labels, templates, np.array([0, 1]), padding=0, rate=0.1, margin=-1.0
    )
    np.testing.assert_array_equal(result.weights, templates)
    assert result.rewarded.sum() == 0
    assert result.right > 0.9


@pytest.mark.parametrize(("rate", "margin"), [(None, None), (0.05, 0.1)])
def test_backends_agree(rate, margin):
    rng = np.random.default_rng(2)
    spikes, labels = patches(rng, images=150, channels=5)
    weights = rng.random((6, 5, 3, 3), np.float32)
    classes = np.array([0, 0, 0, 1, 1, 1])
    plasticity = np.array([1, 0.5, 0, 1, 1, 0.2], np.float32)
    results = [
        template_stdp.train(
            spikes, np.arange(150), labels, weights, classes, padding=1, rate=rate,
            margin=margin, ranks=np.array([0, 1, 2, 0, 1, 2]), limits=np.arange(150) % 3 + 1, plasticity=plasticity,
            backend=backend,
        )
        for backend in BACKENDS
    ]  # fmt: skip
    np.testing.assert_allclose(results[0].weights, results[1].weights, atol=1e-5)
    np.testing.assert_array_equal(results[0].rewarded, results[1].rewarded)
    assert results[0].right == results[1].right
    assert results[0].rewarded.sum() > 0
    np.testing.assert_array_equal(results[0].weights[2], weights[2])  # protected


def test_limits_keep_later_units_out():
    rng = np.random.default_rng(3)
    spikes, labels = patches(rng)
    weights = rng.random((4, 3, 4, 4), np.float32)
    result = template_stdp.train(
        spikes, np.arange(60), labels, weights, np.array([0, 0, 1, 1]), padding=0, rate=None, margin=None,
        ranks=np.array([0, 1, 0, 1]), limits=np.ones(60, np.int64),
    )  # fmt: skip
    np.testing.assert_array_equal(result.weights[[1, 3]], weights[[1, 3]])
    assert (result.rewarded[[0, 2]] > 0).all()


def test_a_network_of_one_class_learns():
    rng = np.random.default_rng(5)
    spikes, labels = patches(rng)
    weights = rng.random((1, 3, 4, 4), np.float32)
    result = template_stdp.train(
        spikes, np.arange(60), np.zeros_like(labels), weights, np.array([0]), padding=0, rate=None, margin=None
    )
    mean = np.mean([spikes.spikes(n) for n in range(60)], axis=0)
    np.testing.assert_allclose(result.weights[0], mean, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"labels": np.array([0, 7])}, "label 7"),
        ({"margin": 0.1}, "without a rate"),
        ({"limits": np.ones(2, np.int64)}, "without ranks"),
    ],
)
def test_what_cannot_be_learned_is_refused(changes, says):
    rng = np.random.default_rng(4)
    spikes, _ = patches(rng, images=2)
    arguments = {
        "labels": np.zeros(2, np.int64), "weights": rng.random((1, 3, 4, 4), np.float32), "unit_classes": np.array([0]),
        "padding": 0, "rate": None, "margin": None,
    }  # fmt: skip
    with pytest.raises(InputError, match=says):
        template_stdp.train(spikes, np.arange(2), **(arguments | changes))
