"""The ways not to forget, each by itself: what it stores, learns beside the new images, and lets move."""

from dataclasses import replace

import numpy as np
import pytest

from spikelore.continual.ways import (
    FirstTask,
    Forgetting,
    FrozenLarge,
    Langevin,
    LateralInhibition,
    ProtectedTemplates,
    PseudoRehearsal,
    RateNoise,
    Reminder,
    drawn_bars,
    mixed,
)
from spikelore.data import class_counts, load, split
from spikelore.errors import InputError
from spikelore.kernels import reward_stdp as kernel
from spikelore.kernels.reward_stdp import Rates, SpikeLists
from spikelore.learning.first_spike_training import (
    DecisionTraining,
    FeatureExamples,
    consolidation,
    further_templates,
    learn_features,
)
from spikelore.learning.langevin import LangevinSampling
from spikelore.learning.reward_stdp import RewardStdpConfig, learn_epoch, noisy
from spikelore.learning.template_stdp import TemplateStdpConfig
from spikelore.metrics.streaming_quantiles import StreamingQuantiles
from spikelore.networks.first_spike import DecisionLayerConfig, FirstSpikeConfig, FirstSpikeNetwork

CONFIG = FirstSpikeConfig(decision=DecisionLayerConfig(features=10))
CONFIG = replace(CONFIG, layer_2=replace(CONFIG.layer_2, features=30))
TASK = FirstTask(CONFIG, 50)


@pytest.fixture(scope="module")
def known():
    return split(load("digits-sample"), train_per_class=20, validation_per_class=5, classes=(0, 1), seed=0).train


@pytest.fixture(scope="module")
def network(known):
    fresh = FirstSpikeNetwork.create(CONFIG, (0, 1), seed=0)
    return learn_features(fresh, known.inputs, epochs=(4, 8))


@pytest.fixture(scope="module")
def examples(network, known):
    return FeatureExamples.of(network, known)


# Rates and bounds ---------------------------------------------------------------------------------------


def test_each_image_may_have_its_rates_and_each_weight_its_bounds():
    """Both backends agree; what all images and weights share gives the same bits as when it is given for each."""
    rng = np.random.default_rng(0)
    spikes = SpikeLists.from_spikes(rng.random((90, 5, 3, 3)) < 0.4)
    labels, classes, order = rng.integers(0, 2, 90), np.arange(6) % 2, rng.permutation(90)
    weights = rng.uniform(0.3, 0.7, (6, 5, 2, 2)).astype(np.float32)
    lower, upper = weights - rng.random(weights.shape, np.float32) * np.float32(0.02), weights + np.float32(0.01)
    rates = noisy(Rates(), 0.5, 90, rng)
    given = {"padding": 1, "rates": rates, "lower": lower, "upper": upper}
    learned = [
        kernel.train(spikes, order, labels, weights, classes, backend=each, **given)[0]
        for each in ("reference", "numba_cpu")
    ]
    np.testing.assert_allclose(*learned, atol=1e-6)
    for one in learned:
        assert (lower <= one).all()
        assert (one <= upper).all()
        assert ((one == lower) & (lower < weights)).any()
        assert (one == upper).any()
    shared, _, _ = kernel.train(spikes, order, labels, weights, classes, padding=1, rates=Rates())
    table, low = np.repeat(Rates().table()[None], 90, axis=0), np.full_like(weights, 0.2)
    each, _, _ = kernel.train(spikes, order, labels, weights, classes, padding=1, rates=table, lower=low)
    np.testing.assert_array_equal(shared, each)


def test_start_weights_beyond_their_bounds_are_clipped_after_the_first_image():
    spikes = SpikeLists.from_spikes(np.random.default_rng(0).random((70, 3, 2, 2)) < 0.5)
    weights = np.full((1, 3, 1, 1), 0.5, np.float32)  # a single unit: bounds of one are still those of each
    lower, upper = np.array([0.6, 0.2, 0.5], np.float32), np.array([0.7, 0.4, 0.5], np.float32)
    for backend in ("reference", "numba_cpu"):
        learned, _, _ = kernel.train(
            spikes, np.arange(70), np.zeros(70, np.int64), weights, np.zeros(1, np.int64), padding=0, rates=Rates(),
            lower=lower.reshape(weights.shape), upper=upper.reshape(weights.shape), backend=backend,
        )  # fmt: skip
        assert (lower <= learned.ravel()).all()
        assert (learned.ravel() <= upper).all()


def test_noise_is_around_the_rates_and_as_large_as_it_says():
    rates = Rates((0.004, -0.003), (-0.004, 0.0005))
    drawn = noisy(rates, 0.5, 40_000, np.random.default_rng(0))
    assert drawn.shape == (40_000, 2, 2)
    assert drawn.dtype == np.float32
    np.testing.assert_allclose(drawn.mean(axis=0), rates.table(), rtol=0.02)
    np.testing.assert_allclose(drawn.std(axis=0), 0.5 * np.abs(rates.table()), rtol=0.02)


