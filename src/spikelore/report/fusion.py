"""The report of the fusion experiment (Antonov & Sukhov 2022, doi 10.1109/ITNT55410.2022.9848660)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter
from numpy.typing import NDArray

from spikelore.coding.rank_order import DifferenceOfGaussians, RankOrderConfig
from spikelore.metrics.back_projection import project
from spikelore.report import style
from spikelore.report.over_runs import over_runs
from spikelore.report.page import (
    Cell,
    Content,
    Drawing,
    Table,
    class_name,
    different,
    each_run,
    percent,
    preset_title,
    trade_offs,
)
from spikelore.report.runs import Row, Run

_KEYS = ("name", "preset", "importance", "score", "features")
_IMPORTANCES = {
    "full_sum": "sum of all its weights",
    "top_fraction": "sum of the largest 10 % of its weights",
    "spread": "standard deviation of its weights",
}
_TRAINING = {
    "train": "train", "validation": "validation", "test": "test", "silent": "silent on test",
    "train_last_epoch": "train, last epoch", "test_last_epoch": "test, last epoch",
}  # fmt: skip
_OPERATIONS = "synops_per_image"
_MEAN = "accuracy, mean of all data sets"
_SAMPLE = 30


def _letters(results: Row) -> list[str]:
    """Return the networks' letters, one for each data set."""
    return [chr(ord("a") + n) for n in range(len(results["data"]))]


def _columns(results: Row) -> dict[str, str]:
    """Return what each network's letter stands for, as headings."""
    return {letter: f"{letter}: {data}" for letter, data in zip(_letters(results), results["data"], strict=True)}


# Tables -------------------------------------------------------------------------------------------------


def _rows_table(results: Row, rows: list[Row], note: str) -> Table:
    """Rows grouped by preset: the networks, bagging, and below it what is to equal it, the fused ones."""
    names = {**_columns(results), "mean": "mean"}
    joined = [row for row in rows if row["name"] in ("bagging", "fused")]
    best: dict[tuple[str, str], float] = {}
    for row in joined:
        for name in names:
            best[row["preset"], name] = max(row[name].mean, best.get((row["preset"], name), 0.0))
    silent = {"silent": "silent"} if any(row["silent"].mean > 0 for row in rows) else {}
    counted = all(_OPERATIONS in row for row in rows)

    def cell(row: Row, name: str) -> Cell:
        strong = row["name"] in ("bagging", "fused") and best.get((row["preset"], name)) == row[name].mean
        return Cell(row[name].percent(), strong=strong)

    return Table.of(
        "Accuracy on the test sets",
        note + " An operation is the addition of one weight, for each spike and synapse; counted per image." * counted,
        rows,
        {
            "network": lambda row: row["name"],
            "kept by": lambda row: row["importance"] or "–",
            "score": lambda row: row["score"],
            "features": lambda row: str(row["features"]),
            **{title: lambda row, name=name: cell(row, name) for name, title in {**names, **silent}.items()},
            **({"million operations": lambda row: f"{row[_OPERATIONS].mean / 1e6:.1f}"} if counted else {}),
        },
        by=preset_title,
        text_columns=3,
    )


def _training_table(training: list[Row]) -> Table:
    return Table.of(
        "Training",
        "Each network on its own data, %; the epoch that was best on the validation images was kept, the "
        "test images never chose anything.",
        training,
        {
            "network": lambda row: row["network"],
            "best epoch": lambda row: ", ".join(f"{epoch:.0f}" for epoch in row["best_epoch"].values),
            **{title: lambda row, name=name: row[name].percent() for name, title in _TRAINING.items()},
        },
    )


def _further_table(results: Row) -> Table:
    """Accuracy before and after the fused network learned the further data, per protected share."""
    names = {**_columns(results), "further": f"further: {results['further_data']}"}
    return Table.of(
        "Learning on",
        "Accuracy in %. The fused network learned further data while a share of its features, the most important "
        "ones, stayed as they were.",
        results["further"],
        {
            "protected": lambda row: "before" if row["protected"] is None else f"{100 * row['protected']:.0f} %",
            **{title: lambda row, name=name: percent(row[name]) for name, title in names.items()},
        },
    )


def _comparison_axes(comparison: list[Row]) -> tuple[list[str], list[str | None]]:
    """Return scores (rows) and importances (columns; None is bagging, last)."""
    return different(comparison, "score"), sorted(different(comparison, "importance"), key=lambda name: name is None)


