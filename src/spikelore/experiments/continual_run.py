"""One learner over one stream in a folder: `spikelore.continual.run` with a state to go on from.

A finished run keeps its state, and goes on where its stream is lengthened: its configuration may get further tasks, and
with them another dataset, which is theirs. Images of learned tasks may be gone.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikelore.continual.run import Callback, ContinualRun, StoppedError
from spikelore.errors import InputError, SpikeloreError
from spikelore.experiments.execution import Execution, place_
from spikelore.experiments.job import Job, lengthens
from spikelore.experiments.network_settings import network_class
from spikelore.experiments.run_folder import RunFolder
from spikelore.experiments.stages import Stages
from spikelore.experiments.stream_settings import Datasets, sides
from spikelore.experiments.typed import plain
from spikelore.files import load_tensors
from spikelore.networks.protocol import arrays_of
from spikelore.progress import shown
from spikelore.report.runs import read_results

_SAVE_SECONDS = 30.0


def _refuse_not_finite(arrays: Mapping[str, Any], what: str) -> None:
    for name, array in arrays.items():
        if name == "memory/extras":  # logits of classes that came later are NaN there
            continue
        numbers = np.asarray(array)
        # Minus infinity is the time of what never was.
        if numbers.dtype.kind == "f" and not (np.isfinite(numbers) | (numbers == -np.inf)).all():
            raise SpikeloreError(f"{name} has {what} that are not finite numbers; lower learner.learning_rate")


class _Kept(Callback):
    """Leaves in a folder the lines of metrics and, after each task, the network that decides."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder

    def on_epoch(self, run: ContinualRun, task: int, epoch: int) -> None:
        at = run.position
        if at.batch:
            mean = round(at.losses / at.batch, 6)
            self.folder.append_metrics(stage="learn", task=task, epoch=epoch, loss=mean, batches=at.batch)

    def on_test(self, run: ContinualRun, task: int) -> None:
        network: Any = run.deciding
        _refuse_not_finite(arrays_of(network), "weights")
        if hasattr(network, "head_sizes"):  # heads come with their tasks
            network.classes = run.learner.classes[: sum(network.head_sizes)]
        if hasattr(network, "among"):
            network.among = run.stream.classes if run.method.name == "joint" else run.stream.seen(task)
        network.save(self.folder.checkpoint("network"))

    def on_task(self, run: ContinualRun, task: int) -> None:
        self.folder.append_metrics(stage="test", task=task, accuracies=_plain(run.matrix[task]))


class Learning:
    """A run as a `spikelore.experiments.stages.Stage`, whose state also says what each task was learned from.

    Attributes:
        run: the run.
        data: name of each task's dataset: of those that the state knows as it says, then the job's.
        sizes: number of training images of each task, likewise.
        image: rows and columns of an image.
    """

    def __init__(
        self,
        job: Job,
        datasets: Datasets,
        facts: str | None,
        callbacks: Sequence[Callback] = (),
        device: str = "cpu",
    ) -> None:
        """Make the run of a job.

        Args:
            job: what is run.
            datasets: where its images are; those of tasks that the state has learned may be gone.
            facts: of a state, maybe of a shorter stream; None for a run that begins.
            callbacks: of the run.
            device: see `spikelore.experiments.execution.Execution`.

        Raises:
            InputError: the data, network and method do not fit, or there is no such device.
        """
        told: dict[str, Any] = json.loads(facts) if facts else {"data": [], "sizes": []}
        self.data = [*told["data"], *[job.data] * (len(job.stream) - len(told["data"]))]
        before = json.loads(told["run"]) if facts else {"position": {"task": 0}, "began": 0}
        shown_once = job.learner.method != "joint" and not job.stream.blur
        stream = job.load(datasets, tuple(self.data[: before["position"]["task"]]) if shown_once else ())
        self.image = list(stream.tasks[0].train.inputs.shape[1:])
        if told.get("image", self.image) != self.image:
            raise InputError(
                f"{job.data} has images of {sides(self.image)}, but the run has learned images of "
                f"{sides(told['image'])}, expected the same; resize them"
            )
        self.sizes = [*told["sizes"], *(len(task.train) for task in stream.tasks[len(told["sizes"]) :])]
        self.run = job.run(stream, self.sizes, device)  # over the whole stream, which may be refused
        if before["began"] not in (0, len(stream.tasks)):
            self.run = job.run(stream, self.sizes[: before["began"]], device)
        self.run.callbacks = callbacks

    def state_dict(self) -> tuple[dict[str, NDArray], str]:
        """Return the run's state but for its seconds, which the stages keep."""
        self.run.position.seconds = 0.0
        arrays, facts = self.run.state_dict()
        _refuse_not_finite({name: each for name, each in arrays.items() if not name.startswith("run/")}, "values")
        return arrays, json.dumps({"data": self.data, "sizes": self.sizes, "image": self.image, "run": facts})

    def load_state_dict(self, arrays: Mapping[str, NDArray], facts: str, /) -> None:
        """Go on from a state, which may be of a shorter stream."""
        self.run.load_state_dict(arrays, json.loads(facts)["run"])

    def steps(self) -> Iterator[tuple[str, float]]:
        """Go on to the end."""
        return self.run.steps()


