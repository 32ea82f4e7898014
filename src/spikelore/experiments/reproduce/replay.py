"""Memory replay (Proietti et al. 2023): networks that learn task after task, as published and done right.

One configuration describes a learner on a stream; its ``variants`` change some of the values, one learner each. Each
runs for each seed, in a folder of its own under ``parts``; they are spread over the cores, one thread each.

Deviations from the authors' code: where the steps of the published network are alike, one is computed (exact, see
`spikelore.continual.methods.published`); test images are all tested, theirs too; the test spikes are drawn by a
generator of their own.
"""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal

from spikelore.continual.methods import FAULTS, Augmentation, LearnerSettings, MemorySettings
from spikelore.errors import InputError
from spikelore.experiments.continual_run import Job, StreamSettings, run_job, work
from spikelore.experiments.parallel import cores, spread
from spikelore.experiments.progress import progress_bar
from spikelore.experiments.reproduce import PRESETS, Preset
from spikelore.experiments.run_folder import RunFolder, versions
from spikelore.files import load_tensors
from spikelore.kernels.lif_scan import Leaky
from spikelore.networks.surrogate_config import SurrogateConfig

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
        stream: the tasks.
        network: sizes and constants of every network; the number of outputs follows the stream.
        learner: the method.
        memory: what the method may keep.
        measured_on: ``test`` images, or ``validation`` ones for choices.
        variants: one learner for each, given by the values that differ, such as ``{"memory.images": 300}``; none
            for the one that is described above.
    """

    data: str = "mnist"
    seed: int = 0
    seeds: int = 1
    preset: str = "best"
    stream: StreamSettings = field(default_factory=StreamSettings)
    network: SurrogateConfig = field(default_factory=SurrogateConfig)
    learner: LearnerSettings = field(default_factory=LearnerSettings)
    memory: MemorySettings = field(default_factory=MemorySettings)
    measured_on: Literal["test", "validation"] = "test"
    variants: tuple[dict[str, Any], ...] = ()

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise InputError(f"seeds is {self.seeds}, expected at least 1; choose another number")
        self.jobs()

    def jobs(self) -> list[tuple[str, Job]]:
        """Return each learner of each variant and seed, with its preset; variant after variant."""
        found = []
        for variant in self.variants or ({},):
            one = changed(replace(self, variants=()) if self.variants else self, variant)
            for seed in range(one.seed, one.seed + one.seeds):
                job = Job(one.data, seed, one.stream, one.network, one.learner, one.memory, one.measured_on)
                found.append((one.preset, job))
        return found


def changed(config: Any, values: Mapping[str, Any]) -> Any:
    """Return a configuration with other values, named by dotted paths such as ``memory.images``.

    Raises:
        InputError: a name that the configuration does not have.
    """
    for path, value in values.items():
        name, _, rest = path.partition(".")
        known = [one.name for one in fields(config)]
        if name not in known:
            raise InputError(f"{name!r} is no value of a {type(config).__name__}, expected one of {', '.join(known)}")
        old = getattr(config, name)
        if rest:
            value = changed(old, {rest: value})
        elif is_dataclass(old):
            value = changed(old, value)
        elif isinstance(value, list):
            value = tuple(tuple(each) if isinstance(each, list) else each for each in value)
        config = replace(config, **{name: value})
    return config


def _differences(old: Any, new: Any, prefix: str = "") -> dict[str, Any]:
    """Return the values that turn one configuration into another, by dotted path."""
    found: dict[str, Any] = {}
    for one in fields(old):
        before, after = getattr(old, one.name), getattr(new, one.name)
        if is_dataclass(before):
            found |= _differences(before, after, f"{prefix}{one.name}.")
        elif before != after:
            found[prefix + one.name] = after
    return found


def part_names(jobs: list[tuple[str, Job]]) -> list[str]:
    """Return a folder name for each job: what it is, and a number where two would be alike."""
    names: list[str] = []
    for preset, job in jobs:
        kept = job.memory.images or job.learner.stored_batches or (job.memory.bytes and f"{job.memory.bytes}b") or 0
        text = f"{preset}-{job.stream.scenario}-{job.learner.method}-{kept}-seed{job.seed}"
        stem = re.sub(r"[^a-z0-9-]+", "_", text.lower())
        number = 1
        while (name := stem if number == 1 else f"{stem}-{number}") in names:
            number += 1
        names.append(name)
    return names


def run(config: ReplayExperiment, folder: RunFolder, data_dir: Path | None) -> dict[str, Any]:
    """Run every learner; gather their rows, metrics and confusion matrices into ``folder`` and return the results."""
    begun = time.monotonic()
    jobs = config.jobs()
    names = part_names(jobs)
    paths = [folder.path / "parts" / name for name in names]
    rows: dict[int, dict[str, Any]] = {}
    if len(jobs) == 1:
        total = work(jobs[0][1], data_dir)
        with progress_bar(total) as advance:
            rows[0] = run_job(jobs[0][1], paths[0], data_dir, lambda done: advance("learning", done))
    else:
        arguments = [(job, path, data_dir) for (_, job), path in zip(jobs, paths, strict=True)]
        with progress_bar(len(jobs)) as advance:
            for number, row in spread(run_job, arguments):
                rows[number] = row
                advance(f"{len(rows)} of {len(jobs)} learners", 1)
    arrays = {}
    for number, path in enumerate(paths):
        found, _ = load_tensors(path / "arrays.safetensors")
        arrays |= {f"{name}/{number}": array for name, array in found.items()}
    folder.write_arrays(arrays)
    _gather_metrics(folder, names)
    wall = time.monotonic() - begun
    return {
        "experiment": "replay",
        "seed": config.seed,
        "seconds": round(max(wall, sum(row["seconds"] for row in rows.values()) / min(cores(), len(jobs))), 1),
        "data": list(dict.fromkeys(job.data for _, job in jobs)),
        "versions": versions(),
        "rows": [_row(preset, job, rows[n]) for n, (preset, job) in enumerate(jobs)],
    }


def _gather_metrics(folder: RunFolder, names: list[str]) -> None:
    (folder.path / "metrics.jsonl").unlink(missing_ok=True)
    for name in names:
        lines = (folder.path / "parts" / name / "metrics.jsonl").read_text().splitlines()
        for line in lines:
            folder.append_metrics(part=name, **json.loads(line))


def _row(preset: str, job: Job, row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of ``results.json``: what was run, then what came out."""
    alike = job.network.membrane == "reinitialised"
    faults = [*([MEMBRANES] if alike else []), *(fault for fault in FAULTS if fault in job.learner.faults)]
    naive = job.learner.method == "published replay" and not job.learner.stored_batches
    return {
        "scenario": row["scenario"],
        "method": "naive" if naive else row["method"],
        "preset": preset,
        **({"faults": faults} if faults or job.learner.method == "published replay" else {}),
        **{name: value for name, value in row.items() if name not in ("scenario", "method")},
    }


