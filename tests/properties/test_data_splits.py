import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikelore.data import Dataset, Examples, class_counts, split
from spikelore.errors import InputError

CLASSES = (0, 2, 5)
TRAIN, TEST = (9, 12, 30), (4, 4, 7)


def numbered(counts: tuple[int, ...]) -> Examples:
    """Make images that each carry their own number, in an order that mixes the classes."""
    labels = np.repeat(np.array(CLASSES), counts)
    labels = np.random.default_rng(1).permutation(labels)
    images = np.arange(len(labels), dtype=np.uint8)[:, None, None]
    return Examples(images, labels)


DATASET = Dataset("toy", numbered(TRAIN), numbered(TEST), CLASSES, "made up")


def numbers(images: Examples) -> list[int]:
    return images.inputs.ravel().tolist()


@given(
    validation=st.integers(0, 4),
    train=st.integers(0, 5),
    test=st.none() | st.integers(0, 4),
    classes=st.none() | st.lists(st.sampled_from(CLASSES), min_size=1, unique=True),
    seed=st.integers(0, 2**32),
)
def test_sets_are_balanced_disjoint_and_determined_by_the_seed(validation, train, test, classes, seed):
    def draw():
        return split(
            DATASET,
            train_per_class=train,
            validation_per_class=validation,
            test_per_class=test,
            classes=classes,
            seed=seed,
        )

    drawn, kept = draw(), classes or CLASSES
    assert class_counts(drawn.train.labels) == {label: train for label in sorted(kept) if train}
    assert class_counts(drawn.validation.labels) == {label: validation for label in sorted(kept) if validation}
    all_tests = dict(zip(CLASSES, TEST, strict=True))
    tests = {label: all_tests[label] if test is None else test for label in sorted(kept)}
    assert class_counts(drawn.test.labels) == {label: count for label, count in tests.items() if count}
    together = numbers(drawn.train) + numbers(drawn.validation)
    assert len(set(together)) == len(together)
    assert len(set(numbers(drawn.test))) == len(drawn.test)
    for part, origin in (
        (drawn.train, DATASET.train),
        (drawn.validation, DATASET.train),
        (drawn.test, DATASET.test),
    ):
        assert part.labels.tolist() == origin.labels[numbers(part)].tolist()
    again = draw()
    for one, other in (
        (drawn.train, again.train),
        (drawn.validation, again.validation),
        (drawn.test, again.test),
    ):
        assert numbers(one) == numbers(other)


def test_another_seed_draws_other_images_in_another_order():
    one, other = (split(DATASET, train_per_class=4, validation_per_class=2, seed=seed) for seed in (0, 1))
    assert set(numbers(one.train)) != set(numbers(other.train))
    assert set(numbers(one.validation)) != set(numbers(other.validation))
    assert numbers(one.test) != numbers(other.test)
    assert set(numbers(one.test)) == set(numbers(other.test))


def test_sets_are_shuffled():
    drawn = split(DATASET, train_per_class=9, validation_per_class=0, seed=0)
    for part in (drawn.train, drawn.test):
        assert part.labels.tolist() != sorted(part.labels.tolist())
        assert numbers(part) != sorted(numbers(part))


def test_what_is_drawn_of_a_class_depends_on_neither_the_others_nor_the_training_size():
    many = split(DATASET, train_per_class=7, validation_per_class=2, seed=3)
    few = split(DATASET, train_per_class=3, validation_per_class=2, classes=[2], seed=3)
    assert set(numbers(few.validation)) == set(numbers(many.validation.of_classes([2])))
    assert set(numbers(few.train)) < set(numbers(many.train.of_classes([2])))


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (
            {"train_per_class": 8, "validation_per_class": 2},
            "class 0 .* 9 images for train and validation, but 10",
        ),
        ({"test_per_class": 5}, "class 0 of 'toy' has 4 images for test, but 5 are wanted"),
        ({"classes": [2, 4]}, "class 4 of 'toy' has 0 images for train and validation, but 2"),
        ({"classes": [4], "train_per_class": 0, "validation_per_class": 0}, "class 4 of 'toy' has 0 images"),
        ({"classes": [2, 2]}, r"classes are \[2, 2\]"),
        ({"classes": []}, r"classes are \[\]"),
        ({"validation_per_class": -1}, "validation_per_class is -1, expected a whole number of 0 or more"),
        ({"test_per_class": -1}, "test_per_class is -1"),
    ],
)
def test_what_cannot_be_drawn_gets_its_sentence(asked: dict, found: str):
    with pytest.raises(InputError, match=found):
        split(DATASET, **{"train_per_class": 1, "validation_per_class": 1, "seed": 0, **asked})


def test_classes_of_the_same_size_are_drawn_independently():
    labels = np.arange(60) % 2
    images = Examples(np.arange(60, dtype=np.uint8)[:, None, None], labels)
    drawn = split(Dataset("even", images, images, (0, 1), ""), train_per_class=10, validation_per_class=0, seed=0)
    zeros, ones = (set(np.array(numbers(drawn.train.of_classes([label]))) // 2) for label in (0, 1))
    assert zeros != ones


def test_all_images_of_a_class_can_be_asked_for():
    drawn = split(DATASET, train_per_class=8, validation_per_class=1, classes=[0], seed=0)
    assert sorted(numbers(drawn.train) + numbers(drawn.validation)) == sorted(numbers(DATASET.train.of_classes([0])))
