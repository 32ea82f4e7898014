"""Consolidation of a trained decision layer into ordered templates."""

from dataclasses import replace

import numpy as np
import pytest

from spikelore.continual.fusion import bagging, fuse
from spikelore.errors import InputError
from spikelore.kernels.reward_stdp import SpikeLists
from spikelore.learning.template_stdp import TemplateStdpConfig, consolidate, learn_epoch, learn_more
from spikelore.networks.first_spike import DecisionLayerConfig, FeatureLayerConfig, FirstSpikeConfig, FirstSpikeNetwork

CONFIG = FirstSpikeConfig(
    layer_1=FeatureLayerConfig(4, 3, 1, 1.0, 2, 1, 0),
    layer_2=FeatureLayerConfig(12, 3, 1, 1.0, 2, 1, 0),
    decision=DecisionLayerConfig(features=8, kernel=3, padding=1),
)
EPOCHS = TemplateStdpConfig(epochs=6)


def data(classes, count=400, seed=0):
    """Noisy copies of two variants a class, as many as half of its units, on 12 channels and 3 x 3 places."""
    variants = np.random.default_rng(9).random((10, 2, 12, 3, 3)) < 0.3
    rng = np.random.default_rng(seed)
    labels = rng.choice(classes, count)
    clean = variants[labels, rng.integers(0, 2, count)]
    return SpikeLists.from_spikes(clean ^ (rng.random(clean.shape) < 0.15)), labels


def trained(classes, seed=0):
    network = FirstSpikeNetwork.create(CONFIG, classes, seed=0)
    return consolidate(network, *data(classes), EPOCHS, seed=seed)


def right(network, classes):
    features, labels = data(classes, seed=1)
    return (network.decide(features) == labels).mean()


def test_networks_trained_apart_fuse_to_one_of_half_the_size(learned, seed):
    low, high = trained((0, 1), seed), trained((2, 3), seed)
    learned("low on its own", right(low, (0, 1)), at_least=0.97)
    learned("high on its own", right(high, (2, 3)), at_least=0.97)
    both = (0, 1, 2, 3)
    whole = bagging([low, high], score="correlation")
    fused = fuse([low, high], importances="order", score="correlation")
    assert len(whole.unit_weights) == 16
    assert len(fused.unit_weights) == 8
    learned("bagging on both", right(whole, both), at_least=0.95)
    learned("bagging less fused", right(whole, both) - right(fused, both), at_most=0.02)


def test_units_stand_in_the_order_of_importance(learned, seed):
    """The first half of each class decides better than the second half, for it learned to do without it."""
    network = trained((0, 1), seed)

    def of(ranks):
        units = np.concatenate([np.flatnonzero(network.unit_classes == one)[ranks] for one in (0, 1)])
        parts = (network.unit_weights, network.unit_classes, network.unit_gains, network.unit_centres)
        return network.with_units(*(part[units] for part in parts))

    first, second = (right(of(ranks), (0, 1)) for ranks in (slice(0, 2), slice(2, 4)))
    learned("first half less second", first - second, at_least=0.0)


def test_units_that_never_won_start_anew():
    network = FirstSpikeNetwork.create(CONFIG, (0, 1), seed=0)
    weights = network.unit_weights.copy()
    weights[1] = 0.5  # equal weights correlate with nothing
    network = replace(network, unit_weights=weights)
    after, _ = learn_epoch(network, *data((0, 1)), 0, EPOCHS, 0)
    assert after.unit_weights[1].std() > 0.1


def test_same_seed_same_templates():
    first, again, other = trained((0, 1)), trained((0, 1)), trained((0, 1), seed=1)
    np.testing.assert_array_equal(first.unit_weights, again.unit_weights)
    assert (first.unit_weights != other.unit_weights).any()


def test_protected_units_stay_and_the_others_learn_further_data(learned, seed):
    network = trained((0, 1), seed)
    features, labels = data((2, 3))
    plasticity = np.array([0, 0, 1, 1] * 2, np.float32)
    more = learn_more(network, features, labels - 2, 4, EPOCHS, seed, plasticity=plasticity)
    np.testing.assert_array_equal(more.unit_weights[plasticity == 0], network.unit_weights[plasticity == 0])
    new, new_labels = data((2, 3), seed=1)
    learned("new data before", (network.decide(new) == new_labels - 2).mean(), at_most=0.8)
    learned("new data after", (more.decide(new) == new_labels - 2).mean(), at_least=0.95)
    learned("old data after", right(more, (0, 1)), at_least=0.85)


@pytest.mark.parametrize(
    ("values", "says"),
    [({"epochs": 2}, "epochs is 2"), ({"rate": 0.0}, "rate is 0.0"), ({"nested": (0.5, 1.5)}, "nested is")],
)
def test_refusals(values, says):
    with pytest.raises(InputError, match=says):
        TemplateStdpConfig(**values)
