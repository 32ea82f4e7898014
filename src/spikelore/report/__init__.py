"""Figures, tables and an HTML page from the folders of runs alone.

Example:
    >>> from pathlib import Path
    >>> from spikelore.report import write
    >>> write(Path("runs/fusion"))  # doctest: +SKIP
    PosixPath('runs/fusion/report.html')
"""

import logging
import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

from spikelore.errors import InputError, SpikeloreError, shortened
from spikelore.report.runs import Run, of_sweep, read

_FOLDERS = ("mkdir -p failed", "%s is not a writable directory", "Matplotlib created a temporary cache directory")
# Where it has no folder of its own, Matplotlib goes on in a temporary one and tells so at length at its import.
logging.getLogger("matplotlib").addFilter(lambda record: not str(record.msg).startswith(_FOLDERS))

__all__ = ["compare", "write"]

_REPORTS = ("fusion", "decay", "replay", "local", "keywords", "study")
"""Experiments that have a module here, whose ``content`` returns the page of one run or of several of a kind."""


def _write(folder: Path, paths: Sequence[Path]) -> Path:
    """Write the page of runs of one kind, or of sweeps, into ``folder``."""
    from spikelore.report import page, style, sweep  # Matplotlib is slow to load, and tables need none of it

    swept = {path: of_sweep(path) for path in paths}
    whole = any(found for found, _ in swept.values())
    runs = {run: read(run) for path, (found, _) in swept.items() for run in (found or [path])}
    first, *others = runs
    for other in others:
        for key in ("experiment", "data"):
            ours, theirs = (runs[one].results.get(key) for one in (first, other))
            if ours != theirs:
                raise InputError(f"{first} and {other} cannot be averaged: {key} is {ours!r} and {theirs!r}")
    name = runs[first].results.get("experiment")
    if name not in _REPORTS:
        raise InputError(f"{first} is a run of experiment {name!r}; there are reports for: {', '.join(_REPORTS)}")
    try:
        with style.applied():
            if whole:
                content = sweep.content(_points(swept, runs), sum(unfinished for _, unfinished in swept.values()))
            else:
                content = import_module(f"spikelore.report.{name}").content([*runs.values()])
            return page.write_page(folder, content, [*runs.values()])
    except (SpikeloreError, OSError, MemoryError):
        raise
    except Exception as error:  # all that is drawn comes out of the runs' files: they are not as runs leave them
        told = shortened(f"{type(error).__name__}: {error}")
        raise InputError(
            f"{', '.join(map(str, paths))} cannot be drawn ({told}), expected files as a run of experiment {name!r} "
            "leaves them; restore them or run again"
        ) from error


def _points(swept: Mapping[Path, tuple[list[Path], int]], runs: Mapping[Path, Run]) -> dict[str, list[Run]]:
    """Return the runs of each point, by its folder; of several sweeps, the sweep's name comes first."""
    points: dict[str, list[Run]] = {}
    for path, (found, _) in swept.items():
        for run in found or [path]:
            within = re.sub(r"/?seed\d+$", "", run.relative_to(path).as_posix().removeprefix("."))
            point = "/".join(filter(None, (path.name if len(swept) > 1 else "", within))) or "all"
            points.setdefault(point, []).append(runs[run])
    return points


def write(run: Path) -> Path:
    """Write ``report.html``, ``figures`` and ``tables`` into the folder of a run or of a sweep.

    Args:
        run: folder of a finished run, or of a sweep, of which finished runs are told.

    Returns:
        The page: one file that needs no other and no network.

    Raises:
        InputError: not a run folder, not finished, broken, or of an experiment without a report.
        SpikeloreError: a file could not be written.
    """
    return _write(run, [run])


def compare(runs: Sequence[Path], out: Path) -> Path:
    """Write one page for several runs of one kind, such as seeds: means and standard deviations.

    Rows are matched by what they are (name, preset, importance, score, features), never by position. Where a sweep is
    among them, the page is that of a sweep: its points, and each of the others as one more.

    Args:
        runs: folders of two or more finished runs, or sweeps, of one experiment on the same data.
        out: folder for ``report.html``, ``figures`` and ``tables``; not itself a run.

    Returns:
        The page.

    Raises:
        InputError: fewer than two runs, one given twice, one that `write` would refuse, runs of different
            experiments or data, or ``out`` is a run.
        SpikeloreError: a file could not be written.
    """
    if len(runs) < 2:
        raise InputError(f"a comparison needs two runs or more; it got {len(runs)}")
    paths = [path.resolve() for path in runs]
    for path in runs:
        if paths.count(path.resolve()) > 1:
            raise InputError(f"{path} is given twice; name each run once")
    if (out / "config.yaml").exists() or (out / "results.json").exists():
        raise InputError(f"{out} is a run folder; choose another folder for the comparison")
    return _write(out, runs)
