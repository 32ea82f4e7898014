"""The report of the ways not to forget (Antonov, Sviatov & Sukhov 2022, doi 10.1016/j.neunet.2022.09.003)."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from spikelore.learning.langevin import SHOWN
from spikelore.metrics.weight_moves import STILL
from spikelore.report import style
from spikelore.report.over_runs import Row, over_runs
from spikelore.report.page import Cell, Content, Drawing, Run, Table, different, preset_title

_NUMBERS = ("digits", "letters", "mean", "stored_images", "stored_bytes", "epoch")
_MOVES = {
    "layer_1_stayed": "layer 1",
    "layer_2_stayed": "layer 2",
    "layer_3_stayed": "layer 3",
    "largest_stayed": "largest tenth of layer 3",
    "layer_3_moved": "mean move in layer 3",
    "largest_moved": "of its largest tenth",
}
"""Numbers of how far weights moved, and their columns."""
_DECILES = {"D10": style.GREEN, "D50": style.VERMILION, "D90": style.PURPLE}
_PUBLISHED = {
    "forgetting": ((0.180, 0.234, 0.439, 0.481), 0.784),
    "lateral inhibition": ((0.744, 0.828, 0.799, 0.786), 0.889),
    "pseudo-rehearsal": ((0.796, 0.766, 0.566, 0.435), 0.790),
    "reminder 0.25 %": ((0.595, 0.767, 0.753, 0.745), 0.740),
    "reminder 10 %": ((0.856, 0.906, 0.909, 0.911), 0.778),
    "noise": ((0.648, 0.749, 0.696, 0.673), 0.878),
    "frozen": ((0.824, 0.849, 0.806, 0.782), 0.692),
    "langevin": ((0.813, 0.827, 0.828, 0.822), 0.783),
    "joint": ((0.843, 0.904, 0.912, 0.920), 0.797),
}
"""Digits after epochs 1, 10, 50 and 100 of letters, and letters after 100, read off the authors' figure."""


def _names(results: Row) -> dict[str, str]:
    """Return what each task is called, in headings."""
    return dict(zip(("digits", "letters"), results["data"], strict=True))


def _table(results: Row, rows: list[Row], spread: str) -> Table:
    best = {name: max(row[name].mean for row in rows) for name in ("digits", "letters", "mean")}
    names = {**_names(results), "mean": "mean"}
    return Table.of(
        "Accuracy after both tasks",
        f"Test images, %{spread}. The epoch of the second task that decides most of its validation images rightly "
        "counts, or another one where the configuration says so.",
        rows,
        {
            "": lambda row: row["name"],
            **{
                title: lambda row, name=name: row[name].text(".0f")
                for name, title in {"stored_images": "stored images", "stored_bytes": "bytes", "epoch": "epoch"}.items()
                if name in rows[0]
            },
            **{
                title: lambda row, name=name: Cell(row[name].percent(), strong=row[name].mean == best[name])
                for name, title in names.items()
            },
        },
        by=preset_title,
    )


def _choices(choices: list[Row], spread: str) -> Table:
    """What the mean is when the epoch is chosen in another way."""
    found = {(row["name"], row["choice"]): row for row in choices}
    columns = different(choices, "choice")
    return Table.of(
        "What the choice of the epoch is worth",
        f"Mean accuracy, %{spread}, at the epoch that is best on the second task's validation or test images, or last. "
        "The test images choose in the paper; here they are only shown.",
        [{"name": name} for name in different(choices, "name")],
        {
            "": lambda row: row["name"],
            **{each: lambda row, each=each: found[row["name"], each]["mean"].percent() for each in columns},
        },
    )