def _comparison_table(results: Row, comparison: list[Row]) -> Table:
    scores, importances = _comparison_axes(comparison)
    found = {(row["score"], row["importance"]): row for row in comparison}
    letters = _letters(results)
    best = max((row["mean"].mean for row in comparison if row["importance"] is not None), default=None)

    def cell(score: str, importance: str | None) -> Cell:
        row = found.get((score, importance))
        if row is None:
            return Cell("–")
        detail = " / ".join(percent(row[letter].mean) for letter in letters)
        return Cell(row["mean"].percent(), detail, importance is not None and row["mean"].mean == best)

    return Table.of(
        "Every score with every importance",
        "Mean accuracy of the fused network, %; below it in small type the accuracy on each data set, "
        f"{' / '.join(letters)}. Rows: how features compete in the fused network. Columns: what decides "
        "which features are kept; the last column is the ensemble of all features, with the same scores. "
        "Only 'activity' looks at (training) data; all else is read from the weights.",
        [{"score": score} for score in scores],
        {
            "score": lambda row: row["score"],
            **{
                name or "bagging, all features": lambda row, name=name: cell(row["score"], name) for name in importances
            },
        },
    )


# Figures ------------------------------------------------------------------------------------------------


def correlation(x: NDArray[Any], y: NDArray[Any]) -> float:
    """Return Pearson's correlation; NaN where one is constant."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.corrcoef(x, y)[0, 1])


def _network_title(results: Row, index: int) -> str:
    return f"Network {_letters(results)[index]}: {results['data'][index]}"


def _histogram(run: Run) -> Drawing:
    letters = _letters(run.results)
    figure, axes = style.panels(len(letters), 3.0, share_y=True)
    counts = [run.arrays[f"activity/{letter}"] for letter in letters]
    most = max(float(each.max()) for each in counts)
    width = max(1, round(most / 30))
    edges = np.arange(0, most + 2 * width, width) - 0.5
    for n, (panel, count) in enumerate(zip(axes, counts, strict=True)):
        style.bars(panel, edges[:-1] + width / 2, np.histogram(count, edges)[0], width, 0.7, color=style.colour(n))
        panel.set_title(_network_title(run.results, n))
        panel.set_xlabel("test images a feature decided")
        panel.grid(visible=False, axis="x")
        panel.yaxis.set_major_formatter("{x:.0f}")
        panel.yaxis.set_minor_formatter(NullFormatter())
        panel.text(
            0.98, 0.95, f"{int((count == 0).sum())} of {len(count)} never decide",
            transform=panel.transAxes, ha="right", va="top", color=style.MUTED,
        )  # fmt: skip
    axes[0].set_ylabel("features (log scale)")
    return Drawing(
        "activity_histogram",
        "How often each feature decided",
        "A few features decide most test images and many hardly any: those are what fusion prunes "
        "(the paper's figure 2).",
        figure,
    )


def _scatter(run: Run, kind: str) -> Drawing:
    letters = _letters(run.results)
    figure, axes = style.panels(len(letters), 3.3, share_y=True)
    for n, (panel, letter) in enumerate(zip(axes, letters, strict=True)):
        x, y = run.arrays[f"{kind}/{letter}"], run.arrays[f"activity/{letter}"]
        r = correlation(x, y)
        panel.scatter(x, y, s=22, color=style.colour(n), alpha=0.6, linewidths=0)
        panel.set_title(f"Network {letter}: r = {'–' if np.isnan(r) else f'{r:.2f}'.replace('-', '−')}")
        panel.set_xlabel(_IMPORTANCES[kind].replace(" its", ""))
    axes[0].set_ylabel("test images decided")
    caption = {
        "full_sum": "One point a feature, r is Pearson's correlation: in the paper's figure 3a the sum of "
        "all weights does not tell how often a feature decides.",
        "top_fraction": "One point a feature, r is Pearson's correlation: in the paper's figure 3b the "
        "strongest tenth of the weights tells, without data, how often a feature decides.",
        "spread": "One point a feature, r is Pearson's correlation: a feature that has learned a sharp "
        "template has widely spread weights, a measure to set beside the paper's two above.",
    }[kind]
    return Drawing(f"activity_{kind}", f"Activity against the {_IMPORTANCES[kind]}", caption, figure)


def _training_curves(run: Run) -> Drawing | None:
    letters = _letters(run.results)
    history = {
        letter: [row for row in run.metrics if row.get("stage") == "decision" and row.get("network") == letter]
        for letter in letters
    }
    if not all(history.values()):
        return None
    figure, axes = style.panels(len(letters), 3.3, share_y=True)
    best = {row["network"]: row["best_epoch"] for row in run.results.get("training", [])}
    silent = any(row.get("silent", 0) > 0 for rows in history.values() for row in rows)
    lines = [("train", "train", style.BLUE, "-"), ("validation", "validation", style.VERMILION, "-")]
    if silent:
        lines.append(("silent", "silent, share of train", style.MUTED, ":"))
    lines.append(("first", f"validation of {letters[0]}, forgotten", style.GREEN, "--"))
    for n, (panel, letter) in enumerate(zip(axes, letters, strict=True)):
        rows = history[letter]
        epochs = [row["epoch"] for row in rows]
        for key, label, colour, dash in lines:
            if key in rows[0]:
                marker = "o" if len(rows) == 1 else None
                panel.plot(epochs, [row[key] for row in rows], dash, color=colour, label=label, marker=marker)
        if letter in best:
            panel.axvline(best[letter], color=style.MUTED, linewidth=1, zorder=1, label="epoch kept")
        panel.set_title(_network_title(run.results, n))
        panel.set_xlabel("epoch")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        style.percent_axis(panel, "y")
    axes[0].set_ylabel("share of images")
    style.legend(figure, axes[::-1])
    return Drawing(
        "training",
        "Learning the decision layer",
        "A gap between train and validation is overfitting; where a later network's dashed line is low, it "
        "has forgotten, or never knew, the first data set, which is what fusion must bring back.",
        figure,
    )


def _confusion_panel(panel: Axes, counts: NDArray[np.int64], names: list[str], cell: float) -> None:
    shown = counts if counts[:, -1].any() else counts[:, :-1]
    present = counts.any(axis=1)
    shares = shown[present] / shown[present].sum(axis=1, keepdims=True)
    rows = [names[n] for n in np.flatnonzero(present)]
    columns = names if shown.shape[1] == len(names) else [*names, "silent"]
    style.heat(panel, shares, rows, columns, size=min(9.0, 72 * cell * 0.36), least=0.005)
    for label in panel.get_xticklabels():
        if len(label.get_text()) > 2:
            label.set_rotation(90)


def _confusions(run: Run) -> Drawing:
    """One row a data set: its own network on the left, the fused one on the right."""
    letters = _letters(run.results)
    titles = [(f"{name} on {letter}", letter) for letter in letters for name in (f"network {letter}", "fused")]
    widest = max(len(run.arrays[f"classes/{title}"]) for title, _ in titles) + 1
    cell = (style.WIDTH / 2 - 0.6) / widest
    rows = max(int(run.arrays[f"confusion/{title}"].any(axis=1).sum()) for title, _ in titles)
    height = max(0.3, cell * 0.8) * rows + 0.9
    figure = Figure(figsize=(style.WIDTH, height * len(letters)), layout="constrained")
    grid = figure.subplots(len(letters), 2, squeeze=False)
    for panel, (title, letter) in zip(grid.ravel(), titles, strict=True):
        names = [class_name(run, one, letters.index(letter)) for one in run.arrays[f"classes/{title}"]]
        _confusion_panel(panel, run.arrays[f"confusion/{title}"], names, cell)
        data = run.results["data"][letters.index(letter)]
        panel.set_title(f"{title.split(' on ')[0].capitalize()} on {data}")
        panel.set_ylabel("true class")
    for panel in grid[-1]:
        panel.set_xlabel("decided class")
    return Drawing(
        "confusion",
        "Which classes are confused",
        "Share of each true class in % (below 0.5 % is left empty): what is right for the network alone on "
        "the left and lost on the right is the price of fusion (the fused network is the best preset's).",
        figure,
    )


def _curve(results: Row, curve: list[Row], rows: list[Row]) -> Drawing:
    """Accuracy of the fused network against its size, one panel a preset."""
    presets = different(curve, "preset")
    names = {**_columns(results), "mean": "mean"}
    figure, axes = style.panels(len(presets), 3.8, share_y=True)
    sizes = [row["features"] for row in rows if row["name"].startswith("network ")]
    for panel, preset in zip(axes, presets, strict=True):
        mine = sorted((row for row in curve if row["preset"] == preset), key=lambda row: row["features"])
        features = [row["features"] for row in mine]
        for n, (name, label) in enumerate(names.items()):
            mean = name == "mean"
            means, deviations = [row[name].mean for row in mine], [row[name].deviation for row in mine]
            colour, above = (style.INK, 3) if mean else (style.colour(n), 2)
            panel.plot(
                features, means, marker="o", label=f"fused, {label}", zorder=above, color=colour, linewidth=1.4 + mean
            )
            if np.isfinite(deviations).all():
                panel.errorbar(features, means, deviations, fmt="none", capsize=3, ecolor=colour, zorder=above)
        for row in rows:
            if row["name"] == "bagging" and row["preset"] == preset:
                panel.axhline(
                    row["mean"].mean, color=style.INK, linestyle="--", linewidth=1.2,
                    label="bagging, mean (all features)",
                )  # fmt: skip
        if sizes:
            panel.axvline(sizes[0], color=style.MUTED, linestyle=":", linewidth=1.2, label="size of one network")
        how = f"{mine[0]['importance']}, {mine[0]['score']} score"
        panel.set_title(f"{preset_title(mine[0])} ({how})")
        panel.set_xlabel("features of the fused network")
        panel.set_xlim(0, 1.04 * max(row["features"] for row in curve))
        style.percent_axis(panel, "y")
    axes[0].set_ylabel("accuracy")
    style.legend(figure, axes)
    return Drawing(
        "budget",
        "How small the fused network may be",
        "Where the line of the mean meets the dashed one, the fused network is as good as the ensemble of all "
        "features; the dotted line is the size of one network.",
        figure,
    )


def _comparison(results: Row, comparison: list[Row]) -> Drawing:
    scores, importances = _comparison_axes(comparison)
    found = {(row["score"], row["importance"]): row for row in comparison}
    names = {"mean": "Mean of all data sets", **{letter: f"On {title}" for letter, title in _columns(results).items()}}
    columns = [name or "bagging" for name in importances]
    figure, axes = style.panels(len(names), 0.42 * len(scores) + 1.4, share_y=True)
    for panel, (name, title) in zip(axes, names.items(), strict=True):
        shares = np.full((len(scores), len(importances)), np.nan)
        for (score, importance), row in found.items():
            shares[scores.index(score), importances.index(importance)] = row[name].mean
        style.heat(panel, shares, scores, columns, size=9.0, least=0)
        panel.set_title(title)
        for label in panel.get_xticklabels():
            label.set(rotation=40, ha="right", rotation_mode="anchor")
    return Drawing(
        "comparison",
        "Scores and importances",
        "Accuracy in %, full blue is good: rows are data-free scales between networks, columns what is kept; a "
        "good row is blue on every data set, not on one. Templates: consolidated networks, by correlation.",
        figure,
    )


# Learned features ---------------------------------------------------------------------------------------


def _kernels(network: Row) -> NDArray[np.float32]:
    """Return the coding's kernels as (C,1,K,K), each over its norm, so that all weigh the same."""
    coding = RankOrderConfig(filters=tuple(DifferenceOfGaussians(**one) for one in network["coding"]["filters"]))
    kernels = coding.kernels()
    return (kernels / np.linalg.norm(kernels, axis=(1, 2), keepdims=True))[:, None]


