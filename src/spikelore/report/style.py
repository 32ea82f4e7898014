"""One look for all figures: readable type, a colour-blind-safe palette, a light grid; no pyplot state."""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from spikelore.errors import InputError
from spikelore.report.over_runs import Spread

BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
INK, MUTED, GRID, PAPER = "#222222", "#5f6b7a", "#e5e7eb", "#ffffff"
PALETTE = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
"""Okabe and Ito's colours, in the order they are given out."""

_DARK = {
    BLUE: "#4c9fdc", VERMILION: "#f0803c", GREEN: "#2fc39a", PURPLE: "#dd9bc0", ORANGE: "#f0b840", SKY: "#9bd4f5",
    INK: "#e6e9ed", MUTED: "#a3adb9", GRID: "#2f3740", PAPER: "#14181d",
}  # fmt: skip
"""What stands for each colour on a dark page."""

WIDTH = 10.0
"""Width of a full figure in inches."""

_MOST_PANELS = 60
_TOLD = 24
"""Most lines that a legend tells; more are told on hover."""
_SETTINGS = {
    "font.family": "DejaVu Sans",
    "font.size": 10.0,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 10.0,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.edgecolor": MUTED,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 9.0,
    "ytick.labelsize": 9.0,
    "image.interpolation": "none",  # pictures keep their own pixels, which the reader's program makes larger
    "image.composite_image": False,
    "svg.fonttype": "none",
    "text.color": INK,
    "text.parse_math": False,
    "legend.fontsize": 9.0,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
    "svg.hashsalt": "spikelore",
}


_SHADES = LinearSegmentedColormap.from_list("shades", [to_rgba(BLUE, 0), to_rgba(BLUE, 1)])
"""From clear to blue, so that cells are readable on a light page and on a dark one."""


@contextmanager
def applied() -> Iterator[None]:
    """Draw and save in this look, whatever the user's own settings are; they are back afterwards."""
    with matplotlib.style.context([_SETTINGS], after_reset=True):
        yield


def colour(index: int) -> str:
    """Return the palette's colour at ``index``, from the start again after the last."""
    return PALETTE[index % len(PALETTE)]


