"""Figures and an HTML page from a run folder alone.

Example:
    >>> from pathlib import Path
    >>> from spikelore.report import write
    >>> write(Path("runs/fusion"))  # doctest: +SKIP
    PosixPath('runs/fusion/report.html')
"""

import logging
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from spikelore.errors import InputError

_FOLDERS = ("mkdir -p failed", "%s is not a writable directory", "Matplotlib created a temporary cache directory")
# Where it has no folder of its own, Matplotlib goes on in a temporary one and tells so at length at its import.
logging.getLogger("matplotlib").addFilter(lambda record: not str(record.msg).startswith(_FOLDERS))

__all__ = ["compare", "write"]

_REPORTS = ("fusion", "decay", "replay", "local")
"""Experiments that have a module here, whose ``content`` returns the page of one run or of several of a kind."""


def _write(folder: Path, paths: Sequence[Path]) -> Path:
    from spikelore.report import page, style  # Matplotlib is slow to load, and tables need none of it

    runs = [page.read(path) for path in paths]
    for other in runs[1:]:
        for key in ("experiment", "data"):
            ours, theirs = runs[0].results.get(key), other.results.get(key)
            if ours != theirs:
                raise InputError(f"{paths[0]} and {other.path} cannot be averaged: {key} is {ours!r} and {theirs!r}")
    name = runs[0].results.get("experiment")
    if name not in _REPORTS:
        raise InputError(f"{paths[0]} is a run of experiment {name!r}; there are reports for: {', '.join(_REPORTS)}")
    with style.applied():
        return page.write_page(folder, import_module(f"spikelore.report.{name}").content(runs), runs)


def write(run: Path) -> Path:
    """Draw a run's figures into ``run/figures`` and its page into ``run/report.html``.

    Args:
        run: folder of a finished run.

    Returns:
        The page: one file that needs no other and no network.

    Raises:
        InputError: not a run folder, not finished, broken, or of an experiment without a report.
        SpikeloreError: a file could not be written.
    """
    return _write(run, [run])


def compare(runs: Sequence[Path], out: Path) -> Path:
    """Write one page for several runs of one kind, such as seeds: means and standard deviations.

    Rows are matched by what they are (name, preset, importance, score, features), never by position.

    Args:
        runs: folders of two or more finished runs of one experiment on the same data.
        out: folder for ``report.html`` and ``figures``; not itself a run.

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