def check_job(job: Job, path: Path, datasets: Datasets) -> None:
    """Refuse a job that could not begin, or go on in its folder.

    Raises:
        InputError: its data, network and method do not fit.
    """
    state = path / "checkpoints" / "state.safetensors"
    if not finished(job, path):
        facts = json.loads(load_tensors(state)[1]["progress"]).get("facts") if state.exists() else None
        Learning(job, datasets, facts)


def _plain(values: NDArray[np.float64]) -> list[float | None]:
    return [None if np.isnan(value) else round(float(value), 5) for value in values]


def finished(job: Job, path: Path) -> dict[str, Any] | None:
    """Return the kept row of a job whose whole stream was learned and tested, or None."""
    row = kept_row(path)
    tasks = 1 if job.learner.method == "joint" else len(job.stream)
    return row if row and len(row["accuracy_matrix"]) == tasks else None


def kept_row(path: Path) -> dict[str, Any] | None:
    """Return the row that a run kept when it ended last, maybe of a shorter stream, or None."""
    return read_results(path) if (path / "results.json").exists() else None


def run_job(job: Job, datasets: Datasets, execution: Execution, path: Path) -> dict[str, Any]:
    """Run one job in ``path``, from where it was stopped or its stream was lengthened; a finished one returns its row.

    The run takes one thread, so that the same job gives the same bytes alone and beside others.

    Raises:
        InputError: the folder holds a run of another configuration, or what was asked cannot be run, which leaves
            no folder behind.
        SpikeloreError: a loss that is not a finite number; the state before it is kept.
    """
    from spikelore.experiments.threads import one_thread

    with RunFolder(path, plain(job), resume=True, lengthens=lengthens, loggers=execution.loggers) as folder:
        if row := finished(job, path):
            return row
        stages, shorter = Stages(folder, every_s=_SAVE_SECONDS), kept_row(path)
        if shorter and stages.facts is None:
            raise InputError(
                f"{path} has no checkpoints/state.safetensors, which a run goes on from (earlier versions deleted it "
                "at the end); learn the longer stream from the start in another --out"
            )
        learning = Learning(job, datasets, stages.facts, [_Kept(folder)], execution.device)
        with one_thread(), shown(sum(learning.sizes) * job.learner.epochs, stages.done, "learning") as meter:
            _go_through(stages, learning, job, folder, meter.advance)
        row = _row(job, learning.run, learning.data, stages.seconds + (shorter["seconds"] if shorter else 0.0))
        folder.write_arrays({f"confusion/{n}": each for n, each in enumerate(learning.run.confusions)})
        folder.write_results(row)
        if job.learner.method == "joint":  # nothing can follow
            folder.drop_state()
    return row


