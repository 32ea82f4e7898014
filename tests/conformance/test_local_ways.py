"""The published local ways as methods: what each holds, on every network whose synapses can be reached."""

from functools import cache

import numpy as np
import pytest
from conformance_parts import NETWORKS, small_stream

import spikelore as sl
from spikelore.continual.ways import largest_share

REACHED = ("surrogate", "first-spike", "rate-lif")
BASE = sl.Naive(batch=20)


def last_layer(network) -> np.ndarray:
    return [*network.synapses().values()][-1].weights


def go_on(learner, task: int, batches: int = 6) -> None:
    """Learn batches of a task of the small stream, and end it."""
    told = small_stream().tasks[task]
    learner.begin_task(task, told.classes)
    for start in range(0, 20 * batches, 20):
        learner.learn(told.train.inputs[start : start + 20], told.train.labels[start : start + 20], task)
    learner.end_task(task)


def started(network: str, method: sl.Method):
    return method.start(NETWORKS[network](small_stream()), seed=0, tasks=2)


@pytest.mark.parametrize("network", REACHED)
def test_noise_moves_each_weight_as_the_base_does_or_further_or_less(network):
    plain, still, noisy = (started(network, one) for one in (BASE, sl.RateNoise(base=BASE, noise=0), noise(0.5)))
    fresh = [layer.weights.copy() for layer in plain.network.synapses().values()]
    told = small_stream().tasks[0].train
    for learner in (plain, still, noisy):
        learner.learn(told.inputs[:20], told.labels[:20], 0)
    for before, *after in zip(
        fresh, *(each.network.synapses().values() for each in (plain, still, noisy)), strict=True
    ):
        moved, same, other = (layer.weights - before for layer in after)
        np.testing.assert_allclose(same, moved, rtol=0, atol=1e-6)
        for signed in (moved > 1e-4, moved < -1e-4):  # one factor for all rises, one for all falls
            factors = other[signed] / moved[signed]
            inside = np.abs(other[signed] - moved[signed] * np.median(factors)) < 1e-5 if signed.any() else np.ones(1)
            assert inside.mean() > 0.9, factors
    assert any(
        not np.array_equal(a.weights, b.weights)
        for a, b in zip(plain.network.synapses().values(), noisy.network.synapses().values(), strict=True)
    )


def noise(size: float) -> sl.Method:
    return sl.RateNoise(base=BASE, noise=size)


@pytest.mark.parametrize("network", REACHED)
def test_the_largest_weights_stay_after_their_task_and_no_others(network):
    learner = started(network, sl.FrozenWeights(base=BASE, share=0.2))
    go_on(learner, 0)
    before = last_layer(learner.network).copy()
    chosen = largest_share(np.abs(before), 0.2)
    go_on(learner, 1)
    after = last_layer(learner.network)
    np.testing.assert_array_equal(after.flat[chosen], before.flat[chosen])
    assert (after != before).any()
    go_on(learner, 0)
    np.testing.assert_array_equal(last_layer(learner.network).flat[chosen], before.flat[chosen])


@pytest.mark.parametrize("network", REACHED)
def test_weights_stay_within_the_quantiles_that_a_noisy_copy_had(network):
    learner = started(network, sl.LangevinBounds(base=BASE, images=30, records=20))
    go_on(learner, 0)
    assert learner.memory_bytes == learner.own["lower"].nbytes + learner.own["upper"].nbytes
    assert not len(learner.held()[0])  # none of an earlier task is kept
    lower, upper = learner.own["lower"].copy(), learner.own["upper"].copy()
    layer = last_layer(learner.network)
    assert (lower <= upper).all()
    assert layer.min() <= lower.min()
    assert upper.max() <= layer.max()
    assert (upper - lower).mean() < 0.8 * (layer.max() - layer.min())
    told = small_stream().tasks[1]
    learner.begin_task(1, told.classes)
    learner.learn(told.train.inputs[:20], told.train.labels[:20], 1)
    after = last_layer(learner.network)
    assert ((lower <= after) & (after <= upper)).all()


def test_images_of_the_task_at_hand_are_kept_by_reservoir():
    learner = started("rate-lif", sl.LangevinBounds(base=BASE, images=30))
    told = small_stream().tasks[0]
    learner.begin_task(0, told.classes)
    for start in range(0, 100, 20):
        learner.learn(told.train.inputs[start : start + 20], told.train.labels[start : start + 20], 0)
    kept, labels = learner.held()
    shown = {image.tobytes(): number for number, image in enumerate(told.train.inputs[:100])}
    numbers = [shown[image.tobytes()] for image in kept]
    assert len(set(numbers)) == len(kept) == 30
    assert max(numbers) >= 80
    np.testing.assert_array_equal(labels, told.train.labels[numbers])


@pytest.mark.parametrize("network", [*REACHED, "nearest mean"])
def test_drawn_images_have_the_label_that_the_network_gives_them(network):
    learner = started(network, sl.PseudoRehearsal(base=BASE, images=30))
    go_on(learner, 0)
    images, labels = learner.own["images"], learner.own["labels"]
    counts = {label: int((labels == label).sum()) for label in (0, 1, 2, 3)}
    assert counts[2] == counts[3] == 0  # not met yet
    assert 0 < counts[0] + counts[1] <= 30
    assert max(counts.values()) <= 15
    np.testing.assert_array_equal(learner.decide(images, (0, 1)), labels)
    assert learner.memory_bytes == images.nbytes + len(images)


@cache
def grown(kind: type[sl.Method]):
    """Return what a method holds after a task, and its learner when two classes have come after it."""
    learner = kind(base=BASE).start(NETWORKS["rate-lif"](first_half()), seed=0, tasks=1)
    go_on(learner, 0)
    held = {name: array.copy() for name, array in learner.own.items()}
    learner.grow((2, 3), 2)
    go_on(learner, 1)
    return held, learner


def first_half() -> sl.Stream:
    stream = small_stream()
    return sl.Stream(stream.scenario, stream.tasks[:1])


@pytest.mark.parametrize(("kind", "name"), [(sl.FrozenWeights, "frozen"), (sl.LangevinBounds, "lower")])
def test_weights_of_classes_that_come_later_are_free(kind, name):
    held, learner = grown(kind)
    was, now = held[name], learner.own[name]
    assert now.shape == last_layer(learner.network).shape != was.shape
    if name == "frozen":
        here = now[tuple(map(slice, was.shape))]
        assert here[was].all()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: sl.RateNoise(noise=-1), "noise is -1.0, expected 0 or more"),
        (lambda: sl.FrozenWeights(share=1.5), "share is 1.5, expected 0 to 1"),
        (lambda: sl.LangevinBounds(low=0.9, high=0.1), "low and high are 0.9 and 0.1"),
        (lambda: sl.LangevinBounds(deviation=float("nan")), "deviation is nan"),
        (lambda: sl.LangevinBounds(images=0), "images"),
        (lambda: sl.PseudoRehearsal(beside=0), "beside is 0.0, expected a number above 0"),
        (lambda: sl.PseudoRehearsal(bars=0), "bars"),
    ],
)
def test_settings_without_meaning_are_refused(make, words):
    with pytest.raises(sl.InputError, match=words):
        make()
