"""What decides one learner's result: a configuration without variants, with one seed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from spikelore.continual.method import Method
from spikelore.continual.methods import MemorySettings, PublishedReplay
from spikelore.errors import InputError, check_choices
from spikelore.experiments.learner_settings import LearnerSettings
from spikelore.experiments.stream_settings import TASKS_IN, StreamSettings
from spikelore.networks.gradient_learning import GradientLearning
from spikelore.networks.surrogate_config import SurrogateConfig


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
        method = self.method
        if isinstance(method, PublishedReplay):
            self._check_published()
        if not self.tells_boundaries:
            self._check_free(method)
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

    def _check_free(self, method: Method) -> None:
        learner = self.learner
        if method.boundaries:
            raise InputError(
                f"{method.name} must know where tasks begin, which a task-free stream does not tell; choose another "
                "scenario or method"
            )
        if self.keeps_examples and self.memory.policy == "ring":
            raise InputError(
                "memory.policy is 'ring', which divides places by task, expected another one in a task-free stream, "
                "which tells no tasks; choose another policy or scenario"
            )
        if learner.epochs != 1 and learner.method != "joint":
            raise InputError(
                f"epochs is {learner.epochs}, expected 1 in a task-free stream, which shows each image once; set it "
                "to 1"
            )

    def as_computed(self) -> "Job":
        """Return the job that gives the same numbers and is run in this one's place.

        A learner that listens to no boundaries, shown each image once and in the same order, does the same in a
        task-free stream with sharp boundaries as in a class-incremental one; so that is run once for both.
        """
        learner = self.learner
        deaf = not self.method.listens and learner.method != "joint"
        alike = self.stream.scenario == "task-free" and not self.stream.blur
        if not (deaf and alike and learner.epochs == 1):
            return self
        return replace(self, stream=replace(self.stream, scenario="class-incremental"))

    @property
    def method(self) -> Method:
        """The method with its own settings."""
        return self.learner.split(self.memory)[0]

    @property
    def learning(self) -> GradientLearning:
        """How the network learns."""
        return self.learner.split(self.memory)[1]

    @property
    def keeps_examples(self) -> bool:
        """Whether the method has a memory with a budget."""
        return hasattr(self.method, "memory")

    @property
    def tells_boundaries(self) -> bool:
        """Whether the learner hears where tasks begin and end; the published one does in what its authors call free."""
        return self.stream.scenario != "task-free" or self.learner.method == "published replay"


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
