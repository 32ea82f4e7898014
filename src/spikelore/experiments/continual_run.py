"""One learner over one stream: arrival of images, tests after each task, and a state to go on from.

A finished run keeps its state, and goes on where its stream is lengthened: its configuration may get further tasks, and
with them another dataset, which is theirs. Images of learned tasks may be gone.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from spikelore.data import load
from spikelore.data.registry import LabelledImages
from spikelore.data.streams import (
    Stream,
    Task,
    arrival,
    batches,
    gather,
    joint,
)
from spikelore.errors import InputError, SpikeloreError
from spikelore.experiments.job import Job, lengthens
from spikelore.experiments.run_folder import RunFolder, read_results
from spikelore.experiments.stream_settings import sides
from spikelore.experiments.typed import plain
from spikelore.files import load_tensors
from spikelore.metrics import confusion_matrix
from spikelore.metrics.continual import average_accuracies, backward_transfer, forgetting, forward_transfer
from spikelore.randomness import generator, torch_generator

if TYPE_CHECKING:
    from spikelore.continual.methods.gradient import GradientLearner

_SAVE_SECONDS = 30.0
_LOOK_EVERY = 20
_COUNTED_IMAGES = 200


@dataclass(frozen=True, eq=False)
class _Setting:
    """A job's tasks as they are learned and as they are tested."""

    stream: Stream
    learned: tuple[Task, ...]
    tests: tuple[LabelledImages, ...]


def _setting(job: Job, data_dir: Path | None, learned: Sequence[str]) -> _Setting:
    """Return a job's tasks; the first ones, learned from the datasets ``learned``, may have no images any more."""
    stream = job.stream.load(job.data, data_dir, job.seed, learned)
    each = (joint(stream.tasks),) if job.learner.method == "joint" else stream.tasks
    tests = tuple(getattr(task, job.measured_on) for task in stream.tasks)
    held_out = job.measured_on == "validation" or "own head for the current task" in job.learner.faults
    for task in stream.tasks:
        images = task.validation if held_out else task.test
        if len(task.train) and not len(images):
            raise InputError(
                f"task {task.name!r} has no {'validation' if held_out else 'test'} image beside its {len(task.train)} "
                f"training images at validation_share {job.stream.validation_share:g}, expected at least one; raise "
                "validation_share or take larger classes"
            )
    return _Setting(stream, each, tests)


@dataclass(frozen=True)
class _Begun:
    """What a learner was made for: the stream that its run began with, which may have been lengthened since."""

    classes: tuple[int, ...]
    tasks: int
    image: tuple[int, int]

    @classmethod
    def of(cls, stream: Stream) -> "_Begun":
        rows, columns = stream.tasks[0].train.images.shape[1:]
        return cls(stream.classes, len(stream.tasks), (rows, columns))

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> "_Begun":
        return cls(tuple(values["classes"]), values["tasks"], tuple(values["image"]))


def learner_of(job: Job, stream: Stream) -> "GradientLearner":
    """Return a fresh network and learner for a job and the whole of its stream."""
    return _learner_of(job, _Begun.of(stream))