def _curves(run: Run) -> Drawing:
    """One panel a way: both tasks after each epoch."""
    rows, names = run.results["rows"], _names(run.results)
    figure, axes = style.panels(len(rows), 2.6, share_y=True)
    asked = [line[f"{name}_test"] for line in run.metrics if "digits_test" in line for name in names]
    for panel, row, part in zip(axes, rows, run.config["ways"], strict=True):
        lines = [line for line in run.metrics if line["part"] == part and "digits_test" in line]
        epochs = [line["epoch"] for line in lines]
        for n, (name, title) in enumerate(names.items()):
            panel.plot(epochs, [line[f"{name}_test"] for line in lines], color=style.colour(n), label=title)
            if published := _published(run, row["name"]):
                panel.plot(
                    *published[n], "o", color=style.colour(n), markerfacecolor=style.PAPER, label=f"{title}, published"
                )
        panel.axvline(row["epoch"], color=style.MUTED, linewidth=1, zorder=1, label="epoch that counts")
        panel.set_title(row["name"])
        panel.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        style.percent_axis(panel, "y", min(asked))
    axes[0].set_ylabel("right, test images")
    for panel in axes[-3:]:
        panel.set_xlabel("epoch of the second task")
    style.legend(figure, axes)
    return Drawing(
        "epochs",
        "Both tasks while the second is learned",
        "What is kept of the first task and gained of the second after each epoch (the paper's figure of all ways).",
        figure,
    )


def _published(run: Run, way: str) -> list[tuple[list[int], list[float]]]:
    """Return epochs and accuracies of both tasks in the paper, of a run at its size and of one of its ways."""
    if run.results["data"] != ["mnist", "letters"] or run.config["epochs_second"] != 100 or way not in _PUBLISHED:
        return []
    digits, letters = _PUBLISHED[way]
    return [([1, 10, 50, 100], [*digits]), ([100], [letters])]


def _map(results: Row, rows: list[Row]) -> Drawing:
    """What is kept against what is learned."""
    figure = Figure(figsize=(0.75 * style.WIDTH, 5.6), layout="constrained")
    axes, names, presets = figure.subplots(), _names(results), different(rows, "preset")
    for row in rows:
        x, y, n = row["letters"].mean, row["digits"].mean, presets.index(row["preset"])
        axes.scatter([x], [y], s=42, color=style.colour(n), linewidths=0, zorder=3)
        if len(row["letters"].values) > 1:
            axes.errorbar([x], [y], [row["digits"].deviation], [row["letters"].deviation], ecolor=style.colour(n))
    for n, preset in enumerate(presets):
        axes.scatter([], [], s=42, color=style.colour(n), label=preset_title({"preset": preset}))
    style.percent_axis(axes, "x", min(row["letters"].mean for row in rows))
    style.percent_axis(axes, "y", min(row["digits"].mean for row in rows))
    axes.set_xlabel(f"{names['letters']}, learned")
    axes.set_ylabel(f"{names['digits']}, kept")
    style.legend(figure, [axes])
    style.labels(axes, [(row["letters"].mean, row["digits"].mean, row["name"]) for row in rows])
    return Drawing(
        "map",
        "Kept against learned",
        "Each way at the epoch that counts; up is less forgotten, to the right is more learned.",
        figure,
    )


def _moves_table(results: Row, rows: list[Row], spread: str) -> Table:
    """What each way protects."""

    def told(row: Row, name: str) -> str:
        return row[name].percent() if name.endswith("stayed") else row[name].text(".3f")

    return Table.of(
        "What each way protects",
        f"Share of weights that moved by less than {STILL} while {_names(results)['letters']} was learned, up to the "
        f"epoch that counts, %{spread}; and how far a weight moved on average. Weights are in 0 .. 1.",
        rows,
        {
            "": lambda row: row["name"],
            **{title: lambda row, name=name: told(row, name) for name, title in _MOVES.items()},
        },
        by=preset_title,
    )


def _moves(run: Run) -> Drawing:
    """One panel a way: how far layer 3's weights moved, by how large they were."""
    rows = run.results["moves"]
    figure, axes = style.panels(len(rows), 2.2, share_y=True)
    tenths = np.arange(1, 11)
    for panel, row in zip(axes, rows, strict=True):
        moved = run.arrays[f"{row['name']}/moved"]
        panel.bar(tenths, moved, 0.8, color=[style.BLUE] * 9 + [style.VERMILION])
        panel.set_title(row["name"])
        panel.set_xticks([1, 10], ["smallest", "largest"])
    axes[0].set_ylabel("mean move")
    for panel in axes[-3:]:
        panel.set_xlabel("tenth of the weights, by size before")
    return Drawing(
        "moves",
        "How far weights moved",
        "How far the weights of layer 3 moved while the second task was learned, by how large they were before; "
        "what does not move is kept. The largest tenth is what the way 'frozen' protects.",
        figure,
    )


