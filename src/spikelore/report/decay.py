"""The report of the decay experiment (Antonov and Sukhov, Neuroinformatics 2024)."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from spikelore.report import style
from spikelore.report.over_runs import Spread, over_runs
from spikelore.report.page import PRESETS, Cell, Content, Drawing, Table, different, preset_title
from spikelore.report.runs import Row, Run

_SETS = {"white": "white noise", "blurred": "blurred noise", "known": "known classes", "unknown": "unknown classes"}
_WHEN = {"without": "without decay", "with": "with decay"}

# Tables -------------------------------------------------------------------------------------------------


def _percent(row: Row, name: str) -> str:
    """Return per cent with digits that tell, since what is left of noise is far below one per cent."""
    spread: Spread | None = row.get(name)
    return "–" if spread is None else spread.percent(3 if 0 < spread.mean < 0.01 else 1)


def _methods(run: Run) -> list[Row]:
    """Return a run's methods with what is left of the spikes of ``none``, as numbers of the row."""
    methods = run.results["methods"]
    plain = {row["preset"]: row["spikes"] for row in methods if row["method"] == "none"}
    return [
        row | {f"left {name}": _share(count, plain[row["preset"]][name]) for name, count in row["spikes"].items()}
        for row in methods
    ]


def _share(count: int, of: int) -> float | None:
    return count / of if of else None


def _spikes_table(rows: list[Row]) -> Table:
    return Table.of(
        "Output spikes",
        "Spikes of all excitatory neurons over a test set; all sets have one mean intensity.",
        rows,
        {
            "test set": lambda row: _SETS[row["set"]],
            "without decay": lambda row: row["spikes_without"].text(",.0f"),
            "with decay": lambda row: row["spikes_with"].text(",.0f"),
            "left, %": lambda row: _percent(row, "left"),
        },
        by=preset_title,
    )


def _methods_table(runs: Sequence[Run], sets: Sequence[str]) -> Table:
    shares = {"accuracy": "accuracy", "unrecognised": "unrecognised", "faded": "faded weights"}
    shares |= {f"left {name}": f"left: {_SETS[name]}" for name in sets}
    rows = over_runs([_methods(run) for run in runs], ("preset", "method"), [*shares])
    own = {
        preset: [row["method"] for row in rows if row["preset"] == preset][1:2] for preset in different(rows, "preset")
    }
    return Table.of(
        "Against simple ways to take weights away",
        "All in %: accuracy and images without a single spike on the known classes, weights below 1 % of the "
        "largest possible one, and for each test set the spikes left of those without decay. Pruning takes as "
        "many weights as the preset's own decay, which is coloured.",
        rows,
        {
            "method": lambda row: Cell(row["method"], strong=row["method"] in own[row["preset"]]),
            **{title: lambda row, name=name: _percent(row, name) for name, title in shares.items()},
        },
        by=preset_title,
    )


# Figures ------------------------------------------------------------------------------------------------


def _spikes(rows: list[Row], presets: Sequence[str]) -> Drawing:
    figure, axes = style.panels(len(presets), 3.6, share_y=True)
    most = max(spread.mean for row in rows for spread in (row["spikes_without"], row["spikes_with"]))
    for panel, preset in zip(axes, presets, strict=True):
        mine = [row for row in rows if row["preset"] == preset]
        for n, (name, label) in enumerate(_WHEN.items()):
            values = [row[f"spikes_{name}"].mean for row in mine]
            x = np.arange(len(mine)) + (n - 0.5) * 0.4
            style.bars(panel, x, np.array(values), 0.38, 0.5, color=style.colour(n), label=label)
            for place, value in zip(x, values, strict=True):
                panel.text(place, max(value, 0.5) * 1.15, f"{value:,.0f}", ha="center", fontsize=7.5, color=style.INK)
        panel.set_ylim(0.5, max(most, 1.0) * 5)
        panel.set_xticks(range(len(mine)), [_SETS[row["set"]].replace(" ", "\n") for row in mine])
        panel.grid(visible=False, axis="x")
        panel.set_title(PRESETS[preset])
        panel.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else "")
    axes[0].set_ylabel("output spikes in a test set")
    style.legend(figure, axes)
    return Drawing(
        "spikes",
        "Spikes a test set",
        "The scale is logarithmic. A network that knows what it knows is silent on noise and answers known classes "
        "more than unknown ones.",
        figure,
    )


def _shown_neurons(arrays: dict[str, NDArray], preset: str) -> list[int]:
    """Return the neuron of each class that fired most on known images after decay."""
    classes, fired = arrays[f"{preset}/classes"], arrays[f"{preset}/fired"]
    kinds = list(dict.fromkeys(classes.tolist()))
    return [int(np.flatnonzero(classes == kind)[fired[classes == kind].argmax()]) for kind in kinds]