def _less_mean(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    return weights - weights.mean(axis=0)


def _sample(count: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, count - 1, min(count, _SAMPLE)).round().astype(np.int64))


def _feature_drawing(name: str, title: str, caption: str, pictures: NDArray[np.float64]) -> Drawing:
    columns = min(len(pictures), 15 if name == "features_1" else 10)
    pixels = style.mosaic(pictures, columns)
    figure = Figure(figsize=(style.WIDTH, style.WIDTH * pixels.shape[0] / pixels.shape[1]), layout="constrained")
    style.image(figure.subplots(), pixels)
    return Drawing(name, title, caption, figure)


def _features(run: Run) -> list[Drawing]:
    """Every layer's features by `project`.

    Weights are taken less their mean over the features of their layer: what all features share would hide
    what each stands for.
    """
    network = run.config["network"]
    kernels = _kernels(network)
    pool_1, pool_2 = network["layer_1"]["pool"], network["layer_2"]["pool"]
    one, two = (_less_mean(run.arrays[f"weights_{layer}"]) for layer in (1, 2))
    sample = _sample(len(two))
    drawings = [
        _feature_drawing(
            "features_1",
            "What layer 1 learned",
            f"All {len(one)} features of layer 1, projected through the input filters: bright and dark bars "
            "are edges of a stroke at different angles.",
            project([(one, 1)], kernels),
        ),
        _feature_drawing(
            "features_2",
            "What layer 2 learned",
            f"{len(sample)} of the {len(two)} features of layer 2, projected down: pieces of strokes, curves "
            "and crossings.",
            project([(two[sample], pool_1), (one, 1)], kernels),
        ),
    ]
    tops, names = [], []
    for letter in _letters(run.results):
        units, classes = run.arrays[f"unit_weights/{letter}"], run.arrays[f"unit_classes/{letter}"]
        activity = run.arrays[f"activity/{letter}"]
        for label in np.unique(classes):
            mine = np.flatnonzero(classes == label)
            tops.append(_less_mean(units)[mine[activity[mine].argmax()]])
            names.append(f"{letter}: {label}")
    pictures = project([(np.stack(tops), pool_2), (two, pool_1), (one, 1)], kernels)
    columns = min(len(names), 10)
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(style.WIDTH, rows * (style.WIDTH / columns + 0.3)), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, picture, name in zip(grid, pictures, names, strict=False):
        style.image(panel, picture / (np.abs(picture).max() or 1))
        panel.set_title(name, fontsize=9, loc="center")
    for empty in grid[len(names) :]:
        empty.remove()
    drawings.append(
        Drawing(
            "features_decision",
            "What the decision features look for",
            "The feature of each class that decided most often, projected down through all layers (network: "
            "class): the class's shape shows where the feature has learned one.",
            figure,
        )
    )
    return drawings


