"""A figure on the page: its SVG as a part of the HTML, and the values that are told on hover."""

import re
from collections.abc import Iterator
from typing import Any, Literal
from xml.etree import ElementTree

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import PathCollection, QuadMesh
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator
from numpy.typing import NDArray

from spikelore.report import style
from spikelore.report.tables import number

_MOST = 600
"""Points of a line or cloud that are told; one of more is a texture, not values."""


def inline(file: bytes, name: str, title: str) -> str:
    """Return Matplotlib's SVG for an HTML page.

    Its ids begin with ``name``, so that several fit a page; colours of the palette follow the page; nothing of it
    names a place on the network.
    """
    root = ElementTree.fromstring(file)
    parents = {child: parent for parent in root.iter() for child in parent}
    for node in [*root.iter()]:
        node.tag = node.tag.rpartition("}")[2]
        if node.tag in ("metadata", "style") or node.get("id") == "patch_1":  # which is the sheet of paper
            parents[node].remove(node)
        for key, value in [*node.attrib.items()]:
            del node.attrib[key]
            value = re.sub(r"url\(#", f"url(#{name}-", value)
            if key == "id":
                value = f"{name}-{value}"
            elif key.endswith("}href"):
                key, value = "href", re.sub("^#", f"#{name}-", value)
            elif key == "style":
                value = re.sub(r"#[0-9a-f]{6}\b", lambda found: style.variable(found[0]), value)
            elif key in ("d", "x", "y"):
                value = re.sub(r"(\.\d\d)\d+", r"\1", value)
            node.set(key, value)
    for key in ("version", "height"):
        root.attrib.pop(key, None)
    root.attrib |= {"role": "img", "aria-label": title}
    return ElementTree.tostring(root, "unicode")


def marks(figure: Figure) -> list[tuple[float, float, str]]:
    """Return what a laid out figure shows: x and y from its upper left corner, in points, and a text of each value.

    Told are points of lines and of small clouds, bars, and the cells of a table of colours.
    """
    width, height = 72 * figure.get_size_inches()
    found = []
    for axes in figure.axes:
        seen = axes.get_position().expanded(1.02, 1.02)
        for points, texts in _shown(axes):
            places = figure.transFigure.inverted().transform(axes.transData.transform(points))
            for (x, y), (left, up), text in zip(points, places, texts, strict=True):
                if seen.contains(left, up):
                    told = [text, _told(axes, "y", y), _told(axes, "x", x)]
                    place = round(float(width * left), 1), round(float(height * (1 - up)), 1)
                    found.append((*place, "\n".join(filter(None, told))))
    return found


def _shown(axes: Axes) -> Iterator[tuple[NDArray[np.float64], list[str]]]:
    """Return the points (N, 2) of what is drawn in a panel, and what is said of each beside its place."""
    found: list[tuple[Any, Artist | BarContainer]] = [
        (line.get_xydata(), line)
        for line in axes.get_lines()
        if line.get_transform() == axes.transData and line.get_label() != "_nolegend_"
    ]
    for bars in axes.containers:
        if isinstance(bars, BarContainer):
            found.append(([(bar.get_center()[0], bar.get_y() + bar.get_height()) for bar in bars], bars))
    for cloud in axes.collections:
        if isinstance(cloud, PathCollection):
            found.append((cloud.get_offsets(), cloud))
        elif isinstance(cloud, QuadMesh):
            cells = [
                (x, y, share)
                for (y, x), share in np.ndenumerate(np.ma.filled(np.ma.asarray(cloud.get_array()), np.nan))
            ]
            told = [f"{100 * share:.1f} %" for _, _, share in cells if np.isfinite(share)]
            yield np.array([cell[:2] for cell in cells if np.isfinite(cell[2])], float).reshape(-1, 2), told
    for points, artist in found:
        label = str(artist.get_label())
        if 0 < len(points) <= _MOST:
            yield np.ma.filled(np.ma.asarray(points, float), np.nan), [label * (label[:1] != "_")] * len(points)


def _told(axes: Axes, which: Literal["x", "y"], value: float) -> str:
    """Return a coordinate as a reader says it: the name of its tick, or the number, and what the axis is."""
    axis: Axis = getattr(axes, f"{which}axis")
    siblings = getattr(axes, f"get_shared_{which}_axes")().get_siblings(axes)
    title = next(filter(None, (getattr(each, f"get_{which}label")() for each in siblings)), "")
    ticks = axis.get_majorticklocs() if isinstance(axis.get_major_locator(), FixedLocator) else np.empty(0)
    near = np.flatnonzero(np.abs(ticks - value) < 0.5)  # things side by side in one place have one name
    form = getattr(axes, f"fmt_{which}data") or number
    text = axis.get_major_formatter()(float(ticks[near[0]])) if len(near) else form(value)
    return " ".join(f"{title}: {text}".removeprefix(": ").split())
