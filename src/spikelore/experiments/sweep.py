"""The same experiment over a grid of values and seeds."""

import hashlib
import itertools
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas

from spikelore import plain_yaml, report
from spikelore.errors import InputError
from spikelore.experiments import config_file
from spikelore.experiments.parallel import Cell, failure, run_cells
from spikelore.files import write_json_atomic
from spikelore.folders import LOCK, Writer
from spikelore.report.over_runs import Spread, by_their_texts
from spikelore.report.runs import read_results
from spikelore.report.tidy import tidy, write_table

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


def _check(path: Path, points: Sequence[Sequence[tuple[str, str]]], data_dir: Path | None) -> list[Any]:
    """Return the configuration of each point; refuse, before the first run, those that are alike or cannot be run."""
    met: dict[str, str] = {}
    configs = []
    for point in points:
        told = ", ".join(f"{key}={value}" for key, value in point)
        config = config_file.read(path, [*_words(point), "--seed=0"])
        if other := met.get(repr(config)):
            raise InputError(f"--grid has the same experiment twice, as {other} and as {told}; leave one out")
        met[repr(config)] = told
        configs.append(config)
    for config, told in zip(configs, met.values(), strict=True):
        try:
            config_file.check(config, data_dir)
        except InputError as error:
            raise InputError(f"{told}: {error}" if told else str(error)) from error
    return configs


def _page(run: Path) -> None:
    report.write(run)


class Swept(NamedTuple):
    """What a sweep gave: the reports, and the error that says which runs failed, if any did."""

    pages: list[Path]
    failed: Exception | None


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
    device: str | None = None,
) -> Swept:
    """Run every point of the grid with every seed; one report a point, over its seeds.

    Beside each report of several seeds stands ``seeds.json``: the results' means and standard deviations. All rows of
    all runs with the values of the grid are in ``out/table.parquet``, and ``out/report.html`` sets the points against
    each other. A run that fails stops no other.

    Args:
        path: YAML file of the experiment.
        grid: texts ``key=value,value``; a value that is a list stands in brackets.
        seeds: number of seeds, 0 .. seeds-1.
        out: folder of the runs.
        data_dir: folder of datasets.
        resume: go on in ``out``; finished runs are kept.
        jobs: at most so many runs at once; as many as there are cores if not given. The results are the same.
        ray: ``local`` or a cluster's address, to spread the runs with Ray; None for this machine's cores.
        device: in place of that of the configuration; see `spikelore.experiments.execution.Execution`.

    Raises:
        InputError: bad input, a folder that holds anything and is not resumed, or another process is sweeping in it.
    """
    for name, count in (("--seeds", seeds), ("--jobs", jobs)):
        if count is not None and count < 1:
            raise InputError(f"{name} is {count}; it must be at least 1")
    points = _points(grid)
    configs = [config_file.on_device(config, device) for config in _check(path, points, data_dir)]
    groups = {
        out / name: {out / name / f"seed{seed}": replace(config, seed=seed) for seed in range(seeds)}
        for config, name in zip(configs, _names(points), strict=True)
    }
    runs = {folder: config for group in groups.values() for folder, config in group.items()}
    with Writer(out):
        if not resume and {*os.listdir(out)} - {LOCK}:
            raise InputError(f"{out} already exists; pass --resume to go on with it, or another --out")
        for folder, config in runs.items():  # finished runs are kept, so they must be those asked for
            config_file.refuse_another(config, folder)
        left = {folder: config for folder, config in runs.items() if not (folder / "results.json").exists()}
        outcomes = config_file.run_all(left, data_dir, resume=True, jobs=jobs, ray=ray)
        done = [folder for folder in runs if not isinstance(outcomes.get(folder), Exception)]
        undrawn = [folder for folder in done if not (folder / "report.html").exists()]
        drawn = run_cells({folder: Cell(_page, (), folder) for folder in undrawn}, jobs=jobs)
        tables, pages = [], []
        for point, (place, group) in zip(points, groups.items(), strict=True):
            whole = [folder for folder in group if folder in done]
            tables += [tidy(read_results(folder), **dict(point)) for folder in whole]
            if len(whole) > 1:
                write_json_atomic(place / "seeds.json", _over_seeds(whole))
                pages.append(report.compare(whole, place))
            else:
                pages += [folder / "report.html" for folder in whole]
        if tables:
            write_table(out / "table.parquet", pandas.concat(tables, ignore_index=True))
            if len(points) > 1:
                pages.append(report.write(out))
        return Swept(pages, failure({folder: outcomes.get(folder) for folder in runs} | drawn))


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