def test_noise_reaches_what_is_learned(network, examples):
    plain, one, same = (DecisionTraining(network, examples, 2, noise=noise, seed=3) for noise in (0.0, 0.5, 0.5))
    weights = [each.finish().unit_weights for each in (plain, one, same)]
    np.testing.assert_array_equal(weights[1], weights[2])
    assert (weights[0] != weights[1]).any()


def test_patience_ends_a_training_and_goes_on_after_a_stop(network, examples):
    def training():
        return DecisionTraining(network, examples, 60, asked={"held out": examples}, patience=3)

    whole = training()
    told = [each["held out"] for each in whole.steps()]
    assert 4 <= len(told) < 60
    assert max(told[-3:]) <= max(told[:-3])
    assert len(told) == told.index(max(told)) + 1 + 3
    stopped, again = training(), training()
    steps = stopped.steps()
    for _ in range(len(told) - 1):
        next(steps)
    again.load_state_dict(*stopped.state_dict())
    assert len([*again.steps()]) == 1
    np.testing.assert_array_equal(again.finish().unit_weights, whole.finish().unit_weights)


# Ways ---------------------------------------------------------------------------------------------------


def test_the_plain_way_changes_nothing(known, network):
    way = LateralInhibition()
    assert way.name == "lateral inhibition"
    assert way.first(TASK) == TASK
    assert way.rates(0.5) == (0.0, 0.5)
    assert way.bounds(network, None) is None
    assert mixed(known, way.images_beside(known, network, 0), 0) is known


def test_forgetting_has_no_inhibition_and_noise_its_own_rates():
    assert LateralInhibition((5, 2)).first(TASK).network.layer_1.inhibition_radius == 5
    first = Forgetting(epochs=7, patience=2).first(TASK)
    assert (first.network.layer_1.inhibition_radius, first.network.layer_2.inhibition_radius) == (0, 0)
    assert (first.epochs, first.patience) == (7, 2)
    assert RateNoise().first(TASK) == FirstTask(CONFIG, 100, noise=0.5)
    assert RateNoise(noise=0.25, adaptive_scale=0.75).rates(0.5) == (0.25, 0.75)


@pytest.mark.parametrize(("share", "stored", "name"), [(0.0025, 1, "reminder 0.25 %"), (0.25, 5, "reminder 25 %"),
                                                       (1.0, 20, "joint")])  # fmt: skip
