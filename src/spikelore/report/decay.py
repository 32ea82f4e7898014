"""The report of the decay experiment (Antonov and Sukhov, Neuroinformatics 2024)."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from spikelore.report import style
from spikelore.report.page import Cell, Content, Drawing, Row, Run, Spread, Table, over_runs

_PRESETS = {"published": "As published", "best": "Best preset"}
_SETS = {"white": "white noise", "blurred": "blurred noise", "known": "known classes", "unknown": "unknown classes"}
_WHEN = {"without": "without decay", "with": "with decay"}
_COUNTS = ("spikes_without", "spikes_with", "left")
_SHARES = ("accuracy", "validation", "unrecognised", "faded")


def _presets(results: Row) -> list[str]:
    return list(dict.fromkeys(row["preset"] for row in results["rows"]))


# Tables -------------------------------------------------------------------------------------------------


def _number(spread: Spread) -> str:
    text = f"{spread.mean:,.0f}"
    return text if len(spread.values) == 1 else f"{text} ± {spread.deviation:,.0f}"


def _percent(spread: Spread | None) -> str:
    """Return per cent with two digits that tell, since what is left of noise is far below one per cent."""
    if spread is None:
        return "–"
    small = 0 < spread.mean < 0.01
    shown = [f"{100 * spread.mean:.{3 if small else 1}f}"]
    if len(spread.values) > 1:
        shown.append(f"{100 * spread.deviation:.{3 if small else 1}f}")
    return " ± ".join(shown)


def _with_left(runs: Sequence[Run]) -> list[list[Row]]:
    """Return each run's methods with its spikes, and what is left of those of ``none``, as numbers of the row."""
    found = []
    for run in runs:
        methods = run.results["methods"]
        plain = {row["preset"]: row["spikes"] for row in methods if row["method"] == "none"}
        found.append(
            [
                {
                    **row,
                    **{
                        f"left {name}": _ratio(count, plain[row["preset"]][name])
                        for name, count in row["spikes"].items()
                    },
                }
                for row in methods
            ]
        )
    return found


def _ratio(after: int, before: int) -> float | None:
    return after / before if before else None


def _spikes_table(rows: list[Row], presets: Sequence[str]) -> Table:
    groups = [
        (
            _PRESETS[preset],
            [
                [
                    Cell(_SETS[row["set"]]),
                    *(Cell(_number(row[name])) for name in _COUNTS[:2]),
                    Cell(_percent(row.get("left"))),
                ]
                for row in rows
                if row["preset"] == preset
            ],
        )
        for preset in presets
    ]
    return Table(
        "Output spikes",
        "Spikes of all excitatory neurons over a test set; all sets have one mean intensity.",
        ["test set", "without decay", "with decay", "left, %"],
        groups,
    )


def _methods_table(methods: list[Row], presets: Sequence[str], sets: Sequence[str]) -> Table:
    groups = []
    for preset in presets:
        mine = [row for row in methods if row["preset"] == preset]
        lines = [
            [
                Cell(row["method"], strong=n == 1),
                *(Cell(_percent(row[name])) for name in ("accuracy", "unrecognised", "faded")),
                *(Cell(_percent(row.get(f"left {name}"))) for name in sets),
            ]
            for n, row in enumerate(mine)
        ]
        groups.append((_PRESETS[preset], lines))
    return Table(
        "Against simple ways to take weights away",
        "All in %: accuracy and images without a single spike on the known classes, weights below 1 % of the "
        "largest possible one, and for each test set the spikes left of those without decay. Pruning takes as "
        "many weights as the preset's own decay, which is coloured.",
        ["method", "accuracy", "unrecognised", "faded weights", *(f"left: {_SETS[name]}" for name in sets)],
        groups,
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
            panel.bar(x, np.maximum(values, 0.5), 0.38, bottom=0.0, color=style.colour(n), label=label)
            for place, value in zip(x, values, strict=True):
                panel.text(place, max(value, 0.5) * 1.15, f"{value:,.0f}", ha="center", fontsize=7.5, color=style.INK)
        panel.set_yscale("log")
        panel.set_ylim(0.5, max(most, 1.0) * 5)
        panel.set_xticks(range(len(mine)), [_SETS[row["set"]].replace(" ", "\n") for row in mine])
        panel.grid(visible=False, axis="x")
        panel.set_title(_PRESETS[preset])
        panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else ""))
    axes[0].set_ylabel("output spikes in a test set")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
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
        line[0].set_ylabel(f"{_PRESETS[preset]},\n{_WHEN[when]}", fontsize=9)
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
        return f"{_PRESETS[preset]}, L2-like {float(rest[3:]) / 1000:,.0f} s"
    return f"{_PRESETS[preset]}, {_WHEN[rest]}"


