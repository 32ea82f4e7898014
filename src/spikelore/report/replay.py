"""The report of the replay experiment (Proietti et al. 2023, MLSP, openreview 5WpnFTeJir)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from spikelore.report import style, tables
from spikelore.report.over_runs import over_runs
from spikelore.report.page import (
    Cell,
    Content,
    Drawing,
    Table,
    class_name,
    different,
    percent,
    preset_title,
    trade_offs,
)
from spikelore.report.runs import Row, Run

_SIZES = ("memory_images", "memory_bytes")
_KEYS = ("scenario", "network", "method", "preset", *_SIZES, "fault_list", "storage", "label")
_NUMBERS = (
    "average_accuracy", "forgetting", "backward_transfer", "spikes_per_image", "synops_per_image", "joules_learning",
    "seconds",
)  # fmt: skip
_METHODS = {
    "gdumb": "GDumb", "der++": "DER++", "ewc": "EWC", "lwf": "LwF", "si": "SI", "slda": "SLDA", "hlop": "HLOP",
}  # fmt: skip
_USUAL = "surrogate"
"""The network that goes without saying."""
_ENERGY = ("synops_per_image", "joules_learning")  # memory has a figure of its own
_PANELS = 9


def _flat(run: Run) -> list[Row]:
    """Return a run's rows with the accuracy after each task, and the published one, as numbers of the row."""
    found = []
    for row in run.results["rows"]:
        after = {f"after {n + 1}": value for n, value in enumerate(row["average_accuracies"])}
        theirs = {f"published {n + 1}": value for n, value in enumerate(row.get("published_averages") or [])}
        found.append({"network": _USUAL, **row, "fault_list": ", ".join(row.get("faults", [])), **after, **theirs})
    return found


def _gathered(runs: Sequence[Run]) -> list[Row]:
    """Return one row for each learner, its numbers over seeds and runs."""
    rows = [_flat(run) for run in runs]
    _by_budget([row for each in rows for row in each if row.get("budget")])
    numbers = dict.fromkeys(
        name for each in rows for row in each for name in row if name.startswith(("after ", "published "))
    )
    return over_runs(rows, _KEYS, [*_NUMBERS, *numbers])


def _by_budget(rows: list[Row]) -> None:
    """Give learners of one budget of bytes that examples of their own length fill its bytes, and their mean number."""
    held: dict[tuple[Any, ...], list[int]] = {}
    keys = [(row["budget"], *(row.get(key) for key in _KEYS if key not in _SIZES)) for row in rows]
    for key, row in zip(keys, rows, strict=True):
        held.setdefault(key, []).append(row["memory_images"])
    for key, row in zip(keys, rows, strict=True):
        row["memory_bytes"], row["memory_images"] = row["budget"], round(sum(held[key]) / len(held[key]))


def _tasks(runs: Sequence[Run]) -> int:
    return max(len(row["accuracy_matrix"][0]) for run in runs for row in run.results["rows"])


def _label(row: Row) -> str:
    if not row["memory_images"] or row["preset"] == "faults":
        return _learner(row)
    return f"{_learner(row)}, {row['memory_images']:,} images"


def _learner(row: Row) -> str:
    name = str(row.get("label") or _METHODS.get(row["method"], row["method"]))
    return name if row.get("network", _USUAL) == _USUAL else f"{name}, {row['network']}"


# Tables -------------------------------------------------------------------------------------------------


def _averages_table(rows: list[Row], tasks: int, scenario: str) -> Table:
    published = "; below it in small type the published number" if any("published 1" in row for row in rows) else ""

    def cell(row: Row, n: int) -> Cell:
        # A learner of all tasks at once has one accuracy, that at the end.
        at_once = f"after {tasks}" not in row
        one = row.get(f"after {n}") if not at_once else row.get("after 1") if n == tasks else None
        theirs = row.get(f"published {n}")
        return Cell(one.percent() if one else "", percent(theirs.mean) if theirs else "")

    return Table.of(
        f"Average accuracy, {scenario}",
        f"Mean over the tasks seen so far, after each task, %{published}.",
        rows,
        {
            "learner": _label,
            **{f"{n} task{'s' if n > 1 else ''}": lambda row, n=n: cell(row, n) for n in range(1, tasks + 1)},
        },
        by=preset_title,
    )


