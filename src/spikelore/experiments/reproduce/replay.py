"""Memory replay (Proietti et al. 2023): networks that learn task after task, as published and done right.

One configuration describes a learner on a stream; its ``variants`` change some of the values, one learner each. Each
runs for each seed, in a folder of its own under ``parts``; they are spread over the cores, one thread each.

Deviations from the authors' code: where the steps of the published network are alike, one is computed (exact, see
`spikelore.continual.methods.published`); test images are all tested, theirs too; the test spikes are drawn by a
generator of their own; joint training tests the last network, theirs that of the last hundredth batch.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal

from spikelore import plain_yaml
from spikelore.continual.method import name_of
from spikelore.continual.methods import FAULTS, MemorySettings
from spikelore.data import findings
from spikelore.errors import InputError
from spikelore.experiments import shipped
from spikelore.experiments.continual_run import (
    Learning,
    accuracy_of,
    check_job,
    finished,
    kept_row,
    listed,
    run_job,
    say_not_measured,
)
from spikelore.experiments.execution import Execution
from spikelore.experiments.findings import named, noted, per_class, told
from spikelore.experiments.job import Job
from spikelore.experiments.job import lengthens as job_lengthens
from spikelore.experiments.learner_settings import LearnerSettings, for_variant
from spikelore.experiments.network_settings import OtherNetwork, network_class
from spikelore.experiments.parallel import Cell, cores
from spikelore.experiments.reproduce import PRESETS, Preset
from spikelore.experiments.run_folder import RunFolder, read_metrics, versions
from spikelore.experiments.stream_settings import Datasets, StreamSettings
from spikelore.experiments.typed import changed, check_values, made, nested, plain
from spikelore.files import load_tensors
from spikelore.networks.surrogate_config import SurrogateConfig
from spikelore.report.runs import read_results

_MOST_SEEDS = 1000

MEMBRANES = "membranes re-initialised"
"""The fault of the published code that is the network's: ``network.membrane: reinitialised``."""


