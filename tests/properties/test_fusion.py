"""What fusion keeps, for any number of networks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikelore.continual.fusion import DEAD_SPREAD, SCORES, bagging, equal_budgets, fuse, merge
from spikelore.continual.importance import spread
from spikelore.errors import InputError
from spikelore.networks.first_spike import (
    DecisionLayerConfig,
    FeatureLayerConfig,
    FirstSpikeConfig,
    FirstSpikeNetwork,
)

CONFIG = FirstSpikeConfig(
    layer_1=FeatureLayerConfig(2, 3, 1, 2.0, 2, 1, 1),
    layer_2=FeatureLayerConfig(3, 3, 1, 2.0, 1, 1, 1),
    decision=DecisionLayerConfig(features=4, kernel=2, padding=0),
)
SHAPE = (3, 2, 2)
BASE = FirstSpikeNetwork.create(CONFIG, classes=(0,), seed=0)
few = settings(max_examples=40, deadline=None)


def unit(value):
    """A unit whose weights step from low to high by ``value``: its template, and its height of importance."""
    return np.linspace(0.5 - value, 0.5 + value, 12).reshape(SHAPE)


def network(classes, values):
    weights = np.stack([unit(value) for value in values]).astype(np.float32)
    return BASE.with_units(weights, np.array(classes, np.int64))


def values(net):
    """Read the values back that `unit` wrote."""
    top = net.unit_weights.reshape(len(net.unit_weights), -1)[:, -1].astype(float)
    return [round(value - 0.5, 4) for value in top]


def test_three_networks_by_hand():
    nets = [
        network([0, 0, 0, 1, 1, 1], [0.1, 0.3, 0.2, 0.12, 0.11, 0.13]),
        network([1, 1, 1, 2, 2, 2], [0.31, 0.21, 0.32, 0.4, 0.05, 0.41]),
        network([2, 2, 2, 0, 0, 0], [0.15, 0.25, 0.24, 0.33, 0.34, 0.35]),
    ]
    # six units, two a class: one of each network that knows the class, its most important
    fused = fuse(nets)
    assert fused.unit_classes.tolist() == [0, 0, 1, 1, 2, 2]
    assert values(fused) == [0.3, 0.35, 0.13, 0.32, 0.41, 0.25]
    # nine units, three a class: the odd one of each class goes to the earlier network
    fused = fuse(nets, size=9)
    assert fused.unit_classes.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert values(fused) == [0.3, 0.2, 0.35, 0.13, 0.12, 0.32, 0.41, 0.4, 0.25]
    with pytest.raises(InputError, match="5 units has too few for class 2, which 2 networks know"):
        fuse(nets, size=5)


def test_five_networks_of_two_classes_each_by_hand():
    nets = [network([2 * n, 2 * n, 2 * n + 1, 2 * n + 1], [0.1, 0.2, 0.4, 0.3]) for n in range(5)]
    fused = fuse(nets, size=10)
    assert fused.unit_classes.tolist() == list(range(10))
    assert values(fused) == [0.2, 0.4] * 5
    assert fused.features_digest == nets[0].features_digest
    assert bagging(nets).unit_classes.tolist() == [one for one in range(10) for _ in range(2)]
    with pytest.raises(InputError, match="4 units has too few for class 4"):
        fuse(nets)


def test_merging_three_networks_by_hand():
    """In each network and class, two units of one template and one of its opposite become two."""
    rising, falling = unit(0.3), unit(-0.3)
    tilted = unit(0.2)
    nets = []
    for n in range(3):
        weights = np.stack([rising, tilted, falling]).astype(np.float32)
        nets.append(BASE.with_units(weights, np.full(3, n)))
    merged = merge(nets, budgets=[{0: 2}, {1: 2}, {2: 2}], score="raw")
    assert merged.unit_classes.tolist() == [0, 0, 1, 1, 2, 2]
    for one in range(3):
        assert sorted(values(merged)[2 * one : 2 * one + 2]) == [-0.3, 0.25]


def test_merging_five_networks_leaves_out_units_that_learned_nothing():
    flat = 0.3 * DEAD_SPREAD * 0.9
    nets = [network([n, n, n], [0.3, 0.29, flat]) for n in range(5)]
    merged = merge(nets, budgets=[{n: 3} for n in range(5)], score="raw")
    assert merged.unit_classes.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert sorted(values(merged)) == [0.29] * 5 + [0.3] * 5


@st.composite
def families(draw):
    """Draw two to five networks with some classes of their own and some shared."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    nets = []
    for _ in range(draw(st.integers(2, 5))):
        classes = rng.permutation(6)[: rng.integers(1, 5)]
        units = int(rng.integers(3, 6))
        weights = rng.uniform(0.2, 0.8, (units * len(classes), *SHAPE)).astype(np.float32)
        nets.append(BASE.with_units(weights, np.repeat(classes, units).astype(np.int64)))
    budgets = [
        {int(one): int(rng.integers(1, 1 + (net.unit_classes == one).sum())) for one in np.unique(net.unit_classes)}
        for net in nets
    ]
    return rng, nets, budgets, draw(st.sampled_from(sorted(SCORES)))


