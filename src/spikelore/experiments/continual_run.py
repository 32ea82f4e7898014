"""One learner over one stream: arrival of images, tests after each task, and a state to go on from."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from spikelore.continual.methods import LearnerSettings, MemorySettings, create
from spikelore.data import load
from spikelore.data.registry import LabelledImages
from spikelore.data.streams import (
    Scenario,
    Stream,
    Task,
    arrival,
    batches,
    domain_labels,
    gather,
    joint,
    permuted_tasks,
    rotated_tasks,
    split_tasks,
)
from spikelore.errors import InputError, SpikeloreError, check_choices
from spikelore.experiments.run_folder import RunFolder
from spikelore.files import load_tensors
from spikelore.metrics import confusion_matrix
from spikelore.metrics.continual import average_accuracies, backward_transfer, forgetting, forward_transfer
from spikelore.networks.surrogate_config import SurrogateConfig
from spikelore.randomness import generator, torch_generator

if TYPE_CHECKING:
    from spikelore.continual.methods.base import Learner

_SAVE_SECONDS = 30.0
_LOOK_EVERY = 20
_COUNTED_IMAGES = 200


@dataclass(frozen=True)
class StreamSettings:
    """A stream of tasks.

    Attributes:
        kind: ``split`` by class, or all classes with ``permuted`` pixels or ``rotated`` images.
        groups: classes of each task, for ``split``.
        tasks: number of tasks, for ``permuted``.
        degrees: angle of each task, for ``rotated``.
        scenario: see `spikelore.data.streams`.
        blur: width of the mixed zones at the boundaries of a task-free stream, in tasks.
        validation_share: share of each task's training images that is held out.
    """

    kind: Literal["split", "permuted", "rotated"] = "split"
    groups: tuple[tuple[int, ...], ...] = ((0, 1), (2, 3), (4, 5), (6, 7), (8, 9))
    tasks: int = 5
    degrees: tuple[float, ...] = (0.0, 45.0, 90.0, 135.0, 180.0)
    scenario: Scenario = "class-incremental"
    blur: float = 0.0
    validation_share: float = 0.1

    def __post_init__(self) -> None:
        check_choices(self, "stream.")
        if self.kind != "split" and self.scenario != "domain-incremental":
            raise InputError(
                f"a stream of kind {self.kind!r} has all classes in each task, expected the scenario "
                f"domain-incremental, not {self.scenario!r}; change one of them"
            )
        if self.blur and self.scenario != "task-free":
            raise InputError(f"blur is {self.blur}, expected 0 outside the task-free scenario; change one of them")

    def load(self, data: str, data_dir: Path | None, seed: int) -> Stream:
        """Return the stream of a dataset's images."""
        dataset = load(data, data_dir)
        share = self.validation_share
        if self.kind == "permuted":
            tasks = permuted_tasks(dataset, self.tasks, validation_share=share, seed=seed)
        elif self.kind == "rotated":
            tasks = rotated_tasks(dataset, self.degrees, validation_share=share, seed=seed)
        else:
            tasks = split_tasks(dataset, self.groups, validation_share=share, seed=seed)
            if self.scenario == "domain-incremental":
                tasks = domain_labels(tasks)
        return Stream(self.scenario, tasks)


