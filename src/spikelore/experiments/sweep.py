"""The same experiment over a grid of values and seeds."""

import hashlib
import itertools
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from spikelore import plain_yaml, report
from spikelore.errors import InputError
from spikelore.experiments import config_file
from spikelore.experiments.parallel import run_parts
from spikelore.experiments.run_folder import read_results
from spikelore.files import write_json_atomic
from spikelore.folders import LOCK, Writer
from spikelore.progress import told_to
from spikelore.report.over_runs import Spread, by_their_texts

_LONGEST = 120
"""Characters of a folder's name; file systems take 255 bytes."""


def _points(grid: Sequence[str]) -> list[list[tuple[str, str]]]:
    axes: dict[str, list[tuple[str, str]]] = {}
    for text in grid:
        key, equals, values = text.partition("=")
        key = key.strip().removeprefix("--")
        if not equals or not key or not values:
            raise InputError(f"--grid {text!r} is not of the form key=value,value, as in train_per_class=200,400")
        if key == "seed":
            raise InputError(f"--grid {text!r} is over the seed, which --seeds sets; give --seeds alone")
        if key in axes:
            raise InputError(f"--grid gives {key} twice; write all its values in one, with commas between them")
        axes[key] = [(key, value) for value in plain_yaml.split_list(values, f"--grid {text!r}")]
    return [list(point) for point in itertools.product(*axes.values())]


def _words(point: Sequence[tuple[str, str]]) -> list[str]:
    """Return a point's overrides as words of a command line."""
    return [f"--{key}={value}" for key, value in point]


def _names(points: Sequence[Sequence[tuple[str, str]]]) -> list[str]:
    """Return a folder name for each point: its values, as far as file systems and shells take them well.

    Where names would be alike or too long, a digest of the values ends them.
    """
    whole = ["_".join(f"{key}={value}" for key, value in point) or "all" for point in points]
    names = [re.sub(r"[^\w =.,+-]+", "_", text.replace("[", "").replace("]", "")).strip(" _.") for text in whole]
    alike = Counter(name.casefold() for name in names)
    return [
        f"{name.encode()[:_LONGEST].decode(errors='ignore')}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
        if alike[name.casefold()] > 1 or len(name.encode()) > _LONGEST
        else name
        for name, text in zip(names, whole, strict=True)
    ]


def _check(path: Path, points: Sequence[Sequence[tuple[str, str]]], data_dir: Path | None) -> None:
    """Refuse, before the first run, points that are the same or that could not be run."""
    met: dict[str, tuple[Any, str]] = {}
    for point in points:
        told = ", ".join(f"{key}={value}" for key, value in point)
        config = config_file.read(path, [*_words(point), "--seed=0"])
        if repr(config) in met:
            _, other = met[repr(config)]
            raise InputError(f"--grid has the same experiment twice, as {other} and as {told}; leave one out")
        met[repr(config)] = config, told
    for config, told in met.values():
        try:
            config_file.check(config, data_dir)
        except InputError as error:
            raise InputError(f"{told}: {error}" if told else str(error)) from error


def _run_cell(path: Path, words: list[str], out: Path, data_dir: Path | None, tell: Callable[[float], None]) -> None:
    """Run one point with one seed; a finished one is kept, and gets its page if it has none."""
    if not (out / "results.json").exists():
        with told_to(tell):
            config_file.execute(config_file.read(path, words), out, data_dir, resume=True)
    elif (out / "report.html").exists():
        return
    report.write(out)


def sweep(
    path: Path,
    grid: Sequence[str],
    seeds: int,
    out: Path,
    data_dir: Path | None,
    *,
    resume: bool,
    jobs: int | None = None,
    ray: str | None = None,
) -> list[Path]:
    """Run every point of the grid with every seed and return the reports: one a point, over its seeds.

    Beside each report of several seeds stands ``seeds.json``: the results' means and standard deviations.

    Args:
        path: YAML file of the experiment.
        grid: texts ``key=value,value``; a value that is a list stands in brackets.
        seeds: number of seeds, 0 .. seeds-1.
        out: folder of the runs.
        data_dir: folder of datasets.
        resume: go on in ``out``; finished runs are kept.
        jobs: at most so many runs at once; as many as there are cores if not given. The results are the same.
        ray: ``local`` or a cluster's address, to spread the runs with Ray; None for this machine's cores.

    Raises:
        InputError: bad input, a folder that holds anything and is not resumed, or another process is sweeping in it.
    """
    if seeds < 1:
        raise InputError(f"--seeds is {seeds}; it must be at least 1")
    if jobs is not None and jobs < 1:
        raise InputError(f"--jobs is {jobs}; it must be at least 1")
    cells, groups = {}, []
    points = _points(grid)
    _check(path, points, data_dir)
    for point, name in zip(points, _names(points), strict=True):
        folders = [out / name / f"seed{seed}" for seed in range(seeds)]
        for seed, folder in enumerate(folders):
            cells[f"{name}/seed{seed}"] = (path, [*_words(point), f"--seed={seed}"], folder, data_dir)
        groups.append((out / name, folders))
    with Writer(out):
        if not resume and {*os.listdir(out)} - {LOCK}:
            raise InputError(f"{out} already exists; pass --resume to go on with it, or another --out")
        for file, words, folder, _ in cells.values():  # finished runs are kept, so they must be those asked for
            config_file.refuse_another(config_file.read(file, words), folder)
        run_parts(_run_cell, cells, "runs", jobs=jobs, ray=ray)
        pages = []
        for folder, folders in groups:
            if seeds > 1:
                write_json_atomic(folder / "seeds.json", _over_seeds(folders))
                pages.append(report.compare(folders, folder))
            else:
                pages.append(folders[0] / "report.html")
        return pages


def _over_seeds(folders: Sequence[Path]) -> dict[str, Any]:
    """Return the mean, the sample standard deviation and the values of every number, rows matched by their words."""
    runs = [read_results(folder) for folder in folders]
    lists = [name for name, value in runs[0].items() if isinstance(value, list) and isinstance(value[0], dict)]
    return {
        "experiment": runs[0]["experiment"],
        "data": runs[0]["data"],
        "seeds": [run["seed"] for run in runs],
        "seconds": [run["seconds"] for run in runs],
        "versions": runs[0]["versions"],
        **{name: [_plain(row) for row in by_their_texts([run[name] for run in runs])] for name in lists},
    }


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row's numbers over seeds as plain values."""
    return {name: _numbers(value) if isinstance(value, Spread) else value for name, value in row.items()}


def _numbers(spread: Spread) -> dict[str, Any]:
    deviation = round(spread.deviation, 6) if len(spread.values) > 1 else None
    return {"mean": round(spread.mean, 6), "deviation": deviation, "values": [*spread.values]}
