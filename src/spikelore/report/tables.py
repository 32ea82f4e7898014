"""Tables for a terminal or a log file: as few columns as tell the rows apart, never wider than the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from spikelore.errors import printable
from spikelore.metrics.learning_cost import Work

_TABLES = {"rows": "", "tasks": "accuracy of each task", "accuracy": "", "further": "learning on"}
"""Tables of results that are printed, and their titles; that of ``rows`` tells the experiment."""
_NOT_SHOWN = (
    "mean", "silent", "synops_per_image", "spikes_per_image", "backward_transfer", "forward_transfer", "storage",
    "seconds", *(f"{each.name}_learning" for each in fields(Work)),
)  # fmt: skip
"""Columns that only the report shows, beside those that hold lists."""
_OF_MANY = {
    "keywords": ("stream", "network", "method", "seed", "memory_bytes", "average_accuracy", "forgetting", "failed"),
    "study": ("stream", "network", "method", "seed", "memory_bytes", "average_accuracy", "joules_learning", "failed"),
}  # fmt: skip
"""Columns of experiments with more than a terminal has room for; rows without an accuracy or failure are not shown."""


AMOUNTS = ("joules_learning",)
"""Columns that hold no fractions, however small."""


def number(value: float) -> str:
    """Return a number with the digits that tell: ``0.123``, ``12.3``, ``12,345``."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


@dataclass(frozen=True)
class _Column:
    """One column as text; fractions (floats that are all up to 1) in per cent."""

    name: str
    cells: tuple[str, ...]
    words: bool
    unit: str

    @classmethod
    def of(cls, name: str, rows: Sequence[Mapping[str, Any]]) -> "_Column":
        values = [row.get(name) for row in rows]
        floats = [abs(value) for value in values if isinstance(value, float)]
        fraction = name not in AMOUNTS and bool(floats) and max(floats) <= 1
        words = any(isinstance(value, str) for value in values)
        cells = tuple(_text(value, fraction) for value in values)
        return cls(printable(name.replace("_", " ")), cells, words, " %" if fraction else "")

    def told(self, n: int) -> str:
        return f"{self.name} {self.cells[n]}{self.unit}"


def _text(value: Any, fraction: bool) -> str:
    if isinstance(value, float):
        return f"{100 * value:.1f}" if fraction else number(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "" if value is None else printable(str(value))


class _Output(Console):
    """Leaves it to the command what a reader that has gone means; Rich ends the process with 1."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def print_table(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str], title: str = "", *, group_by: str = "preset",
    console: Console | None = None,
) -> None:  # fmt: skip
    """Print rows in aligned columns that fit the width, or one paragraph a row where that is impossible.

    Fractions (a column of floats up to 1) are shown in per cent, as the heading says. What is equal in all of
    several rows is told once above the table. The column to group by becomes a heading over its rows if words follow.
    Only the last column may wrap, and only if it holds words.

    Args:
        rows: values by column name; None, or a name that a row lacks, is an empty cell.
        columns: names, in order.
        title: a line above.
        group_by: name of the column to group by, if it is there.
        console: where to print; standard output if not given.
    """
    console = console or _Output(highlight=False)
    every = [_Column.of(name, rows) for name in columns]
    same = [column for column in every if len(rows) > 1 and len(set(column.cells)) == 1]
    shown = [column for column in every if column not in same]
    told = ", ".join(column.told(0) for column in same if column.cells[0])
    for line in filter(None, (title, f"all rows: {told}" if told else "")):
        console.print(Text(printable(line)))
    group = next((column for column in shown if column.name == group_by), None)
    others = [column for column in shown if column is not group]
    if group and others and others[0].words:
        shown = others
    else:
        group = None
    if not shown:
        return
    for table in (_aligned(shown, group, between=between) for between in (" ", "\n")):
        if Measurement.get(console, console.options.update(max_width=10_000), table).minimum <= console.width:
            console.print(table)
            return
    _print_paragraphs(shown, group, console)


def print_results(results: Mapping[str, Any]) -> None:
    """Print the tables of a run's results with the columns that a terminal has room for."""
    told = f"{results['experiment']} on {', '.join(results['data'])}, seed {results['seed']}"
    for name, title in _TABLES.items():
        rows = results.get(name, ())
        found = [(column, value) for row in rows for column, value in row.items()]
        left_out = {*_NOT_SHOWN, *(column for column, value in found if isinstance(value, list | dict))}
        columns = [column for column in dict.fromkeys(column for column, _ in found) if column not in left_out]
        if few := _OF_MANY.get(results["experiment"]):
            rows = [row for row in rows if {"average_accuracy", "failed"} & row.keys()]
            columns = [column for column in few if any(column in row for row in rows)]
        if rows:
            told_above = told if name == "rows" else title
            print_table(rows, columns, told_above, group_by="stream" if few else "preset")


def _aligned(columns: Sequence[_Column], group: _Column | None, *, between: str) -> Table:
    """Return the table with ``between`` the words of each heading."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        wraps = column.words and column is columns[-1]
        heading = between.join(column.name.split(" ")) + column.unit
        width = max(len(line) for line in (*heading.split("\n"), *(() if wraps else column.cells)))
        table.add_column(heading, justify="left" if column.words else "right", no_wrap=not wraps, min_width=width)
    for n in range(len(columns[0].cells) if columns else 0):
        if group and (n == 0 or group.cells[n] != group.cells[n - 1]):
            if n:
                table.add_row()
            table.add_row(Text(f"[{group.cells[n]}]", style="bold"))
        table.add_row(*(Text(column.cells[n]) for column in columns))
    return table


def _print_paragraphs(columns: Sequence[_Column], group: _Column | None, console: Console) -> None:
    first, *others = columns
    for n, name in enumerate(first.cells):
        head = name if first.words else first.told(n)
        console.print(Text(f"{head} [{group.cells[n]}]" if group else head, style="bold"))
        console.print(Padding(Text(", ".join(each.told(n) for each in others if each.cells[n])), (0, 0, 0, 2)))
