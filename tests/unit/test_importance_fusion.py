import numpy as np
import pytest

from spikelore.coding.rank_order import RankOrderConfig
from spikelore.continual import importance
from spikelore.continual.fusion import bagging, equal_budgets, fuse, fuse_by_assignment, plasticity, scaled, select
from spikelore.errors import InputError
from spikelore.networks.first_spike import (
    DecisionLayerConfig,
    FeatureLayerConfig,
    FirstSpikeConfig,
    FirstSpikeNetwork,
)

CONFIG = FirstSpikeConfig(
    coding=RankOrderConfig(),
    layer_1=FeatureLayerConfig(2, 3, 1, 2.0, 2, 1, 1),
    layer_2=FeatureLayerConfig(3, 3, 1, 2.0, 1, 1, 1),
    decision=DecisionLayerConfig(features=4, kernel=2, padding=0),
)
SHAPE = (3, 2, 2)


def network(classes, heights=None, *, seed=0):
    """Return a network whose unit n has all weights ``heights[n]``, so that its height is its importance."""
    base = FirstSpikeNetwork.create(CONFIG, classes=(0,), seed=seed)
    heights = np.arange(1, len(classes) + 1) / 10 if heights is None else np.array(heights)
    weights = np.broadcast_to(heights.reshape(-1, 1, 1, 1), (len(classes), *SHAPE)).astype(np.float32)
    return base.with_units(weights, np.array(classes, np.int64))


def heights(net):
    return [round(float(h), 3) for h in net.unit_weights[:, 0, 0, 0]]


def test_top_fraction_sums_the_largest_tenth():
    weights = np.zeros((2, 5, 2, 2), np.float32)
    weights[0].flat[[3, 17, 9]] = 0.5, 0.75, 0.25
    weights[1] = 0.125
    assert importance.top_fraction(weights).tolist() == [1.25, 0.25]
    assert importance.top_fraction(weights, 0.15).tolist() == [1.5, 0.375]
    assert importance.top_fraction(weights, 0.001).tolist() == [0.75, 0.125]


def test_full_sum_spread_and_activity():
    weights = np.array([[[1.0, 3.0]], [[2.0, 2.0]], [[0.0, 4.0]]], np.float32)
    assert importance.full_sum(weights).tolist() == [4.0, 4.0, 4.0]
    assert importance.spread(weights).tolist() == [1.0, 0.0, 2.0]
    assert importance.activity(np.array([2, -1, 0, 2, -1]), 4).tolist() == [1.0, 0.0, 2.0, 0.0]
    assert importance.activity(np.array([-1, -1]), 2).tolist() == [0.0, 0.0]


def test_order_keeps_the_first_units_of_each_class():
    fused = fuse([network([0, 0, 1, 1]), network([0, 0, 1, 1])], importances="order", size=4)
    assert heights(fused) == [0.1, 0.1, 0.3, 0.3]
    with pytest.raises(InputError, match="'weight' is not one of: top fraction"):
        fuse([network([0, 1]), network([0, 1])], importances="weight")


def test_plasticity_protects_the_first_units_of_each_network_and_class():
    assert plasticity([{0: 4, 1: 2}, {0: 2}], 0.5).tolist() == [0, 0, 1, 1, 0, 1, 0, 1]
    assert plasticity([{0: 2}, {1: 1}], 0).tolist() == [1, 1, 1]
    assert plasticity([{0: 2}, {1: 1}], 1).tolist() == [0, 0, 0]


def test_assignment_takes_the_cheapest_pairs_and_keeps_the_unit_farther_from_their_maximum():
    a = np.array([[1, 0], [0, 1]], np.float32)
    b = np.array([[0, 2], [0.9, 0]], np.float32)
    # a0 covers b1, so that b1 is farther from their maximum; b0 covers a1, so that a1 is
    kept_a, kept_b = importance.assignment(a, b)
    assert kept_a.tolist() == [1]
    assert kept_b.tolist() == [1]


def test_assignment_of_unequal_numbers_keeps_the_smaller_number():
    a = np.array([[[1.0]], [[5.0]], [[9.0]]], np.float32)
    kept_a, kept_b = importance.assignment(a, np.array([[[6.0]]], np.float32))
    assert len(kept_a) + len(kept_b) == 1


def test_equal_budgets_of_disjoint_classes():
    nets = [network([0, 0, 1, 1]), network([2, 2, 3, 3])]
    assert equal_budgets(nets, 4) == [{0: 1, 1: 1}, {2: 1, 3: 1}]
    assert equal_budgets(nets, 6) == [{0: 2, 1: 2}, {2: 1, 3: 1}]


def test_equal_budgets_of_shared_classes_give_the_odd_unit_to_the_earlier_network():
    nets = [network([0, 0, 1, 1]), network([1, 1, 2, 2]), network([1, 2, 2, 2])]
    budgets = equal_budgets(nets, 13)
    assert budgets == [{0: 5, 1: 2}, {1: 1, 2: 2}, {1: 1, 2: 2}]
    assert sum(sum(budget.values()) for budget in budgets) == 13


def test_equal_budgets_refuse_a_size_that_leaves_a_network_without_a_unit():
    nets = [network([0, 0, 1, 1]), network([0, 0, 1, 1])]
    assert equal_budgets(nets, 4) == [{0: 1, 1: 1}, {0: 1, 1: 1}]
    with pytest.raises(InputError, match=r"3 units has too few for class 1.* at least 4 units"):
        equal_budgets(nets, 3)


