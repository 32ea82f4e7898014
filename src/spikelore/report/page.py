"""What every report shares: tables, drawings, the files of both, and the HTML page."""

import base64
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from spikelore.files import refuse_link, write_bytes_atomic, write_text_atomic
from spikelore.folders import Writer
from spikelore.report import style, svg
from spikelore.report.over_runs import Spread
from spikelore.report.runs import Row, Run


@dataclass(frozen=True)
class Cell:
    """One table cell: its text, a second line in small type, whether it stands out."""

    text: str
    detail: str = ""
    strong: bool = False


@dataclass(frozen=True)
class Table:
    """A table of a page.

    Attributes:
        title: heading.
        note: a sentence under the heading.
        columns: column headings.
        groups: (heading, rows); an empty heading is not shown.
        text_columns: how many of the first columns hold words; the others hold numbers.
    """

    title: str
    note: str
    columns: list[str]
    groups: list[tuple[str, list[list[Cell]]]]
    text_columns: int = 1

    @classmethod
    def of(
        cls,
        title: str,
        note: str,
        rows: Sequence[Row],
        columns: Mapping[str, Callable[[Row], Cell | str]],
        *,
        by: Callable[[Row], str] = lambda row: "",
        text_columns: int = 1,
    ) -> "Table":
        """Return a table of rows, grouped under the headings that ``by`` gives; each column makes a cell of a row."""
        groups: dict[str, list[list[Cell]]] = {}
        for row in rows:
            cells = [make(row) for make in columns.values()]
            line = [cell if isinstance(cell, Cell) else Cell(cell) for cell in cells]
            groups.setdefault(by(row), []).append(line)
        return cls(title, note, [*columns], [*groups.items()], text_columns)

    @property
    def name(self) -> str:
        """The title as the name of files and of a place on the page: lower-case words with hyphens between them."""
        return "-".join(re.findall(r"[a-z0-9]+", self.title.lower())) or "table"

    def files(self) -> dict[str, str]:
        """Return the table as ``csv`` (plain numbers, deviations and details in columns of their own) and ``tex``."""
        rows = [(heading, cells) for heading, lines in self.groups for cells in lines]
        headings = {"group": [heading for heading, _ in rows]} if any(dict(self.groups)) else {}
        plain, told = dict(headings), dict(headings)
        for n, title in enumerate(self.columns):
            cells = [line[n] for _, line in rows]
            told[title] = [f"{cell.text} ({cell.detail})" if cell.detail else cell.text for cell in cells]
            texts = [cell.text for cell in cells]
            if n >= self.text_columns:
                texts = [re.sub(r"(?<=\d),(?=\d{3})", "", text.replace("–", "")) for text in texts]
            plain[title] = [text.partition(" ± ")[0] for text in texts]
            deviations = [text.partition(" ± ")[2] for text in texts]
            for part, values in (("deviation", deviations), ("detail", [cell.detail for cell in cells])):
                if any(values):
                    plain[f"{title}, {part}"] = values
        aligned = "l" * (len(headings) + self.text_columns) + "r" * (len(self.columns) - self.text_columns)
        return {
            "csv": pandas.DataFrame(plain).to_csv(index=False, lineterminator="\n"),
            "tex": pandas.DataFrame(told).to_latex(index=False, escape=True, column_format=aligned),
        }


@dataclass(frozen=True, eq=False)
class Drawing:
    """A figure, the name of its files and a sentence that says what to see."""

    name: str
    title: str
    caption: str
    figure: Figure


@dataclass(frozen=True)
class Content:
    """What one experiment has to say.

    Attributes:
        title: of the page.
        summary: one plain sentence: what was done.
        highlights: (number, what it is), shown large.
        tables: in order.
        drawings: in order.
    """

    title: str
    summary: str
    highlights: list[tuple[str, str]] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    drawings: list[Drawing] = field(default_factory=list)


_COSTS = {
    "memory_bytes": ("bytes", "Accuracy against bytes", "bytes of memory, labels included"),
    "synops_per_image": ("energy", "Accuracy against energy", "synaptic operations an image"),
    "synops_per_input": ("energy", "Accuracy against energy", "synaptic operations an input"),
    "joules_learning": ("learning", "Accuracy against the energy of learning", "joules of all learning"),
}  # fmt: skip


def trade_offs(
    parts: Mapping[str, Sequence[Row]], accuracy: str, label: Callable[[Row], str], costs: Sequence[str] = tuple(_COSTS)
) -> list[Drawing]:
    """Return accuracy against each cost that rows differ in, a panel a part and a line for rows of one label."""
    found = {}
    for cost in costs:
        lines: dict[str, dict[str, list[tuple[float, Spread]]]] = {}
        for title, rows in parts.items():
            for row in rows:
                value = row[cost].mean if isinstance(row.get(cost), Spread) else row.get(cost)
                if value and accuracy in row:
                    lines.setdefault(title, {}).setdefault(label(row), []).append((value, row[accuracy]))
        name, title, across = _COSTS[cost]
        if len({x for part in lines.values() for points in part.values() for x, _ in points}) > 1:
            figure = style.curves(lines, across, "accuracy", logarithm=True, joined=name == "bytes")
            found[name] = Drawing(name, title, "Better is higher and further left; the scale is logarithmic.", figure)
    return list(found.values())