def _go_through(
    stages: Stages, learning: Learning, job: Job, folder: RunFolder, advance: Callable[[str, float], None]
) -> None:
    """Learn to the end; say where it stopped, if it does, and what is kept."""
    try:
        stages.run([lambda: learning], advance)
    except InputError:
        raise
    except SpikeloreError as error:
        if isinstance(error.__cause__, InputError):
            raise error.__cause__ from error
        reason = error.reason if isinstance(error, StoppedError) else str(error).rstrip(".")
        state = folder.checkpoint("state")
        kept = f"the last good state is kept in {state}" if state.exists() else "no state was saved yet"
        place = f"{learning.run.where()} ({job.method.name}, seed {job.seed})"
        raise SpikeloreError(f"stopped at {place}: {reason}; {kept}") from error


def _row(job: Job, run: ContinualRun, data: Sequence[str], seconds: float) -> dict[str, Any]:
    result, stream = run.result(), run.stream
    gone = [task.name for task, one in zip(stream.tasks, run.matrix[-1], strict=True) if np.isnan(one)]
    found, cost = result.row(), result.cost
    told = {
        "scenario": job.stream.scenario,
        "method": result.method,
        "memory_images": result.memory_images,
        "memory_bytes": result.memory_bytes,
        "seed": job.seed,
        "classes": list(stream.classes),
        "tasks": list(result.tasks),
        **({"task_data": list(data)} if set(data) != {job.data} else {}),
        **({"not_measured": gone} if gone else {}),
        "accuracy_matrix": [_plain(line) for line in result.accuracy_matrix],
        "average_accuracies": _plain(result.average_accuracies),
        **{name: found[name] for name in ("average_accuracy", "forgetting", "backward_transfer", "forward_transfer")},
        "spikes_per_image": cost and round(cost.spikes, 1),
        "synops_per_image": cost and round(cost.synaptic_operations, 1),
        "seconds": round(seconds, 1),
    }
    return {**told, **{name: value for name, value in found.items() if name not in told}}


def accuracy_of(
    job: Job, path: Path, data: str | None, datasets: Datasets, classes: Sequence[int] = (), device: str = "cpu"
) -> float:
    """Return the accuracy of a finished job's network on test images.

    On the job's own stream it is the mean over the tasks, each decided as in the run. Images of another dataset come
    without tasks, so they are decided among all classes.

    Args:
        job: what was run.
        path: its folder.
        data: name of a dataset; None for the test images of the job's own tasks.
        datasets: where they are.
        classes: of the images that are asked; none for all. Tasks without such images are left out.
        device: where the network decides; see `spikelore.experiments.execution.Execution`.

    Raises:
        InputError: the job has not finished, the network does not know a class of the images that are asked, or there
            is no image of a class.
    """
    row = finished(job, path)
    if row is None:
        raise InputError(f"{path} holds no finished learner; resume its run first")
    network = network_class(job.network).load(path / "checkpoints" / "network.safetensors")
    place_(network, device)
    known_classes = tuple(row["classes"])
    if data:
        asked = [(datasets(data).test, known_classes)]
    else:
        stream = job.stream.load(job.data, datasets, job.seed, row.get("task_data") or [job.data] * len(job.stream))
        apart = stream.scenario in ("task-incremental", "domain-incremental")
        asked = [(task.test, task.classes if apart else known_classes) for task in stream.tasks if len(task.test)]
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
    return float(np.mean([(network.predict(test.inputs, among) == test.labels).mean() for test, among in asked]))


def listed(tasks: Sequence[str]) -> str:
    """Return the names of tasks for people, such as ``tasks 0,1; 2,3``."""
    return f"task{'s' if len(tasks) > 1 else ''} {'; '.join(tasks)}"


def say_not_measured(tasks: Sequence[str]) -> None:
    """Tell people, in a line on stderr, which tasks have no images any more."""
    if tasks:
        print(f"not measured: {listed(tasks)}, whose images are gone from the data", file=sys.stderr)