@dataclass(frozen=True)
class Job:
    """Everything that decides one learner's result.

    Attributes:
        data: name of a dataset.
        seed: root seed.
        stream: the tasks.
        network: sizes and constants; ``classes`` is set from the stream.
        learner: the method.
        memory: what it may keep.
        measured_on: ``test`` images, or ``validation`` ones for choices.
    """

    data: str
    seed: int
    stream: StreamSettings
    network: SurrogateConfig
    learner: LearnerSettings
    memory: MemorySettings
    measured_on: Literal["test", "validation"] = "test"

    def __post_init__(self) -> None:
        check_choices(self)
        if self.learner.method == "published replay":
            self._check_published()
        if not self.tells_boundaries:
            self._check_free()
        self._check_memory()
        needs_validation = self.measured_on == "validation" or "own head for the current task" in self.learner.faults
        if needs_validation and not self.stream.validation_share:
            raise InputError(
                "validation_share is 0, expected above 0, since accuracies are measured on validation images; raise it "
                "or measure on test images alone"
            )

    def _check_published(self) -> None:
        stream, grows = self.stream, self.learner.grow_heads
        if stream.scenario not in ("class-incremental", "task-free") or stream.blur:
            raise InputError(
                f"published replay was given a {stream.scenario} stream with blur {stream.blur}, expected a "
                "class-incremental one, or a task-free one without blur; change the stream or the method"
            )
        if grows and stream.scenario != "class-incremental":
            raise InputError(
                f"grow_heads is true in a {stream.scenario} stream, expected the scenario class-incremental; change "
                "one of them"
            )

    def _check_free(self) -> None:
        learner = self.learner
        if learner.needs_boundaries:
            raise InputError(
                f"{learner.method} must know where tasks begin, which a task-free stream does not tell; choose another "
                "scenario or method"
            )
        if learner.keeps_examples and self.memory.policy == "ring":
            raise InputError(
                "memory.policy is 'ring', which divides places by task, expected another one in a task-free stream, "
                "which tells no tasks; choose another policy or scenario"
            )
        if learner.epochs != 1 and learner.method != "joint":
            raise InputError(
                f"epochs is {learner.epochs}, expected 1 in a task-free stream, which shows each image once; set it "
                "to 1"
            )

    def _check_memory(self) -> None:
        if self.learner.method == "latent replay" and self.memory.storage != "raw":
            raise InputError(
                f"memory.storage is {self.memory.storage!r}, expected 'raw' with latent replay, which stores spikes of "
                "a layer; leave it out"
            )
        if self.learner.keeps_examples:
            self.memory.budget()
        elif self.memory.images or self.memory.bytes:
            raise InputError(
                f"{self.learner.method} keeps no examples, so a memory of {self.memory.images} images and "
                f"{self.memory.bytes} bytes has no meaning; set both to 0 or choose another method"
            )

    def as_computed(self) -> "Job":
        """Return the job that gives the same numbers and is run in this one's place.

        A learner that listens to no boundaries, shown each image once and in the same order, does the same in a
        task-free stream with sharp boundaries as in a class-incremental one; so that is run once for both.
        """
        learner = self.learner
        deaf = learner.method in ("naive", "experience replay", "gdumb", "der++", "latent replay")
        alike = self.stream.scenario == "task-free" and not self.stream.blur
        if not (deaf and alike and learner.epochs == 1):
            return self
        return replace(self, stream=replace(self.stream, scenario="class-incremental"))

    @property
    def tells_boundaries(self) -> bool:
        """Whether the learner hears where tasks begin and end; the published one does in what its authors call free."""
        return self.stream.scenario != "task-free" or self.learner.method == "published replay"


@dataclass(frozen=True, eq=False)
class _Setting:
    """A job's tasks as they are learned and as they are tested."""

    stream: Stream
    learned: tuple[Task, ...]
    tests: tuple[LabelledImages, ...]


def _setting(job: Job, data_dir: Path | None) -> _Setting:
    stream = job.stream.load(job.data, data_dir, job.seed)
    learned = (joint(stream.tasks),) if job.learner.method == "joint" else stream.tasks
    tests = tuple(getattr(task, job.measured_on) for task in stream.tasks)
    return _Setting(stream, learned, tests)


def learner_of(job: Job, stream: Stream) -> "Learner":
    """Return a fresh network and learner for a job."""
    from spikelore.networks.surrogate import SurrogateNetwork

    rows, columns = stream.tasks[0].train.images.shape[1:]
    outputs = 0 if job.learner.grow_heads else len(stream.classes)
    config = replace(job.network, classes=outputs, image=(1, rows, columns))
    network = SurrogateNetwork(config, torch_generator(job.seed, "network"))
    return create(network, job.learner, job.memory, stream.classes, (rows, columns), job.seed, len(stream.tasks))


def _orders(job: Job, setting: _Setting, task: int, epoch: int) -> NDArray[np.int64]:
    """Return the (task, index) pairs of one pass, in order of arrival."""
    sizes = [len(each.train) for each in setting.learned]
    if job.stream.blur:
        return arrival(sizes, job.stream.blur, generator(job.seed, "arrival"))[task]
    order = generator(job.seed, "arrival", task, epoch).permutation(sizes[task])
    return np.stack([np.full(len(order), task), order], axis=1)