def _histories(run: Run) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for line in run.metrics:
        found.setdefault(line["training"], []).append(line)
    return found


def _thousands(axes: Axes) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
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
            panel.set_title(f"{_PRESETS[preset]}: {label}")
            _thousands(panel)
            if key == "mean_weight":
                panel.set_ylim(0, 1.08 * panel.get_ylim()[1])
            else:
                style.percent_axis(panel, "y")
    handles = {label: line for panel in axes for line in panel.get_lines() if (label := str(line.get_label()))}
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=5)
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
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    return Drawing(
        "weights_training",
        "Weights over training",
        "Each column is the distribution of all weights at that moment, from few (dark) to many (bright); white where "
        "no weight is. All start spread evenly.",
        figure,
    )


def _pick(preset: str, image: str, when: str) -> str:
    return f"{preset}/{image}/{when}"


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
        stem = _pick(preset, image, when)
        given = run.arrays[f"{stem}/input_spikes"]
        column[0].scatter(given[:, 0] * dt, given[:, 1], s=0.6, color=style.INK, linewidths=0)
        column[0].set_title(f"{titles[image]}, {_WHEN[when]}", fontsize=9.5)
        for panel, part in ((column[1], "exc_spikes"), (column[2], "inh_spikes")):
            spikes = run.arrays[f"{stem}/{part}"]
            for n, kind in enumerate(kinds):
                mine = spikes[classes[spikes[:, 1]] == kind]
                panel.scatter(mine[:, 0] * dt, mine[:, 1], s=7, color=style.colour(n), linewidths=0)
            for edge in np.flatnonzero(np.diff(classes)) + 0.5:
                panel.axhline(edge, color=style.MUTED, linewidth=0.6)
            panel.set_ylim(-1, len(classes))
        column[2].set_xlabel("time, ms")
        column[0].set_xlim(0, run.config[preset]["network"]["active_ms"])
    for panel, name in zip(grid[:, 0], ("input (pixel)", "excitatory neuron", "inhibitory neuron"), strict=True):
        panel.set_ylabel(name)
    handles = [
        figure.axes[0].scatter([], [], s=24, color=style.colour(n), linewidths=0, label=f"neurons of class {kind}")
        for n, kind in enumerate(kinds)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(5, len(kinds)))
    return Drawing(
        "raster",
        "One image, spike by spike",
        f"{_PRESETS[preset]}: every spike while a known digit and an image of white noise are shown, without and with "
        "decay. The class whose neurons fire most is the answer.",
        figure,
    )


def _threshold(run: Run, preset: str) -> Drawing:
    """Potential and threshold of the neuron that fires most, while the known image is shown."""
    network = run.config[preset]["network"]
    figure, axes = style.panels(2, 3.3, share_y=True)
    for panel, (when, title) in zip(axes, _WHEN.items(), strict=True):
        stem = _pick(preset, "known", when)
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
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return Drawing(
        "threshold",
        "Threshold over time",
        f"{_PRESETS[preset]}: the neuron that fires most while the digit of the raster is shown. Each spike raises the "
        "adaptive threshold, which falls back to rest; sampled once a millisecond.",
        figure,
    )


