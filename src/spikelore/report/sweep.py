"""The report of a sweep: every point of its grid, over its seeds."""

from collections.abc import Mapping, Sequence

from spikelore.report import style
from spikelore.report.over_runs import Spread, by_their_texts
from spikelore.report.page import Content, Drawing, Table, each_run, trade_offs
from spikelore.report.runs import Row, Run
from spikelore.report.tables import AMOUNTS, number

_ACCURACIES = ("average_accuracy", "mean", "accuracy", "left")
"""What is drawn of rows, the first that they have."""
_AFTER = "after "


def _rows(runs: Sequence[Run]) -> list[Row]:
    """Return a point's rows over its seeds, with the accuracy after each task as numbers of the row."""
    flat = [
        [
            {name: value for name, value in row.items() if name not in ("seed", "seconds")}
            | {f"{_AFTER}{n + 1}": value for n, value in enumerate(row.get("average_accuracies") or [])}
            for row in run.results["rows"]
        ]
        for run in runs
    ]
    return by_their_texts(flat)


def _fraction(rows: Sequence[Row], name: str) -> bool:
    values = [value for row in rows if isinstance(row.get(name), Spread) for value in row[name].values]
    return name not in AMOUNTS and any(isinstance(value, float) for value in values) and max(map(abs, values)) <= 1


def _text(row: Row, name: str, *, fraction: bool) -> str:
    value = row.get(name, "")
    if not isinstance(value, Spread):
        return str(value)
    several = len(value.values) > 1 if fraction else value.deviation > 1e-9 * abs(value.mean)  # but for rounding
    shown = [value.mean, value.deviation][: 1 + several]
    return " ± ".join(f"{100 * each:.1f}" if fraction else number(each) for each in shown)


def _table(rows: list[Row], runs: int) -> Table:
    found = {name: _fraction(rows, name) for row in rows for name in row if not name.startswith(_AFTER)}
    cells = {name: {_text(row, name, fraction=fraction) for row in rows} for name, fraction in found.items()}
    shown = [name for name in found if name == "point" or len(cells[name]) > 1]
    words = [name for name in shown if any(isinstance(row.get(name), str) for row in rows)]
    same = "; ".join(f"{name.replace('_', ' ')} {next(iter(cells[name]))}" for name in found if name not in shown)
    return Table.of(
        "Every point",
        f"Mean ± sample standard deviation over the seeds of a point, {runs} runs in all; fractions in %."
        + (f" The same in all rows: {same}." if same else ""),
        rows,
        {
            name.replace("_", " ") + ", %" * found[name]: lambda row, name=name: _text(row, name, fraction=found[name])
            for name in [*words, *(name for name in shown if name not in words)]
        },
        text_columns=len(words),
    )


def _name(row: Row, varied: Sequence[str]) -> str:
    return ", ".join(str(row[name]) for name in varied if row.get(name))


def _over_tasks(rows: list[Row], varied: Sequence[str]) -> list[Drawing]:
    lines = {}
    for row in rows:
        after = [(float(n), row[f"{_AFTER}{n}"]) for n in range(1, len(row)) if f"{_AFTER}{n}" in row]
        if len(after) > 1:
            lines[_name(row, varied)] = after
    if not lines:
        return []
    figure = style.curves({"": lines}, "tasks learned", "mean accuracy of the tasks so far", logarithm=False)
    return [Drawing("tasks", "Accuracy over tasks", "One line a row of the table, with the deviation.", figure)]


def content(points: Mapping[str, Sequence[Run]], unfinished: int) -> Content:
    """Return the page of a sweep.

    Args:
        points: the finished runs of each point.
        unfinished: how many runs of the sweep have no results yet.
    """
    runs = [run for each in points.values() for run in each]
    rows: list[Row] = [{"point": name} | row for name, each in points.items() for row in _rows(each)]
    words = {name: {row.get(name) for row in rows} for row in rows for name, value in row.items() if type(value) is str}
    varied = [name for name, values in words.items() if len(values) > 1]
    experiment, data = runs[0].results["experiment"], ", ".join(runs[0].results["data"])
    accuracy = next((name for name in _ACCURACIES if any(name in row for row in rows)), None)
    told = [row for row in rows if accuracy in row]
    drawings = _over_tasks(rows, varied)
    if accuracy:
        drawings += trade_offs(
            {"": told}, accuracy, lambda row: _name(row, [n for n in varied if n != "point"]) or "all"
        )
        named = [(_name(row, varied) or "all", row.get("point", ""), row[accuracy]) for row in told]
        drawings.append(each_run(named, accuracy.replace("_", " ")))
    return Content(
        f"Sweep of {experiment}: {data}",
        f"{len(runs)} runs at {len(points)} points of a grid"
        + (f"; {unfinished} more have not finished and are left out" if unfinished else "")
        + ".",
        [],
        [_table(rows, len(runs))],
        drawings,
    )
