"""Streams: a dataset as tasks that arrive one after another.

A `Task` holds images of some classes; a `Stream` is a sequence of tasks under a scenario, which says what a
learner may be told and what it must decide:

==================== ============================== ============================= ======================
scenario             labels                         told while learning           decides among
==================== ============================== ============================= ======================
class-incremental    the dataset's                  where a task begins and ends  all classes seen
task-incremental     the dataset's                  where a task begins and ends  the task's classes
domain-incremental   position in the task's classes where a task begins and ends  these positions
task-free            the dataset's                  nothing                       all classes seen
==================== ============================== ============================= ======================

The first three are van de Ven & Tolias 2019 (arXiv 1904.07734).
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from spikelore.data.examples import Dataset, Examples, Inputs, class_counts, concatenated
from spikelore.data.registry import load
from spikelore.errors import InputError
from spikelore.randomness import generator
from spikelore.shapes import Images, Labels, as_labels

Scenario = Literal["class-incremental", "task-incremental", "domain-incremental", "task-free"]
SCENARIOS: tuple[Scenario, ...] = get_args(Scenario)


@dataclass(frozen=True, eq=False)
class Task:
    """One part of a stream.

    Attributes:
        name: for people, such as ``0,1``, or the classes' names where the dataset has them.
        classes: the labels that occur in it, in head order.
        train: what is learned.
        validation: held out of the training set, for choices.
        test: for the reported numbers only.
    """

    name: str
    classes: tuple[int, ...]
    train: Examples
    validation: Examples
    test: Examples


@dataclass(frozen=True, eq=False)
class Stream:
    """Tasks in order, under a scenario.

    Attributes:
        scenario: what the learner is told and must decide; see the module's table.
        tasks: in order of arrival.
        name: for tables.
    """

    scenario: Scenario
    tasks: tuple[Task, ...]
    name: str = ""

    def __post_init__(self) -> None:
        if self.scenario not in SCENARIOS:
            raise InputError(f"scenario is {self.scenario!r}, expected one of {', '.join(SCENARIOS)}; choose one")
        if not self.tasks:
            raise InputError("the stream has no task, expected at least one; name the classes of each task")
        if self.scenario == "domain-incremental":
            if len({task.classes for task in self.tasks}) > 1:
                raise InputError(
                    f"tasks have classes {[list(task.classes) for task in self.tasks]}, expected the same in every "
                    "task of a domain-incremental stream; build them with domain_labels"
                )
            return
        owner: dict[int, str] = {}
        for task in self.tasks:
            for label in task.classes:
                if label in owner:
                    raise InputError(
                        f"task {task.name!r} has class {label}, which task {owner[label]!r} already has; give each "
                        "class to one task, or use the domain-incremental scenario"
                    )
                owner[label] = task.name

    @property
    def classes(self) -> tuple[int, ...]:
        """Every class of the stream, in order of first arrival."""
        return tuple(dict.fromkeys(label for task in self.tasks for label in task.classes))

    def seen(self, task: int) -> tuple[int, ...]:
        """Return the classes that a decision is taken among after task ``task`` was learned."""
        return tuple(dict.fromkeys(label for one in self.tasks[: task + 1] for label in one.classes))


def _parts(
    dataset: Dataset, share: float, seed: int, name: str, pick: Callable[[Examples], Examples] = lambda part: part
) -> tuple[Examples, Examples, Examples]:
    """Return what a task learns, its validation set and its test set, each as ``pick`` takes it.

    The validation set is the published one; where there is none, a random ``share`` of what would be learned is held
    out, drawn by the task's own generator.
    """
    train, test = pick(dataset.train), pick(dataset.test)
    if dataset.validation is not None:
        return train, pick(dataset.validation), test
    order = generator(seed, "stream", "hold out", name).permutation(len(train))
    held = int(len(train) * share)
    return train.take(order[held:]), train.take(order[:held]), test


def _check_share(share: float) -> None:
    if not 0 <= share < 1:
        raise InputError(f"validation_share is {share}, expected 0 or more and below 1; choose another share")


def split_tasks(
    dataset: Dataset, groups: Sequence[Sequence[int]], *, validation_share: float = 0.1, seed: int = 0
) -> tuple[Task, ...]:
    """Return one task for each group of classes (split-MNIST: ``[[0, 1], [2, 3], ...]``).

    The validation images are the dataset's own, else a random share of each task's training images (Proietti et al.
    2023: 10 %).

    Raises:
        InputError: an empty group, or a class that the dataset does not have.

    Example:
        >>> from spikelore.data import load
        >>> tasks = split_tasks(load("digits-sample"), [[0, 1], [2, 3]])
        >>> [(task.name, len(task.train), len(task.validation), len(task.test)) for task in tasks]
        [('0,1', 720, 80, 200), ('2,3', 720, 80, 200)]
    """
    _check_share(validation_share)
    classes = [tuple(as_labels(group, what="class labels").tolist()) for group in groups]
    if not classes or not all(classes):
        raise InputError(f"the tasks have classes {[*map(list, classes)]}, expected one or more in each")
    tasks = []
    for group in classes:
        labels = ",".join(map(str, group))
        if len(set(group)) < len(group):
            raise InputError(f"task {labels!r} names a class twice; name each once")
        parts = _parts(dataset, validation_share, seed, labels, partial(Examples.of_classes, classes=group))
        tasks.append(Task(",".join(dataset.names[label] for label in group), group, *parts))
    return tuple(tasks)


def split_stream(
    data: str,
    groups: Sequence[Sequence[int]],
    *,
    scenario: Scenario = "class-incremental",
    validation_share: float = 0.1,
    seed: int = 0,
    data_dir: Path | str | None = None,
) -> Stream:
    """Return the stream of a named dataset whose tasks are groups of its classes.

    Args:
        data: name of a dataset; see `spikelore.data.load`.
        groups: classes of each task.
        scenario: see the module's table; in a domain-incremental one labels are positions in their group.
        validation_share: share of each task's training images that is held out, for choices.
        seed: of what is held out.
        data_dir: folder of datasets; the usual one if not given.

    Raises:
        InputError: no such dataset or class, an empty group, or a class in two groups.

    Example:
        >>> stream = split_stream("digits-sample", [(0, 1), (2, 3)])
        >>> stream.classes, len(stream.tasks)
        ((0, 1, 2, 3), 2)
    """
    tasks = split_tasks(load(data, data_dir), groups, validation_share=validation_share, seed=seed)
    if scenario == "domain-incremental":
        tasks = domain_labels(tasks)
    return Stream(scenario, tasks, f"{data}, {'; '.join(task.name for task in tasks)}")


def domain_labels(tasks: Sequence[Task]) -> tuple[Task, ...]:
    """Return the tasks with each label replaced by its position in its task's classes (domain-incremental).

    Raises:
        InputError: the tasks have different numbers of classes.
    """
    sizes = {len(task.classes) for task in tasks}
    if len(sizes) != 1:
        raise InputError(f"tasks have {sorted(sizes)} classes, expected as many in each; regroup the classes")

    def relabel(images: Examples, classes: tuple[int, ...]) -> Examples:
        order = np.argsort(classes)
        return images.changed(labels=order[np.searchsorted(np.sort(classes), images.labels)].astype(np.int64))

    return tuple(
        Task(
            task.name,
            tuple(range(len(task.classes))),
            *(relabel(part, task.classes) for part in (task.train, task.validation, task.test)),
        )
        for task in tasks
    )


def group_tasks(
    dataset: Dataset,
    by: str = "speaker",
    groups: Sequence[Sequence[int]] | None = None,
    *,
    validation_share: float = 0.1,
    seed: int = 0,
) -> tuple[Task, ...]:
    """Return one task of all classes for each group of speakers, or of whatever else examples are told apart by.

    To be learned as domain-incremental: the classes stay, who speaks them changes (sample-incremental, Dequino et al.
    2024, arXiv 2407.03111).

    Args:
        dataset: what to divide.
        by: the name of a group of its examples.
        groups: numbers of each task, such as ``[[0, 1, 2, 3], [4]]``; one task a number if not given.
        validation_share: share of each task's training examples that is held out where the dataset has no own ones.
        seed: of what is held out.

    Raises:
        InputError: the examples are not told apart so, an empty group, or a number without a training or test example.

    Example:
        >>> import numpy as np
        >>> from spikelore.data import Dataset, Examples
        >>> part = Examples(np.zeros((4, 2, 2), np.uint8), [0, 1, 0, 1], {"writer": [7, 7, 9, 9]})
        >>> [task.name for task in group_tasks(Dataset("two", part, part, (0, 1), "here"), "writer")]
        ['writer 7', 'writer 9']
    """
    _check_share(validation_share)
    there = class_counts(dataset.train.numbers(by))
    wanted = (
        [[one] for one in there] if groups is None else [as_labels(g, what=f"{by} numbers").tolist() for g in groups]
    )
    if not wanted or not all(wanted):
        raise InputError(f"the tasks have {by} numbers {wanted}, expected one or more in each; name them")
    tested = class_counts(dataset.test.numbers(by))
    for number in (one for group in wanted for one in group):
        for part, counts in (("training", there), ("test", tested)):
            if number not in counts:
                raise InputError(
                    f"{by} {number} has no {part} example in {dataset.name}, expected one of {[*counts]}; choose others"
                )
    names = [f"{by} {','.join(map(str, group))}" for group in wanted]
    return tuple(
        Task(
            name, dataset.classes,
            *_parts(dataset, validation_share, seed, name, partial(Examples.of_groups, by=by, numbers=group)),
        )
        for name, group in zip(names, wanted, strict=True)
    )  # fmt: skip


def group_stream(
    data: str,
    by: str = "speaker",
    groups: Sequence[Sequence[int]] | None = None,
    *,
    validation_share: float = 0.1,
    seed: int = 0,
    data_dir: Path | str | None = None,
) -> Stream:
    """Return the domain-incremental stream of a named dataset whose tasks are groups of its speakers.

    The arguments are those of `group_tasks`, the dataset's name and folder those of `split_stream`.

    Raises:
        InputError: no such dataset, group or number.
    """
    tasks = group_tasks(load(data, data_dir), by, groups, validation_share=validation_share, seed=seed)
    return Stream("domain-incremental", tasks, f"{data}, {'; '.join(task.name for task in tasks)}")


def leave_out(dataset: Dataset, number: int, by: str = "speaker") -> Dataset:
    """Return a dataset whose test set is one speaker, whom its train set never hears.

    Train and validation set are those of all others; the test set is all of that speaker's examples, those of the
    published train set first.

    Raises:
        InputError: the examples are not told apart so, or there is no such number, or no other.
    """
    train = dataset.train.of_groups(by, [number], but=True)
    test = concatenated([part.of_groups(by, [number]) for part in (dataset.train, dataset.test)])
    if not len(train) or not len(test):
        known = sorted({*dataset.train.numbers(by).tolist(), *dataset.test.numbers(by).tolist()})
        raise InputError(f"{by} {number} cannot be left out of {known} in {dataset.name}; choose one of several")
    validation = dataset.validation and dataset.validation.of_groups(by, [number], but=True)
    return replace(dataset, name=f"{dataset.name} without {by} {number}", train=train, test=test, validation=validation)


def permuted_tasks(dataset: Dataset, count: int, *, validation_share: float = 0.1, seed: int = 0) -> tuple[Task, ...]:
    """Return ``count`` tasks of all classes: in each the pixels are shuffled by one fixed permutation.

    The first task has the pixels in place (permuted MNIST, Goodfellow et al. 2014, arXiv 1312.6211). All tasks
    hold out the same validation images. To be learned as domain-incremental. However many tasks there are, they take
    the memory of a few: images are shuffled when they are asked for.
    """
    size, kept = int(np.prod(dataset.train.inputs.shape[1:])), deque(maxlen=2)
    orders = [generator(seed, "stream", "pixels", n).permutation(size) for n in range(count)]

    def shuffled(part: Examples, n: int) -> Examples:
        return _Shuffled(part, orders[n], kept) if n else part

    return _changed(dataset, [f"permutation {n}" for n in range(count)], shuffled, validation_share, seed)


class _Shuffled(Examples):
    """Images whose pixels are put in another order when they are asked for.

    Args:
        of: the images as they are.
        order: (H*W,), which pixel comes at each place.
        kept: the last few that were asked for, with their images: shared by all of a stream, changed.
    """

    _of: Examples
    _order: np.ndarray
    _kept: "deque[tuple[_Shuffled, Images]]"

    def __init__(self, of: Examples, order: np.ndarray, kept: "deque[tuple[_Shuffled, Images]]") -> None:
        shown = {"labels": of.labels, "groups": of.groups}
        for name, value in {"_of": of, "_order": order, "_kept": kept, **shown}.items():
            object.__setattr__(self, name, value)

    @property
    def inputs(self) -> Images:  # pyright: ignore[reportIncompatibleVariableOverride]
        """(N,H,W) uint8."""
        for owner, images in tuple(self._kept):
            if owner is self:
                return images
        images = self._shuffle(self._of.inputs)
        self._kept.append((self, images))
        return images

    def take(self, indices: np.ndarray) -> Examples:
        """Return the images at ``indices``; no others are shuffled."""
        taken = self._of.take(indices)
        return taken.changed(inputs=self._shuffle(taken.inputs))

    def _shuffle(self, images: Images) -> Images:
        return np.take(images.reshape(len(images), -1), self._order, axis=1).reshape(images.shape)


def rotated_tasks(
    dataset: Dataset, degrees: Sequence[float], *, validation_share: float = 0.1, seed: int = 0
) -> tuple[Task, ...]:
    """Return one task of all classes for each angle, its images turned counter-clockwise by that angle.

    Rotated MNIST (Lopez-Paz & Ranzato 2017, arXiv 1706.08840), bilinear, the outside 0. All tasks hold out the same
    validation images. To be learned as domain-incremental.
    """

    from scipy.ndimage import rotate  # slow to load, and few ask for it

    def turn(part: Examples, n: int) -> Examples:
        if degrees[n] % 360 == 0:
            return part
        turned = rotate(part.inputs, degrees[n], axes=(2, 1), reshape=False, order=1)
        return part.changed(inputs=np.asarray(turned, np.uint8))

    return _changed(dataset, [f"{angle:g} degrees" for angle in degrees], turn, validation_share, seed)


def _changed(
    dataset: Dataset, names: list[str], change: Callable[[Examples, int], Examples], share: float, seed: int
) -> tuple[Task, ...]:
    _check_share(share)
    if not names:
        raise InputError("the stream has no task, expected at least one; ask for one or more")
    parts = _parts(dataset, share, seed, "all")
    return tuple(Task(name, dataset.classes, *(change(part, n) for part in parts)) for n, name in enumerate(names))


def joint(tasks: Sequence[Task]) -> Task:
    """Return one task that has all the tasks' images, each set in the tasks' order."""

    return Task(
        "joint",
        tuple(dict.fromkeys(label for task in tasks for label in task.classes)),
        concatenated([task.train for task in tasks]),
        concatenated([task.validation for task in tasks]),
        concatenated([task.test for task in tasks]),
    )


def arrival(sizes: Sequence[int], blur: float, rng: np.random.Generator) -> list[np.ndarray]:
    """Return which images arrive in which order when tasks follow each other, each image once.

    Without ``blur`` each task's images come shuffled, after all of the task before. With ``blur`` b in 0..1 an
    image of task k, at place p of its task's n images, gets the time ``k + (p + 0.5) / n + b * e`` with e standard
    normal, and images come in order of time: near a boundary both tasks' images mix, in a zone about b tasks wide.

    Args:
        sizes: number of images of each task.
        blur: width of the mixed zones, in tasks; 0 for sharp boundaries.
        rng: generator.

    Returns:
        As many segments as tasks, segment k the places ``sizes[0] + ... + sizes[k - 1]`` onwards of the order of
        arrival: (sizes[k], 2) int64, the task and the index in it of each image.

    Example:
        >>> import numpy as np
        >>> [len(part) for part in arrival([3, 2], 0.0, np.random.default_rng(0))]
        [3, 2]
    """
    if blur < 0:
        raise InputError(f"blur is {blur}, expected 0 or more; 0 keeps boundaries sharp")
    pairs, times = [], []
    for task, size in enumerate(sizes):
        pairs.append(np.stack([np.full(size, task), rng.permutation(size)], axis=1))
        times.append(task + (np.arange(size) + 0.5) / max(size, 1))
    order = np.concatenate(pairs)
    if blur:
        time = np.concatenate(times)
        order = order[np.argsort(time + blur * rng.standard_normal(len(time)), kind="stable")]
    return np.split(order, np.cumsum(sizes)[:-1])


def batches(order: np.ndarray, batch: int, *, drop_last: bool = False) -> Iterator[np.ndarray]:
    """Yield ``order`` in parts of ``batch``; a shorter last one too, unless ``drop_last``."""
    stop = len(order) - len(order) % batch if drop_last else len(order)
    for start in range(0, stop, batch):
        yield order[start : start + batch]


def gather(tasks: Sequence[Task], pairs: np.ndarray) -> tuple[Inputs, Labels]:
    """Return the training inputs and labels that ``pairs`` (N, 2) of (task, index) name, in that order."""
    numbers = np.unique(pairs[:, 0])
    if not len(numbers):
        none = tasks[0].train.take(np.zeros(0, np.int64))
        return none.inputs, none.labels
    taken = [tasks[task].train.take(pairs[pairs[:, 0] == task, 1]) for task in numbers]
    if len(taken) == 1:
        return taken[0].inputs, taken[0].labels
    back = np.argsort(np.argsort(pairs[:, 0], kind="stable"), kind="stable")
    every = concatenated(taken).take(back)
    return every.inputs, every.labels
