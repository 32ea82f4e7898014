"""The same experiment over a grid of values and seeds."""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spikelore import report
from spikelore.errors import InputError
from spikelore.experiments import config_file, optional
from spikelore.files import write_json_atomic


def _points(grid: Sequence[str]) -> list[list[tuple[str, str]]]:
    axes = []
    for text in grid:
        key, equals, values = text.partition("=")
        if not equals or not key or not values:
            raise InputError(f"--grid {text!r} is not of the form key=value,value, as in train_per_class=200,400")
        if key == "seed":
            raise InputError(f"--grid {text!r} is over the seed, which --seeds sets; give --seeds alone")
        axes.append([(key, value) for value in values.split(",")])
    return [list(point) for point in itertools.product(*axes)]


def _one(path: Path, overrides: list[str], out: Path, data_dir: Path | None) -> None:
    if not (out / "results.json").exists():
        config_file.execute(config_file.read(path, overrides), out, data_dir, resume=True)
        report.write(out)


def sweep(
    path: Path,
    grid: Sequence[str],
    seeds: int,
    out: Path,
    data_dir: Path | None,
    *,
    resume: bool,
    ray: str | None,
) -> list[Path]:
    """Run every point of the grid with every seed and return the reports: one a point, over its seeds.

    Beside each report of several seeds stands ``seeds.json``: the results' means and standard deviations.

    Args:
        path: YAML file of the experiment.
        grid: texts ``key=value,value``.
        seeds: number of seeds, 0 .. seeds-1.
        out: folder of the runs.
        data_dir: folder of datasets.
        resume: go on in ``out``; finished runs are kept.
        ray: None for one run after the other, ``local`` or a cluster's address to spread them with Ray.
    """
    if seeds < 1:
        raise InputError(f"--seeds is {seeds}; it must be at least 1")
    if out.exists() and not resume:
        raise InputError(f"{out} already exists; pass --resume to go on with it, or another --out")
    jobs, groups = [], []
    for point in _points(grid):
        name = "_".join(f"{key}={value}" for key, value in point) or "all"
        overrides = [word for key, value in point for word in (f"--{key}", value)]
        folders = [out / name / f"seed{seed}" for seed in range(seeds)]
        jobs += [(path, [*overrides, "--seed", str(n)], folder, data_dir) for n, folder in enumerate(folders)]
        groups.append((out / name, folders))
    for job in jobs:
        config_file.read(job[0], job[1])  # every point is checked before the first run
    if ray is None:
        for job in jobs:
            _one(*job)
    else:
        _with_ray(jobs, ray)
    if seeds > 1:
        for folder, folders in groups:
            write_json_atomic(folder / "seeds.json", _over_seeds(folders))
    return [report.compare(folders, folder) if seeds > 1 else folders[0] / "report.html" for folder, folders in groups]


def _over_seeds(folders: Sequence[Path]) -> dict[str, Any]:
    """Return the mean, the sample standard deviation and the values of every number, rows matched by their words."""
    runs = [json.loads((folder / "results.json").read_text()) for folder in folders]
    lists = [name for name, value in runs[0].items() if isinstance(value, list) and isinstance(value[0], dict)]
    return {
        "experiment": runs[0]["experiment"],
        "data": runs[0]["data"],
        "seeds": [run["seed"] for run in runs],
        "seconds": [run["seconds"] for run in runs],
        "versions": runs[0]["versions"],
        **{name: _matched([run[name] for run in runs]) for name in lists},
    }


def _matched(runs: Sequence[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Match rows by their texts, and among rows of equal texts by their order."""
    gathered: dict[tuple, dict[str, list[float]]] = {}
    for rows in runs:
        met: dict[tuple, int] = {}
        for row in rows:
            inner = {
                f"{name}.{key}": each for name, one in row.items() if isinstance(one, dict) for key, each in one.items()
            }
            flat = row | inner
            words = tuple((name, each) for name, each in flat.items() if isinstance(each, str))
            met[words] = met.get(words, 0) + 1
            numbers = gathered.setdefault((words, met[words]), {})
            for name, each in flat.items():
                if isinstance(each, int | float):
                    numbers.setdefault(name, []).append(each)
    return [
        {
            **dict(words),
            **{
                name: {
                    "mean": round(float(np.mean(values)), 6),
                    "deviation": round(float(np.std(values, ddof=1)), 6) if len(values) > 1 else None,
                    "values": values,
                }
                for name, values in numbers.items()
            },
        }
        for (words, _), numbers in gathered.items()
    ]


def _with_ray(jobs: list[tuple], address: str) -> None:
    found = optional.find("ray")
    if isinstance(found, str):
        raise InputError(f"--ray needs Ray, but {found}; install it with: pip install 'spikelore[ray]'")
    (ray,) = found
    ray.init(address=None if address == "local" else address, include_dashboard=False)
    try:
        ray.get([ray.remote(num_cpus=2)(_one).remote(*job) for job in jobs])
    finally:
        ray.shutdown()