def test_a_reminder_shows_the_stored_images_as_often_as_there_were_others(known, network, share, stored, name):
    way = Reminder(share)
    assert way.name == name
    kept, beside = way.images_stored(known), way.images_beside(known, network, 0)
    assert class_counts(kept.labels) == {0: stored, 1: stored}
    assert class_counts(beside.labels) == class_counts(known.labels) == {0: 20, 1: 20}
    of_kept = {image.tobytes(): label for image, label in zip(kept.inputs, kept.labels, strict=True)}
    times = dict.fromkeys(of_kept, 0)
    for image, label in zip(beside.inputs, beside.labels, strict=True):
        assert of_kept[image.tobytes()] == label
        times[image.tobytes()] += 1
    assert {*times.values()} == {20 // stored}
    both = mixed(known, beside, 0)
    assert len(both) == 80
    assert class_counts(both.labels) == {0: 40, 1: 40}
    assert (both.labels[:40] != known.labels).any()


def test_bars_are_named_by_the_network_that_knows_the_first_task(known, network):
    way = PseudoRehearsal(bars=2, most_drawn=40)
    beside = way.images_beside(known, network, 0)
    assert len(beside)
    np.testing.assert_array_equal(network.predict(beside.inputs), beside.labels)
    assert set(class_counts(beside.labels).values()) == {20}
    assert not len(way.images_stored(known))
    again = way.images_beside(known, network, 0)
    np.testing.assert_array_equal(again.inputs, beside.inputs)
    assert (way.images_beside(known, network, 1).inputs != beside.inputs).any()


def test_bars_have_any_direction():
    images = drawn_bars(200, (28, 28), 1, np.random.default_rng(0))
    assert images.shape == (200, 28, 28)
    assert (images.max(axis=(1, 2)) == 255).all()
    lit = [np.argwhere(image > 127) for image in images]
    wide = np.array([np.ptp(places[:, 1]) > np.ptp(places[:, 0]) for places in lit])
    assert 0.35 < wide.mean() < 0.65


def test_large_weights_are_frozen_and_all_others_move(network, examples):
    lower, upper = FrozenLarge(0.2).bounds(network, None)
    frozen, weights = lower == upper, network.unit_weights
    assert frozen.sum() == round(0.2 * weights.size)
    assert weights[frozen].min() >= weights[~frozen].max()
    np.testing.assert_array_equal(lower[frozen], weights[frozen])
    assert {*np.unique(lower[~frozen])} == {np.float32(0.2)}
    order = np.arange(len(examples.labels))
    learned, _ = learn_epoch(
        network, examples.features, examples.labels, order, RewardStdpConfig().base(), bounds=(lower, upper)
    )
    np.testing.assert_array_equal(learned.unit_weights[frozen], weights[frozen])
    assert (learned.unit_weights[~frozen] != weights[~frozen]).mean() > 0.3
    assert not (FrozenLarge(0).bounds(network, None)[0] == FrozenLarge(0).bounds(network, None)[1]).any()


def test_protected_units_stay_while_the_others_learn(network, examples):
    templates = consolidation(network, examples, TemplateStdpConfig(epochs=3)).finish()
    plasticity = ProtectedTemplates(protected=0.6).plasticity(templates)
    assert plasticity.tolist() == [0, 0, 0, 1, 1] * 2
    swapped = FeatureExamples(examples.features, 1 - examples.labels)
    training = further_templates(templates, swapped, 3, TemplateStdpConfig(), 0, plasticity, {"new": swapped})
    told = [*training.steps()]
    assert {*told[0]} == {"train", "new"}
    moved = (training.finish().unit_weights != templates.unit_weights).any(axis=(1, 2, 3))
    assert not moved[plasticity == 0].any()
    assert moved[plasticity == 1].any()
    assert max(line["new"] for line in told) > swapped.outcome(templates).right


def test_what_is_stored_is_told_in_bytes_and_shown_again_and_again(known, network):
    assert not len(ProtectedTemplates().images_beside(known, network, 0))
    assert ProtectedTemplates().bytes_stored(known) == 0
    grey, flat = ProtectedTemplates(stored=3), ProtectedTemplates(stored=3, bits=1)
    assert (grey.bytes_stored(known), flat.bytes_stored(known)) == (6 * (28 * 28 + 1), 6 * (28 * 28 // 8 + 1))
    kept, black_and_white = grey.images_stored(known), flat.images_stored(known)
    assert class_counts(kept.labels) == {0: 3, 1: 3}
    np.testing.assert_array_equal(black_and_white.inputs, np.where(kept.inputs >= 128, 255, 0))
    beside = flat.images_beside(known, network, 0)
    assert len(beside) == len(known) // 4 == 10
    shown = [image.tobytes() for image in black_and_white.inputs]
    assert [shown.index(image.tobytes()) for image in beside.inputs] == [0, 1, 2, 3, 4, 5, 0, 1, 2, 3]


def test_stored_images_push_away_and_teach_nothing(network, examples):
    templates = consolidation(network, examples, TemplateStdpConfig(epochs=3)).finish()
    plasticity = ProtectedTemplates(protected=0.6).plasticity(templates)
    swapped = FeatureExamples(examples.features, 1 - examples.labels)
    both = FeatureExamples(
        SpikeLists.concatenate([swapped.features, examples.features]), np.r_[swapped.labels, examples.labels]
    )
    warning = np.repeat([False, True], len(examples.labels))

    def learned(train, warning, epochs=3, gain=1.0):
        config = TemplateStdpConfig(epochs=3, rate=0.1, margin=0.1)
        training = further_templates(templates, train, epochs, config, 0, plasticity, {}, warning=warning, gain=gain)
        training.finish()
        return training.network

    without, warned = learned(swapped, None), learned(both, warning)
    protected = plasticity == 0
    np.testing.assert_array_equal(warned.unit_weights[protected], templates.unit_weights[protected])
    assert (warned.unit_weights[~protected] != without.unit_weights[~protected]).any()
    assert examples.outcome(warned).right >= examples.outcome(without).right
    plain, weighted = learned(both, warning), learned(both, warning, gain=1.25)
    np.testing.assert_array_equal(plain.unit_weights, weighted.unit_weights)
    np.testing.assert_allclose(weighted.unit_gains / plain.unit_gains, np.where(protected, 1.25, 1), rtol=1e-6)


def test_units_that_learn_and_hardly_win_begin_anew_and_no_other(network, examples):
    templates = consolidation(network, examples, TemplateStdpConfig(epochs=3)).finish()
    weights = templates.unit_weights.copy()
    weights[[4, 9]] = np.linspace(0, 1, weights[0].size).reshape(weights[0].shape)  # resembles no image
    started = templates.with_units(weights, templates.unit_classes)
    plasticity = ProtectedTemplates(protected=0.6).plasticity(started)

    def after(revive):
        training = further_templates(started, examples, 1, TemplateStdpConfig(), 0, plasticity, {}, revive=revive)
        training.finish()
        return (training.network.unit_weights != weights).any(axis=(1, 2, 3))

    assert not after(revive=False)[[4, 9]].any()
    assert after(revive=True)[[4, 9]].all()
    assert not after(revive=True)[plasticity == 0].any()


@pytest.mark.parametrize("warning", [np.zeros(3, np.bool_), np.zeros(40, np.int64), np.ones(40, np.bool_)])
def test_warnings_are_refused_unless_they_are_one_bool_an_image_and_leave_some_to_learn(network, examples, warning):
    training = further_templates(
        network, examples, 2, TemplateStdpConfig(), 0, np.ones(10, np.float32), {}, warning=warning
    )
    with pytest.raises(InputError, match=r"warning is .*, expected 40 bool"):
        training.finish()


# Langevin -----------------------------------------------------------------------------------------------


def sampling(network, examples, epochs=3, deviation=0.01):
    return LangevinSampling(
        network, examples, epochs, record_every=6, deviation=deviation, config=RewardStdpConfig(), seed=0
    )


def test_bounds_are_the_deciles_of_the_weights_while_sampling(network, examples, monkeypatch):
    seen = []
    add = StreamingQuantiles.add
    monkeypatch.setattr(StreamingQuantiles, "add", lambda self, values: (seen.append(values.copy()), add(self, values)))
    training = sampling(network, examples)
    training.finish()
    assert training.quantiles.count == len(seen) == 3 * (40 // 6)
    lower, upper = Langevin(low=0.1, high=0.9).bounds(network, training.quantiles)
    exact = np.quantile(np.stack(seen), (0.1, 0.9), axis=0, method="inverted_cdf")
    np.testing.assert_allclose(np.stack([lower, upper]), exact, atol=0.00501, rtol=0)
    assert (lower <= upper).all()
    assert (upper - lower).max() > 0.02
    steps = np.diff(np.stack(seen), axis=0)
    assert (steps != 0).mean() > 0.8  # noise moves all weights that stand at no bound
    assert np.abs(steps).max() > 0.02
    assert min(each.min() for each in seen) >= np.float32(0.2)
    assert max(each.max() for each in seen) <= np.float32(0.8)


@pytest.mark.parametrize("stop", [0, 1, 2])
def test_an_interrupted_sampling_ends_as_one_that_was_not(network, examples, stop):
    whole, stopped, again = (sampling(network, examples) for _ in range(3))
    told = [*whole.steps()]
    steps = stopped.steps()
    first = [next(steps) for _ in range(stop)]
    again.load_state_dict(*stopped.state_dict())
    assert [*first, *again.steps()] == told
    (one, facts), (other, same) = whole.state_dict(), again.state_dict()
    assert facts == same
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


def test_bounds_without_a_sampling_are_refused(network):
    with pytest.raises(InputError, match="bounds by Langevin need the quantiles of a sampling"):
        Langevin().bounds(network, None)
    with pytest.raises(InputError, match="quantiles of no records are asked for, expected at least one record"):
        Langevin().bounds(network, sampling(network, FeatureExamples(None, None)).quantiles)


# Settings -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: FrozenLarge(1.5), r"frozen.share is 1.5, expected 0 to 1"),
        (lambda: FrozenLarge(-0.1), r"frozen.share is -0.1, expected 0 to 1"),
        (
            lambda: Reminder(1.5),
            "a reminder's share is 1.5, more images than there are, expected above 0 and at most 1",
        ),
        (lambda: Reminder(0), "a reminder's share is 0, no image"),
        (lambda: RateNoise(noise=-1), "noise.noise is -1, expected 0 or more"),
        (lambda: RateNoise(epochs=0), "noise.epochs is 0"),
        (lambda: Langevin(low=0.9, high=0.1), "langevin.low and high are 0.9 and 0.1"),
        (lambda: Langevin(record_every=0), "langevin.record_every is 0"),
        (lambda: Langevin(deviation=-1), "langevin.deviation is -1"),
        (lambda: PseudoRehearsal(bars=0), "pseudo_rehearsal.bars is 0"),
        (lambda: ProtectedTemplates(protected=2), "templates.protected is 2, expected 0 to 1"),
        (lambda: Forgetting(radii=(-1, 0)), "radii is -1"),
    ],
)
def test_settings_that_cannot_be_are_refused(make, says):
    with pytest.raises(InputError, match=says):
        make()


def test_a_radius_is_smaller_than_its_map():
    assert CONFIG.maps((28, 28)) == {"layer_1": (28, 28), "layer_2": (14, 14)}
    FirstSpikeConfig(layer_2=replace(CONFIG.layer_2, inhibition_radius=13)).check_radii((28, 28))
    with pytest.raises(InputError, match=r"layer_2.inhibition_radius is 14, larger than the map of 14 x 14 places"):
        FirstSpikeConfig(layer_2=replace(CONFIG.layer_2, inhibition_radius=14)).check_radii((28, 28))