def _among(job: Job, stream: Stream, tested: int, after: int) -> tuple[int, ...]:
    """Return the classes that a test image of task ``tested`` is decided among after task ``after``."""
    if stream.scenario in ("task-incremental", "domain-incremental"):
        return stream.tasks[tested].classes
    return stream.classes if job.learner.method == "joint" else tuple(sorted(stream.seen(after)))


def _refuse_not_finite(arrays: Mapping[str, NDArray], what: str) -> None:
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise SpikeloreError(f"{name} has {what} that are not finite numbers; lower learner.learning_rate")


@dataclass
class _Position:
    """How far a run has come: all before (task, epoch, batch) is done; the pass's losses so far, summed up."""

    task: int = 0
    epoch: int = 0
    batch: int = 0
    seconds: float = 0.0
    losses: float = 0.0


class _Run:
    """One job in its folder."""

    def __init__(self, job: Job, folder: RunFolder, data_dir: Path | None, tick: Callable[[int], None]) -> None:
        self.job = job
        self.folder = folder
        self.tick = tick
        self.setting = _setting(job, data_dir)
        self.learner = learner_of(job, self.setting.stream)
        self.position = _Position()
        count = len(self.setting.tests)
        self.matrix = np.full((len(self.setting.learned), count), np.nan)
        self.untrained = np.full(count, np.nan)
        self.confusions: dict[str, NDArray[np.int64]] = {}
        self._resume()
        self.saved = time.monotonic()

    def _resume(self) -> None:
        found = self.folder.load_state()
        if found is None:
            return
        arrays, progress = found
        self.position = _Position(**progress["position"])
        self.matrix, self.untrained = arrays.pop("matrix"), arrays.pop("untrained")
        self.confusions = {name: arrays.pop(name) for name in [*arrays] if name.startswith("confusion/")}
        self.learner.load_state_dict(arrays, progress["learner"])

    def _save(self) -> None:
        arrays, facts = self.learner.state_dict()
        _refuse_not_finite(arrays, "values")
        arrays |= {"matrix": self.matrix, "untrained": self.untrained, **self.confusions}
        self.folder.save_state(arrays, {"position": vars(self.position), "learner": facts})
        self.saved = time.monotonic()

    def _learned(self) -> int:
        """Return how many images, repeated ones included, lie before the position."""
        at, learner = self.position, self.job.learner
        sizes = [len(task.train) for task in self.setting.learned]
        within = at.epoch * sizes[at.task] + at.batch * learner.batch if at.task < len(sizes) else 0
        return learner.epochs * sum(sizes[: at.task]) + within

    def _where(self) -> str:
        at, tasks = self.position, len(self.setting.learned)
        if at.task == tasks:
            place = "the end"
        elif at.epoch == self.job.learner.epochs:
            place = f"the tests after task {at.task + 1} of {tasks}"
        else:
            place = f"task {at.task + 1} of {tasks}, epoch {at.epoch + 1}, batch {at.batch + 1}"
        return f"{place} ({self.job.learner.method}, seed {self.job.seed})"

    def run(self) -> dict[str, Any]:
        """Learn and test to the end; return the row of ``results.json``."""
        try:
            return self._run()
        except InputError:
            raise
        except SpikeloreError as error:
            state = self.folder.checkpoint("state")
            kept = f"the last good state is kept in {state}" if state.exists() else "no state was saved yet"
            raise SpikeloreError(f"stopped at {self._where()}: {str(error).rstrip('.')}; {kept}") from error

    def _run(self) -> dict[str, Any]:
        self.begun = time.monotonic() - self.position.seconds
        self.tick(self._learned())
        if self.position == _Position() and self.job.stream.scenario == "domain-incremental":
            self.untrained = self._accuracies(range(len(self.setting.tests)), 0)
        for task in range(self.position.task, len(self.setting.learned)):
            self._learn(task)
        return self._row()

    def _learn(self, task: int) -> None:
        job, at, learner = self.job, self.position, self.learner
        if job.tells_boundaries and (at.epoch, at.batch) == (0, 0):
            learner.begin_task(task, self.setting.learned[task].classes)
        for epoch in range(at.epoch, job.learner.epochs):
            if job.tells_boundaries and at.batch == 0:
                learner.begin_epoch(task)
            self._pass(task, epoch)
            at.epoch, at.batch = epoch + 1, 0
        if job.tells_boundaries:
            learner.end_task(task)
        self._test(task)
        at.task, at.epoch = task + 1, 0
        at.seconds = time.monotonic() - self.begun
        self._save()

    def _pass(self, task: int, epoch: int) -> None:
        job, at = self.job, self.position
        order = _orders(job, self.setting, task, epoch)
        told = task if job.tells_boundaries else -1
        for number, part in enumerate(batches(order, job.learner.batch, drop_last=self.learner.drop_last)):
            if number < at.batch:
                continue
            images, labels = gather(self.setting.learned, part)
            at.losses += self.learner.learn(images, labels, told)
            at.batch = number + 1
            self.tick(len(part))
            if at.batch % _LOOK_EVERY == 0 and time.monotonic() - self.saved > _SAVE_SECONDS:
                at.seconds = time.monotonic() - self.begun
                self._save()
        if at.batch:
            mean = round(at.losses / at.batch, 6)
            self.folder.append_metrics(stage="learn", task=task, epoch=epoch, loss=mean, batches=at.batch)
        at.losses = 0.0

    def _accuracies(self, tasks: Any, after: int) -> NDArray[np.float64]:
        """Return the accuracy on the given tasks' test images, NaN for the others; keep the confusion matrix."""
        from spikelore.continual.methods.published import PublishedReplay

        found = np.full(len(self.setting.tests), np.nan)
        classes = tuple(sorted(self.setting.stream.classes))
        confusion = np.zeros((len(classes), len(classes) + 1), np.int64)
        with self.learner.asked():
            for tested in tasks:
                images = self.setting.tests[tested]
                among = _among(self.job, self.setting.stream, tested, after)
                decisions = self.learner.decide(images.images, among)
                found[tested] = (decisions == images.labels).mean()
                confusion += confusion_matrix(decisions, images.labels, classes)
            if isinstance(self.learner, PublishedReplay) and self._reports_own_head():
                held_out = self.setting.stream.tasks[after].validation
                decisions = self.learner.decide_in_head(held_out.images, after)
                found[after] = (decisions == held_out.labels).mean()
            self._keep_deciding_network()
        self.confusions[f"confusion/{after}"] = confusion
        return found

    def _reports_own_head(self) -> bool:
        joint_run = len(self.setting.learned) < len(self.setting.tests)
        return "own head for the current task" in self.job.learner.faults and not joint_run

    def _keep_deciding_network(self) -> None:
        from spikelore.networks.surrogate import SurrogateNetwork

        network = self.learner.network
        assert isinstance(network, SurrogateNetwork)
        _refuse_not_finite({name: tensor.numpy() for name, tensor in network.state_dict().items()}, "weights")
        network.save(self.folder.checkpoint("network"))

    def _test(self, task: int) -> None:
        everything = len(self.setting.learned) == 1 or self.setting.stream.scenario in (
            "task-incremental", "domain-incremental"
        )  # fmt: skip
        self.matrix[task] = self._accuracies(range(len(self.setting.tests) if everything else task + 1), task)
        self.folder.append_metrics(stage="test", task=task, accuracies=_plain(self.matrix[task]))

    def _operations(self) -> dict[str, float]:
        """Count what the network costs that decided last: the kept one."""
        from spikelore.networks.surrogate import SurrogateNetwork

        images = np.concatenate([each.images for each in self.setting.tests])
        chosen = generator(self.job.seed, "counted").choice(len(images), min(_COUNTED_IMAGES, len(images)), False)
        draws = torch_generator(self.job.seed, "asked", self.learner.questions, "network")
        network = SurrogateNetwork.load(self.folder.checkpoint("network"), draws)
        found = network.count_operations(self.learner.to_input(images[chosen]))
        synops = found.accumulates + found.multiply_accumulates
        return {
            "spikes_per_image": round(float(found.spikes.mean()), 1),
            "synops_per_image": round(float(synops.mean()), 1),
        }

    def _row(self) -> dict[str, Any]:
        matrix = self.matrix
        whole = matrix.shape[0] == matrix.shape[1]
        domain = self.setting.stream.scenario == "domain-incremental"
        averages = average_accuracies(matrix) if whole else matrix.mean(1)
        self.folder.write_arrays(self.confusions)
        return {
            "scenario": self.setting.stream.scenario,
            "method": self.job.learner.method,
            "memory_images": self.learner.memory_images,
            "memory_bytes": self.learner.memory_bytes,
            "seed": self.job.seed,
            "classes": list(self.setting.stream.classes),
            "accuracy_matrix": [_plain(line) for line in matrix],
            "average_accuracies": _plain(averages),
            "average_accuracy": round(float(averages[-1]), 5),
            "forgetting": round(forgetting(matrix), 5) if whole else None,
            "backward_transfer": round(backward_transfer(matrix), 5) if whole else None,
            "forward_transfer": round(forward_transfer(matrix, self.untrained), 5) if whole and domain else None,
            **self._operations(),
            "seconds": round(self.position.seconds, 1),
        }


