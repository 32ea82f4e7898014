"""Nearest prototypes, discriminants and subspaces: against closed forms, in any order, whole in their state."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import multivariate_normal

import spikelore as sl
from spikelore.continual.methods.prototypes import Discriminant, Prototypes, Subspaces
from spikelore.errors import InputError

SHRINKAGE = 1e-3


def counted(seed=0, inputs=300, size=12, classes=(7, 2, 5)):
    """Spike counts of three classes whose neurons spike together."""
    rates = np.random.default_rng(9).uniform(0, 4, (len(classes), size))
    rng = np.random.default_rng(seed)
    labels = np.resize(classes, inputs)
    common = rng.poisson(2, (inputs, 1)) * (np.arange(size) % 2)
    features = rng.poisson(rates[np.arange(inputs) % len(classes)]) + common
    return features.astype(np.float64), labels


def fed(kind, features, labels, cuts):
    found = kind()
    for start, stop in pairwise(cuts):
        found.learn(features[start:stop], labels[start:stop])
    return found


def plain():
    return Prototypes(12)


def shared():
    return Discriminant(12, SHRINKAGE)


def hebbian():
    return Subspaces(12, 3)


def test_prototypes_are_the_nearest_means():
    features, labels = counted()
    found = fed(plain, features, labels, (0, 1, 70, 300))
    asked, _ = counted(1)
    means = np.stack([features[labels == label].mean(0) for label in (7, 2, 5)])
    distances = ((asked[:, None] - means) ** 2).sum(2)
    nearest = np.array([7, 2, 5])[distances.argmin(1)]
    assert len(set(nearest.tolist())) == 3
    np.testing.assert_array_equal(found.decide(asked, (2, 5, 7)), nearest)
    weights, biases = found.weights()
    order = [found.labels.tolist().index(label) for label in (7, 2, 5)]
    np.testing.assert_allclose((asked @ weights.T + biases)[:, order], (asked**2).sum(1)[:, None] - distances)


def test_the_stream_gives_the_discriminant_of_all_data_at_once():
    """Against SciPy's normal densities of equal covariance, whose largest is the class, and NumPy's covariance."""
    features, labels = counted()
    found = fed(shared, features, labels, (0, 1, 70, 300))
    centred = features.copy()
    for label in (7, 2, 5):
        centred[labels == label] -= features[labels == label].mean(0)
    pooled = np.cov(centred.T, bias=True)
    np.testing.assert_allclose(found.covariance(), pooled, atol=1e-10)
    shrunk = (1 - SHRINKAGE) * pooled + SHRINKAGE * np.eye(12)
    asked, truth = counted(1)
    densities = [multivariate_normal(features[labels == label].mean(0), shrunk).logpdf(asked) for label in (7, 2, 5)]
    best = np.array([7, 2, 5])[np.argmax(densities, 0)]
    np.testing.assert_array_equal(found.decide(asked, (2, 5, 7)), best)
    assert (best == labels).mean() > (fed(plain, features, labels, (0, 300)).decide(asked, (2, 5, 7)) == truth).mean()


@pytest.mark.parametrize("kind", [plain, shared])
def test_any_order_and_any_batches_give_the_same_bits(kind):
    features, labels = counted()
    whole = fed(kind, features, labels, (0, 300))
    by_class = np.argsort(labels, kind="stable")
    asked, _ = counted(1)
    for order in (by_class, by_class[::-1], np.random.default_rng(3).permutation(300)):
        other = fed(kind, features[order], labels[order], (0, 3, 50, 51, 300))
        for name, array in whole.arrays().items():
            assert np.array_equal(other.arrays()[name], array), name
        for one, another in zip(whole.weights(), other.weights(), strict=True):
            assert np.array_equal(one, another)
        np.testing.assert_array_equal(other.decide(asked, (2, 5, 7)), whole.decide(asked, (2, 5, 7)))


def in_every_order_of_classes(labels):
    """Return orders in which each class's inputs stand in their own."""
    by_class = np.argsort(labels, kind="stable")
    yield by_class
    yield np.concatenate([by_class[labels[by_class] == label] for label in (7, 2, 5)])


@pytest.mark.parametrize("cuts", [(0, 300), (0, 3, 50, 51, 300), range(301)])
def test_no_order_of_classes_and_no_cut_changes_a_bit_of_the_subspaces(cuts):
    features, labels = counted()
    whole = fed(hebbian, features, labels, (0, 300))
    for order in in_every_order_of_classes(labels):
        other = fed(hebbian, features[order], labels[order], cuts)
        for name, array in whole.arrays().items():
            assert np.array_equal(other.arrays()[name], array), name


