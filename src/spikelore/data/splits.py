"""Balanced train, validation and test sets, drawn from a dataset by a seed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spikelore.data.examples import Dataset, Examples
from spikelore.errors import InputError, check_whole
from spikelore.randomness import generator


@dataclass(frozen=True, eq=False)
class Splits:
    """Three sets without a common image, each shuffled; labels are those of the dataset."""

    train: Examples
    validation: Examples
    test: Examples


def split(
    dataset: Dataset,
    *,
    train_per_class: int,
    validation_per_class: int,
    test_per_class: int | None = None,
    classes: Sequence[int] | None = None,
    seed: int,
) -> Splits:
    """Draw balanced sets: train and validation from ``dataset.train``, test from ``dataset.test``.

    Each class is drawn by a generator of its own, validation first: which images of a class are drawn does
    not depend on the other classes, and more training images leave the validation set the same.

    Args:
        dataset: what to draw from.
        train_per_class: training images a class.
        validation_per_class: validation images a class, 0 for none.
        test_per_class: test images a class, None for all.
        classes: the classes to keep, None for all.
        seed: the experiment's root seed.

    Raises:
        InputError: a class has fewer images than asked for or is named twice, or a number is negative.

    Example:
        >>> from spikelore.data import load, split
        >>> digits = load("digits-sample")
        >>> drawn = split(digits, train_per_class=20, validation_per_class=5, classes=[0, 1], seed=7)
        >>> len(drawn.train), len(drawn.validation), len(drawn.test)
        (40, 10, 200)
    """
    kept = dataset.classes if classes is None else tuple(classes)
    if not kept or len(set(kept)) != len(kept):
        raise InputError(f"classes are {list(kept)}, expected at least one and each once; name them once")
    sizes = {
        "train_per_class": train_per_class,
        "validation_per_class": validation_per_class,
        "test_per_class": test_per_class or 0,
    }
    for option, size in sizes.items():
        check_whole(option, size)
    train, validation, test = [], [], []
    for label in kept:
        pool = _permuted(dataset.train, label, seed, "train")
        wanted = validation_per_class + train_per_class
        _require(dataset, label, len(pool), wanted, "train and validation")
        validation.append(pool[:validation_per_class])
        train.append(pool[validation_per_class:wanted])
        pool = _permuted(dataset.test, label, seed, "test")
        _require(dataset, label, len(pool), test_per_class or 0, "test")
        test.append(pool[:test_per_class])
    return Splits(
        _shuffled(dataset.train, train, seed, "train"),
        _shuffled(dataset.train, validation, seed, "validation"),
        _shuffled(dataset.test, test, seed, "test"),
    )


def _permuted(images: Examples, label: int, seed: int, part: str) -> np.ndarray:
    return generator(seed, "split", part, "class", label).permutation(np.flatnonzero(images.labels == label))


def _require(dataset: Dataset, label: int, have: int, want: int, part: str) -> None:
    if have < want or have == 0:
        raise InputError(
            f"class {label} of {dataset.name!r} has {have} images for {part}, but {max(want, 1)} are wanted; "
            "ask for fewer images or choose other classes"
        )


def _shuffled(images: Examples, indices: list[np.ndarray], seed: int, part: str) -> Examples:
    return images.take(generator(seed, "split", part, "order").permutation(np.concatenate(indices)))
