"""The data of first-spike networks: a dataset or some of its classes, as many images of each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from spikelore.data import Examples, Splits, class_counts, findings, load, split
from spikelore.errors import InputError
from spikelore.experiments.findings import named, of_first_spikes
from spikelore.experiments.reproduce import label
from spikelore.networks.first_spike import FirstSpikeConfig


@dataclass(frozen=True)
class Source:
    """One network's data.

    Attributes:
        data: name of a dataset: a folder of the data directory, or one of ``spikelore data list``.
        classes: the labels to use; all if not given.
    """

    data: str
    classes: tuple[int, ...] | None = None

    def label(self) -> str:
        """Return a short name for tables."""
        return label(self.data, self.classes)


class Sizes(Protocol):
    """What of an experiment decides which images are drawn."""

    @property
    def seed(self) -> int:
        """Root seed."""
        ...

    @property
    def train_per_class(self) -> int:
        """Most training images of a class; fewer where the data has fewer."""
        ...

    @property
    def validation_per_class(self) -> int:
        """Images of a class held out of the training set."""
        ...

    @property
    def test_per_class(self) -> int:
        """Test images of a class."""
        ...

    @property
    def network(self) -> FirstSpikeConfig:
        """Whose coding sees the images."""
        ...


@dataclass(frozen=True, eq=False)
class Drawn:
    """One source's images.

    Attributes:
        images: drawn.
        facts: its entry in ``images_per_class`` of the results.
    """

    images: Splits
    facts: dict[str, Any]
    _look: Callable[[], list[str]]

    @cached_property
    def notes(self) -> list[str]:
        """What to know before a network learns it."""
        return self._look()


def drawn(source: Source, config: Sizes, data_dir: Path | None) -> Drawn:
    """Draw one source's images, as many of each class.

    Raises:
        InputError: no such dataset, a class that it lacks, too few images, or blank ones.
    """
    dataset, name, held_out = load(source.data, data_dir), source.label(), config.validation_per_class
    classes = dataset.kept(source.classes)
    smallest, available = _smallest(dataset.train, classes)
    smallest_test, available_test = _smallest(dataset.test, classes)
    train, test = min(config.train_per_class, available - held_out), min(config.test_per_class, available_test)
    if train < 1:
        raise InputError(
            f"{source.data} has {available} training images of its smallest class, {smallest}, which leaves none "
            f"beside validation_per_class={held_out}; lower that"
        )
    parts = split(
        dataset, train_per_class=train, validation_per_class=held_out, test_per_class=test, classes=classes,
        seed=config.seed,
    )  # fmt: skip
    for part, images in vars(parts).items():
        blank = np.flatnonzero(~images.inputs.any(axis=(1, 2)))
        if len(blank):
            raise InputError(
                f"{source.data} ({part}): {len(blank)} blank image(s), the first with label "
                f"{images.labels[blank[0]]}; an image without a lit pixel makes no spike, so remove it"
            )
    fewer = []
    if train < config.train_per_class:
        fewer.append(
            f"{name}: class {smallest} has {available} training images, so its network trains on {train} of each class "
            f"(train_per_class is {config.train_per_class}), beside {held_out} for validation"
        )
    if test < config.test_per_class:
        fewer.append(
            f"{name}: class {smallest_test} has {available_test} test images, so {test} of each class are tested "
            f"(test_per_class is {config.test_per_class})"
        )
    facts = {"data": name, "train": train, "validation": held_out, "test": test, **named(dataset)}

    def look() -> list[str]:
        return [*findings(dataset), *of_first_spikes(source.data, parts.train, config.network.coding), *fewer]

    return Drawn(parts, facts, look)


def _smallest(images: Examples, classes: Sequence[int]) -> tuple[int, int]:
    """Return the class with the fewest images, and their number."""
    counts = class_counts(images.labels)
    return min(((one, counts.get(one, 0)) for one in classes), key=lambda pair: pair[1])