def _plain(values: NDArray[np.float64]) -> list[float | None]:
    return [None if np.isnan(value) else round(float(value), 5) for value in values]


def run_job(
    job: Job, path: Path, data_dir: Path | None, tick: Callable[[int], None] = lambda _: None
) -> dict[str, Any]:
    """Run one job in ``path``, from where it was stopped; a finished one only returns its row.

    The run takes one thread, so that the same job gives the same bytes alone and beside others. ``tick`` is called
    with the number of images just learned, at first with those of the run that was stopped.

    Raises:
        InputError: the folder holds a run of another configuration, or what was asked cannot be run, which leaves
            no folder behind.
        SpikeloreError: a loss that is not a finite number; the state before it is kept.
    """
    import numba
    import torch

    with RunFolder(path, json.loads(json.dumps(asdict(job))), resume=True) as folder:
        if (finished := folder.results()) is not None:
            return finished
        threads = torch.get_num_threads(), numba.get_num_threads()
        torch.set_num_threads(1)
        numba.set_num_threads(1)
        try:
            row = _Run(job, folder, data_dir, tick).run()
        finally:
            torch.set_num_threads(threads[0])
            numba.set_num_threads(threads[1])
        folder.write_results(row)
        folder.drop_state()
    return row


def accuracy_of(job: Job, path: Path, data: str | None, data_dir: Path | None, classes: Sequence[int] = ()) -> float:
    """Return the accuracy of a finished job's network on test images.

    On the job's own stream it is the mean over the tasks, each decided as in the run. Images of another dataset come
    without tasks, so they are decided among all classes.

    Args:
        job: what was run.
        path: its folder.
        data: name of a dataset; None for the test images of the job's own tasks.
        data_dir: folder of datasets.
        classes: of the images that are asked; none for all. Tasks without such images are left out.

    Raises:
        InputError: the job has not finished, the network does not know a class of the images that are asked, or there
            is no image of a class.
    """
    from spikelore.networks.surrogate import SurrogateNetwork

    checkpoint = path / "checkpoints" / "network.safetensors"
    if not (path / "results.json").exists():
        raise InputError(f"{path} holds no finished learner; resume its run first")
    stream = job.stream.load(job.data, data_dir, job.seed)
    learner = learner_of(job, stream)
    if job.learner.grow_heads:
        assert isinstance(learner.network, SurrogateNetwork)
        for task in stream.tasks:
            learner.network.add_head(len(task.classes))
    learner.load_network(load_tensors(checkpoint)[0])
    if data:
        asked = [(load(data, data_dir).test, stream.classes)]
    else:
        last = len(stream.tasks) - 1
        asked = [(task.test, _among(job, stream, number, last)) for number, task in enumerate(stream.tasks)]
    present = {label for test, _ in asked for label in test.labels.tolist()}
    known = ", ".join(map(str, sorted(learner.classes)))
    for label in classes or sorted(present):
        if label not in learner.classes:
            raise InputError(
                f"class {label} is not known to the networks of {path.name}, expected one of {known}; choose classes "
                "of test images with --classes"
            )
        if label not in present:
            raise InputError(f"class {label} has no test image in {data or job.data}; choose others with --classes")
    if classes:
        asked = [(test.take(np.flatnonzero(np.isin(test.labels, classes))), among) for test, among in asked]
        asked = [(test, among) for test, among in asked if len(test)]
    return float(np.mean([(learner.decide(test.images, among) == test.labels).mean() for test, among in asked]))


def work(job: Job, data_dir: Path | None) -> int:
    """Return how many training images a job shows in all."""
    sizes = sum(len(task.train) for task in job.stream.load(job.data, data_dir, job.seed).tasks)
    return sizes * job.learner.epochs
