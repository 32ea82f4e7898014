"""Libraries in turns: results are compared first, then each does the same work, round after round."""

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from spikelore.bench.peers.cases import CASES, Case
from spikelore.bench.peers.environments import python_of
from spikelore.bench.peers.libraries import LIBRARIES, Library
from spikelore.bench.peers.process import Process
from spikelore.bench.peers.programs.limits import BYTES, SIDE
from spikelore.errors import InputError, SpikeloreError

_LEAST_EQUAL = 0.95
"""Share of winners, spikes or decisions that must be ours. SpykeTorch adds 15 times the largest potential in float32
before it compares, so that winners of nearly equal potential change places, and learning goes on from there."""
_LARGEST_DIFFERENCE = 1e-4
"""Of potentials, weights and gradients, in shares of the largest."""
_PAUSE_SECONDS = 0.3
"""Between turns, in which the threads of the last library come to rest."""
_LEAST_ROUNDS = 5

Arrays = Mapping[str, np.ndarray]


def difference(ours: Arrays, theirs: Arrays) -> tuple[bool, str]:
    """Return whether a library's results are ours, and what is equal how far, in words.

    Whole numbers must be equal but for a twentieth, real ones to 1e-4 of the largest. Names with a dot are weights', of
    which the results are gradients.
    """
    close, told, gradients = True, [], []
    for name, own in ours.items():
        other = theirs.get(name, np.zeros(0))
        if own.shape != other.shape:
            return False, f"{name} have the shape {other.shape}, ours {own.shape}"
        if own.dtype.kind in "iu":
            equal = float((own == other).mean())
            close &= equal >= _LEAST_EQUAL
            told.append(f"{name} {equal:.1%} equal" if equal < 1 else f"{name} equal")
            continue
        off = float(np.abs(own - other).max()) / (float(np.abs(other).max()) or 1.0)
        close &= off <= _LARGEST_DIFFERENCE  # so NaN is not close
        if "." in name:
            gradients.append(off)
        else:
            told.append(f"{name} within {off:.0e}" if off else f"{name} equal")
    if gradients:
        told.append(f"{len(gradients)} gradients within {max(gradients):.0e}")
    return bool(close), ", ".join(told)


def measure(
    names: Sequence[str], *, rounds: int, threads: int, folder: Path, keep: Callable[[dict[str, Any]], None]
) -> None:
    """Compare libraries with ours.

    Args:
        names: of `libraries.LIBRARIES`.
        rounds: turns that each takes, after one that does not count; at least 5.
        threads: that each may use.
        folder: for environments and the data of cases.
        keep: is given what was found so far after each case: the machine, versions, and a row for each library and
            work: times with their spread and the machine's limits, or a sentence that says why there are none. Ready
            for JSON.

    Raises:
        InputError: an unknown library, or too few rounds or threads.
        SpikeloreError: our own work failed.
    """
    if unknown := [name for name in names if name not in LIBRARIES]:
        raise InputError(f"{unknown[0]} is no library, expected some of {', '.join(LIBRARIES)}; correct PEERS")
    if rounds < _LEAST_ROUNDS or threads < 1:
        raise InputError(
            f"{rounds} rounds on {threads} threads, expected at least {_LEAST_ROUNDS} and 1; give ROUNDS and THREADS"
        )
    report: dict[str, Any] = {"machine": _machine(), "threads": threads, "rounds": rounds, "versions": {}, "rows": []}
    started = {name: _interpreter(LIBRARIES[name], folder / "environments") for name in names}
    report["rows"] += [
        {"library": LIBRARIES[name].name, "missing": found} for name, found in started.items() if isinstance(found, str)
    ]
    keep(report)
    ready = {name: found for name, found in started.items() if not isinstance(found, str)}
    for name, make in CASES.items():
        able = {each: found for each, found in ready.items() if name in LIBRARIES[each].programs}
        if able:
            print(f"{name} ...", file=sys.stderr, flush=True)
            _compare(name, make(), able, report, folder / "cases" / name.replace(" ", "-"))
            keep(report)


