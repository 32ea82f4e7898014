"""A stream of tasks as a configuration describes it, from datasets of which learned parts may be gone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from spikelore.coding.event_images import EventImages, image_dataset
from spikelore.data import load
from spikelore.data.examples import Dataset
from spikelore.data.streams import (
    Scenario,
    Stream,
    Task,
    domain_labels,
    group_tasks,
    permuted_tasks,
    rotated_tasks,
    split_tasks,
)
from spikelore.errors import InputError, check_fields
from spikelore.experiments.recordings_settings import RecordingsSettings

TASKS_IN = {"split": "groups", "grouped": "groups", "permuted": "tasks", "rotated": "degrees"}
"""Which setting of a stream names its tasks, by its kind."""

_RECORDINGS = EventImages("none")
_AS_THEY_ARE = RecordingsSettings()


def sides(size: Sequence[int]) -> str:
    """Return an image's size for people, such as ``28x28``."""
    return "x".join(map(str, size))


class Datasets:
    """The datasets of a folder by name, each read once; by each process that they are sent to, once more.

    Attributes:
        stream: ``stream(settings, data, seed, learned)`` is `StreamSettings.load` of them; the last one is kept.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._read = cache(partial(load, data_dir=folder))
        self.stream = lru_cache(1)(lambda settings, data, seed, learned: settings.load(data, self, seed, learned))

    def __call__(self, name: str) -> Dataset:
        """Return a dataset; InputError where there is none of that name."""
        return self._read(name)

    def __reduce__(self) -> Any:
        return _of_this_process, (self.folder,)


@cache
def _of_this_process(folder: Path | None) -> Datasets:
    return Datasets(folder)


@dataclass(frozen=True)
class StreamSettings:
    """A stream of tasks.

    Attributes:
        kind: ``split`` by class, or all classes ``grouped`` by speaker or the like, with ``permuted`` pixels, or with
            ``rotated`` images.
        groups: classes of each task, for ``split``; numbers of the speakers of each, for ``grouped``.
        by: what examples are grouped by, for ``grouped``.
        tasks: number of tasks, for ``permuted``.
        degrees: angle of each task, for ``rotated``.
        scenario: see `spikelore.data.streams`.
        blur: width of the mixed zones at the boundaries of a task-free stream, in tasks.
        validation_share: share of each task's training images that is held out.
        events_as: how recordings become images, for networks of images.
        recordings: what else becomes of recordings; see
            `spikelore.experiments.recordings_settings.RecordingsSettings`.
    """

    kind: Literal["split", "grouped", "permuted", "rotated"] = "split"
    groups: tuple[tuple[int, ...], ...] = ((0, 1), (2, 3), (4, 5), (6, 7), (8, 9))
    by: str = "speaker"
    tasks: int = 5
    degrees: tuple[float, ...] = (0.0, 45.0, 90.0, 135.0, 180.0)
    scenario: Scenario = "class-incremental"
    blur: float = 0.0
    validation_share: float = 0.1
    events_as: EventImages = _RECORDINGS
    recordings: RecordingsSettings = _AS_THEY_ARE

    def __post_init__(self) -> None:
        check_fields(self, "stream.")
        if TASKS_IN[self.kind] == "groups" and not self.groups:
            inside = "classes" if self.kind == "split" else f"{self.by} numbers"
            raise InputError(
                f"stream.groups is empty, expected the {inside} of one task or more; write it as [[0, 1], ...]"
            )
        if self.kind != "split" and self.scenario != "domain-incremental":
            raise InputError(
                f"a stream of kind {self.kind!r} has all classes in each task, expected the scenario "
                f"domain-incremental, not {self.scenario!r}; change one of them"
            )

    def __len__(self) -> int:
        return self.tasks if self.kind == "permuted" else len(self.degrees if self.kind == "rotated" else self.groups)

    def load(self, data: str, datasets: Datasets, seed: int, learned: Sequence[str] = ()) -> Stream:
        """Return the stream of a dataset's images.

        Args:
            data: name of the dataset.
            datasets: where it is.
            seed: root seed.
            learned: names of the datasets of the first tasks, which may be gone, in all or in some of their classes;
                a task without them has no images.

        Raises:
            InputError: a dataset, or a class of a task that is not ``learned``, is not there; or images of two sizes.
        """
        names = [*learned, *[data] * (len(self) - len(learned))]
        tasks: dict[int, Task] = {}
        kept: Dataset | None = None
        missing = InputError(f"{data} has no image of the learned tasks any more, expected some; name another dataset")
        for name in dict.fromkeys(names):
            places = [n for n, one in enumerate(names) if one == name]
            try:
                dataset = self.recordings.of(image_dataset(datasets(name), self.events_as), seed)
            except InputError as error:
                if name in names[len(learned) :]:
                    raise
                missing = error
                continue
            if self.kind == "split":
                there = set(dataset.classes)
                places = [n for n in places if n >= len(learned) or there.issuperset(self.groups[n])]
            if places:
                tasks |= self._of(dataset, places, seed)
                kept = dataset
        if kept is None:
            raise missing
        sizes = sorted({task.train.inputs.shape[1:] for task in tasks.values()})
        if len(sizes) > 1:
            raise InputError(
                f"tasks have images of {sides(sizes[0])} and {sides(sizes[1])}, expected one size; resize them"
            )
        every = [tasks.get(n) or self._without_images(n, kept) for n in range(len(self))]
        if self.kind == "split" and self.scenario == "domain-incremental":
            every = domain_labels(every)
        return Stream(self.scenario, tuple(every), f"{data}, {'; '.join(task.name for task in every)}")

    def _of(self, dataset: Dataset, places: Sequence[int], seed: int) -> dict[int, Task]:
        """Return some of the tasks by their place in the stream."""
        share = self.validation_share
        if self.kind == "split":
            groups = [self.groups[n] for n in places]
            return dict(zip(places, split_tasks(dataset, groups, validation_share=share, seed=seed), strict=True))
        if self.kind == "grouped":
            every = group_tasks(dataset, self.by, self.groups, validation_share=share, seed=seed)
        elif self.kind == "permuted":
            every = permuted_tasks(dataset, self.tasks, validation_share=share, seed=seed)
        else:
            every = rotated_tasks(dataset, self.degrees, validation_share=share, seed=seed)
        return {n: every[n] for n in places}

    def _without_images(self, place: int, like: Dataset) -> Task:
        """Return a task whose images are gone."""
        none = like.train.take(np.zeros(0, np.int64))
        if self.kind == "split":
            classes = self.groups[place]
            return Task(",".join(map(str, classes)), tuple(classes), none, none, none)
        return replace(self._of(like, [place], 0)[place], train=none, validation=none, test=none)
