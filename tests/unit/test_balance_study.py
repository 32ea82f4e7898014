"""The study of what decides the balance of a fused network, at a tiny size."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from spikelore.continual import fusion
from spikelore.data import load, split
from spikelore.learning.first_spike_training import DecisionTraining, FeatureExamples
from spikelore.networks.first_spike import FirstSpikeConfig, FirstSpikeNetwork
from spikelore.report import style

FILE = Path(__file__).parents[2] / "docs/figures/balance.py"


@pytest.fixture(scope="module")
def study():
    spec = importlib.util.spec_from_file_location("balance", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def letter() -> np.ndarray:
    """Return one image of an upright rectangle, 4 wide and 8 high, off the middle."""
    images = np.zeros((1, 28, 28), np.uint8)
    images[0, 3:11, 5:9] = 200
    return images


def test_a_filled_letter_reaches_over_24_pixels_in_the_middle_and_keeps_its_shape(study):
    (image,) = study.filled(letter())
    rows, columns = (np.flatnonzero(image.any(axis=axis)) for axis in (1, 0))
    assert (rows[0], rows[-1]) == (2, 25)
    assert (columns[0], columns[-1]) == (8, 19)


def test_strokes_become_wider_and_narrower_and_faint_ones_stay(study):
    wide, narrow = study.thick(letter())[0], study.thin(letter())[0]
    assert ((wide > 0).sum(), (narrow > 0).sum()) == (6 * 10, 3 * 7)
    line = np.zeros((1, 28, 28), np.uint8)
    line[0, 5:20, 6] = 255
    np.testing.assert_array_equal(study.thin(line), line)


def test_jittered_images_are_moved_each_by_its_own(study):
    images = np.repeat(letter(), 200, axis=0)
    moved = study.jittered(images, np.random.default_rng(0))
    tops = [np.flatnonzero(image.any(axis=1))[0] for image in moved]
    assert {*tops} == {1, 2, 3, 4, 5}
    assert (moved.sum(axis=(1, 2)) == images[0].sum()).all()


def test_a_share_of_labels_is_drawn_anew(study):
    examples = FeatureExamples(None, np.repeat(np.arange(4), 500))
    drawn = study.mislabelled(examples, 0.2, 0)
    assert 0.1 < (drawn.labels != examples.labels).mean() < 0.2  # a quarter of those drawn are right
    assert study.mislabelled(examples, 0.0, 0).labels.tolist() == examples.labels.tolist()


def line(mean: float, bagging: tuple[float, float]) -> dict:
    return {"epoch": 1, "error": 0.1, "alone": [0.1, 0.9], "bagging": [*bagging], "fused": [*bagging],
            "weights": {"mean weight": mean, "spread": 0.1}}  # fmt: skip


def results() -> dict:
    """Return results in which the mean weight decides and the spread does not."""
    one = [line(0.6, (0.1, 0.9)), line(0.5, (0.5, 0.85)), line(0.4, (0.9, 0.78))]
    two = [line(0.55, (0.3, 0.87)), line(0.35, (0.94, 0.4))]
    digits = {"weights": {"mean weight": 0.4, "spread": 0.1}, "right": 0.95}
    return {"seed": 0, "digits": digits, "conditions": {"one": one, "two": two}}


def test_the_number_that_decides_is_told_from_one_that_does_not(study):
    found = study.misses(results())
    assert found["mean weight"] == pytest.approx(0, abs=1e-9)
    assert found["spread"] > 0.1


def test_what_comes_nearest_to_the_published_balance_is_found(study):
    title, epoch, right, difference = study.nearest(results(), "bagging")
    assert (title, epoch, right) == ("one", 1, [0.9, 0.78])
    assert difference == pytest.approx(0.01)


def test_results_are_written_with_a_line_for_each_epoch(study):
    text = study.as_text(results())
    assert json.loads(text) == results()
    assert len(text.splitlines()) == 1 + 5 + 2 * 2 + 1


def test_the_figure_has_every_condition_and_the_published_points(study):
    with style.applied():
        figure = study.draw(results())
        told = style.files(figure)["svg"].decode()
    for words in ("one", "two", "Raw fused", "digits, published", "mean weight,", "letter over digit network"):
        assert words in told


def test_letters_learn_beside_digits_in_a_condition(study):
    digits, letters = (
        split(
            load("digits-sample"), train_per_class=8, validation_per_class=2, test_per_class=4, classes=classes, seed=0
        )
        for classes in ((0, 1), (2, 3))
    )
    letters = type(letters)(**{
        name: type(part)(part.inputs, part.labels - 2) for name, part in vars(letters).items()
    })  # fmt: skip
    network = FirstSpikeNetwork.create(FirstSpikeConfig(), (0, 1), seed=1)
    condition = study.Condition(changes=("filled",), mislabelled=0.5, epochs=2)
    assert condition.name == "letters filled [0.5] 50 % mislabelled"
    tests = FeatureExamples.of(network, digits.test)
    lines = [*study.epochs_of(condition, network, tests, study.changed(letters, condition, 0), 0)]
    assert [each["epoch"] for each in lines] == [1, 2]
    assert lines[0]["weights"] != lines[1]["weights"]
    assert set(lines[0]["weights"]) == set(study.numbers(network))
    plain = study.Condition(start="first", factor=1.0, epochs=2)
    last = [*study.epochs_of(plain, network, tests, letters, 0)][-1]
    learned = DecisionTraining(network, FeatureExamples.of(network, letters.train), 2).finish()
    sets = [tests, FeatureExamples.of(network, letters.test)]
    joined = {
        "alone": learned, "bagging": fusion.bagging([network, learned]), "fused": fusion.fuse([network, learned])
    }  # fmt: skip
    for name, each in joined.items():
        assert last[name] == pytest.approx([examples.outcome(each).right for examples in sets], abs=1e-5)
    assert last["weights"]["mean weight"] == pytest.approx(learned.unit_weights.mean(), abs=1e-6)