def _weights(run: Run, presets: Sequence[str]) -> Drawing:
    """The incoming weights of a neuron a class as a picture, before and after."""
    neurons = {preset: _shown_neurons(run.arrays, preset) for preset in presets}
    columns = max(len(each) for each in neurons.values())
    size = min(2.0, (style.WIDTH - 1.2) / columns)
    rows = [(preset, when) for preset in presets for when in _WHEN]
    figure = Figure(figsize=(size * columns + 2.2, (size + 0.28) * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for line, (preset, when) in zip(grid, rows, strict=True):
        largest = run.config[preset]["network"]["weight_max"]
        classes, shape = run.arrays[f"{preset}/classes"], run.arrays[f"{preset}/shape"]
        weights = run.arrays[f"{preset}/weights/{when}"]
        colours = ScalarMappable(Normalize(0, largest), "magma")
        for panel, neuron in zip(line, neurons[preset], strict=False):
            panel.imshow(weights[:, neuron].reshape(shape), cmap=colours.cmap, norm=colours.norm)
            panel.set_title(
                f"class {classes[neuron]}, neuron {neuron}", fontsize=8.5, loc="center", fontweight="normal"
            )
            panel.set(xticks=[], yticks=[])
            panel.grid(visible=False)
        for empty in line[len(neurons[preset]) :]:
            empty.remove()
        line[0].set_ylabel(f"{PRESETS[preset]},\n{_WHEN[when]}", fontsize=9)
        figure.colorbar(colours, ax=line.tolist(), label="weight", shrink=0.8, pad=0.01)
    return Drawing(
        "weights",
        "The weights of one neuron",
        "The incoming weights of the neuron of each class that fires most, laid out as the image. Decay clears what "
        "lies where no training image has ink; in the best preset it works during training, so that the neuron also "
        "learned differently.",
        figure,
    )


def _name(training: str) -> str:
    preset, _, rest = training.partition("_")
    if rest.startswith("l2_"):
        return f"{PRESETS[preset]}, L2-like {float(rest[3:]) / 1000:,.0f} s"
    return f"{PRESETS[preset]}, {_WHEN[rest]}"


def _thousands(axes: Axes) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("training images")


def _training(histories: dict[str, list[Row]], presets: Sequence[str]) -> Drawing:
    """Accuracy, mean weight and faded share as training goes on."""
    figure, axes = style.panels(3 * len(presets), 2.9)
    found = dict.fromkeys(name.partition("_")[2] for name in histories)
    kinds = [*_WHEN, *(name for name in found if name not in _WHEN)]
    for row, preset in enumerate(presets):
        for panel, (key, label) in zip(
            axes[3 * row :],
            (("train", "accuracy"), ("faded", "faded weights"), ("mean_weight", "mean weight")),
            strict=False,
        ):
            for name in (name for name in histories if name.startswith(f"{preset}_")):
                images = [line["images"] for line in histories[name]]
                values = [line[key] for line in histories[name]]
                kind = kinds.index(name.partition("_")[2])
                panel.plot(images, values, label=_name(name).split(", ", 1)[1], color=style.colour(kind))
            panel.set_title(f"{PRESETS[preset]}: {label}")
            _thousands(panel)
            if key == "mean_weight":
                panel.set_ylim(0, 1.08 * panel.get_ylim()[1])
            else:
                style.percent_axis(panel, "y")
    style.legend(figure, axes)
    return Drawing(
        "training",
        "How it learned",
        "Left: share of right answers while learning goes on. Middle: weights below 1 % of the largest possible one. "
        "Right: mean of all weights. One point every 500 images. Decay once, after training, has no line of its own.",
        figure,
    )


def _over_training(run: Run, histories: dict[str, list[Row]]) -> Drawing:
    """How the distribution of weights moves, one panel a training."""
    shown = [name for name in histories if "_l2_" not in name]
    figure, axes = style.panels(len(shown), 3.0)
    norm = LogNorm(1e-3, 1, clip=True)
    colours = ScalarMappable(norm, "viridis")
    for panel, name in zip(axes, shown, strict=True):
        lines = histories[name]
        counts = np.array([line["histogram"] for line in lines], np.float64)
        shares = (counts / counts.sum(1, keepdims=True)).T
        largest = run.config[name.partition("_")[0]]["network"]["weight_max"]
        first = lines[0]["images"]
        panel.imshow(
            np.where(shares > 0, shares, np.nan), origin="lower", aspect="auto", cmap=colours.cmap,
            norm=norm, extent=(lines[0]["images"] - first, lines[-1]["images"], 0, largest),
        )  # fmt: skip
        panel.set_title(_name(name))
        panel.set_ylabel("weight")
        panel.grid(visible=False)
        _thousands(panel)
    bar = figure.colorbar(colours, ax=axes, label="share of weights", shrink=0.9, pad=0.01)
    bar.ax.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
    return Drawing(
        "weights_training",
        "Weights over training",
        "Each column is the distribution of all weights at that moment, from few (dark) to many (bright); empty where "
        "no weight is. All start spread evenly.",
        figure,
    )


def _raster(run: Run, preset: str) -> Drawing:
    """Every spike while one image is shown."""
    columns = [(image, when) for image in ("known", "white") for when in _WHEN]
    figure = Figure(figsize=(style.WIDTH, 6.2), layout="constrained")
    grid = figure.subplots(3, len(columns), sharex=True, sharey="row", height_ratios=(1.2, 1, 1), squeeze=False)
    dt = run.config[preset]["network"]["dt_ms"]
    classes = run.arrays[f"{preset}/classes"]
    kinds = list(dict.fromkeys(classes.tolist()))
    label = int(run.arrays[f"{preset}/label"][0])
    titles = {"known": f"A {label}", "white": "White noise"}
    for column, (image, when) in zip(grid.T, columns, strict=True):
        stem = f"{preset}/{image}/{when}"
        given = run.arrays[f"{stem}/input_spikes"]
        style.spikes(column[0], given[:, 0] * dt, given[:, 1], style.INK, 4)
        column[0].set_title(f"{titles[image]}, {_WHEN[when]}", fontsize=9.5)
        for panel, part in ((column[1], "exc_spikes"), (column[2], "inh_spikes")):
            spikes = run.arrays[f"{stem}/{part}"]
            for n, kind in enumerate(kinds):
                mine = spikes[classes[spikes[:, 1]] == kind]
                style.spikes(panel, mine[:, 0] * dt, mine[:, 1], style.colour(n), 3)
            for edge in np.flatnonzero(np.diff(classes)) + 0.5:
                panel.axhline(edge, color=style.MUTED, linewidth=0.6)
            panel.set_ylim(-1, len(classes))
        column[2].set_xlabel("time, ms")
        column[0].set_xlim(0, run.config[preset]["network"]["active_ms"])
    for panel, name in zip(grid[:, 0], ("input (pixel)", "excitatory neuron", "inhibitory neuron"), strict=True):
        panel.set_ylabel(name)
    for n, kind in enumerate(kinds):
        figure.axes[0].scatter([], [], s=24, color=style.colour(n), linewidths=0, label=f"neurons of class {kind}")
    style.legend(figure, [figure.axes[0]])
    return Drawing(
        "raster",
        "One image, spike by spike",
        f"{PRESETS[preset]}: every spike while a known digit and an image of white noise are shown, without and with "
        "decay. The class whose neurons fire most is the answer.",
        figure,
    )


def _threshold(run: Run, preset: str) -> Drawing:
    """Potential and threshold of the neuron that fires most, while the known image is shown."""
    network = run.config[preset]["network"]
    figure, axes = style.panels(2, 3.3, share_y=True)
    for panel, (when, title) in zip(axes, _WHEN.items(), strict=True):
        stem = f"{preset}/known/{when}"
        time, spikes = run.arrays[f"{stem}/time_ms"], run.arrays[f"{stem}/exc_spikes"]
        neuron = int(np.bincount(spikes[:, 1], minlength=1).argmax()) if len(spikes) else 0
        fired = spikes[spikes[:, 1] == neuron, 0] * network["dt_ms"]
        adaptive = run.arrays[f"{stem}/adaptive_threshold_mv"]
        rest = network["threshold_rest_mv"]
        panel.plot(time, run.arrays[f"{stem}/exc_potential_mv"][:, neuron], color=style.BLUE, linewidth=1.2,
                   label="membrane potential")  # fmt: skip
        panel.plot(time, adaptive[:, neuron], color=style.VERMILION, label="adaptive threshold")
        if network["threshold_mode"] == "hold":
            panel.axhline(
                rest, color=style.INK, linestyle="--", linewidth=1.1, label="firing threshold (fixed in testing)"
            )
        top = max(adaptive[:, neuron].max(), rest) + 2
        panel.plot(fired, np.full(len(fired), top), "|", color=style.INK, markersize=9, label="spike")
        panel.set_title(
            f"{title[0].upper()}{title[1:]}: neuron {neuron} of class {run.arrays[f'{preset}/classes'][neuron]}"
        )
        panel.set_xlabel("time, ms")
    axes[0].set_ylabel("mV")
    style.legend(figure, axes)
    return Drawing(
        "threshold",
        "Threshold over time",
        f"{PRESETS[preset]}: the neuron that fires most while the digit of the raster is shown. Each spike raises the "
        "adaptive threshold, which falls back to rest; sampled once a millisecond.",
        figure,
    )


def _each_run(rows: list[Row], shares: list[Row], presets: Sequence[str]) -> Drawing:
    """Every run as a dot: what is left of the spikes, and accuracy."""
    figure, (left, right) = style.panels(2, 3.6)
    names = different(rows, "set")
    lowest = min((v for row in rows if "left" in row for v in row["left"].values if v > 0), default=1e-4)
    floor = 10 ** np.floor(np.log10(lowest)) / 10
    for n, preset in enumerate(presets):
        shift = (n - (len(presets) - 1) / 2) * 0.25
        for row in (row for row in rows if row["preset"] == preset and "left" in row):
            values = row["left"].values
            x = np.full(len(values), names.index(row["set"]) + shift)
            left.scatter(x, np.maximum(values, floor), s=26, color=style.colour(n), alpha=0.7, linewidths=0)
        reached = [_accuracy(shares, preset)[when]["accuracy"].values for when in _WHEN]
        right.plot([2 * n, 2 * n + 1], reached, marker="o", color=style.colour(n), alpha=0.7, linewidth=1.2)
        left.scatter([], [], s=26, color=style.colour(n), label=PRESETS[preset])
    left.set_yscale("log")
    left.set_ylim(floor / 2, 2)
    left.yaxis.set_major_formatter(lambda value, _: "none" if np.isclose(value, floor) else f"{100 * value:g} %")
    left.set_xticks(range(len(names)), [_SETS[name].replace(" ", "\n") for name in names])
    left.set_title("Spikes left by decay")
    right.set_xticks(
        range(2 * len(presets)),
        [f"{PRESETS[preset]},\n{label}" for preset in presets for label in _WHEN.values()],
        fontsize=8,
    )
    right.set_title("Accuracy on known classes")
    right.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    right.set_xlim(-0.4, 2 * len(presets) - 0.6)
    style.legend(figure, [left])
    return Drawing("runs", "Every run", "One dot a run; lines join one run without and with decay.", figure)


# Pages --------------------------------------------------------------------------------------------------


def _accuracy(shares: list[Row], preset: str) -> dict[str, Row]:
    """Return a preset's rows ``without`` and ``with`` decay."""
    return {row["decay"]: row for row in shares if row["preset"] == preset}


def _highlights(rows: list[Row], shares: list[Row]) -> list[tuple[str, str]]:
    shown = []
    for preset in different(shares, "preset"):
        white = next(row for row in rows if (row["preset"], row["set"]) == (preset, "white"))
        without, faded = (_percent(_accuracy(shares, preset)[when], "accuracy") for when in _WHEN)
        name = PRESETS[preset].lower()
        shown.append((f"{faded} %", f"accuracy with decay, {name} ({without} % without)"))
        shown.append((f"{_percent(white, 'left')} %", f"of spikes on white noise left, {name}"))
    return shown


def _of_one(run: Run, presets: Sequence[str]) -> list[Drawing]:
    """Return the figures that only a single run has."""
    histories: dict[str, list[Row]] = {}
    for line in run.metrics:
        histories.setdefault(line["training"], []).append(line)
    drawings = [_weights(run, presets)] if run.arrays else []
    drawings += [_over_training(run, histories), _training(histories, presets)] if histories else []
    return drawings + ([_raster(run, presets[-1]), _threshold(run, presets[-1])] if run.arrays else [])


def content(runs: Sequence[Run]) -> Content:
    """Return the page of one run, or of several: every number is then a mean over them, with the deviation."""
    results = [run.results for run in runs]
    rows = over_runs(
        [each["rows"] for each in results], ("preset", "method", "set"), ("spikes_without", "spikes_with", "left")
    )
    shares = over_runs([each["accuracy"] for each in results], ("preset", "decay"), ("accuracy",))
    presets = different(rows, "preset")
    one = len(runs) == 1
    return Content(
        title=f"Synapses that fade{'' if one else f', {len(runs)} runs'}: {', '.join(results[0]['data'])}",
        summary="A spiking network learned some classes without and with decay of unused synapses, and was then shown "
        "noise, digits of its classes and digits of others; what counts is that it stays silent on what it does "
        "not know and accurate on what it does.",
        highlights=_highlights(rows, shares),
        tables=[_spikes_table(rows), _methods_table(runs, different(rows, "set"))],
        drawings=[
            *([] if one else [_each_run(rows, shares, presets)]),
            _spikes(rows, presets),
            *(_of_one(runs[0], presets) if one else []),
        ],
    )