def panels(count: int, height: float, *, share_y: bool = False) -> tuple[Figure, list[Axes]]:
    """Return a figure of ``count`` panels, two or three a row, each ``height`` inches high."""
    if not 0 < count <= _MOST_PANELS:
        raise InputError(f"a figure of {count} panels was asked for, expected 1 to {_MOST_PANELS}; report fewer runs")
    columns = min(count, 2 if count in (2, 4) else 3)
    rows = -(-count // columns)
    width = WIDTH if columns > 1 else 0.6 * WIDTH
    figure = Figure(figsize=(width, height * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=share_y).ravel()
    for empty in grid[count:]:
        empty.remove()
    return figure, list(grid[:count])


def legend(figure: Figure, axes: Sequence[Axes]) -> None:
    """Tell below a figure what its panels draw, each name once, in as many columns as fit; too many are left out."""
    found = {}
    for panel in axes:
        handles, labels = panel.get_legend_handles_labels()
        found.update(zip(labels, handles, strict=True))
    if found and len(found) <= _TOLD:
        columns = int(14 * figure.get_figwidth() / (7 + max(map(len, found))))
        columns = min(len(found), max(1, columns))
        figure.set_figheight(figure.get_figheight() + 0.2 * (-(-len(found) // columns) - 1))
        figure.legend(found.values(), found.keys(), loc="outside lower center", ncols=columns)


def curve(
    axes: Axes,
    points: Sequence[tuple[float, Spread]],
    name: str,
    index: int,
    *,
    hollow: bool = False,
    joined: bool = True,
) -> None:
    """Draw numbers over runs against something, as means with their deviations where there are several runs.

    Args:
        axes: where to draw.
        points: of one line, in any order.
        name: what the legend says.
        index: of its colour and marker.
        hollow: whether markers are.
        joined: whether a line joins them.
    """
    points = sorted(points, key=lambda point: point[0])
    x, means = [point[0] for point in points], [point[1].mean for point in points]
    axes.plot(
        x, means, marker="osD^vP*X"[(index // len(PALETTE)) % 8], label=name, color=colour(index),
        markerfacecolor=PAPER if hollow else colour(index), linestyle="-" if joined else "",
    )  # fmt: skip
    spread = [point[1].deviation for point in points]
    if np.isfinite(spread).all():
        axes.errorbar(x, means, spread, fmt="none", capsize=2, color=colour(index))


def curves(
    parts: Mapping[str, Mapping[str, Sequence[tuple[float, Spread]]]],
    across: str,
    upright: str,
    *,
    logarithm: bool,
    joined: bool = True,
) -> Figure:
    """Return a figure of named lines of accuracies, a panel for each part.

    Args:
        parts: title of a panel: name of a line: its points.
        across: what is along the horizontal axis.
        upright: what the accuracies are of.
        logarithm: whether that axis is logarithmic.
        joined: whether the points of a line are.
    """
    figure, axes = panels(len(parts), 4.2, share_y=True)
    figure.set_figwidth(WIDTH)  # of a single one too, for its legend
    names = list(dict.fromkeys(name for lines in parts.values() for name in lines))
    for panel, (title, lines) in zip(axes, parts.items(), strict=True):
        for name, points in lines.items():
            curve(panel, points, name, names.index(name), joined=joined)
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        if logarithm:
            logarithmic(panel, [x for points in lines.values() for x, _ in points])
        panel.set_title(title)
        panel.set_xlabel(across)
        percent_axis(
            panel, "y", min(y.mean for lines in parts.values() for points in lines.values() for _, y in points)
        )
    axes[0].set_ylabel(upright)
    legend(figure, axes)
    return figure


_AROUND = [
    (reach * x, reach * y)
    for reach in range(8, 100, 6)
    for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1), (0.7, 0.7), (0.7, -0.7), (-0.7, 0.7), (-0.7, -0.7))
]
"""Places of a label, points from what it names, in the order in which they are tried."""


def labels(axes: Axes, named: Sequence[tuple[float, float, str]], size: float = 9.0) -> None:
    """Write names (x, y, name) beside their points, so that none covers another, a point or the panel's edge.

    The nearest free place is taken; from one that is not beside the point, a thin line leads there. Limits of the axes
    and the rest of the figure must be as they will be drawn.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.set_dpi(72)  # a pixel is a point
    figure.draw_without_rendering()
    points = axes.transData.transform([(x, y) for x, y, _ in named])
    edge, taken = axes.bbox, [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in points]
    for (x, y, name), place in zip(named, points, strict=True):
        ink = TextPath((0, 0), name, size=size).get_extents()
        box, move = _free(place, ink.width + 2, 1.25 * size, taken, edge)
        taken.append(box)
        line = {"arrowstyle": "-", "color": MUTED, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 4}
        axes.annotate(
            name, (x, y), move, textcoords="offset points", ha="center", va="center", fontsize=size,
            arrowprops=line if np.hypot(*move) > ink.width / 2 + 2 * size else None,
        )  # fmt: skip


def _free(
    point: NDArray[np.float64], width: float, height: float, taken: Sequence[Bbox], edge: Bbox
) -> tuple[Bbox, tuple[float, float]]:
    """Return the box of a label of this size and where its middle is from its point; the last place if none is free."""
    box, move = Bbox.null(), (0.0, 0.0)
    for x, y in _AROUND:
        move = x + np.sign(x) * width / 2, y + np.sign(y) * height / 2
        left, bottom = point + move - np.array([width, height]) / 2
        box = Bbox.from_bounds(left, bottom, width, height)
        inside = edge.x0 <= box.x0 and box.x1 <= edge.x1 and edge.y0 <= box.y0 and box.y1 <= edge.y1
        if inside and not box.count_overlaps(taken):
            break
    return box, move


def logarithmic(axes: Axes, values: Sequence[float]) -> None:
    """Make the horizontal axis logarithmic, with ticks at round numbers of the values' range."""
    low, high = 0.7 * min(values, default=1), 1.4 * max(values, default=1)
    steps = (1,) if high > 100 * low else (1, 3) if high > 10 * low else (1, 2, 5)
    ticks = [step * 10.0**power for power in range(-9, 16) for step in steps if low <= step * 10.0**power <= high]
    ticks = ticks[:: 1 + len(ticks) // 6]  # no word over another
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.set_xticks(ticks, [short(tick) for tick in ticks])
    axes.set_xticks([], minor=True)


def short(value: float) -> str:
    """Return a round number as a tick: ``500``, ``20,000``, ``3 million``."""
    for size, word in ((1e9, "billion"), (1e6, "million")):
        if value >= size:
            return f"{value / size:,.0f} {word}"
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def percent_axis(axes: Axes, which: Literal["x", "y"], least: float = 0.0) -> None:
    """Let an axis show fractions as whole per cents, from 0 to 100 %, or from below ``least`` if all is above half."""
    low = min(np.floor(20 * least) / 20, 0.95) if least > 0.5 else 0.0
    margin = 0.03 * (1 - low)
    axes.set(**{f"{which}lim": (low - margin, 1 + margin)})
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10]))  # whole per cents
    axis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    setattr(axes, f"fmt_{which}data", lambda value: f"{100 * value:.1f} %")


def bars(axes: Axes, x: NDArray[Any], values: NDArray[Any], width: float, least: float, **look: Any) -> None:
    """Draw bars on a logarithmic scale that begins at ``least``, where they stand; of what is below there is none."""
    seen = np.where(values > least, values - least, np.nan)
    axes.bar(x, seen, width, bottom=least, edgecolor=PAPER, linewidth=0.6, **look)
    axes.set_yscale("log")
    axes.set_ylim(bottom=least)


def spikes(axes: Axes, times: NDArray[Any], units: NDArray[Any], colour: str, height: float) -> None:
    """Draw spikes as upright strokes, ``height`` units high; all in one path, which is small in a file."""
    gaps = np.full(len(times), np.nan)
    x, y = (
        np.stack(each, axis=1).ravel()
        for each in ((times, times, gaps), (units - height / 2, units + height / 2, gaps))
    )
    axes.plot(x, y, color=colour, linewidth=1, label="_nolegend_")


def heat(
    axes: Axes, shares: NDArray[np.float64], rows: list[str], columns: list[str], *, size: float, least: float
) -> None:
    """Draw fractions as a table of coloured cells with whole per cents in them; NaN stays empty.

    Args:
        axes: where to draw.
        shares: (rows, columns), 0..1.
        rows: names from top to bottom.
        columns: names from left to right.
        size: of the numbers, in points.
        least: smaller fractions get no number.
    """
    tall, wide = shares.shape
    axes.pcolormesh(
        np.arange(wide + 1) - 0.5, np.arange(tall + 1) - 0.5, shares, cmap=_SHADES, vmin=0, vmax=1,
        edgecolors=PAPER, linewidth=1,
    )  # fmt: skip
    axes.set(xlim=(-0.5, wide - 0.5), ylim=(tall - 0.5, -0.5))
    for (y, x), share in np.ndenumerate(shares):
        if np.isfinite(share) and share >= least:
            shade = PAPER if share > 0.6 else INK
            number = f"{np.floor(100 * share + 0.5):.0f}"
            axes.text(x, y, number, ha="center", va="center_baseline", color=shade, fontsize=size)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    _bare(axes)


def mosaic(tiles: NDArray[np.float64], columns: int) -> NDArray[np.float64]:
    """Lay (N,H,W) tiles out in rows, one pixel of NaN between them; each over its own largest value."""
    count, height, width = tiles.shape
    rows = -(-count // columns)
    out = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), np.nan)
    for n, tile in enumerate(tiles):
        y, x = (n // columns) * (height + 1), (n % columns) * (width + 1)
        out[y : y + height, x : x + width] = tile / (np.abs(tile).max() or 1.0)
    return out


def image(axes: Axes, pixels: NDArray[np.float64]) -> None:
    """Draw -1..1 as black to white, 0 mid-grey, NaN white, without axes."""
    axes.imshow(pixels, cmap="gray", vmin=-1, vmax=1)
    axes.set(xticks=[], yticks=[])
    _bare(axes)


def _bare(axes: Axes) -> None:
    """Take away lines that would lie on cells or pixels."""
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def files(figure: Figure) -> dict[str, bytes]:
    """Return the figure as an ``svg`` and a ``pdf`` file; the same figure gives the same bytes."""
    out = {}
    for kind, canvas, stamp in (("svg", FigureCanvasSVG, "Date"), ("pdf", FigureCanvasPdf, "CreationDate")):
        buffer = io.BytesIO()
        figure.set(facecolor=PAPER, dpi=72)
        getattr(canvas(figure), f"print_{kind}")(buffer, metadata={stamp: None})  # savefig would draw it twice
        figure.set_layout_engine("none")  # laid out by the first file; no need to do it again
        out[kind] = buffer.getvalue()
    return out


def variable(colour: str) -> str:
    """Return a colour of the palette as the page's variable that follows light and dark; another as it is."""
    found = {one.lower(): f"var(--c{n})" for n, one in enumerate(_DARK)}
    return found.get(colour.lower(), colour)


def variables() -> str:
    """Return the page's style sheet of the palette, light and dark."""
    light, dark = ("".join(f"--c{n}: {one}; " for n, one in enumerate(each)) for each in (_DARK, _DARK.values()))
    return f":root {{ {light}}}\n@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark}}} }}\n"