def units_of(net):
    """The units as a set that does not know their order: (class, weights, gain, centre)."""
    return sorted(
        (int(one), weights.tobytes(), float(gain), float(centre))
        for one, weights, gain, centre in zip(
            net.unit_classes, net.unit_weights, net.unit_gains, net.unit_centres, strict=True
        )
    )


def asked_for(budgets, one):
    return sum(budget.get(one, 0) for budget in budgets)


@few
@given(families())
def test_fusion_meets_every_budget_with_units_of_its_networks(family):
    _, nets, budgets, score = family
    fused = fuse(nets, budgets=budgets, score=score)
    assert fused.unit_classes.tolist() == sorted(fused.unit_classes.tolist())
    every = {(int(one), w.tobytes()) for net in nets for one, w in zip(net.unit_classes, net.unit_weights, strict=True)}
    assert {unit[:2] for unit in units_of(fused)} <= every
    for one in range(6):
        assert (fused.unit_classes == one).sum() == asked_for(budgets, one)
    assert set(fused.classes) == {one for budget in budgets for one in budget}


@few
@given(families())
def test_merging_stays_within_every_budget_and_loses_no_class(family):
    _, nets, budgets, score = family
    merged = merge(nets, budgets=budgets, score=score)
    assert merged.unit_classes.tolist() == sorted(merged.unit_classes.tolist())
    for one in range(6):
        assert (merged.unit_classes == one).sum() <= asked_for(budgets, one)
    assert set(merged.classes) == {one for budget in budgets for one in budget}
    low, high = (pick([pick([net.unit_weights.min(), net.unit_weights.max()]) for net in nets]) for pick in (min, max))
    assert low - 1e-6 <= merged.unit_weights.min() <= merged.unit_weights.max() <= high + 1e-6


@few
@given(families())
def test_the_order_of_the_networks_does_not_change_the_set_of_units(family):
    rng, nets, budgets, score = family
    order = rng.permutation(len(nets))
    swapped, their = [nets[n] for n in order], [budgets[n] for n in order]
    for method in (fuse, merge):
        one = method(nets, budgets=budgets, score=score)
        other = method(swapped, budgets=their, score=score)
        assert units_of(one) == units_of(other)
    assert units_of(bagging(nets, score=score)) == units_of(bagging(swapped, score=score))


@few
@given(families())
def test_the_order_of_a_networks_units_does_not_change_what_is_kept(family):
    rng, nets, budgets, score = family
    shuffled = []
    for net in nets:
        order = rng.permutation(len(net.unit_classes))
        shuffled.append(net.with_units(net.unit_weights[order], net.unit_classes[order]))
    by_spread = [spread(net.unit_weights) for net in nets], [spread(net.unit_weights) for net in shuffled]
    ours, theirs = (
        fuse(each, importances=importances, budgets=budgets, score=score)
        for each, importances in zip((nets, shuffled), by_spread, strict=True)
    )
    assert units_of(ours) == units_of(theirs)


@few
@given(families(), st.integers(0, 12))
def test_equal_budgets_share_the_size_equally(family, extra):
    _, nets, _, _ = family
    classes = sorted({int(one) for net in nets for one in net.unit_classes})
    size = len(nets) * len(classes) + extra
    budgets = equal_budgets(nets, size)
    assert sum(sum(budget.values()) for budget in budgets) == size
    shares = [asked_for(budgets, one) for one in classes]
    assert max(shares) - min(shares) <= 1
    for one in classes:
        mine = [budget[one] for budget in budgets if one in budget]
        assert [set(net.classes) >= {one} for net in nets].count(True) == len(mine)
        assert max(mine) - min(mine) <= 1
        assert mine == sorted(mine, reverse=True)