def _machine() -> dict[str, Any]:
    names = [
        line.split(":", 1)[1].strip()
        for line in (
            Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
        ).splitlines()
        if line.startswith("model name")
    ]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def _interpreter(library: Library, folder: Path) -> tuple[str, dict[str, str]] | str:
    """Return a library's interpreter and the variables of its environment, or why there are none."""
    if library.why_not:
        return library.why_not
    variables = {"PYTHONPATH": ""}
    if library.checkout:
        named = os.environ.get(library.checkout, "")
        if not named or not Path(named).is_dir():
            return f"no index carries it; name a checkout of it by {library.checkout}=FOLDER"
        variables["PYTHONPATH"] = str(Path(named).resolve())
    try:
        print(f"environment of {library.name} ...", file=sys.stderr, flush=True)
        return str(python_of(library.environment, folder)), variables
    except SpikeloreError as error:
        return str(error)


def _compare(
    name: str, case: Case, able: Mapping[str, tuple[str, dict[str, str]]], report: dict[str, Any], folder: Path
) -> None:
    """Append the rows of one case."""
    threads, versions = report["threads"], report["versions"]
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "arrays.npz", allow_pickle=False, **case.arrays)
    settings = {"name": case.name, "settings": case.settings}
    (folder / "case.json").write_text(json.dumps(settings), encoding="utf-8")
    with ExitStack() as running:
        ours = running.enter_context(Process(sys.executable, "ours", folder, threads))
        limits = running.enter_context(Process(sys.executable, "limits", folder, threads))
        versions["Spikelore"] = ours.versions
        theirs: dict[str, Process] = {}
        for library, (python, variables) in ((LIBRARIES[each], found) for each, found in able.items()):
            try:
                process = Process(python, library.programs[name], folder, threads, variables)
            except SpikeloreError as error:
                report["rows"].append({"network": case.name, "library": library.name, "missing": str(error)})
                continue
            theirs[library.name] = running.enter_context(process)
            versions[library.name] = process.versions
        for work in ours.actions:
            rivals = {each: process for each, process in theirs.items() if work in process.actions}
            report["rows"] += _rows(case, work, ours, limits, rivals, report["rounds"])


def _rows(
    case: Case, work: str, ours: Process, limits: Process, rivals: Mapping[str, Process], rounds: int
) -> list[dict[str, Any]]:
    own, rows = ours.answer(work), []
    taking_part: dict[str, Process] = {}
    for library, process in rivals.items():
        row: dict[str, Any] = {"network": case.name, "work": work, "library": library}
        rows.append(row)
        try:
            equal, row["results"] = difference(own, process.answer(work))
        except SpikeloreError as error:
            row["missing"] = str(error)
            continue
        if equal:
            taking_part[library] = process
        else:
            row["missing"] = f"its results are not ours: {row.pop('results')}"
    if not taking_part:
        return rows
    turns = {"ours": (ours, work), **{name: (process, work) for name, process in taking_part.items()}}
    turns |= {limit: (limits, limit) for limit in limits.actions}
    taken: dict[str, list[float]] = {name: [] for name in turns}
    for number in range(rounds + 1):
        for name, (process, action) in turns.items():
            time.sleep(_PAUSE_SECONDS)
            seconds = process.seconds(action)
            if number:
                taken[name].append(seconds)
    limit = {
        "multiply_adds_a_second": SIDE**3 / statistics.median(taken["matrix product"]),
        "copied_bytes_a_second": 2 * BYTES / statistics.median(taken["copy"]),
    }
    for row in rows:
        if row["library"] in taking_part:
            row |= _times(case, work, taken["ours"], taken[row["library"]]) | {"limits": limit}
            done = case.works[work] * case.count / statistics.median(taken["ours"])
            row["our_share_of_limit"] = done / limit["multiply_adds_a_second"]
    return rows


def _times(case: Case, work: str, ours: list[float], theirs: list[float]) -> dict[str, Any]:
    """Return milliseconds an example and how many times as long the library takes: medians, least and most."""

    def spread(values: list[float]) -> list[float]:
        return [statistics.median(values), min(values), max(values)]

    each = 1000 / case.count
    ratios = [slow / fast for slow, fast in zip(theirs, ours, strict=True)]
    return {
        "unit": case.unit,
        "ours_ms": spread([each * seconds for seconds in ours]),
        "library_ms": spread([each * seconds for seconds in theirs]),
        "ratio": spread(ratios),
        "operations": case.works[work],
    }
