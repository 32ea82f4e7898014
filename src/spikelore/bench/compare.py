"""Whether this working tree is slower than another commit: both do the same work in turns.

``python -m spikelore.bench.compare COMMIT`` checks the commit out into a folder of its own, with the same interpreter
and packages, and lets a new process of each do the work of `spikelore.bench.works` round after round; who begins
changes from round to round, and a run of each that does not count compiles. It prints a table and ends with 1 if a
work is slower.

The rule: each round gives a work one ratio, its time here over that of the commit. The slowdown is the median of the
ratios. Its noise is told by the ratios alone: the k-th least and the k-th largest of n enclose the true median but for
a chance of P(B < k) on either side, B binomial of n and 1/2, whatever the noise is like. k is the largest for which
that is at most 1 %, and 1 where none is (3 % for 5 rounds, 0.8 % for 7). A work is slower if that whole interval lies
above 1 and the median above 1.03.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from math import comb
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from spikelore import progress
from spikelore.bench import works
from spikelore.bench.digits import digits_for_kernels
from spikelore.errors import InputError, SpikeloreError
from spikelore.report.tables import print_table

Measure = Callable[[Path], dict[str, dict[str, Any]]]
"""Lets a process of the source tree do each work, and returns what `spikelore.bench.works.measured` does."""

_FLOOR = 1.03
_CHANCE = 0.01
_LEAST_ROUNDS = 5
_REPEATS = 3
"""Times that a work is taken in a process; the least counts."""
_COLUMNS = ("work", "base ms", "here ms", "here / base", "interval", "verdict", "note")


@dataclass(frozen=True)
class Compared:
    """One work here and at the base.

    Attributes:
        work: its name.
        here: seconds of each round here.
        base: seconds of each round at the base, none if it is missing there.
        note: why it is missing at the base, or that results differ.
    """

    work: str
    here: tuple[float, ...]
    base: tuple[float, ...]
    note: str

    @cached_property
    def ratios(self) -> list[float]:
        """Time here over time at the base, ascending."""
        return sorted(here / base for here, base in zip(self.here, self.base, strict=True))

    @cached_property
    def interval(self) -> tuple[float, float]:
        """Ends of the interval of the median ratio, see the module."""
        count, k = len(self.ratios), 1
        while sum(comb(count, each) for each in range(k + 1)) <= _CHANCE * 2**count:
            k += 1
        return self.ratios[k - 1], self.ratios[-k]

    @property
    def verdict(self) -> str:
        """``slower``, ``faster``, ``same`` or ``not in base``."""
        if not self.base:
            return "not in base"
        (low, high), ratio = self.interval, median(self.ratios)
        if low > 1 and ratio > _FLOOR:
            return "slower"
        return "faster" if high < 1 and ratio < 1 / _FLOOR else "same"

    def row(self) -> dict[str, str]:
        """Return its row of the table."""
        told = {"work": self.work, "here ms": f"{1e3 * median(self.here):.1f}"}
        if self.base:
            told["base ms"] = f"{1e3 * median(self.base):.1f}"
            told["here / base"] = f"{median(self.ratios):.3f}"
            told["interval"] = "{:.3f} to {:.3f}".format(*self.interval)
        return told | {"verdict": self.verdict, "note": self.note}


def compare(measure: Measure, base: Path, here: Path, rounds: int) -> list[Compared]:
    """Let two source trees work in turns and return how each work of this one compares.

    Args:
        measure: does the work in a tree.
        base: the tree to compare with.
        here: the tree in question.
        rounds: ratios of each work, at least 5.

    Raises:
        InputError: too few rounds.
        SpikeloreError: a work cannot be done here.
    """
    if rounds < _LEAST_ROUNDS:
        raise InputError(f"rounds is {rounds}, expected at least {_LEAST_ROUNDS}, fewer tell no noise; give more")
    with progress.shown(2 * rounds + 2, description="compiling") as meter:

        def turn(tree: Path, number: int) -> dict[str, dict[str, Any]]:
            found = measure(tree)
            meter.advance(f"round {number} of {rounds}" if number else "compiled", 1)
            return found

        first, own = turn(base, 0), turn(here, 0)
        for name, found in own.items():
            if "missing" in found:
                raise SpikeloreError(f"{name} cannot be done here ({found['missing']}); mend it or its work")
        rows = []
        for number in range(1, rounds + 1):
            order = (base, here) if number % 2 else (here, base)
            rows.append({tree: turn(tree, number) for tree in order})
    compared = []
    for name, found in own.items():
        there = first.get(name) or first.get(name.partition(" ")[0], {"missing": ""})
        here_seconds = tuple(row[here][name]["seconds"] for row in rows)
        if "missing" in there:
            compared.append(Compared(name, here_seconds, (), there["missing"]))
        else:
            note = "" if there["result"] == found["result"] else "results differ"
            compared.append(Compared(name, here_seconds, tuple(row[base][name]["seconds"] for row in rows), note))
    return compared


@contextmanager
def checked_out(root: Path, commit: str) -> Iterator[Path]:
    """Give a folder with a commit of the repository ``root``, which is gone afterwards.

    Raises:
        InputError: no such commit, or one without this package.
    """
    if _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}^{{commit}}").returncode:
        raise InputError(
            f"{commit!r} is no commit of {root}, expected one that git knows there; see: git log --oneline"
        )
    with TemporaryDirectory(prefix="spikelore-base-") as folder:
        tree = Path(folder) / "tree"
        try:
            made = _git(root, "worktree", "add", "--quiet", "--detach", str(tree), commit)
            if made.returncode:
                raise SpikeloreError(
                    f"git could not check {commit} out: {made.stderr.strip()}; mend that and try again"
                )
            if not (tree / "src" / "spikelore").is_dir():
                raise InputError(f"{commit} has no src/spikelore, expected a commit of this package; give a later one")
            yield tree
        finally:
            _git(root, "worktree", "remove", "--force", str(tree))


def _git(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False)


def _measure(tree: Path, *, file: Path, kinds: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Do the works in a process that has the package of a tree on its path."""
    command = [sys.executable, "-P", works.__file__, str(file), str(_REPEATS), *kinds]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(tree / "src")}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise SpikeloreError(f"the work of {tree} failed ({last}); run it alone: {' '.join(command)}")
    return json.loads(done.stdout)


def main() -> int:
    """Compare this working tree with the commit that the command names; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="bench-compare", description="Compare the speed of this working tree with that of a commit."
    )
    parser.add_argument("base", help="commit to compare with")
    parser.add_argument("--rounds", type=int, default=7, help="times that each takes its turn (default: 7)")
    parser.add_argument("--images", type=int, default=256, help="images or recordings a work (default: 256)")
    parser.add_argument("--only", nargs="+", choices=works.MAKERS, default=[], help="networks (default: all)")
    asked = parser.parse_args()
    here = Path(__file__).parents[3]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # cleans up as an interrupt does
    try:
        sample = digits_for_kernels(asked.images, seed=0)
        with checked_out(here, asked.base) as base:
            file = base.parent / "digits.npz"
            np.savez(file, images=sample.inputs, labels=sample.labels)
            compared = compare(partial(_measure, file=file, kinds=asked.only), base, here, asked.rounds)
    except SpikeloreError as error:
        print(f"bench-compare: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    rows = [each.row() for each in compared]
    print_table(rows, [*_COLUMNS], f"this working tree beside {asked.base}, {asked.rounds} rounds")
    return int(any(each.verdict == "slower" for each in compared))


if __name__ == "__main__":
    sys.exit(main())