def _costs_table(rows: list[Row]) -> Table:
    def number(row: Row, name: str) -> str:
        return f"{row[name].mean:,.0f}" if name in row else "–"

    def share(row: Row, name: str) -> str:
        return row[name].percent() if name in row else "–"

    return Table.of(
        "What it keeps and what it costs",
        "After the last task: average accuracy, forgetting (best minus last) and backward transfer in %; spikes and "
        "synaptic operations of one test image, the first layer's multiplications of grey pixels included; energy of "
        "all learning, replayed images included.",
        rows,
        {
            "learner": _label,
            "memory bytes": lambda row: f"{row['memory_bytes']:,}",
            "accuracy": lambda row: share(row, "average_accuracy"),
            "forgetting": lambda row: share(row, "forgetting"),
            "backward": lambda row: share(row, "backward_transfer"),
            "spikes": lambda row: number(row, "spikes_per_image"),
            "operations": lambda row: number(row, "synops_per_image"),
            "learning, mJ": lambda row: (
                tables.number(1e3 * row["joules_learning"].mean) if "joules_learning" in row else "–"
            ),
        },
        by=lambda row: f"{preset_title(row)}, {row['scenario']}",
    )


# Figures ------------------------------------------------------------------------------------------------


def _matrices(runs: Sequence[Run], row: Row) -> NDArray[np.float64]:
    """Return the mean accuracy matrix of a learner over seeds and runs."""
    found = [
        each["accuracy_matrix"]
        for run in runs
        for each in _flat(run)
        if tuple(each.get(key) for key in _KEYS) == tuple(row[key] for key in _KEYS)
    ]
    return np.mean(np.array(found, np.float64), axis=0)


def _shown(rows: list[Row]) -> list[Row]:
    """Return the learners whose tasks are drawn: of each scenario and preset the smallest and the largest memory."""
    found: list[Row] = []
    for scenario in different(rows, "scenario"):
        for preset in ("published", "best"):
            mine = [
                row for row in rows
                if row["scenario"] == scenario and row["preset"] == preset and row["method"] != "joint"
            ]  # fmt: skip
            mine.sort(key=lambda row: row["memory_images"])
            found += [mine[0], mine[-1]] if len(mine) > 1 else mine
    others = [row for row in rows if row["method"] != "joint"]
    return found or others or rows


def _arrival(runs: Sequence[Run], rows: list[Row]) -> Drawing:
    chosen = _shown(rows)
    shown = chosen[:_PANELS]
    left_out = f" The first {_PANELS} of {len(chosen)} learners." if len(chosen) > _PANELS else ""
    figure, axes = style.panels(len(shown), 3.0, share_y=True)
    matrices = [_matrices(runs, row) for row in shown]
    least = min(float(np.nanmin(matrix)) for matrix in matrices)
    for panel, row, matrix in zip(axes, shown, matrices, strict=True):
        steps = np.arange(1, len(matrix) + 1)
        for task in range(matrix.shape[1]):
            known = np.isfinite(matrix[:, task])
            panel.plot(
                steps[known], matrix[known, task], marker="o", color=style.colour(task), label=f"task {task + 1}"
            )
        panel.set_title(f"{preset_title(row)}, {row['scenario']}\n{_label(row)}", fontsize=8.5)
        panel.set_xticks(steps)
        panel.set_xlabel("tasks learned")
        style.percent_axis(panel, "y", least)
    axes[0].set_ylabel("accuracy")
    style.legend(figure, axes[:1])
    return Drawing(
        "arrival",
        "Each task's accuracy as tasks arrive",
        f"One line a task: what falls after the task was learned is forgotten (the published figure).{left_out}",
        figure,
    )


def _lines(rows: list[Row]) -> dict[tuple[str, bool], list[Row]]:
    """Return the learners that keep examples, by what they are and whether they keep spikes."""
    lines: dict[tuple[str, bool], list[Row]] = {}
    for row in rows:
        if row["memory_images"] and row["preset"] != "faults":
            best = ", best preset" if row["preset"] == "best" else ""
            lines.setdefault((f"{_learner(row)}{best}", row["storage"] == "spikes"), []).append(row)
    return lines


def _against_memory(rows: list[Row]) -> Drawing:
    scenarios = different(rows, "scenario")
    figure = Figure(figsize=(style.WIDTH, 0.8 + 3.4 * len(scenarios)), layout="constrained")
    grid = figure.subplots(len(scenarios), 2, squeeze=False, sharey=True)
    names = list(dict.fromkeys(name for name, _ in _lines(rows)))
    least = min(row["average_accuracy"].mean for line in _lines(rows).values() for row in line)
    for line, scenario in zip(grid, scenarios, strict=True):
        mine = [row for row in rows if row["scenario"] == scenario]
        for panel, key in zip(line, ("memory_images", "memory_bytes"), strict=True):
            for (name, as_spikes), points in _lines(mine).items():
                places = [(row[key], row["average_accuracy"]) for row in points]
                style.curve(panel, places, name, names.index(name), hollow=as_spikes)
            style.logarithmic(panel, [row[key] for row in mine if row["memory_images"]])
            panel.set_xlabel("images in memory" if key == "memory_images" else "bytes of memory, labels included")
            panel.set_title(scenario)
            style.percent_axis(panel, "y", least)
            _without_memory(panel, mine)
        line[0].set_ylabel("average accuracy at the end")
    style.legend(figure, [*grid.ravel()])
    return Drawing(
        "memory",
        "Accuracy against memory",
        "Each learner that keeps examples, by how many and by their bytes, with the standard deviation over seeds; "
        "hollow: images stored as spikes; dashed, or named at the lower edge: without a memory.",
        figure,
    )