def _learner_of(job: Job, begun: _Begun) -> "GradientLearner":
    from spikelore.networks.surrogate import SurrogateNetwork

    outputs = 0 if job.learner.grow_heads else len(begun.classes)
    config = replace(job.network, classes=outputs, image=(1, *begun.image))
    network = SurrogateNetwork(config, torch_generator(job.seed, "network"))
    method, learning = job.learner.split(job.memory)
    told = SimpleNamespace(name="surrogate", module=network, learning=learning)
    told.classes, told.input_shape, told.learn_ = begun.classes, begun.image, None
    learner = method.start(told, seed=job.seed, tasks=begun.tasks)  # type: ignore[arg-type]
    return cast("GradientLearner", learner)


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
        if name == "memory/extras":  # logits of classes that came later are NaN there
            continue
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
        found = folder.load_state()
        progress = found[1] if found else {}
        self.data = _names(job, progress)
        self.setting = _setting(job, data_dir, _learned(job, progress))
        self.begun = now = _Begun.of(self.setting.stream)
        if "begun" in progress:
            self.begun = _Begun.from_plain(progress["begun"])
        if self.begun.image != now.image:
            raise InputError(
                f"{job.data} has images of {sides(now.image)}, but the run has learned images of "
                f"{sides(self.begun.image)}, expected the same; resize them"
            )
        if job.stream.kind != "split" and self.begun.classes != now.classes:
            raise InputError(
                f"{job.data} has classes {list(now.classes)}, but the run has learned {list(self.begun.classes)}, "
                f"expected the same in a {job.stream.kind} stream; name another dataset"
            )
        self.learner = learner_of(job, self.setting.stream)  # of the whole stream, which may be refused
        self.position = _Position()
        count = len(self.setting.tests)
        self.matrix = np.full((len(self.setting.learned), count), np.nan)
        self.untrained = np.full(count, np.nan)
        self.confusions: dict[str, NDArray[np.int64]] = {}
        if found:
            self._resume(*found)
        self.saved = time.monotonic()

    def _resume(self, arrays: dict[str, NDArray], progress: Mapping[str, Any]) -> None:
        """Take over a state, which may be of a shorter stream."""
        if self.begun != _Begun.of(self.setting.stream):
            self.learner = _learner_of(self.job, self.begun)
        self.position = _Position(**progress["position"])
        if row := kept_row(self.folder.path):
            self.position.seconds = max(self.position.seconds, row["seconds"])
        matrix, untrained = arrays.pop("matrix"), arrays.pop("untrained")
        self.matrix[: len(matrix), : matrix.shape[1]] = matrix
        self.untrained[: len(untrained)] = untrained
        classes = sorted(self.setting.stream.classes)
        known = np.searchsorted(classes, sorted(progress.get("classes", classes)))
        columns = np.append(known, len(classes))
        for name in [name for name in arrays if name.startswith("confusion/")]:
            self.confusions[name] = np.zeros((len(classes), len(classes) + 1), np.int64)
            self.confusions[name][np.ix_(known, columns)] = arrays.pop(name)
        self.learner.load_state_dict(arrays, progress["learner"])

    def _save(self) -> None:
        arrays, facts = self.learner.state_dict()
        _refuse_not_finite(arrays, "values")
        arrays |= {"matrix": self.matrix, "untrained": self.untrained, **self.confusions}
        at_the_end = self.position.task == len(self.setting.learned)
        progress = {
            # Time is no part of what a finished run leaves of itself, so that two leave the same; its row has it.
            "position": {**vars(self.position), **({"seconds": 0.0} if at_the_end else {})},
            "begun": asdict(self.begun),
            "classes": self.setting.stream.classes,
            "data": self.data,
            "learner": facts,
        }
        self.folder.save_state(arrays, progress)
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
        return f"{place} ({self.job.method.name}, seed {self.job.seed})"

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
        self.started = time.monotonic() - self.position.seconds
        self.tick(self._learned())
        if self.job.stream.scenario == "domain-incremental":
            self._measure_ahead()
        for task in range(self.position.task, len(self.setting.learned)):
            self._learn(task)
        return self._row()

    def _measure_ahead(self) -> None:
        """Measure what forward transfer needs of the tasks that the state knows nothing of."""
        at, tests = self.position, range(len(self.setting.tests))
        ahead = [test for test in tests if np.isnan(self.untrained[test]) and test >= at.task]
        if not ahead:
            return
        fresh = self.learner if at == _Position() else learner_of(self.job, self.setting.stream)
        with fresh.asked():
            self.untrained[ahead] = self._answers(fresh, tests, 0)[0][ahead]
        if at.task and (at.epoch, at.batch) == (0, 0):
            self.learner.questions -= 1  # of the tests after the last task, which these belong to
            with self.learner.asked():
                self.matrix[at.task - 1, ahead] = self._answers(self.learner, tests, at.task - 1)[0][ahead]

    def _learn(self, task: int) -> None:
        job, at, learner = self.job, self.position, self.learner
        stream = self.setting.stream
        if task >= learner.tasks:
            new = tuple(label for label in stream.classes if label not in learner.classes)
            learner.grow(new, len(stream.tasks))
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
        at.seconds = time.monotonic() - self.started
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
                at.seconds = time.monotonic() - self.started
                self._save()
        if at.batch:
            mean = round(at.losses / at.batch, 6)
            self.folder.append_metrics(stage="learn", task=task, epoch=epoch, loss=mean, batches=at.batch)
        at.losses = 0.0

    def _answers(
        self, learner: "GradientLearner", tasks: Sequence[int], after: int
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return a learner's accuracy on the given tasks' test images, and its confusion matrix.

        The accuracy is NaN for other tasks, for those whose images are gone and for classes that it has no output for.
        """
        found = np.full(len(self.setting.tests), np.nan)
        classes = tuple(sorted(self.setting.stream.classes))
        confusion = np.zeros((len(classes), len(classes) + 1), np.int64)
        for tested in tasks:
            images = self.setting.tests[tested]
            among = _among(self.job, self.setting.stream, tested, after)
            if not len(images) or not set(among) <= set(learner.classes):
                continue
            decisions = learner.decide(images.images, among)
            found[tested] = (decisions == images.labels).mean()
            confusion += confusion_matrix(decisions, images.labels, classes)
        return found, confusion

    def _accuracies(self, tasks: Sequence[int], after: int) -> NDArray[np.float64]:
        """Return the accuracies of `_answers`; keep the network that decides and the confusion matrix."""
        from spikelore.continual.methods.published import PublishedReplayLearner

        with self.learner.asked():
            found, confusion = self._answers(self.learner, tasks, after)
            if isinstance(self.learner, PublishedReplayLearner) and self._reports_own_head():
                held_out = self.setting.stream.tasks[after].validation
                decisions = self.learner.decide_in_head(held_out.images, after)
                found[after] = (decisions == held_out.labels).mean()
            self._keep_deciding_network(after)
        self.confusions[f"confusion/{after}"] = confusion
        return found

    def _reports_own_head(self) -> bool:
        joint_run = len(self.setting.learned) < len(self.setting.tests)
        return "own head for the current task" in self.job.learner.faults and not joint_run

    def _keep_deciding_network(self, after: int) -> None:
        from spikelore.networks.readout import Decision
        from spikelore.networks.surrogate import SurrogateNetwork

        network = self.learner.module
        assert isinstance(network, SurrogateNetwork)
        _refuse_not_finite({name: tensor.numpy() for name, tensor in network.state_dict().items()}, "weights")
        stream, told = self.setting.stream, self.job.learner
        classes = self.learner.classes[: sum(network.head_sizes)]
        among = stream.classes if told.method == "joint" else stream.seen(after)
        network.decision = Decision(classes, among, told.readout, told.input)
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
        gone = [task.name for task, one in zip(self.setting.stream.tasks, matrix[-1], strict=True) if np.isnan(one)]
        return {
            "scenario": self.setting.stream.scenario,
            "method": self.job.method.name,
            "memory_images": self.learner.memory_images,
            "memory_bytes": self.learner.memory_bytes,
            "seed": self.job.seed,
            "classes": list(self.setting.stream.classes),
            "tasks": [task.name for task in self.setting.stream.tasks],
            **({"task_data": list(self.data)} if set(self.data) != {self.job.data} else {}),
            **({"not_measured": gone} if gone else {}),
            "accuracy_matrix": [_plain(line) for line in matrix],
            "average_accuracies": _plain(averages),
            "average_accuracy": round(float(averages[-1]), 5),
            "forgetting": _number(forgetting(matrix)) if whole else None,
            "backward_transfer": _number(backward_transfer(matrix)) if whole else None,
            "forward_transfer": _number(forward_transfer(matrix, self.untrained)) if whole and domain else None,
            **self._operations(),
            "seconds": round(self.position.seconds, 1),
        }


def _plain(values: NDArray[np.float64]) -> list[float | None]:
    return [_number(value) for value in values]


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 5)


def _names(job: Job, progress: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the name of each task's dataset: of those that a state knows as it says, then the job's."""
    known = tuple(progress.get("data", ()))
    return (*known, *[job.data] * (len(job.stream) - len(known)))


def _learned(job: Job, progress: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the datasets of the tasks that a state has learned and will not show again: their images may be gone."""
    shown_once = progress and job.learner.method != "joint" and not job.stream.blur
    return _names(job, progress)[: progress["position"]["task"]] if shown_once else ()


def _progress(path: Path) -> dict[str, Any]:
    """Return what a state in a job's folder says of its progress; nothing without a state."""
    state = path / "checkpoints" / "state.safetensors"
    return json.loads(load_tensors(state)[1]["progress"]) if state.exists() else {}


def learned_data(job: Job, path: Path) -> tuple[str, ...]:
    """Return the dataset of each task that a job in its folder has learned: their images may be gone."""
    return _learned(job, _progress(path))


def finished(job: Job, path: Path) -> dict[str, Any] | None:
    """Return the kept row of a job whose whole stream was learned and tested, or None."""
    row = kept_row(path)
    tasks = 1 if job.learner.method == "joint" else len(job.stream)
    return row if row and len(row["accuracy_matrix"]) == tasks else None


def kept_row(path: Path) -> dict[str, Any] | None:
    """Return the row that a run kept when it ended last, maybe of a shorter stream, or None."""
    return read_results(path) if (path / "results.json").exists() else None


def run_job(
    job: Job, path: Path, data_dir: Path | None, tick: Callable[[int], None] = lambda _: None
) -> dict[str, Any]:
    """Run one job in ``path``, from where it was stopped or its stream was lengthened; a finished one returns its row.

    The run takes one thread, so that the same job gives the same bytes alone and beside others. ``tick`` is called
    with the number of images just learned, at first with those of the run that was stopped.

    Raises:
        InputError: the folder holds a run of another configuration, or what was asked cannot be run, which leaves
            no folder behind.
        SpikeloreError: a loss that is not a finite number; the state before it is kept.
    """
    from spikelore.experiments.threads import one_thread

    with RunFolder(path, plain(job), resume=True, lengthens=lengthens) as folder:
        if row := finished(job, path):
            return row
        if kept_row(path) and not folder.checkpoint("state").exists():
            raise InputError(
                f"{path} has no checkpoints/state.safetensors, which a run goes on from (earlier versions deleted it "
                "at the end); learn the longer stream from the start in another --out"
            )
        with one_thread():
            row = _Run(job, folder, data_dir, tick).run()
        folder.write_results(row)
        if job.learner.method == "joint":  # nothing can follow
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
    from spikelore.networks.readout import Decision
    from spikelore.networks.surrogate import SurrogateNetwork

    row = finished(job, path)
    if row is None:
        raise InputError(f"{path} holds no finished learner; resume its run first")
    draws = torch_generator(job.seed, "asked again", "network")
    network = SurrogateNetwork.load(path / "checkpoints" / "network.safetensors", draws)
    known_classes = tuple(row["classes"])
    network.decision = Decision(known_classes, known_classes, job.learner.readout, job.learner.input)
    if data:
        asked = [(load(data, data_dir).test, known_classes)]
    else:
        names = row.get("task_data") or [job.data] * len(job.stream)
        stream = job.stream.load(job.data, data_dir, job.seed, names)
        last = len(stream.tasks) - 1
        among = [_among(job, stream, number, last) for number in range(last + 1)]
        asked = [(task.test, each) for task, each in zip(stream.tasks, among, strict=True) if len(task.test)]
        say_not_measured([task.name for task in stream.tasks if not len(task.test)])
    present = {label for test, _ in asked for label in test.labels.tolist()}
    known = ", ".join(map(str, sorted(known_classes)))
    for label in classes or sorted(present):
        if label not in known_classes:
            raise InputError(
                f"class {label} is not known to the networks of {path.name}, expected one of {known}; choose classes "
                "of test images with --classes"
            )
        if label not in present:
            raise InputError(f"class {label} has no test image in {data or job.data}; choose others with --classes")
    if classes:
        asked = [(test.take(np.flatnonzero(np.isin(test.labels, classes))), among) for test, among in asked]
        asked = [(test, among) for test, among in asked if len(test)]
    return float(np.mean([(network.predict(test.images, among) == test.labels).mean() for test, among in asked]))


def listed(tasks: Sequence[str]) -> str:
    """Return the names of tasks for people, such as ``tasks 0,1; 2,3``."""
    return f"task{'s' if len(tasks) > 1 else ''} {'; '.join(tasks)}"


def say_not_measured(tasks: Sequence[str]) -> None:
    """Tell people, in a line on stderr, which tasks have no images any more."""
    if tasks:
        print(f"not measured: {listed(tasks)}, whose images are gone from the data", file=sys.stderr)


def work(job: Job, path: Path, data_dir: Path | None) -> int:
    """Return how many training images a job shows in all, less those that are gone; 0 for a finished one."""
    if finished(job, path):
        return 0
    return (
        sum(len(task.train) for task in _setting(job, data_dir, learned_data(job, path)).learned) * job.learner.epochs
    )
