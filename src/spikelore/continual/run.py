"""One run: a stream, a network and a method give a `Result`.

It is the one way in which anything learns over time. Inputs arrive in the stream's order, accuracies are measured after
each task, and a state that is saved by `ContinualRun.state_dict` goes on as if nothing had come between.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spikelore.continual.method import Learner, Method, name_of
from spikelore.data.streams import Stream, Task, arrival, batches, gather, joint
from spikelore.errors import InputError, SpikeloreError
from spikelore.files import load_tensors, save_tensors
from spikelore.metrics import confusion_matrix
from spikelore.metrics.continual import average_accuracies, backward_transfer, forgetting
from spikelore.networks.protocol import Cost, Network
from spikelore.randomness import check_seed, generator

if TYPE_CHECKING:
    import pandas

_COUNTED = 200
"""Test inputs that the cost is measured on."""


@dataclass(frozen=True, eq=False)
class Result:
    """What a run gave.

    Attributes:
        network: its name.
        method: its name.
        stream: its name.
        scenario: what the learner was told and had to decide; see `spikelore.data.streams`.
        seed: root seed.
        classes: of the stream.
        tasks: their names.
        accuracy_matrix: (K, K): accuracy on task j's test inputs after task i, NaN where it was not asked; (1, K) of
            joint training.
        confusions: after each task (C, C + 1) decisions by class, classes ascending, the last column for none.
        points: accuracy over all classes so far at each point of measurement, as (inputs learned, accuracy).
        memory_images: places for examples of earlier tasks.
        memory_bytes: bytes of all that is kept of earlier tasks.
        cost: of deciding an input, at the end.
        inputs_learned: how often an input was learned from, stored ones not counted.
        seconds: of learning and measuring.
    """

    network: str
    method: str
    stream: str
    scenario: str
    seed: int
    classes: tuple[int, ...]
    tasks: tuple[str, ...]
    accuracy_matrix: NDArray[np.float64]
    confusions: tuple[NDArray[np.int64], ...]
    points: tuple[tuple[int, float], ...]
    memory_images: int
    memory_bytes: int
    cost: Cost | None
    inputs_learned: int
    seconds: float

    @property
    def _whole(self) -> bool:
        return self.accuracy_matrix.shape[0] == self.accuracy_matrix.shape[1]

    @property
    def average_accuracy(self) -> float:
        """Mean over the tasks at the end."""
        matrix = self.accuracy_matrix
        return float(average_accuracies(matrix)[-1]) if self._whole else float(matrix[-1].mean())

    @property
    def forgetting(self) -> float | None:
        """Mean over the earlier tasks of their best accuracy less the last; None of one task or joint training."""
        return _known(forgetting(self.accuracy_matrix)) if self._whole else None

    @property
    def backward_transfer(self) -> float | None:
        """Mean over the earlier tasks of what later ones did to them; None of one task or joint training."""
        return _known(backward_transfer(self.accuracy_matrix)) if self._whole else None

    @property
    def anytime_accuracy(self) -> float:
        """Mean accuracy over the points of measurement: the area under the curve where they are evenly spaced."""
        return float(np.mean([accuracy for _, accuracy in self.points]))

    @property
    def minimum_accuracy(self) -> float:
        """Mean over the earlier tasks of their lowest accuracy since they were learned; that at the end of one task."""
        matrix = self.accuracy_matrix
        if not self._whole or len(matrix) == 1:
            return float(matrix[-1].mean())
        return float(np.mean([matrix[task:, task].min() for task in range(len(matrix) - 1)]))

    def row(self) -> dict[str, Any]:
        """Return the numbers of one row of a table."""
        operations = self.cost.synaptic_operations if self.cost else None
        return {
            "network": self.network,
            "method": self.method,
            "stream": self.stream,
            "scenario": self.scenario,
            "seed": self.seed,
            "memory_images": self.memory_images,
            "memory_bytes": self.memory_bytes,
            "average_accuracy": round(self.average_accuracy, 5),
            "forgetting": _rounded(self.forgetting),
            "backward_transfer": _rounded(self.backward_transfer),
            "anytime_accuracy": round(self.anytime_accuracy, 5),
            "minimum_accuracy": round(self.minimum_accuracy, 5),
            "synops_learning": None if operations is None else round(operations * self.inputs_learned),
            "synops_per_input": None if operations is None else round(operations, 1),
            "seconds": round(self.seconds, 1),
        }


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 5)


class Callback:
    """What may watch a run; override what is of interest."""

    def on_batch(self, run: "ContinualRun", inputs: int, loss: float) -> None:
        """Hear that a batch of ``inputs`` was learned."""

    def on_task(self, run: "ContinualRun", task: int) -> None:
        """Hear that task ``task`` was learned and measured; ``run.result()`` has what is known by now."""


class StoppedError(SpikeloreError):
    """A run that could not go on.

    Attributes:
        result: what was measured before; None before the first task's end.
    """

    def __init__(self, sentence: str, result: Result | None) -> None:
        super().__init__(sentence)
        self.result = result


@dataclass
class _Position:
    """How far a run has come: all before (task, epoch, batch) is done."""

    task: int = 0
    epoch: int = 0
    batch: int = 0
    inputs: int = 0
    seconds: float = 0.0


@dataclass
class ContinualRun:
    """A run that can be stopped between any two batches and go on; `run` does it in one go.

    Attributes:
        stream: tasks in order.
        network: that learns; it is changed.
        method: that keeps knowledge.
        seed: root seed of the order of inputs and of all that the method draws.
        blur: width of the mixed zones at the boundaries of a task-free stream, in tasks.
        points: times to measure within each task, evenly spaced, beside its end.

    Raises:
        InputError: the network lacks what the method needs, or does not fit the stream.
    """

    stream: Stream
    network: Network
    method: Method
    seed: int = 0
    blur: float = 0.0
    points: int = 0
    learner: Learner = field(init=False)
    position: _Position = field(init=False, default_factory=_Position)

    def __post_init__(self) -> None:
        check_seed(self.seed)
        self.method.check(self.network)
        self._check_stream()
        together = self.method.name == "joint"
        self.learned: tuple[Task, ...] = (joint(self.stream.tasks),) if together else self.stream.tasks
        self.learner = self.method.start(self.network, seed=self.seed, tasks=len(self.learned))
        tasks = len(self.stream.tasks)
        self.matrix = np.full((len(self.learned), tasks), np.nan)
        self.confusions: list[NDArray[np.int64]] = []
        self.measured: list[tuple[int, float]] = []

    def _check_stream(self) -> None:
        stream, name = self.stream, name_of(self.network)
        missing = sorted(set(stream.classes) - set(self.network.classes))
        if missing:
            raise InputError(
                f"the stream has class {missing[0]}, expected some of the {name} network's "
                f"{list(self.network.classes)}; make the network with for_stream, or leave the class out"
            )
        shape = tuple(stream.tasks[0].train.images.shape[1:])
        if tuple(self.network.input_shape) != shape:
            raise InputError(
                f"the stream's inputs are of shape {shape}, expected {tuple(self.network.input_shape)} as the {name} "
                "network was made for; make the network with for_stream"
            )
        free = stream.scenario == "task-free"
        if free and self.method.boundaries:
            raise InputError(
                f"{self.method.name} must know where tasks begin, which a task-free stream does not tell; choose "
                "another scenario or method"
            )
        if free and self.method.epochs != 1 and self.method.name != "joint":
            raise InputError(
                f"epochs is {self.method.epochs}, expected 1 in a task-free stream, which shows each input once; set "
                "it to 1"
            )
        if self.blur and not free:
            raise InputError(f"blur is {self.blur}, expected 0 outside the task-free scenario; change one of them")

    def finish(self, callbacks: Iterable[Callback] = (), save: Callable[[], None] | None = None) -> Result:
        """Learn and measure to the end.

        Args:
            callbacks: are told of batches and tasks.
            save: called after each task.

        Raises:
            StoppedError: the method, or the network, raised something or gave a loss that is not a number; it has the
                result so far.
        """
        callbacks, began = list(callbacks), time.monotonic() - self.position.seconds
        while self.position.task < len(self.learned):
            task = self.position.task
            with self._one_sentence():
                for count, loss in self._learn(task):
                    self.position.seconds = time.monotonic() - began
                    for each in callbacks:
                        each.on_batch(self, count, loss)
                self._test(task)
            self.position.task, self.position.epoch, self.position.batch = task + 1, 0, 0
            self.position.seconds = time.monotonic() - began
            if save is not None:
                save()
            for each in callbacks:
                each.on_task(self, task)
        return self.result()

    def _one_sentence(self) -> "_OneSentence":
        return _OneSentence(self)

    def where(self) -> str:
        """Return the position in words."""
        at = self.position
        return f"task {at.task + 1} of {len(self.learned)}, epoch {at.epoch + 1}, batch {at.batch + 1}"

    @property
    def tells(self) -> bool:
        """Whether the learner hears where tasks begin and end."""
        return self.stream.scenario != "task-free"

    def _order(self, task: int, epoch: int) -> NDArray[np.int64]:
        """Return the (task, index) pairs of one pass, in order of arrival."""
        sizes = [len(each.train) for each in self.learned]
        if self.blur:
            return arrival(sizes, self.blur, generator(self.seed, "arrival"))[task]
        order = generator(self.seed, "arrival", task, epoch).permutation(sizes[task])
        return np.stack([np.full(len(order), task), order], axis=1)

    def _learn(self, task: int) -> Iterator[tuple[int, float]]:
        """Learn what is left of a task; yield the size and the loss of each batch."""
        at, learner, told = self.position, self.learner, task if self.tells else -1
        if self.tells and (at.epoch, at.batch) == (0, 0):
            learner.begin_task(task, self.learned[task].classes)
        for epoch in range(at.epoch, self.method.epochs):
            if self.tells and at.batch == 0:
                learner.begin_epoch(task)
            parts = list(batches(self._order(task, epoch), self.method.batch, drop_last=learner.drop_last))
            stops = self._points(len(parts)) if epoch == self.method.epochs - 1 else set()
            for number in range(at.batch, len(parts)):
                inputs, labels = gather(self.learned, parts[number])
                loss = learner.learn(inputs, labels, told)
                if not np.isfinite(loss):
                    raise SpikeloreError(f"the loss is {loss}, expected a number; lower the learning rate")
                at.batch, at.inputs = number + 1, at.inputs + len(labels)
                yield len(labels), loss
                if number + 1 in stops:
                    self._measure_point(task)
            at.epoch, at.batch = epoch + 1, 0
        if self.tells:
            learner.end_task(task)

    def _points(self, count: int) -> set[int]:
        return {count * n // (self.points + 1) for n in range(1, self.points + 1)} - {0, count}

    def among(self, tested: int, after: int) -> tuple[int, ...]:
        """Return the classes that a test input of task ``tested`` is decided among after task ``after``."""
        if self.stream.scenario in ("task-incremental", "domain-incremental"):
            return self.stream.tasks[tested].classes
        return self.stream.classes if self.method.name == "joint" else tuple(sorted(self.stream.seen(after)))

    def _asked(self, after: int) -> range:
        """Return the tasks whose test inputs are asked after a task."""
        everything = self.method.name == "joint" or self.stream.scenario in ("task-incremental", "domain-incremental")
        return range(len(self.stream.tasks) if everything else after + 1)

    def _answers(self, after: int) -> tuple[dict[int, float], NDArray[np.int64]]:
        """Return the accuracy on each asked task, and the confusion matrix."""
        classes = tuple(sorted(self.stream.classes))
        found, confusion = {}, np.zeros((len(classes), len(classes) + 1), np.int64)
        with self.learner.asked():
            for tested in self._asked(after):
                test = self.stream.tasks[tested].test
                decisions = self.learner.decide(test.images, self.among(tested, after))
                found[tested] = float((decisions == test.labels).mean())
                confusion += confusion_matrix(decisions, test.labels, classes)
        return found, confusion

    def _point_of(self, confusion: NDArray[np.int64]) -> tuple[int, float]:
        return self.position.inputs, float(np.trace(confusion) / confusion.sum())

    def _measure_point(self, task: int) -> None:
        self.measured.append(self._point_of(self._answers(task)[1]))

    def _test(self, task: int) -> None:
        found, confusion = self._answers(task)
        self.matrix[task, list(found)] = list(found.values())
        self.confusions.append(confusion)
        self.measured.append(self._point_of(confusion))

    def _cost(self) -> Cost | None:
        """Return what deciding costs the network that decides; None of a network that does not say."""
        images = np.concatenate([task.test.images for task in self.stream.tasks])
        chosen = generator(self.seed, "counted").choice(len(images), min(_COUNTED, len(images)), False)
        with suppress(InputError, NotImplementedError), self.learner.asked():
            return getattr(self.learner, "deciding", self.network).cost(images[np.sort(chosen)])
        return None

    def result(self) -> Result:
        """Return what is known by now: the tasks learned so far."""
        done, joint_run = self.position.task, self.method.name == "joint"
        tasks = self.stream.tasks if joint_run else self.stream.tasks[:done]
        return Result(
            name_of(self.network), self.method.name, self.stream.name, self.stream.scenario, self.seed,
            tuple(label for task in tasks for label in task.classes), tuple(task.name for task in tasks),
            self.matrix[:done, : len(tasks)].copy(), tuple(self.confusions), tuple(self.measured),
            self.learner.memory_images, self.learner.memory_bytes, self._cost() if done else None,
            self.position.inputs, self.position.seconds,
        )  # fmt: skip

    def state_dict(self) -> tuple[dict[str, NDArray], str]:
        """Return all that decides how the run goes on: arrays by name, and the rest as JSON."""
        arrays, facts = self.learner.state_dict()
        own = {"run/matrix": self.matrix, "run/points": np.array(self.measured, np.float64).reshape(-1, 2)}
        own |= {f"run/confusion/{n}": each for n, each in enumerate(self.confusions)}
        told = {"position": vars(self.position), "learner": facts, "of": self._of()}
        return {**arrays, **own}, json.dumps(told)

    def _of(self) -> list[str]:
        """Return what a state belongs to."""
        return [name_of(self.network), repr(self.method), repr(self.stream.classes), str(self.seed)]

    def load_state_dict(self, arrays: Mapping[str, NDArray], facts: str) -> None:
        """Go on from what `state_dict` of a run of the same parts returned.

        Raises:
            InputError: it is of a run of other parts.
        """
        told = json.loads(facts)
        for mine, theirs, what in zip(self._of(), told["of"], ("network", "method", "classes", "seed"), strict=True):
            if mine != theirs:
                raise InputError(f"the saved run has the {what} {theirs}, expected {mine}; name another file")
        rest = dict(arrays)
        self.matrix = rest.pop("run/matrix").copy()
        self.measured = [(int(inputs), float(accuracy)) for inputs, accuracy in rest.pop("run/points")]
        self.confusions = []
        while (found := rest.pop(f"run/confusion/{len(self.confusions)}", None)) is not None:
            self.confusions.append(found)
        self.learner.load_state_dict(rest, told["learner"])
        self.position = _Position(**told["position"])


class _OneSentence:
    """Turns what a method or network raises in mid-stream into one sentence with the result so far."""

    def __init__(self, run: ContinualRun) -> None:
        self.run = run

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if error is None or not isinstance(error, Exception):
            return
        run = self.run
        reason = str(error).rstrip(".")
        if not isinstance(error, SpikeloreError):
            reason = f"{type(error).__name__}: {reason}"
        result = run.result() if run.position.task else None
        kept = f"the results of {run.position.task} tasks are kept" if result else "no task was learned yet"
        raise StoppedError(f"{run.method.name} stopped at {run.where()}: {reason}; {kept}", result) from error


def run(
    stream: Stream,
    network: Network,
    method: Method,
    seed: int = 0,
    callbacks: Sequence[Callback] = (),
    *,
    blur: float = 0.0,
    points: int = 0,
    state: str | Path | None = None,
) -> Result:
    """Let a network learn a stream by a method, and measure it after each task.

    Args:
        stream: tasks in order; see `spikelore.data.streams`.
        network: that learns, fresh or trained; it is changed. See `spikelore.networks.protocol`.
        method: that keeps knowledge; see `spikelore.continual.methods`.
        seed: root seed of the order of inputs and of all that the method draws.
        callbacks: are told of each batch and each task.
        blur: width of the mixed zones at the boundaries of a task-free stream, in tasks.
        points: times to measure within each task, beside its end.
        state: file to keep the run's state in after each task; where it exists, the run goes on from it. None for none.

    Raises:
        InputError: the network lacks what the method needs, or does not fit the stream; the file's state is of another
            run.
        StoppedError: the method or the network failed in mid-stream; its ``result`` has the tasks before.

    Example:
        >>> import spikelore as sl
        >>> stream = sl.split_stream("digits-sample", [(0, 1), (2, 3)])
        >>> result = sl.run(stream, sl.RateLIFNetwork.for_stream(stream, neurons_per_class=10), sl.Naive())
        >>> result.average_accuracy > 0.7
        True
    """
    going = ContinualRun(stream, network, method, seed, blur, points)
    if state is None:
        return going.finish(callbacks)
    path = Path(state)
    if path.exists():
        arrays, metadata = load_tensors(path)
        if "run" not in metadata:
            raise InputError(f"{path} holds no run's state, expected one that spikelore.run wrote; name another file")
        going.load_state_dict(arrays, metadata["run"])

    def save() -> None:
        arrays, facts = going.state_dict()
        save_tensors(path, arrays, {"run": facts})

    return going.finish(callbacks, save)


def table(results: Iterable[Result]) -> "pandas.DataFrame":
    """Return one row a result as a pandas DataFrame; see `Result.row` for its columns.

    ``table(results).pivot_table("average_accuracy", "method", "network")`` compares methods and networks.
    """
    import pandas

    return pandas.DataFrame([result.row() for result in results])