def equations(inputs, units):
    """Return the vectors of one class's units after these inputs, word for word and in double precision."""
    vectors = np.zeros((units, inputs.shape[1]))
    for n in range(1, len(inputs) + 1):
        r = inputs[n - 1] - inputs[:n].mean(0)
        for k in range(min(units, n - 1)):
            v = vectors[k].copy()
            if not v.any():
                vectors[k] = r
                break
            y = r @ v / np.linalg.norm(v)
            vectors[k] = v + (y * r - v) / (n - 1 - k)
            r = r - y * v / np.linalg.norm(v)
    return vectors


def test_units_learn_as_the_equations_say_and_the_nearest_subspace_decides():
    features, labels = counted()
    found = fed(hebbian, features, labels, (0, 1, 70, 300))
    asked, _ = counted(1)
    left = np.empty((300, 3))
    for place, label in enumerate((2, 5, 7)):
        own = features[labels == label]
        expected = equations(own, 3)
        assert np.linalg.norm(expected, axis=1).min() > 1
        np.testing.assert_allclose(found.vectors[place], expected, rtol=1e-3, atol=1e-3)
        centred = (asked - own.mean(0)).T
        fit = np.linalg.lstsq(expected.T, centred, rcond=None)[0]
        left[:, place] = ((centred - expected.T @ fit) ** 2).sum(0)
    known = np.array([True, False, True])
    scores = (asked**2).sum(1)[:, None] - left
    np.testing.assert_allclose(found.scores(asked, known), scores[:, known], rtol=1e-3)
    decided = found.decide(asked, (2, 5, 7))
    np.testing.assert_array_equal(decided, np.array([2, 5, 7])[left.argmin(1)])
    assert len(set(decided.tolist())) == 3


def test_units_become_the_principal_components():
    """Of spikes that follow three common causes, the third the weakest."""
    rng = np.random.default_rng(0)
    causes = np.linalg.qr(rng.normal(size=(20, 3)))[0] * [12, 8, 5]
    inputs = np.rint(20 + rng.normal(size=(2000, 3)) @ causes.T + rng.normal(size=(2000, 20)) / 2)
    found = Subspaces(20, 3)
    found.learn(inputs, np.zeros(2000, np.int64))
    variances, components = np.linalg.eigh(np.cov(inputs.T))
    lengths = np.linalg.norm(found.vectors[0], axis=1)
    cosines = (found.vectors[0] / lengths[:, None] * components.T[:-4:-1]).sum(1)
    assert np.abs(cosines).min() > 0.98
    np.testing.assert_allclose(lengths, variances[:-4:-1], rtol=0.1)


def test_classes_of_one_mean_are_told_apart_by_what_varies_in_them():
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 2
    causes = rng.normal(size=(2, 30)) * 3
    features = np.rint(20 + rng.normal(size=(400, 1)) * causes[labels] + rng.normal(size=(400, 30)) / 2)
    means, spaces = Prototypes(30), Subspaces(30, 1)
    for each in (means, spaces):
        each.learn(features[:200], labels[:200])
    right_of_means, right = ((each.decide(features[200:], (0, 1)) == labels[200:]).mean() for each in (means, spaces))
    assert right_of_means < 0.6
    assert right > 0.9


def test_few_and_equal_inputs_leave_units_without_a_vector():
    found = Subspaces(4, 3)
    found.learn(np.array([[1.0, 0, 0, 2]]), np.array([3]))
    found.learn(np.array([[0.0, 1, 0, 0]] * 5), np.array([8] * 5))
    assert not found.vectors.any()
    assert found.decide(np.array([[1.0, 0, 0, 1], [0, 2, 0, 0]]), (3, 8)).tolist() == [3, 8]
    found.learn(np.array([[3.0, 0, 0, 2], [1, 0, 0, 2]]), np.array([3, 3]))
    assert found.vectors.any(2).tolist() == [[True, False, False], [False, False, False]]
    assert np.isfinite(found.scores(np.eye(4), np.array([True, True]))).all()


@pytest.mark.parametrize("kind", [plain, shared, hebbian])
def test_it_decides_among_what_it_has_learned(kind):
    features, labels = counted()
    found = kind()
    assert found.decide(features[:4], (7, 2)).tolist() == [-1] * 4
    found.learn(features[labels == 7], labels[labels == 7])
    assert set(found.decide(features, (7, 2)).tolist()) == {7}
    assert set(found.decide(features, (2,)).tolist()) == {-1}
    found.learn(features[labels == 2], labels[labels == 2])
    assert set(found.decide(features, (7, 2)).tolist()) == {7, 2}
    assert set(found.decide(features, (2, 5)).tolist()) == {2}