def _each_run(rows: list[Row], shares: list[Row], presets: Sequence[str]) -> Drawing:
    """Every run as a dot: what is left of the spikes, and accuracy."""
    figure, (left, right) = style.panels(2, 3.6)
    names = list(dict.fromkeys(row["set"] for row in rows))
    lowest = min((v for row in rows if "left" in row for v in row["left"].values if v > 0), default=1e-4)
    floor = 10 ** np.floor(np.log10(lowest)) / 10
    for n, preset in enumerate(presets):
        shift = (n - (len(presets) - 1) / 2) * 0.25
        for row in (row for row in rows if row["preset"] == preset and "left" in row):
            values = row["left"].values
            x = np.full(len(values), names.index(row["set"]) + shift)
            left.scatter(x, np.maximum(values, floor), s=26, color=style.colour(n), alpha=0.7, linewidths=0)
        reached = _accuracy(shares, preset)
        for without, faded in zip(reached["without"].values, reached["with"].values, strict=True):
            right.plot(
                [2 * n, 2 * n + 1], [without, faded], marker="o", color=style.colour(n), alpha=0.7, linewidth=1.2
            )
        left.scatter([], [], s=26, color=style.colour(n), label=_PRESETS[preset])
    left.set_yscale("log")
    left.set_ylim(floor / 2, 2)
    left.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: "none" if np.isclose(value, floor) else f"{100 * value:g} %")
    )
    left.set_xticks(range(len(names)), [_SETS[name].replace(" ", "\n") for name in names])
    left.set_title("Spikes left by decay")
    right.set_xticks(
        range(2 * len(presets)),
        [f"{_PRESETS[preset]},\n{label}" for preset in presets for label in _WHEN.values()],
        fontsize=8,
    )
    right.set_title("Accuracy on known classes")
    right.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))
    right.set_xlim(-0.4, 2 * len(presets) - 0.6)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return Drawing("runs", "Every run", "One dot a run; lines join one run without and with decay.", figure)


# Pages --------------------------------------------------------------------------------------------------


def _highlights(rows: list[Row], shares: list[Row]) -> list[tuple[str, str]]:
    shown = []
    for preset in dict.fromkeys(row["preset"] for row in shares):
        left = {each["set"]: each.get("left") for each in rows if each["preset"] == preset}
        reached = _accuracy(shares, preset)
        what = f"accuracy with decay, {_PRESETS[preset].lower()} ({_percent(reached['without'])} % without)"
        shown.append((f"{_percent(reached['with'])} %", what))
        shown.append((f"{_percent(left['white'])} %", f"of spikes on white noise left, {_PRESETS[preset].lower()}"))
    return shown


def _content(runs: Sequence[Run], title: str, drawings: list[Drawing]) -> Content:
    results = runs[0].results
    presets = _presets(results)
    sets = list(dict.fromkeys(row["set"] for row in results["rows"]))
    rows, shares = _rows(runs), _accuracies(runs)
    numbers = (*_SHARES, *(f"left {name}" for name in sets))
    methods = over_runs(_with_left(runs), ("preset", "method"), numbers)
    return Content(
        title=title,
        summary="A spiking network learned some classes without and with decay of unused synapses, and was then shown "
        "noise, digits of its classes and digits of others; what counts is that it stays silent on what it does "
        "not know and accurate on what it does.",
        highlights=_highlights(rows, shares),
        tables=[_spikes_table(rows, presets), _methods_table(methods, presets, sets)],
        drawings=drawings,
    )


def _rows(runs: Sequence[Run]) -> list[Row]:
    return over_runs([run.results["rows"] for run in runs], ("preset", "method", "set"), _COUNTS)


def _accuracies(runs: Sequence[Run]) -> list[Row]:
    return over_runs([run.results["accuracy"] for run in runs], ("preset", "decay"), ("accuracy",))


def _accuracy(shares: list[Row], preset: str) -> dict[str, Spread]:
    """Return a preset's accuracy ``without`` and ``with`` decay."""
    return {row["decay"]: row["accuracy"] for row in shares if row["preset"] == preset}


def single(run: Run) -> Content:
    """Return the page of one run."""
    presets = _presets(run.results)
    histories = _histories(run)
    drawings = [_spikes(_rows([run]), presets)]
    if run.arrays:
        drawings.append(_weights(run, presets))
    if histories:
        drawings += [_over_training(run, histories), _training(histories, presets)]
    if run.arrays:
        drawings += [_raster(run, presets[-1]), _threshold(run, presets[-1])]
    return _content([run], f"Synapses that fade: {', '.join(run.results['data'])}", drawings)


def several(runs: Sequence[Run]) -> Content:
    """Return the page of several runs: every number is a mean over them, with the standard deviation."""
    presets = _presets(runs[0].results)
    rows = _rows(runs)
    drawings = [_each_run(rows, _accuracies(runs), presets), _spikes(rows, presets)]
    title = f"Synapses that fade, {len(runs)} runs: {', '.join(runs[0].results['data'])}"
    return _content(runs, title, drawings)
