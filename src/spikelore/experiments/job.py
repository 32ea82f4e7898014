"""What decides one learner's result: a configuration without variants, with one seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from spikelore.continual.method import Method
from spikelore.continual.methods import MemorySettings
from spikelore.data.events import Events
from spikelore.data.examples import Examples
from spikelore.data.streams import Stream, Task
from spikelore.errors import InputError, check_fields
from spikelore.experiments import network_settings
from spikelore.experiments.execution import place_
from spikelore.experiments.learner_settings import LearnerSettings
from spikelore.experiments.network_settings import OtherNetwork
from spikelore.experiments.stream_settings import TASKS_IN, Datasets, StreamSettings
from spikelore.networks.surrogate_config import SurrogateConfig

if TYPE_CHECKING:
    from spikelore.continual.run import ContinualRun


@dataclass(frozen=True)
class Job:
    """Everything that decides one learner's result.

    Attributes:
        data: name of a dataset.
        seed: root seed.
        stream: the tasks.
        network: sizes and constants, of a surrogate network or of another kind; classes and image are the stream's.
        learner: the method.
        memory: what it may keep.
        measured_on: ``test`` images, or ``validation`` ones for choices.
    """

    data: str
    seed: int
    stream: StreamSettings
    network: SurrogateConfig | OtherNetwork
    learner: LearnerSettings
    memory: MemorySettings
    measured_on: Literal["test", "validation"] = "test"

    def __post_init__(self) -> None:
        check_fields(self)
        _ = self.method
        stream, free = self.stream, self.stream.scenario == "task-free"
        if self.is_published and (stream.scenario not in ("class-incremental", "task-free") or stream.blur):
            raise InputError(
                f"published replay was given a {stream.scenario} stream with blur {stream.blur}, expected a "
                "class-incremental one, or a task-free one without blur; change the stream or the method"
            )
        if self.learner.grow_heads and free:
            raise InputError(
                "grow_heads is true in a task-free stream, expected the scenario class-incremental; change one of them"
            )
        if self._needs_validation and not stream.validation_share:
            raise InputError(
                "validation_share is 0, expected above 0, since accuracies are measured on validation images; raise it "
                "or measure on test images alone"
            )

    @property
    def method(self) -> Method:
        """The method with its own settings."""
        return self.learner.split(self.memory)[0]

    @property
    def is_published(self) -> bool:
        """Whether the method is the published one, which hears boundaries also in what its authors call task-free."""
        return self.learner.method == "published replay"

    @property
    def _needs_validation(self) -> bool:
        return self.measured_on == "validation" or "own head for the current task" in self.learner.faults

    @property
    def keeps_examples(self) -> bool:
        """Whether the method has a memory with a budget."""
        return hasattr(self.method, "memory")

    def as_computed(self) -> "Job":
        """Return the job that gives the same numbers and is run in this one's place.

        A learner that listens to no boundaries, shown each image once and in the same order, does the same in a
        task-free stream with sharp boundaries as in a class-incremental one; so that is run once for both.
        """
        deaf = not self.method.listens and self.learner.method != "joint" and self.memory.policy != "ring"
        alike = self.stream.scenario == "task-free" and not self.stream.blur
        if not (deaf and alike and self.learner.epochs == 1):
            return self
        return replace(self, stream=replace(self.stream, scenario="class-incremental"))

    def load(self, datasets: Datasets, learned: tuple[str, ...] = ()) -> Stream:
        """Return the tasks as they are learned and measured; see `StreamSettings.load`.

        Raises:
            InputError: as that says, or a task without an image to measure on.
        """
        stream = datasets.stream(self.stream, self.data, self.seed, learned)
        part = "validation" if self._needs_validation else "test"
        for task in stream.tasks:
            if len(task.train) and not len(getattr(task, part)):
                raise InputError(
                    f"task {task.name!r} has no {part} image beside its {len(task.train)} training images at "
                    f"validation_share {self.stream.validation_share:g}, expected at least one; raise "
                    "validation_share or take larger classes"
                )
        tasks = [replace(task, test=getattr(task, self.measured_on)) for task in stream.tasks]
        scenario = "class-incremental" if self.is_published else stream.scenario
        return replace(stream, tasks=tuple(tasks), scenario=scenario)

    def run(self, stream: Stream, sizes: Sequence[int], device: str = "cpu") -> "ContinualRun":
        """Return the run of a fresh network and learner over a stream that `load` returned.

        Args:
            stream: of all tasks.
            sizes: training images of the tasks that the run began with, or of all; they may be gone.
            device: where the network computes, if gradients teach it.

        Raises:
            InputError: the stream, network and method do not fit, or there is no such device.
        """
        from spikelore.continual.run import ContinualRun

        method, learning = self.learner.split(self.memory)
        first = replace(stream, tasks=tuple(map(_with_images, stream.tasks, sizes)))
        network = network_settings.made(self.network, first, self.seed, learning, grow_heads=self.learner.grow_heads)
        place_(network, device)
        points = getattr(self.stream, "points", 0)
        return ContinualRun(stream, network, method, self.seed, self.stream.blur, points, began=len(sizes))


def _with_images(task: Task, count: int) -> Task:
    """Return a task with as many training images, black ones where its own are gone: for a network to be made for."""
    if len(task.train) == count:
        return task
    if isinstance(task.train.inputs, Events):
        raise InputError(
            f"the {count} recordings of task {task.name!r} are gone, expected them to be there for a network of "
            "recordings to be made for; put them back"
        )
    images = np.zeros((count, *task.train.inputs.shape[1:]), np.uint8)
    return replace(task, train=Examples(images, np.resize(np.array(task.classes, np.int64), count)))


def lengthens(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether a job, in plain values, is another one with further tasks; other data may come with them.

    Raises:
        InputError: it has other tasks, which do not begin with those of the other one, or its method or stream does
            not allow it.
    """
    key = TASKS_IN.get(new["stream"]["kind"], "")

    def others(job: Mapping[str, Any]) -> Any:
        return {**job, "data": None, "stream": {**job["stream"], key: None}}

    if "stream" not in old or key not in old["stream"] or others(old) != others(new):
        return False
    before, after = old["stream"][key], new["stream"][key]
    if before == after:
        return False
    longer = after > before if key == "tasks" else after[: len(before)] == before
    if not longer:
        raise InputError(
            f"stream.{key} is {after}, but the run is of {before}, expected further tasks after these; choose another "
            "--out for another stream"
        )
    method = new["learner"]["method"]
    if method == "joint":
        raise InputError("joint training learns all tasks at once, so none can follow; choose another --out")
    if new["stream"]["blur"]:
        raise InputError(
            f"stream.blur is {new['stream']['blur']}, which mixes the images of all tasks there are, expected 0 for a "
            "stream that gets more of them; choose another --out"
        )
    return True
