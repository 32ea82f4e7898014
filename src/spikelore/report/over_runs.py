"""Rows of several runs or seeds as one: what makes them alike, and their numbers gathered."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas

from spikelore.report.runs import Row


@dataclass(frozen=True)
class Spread:
    """A number over several runs.

    Attributes:
        values: one a run.
    """

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The arithmetic mean."""
        return float(np.mean(self.values))

    @property
    def deviation(self) -> float:
        """The sample standard deviation (n - 1 below the root); NaN for a single value."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else math.nan

    def percent(self, digits: int = 1) -> str:
        """Return ``81.3 ± 0.4``, in per cent; the mean alone for a single value."""
        return self.text(f".{digits}f", 100)

    def text(self, form: str, scale: float = 1) -> str:
        """Return the mean and, of several values, ``±`` the deviation, times ``scale`` and formatted by ``form``."""
        numbers = [self.mean] if len(self.values) == 1 else [self.mean, self.deviation]
        return " ± ".join(f"{scale * number:{form}}" for number in numbers)


def over_runs(runs: Sequence[Sequence[Row]], keys: Sequence[str], numbers: Sequence[str]) -> list[Row]:
    """Match the rows of several runs and gather their numbers.

    Args:
        runs: rows of each run.
        keys: names of the values that must be equal in matching rows (a name a row lacks counts as None).
        numbers: names of the values to gather; a row that lacks one is left out of that one.

    Returns:
        One row for each combination of ``keys``, in order of first appearance: the keys' values, and a
        `Spread` for each number that any run has.
    """
    rows = [row for each in runs for row in each]
    frame = pandas.DataFrame(rows, columns=[*keys, *numbers], dtype=object)
    found = []
    for _, alike in frame.groupby([*keys], sort=False, dropna=False):
        first = rows[alike.index[0]]
        values = {name: tuple(alike[name].dropna()) for name in numbers}
        found.append({key: first.get(key) for key in keys} | {name: Spread(v) for name, v in values.items() if v})
    return found


def by_their_texts(runs: Sequence[Sequence[Row]]) -> list[Row]:
    """Gather every number of rows that are matched by their texts, and among rows of equal texts by their order.

    What a value that is a dict holds counts as ``name.key``; lists are left out, and texts that a row lacks.
    """
    flat = [[row | _inner(row) for row in rows] for rows in runs]
    found = [(name, value) for rows in flat for row in rows for name, value in row.items()]
    texts = [*dict.fromkeys(name for name, value in found if isinstance(value, str))]
    numbers = [*dict.fromkeys(name for name, value in found if isinstance(value, int | float))]
    for rows in flat:
        met: dict[tuple[Any, ...], int] = {}
        for row in rows:
            words = tuple(row.get(name) for name in texts)
            row[""] = met[words] = met.get(words, 0) + 1
    gathered = over_runs(flat, ["", *texts], numbers)
    return [{name: value for name, value in row.items() if name and value is not None} for row in gathered]


def _inner(row: Row) -> Row:
    return {f"{name}.{key}": each for name, one in row.items() if isinstance(one, dict) for key, each in one.items()}