# Pages --------------------------------------------------------------------------------------------------


def _summary(results: Row) -> str:
    data = results["data"]
    count = {2: "Two", 3: "Three", 4: "Four"}.get(len(data), str(len(data)))
    learned = [f"{letter} on {name}" for letter, name in zip(_letters(results), data, strict=True)]
    return (
        f"{count} spiking networks learned apart ({'; '.join(learned)}); their most important decision "
        "features were then joined into one network, and all were tested on every data set beside the "
        "ensemble (bagging) that keeps every feature."
    )


def _highlights(rows: list[Row]) -> list[tuple[str, str]]:
    """Bagging and the first fused row of each preset."""
    shown: dict[tuple[str, str], tuple[str, str]] = {}
    for preset in different(rows, "preset"):
        for row in (
            row for name in ("bagging", "fused") for row in rows if (row["name"], row["preset"]) == (name, preset)
        ):
            what = f"mean accuracy of {row['name']}, {row['features']} features, {preset_title(row).lower()}"
            shown.setdefault((row["name"], preset), (f"{row['mean'].percent()} %", what))
    return list(shown.values())


def _label(row: Row) -> str:
    return ", ".join(filter(None, (row["name"], row["importance"], row["score"]))) + f" ({preset_title(row)})"


def _of_one(run: Run) -> list[Drawing]:
    """Return the figures that only a single run has."""
    curves = _training_curves(run)
    drawings = [curves] if curves else []
    if run.arrays:
        drawings += [_confusions(run), _histogram(run)]
        drawings += [_scatter(run, kind) for kind in _IMPORTANCES if f"{kind}/{_letters(run.results)[0]}" in run.arrays]
        drawings += _features(run)
    return drawings


