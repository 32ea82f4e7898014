"""One run: a stream, a network and a method give a `Result`.

It is the one way in which anything learns over time. Inputs arrive in the stream's order, accuracies are measured after
each task, and a state that is saved by `ContinualRun.state_dict` goes on as if nothing had come between.
"""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spikelore.continual.method import Learner, Method, name_of
from spikelore.data.examples import concatenated
from spikelore.data.streams import Stream, Task, arrival, batches, gather, joint
from spikelore.errors import InputError, SpikeloreError
from spikelore.files import load_tensors, save_tensors
from spikelore.metrics import confusion_matrix
from spikelore.metrics.continual import (
    average_accuracies,
    backward_transfer,
    forgetting,
    forward_transfer,
    mean,
    minimum_accuracy,
    recency_bias,
    stability_gap,
)
from spikelore.metrics.learning_cost import OF_MEMORIES, Tally, Work
from spikelore.networks.protocol import Accountable, Cost, Network
from spikelore.randomness import check_seed, generator

if TYPE_CHECKING:
    import pandas

_COUNTED = 200
"""Test inputs that the cost of deciding is measured on."""
_WORKED = 50
"""Of these, those that the cost of learning is measured on."""


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
        accuracy_matrix: (K, K): accuracy on task j's test inputs after task i, NaN where it was not asked or its inputs
            are gone; (1, K) of joint training.
        confusions: after each task (C, C + 1) decisions by class, classes ascending, the last column for none.
        points: accuracy over all classes so far at each point of measurement, as (inputs learned, accuracy).
        memory_images: places for examples of earlier tasks.
        memory_bytes: bytes of all that is kept of earlier tasks.
        cost: of deciding an input, at the end; None before it, or of a network that does not say.
        work: of all learning, replayed inputs and what a method does before it is asked included, answers left out;
            None of a network that does not say. What each kind of work takes is measured at the end, on test inputs.
        inputs_learned: how often an input was learned from, stored ones not counted.
        seconds: of learning and measuring.
        untrained: (K,) accuracy on each task before all learning, in a domain-incremental stream; NaN elsewhere.
        between: (P, 1 + K) at each point of measurement within a task its number and the accuracy on each task.
        newest: classes of the last task.
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
    work: Work | None
    inputs_learned: int
    seconds: float
    untrained: NDArray[np.float64]
    between: NDArray[np.float64]
    newest: tuple[int, ...]

    @property
    def _whole(self) -> bool:
        return self.accuracy_matrix.shape[0] == self.accuracy_matrix.shape[1]

    @property
    def average_accuracies(self) -> NDArray[np.float64]:
        """Mean over the tasks so far, after each."""
        matrix = self.accuracy_matrix
        return average_accuracies(matrix) if self._whole else np.array([mean(row) for row in matrix])

    @property
    def average_accuracy(self) -> float:
        """Mean over the tasks at the end."""
        return float(self.average_accuracies[-1])

    @property
    def forgetting(self) -> float | None:
        """Mean over the earlier tasks of their best accuracy less the last; None of one task or joint training."""
        return _known(forgetting(self.accuracy_matrix)) if self._whole else None

    @property
    def backward_transfer(self) -> float | None:
        """Mean over the earlier tasks of what later ones did to them; None of one task or joint training."""
        return _known(backward_transfer(self.accuracy_matrix)) if self._whole else None

    @property
    def forward_transfer(self) -> float | None:
        """Mean over the later tasks of what earlier ones did for them; None but in a domain-incremental stream."""
        asked = self._whole and self.scenario == "domain-incremental"
        return _known(forward_transfer(self.accuracy_matrix, self.untrained)) if asked else None

    @property
    def anytime_accuracy(self) -> float:
        """Mean accuracy over the points of measurement: the area under the curve where they are evenly spaced."""
        return mean([accuracy for _, accuracy in self.points])

    @property
    def minimum_accuracy(self) -> float:
        """Mean over the earlier tasks of their lowest accuracy since they were learned; that at the end of one task.

        Points of measurement within later tasks count.
        """
        return minimum_accuracy(self.accuracy_matrix, self.between) if self._whole else mean(self.accuracy_matrix[-1])

    @property
    def stability_gap(self) -> float | None:
        """What is lost of earlier tasks in mid-task and comes back by its end; None without points within tasks."""
        return _known(stability_gap(self.accuracy_matrix, self.between)) if self._whole else None

    @property
    def recency_bias(self) -> float | None:
        """Share of earlier tasks' inputs decided for a class of the last; None of one task or where classes are shared.

        Chance, where nothing is known, is the share of the last task's classes.
        """
        if not self._whole or not self.confusions:
            return None
        return _known(recency_bias(self.confusions[-1], sorted(self.classes), self.newest))

    def row(self) -> dict[str, Any]:
        """Return the numbers of one row of a table."""
        operations, work = self.cost.synaptic_operations if self.cost else None, self.work
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
            "forward_transfer": _rounded(self.forward_transfer),
            "anytime_accuracy": _rounded(self.anytime_accuracy),
            "minimum_accuracy": _rounded(self.minimum_accuracy),
            "stability_gap": _rounded(self.stability_gap),
            "recency_bias": _rounded(self.recency_bias),
            **{f"{name}_learning": work and round(value) for name, value in asdict(work or Work()).items()},
            "synops_learning": work and round(work.synaptic_operations),
            "joules_learning": work and float(f"{work.joules():.4g}"),
            "synops_per_input": None if operations is None else round(operations, 1),
            "seconds": round(self.seconds, 1),
        }


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _rounded(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else round(value, 5)


class Callback:
    """What may watch a run; override what is of interest."""

    def on_batch(self, run: "ContinualRun", inputs: int, loss: float) -> None:
        """Hear that a batch of ``inputs`` was learned."""

    def on_epoch(self, run: "ContinualRun", task: int, epoch: int) -> None:
        """Hear that a pass over a task's inputs has ended: ``run.position`` has its batches and the sum of losses."""

    def on_test(self, run: "ContinualRun", task: int) -> None:
        """Hear that task ``task`` was measured, while the network is still the one that decides, ``run.deciding``."""

    def on_task(self, run: "ContinualRun", task: int) -> None:
        """Hear that task ``task`` was learned and measured; ``run.result()`` has what is known by now."""


class StoppedError(SpikeloreError):
    """A run that could not go on.

    Attributes:
        reason: what went wrong, without a full stop.
        result: what was measured before; None before the first task's end.
    """

    def __init__(self, sentence: str, reason: str, result: Result | None) -> None:
        super().__init__(sentence)
        self.reason = reason
        self.result = result


@dataclass
class Position:
    """How far a run has come: all before (task, epoch, batch) is done.

    Attributes:
        task: number of the task.
        epoch: passes over it.
        batch: batches of the pass.
        inputs: learned in all.
        losses: sum of the pass's.
        seconds: of learning and measuring.
        known: tasks that the learner has room for.
    """

    task: int = 0
    epoch: int = 0
    batch: int = 0
    inputs: int = 0
    losses: float = 0.0
    seconds: float = 0.0
    known: int = 0


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
        began: how many of the stream's first tasks the network and the memory were made for; when the next one begins,
            room is made for all others. 0 for all tasks.
        callbacks: are told of batches and tasks.

    Raises:
        InputError: the network lacks what the method needs, or does not fit the stream.
    """

    stream: Stream
    network: Network
    method: Method
    seed: int = 0
    blur: float = 0.0
    points: int = 0
    began: int = 0
    callbacks: Sequence[Callback] = ()
    learner: Learner = field(init=False)
    position: Position = field(init=False)

    def __post_init__(self) -> None:
        check_seed(self.seed)
        self.method.check(self.network)
        self.began = self.began or len(self.stream.tasks)
        self._check_stream()
        self.learned: tuple[Task, ...] = (joint(self.stream.tasks),) if self._joint else self.stream.tasks
        self.position = Position(known=min(self.began, len(self.learned)))
        self.learner = self.method.start(self.network, seed=self.seed, tasks=self.position.known)
        tasks = len(self.stream.tasks)
        self.matrix = np.full((len(self.learned), tasks), np.nan)
        self.untrained = np.full(tasks, np.nan)
        self.confusions: list[NDArray[np.int64]] = []
        self.measured: list[tuple[int, float]] = []
        self.between = np.zeros((0, 1 + tasks))
        self.cost: Cost | None = None
        self.work: Work | None = None
        self.tally = self.network.tally if isinstance(self.network, Accountable) else Tally()
        self.tally.counts = {}

    def _check_stream(self) -> None:
        stream, name = self.stream, name_of(self.network)
        missing = sorted(set(stream.seen(self.began - 1)) - set(self.network.classes))
        if missing:
            raise InputError(
                f"the stream has class {missing[0]}, expected some of the {name} network's "
                f"{list(self.network.classes)}; make the network with for_stream, or leave the class out"
            )
        shape = tuple(stream.tasks[0].train.inputs.shape[1:])
        if tuple(self.network.input_shape) != shape:
            raise InputError(
                f"the stream's inputs are of shape {shape}, expected {tuple(self.network.input_shape)} as the {name} "
                "network was made for; make the network with for_stream"
            )
        if self.tells:
            if self.blur:
                raise InputError(f"blur is {self.blur}, expected 0 outside the task-free scenario; change one of them")
            return
        if self.method.boundaries:
            raise InputError(
                f"{self.method.name} must know where tasks begin, which a task-free stream does not tell; choose "
                "another scenario or method"
            )
        if getattr(getattr(self.method, "memory", None), "policy", "") == "ring":
            raise InputError(
                "memory.policy is 'ring', which divides places by task, expected another one in a task-free stream, "
                "which tells no tasks; choose another policy or scenario"
            )
        if self.method.epochs != 1 and not self._joint:
            raise InputError(
                f"epochs is {self.method.epochs}, expected 1 in a task-free stream, which shows each input once; set "
                "it to 1"
            )

    @property
    def tells(self) -> bool:
        """Whether the learner hears where tasks begin and end."""
        return self.stream.scenario != "task-free"

    @property
    def deciding(self) -> Network:
        """The network that decides; that of a learner that rehearses only while it is asked, see `Callback.on_test`."""
        return getattr(self.learner, "deciding", self.network)

    @property
    def _joint(self) -> bool:
        return self.method.name == "joint"

    def finish(self) -> Result:
        """Learn and measure to the end.

        Raises:
            StoppedError: the method, or the network, raised something or gave a loss that is not a number; it has the
                result so far.
        """
        for _ in self.steps():
            pass
        return self.result()

    def steps(self) -> Iterator[tuple[str, float]]:
        """Go on to the end; the state may be saved at each point where it yields.

        Yields:
            what was just done and the number of inputs learned: after each batch, and 0 after the tests of each task.

        Raises:
            StoppedError: as `finish` says.
        """
        at, began = self.position, time.monotonic() - self.position.seconds
        with self._one_sentence():
            if not (at.task or at.epoch or at.batch):
                self._measure_untrained()
        while at.task < len(self.learned):
            task = at.task
            with self._one_sentence():
                for count, loss in self._learn(task):
                    at.seconds = time.monotonic() - began
                    self._tell("on_batch", count, loss)
                    yield f"task {task + 1}", count
                self._test(task)
            at.task, at.epoch, at.batch = task + 1, 0, 0
            at.seconds = time.monotonic() - began
            self._tell("on_task", task)
            yield f"task {task + 1}", 0

    def _tell(self, what: str, *facts: Any) -> None:
        for each in self.callbacks:
            getattr(each, what)(self, *facts)

    @contextmanager
    def _one_sentence(self) -> Iterator[None]:
        """Turn what a method or network raises in mid-stream into one sentence with the result so far."""
        try:
            yield
        except Exception as error:
            reason = str(error).rstrip(".")
            if not isinstance(error, SpikeloreError):
                reason = f"{type(error).__name__}: {reason}"
            done = self.position.task
            kept = f"the results of {done} tasks are kept" if done else "no task was learned yet"
            raise StoppedError(
                f"{self.method.name} stopped at {self.where()}: {reason}; {kept}",
                reason,
                self.result() if done else None,
            ) from error

    def where(self) -> str:
        """Return the position in words."""
        at, tasks = self.position, len(self.learned)
        if at.task == tasks:
            return "the end"
        if at.epoch == self.method.epochs:
            return f"the tests after task {at.task + 1} of {tasks}"
        return f"task {at.task + 1} of {tasks}, epoch {at.epoch + 1}, batch {at.batch + 1}"

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
        if task >= at.known:
            learner.grow(tuple(each for each in self.stream.classes if each not in learner.classes), len(self.learned))
            at.known = len(self.learned)
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
                at.batch, at.inputs, at.losses = number + 1, at.inputs + len(labels), at.losses + loss
                yield len(labels), loss
                if number + 1 in stops:
                    self._measure_point(task)
            self._tell("on_epoch", task, epoch)
            at.epoch, at.batch, at.losses = epoch + 1, 0, 0.0
        if self.tells:
            learner.end_task(task)

    def _points(self, count: int) -> set[int]:
        return {count * n // (self.points + 1) for n in range(1, self.points + 1)} - {0, count}

    def among(self, tested: int, after: int) -> tuple[int, ...]:
        """Return the classes that a test input of task ``tested`` is decided among after task ``after``."""
        if self.stream.scenario in ("task-incremental", "domain-incremental"):
            return self.stream.tasks[tested].classes
        return self.stream.classes if self._joint else tuple(sorted(self.stream.seen(after)))

    def _asked(self, after: int) -> range:
        """Return the tasks whose test inputs are asked after a task."""
        everything = self._joint or self.stream.scenario in ("task-incremental", "domain-incremental")
        return range(len(self.stream.tasks) if everything else after + 1)

    def _answers(self, after: int) -> tuple[dict[int, float], NDArray[np.int64]]:
        """Return the accuracy on each asked task, and the confusion matrix.

        Tasks whose inputs are gone, or that have a class which the learner does not know yet, are left out.
        """
        classes = tuple(sorted(self.stream.classes))
        found, confusion = {}, np.zeros((len(classes), len(classes) + 1), np.int64)
        for tested in self._asked(after):
            test, among = self.stream.tasks[tested].test, self.among(tested, after)
            if len(test) and set(among) <= set(self.learner.classes):
                with self.tally.paused():
                    decisions = self.learner.decide(test.inputs, among)
                found[tested] = float((decisions == test.labels).mean())
                confusion += confusion_matrix(decisions, test.labels, classes)
        return found, confusion

    def _keep_point(self, confusion: NDArray[np.int64]) -> None:
        if confusion.any():
            self.measured.append((self.position.inputs, float(np.trace(confusion) / confusion.sum())))

    def _measure_point(self, task: int) -> None:
        with self.learner.asked():
            found, confusion = self._answers(task)
        self._keep_point(confusion)
        row = np.full((1, self.between.shape[1]), np.nan)
        row[0, 0] = task
        row[0, [1 + tested for tested in found]] = list(found.values())
        self.between = np.concatenate([self.between, row])

    def _measure_untrained(self) -> None:
        """Measure, with a fresh learner, what forward transfer compares with."""
        if self.stream.scenario == "domain-incremental":
            with self.learner.asked():
                found, _ = self._answers(0)
            self.untrained[list(found)] = list(found.values())

    def _test(self, task: int) -> None:
        with self.learner.asked():
            found, confusion = self._answers(task)
            reported = getattr(self.learner, "reported_accuracy", None)
            if task in found and reported is not None:
                found[task] = reported(found[task], self.learned[task].validation, task)
            self._tell("on_test", task)
            if task == len(self.learned) - 1:
                self.cost, self.work = self._cost()
        self.matrix[task, list(found)] = list(found.values())
        self.confusions.append(confusion)
        self._keep_point(confusion)

    def _cost(self) -> tuple[Cost | None, Work | None]:
        """Return what deciding an input costs the network that decides, and all learning has cost; None if unknown."""
        ends = np.cumsum([0, *(len(task.test) for task in self.stream.tasks)])
        chosen = np.sort(generator(self.seed, "counted").choice(ends[-1], min(_COUNTED, ends[-1]), False))
        parts = np.split(chosen, np.searchsorted(chosen, ends[1:-1]))
        tests = zip(self.stream.tasks, parts, ends[:-1], strict=True)
        found = [task.test.take(part - start) for task, part, start in tests]
        asked = concatenated(found)
        images, labels = asked.inputs, asked.labels
        cost = work = None
        with suppress(InputError, NotImplementedError), self.tally.paused():  # of a network that does not say
            cost = self.deciding.cost(images)
        if isinstance(self.deciding, Accountable):
            few = np.arange(0, len(images), max(1, len(images) // _WORKED))
            works = self.deciding.works(images[few], labels[few])
            work = self.tally.work({**works, **OF_MEMORIES})
        return cost, work

    def result(self) -> Result:
        """Return what is known by now: the tasks learned so far."""
        done = self.position.task
        tasks = self.stream.tasks if self._joint else self.stream.tasks[:done]
        return Result(
            name_of(self.network), self.method.name, self.stream.name, self.stream.scenario, self.seed,
            tuple(dict.fromkeys(label for task in tasks for label in task.classes)), tuple(task.name for task in tasks),
            self.matrix[:done, : len(tasks)].copy(), tuple(self.confusions), tuple(self.measured),
            self.learner.memory_images, self.learner.memory_bytes, self.cost, self.work, self.position.inputs,
            self.position.seconds, self.untrained[: len(tasks)].copy(),
            self.between[self.between[:, 0] < done, : 1 + len(tasks)], tasks[-1].classes if tasks else (),
        )  # fmt: skip

    def state_dict(self) -> tuple[dict[str, NDArray], str]:
        """Return all that decides how the run goes on: arrays by name, and the rest as JSON."""
        arrays, facts = self.learner.state_dict()
        own = {"run/matrix": self.matrix, "run/untrained": self.untrained}
        own["run/between"] = self.between
        own["run/points"] = np.array(self.measured, np.float64).reshape(-1, 2)
        own |= {f"run/confusion/{n}": each for n, each in enumerate(self.confusions)}
        told = {
            "position": vars(self.position), "cost": self.cost and asdict(self.cost), "began": self.began,
            "work": self.work and asdict(self.work), "tally": self.tally.counts,
            "classes": [task.classes for task in self.stream.tasks], "learner": facts, "of": self._of(),
        }  # fmt: skip
        return {**arrays, **own}, json.dumps(told)

    def _of(self) -> dict[str, str]:
        """Return what a state belongs to."""
        return {"network": name_of(self.network), "method": repr(self.method), "seed": str(self.seed)}

    def load_state_dict(self, arrays: Mapping[str, NDArray], facts: str) -> None:
        """Go on from what `state_dict` of a run of the same parts returned; its stream may lack the last tasks.

        Raises:
            InputError: it is of a run of other parts.
        """
        told = json.loads(facts)
        known = told["classes"]
        mine = {**self._of(), "classes": str([list(task.classes) for task in self.stream.tasks[: len(known)]])}
        for what, theirs in {**told["of"], "classes": str(known)}.items():
            if mine[what] != theirs:
                raise InputError(f"the saved run has the {what} {theirs}, expected {mine[what]}; name another file")
        if len(known) < len(self.stream.tasks) and (self._joint or self.blur):
            raise InputError(
                f"the saved run mixes the inputs of its {len(known)} tasks, expected a stream of as many; begin anew"
            )
        rest = dict(arrays)
        untrained, matrix = rest.pop("run/untrained"), rest.pop("run/matrix")
        if len(untrained) < len(self.stream.tasks):
            self._measure_untrained()
        self.untrained[: len(untrained)] = untrained
        self.matrix[: len(matrix), : matrix.shape[1]] = matrix
        self.measured = [(int(inputs), float(accuracy)) for inputs, accuracy in rest.pop("run/points")]
        between = rest.pop("run/between", self.between)
        self.between = np.full((len(between), self.between.shape[1]), np.nan)
        self.between[:, : between.shape[1]] = between
        labels = sorted(self.stream.classes)
        rows = np.searchsorted(labels, sorted({label for task in known for label in task}))
        self.confusions = []
        while (found := rest.pop(f"run/confusion/{len(self.confusions)}", None)) is not None:
            self.confusions.append(np.zeros((len(labels), len(labels) + 1), np.int64))
            self.confusions[-1][np.ix_(rows, np.append(rows, len(labels)))] = found
        self.cost = Cost(**told["cost"]) if told["cost"] else None
        self.work = Work(**told["work"]) if told.get("work") else None
        self.learner.load_state_dict(rest, told["learner"])
        self.tally.counts = told.get("tally", {})
        self.position = Position(**told["position"])
        if self.stream.scenario == "domain-incremental" and self.position.task == len(matrix) < len(self.learned):
            self._measure_ahead(len(matrix))

    def _measure_ahead(self, done: int) -> None:
        """Measure the tasks that came after the run had ended, as they were then: they belong to its last tests."""
        if hasattr(self.learner, "questions"):
            self.learner.questions -= 1  # type: ignore[attr-defined]  # what it draws is of the question's number
        with self.learner.asked():
            found, _ = self._answers(done - 1)
        self.matrix[done - 1, done:] = [found.get(task, np.nan) for task in range(done, len(self.stream.tasks))]


def began_with(facts: str) -> int:
    """Return how many tasks a run began with, by its saved facts: see `ContinualRun.began`."""
    return json.loads(facts)["began"]


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
        state: file to keep the run's state in after each task; where it exists, the run goes on from it, also where the
            stream has got further tasks. The network is then one for the tasks that the run began with. None for none.

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
    if state is None:
        return ContinualRun(stream, network, method, seed, blur, points, callbacks=callbacks).finish()
    path, saved = Path(state), None
    if path.exists():
        arrays, metadata = load_tensors(path)
        if "run" not in metadata:
            raise InputError(f"{path} holds no run's state, expected one that spikelore.run wrote; name another file")
        saved = arrays, metadata["run"]
    began = began_with(saved[1]) if saved else 0
    going = ContinualRun(stream, network, method, seed, blur, points, began, (_Saving(path), *callbacks))
    if saved:
        going.load_state_dict(*saved)
    return going.finish()


class _Saving(Callback):
    """Keeps the state of a run in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_task(self, run: ContinualRun, task: int) -> None:
        arrays, facts = run.state_dict()
        save_tensors(self.path, arrays, {"run": facts})


def table(results: Iterable[Result]) -> "pandas.DataFrame":
    """Return one row a result as a pandas DataFrame; see `Result.row` for its columns.

    ``table(results).pivot_table("average_accuracy", "method", "network")`` compares methods and networks.
    """
    import pandas

    return pandas.DataFrame([result.row() for result in results])