def test_bytes_are_those_of_the_arrays():
    features, labels = counted()
    assert fed(plain, features, labels, (0, 300)).bytes == 3 * 8 + 3 * 8 + 3 * 12 * 8
    assert fed(shared, features, labels, (0, 300)).bytes == 3 * 8 + 3 * 8 + 3 * 12 * 8 + 12 * 12 * 8
    assert fed(hebbian, features, labels, (0, 300)).bytes == 3 * 8 + 3 * 8 + 3 * 12 * 8 + 3 * 3 * 12 * 4


STREAM = sl.split_stream("digits-sample", [(0, 1), (2, 3)])
FIELDS = ("inputs", "labels")
SMALL = {"channels": (4,), "pool": 4, "hidden": (16,), "split": 2}


@pytest.mark.parametrize("method", [sl.NearestPrototype, sl.StreamingDiscriminant])
def test_a_network_is_frozen_with_its_averaged_weights_after_so_many_images(method):
    network = sl.SurrogateNetwork.for_stream(STREAM, seed=0, **SMALL)
    learner = method(freeze_after=128, batch=32).start(network, seed=0, tasks=2)
    naive = sl.Naive().start(network.copy(), seed=0, tasks=2)
    train = STREAM.tasks[0].train
    for start in range(0, 128, 32):
        assert not learner.frozen
        assert learner.learn(train.inputs[start : start + 32], train.labels[start : start + 32], 0) > 0
        naive.learn(train.inputs[start : start + 32], train.labels[start : start + 32], 0)
    assert learner.frozen
    weights = {name: value.clone() for name, value in network.named_parameters()}
    assert all(bool((weights[name] == naive.averaged[name]).all()) for name in weights)
    assert learner.memory_bytes == learner.statistics.bytes
    before = learner.memory_bytes
    assert learner.learn(train.inputs[128:192], train.labels[128:192], 0) == 0
    assert learner.memory_bytes > before
    assert all(bool((weights[name] == value).all()) for name, value in network.named_parameters())
    assert learner.statistics.counts.sum() == 64


@pytest.mark.parametrize("method", [sl.NearestPrototype, sl.StreamingDiscriminant])
def test_the_order_of_the_stream_does_not_matter(method):
    """Of a network that is frozen from the start."""
    images, labels = (np.concatenate([getattr(task.train, name)[:60] for task in STREAM.tasks]) for name in FIELDS)
    states = []
    for order in (np.arange(120), np.arange(120)[::-1], np.random.default_rng(0).permutation(120)):
        learner = method().start(sl.SurrogateNetwork.for_stream(STREAM, seed=0, **SMALL), seed=0)
        for part in np.array_split(order, 7):
            learner.learn(images[part], labels[part], -1)
        with learner.asked():
            decided = learner.decide(STREAM.tasks[1].test.inputs, (0, 1, 2, 3))
        states.append((learner.statistics.arrays(), decided))
    assert len(set(states[0][1].tolist())) > 1
    for arrays, decided in states[1:]:
        assert all(np.array_equal(array, states[0][0][name]) for name, array in arrays.items())
        assert np.array_equal(decided, states[0][1])


@pytest.mark.learned
def test_it_tells_classes_of_different_tasks_apart(learned):
    for method, least in (
        (sl.NearestPrototype(), 0.82), (sl.StreamingDiscriminant(), 0.9), (sl.NearestSubspace(units=20), 0.9),
    ):  # fmt: skip
        network = sl.SurrogateNetwork.for_stream(STREAM, seed=0, channels=(8,), split=1, hidden=(16,))
        found = sl.run(STREAM, network, method, seed=0).average_accuracy
        learned(method.name, found, at_least=least)


def test_what_has_no_meaning_is_told():
    assert "spikes can be stored, which a rate-lif" in str(sl.why_not(sl.NearestPrototype(), sl.RateLIFNetwork))
    network = sl.FirstSpikeNetwork.for_stream(STREAM)
    assert "freeze_after of slda needs gradients" in str(sl.why_not(sl.StreamingDiscriminant(freeze_after=9), network))
    with pytest.raises(InputError, match="shrinkage is 0"):
        sl.StreamingDiscriminant(shrinkage=0)
    with pytest.raises(InputError, match="units is 0, expected a whole number of 1 or more"):
        sl.NearestSubspace(units=0)
    grey = sl.SurrogateNetwork.for_stream(STREAM, split=0)
    learner = sl.NearestPrototype().start(grey, seed=0)
    with pytest.raises(InputError, match="no whole numbers"):
        learner.learn(STREAM.tasks[0].train.inputs[:2], STREAM.tasks[0].train.labels[:2], 0)