def _sampled(arrays: Mapping[str, NDArray]) -> Drawing:
    """The values that a few weights took in the Langevin sampling, and how wide all are spread."""
    levels, widths = arrays["langevin/sampled/levels"], arrays["langevin/sampled/widths"]
    step = float(levels[1] - levels[0])
    reached = np.flatnonzero(arrays["langevin/sampled/counts"].any(axis=0))
    figure, axes = style.panels(len(SHOWN) + 1, 2.8)
    for n, (panel, name) in enumerate(zip(axes, SHOWN, strict=False)):
        counts, deciles = arrays["langevin/sampled/counts"][n], arrays["langevin/sampled/deciles"][n]
        panel.bar(levels, counts, 0.9 * step, color=style.MUTED)
        for at, (title, colour) in zip(deciles, _DECILES.items(), strict=True):
            panel.axvline(at, color=colour, linewidth=1.5, label=title)
        panel.set_title(f"A {name} one: D90 - D10 = {deciles[2] - deciles[0]:.2f}")
        panel.set_xlabel("weight")
        panel.set_xlim(float(levels[reached[0]]) - 2 * step, float(levels[reached[-1]]) + 2 * step)
    last, most = axes[-1], np.flatnonzero(widths)[-1] + 1
    last.bar(step * np.arange(most), widths[:most], 0.9 * step, color=style.MUTED)
    last.set_title("All weights of layer 3")
    last.set_xlabel("D90 - D10 of a weight")
    for panel in axes[:-1]:
        panel.set_ylabel("records")
    last.set_ylabel("weights")
    last.yaxis.set_major_formatter(lambda value, _: style.short(value))
    style.legend(figure, axes)
    return Drawing(
        "sampled",
        "What weights do under noise",
        "Values of single weights while the first task is learned on with noise. One that decisions hang on stays in a "
        "narrow range; in the second task none leaves its D10 to D90.",
        figure,
    )


def content(runs: Sequence[Run]) -> Content:
    """Return the page of one run, or of several: every number is then a mean over them, with the deviation."""
    results = runs[0].results
    every = [run.results["rows"] for run in runs]
    told = [name for name in _NUMBERS if all(name in row for each in every for row in each)]  # older runs tell less
    rows = over_runs(every, ("name", "preset"), told)
    choices = over_runs([run.results["choices"] for run in runs], ("name", "choice"), ("mean",))
    spread = "" if len(runs) == 1 else f", mean ± sample standard deviation over {len(runs)} runs"
    first, second = results["data"]
    top = {preset: max((row for row in rows if row["preset"] == preset), key=lambda row: row["mean"].mean)
           for preset in different(rows, "preset")}  # fmt: skip
    tables = [_table(results, rows, spread), _choices(choices, spread)]
    drawings = [_map(results, rows), *([_curves(runs[0])] if len(runs) == 1 else [])]
    if all(run.results.get("moves") for run in runs):
        moves = over_runs([run.results["moves"] for run in runs], ("name", "preset"), [*_MOVES])
        tables.append(_moves_table(results, moves, spread))
        if len(runs) == 1:
            drawings.append(_moves(runs[0]))
    if len(runs) == 1 and "langevin/sampled/counts" in runs[0].arrays:
        drawings.append(_sampled(runs[0].arrays))
    return Content(
        title=f"Learning without forgetting: {first}, then {second}",
        summary=f"A spiking network learned {first} and then {second} on the same outputs by local rules, in "
        f"{len(rows)} ways; both were asked after each epoch.",
        highlights=[
            (f"{row['mean'].percent()} %", f"mean accuracy of {row['name']}, {preset_title(row).lower()}")
            for row in top.values()
        ],
        tables=tables,
        drawings=drawings,
    )
