"""The report of keywords: the study's tables and clouds, some recordings, and the spikes of each layer over time."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from spikelore.report import study, style
from spikelore.report.page import Content, Drawing
from spikelore.report.runs import Run


def _shown(run: Run) -> list[int]:
    return sorted({int(name.split("/")[1]) for name in run.arrays if name.startswith("recordings/")})


def _rasters(run: Run) -> list[Drawing]:
    """Return some recordings as they came, each event a stroke."""
    numbers = _shown(run)
    if not numbers:
        return []
    figure, axes = style.panels(len(numbers), 3.4, share_y=True)
    for panel, n in zip(axes, numbers, strict=True):
        times, units = (run.arrays[f"recordings/{n}/{name}"] for name in ("times_ms", "units"))
        style.spikes(panel, times, units, style.BLUE, max(1.0, float(units.max(initial=0)) / 150))
        panel.set_title(f"class {int(run.arrays[f'recordings/{n}/label'][0])}, {len(times):,} events")
        panel.set_xlabel("ms")
    axes[0].set_ylabel("unit")
    return [Drawing("rasters", "Recordings", "Test recordings of the first stream, one stroke an event.", figure)]


def _surfaces(run: Run) -> list[Drawing]:
    """Return the time surfaces of a camera's recordings."""
    numbers = [n for n in _shown(run) if f"recordings/{n}/surface" in run.arrays]
    if not numbers:
        return []
    figure, axes = style.panels(len(numbers), 3.0)
    for panel, n in zip(axes, numbers, strict=True):
        style.image(panel, run.arrays[f"recordings/{n}/surface"] / 127.5 - 1)
        panel.set_title(f"class {int(run.arrays[f'recordings/{n}/label'][0])}")
    caption = "How long ago each pixel had its last event when the recording ended; brighter is shorter ago."
    return [Drawing("surfaces", "Time surfaces", caption, figure)]


def _layers(run: Run) -> list[Drawing]:
    """Return how many spikes enter each layer at each step."""
    counts = [run.arrays[f"layers/{n}"] for n in range(len(run.arrays)) if f"layers/{n}" in run.arrays]
    if not counts:
        return []
    names = ["input", *(f"layer {n}" for n in range(1, len(counts)))]
    figure, (panel,) = style.panels(1, 3.4)
    for n, (name, each) in enumerate(zip(names, counts, strict=True)):
        panel.plot(np.arange(len(each)), each, color=style.colour(n), label=name)
    panel.set_xlabel("step")
    panel.set_ylabel("spikes")
    style.legend(figure, [panel])
    caption = "Of the jointly trained network, means over test recordings."
    return [Drawing("layers", "Spikes of each layer over time", caption, figure)]


def content(runs: Sequence[Run]) -> Content:
    """Return the page of one run, or of several: rows of the same cell are averaged; recordings are of the first."""
    page = study.content(runs)
    first = runs[0]
    return replace(
        page,
        title="Keywords",
        drawings=[*page.drawings, *_rasters(first), *_surfaces(first), *_layers(first)],
    )