def each_run(rows: Sequence[tuple[str, str, Spread]], what: str) -> Drawing:
    """Return every run's accuracy as a dot, one line for each (name, group, accuracies); a group has one colour."""
    figure = Figure(figsize=(style.WIDTH, 0.36 * len(rows) + 1.0), layout="constrained")
    axes = figure.subplots()
    groups = list(dict.fromkeys(group for _, group, _ in rows))
    for y, (_, group, spread) in enumerate(rows):
        axes.plot([spread.mean], [y], "|", color=style.INK, markersize=16, markeredgewidth=2, label="mean")
        colour = style.colour(groups.index(group))
        axes.scatter(spread.values, [y] * len(spread.values), s=30, color=colour, alpha=0.7, linewidths=0, zorder=3)
    axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    style.percent_axis(axes, "x")
    axes.set_xlabel(what)
    caption = "One dot a run, the upright bar is their mean: rows whose dots overlap are not told apart by these runs."
    return Drawing("runs", "Every run", caption, figure)


PRESETS = {"published": "As published", "best": "Best preset", "baseline": "Baselines", "own": "Own settings",
           "faults": "Faults, one by one"}  # fmt: skip
"""Headings of presets; others are told by their names."""


def preset_title(row: Row) -> str:
    """Return the heading of a row's preset."""
    name: str = row["preset"]
    return PRESETS.get(name, name.capitalize())


def different(rows: Sequence[Row], name: str) -> list[Any]:
    """Return the different values of a column, in order of first appearance."""
    return list(dict.fromkeys(row[name] for row in rows))


def percent(fraction: float) -> str:
    """Return a fraction as per cent with one decimal, without the sign."""
    return f"{100 * fraction:.1f}"


def duration(seconds: float) -> str:
    """Return seconds in words: ``43 s``, ``1 min 25 s``, ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _facts(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """What to know to trust or repeat the runs: data, seeds, time, versions, machine."""

    def join(values: Sequence[str]) -> str:
        return "; ".join(dict.fromkeys(values))

    found: list[Mapping[str, Any]] = [run.results for run in runs]
    seconds = [one["seconds"] for one in found if "seconds" in one]
    if len(seconds) > 5:
        times = f"{duration(sum(seconds))} for {len(seconds)} runs together"
    else:
        times = ", ".join(map(duration, seconds))
    seeds = list(dict.fromkeys(str(one.get("seed", "not given")) for one in found))
    return [
        ("Data", join([", ".join(map(str, one.get("data", []))) for one in found])),
        ("Seed" if len(seeds) == 1 else "Seeds", ", ".join(seeds)),
        *_told("Images a class", join([_images(each) for one in found for each in one.get("images_per_class", [])])),
        *_told("Notes", join([note for one in found for note in one.get("notes", [])])),
        ("Time", times),
        (
            "Versions",
            join([", ".join(f"{name} {v}" for name, v in one.get("versions", {}).items()) for one in found]),
        ),
        (
            "Machine",
            join([f"{r.environment.get('platform')}, {r.environment.get('cores')} cores" for r in runs]),
        ),
    ]


def _told(name: str, text: str) -> list[tuple[str, str]]:
    return [(name, text)] if text else []


def _images(drawn: Mapping[str, Any]) -> str:
    """Return how many images of each class were drawn, such as ``mnist: 2400 train, 200 validation, 400 test``."""

    def count(value: Any) -> str:
        many = sorted(value.values()) if isinstance(value, Mapping) else [value]
        return str(many[0]) if many[0] == many[-1] else f"{many[0]} to {many[-1]}"

    parts = [f"{count(drawn[name])} {name}" for name in ("train", "validation", "test") if drawn.get(name) is not None]
    return f"{drawn['data']}: {', '.join(parts)}"


def class_name(run: Run, label: Any, data: int = 0) -> str:
    """Return the name of a class of the run's data set number ``data``, the label as text where it has none."""
    drawn = run.results.get("images_per_class", [])
    names = drawn[data].get("class_names", {}) if data < len(drawn) else {}
    return str(names.get(str(label), label))


_ROOM = Path(__file__).parent
_STYLE, _SCRIPT = ((_ROOM / f"page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
_POLICY = (
    f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    f"script-src 'sha256-{base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()}'"
)
"""What a browser allows the page: no request to anywhere, and no script but the one that is part of it."""
_PAGE = Environment(
    loader=PackageLoader("spikelore.report", "."),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def write_page(folder: Path, content: Content, runs: Sequence[Run]) -> Path:
    """Write ``folder/figures`` (SVG, PDF), ``folder/tables`` (CSV, LaTeX) and the page ``folder/report.html``.

    Every file is whole or absent. Returns the page's path.

    Raises:
        InputError: another process is writing to the folder.
        SpikeloreError: a file could not be written.
    """
    charts, files = [], {}
    for drawing in content.drawings:
        drawn = style.files(drawing.figure)
        files |= {f"figures/{drawing.name}.{kind}": picture for kind, picture in drawn.items()}
        picture = svg.inline(drawn["svg"], drawing.name, drawing.title)
        charts.append({"drawing": drawing, "svg": picture, "marks": svg.marks(drawing.figure)})
    for table in content.tables:
        files |= {f"tables/{table.name}.{kind}": text.encode() for kind, text in table.files().items()}
    text = _PAGE.get_template("page.html.jinja").render(
        content=content,
        charts=charts,
        facts=_facts(runs),
        configs=[("/".join(run.path.resolve().parts[-2 if len(runs) > 1 else -1 :]), run.config_text) for run in runs],
        style=_STYLE + style.variables(),
        script=_SCRIPT,
        policy=_POLICY,
    )
    for name in ("figures", "tables"):
        refuse_link(folder / name)
    with Writer(folder):
        for name, picture in files.items():
            write_bytes_atomic(folder / name, picture)
        write_text_atomic(folder / "report.html", text)
    return folder / "report.html"