def content(runs: Sequence[Run]) -> Content:
    """Return the page of one run, or of several: every number is then a mean over them, with the deviation."""
    results, one = runs[0].results, len(runs) == 1
    numbers = [*_letters(results), "mean", "silent", _OPERATIONS]
    rows, comparison, curve = (
        over_runs([run.results.get(part, []) for run in runs], _KEYS, numbers)
        for part in ("rows", "comparison", "curve")
    )
    training = over_runs([run.results.get("training", []) for run in runs], ("network",), [*_TRAINING, "best_epoch"])
    spread = "" if one else f", mean ± sample standard deviation over {len(runs)} runs"
    note = (
        f"Accuracy in %{spread}. Bagging keeps all features and so is the mark for the fused networks; the best of "
        "them in each group is coloured."
    )
    return Content(
        title=f"Knowledge fusion{'' if one else f', {len(runs)} runs'}: {' + '.join(results['data'])}",
        summary=_summary(results),
        highlights=_highlights(rows),
        tables=[
            _rows_table(results, rows, note),
            *([_further_table(results)] if one and "further" in results else []),
            *([_training_table(training)] if training else []),
            *([_comparison_table(results, comparison)] if comparison else []),
        ],
        drawings=[
            *([] if one else [each_run([(_label(row), row["preset"], row["mean"]) for row in rows], _MEAN)]),
            *([_curve(results, curve, rows)] if curve else []),
            *([_comparison(results, comparison)] if comparison else []),
            *trade_offs({"": rows}, "mean", _label),
            *(_of_one(runs[0]) if one else []),
        ],
    )
