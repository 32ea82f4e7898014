"""The report of the ways not to forget (Antonov, Sviatov & Sukhov 2022, doi 10.1016/j.neunet.2022.09.003)."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from spikelore.report import style
from spikelore.report.over_runs import Row, over_runs
from spikelore.report.page import Cell, Content, Drawing, Run, Table, different, preset_title

_NUMBERS = ("digits", "letters", "mean", "stored_images", "stored_bytes", "epoch")


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
            "stored images": lambda row: row["stored_images"].text(".0f"),
            "bytes": lambda row: row["stored_bytes"].text(".0f"),
            "epoch": lambda row: row["epoch"].text(".0f"),
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


def _map(results: Row, rows: list[Row]) -> Drawing:
    """What is kept against what is learned."""
    figure = Figure(figsize=(0.75 * style.WIDTH, 5.6), layout="constrained")
    axes, names, presets = figure.subplots(), _names(results), different(rows, "preset")
    for row in rows:
        x, y, n = row["letters"].mean, row["digits"].mean, presets.index(row["preset"])
        axes.scatter([x], [y], s=42, color=style.colour(n), linewidths=0, zorder=3)
        if len(row["letters"].values) > 1:
            axes.errorbar([x], [y], [row["digits"].deviation], [row["letters"].deviation], ecolor=style.colour(n))
        axes.annotate(row["name"], (x, y), (6, 4), textcoords="offset points", fontsize=9)
    for n, preset in enumerate(presets):
        axes.scatter([], [], s=42, color=style.colour(n), label=preset_title({"preset": preset}))
    style.percent_axis(axes, "x", min(row["letters"].mean for row in rows))
    style.percent_axis(axes, "y", min(row["digits"].mean for row in rows))
    axes.set_xlabel(f"{names['letters']}, learned")
    axes.set_ylabel(f"{names['digits']}, kept")
    style.legend(figure, [axes])
    return Drawing(
        "map",
        "Kept against learned",
        "Each way at the epoch that counts; up is less forgotten, to the right is more learned.",
        figure,
    )


def content(runs: Sequence[Run]) -> Content:
    """Return the page of one run, or of several: every number is then a mean over them, with the deviation."""
    results = runs[0].results
    rows = over_runs([run.results["rows"] for run in runs], ("name", "preset"), _NUMBERS)
    choices = over_runs([run.results["choices"] for run in runs], ("name", "choice"), ("mean",))
    spread = "" if len(runs) == 1 else f", mean ± sample standard deviation over {len(runs)} runs"
    first, second = results["data"]
    top = {preset: max((row for row in rows if row["preset"] == preset), key=lambda row: row["mean"].mean)
           for preset in different(rows, "preset")}  # fmt: skip
    return Content(
        title=f"Learning without forgetting: {first}, then {second}",
        summary=f"A spiking network learned {first} and then {second} on the same outputs by local rules, in "
        f"{len(rows)} ways; both were asked after each epoch.",
        highlights=[
            (f"{row['mean'].percent()} %", f"mean accuracy of {row['name']}, {preset_title(row).lower()}")
            for row in top.values()
        ],
        tables=[_table(results, rows, spread), _choices(choices, spread)],
        drawings=[_map(results, rows), *([_curves(runs[0])] if len(runs) == 1 else [])],
    )
