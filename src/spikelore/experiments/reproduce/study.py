"""The study: every network with every method on every stream within every budget, over seeds.

A cell of it is one learner over one stream, `spikelore.experiments.job.Job`, in a folder of its own under ``parts``. A
cell that fails ends no other: its row says why, and the next time it is tried again. What has no meaning is a row with
a sentence, ``why_not``. Cells leave their rows alone, no networks: there may be hundreds.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from spikelore import plain_yaml
from spikelore.continual.methods import MemorySettings
from spikelore.data.examples import Examples, concatenated
from spikelore.data.streams import Stream, Task, split_tasks
from spikelore.errors import InputError
from spikelore.experiments import shipped
from spikelore.experiments.continual_run import check_job, finished, run_job
from spikelore.experiments.execution import Execution
from spikelore.experiments.job import Job
from spikelore.experiments.learner_settings import LearnerSettings, for_variant
from spikelore.experiments.network_settings import OtherNetwork, network_class
from spikelore.experiments.parallel import Cell, cores, in_a_line
from spikelore.experiments.run_folder import RunFolder, versions
from spikelore.experiments.stream_settings import Datasets, StreamSettings
from spikelore.experiments.typed import changed, check_values, made, nested
from spikelore.files import remove, write_json_atomic
from spikelore.metrics.learning_cost import Energies, Work
from spikelore.networks.surrogate_config import SurrogateConfig
from spikelore.randomness import generator
from spikelore.report.runs import read_results

_MOST_SEEDS = 1000
_FAILED = "failed.json"


@dataclass(frozen=True)
class StudyStream(StreamSettings):
    """A stream of the study: also of whole datasets, one after another, and of fewer images.

    Attributes:
        further: names of datasets that come after the first; each is a task with all of its classes, of kind ``split``.
            In a class-incremental stream the labels of each come after those of the one before, in a domain-incremental
            one they are the same.
        train_per_class: most training images of a class in a task, drawn at random; 0 for all.
        test_per_class: most test images, likewise.
        points: times to measure within each task, beside its end.
        tested_first: whether the test examples of the first task are learned with its training ones (a fault of Dequino
            et al.'s code, arXiv 2407.03111: its network was pre-trained on, and its memory holds, what is tested).
    """

    further: tuple[str, ...] = ()
    train_per_class: int = 0
    test_per_class: int = 0
    points: int = 0
    tested_first: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.further and self.kind != "split":
            raise InputError(f"stream.kind is {self.kind!r} beside further datasets, expected split; leave one out")
        for name in ("train_per_class", "test_per_class", "points"):
            if getattr(self, name) < 0:
                raise InputError(f"stream.{name} is {getattr(self, name)}, expected 0 or more; correct it")

    def __len__(self) -> int:
        return 1 + len(self.further) if self.further else super().__len__()

    def load(self, data: str, datasets: Datasets, seed: int, learned: Sequence[str] = ()) -> Stream:
        """Return the stream; see `StreamSettings.load`."""
        if not self.further:
            stream = super().load(data, datasets, seed, learned)
        else:
            tasks: list[Task] = []
            for name in (data, *self.further):
                dataset = datasets(name)
                share = self.validation_share
                (task,) = split_tasks(dataset, [dataset.classes], validation_share=share, seed=seed)
                apart = self.scenario != "domain-incremental" and tasks
                tasks.append(_numbered(replace(task, name=name), 1 + max(tasks[-1].classes) if apart else 0))
            stream = Stream(self.scenario, tuple(tasks), " then ".join((data, *self.further)))
        first, *later = (self._cut(task, n, seed) for n, task in enumerate(stream.tasks))
        if self.tested_first:
            first = replace(first, train=concatenated([first.train, first.test]))
        return replace(stream, tasks=(first, *later))

    def _cut(self, task: Task, number: int, seed: int) -> Task:
        def some(images: Examples, most: int, name: str) -> Examples:
            if not most:
                return images
            order = generator(seed, "study", name, number).permutation(len(images))
            labels = images.labels[order]
            kept = [order[labels == label][:most] for label in np.unique(labels)]
            return images.take(np.sort(np.concatenate(kept))) if kept else images

        train = some(task.train, self.train_per_class, "train")
        return replace(task, train=train, test=some(task.test, self.test_per_class, "test"))


def _numbered(task: Task, first: int) -> Task:
    """Return a task whose labels begin at ``first``."""
    parts = {
        name: each.changed(labels=each.labels + first)
        for name in ("train", "validation", "test")
        if len(each := getattr(task, name)) or not first
    }
    return replace(task, classes=tuple(label + first for label in task.classes), **parts)


@dataclass(frozen=True)
class Learned:
    """What a cell's values are of: a learner and its stream."""

    data: str = "mnist"
    stream: StudyStream = field(default_factory=StudyStream)
    network: SurrogateConfig | OtherNetwork = field(default_factory=SurrogateConfig.best)
    learner: LearnerSettings = field(default_factory=LearnerSettings)
    memory: MemorySettings = field(default_factory=MemorySettings)


@dataclass(frozen=True)
class StudyExperiment:
    """Everything that decides the result. An entry of a list has a ``name``, and values by dotted names.

    Attributes:
        seed: root seed; the cells' seeds are ``seed`` and the following.
        seeds: how many each cell is run with.
        networks: values of ``network``, and of ``learner`` that say how it learns.
        methods: values of ``learner`` and ``memory``; under ``on`` further ones for networks by their names.
        streams: ``data`` and values of ``stream``; ``methods`` and ``networks`` name those that it is crossed with, all
            if not given.
        budgets: bytes of memories; of 0, the methods that keep no examples.
        further: cells of their own: the names of a ``network``, a ``method`` and a ``stream``, and values beside them,
            such as ``memory.images``; ``label`` is the method's name in the table, ``seeds`` a lower number of seeds.
        energies: what a joule is spent on.
        execution: how it is run.
    """

    experiment: ClassVar[str] = "study"

    seed: int = 0
    seeds: int = 3
    networks: tuple[dict[str, Any], ...] = ()
    methods: tuple[dict[str, Any], ...] = ()
    streams: tuple[dict[str, Any], ...] = ()
    budgets: tuple[int, ...] = (0, 30_000, 250_000)
    further: tuple[dict[str, Any], ...] = ()
    energies: Energies = field(default_factory=Energies)
    execution: Execution = field(default_factory=Execution)

    def __post_init__(self) -> None:
        _check_seeds("seeds", self.seeds)
        if any(budget < 0 for budget in self.budgets):
            raise InputError(f"budgets are {list(self.budgets)}, expected 0 or more bytes each; correct them")
        for what in ("networks", "methods", "streams"):
            names = [each.get("name") for each in getattr(self, what)]
            if not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
                raise InputError(f"the names of {what} are {names}, expected a text each, all different; name them")
        self.cells()

    def cells(self) -> "list[StudyCell]":
        """Return every cell.

        Raises:
            InputError: a value that is refused, or two cells of one name that differ.
        """
        found: dict[str, StudyCell] = {}
        for each in [*self._product(), *self._further()]:
            if found.setdefault(each.folder, each) != each:
                raise InputError(f"two cells are called {each.folder}, expected names of their own; give labels")
        return [*found.values()]

    def _product(self) -> "Iterator[StudyCell]":
        for stream in self.streams:
            methods, networks = (
                [each for each in every if each["name"] in stream.get(what, [one["name"] for one in every])]
                for what, every in (("methods", self.methods), ("networks", self.networks))
            )
            for method in methods:
                for network in networks:
                    for budget in self.budgets:
                        if _keeps_examples(method) == (budget > 0):
                            memory = {"memory.bytes": budget} if budget else {}
                            yield from self._seeds(stream, method, network, memory, str(method["name"]), self.seeds)

    def _further(self) -> "Iterator[StudyCell]":
        for number, values in enumerate(self.further):
            parts: dict[str, dict[str, Any]] = {}
            for what in ("stream", "method", "network"):
                named = {each["name"]: each for each in getattr(self, f"{what}s")}
                if values.get(what) not in named:
                    raise InputError(
                        f"further[{number}].{what} is {values.get(what)!r}, expected one of {', '.join(named)}; name "
                        "one of these"
                    )
                parts[what] = named[values[what]]
            own = {name: value for name, value in values.items() if name not in (*parts, "label", "seeds")}
            seeds, label = values.get("seeds", self.seeds), str(values.get("label", values["method"]))
            _check_seeds(f"further[{number}].seeds", seeds)
            yield from self._seeds(**parts, own=own, label=label, seeds=min(seeds, self.seeds))

    def _seeds(
        self, stream: Mapping[str, Any], method: Mapping[str, Any], network: Mapping[str, Any], own: Mapping[str, Any],
        label: str, seeds: int,
    ) -> "Iterator[StudyCell]":  # fmt: skip
        names = {"network": network["name"], "method": label, "stream": stream["name"]}
        try:
            learned = _learned(stream, method, network, own)
            learner, memory = learned.learner, learned.memory
            method_of_it, _ = learner.split(memory)
        except InputError as error:
            raise InputError(f"{', '.join(names.values())}: {error}") from error
        names |= {"scenario": learned.stream.scenario}
        reason = method_of_it.why_not(network_class(learned.network))
        for seed in range(self.seed, self.seed + seeds):
            told = {**names, "seed": seed, "memory_images": memory.images, "memory_bytes": memory.bytes}
            try:
                job = Job(learned.data, seed, learned.stream, learned.network, learner, memory)
            except InputError as error:
                reason, job = str(error), None
            if reason:  # it is the same with every seed and budget
                told |= {"memory_images": 0, "memory_bytes": 0}
                yield StudyCell(told, None, reason)
                return
            yield StudyCell(told, job, "")


@dataclass(frozen=True)
class StudyCell:
    """One cell: what its row is called, and either the job or why there is none."""

    names: dict[str, Any]
    job: Job | None
    why_not: str

    @property
    def folder(self) -> str:
        """Name of its folder."""
        of = self.names
        kept = f"{of['memory_images']}i" if of["memory_images"] else f"{of['memory_bytes']}b"
        text = "-".join(map(str, (of["stream"], of["network"], of["method"], kept, f"seed{of['seed']}")))
        return re.sub(r"[^a-z0-9+-]+", "_", text.lower())


def _check_seeds(name: str, seeds: Any) -> None:
    if not isinstance(seeds, int) or not 1 <= seeds <= _MOST_SEEDS:
        raise InputError(f"{name} is {seeds!r}, expected 1 to {_MOST_SEEDS}; choose another number")


def _keeps_examples(method: Mapping[str, Any]) -> bool:
    settings = LearnerSettings(method.get("learner.method", LearnerSettings.method))
    return "memory" in {one.name for one in fields(settings.kind)}


def _learned(
    stream: Mapping[str, Any], method: Mapping[str, Any], network: Mapping[str, Any], own: Mapping[str, Any]
) -> Learned:
    """Return the values of a cell: of its stream and network, then of the method, then its own."""
    first = {**stream, **network}
    values = {**method, **method.get("on", {}).get(network["name"], {}), **own}
    for each in (first, values):
        for name in ("name", "on", "methods", "networks"):
            each.pop(name, None)
        check_values(Learned, each)
    base = changed(Learned(), nested(Learned, first))
    return changed(base, for_variant(base.learner, base.memory, nested(Learned, values)))


def check(config: StudyExperiment, data_dir: Path | None) -> None:
    """Load every stream.

    Raises:
        InputError: a dataset or a class that is not there, or no cell.
    """
    datasets, known, cells = Datasets(data_dir), set(), config.cells()
    if not cells:
        raise InputError("the study has no cell, expected networks, methods, streams and budgets; name one of each")
    for cell in cells:
        if cell.job and cell.names["stream"] not in known:
            known.add(cell.names["stream"])
            cell.job.load(datasets)


Learn = Callable[[Job, Datasets, Execution, Path], dict[str, Any]]
"""Runs a cell to its end in its folder and returns its row, as `learn`."""


def parts(
    config: StudyExperiment, folder: RunFolder, data_dir: Path | None, learned_by: "Learn | None" = None
) -> dict[str, Cell]:
    """Return the cells that are left to do, also those that failed; all of the first seed come first.

    Args:
        config: the study.
        folder: of the run.
        data_dir: folder of datasets.
        learned_by: what runs a cell; `learn` if not given.

    Raises:
        InputError: a dataset or a class that is not there.
    """
    check(config, data_dir)
    datasets, of = Datasets(data_dir), config.execution
    return {
        cell.folder: Cell(learned_by or learn, (cell.job, datasets, of), folder.path / "parts" / cell.folder, of.cores)
        for cell in sorted(config.cells(), key=lambda cell: cell.names["seed"])
        if cell.job and not _row_of(cell.job, folder.path / "parts" / cell.folder)
    }


def _row_of(job: Job, path: Path) -> dict[str, Any] | None:
    """Return the row that a cell has left, or None."""
    if not (path / "results.json").exists():
        return None
    row = read_results(path)
    return row if "why_not" in row else finished(job, path)


def learn(
    job: Job, datasets: Datasets, execution: Execution, path: Path, watched: Callable[[Path], None] | None = None
) -> dict[str, Any]:
    """Run a cell to its end; leave its row, or why it failed, for the table.

    What cannot begin, since the method has no meaning on this stream or in so little memory, is a row, too.

    Args:
        job: the cell's.
        datasets: where its data are.
        execution: how it is run.
        path: its folder.
        watched: looks at the folder while the network that decides is still there; None for nobody.
    """
    remove(path / _FAILED)
    try:
        check_job(job, path, datasets)
    except InputError as error:
        row = {"why_not": str(error)}
        write_json_atomic(path / "results.json", row)
        return row
    try:
        row = run_job(job, datasets, execution, path)
    except Exception as error:
        write_json_atomic(path / _FAILED, {"failed": in_a_line(error)})
        raise
    if watched:
        watched(path)
    _leave_no_network(path)
    return row


def _leave_no_network(path: Path) -> None:
    for name in ("state", "network"):
        remove(path / "checkpoints" / f"{name}.safetensors")


_NOT_OF_A_CELL = ("network", "method", "stream", "scenario", "seed", "classes", "tasks", "task_data")


def run(config: StudyExperiment, folder: RunFolder, data_dir: Path | None) -> dict[str, Any]:
    """Gather every cell's row and return the results."""
    del data_dir
    rows, seconds, data = [], 0.0, dict[str, None]()
    for cell in config.cells():
        path, job = folder.path / "parts" / cell.folder, cell.job
        if job is None:
            rows.append({**cell.names, "why_not": cell.why_not})
            continue
        data |= dict.fromkeys((job.data, *getattr(job.stream, "further", ())))
        row = _row_of(job, path)
        if row is None:
            left = path / _FAILED
            rows.append({**cell.names, **(read_failed(left) if left.exists() else {"failed": "it was not run"})})
            continue
        _leave_no_network(path)  # of a cell that was killed as it ended
        seconds += row.get("seconds", 0.0)
        kept = {name: value for name, value in row.items() if name not in _NOT_OF_A_CELL}
        rows.append({**cell.names, "budget": job.memory.bytes, **kept, **_joules(kept, config.energies)})
    return {
        "experiment": config.experiment,
        "seed": config.seed,
        "seconds": round(seconds / max(1, min(cores(), len(rows))), 1),
        "data": [*data],
        "versions": versions(),
        "energies": asdict(config.energies),
        "rows": rows,
    }


def read_failed(path: Path) -> dict[str, Any]:
    """Return what a cell that failed has left."""
    return plain_yaml.read(path)


def _joules(row: Mapping[str, Any], energies: Energies) -> dict[str, Any]:
    counts = {
        one.name: row[f"{one.name}_learning"] for one in fields(Work) if row.get(f"{one.name}_learning") is not None
    }
    if not counts:
        return {}
    return {"joules_learning": float(f"{Work(**counts).joules(energies):.4g}")}


def at_scale(scale: Literal["quick", "paper"], *, seed: int = 0) -> StudyExperiment:
    """Return the study at a scale.

    Args:
        scale: ``quick`` ends within three minutes on two cores, on digits that a dependency ships; ``paper`` within
            six hours on MNIST, Fashion-MNIST and letters.
        seed: root seed.
    """
    name = {"quick": "study_quick", "paper": "study"}[scale]
    values = plain_yaml.read(shipped.FOLDER / f"{name}.yaml")
    config = made(StudyExperiment, {name: value for name, value in values.items() if name != "experiment"})
    return replace(config, seed=seed)