def _without_memory(panel: Axes, rows: list[Row]) -> None:
    """Draw the learners without a memory as dashed lines; name those that are below the axis at its lower edge."""
    low, high = panel.get_ylim()
    rows = [row for row in rows if not row["memory_images"] and row["preset"] != "faults"]
    below = []
    for row in sorted(rows, key=lambda row: -row["average_accuracy"].mean):
        value = row["average_accuracy"].mean
        name = f"{_learner(row)}, {row['preset']}"
        if value < low:
            below.append(f"{_learner(row)} {percent(value)} %")
            continue
        panel.axhline(value, color=style.MUTED, linewidth=1, linestyle="--")
        _note(panel, value + 0.01 * (high - low), name)
    if below:
        _note(panel, low + 0.02 * (high - low), f"below: {', '.join(below)}")


def _note(panel: Axes, height: float, text: str) -> None:
    panel.text(
        0.01, height, text, color=style.MUTED, fontsize=7.5, transform=panel.get_yaxis_transform(),
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8}, zorder=1.5,
    )  # fmt: skip


def _confusion(run: Run) -> Drawing | None:
    """How one learner's answers move as tasks arrive: the best preset's largest memory, else the last row's."""
    rows = run.results["rows"]
    order = [n for n, row in enumerate(rows) if row["preset"] == "best"] or list(range(len(rows)))
    chosen = max(order, key=lambda n: (rows[n]["memory_images"], -n))
    names = sorted(
        (name for name in run.arrays if name.startswith("confusion/") and name.endswith(f"/{chosen}")),
        key=lambda name: int(name.split("/")[1]),
    )
    if not names:
        return None
    counts = [run.arrays[name] for name in names]
    row = rows[chosen]
    labels = sorted(row.get("classes", range(len(counts[0]))))
    named = row["scenario"] != "domain-incremental"  # there a label is a position in its task's classes
    classes = [class_name(run, label) if named else str(label) for label in labels]
    figure, axes = style.panels(len(counts), 3.2)
    for n, (panel, count) in enumerate(zip(axes, counts, strict=True)):
        total = count.sum(1, keepdims=True)
        shares = np.where(total > 0, count[:, :-1] / np.maximum(total, 1), np.nan)
        style.heat(panel, shares, classes, classes, size=6.5, least=0.02)
        panel.set_title(f"after task {n + 1}")
        panel.set_xlabel("decided")
        if max(map(len, classes)) > 2:
            panel.tick_params(axis="x", labelrotation=90)
    axes[0].set_ylabel("true class")
    figure.suptitle(f"{preset_title(row)}, {row['scenario']}: {_label(row)}", fontsize=9, x=0.01, ha="left")
    return Drawing(
        "confusion",
        "Confusion over time",
        f"{_label(row)}, {row['scenario']}, seed {row['seed']}: per cent of each class's test images by the class that "
        "was decided; empty rows are classes that have not come yet.",
        figure,
    )


# Pages --------------------------------------------------------------------------------------------------


def _highlights(rows: list[Row]) -> list[tuple[str, str]]:
    found = []
    for preset in ("published", "best"):
        mine = [row for row in rows if row["preset"] == preset and row["method"] not in ("joint", "naive")]
        if mine:
            top = max(mine, key=lambda row: row["average_accuracy"].mean)
            what = f"{preset_title(top)}: {_label(top)}, {top['scenario']}"
            found.append((f"{top['average_accuracy'].percent()} %", what))
    return found


def content(runs: Sequence[Run]) -> Content:
    """Return the page of one run, or of several: rows of the same learner are averaged."""
    if len(runs) == 1:
        data = ", ".join(runs[0].results["data"])
        summary = f"Spiking networks that learn {data} task after task, with and without a memory of what came before."
    else:
        summary = f"{len(runs)} runs of learners that learn task after task; numbers are means over runs and seeds."
    rows = _gathered(runs)
    scenarios = {name: [row for row in rows if row["scenario"] == name] for name in different(rows, "scenario")}
    tables = [_averages_table(mine, _tasks(runs), scenario) for scenario, mine in scenarios.items()]
    confusion = _confusion(runs[0])
    drawings = [
        _arrival(runs, rows),
        *([_against_memory(rows)] if _lines(rows) else []),
        *trade_offs(scenarios, "average_accuracy", lambda row: f"{_learner(row)} ({preset_title(row)})", _ENERGY),
        *([confusion] if confusion else []),
    ]
    return Content("Memory replay", summary, _highlights(rows), [*tables, _costs_table(rows)], drawings)
