"""Draw how time and memory grow with images, their side, units, neurons, classes, steps and cores.

Run from the repository, on a machine that does nothing else: ``make bench-growth``. ``growth.json`` has the points,
``growth_time.svg`` and ``growth_memory.svg`` are the figures; with ``--draw`` they are drawn again of the points that
are there, and names of axes measure those alone again. `spikelore.bench.growth` says what is measured.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.ticker import LogLocator, NullLocator

from spikelore.bench.growth import AXES, exponent, measure
from spikelore.bench.works import MAKERS
from spikelore.report import style

FILE = Path(__file__).with_suffix(".json")
LEAST = {"seconds": 0.0, "bytes": float(1 << 20)}
"""Below this the rest of the process is not told apart from the work: no point is drawn."""


def lines(rows: Sequence[dict[str, Any]], axis: str, value: str) -> dict[str, tuple[list[int], list[float]]]:
    """Return sizes and values of each work that has more than one point on an axis."""
    found: dict[str, tuple[list[int], list[float]]] = {}
    for row in rows:
        if row["axis"] == axis and row[value] is not None and row[value] > LEAST[value]:
            sizes, values = found.setdefault(row["work"], ([], []))
            sizes.append(row["size"])
            values.append(row[value])
    return {work: line for work, line in found.items() if len(line[0]) > 1}


def draw(rows: Sequence[dict[str, Any]], value: str, unit: float, label: str) -> bytes:
    """Return the SVG of one value against every axis."""
    works = list(dict.fromkeys(row["work"] for row in rows))
    drawn = {axis: found for axis in AXES.values() if (found := lines(rows, axis.name, value))}
    figure, panels = style.panels(len(drawn), 2.6)
    for panel, (axis, found) in zip(panels, drawn.items(), strict=True):
        for work, (sizes, values) in found.items():
            kind = work.partition(" ")[0]
            marker = "osD^v"[[each for each in works if each.startswith(kind)].index(work)]
            panel.plot(
                sizes, [each / unit for each in values], f"{marker}-", color=style.colour([*MAKERS].index(kind)),
                label=work, markersize=4,
            )  # fmt: skip
        style.logarithmic(panel, axis.sizes)
        panel.set_xticks(axis.sizes, [str(size) for size in axis.sizes])
        panel.set(xlabel=axis.name, ylabel=label, yscale="log")
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
        panel.yaxis.set_major_formatter(lambda tick, _: style.short(tick))
        panel.yaxis.set_minor_locator(NullLocator())
    style.legend(figure, panels)
    return style.files(figure)["svg"]


def exponents(rows: Sequence[dict[str, Any]]) -> str:
    """Return the exponents as a Markdown table, of time and after a stroke of memory."""
    fits = {
        value: {axis: {work: exponent(*line) for work, line in lines(rows, axis, value).items()} for axis in AXES}
        for value in LEAST
    }
    axes = [axis for axis in AXES if fits["seconds"][axis]]
    told = [["exponent of", *axes], ["---"] * (len(axes) + 1)]
    told.append(["allowed", *(f"{AXES[axis].allowed[0]} / {AXES[axis].allowed[1]}" for axis in axes)])
    for work in dict.fromkeys(row["work"] for row in rows):
        pairs = [[fits[value][axis].get(work) for value in LEAST] for axis in axes]
        cells = [" / ".join("-" if each is None else f"{each:.2f}" for each in pair) for pair in pairs]
        told.append([work, *("" if cell == "- / -" else cell for cell in cells)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in told)


def main(words: Sequence[str]) -> None:
    """Measure what is asked for, draw, and print the exponents."""
    rows = json.loads(FILE.read_text()) if FILE.exists() else []
    for name in [] if words == ["--draw"] else words or AXES:
        rows = [row for row in rows if row["axis"] != name] + list(measure(AXES[name]))
        rows.sort(key=lambda row: [*AXES].index(row["axis"]))
        FILE.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")
    with style.applied():
        FILE.with_name("growth_time.svg").write_bytes(draw(rows, "seconds", 1e-3, "time / ms"))
        FILE.with_name("growth_memory.svg").write_bytes(draw(rows, "bytes", 1e6, "memory / MB"))
    print(exponents(rows))


if __name__ == "__main__":
    main(sys.argv[1:])