@dataclass(frozen=True)
class ReplayExperiment:
    """Everything that decides the result.

    Attributes:
        data: name of a dataset.
        seed: root seed; the learners' seeds are ``seed`` and the following.
        seeds: how many seeds each learner runs with.
        preset: a name for the rows of ``results.json``.
        label: a name for a row, where its method and memory do not tell it.
        stream: the tasks.
        network: sizes and constants of every network; the number of outputs follows the stream. With ``kind`` it is no
            surrogate network but ``rate-lif``, ``first-spike`` or one's own as ``path/to/file.py:Class``, with settings
            of its own.
        learner: the method.
        memory: what the method may keep.
        measured_on: ``test`` images, or ``validation`` ones for choices.
        execution: how it is run.
        variants: one learner for each, given by the values that differ, such as ``{"memory.images": 300}``; none
            for the one that is described above.
    """

    data: str = "mnist"
    seed: int = 0
    seeds: int = 1
    preset: str = "own"
    label: str = ""
    stream: StreamSettings = field(default_factory=StreamSettings)
    network: SurrogateConfig | OtherNetwork = field(default_factory=SurrogateConfig)
    learner: LearnerSettings = field(default_factory=LearnerSettings)
    memory: MemorySettings = field(default_factory=MemorySettings)
    measured_on: Literal["test", "validation"] = "test"
    execution: Execution = field(default_factory=Execution)
    variants: tuple[dict[str, Any], ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.seeds <= _MOST_SEEDS:
            raise InputError(f"seeds is {self.seeds}, expected 1 to {_MOST_SEEDS}; choose another number")
        self._refuse_alike()

    def _refuse_alike(self) -> None:
        """Refuse learners that differ in more than the seed and would share a row of the report, as if in seeds."""
        owner: dict[tuple[Any, ...], Job] = {}
        for one in self._learners():
            part = one._with_seed(self.seed)
            job = part.job
            other = owner.setdefault(_row_key(part), job)
            if other != job:
                differing = ", ".join(_differences(other, job))
                raise InputError(
                    f"two variants differ in {differing} alone, which no row of the report shows, expected a row for "
                    "each learner; give them labels"
                )

    def jobs(self) -> list["Part"]:
        """Return each learner of each variant and seed, variant after variant."""
        every = self._learners()
        return [one._with_seed(seed) for one in every for seed in range(one.seed, one.seed + one.seeds)]

    def _learners(self) -> list["ReplayExperiment"]:
        return [self._variant(number, each) for number, each in enumerate(self.variants)] or [self]

    def _with_seed(self, seed: int) -> "Part":
        job = Job(self.data, seed, self.stream, self.network, self.learner, self.memory, self.measured_on)
        return Part(self.preset, self.label, job)

    def _variant(self, number: int, values: dict[str, Any]) -> "ReplayExperiment":
        try:
            if "variants" in values:
                raise InputError("it has variants of its own, expected values that differ; list them all beside it")
            check_values(ReplayExperiment, values)
            whole = for_variant(self.learner, self.memory, nested(ReplayExperiment, values))
            return changed(self, {**whole, "variants": ()})
        except InputError as error:
            raise InputError(f"variant {number + 1}: {error}") from error


@dataclass(frozen=True)
class Part:
    """One learner with one seed, and what its row is called."""

    preset: str
    label: str
    job: Job


def _differences(old: Any, new: Any, prefix: str = "") -> dict[str, Any]:
    """Return the values that turn one configuration into another, by dotted path."""
    found: dict[str, Any] = {}
    for one in fields(old):
        before, after = getattr(old, one.name), getattr(new, one.name)
        if is_dataclass(before) and type(before) is type(after):
            found |= _differences(before, after, f"{prefix}{one.name}.")
        elif before != after:
            found[prefix + one.name] = after
    return found


def part_names(parts: list[Part]) -> list[str]:
    """Return a folder name for each part: what it is, and a number where two differ in something else.

    Parts that are computed alike have one folder.
    """
    owner: dict[str, Job] = {}
    names: list[str] = []
    for part in parts:
        preset, job = part.preset, part.job.as_computed()
        kept = job.memory.images or job.learner.stored_batches or (job.memory.bytes and f"{job.memory.bytes}b") or 0
        text = f"{preset}-{job.stream.scenario}-{part.label or job.method.name}-{kept}-seed{job.seed}"
        stem = re.sub(r"[^a-z0-9-]+", "_", text.lower())
        number = 1
        while owner.setdefault(name := stem if number == 1 else f"{stem}-{number}", job) != job:
            number += 1
        names.append(name)
    return names


def lengthens(old: ReplayExperiment, new: ReplayExperiment) -> bool:
    """Whether an experiment is another one with further tasks for some of its learners, all else being equal.

    Raises:
        InputError: a stream does not begin with the tasks of the other one, or cannot get more of them.
    """
    before, after = old.jobs(), new.jobs()
    if [_named(part) for part in before] != [_named(part) for part in after]:
        return False
    pairs = [(plain(one.job), plain(other.job)) for one, other in zip(before, after, strict=True)]
    return any(a != b for a, b in pairs) and all(a == b or job_lengthens(a, b) for a, b in pairs)


def _named(part: "Part") -> tuple[str, str]:
    return part.preset, part.label


def check(config: ReplayExperiment, data_dir: Path | None) -> None:
    """Refuse, before anything is learned, learners that could not begin: their data, networks and memories are made.

    Raises:
        InputError: no such dataset, a class that it lacks, or a network or memory that does not fit it.
    """
    datasets = Datasets(data_dir)
    for part in config.jobs():
        Learning(replace(part.job.as_computed(), seed=config.seed), datasets, None)  # the seed decides nothing of this


def parts(config: ReplayExperiment, folder: RunFolder, data_dir: Path | None) -> dict[str, Cell]:
    """Return the runs of the learners that have not finished, in their folders under ``parts``; those alike are one.

    Raises:
        InputError: a learner could not begin, or go on.
    """
    jobs, datasets = _jobs(config), Datasets(data_dir)
    _say_what_is_learned(jobs, folder)
    if len(jobs) > 1:  # the last one's fault is not to be found after hours of the others
        for name, job in jobs.items():
            check_job(replace(job, seed=config.seed), folder.path / "parts" / name, datasets)
    told(_facts(config.jobs(), datasets).get("notes", ()))
    of = config.execution
    return {
        name: Cell(run_job, (job, datasets, of), folder.path / "parts" / name, of.cores)
        for name, job in jobs.items()
        if not finished(job, folder.path / "parts" / name)
    }


def _jobs(config: ReplayExperiment) -> dict[str, Job]:
    every = config.jobs()
    return {name: part.job.as_computed() for name, part in zip(part_names(every), every, strict=True)}


def run(config: ReplayExperiment, folder: RunFolder, data_dir: Path | None) -> dict[str, Any]:
    """Gather every learner's row, metrics and confusion matrices into ``folder`` and return the results."""
    parts = config.jobs()
    names = part_names(parts)
    rows = {name: read_results(folder.path / "parts" / name) for name in dict.fromkeys(names)}
    say_not_measured(list(dict.fromkeys(task for row in rows.values() for task in row.get("not_measured", ()))))
    arrays = {}
    for number, name in enumerate(names):
        found, _ = load_tensors(folder.path / "parts" / name / "arrays.safetensors")
        arrays |= {f"{title}/{number}": array for title, array in found.items()}
    folder.write_arrays(arrays)
    folder.write_metrics({"part": name, **line} for name in rows for line in read_metrics(folder.path / "parts" / name))
    return {
        "experiment": "replay",
        "seed": config.seed,
        "seconds": round(sum(row["seconds"] for row in rows.values()) / min(cores(), len(rows)), 1),
        "data": list(dict.fromkeys(part.job.data for part in parts)),
        "versions": versions(),
        **_facts(parts, Datasets(data_dir)),
        "rows": [_row(part, rows[name]) for name, part in zip(names, parts, strict=True)],
        **({"tasks": _tasks(*rows.values())} if len(rows) == 1 else {}),
    }


def _say_what_is_learned(jobs: Mapping[str, Job], folder: RunFolder) -> None:
    """Tell people, in a line on stderr, where streams that were lengthened go on."""
    lines: dict[str, None] = {}
    for name, job in jobs.items():
        path = folder.path / "parts" / name
        if (row := kept_row(path)) and not finished(job, path) and "tasks" in row:
            more = len(job.stream) - len(row["tasks"])
            lines[f"going on: {listed(row['tasks'])} learned already, {more} more to come"] = None
    for line in lines:
        print(line, file=sys.stderr)


def _tasks(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return each task of one learner with its accuracy when it was learned, and at the end."""
    matrix = row["accuracy_matrix"]
    return [
        {"task": name, "when_learned": matrix[min(n, len(matrix) - 1)][n], "at_the_end": matrix[-1][n]}
        for n, name in enumerate(row["tasks"])
    ]


def _facts(parts: Sequence[Part], datasets: Datasets) -> dict[str, Any]:
    """Return the images of each class of the data, before some are held out, and what to know of them."""
    drawn, notes = [], []
    for data in dict.fromkeys(part.job.data for part in parts):
        try:
            dataset = datasets(data)
        except InputError:  # a finished learner needs its data no more; one that does says so itself
            continue
        counts = {"train": per_class(dataset.train), "test": per_class(dataset.test)}
        drawn.append({"data": data, **counts, **named(dataset)})
        notes += findings(dataset)
    return {"images_per_class": drawn, **noted(notes)}


def evaluate(
    config: ReplayExperiment, path: Path, data: str | None, data_dir: Path | None, classes: Sequence[int] = ()
) -> list[dict[str, Any]]:
    """Measure every network of a run folder on a dataset's test images, by default those of its own.

    With ``classes`` only images of these are asked.

    Raises:
        InputError: a learner has not finished, or does not know a class that is asked, or there is no image of it.
    """
    parts, datasets = config.jobs(), Datasets(data_dir)
    rows = {}
    for name, part in zip(part_names(parts), parts, strict=True):
        if name not in rows:
            job = part.job.as_computed()
            found = accuracy_of(job, path / "parts" / name, data, datasets, classes, config.execution.device)
            rows[name] = {"learner": name, "data": data or job.data, "accuracy": found}
    return list(rows.values())


def _method(job: Job) -> str:
    of_authors = job.learner.method == "published replay"
    return "naive" if of_authors and not job.learner.stored_batches else job.method.name


def _faults(job: Job) -> list[str]:
    reinitialised = getattr(job.network, "membrane", "") == "reinitialised"
    return [*([MEMBRANES] if reinitialised else []), *(fault for fault in FAULTS if fault in job.learner.faults)]


def _row_key(part: Part) -> tuple[Any, ...]:
    """Return what the report tells learners apart by, as far as it is known before they run."""
    job, memory = part.job, part.job.memory
    kept = (memory.images, memory.bytes, job.learner.stored_batches, memory.storage, memory.arithmetic_coding)
    network = name_of(network_class(job.network))
    return (part.preset, part.label, job.stream.scenario, network, _method(job), *kept, *_faults(job))


def _row(part: Part, row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of ``results.json``: what was run, then what came out."""
    job, learner, faults = part.job, part.job.learner, _faults(part.job)
    of_authors = learner.method == "published replay"
    theirs = None
    if part.preset == "published" and job.data == "mnist":
        theirs = [0.901] if learner.method == "joint" else _THEIRS.get((job.stream.scenario, learner.stored_batches))
    return {
        "scenario": job.stream.scenario,
        "method": _method(job),
        "preset": part.preset,
        **({"label": part.label} if part.label else {}),
        **({"faults": faults} if faults or of_authors else {}),
        **({"storage": job.memory.storage} if job.keeps_examples else {}),
        **({"budget": job.memory.bytes} if job.memory.own_lengths else {}),
        **{name: value for name, value in row.items() if name not in ("scenario", "method")},
        **({"published_averages": theirs} if theirs else {}),
    }


def _table(scenario: str, text: str) -> dict[tuple[str, int], list[float]]:
    """Read one of the published tables: the number of stored batches, then per cent after each task."""
    lines = [line.split() for line in text.strip().splitlines()]
    return {(scenario, int(line[0])): [round(float(value) / 100, 3) for value in line[1:]] for line in lines}


_THEIRS = _table(
    "class-incremental",
    """
      0 99.8 98.7 70.8 63.7 43.9
     10 99.8 98.8 73.2 58.2 47.9
     20 99.8 98.9 73.1 76.4 42.5
     30 99.8 98.3 74.8 60.1 50.0
     40 99.8 98.8 75.0 62.5 51.0
     50 99.8 98.1 79.5 59.3 46.7
    100 99.8 98.7 73.7 60.3 49.3
    """,
) | _table(
    "task-free",
    """
      0 99.6 49.3 31.3 25.5 21.6
     10 99.6 50.4 34.9 28.6 24.5
     20 99.6 50.6 37.3 40.0 27.1
     30 99.6 54.8 43.7 36.0 28.1
     40 99.6 55.3 46.4 36.0 28.3
     50 99.6 60.8 50.9 39.6 33.1
    100 99.6 53.7 52.7 45.8 36.0
    """,
)
"""Proietti et al. 2023, average accuracy over the tasks seen, by scenario and stored batches; joint: 90.1 %."""

_FILES: dict[Preset, str] = {"published": "replay_published_tables", "best": "replay_budgets"}
_QUICK: dict[Preset, dict[str, Any]] = {
    "published": {}, "best": {"seeds": 1, "learner.batch": 8, "learner.replay_batch": 12}
}  # fmt: skip
"""What is other in the quick runs, whose images are few."""


def _kept(preset: Preset) -> ReplayExperiment:
    """Return the experiment of the published size that the package keeps as a file."""
    values = plain_yaml.read(shipped.FOLDER / f"{_FILES[preset]}.yaml")
    return made(ReplayExperiment, {name: value for name, value in values.items() if name != "experiment"})


def published(data: str = "mnist", seed: int = 0) -> ReplayExperiment:
    """Return the published code's class-incremental learner without a memory, to the letter."""
    return replace(_kept("published"), data=data, seed=seed, variants=())


def best(data: str = "mnist", seed: int = 0) -> ReplayExperiment:
    """Return our learner with a memory of 1000 images, each image seen once."""
    return ReplayExperiment(
        data=data,
        seed=seed,
        preset="best",
        network=SurrogateConfig.best(),
        learner=LearnerSettings.best(),
        memory=MemorySettings(images=1000),
    )


def _is_small(values: Mapping[str, Any]) -> bool:
    """Return whether a learner of the paper's sizes is one of the quick ones: few batches or images stored."""
    few = values.get("learner.stored_batches", 0) <= 10 and values.get("memory.images", 300) == 300
    return few and "memory.bytes" not in values and values.get("preset") != "faults"


def at_scale(scale: Literal["quick", "paper"], *, preset: Preset | None = None, seed: int = 0) -> ReplayExperiment:
    """Return the published experiment at a scale.

    Args:
        scale: ``paper`` has the published sizes on MNIST; ``quick`` ends within a minute on the digits that a
            dependency ships.
        preset: the one whose rows are wanted; both if not given.
        seed: root seed.
    """
    variants = [
        {**values, **(_QUICK[each] if scale == "quick" else {})}
        for each in ((preset,) if preset else PRESETS)
        for values in _kept(each).variants
        if scale == "paper" or _is_small(values)
    ]
    return replace(published("mnist" if scale == "paper" else "digits-sample", seed), variants=tuple(variants))