_BATCHES = (0, 10, 20, 30, 40, 50, 100)
_EVERY_FAULT = tuple(FAULTS)


def published(data: str = "mnist", seed: int = 0) -> ReplayExperiment:
    """Return the published code's class-incremental learner without a memory, to the letter."""
    return ReplayExperiment(
        data=data,
        seed=seed,
        preset="published",
        network=SurrogateConfig.published(),
        learner=LearnerSettings(
            method="published replay", epochs=5, batch=16, learning_rate=1e-3, replay_learning_rate=1e-4,
            faults=_EVERY_FAULT, grow_heads=True,
        ),
    )  # fmt: skip


def best(data: str = "mnist", seed: int = 0) -> ReplayExperiment:
    """Return our learner: experience replay with a class-balanced memory of 1000 images, each image seen once."""
    return ReplayExperiment(
        data=data,
        seed=seed,
        preset="best",
        network=SurrogateConfig(
            steps=8, coding="constant", hidden=(256,), precision="bfloat16",
            neuron=Leaky(beta=0.9, surrogate="atan", slope=2.0),
        ),
        learner=LearnerSettings(
            method="experience replay", batch=32, replay_batch=64, learning_rate=2e-3, new_classes_only=True,
            augmentation=Augmentation(rotation=12.0, scale=0.12, shear=0.1, shift=2.0, elastic=0.5), averaging=0.98,
        ),
        memory=MemorySettings(images=1000),
    )  # fmt: skip


_FREE = {"stream.scenario": "task-free"}
_ONE_HEAD = {**_FREE, "learner.grow_heads": False}


def _published_variants(batches: tuple[int, ...]) -> list[dict[str, Any]]:
    """The two published tables: every memory with growing heads and with one head, and joint training."""
    rows = [{**head, "learner.stored_batches": number} for head in ({}, _ONE_HEAD) for number in batches]
    return [*rows, {**_ONE_HEAD, "stream.scenario": "class-incremental", "learner.method": "joint"}]


def at_scale(scale: Literal["quick", "paper"], *, preset: Preset | None = None, seed: int = 0) -> ReplayExperiment:
    """Return the published experiment at a scale.

    Args:
        scale: ``paper`` has the published sizes on MNIST; ``quick`` ends within a minute on the digits that a
            dependency ships.
        preset: the one whose rows are wanted; both if not given.
        seed: root seed.
    """
    data = "mnist" if scale == "paper" else "digits-sample"
    base, ours = published(data, seed), best(data, seed)
    presets = (preset,) if preset else PRESETS
    variants: list[dict[str, Any]] = []
    if "published" in presets:
        variants += _published_variants(_BATCHES if scale == "paper" else (0, 10))
    if "best" in presets:
        variants += [_differences(base, ours) | free for free in ({}, _FREE)]
    return replace(base, variants=tuple(variants))