def test_select_keeps_the_most_important_and_of_equal_ones_the_first():
    net = network([0, 1, 0, 1, 0])
    assert select(net, np.array([1.0, 5, 3, 5, 3]), {0: 2, 1: 1}).tolist() == [2, 4, 1]
    assert select(net, np.array([3.0, 5, 3, 5, 3]), {0: 1, 1: 0}).tolist() == [0]
    assert select(net, np.ones(5), {}).tolist() == []


def test_fuse_keeps_the_units_with_the_largest_weights_sorted_by_class():
    one = network([0, 0, 1, 1], [0.1, 0.4, 0.3, 0.2])
    two = network([2, 2, 1, 1], [0.5, 0.6, 0.8, 0.7])
    fused = fuse([one, two], budgets=[{0: 1, 1: 1}, {1: 1, 2: 2}])
    assert fused.unit_classes.tolist() == [0, 1, 1, 2, 2]
    assert heights(fused) == [0.4, 0.3, 0.8, 0.6, 0.5]
    assert fused.unit_gains.tolist() == [1] * 5
    assert fused.unit_centres.tolist() == [0] * 5
    assert fused.config.decision.features == 5
    assert fused.features_digest == one.features_digest
    assert heights(one) == [0.1, 0.4, 0.3, 0.2]


def test_fuse_without_budgets_has_the_first_networks_size():
    fused = fuse([network([0, 0, 1, 1]), network([2, 2, 3, 3], [0.8, 0.7, 0.6, 0.5])])
    assert fused.unit_classes.tolist() == [0, 1, 2, 3]
    assert heights(fused) == [0.2, 0.4, 0.8, 0.6]
    assert fuse([network([0, 0]), network([1, 1])], size=4).unit_classes.tolist() == [0, 0, 1, 1]


def test_fuse_follows_the_importances_it_is_given():
    nets = [network([0, 0]), network([1, 1])]
    fused = fuse(nets, importances=[np.array([9.0, 1.0]), np.array([1.0, 9.0])])
    assert heights(fused) == [0.1, 0.2]
    fused = fuse(nets, importances=[np.array([1.0, 9.0]), np.array([9.0, 1.0])])
    assert heights(fused) == [0.2, 0.1]


def test_bagging_keeps_all_units():
    fused = bagging([network([1, 0], [0.1, 0.2]), network([1, 2], [0.3, 0.4])])
    assert fused.unit_classes.tolist() == [0, 1, 1, 2]
    assert heights(fused) == [0.2, 0.1, 0.3, 0.4]


def test_fusion_by_assignment_keeps_one_unit_of_each_pair():
    # the smaller unit is the farther from a pair's maximum
    fused = fuse_by_assignment(network([0, 1], [0.3, 0.6]), network([0, 1], [0.4, 0.5]))
    assert fused.unit_classes.tolist() == [0, 1]
    assert heights(fused) == [0.3, 0.5]
    with pytest.raises(InputError, match="same classes"):
        fuse_by_assignment(network([0, 1]), network([0, 2]))


def test_scores_scale_the_units():
    rng = np.random.default_rng(0)
    net = network([0, 1]).with_units(rng.uniform(0.2, 0.8, (2, *SHAPE)).astype(np.float32), np.array([0, 1]))
    rows = net.unit_weights.reshape(2, -1).astype(np.float64)
    one = scaled(net, "over sum")
    np.testing.assert_allclose(one.unit_gains, 1 / rows.sum(axis=1), rtol=1e-6)
    assert one.unit_centres.tolist() == [0, 0]
    competing = scaled(net, "correlation").competing_weights().reshape(2, -1)
    np.testing.assert_allclose(competing.sum(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose((competing**2).sum(axis=1), 1, rtol=1e-5)
    with pytest.raises(InputError, match="'best' is not one of: raw"):
        scaled(net, "best")


def test_one_network_is_refused():
    with pytest.raises(InputError, match="got 1 network"):
        fuse([network([0, 1])])


def test_other_features_are_refused():
    with pytest.raises(InputError, match="network 3 does not share its feature layers"):
        fuse([network([0, 1]), network([2, 3]), network([4, 5], seed=1)])


def test_other_shapes_are_refused():
    one = network([0, 1])
    other = one.with_units(np.ones((2, 3, 3, 3), np.float32), np.array([2, 3]))
    with pytest.raises(InputError, match=r"network 2 has units of shape \(3, 3, 3\).*\(3, 2, 2\)"):
        fuse([one, other])


@pytest.mark.parametrize(
    ("budgets", "message"),
    [
        ([{0: 3}, {1: 1}], "budget of network 1 asks for 3 units of class 0; it has 2"),
        ([{0: 1}, {1: 1, 7: 1}], "budget of network 2 asks for 1 units of class 7; it has 0"),
        ([{0: 1}, {1: -1}], "asks for -1 units"),
        ([{0: 1}], "1 budgets for 2 networks"),
        ([{0: 1}, {1: 1}, {1: 1}], "3 budgets for 2 networks"),
    ],
)
def test_budgets_that_cannot_be_met_are_refused(budgets, message):
    with pytest.raises(InputError, match=message):
        fuse([network([0, 0]), network([1, 1])], budgets=budgets)


def test_a_size_that_the_networks_cannot_fill_is_refused():
    with pytest.raises(InputError, match="budget of network 1 asks for 3 units of class 0; it has 2"):
        fuse([network([0, 0]), network([1, 1])], size=6)
