"""What every report shares: reading a run folder, tables, and the HTML page."""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure
from numpy.typing import NDArray

from spikelore import plain_yaml
from spikelore.errors import InputError
from spikelore.files import (
    load_tensors,
    open_regular,
    parse_json,
    read_json,
    refuse_link,
    write_bytes_atomic,
    write_text_atomic,
)
from spikelore.folders import Writer
from spikelore.report import style
from spikelore.report.over_runs import Row

_LONGEST = 1 << 26
"""Bytes that are read of a text."""


@dataclass(frozen=True)
class Run:
    """What a finished run left in its folder.

    Attributes:
        path: the folder.
        results: ``results.json``.
        config_text: ``config.yaml`` as written.
        config: the same, read.
        environment: ``environment.json``.
        metrics: lines of ``metrics.jsonl``; none if it is not there.
        arrays: ``arrays.safetensors``; none if it is not there.
    """

    path: Path
    results: Row
    config_text: str
    config: Row
    environment: Row
    metrics: list[Row]
    arrays: dict[str, NDArray]


def _missing(path: Path) -> InputError:
    return InputError(f"{path.parent} has no {path.name}, so it is no complete run; run it again")


def _text(path: Path) -> str:
    try:
        with open_regular(path, f"the {path.name} of a run") as file:
            return file.read(_LONGEST).decode()
    except FileNotFoundError as error:
        raise _missing(path) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}") from error


def _table(path: Path) -> Row:
    try:
        return read_json(path, f"the {path.name} of a run")
    except FileNotFoundError as error:
        raise _missing(path) from error
    except InputError as error:
        raise InputError(f"{error}; restore it or run again") from error


def _lines(path: Path) -> list[Row]:
    """Return the lines of metrics: names and values each."""
    try:
        found = parse_json("[" + ",".join(_text(path).splitlines()) + "]") if path.exists() else []
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is broken ({error}); restore it or run again") from error
    if not all(isinstance(line, dict) for line in found):
        raise InputError(f"{path} is broken: a line holds no names and values; restore it or run again")
    return found


def read(path: Path) -> Run:
    """Read a run folder.

    Raises:
        InputError: no such folder, no run in it, a run that has not finished, or a broken file.
    """
    if not (path / "results.json").exists():
        if (path / "config.yaml").exists():
            raise InputError(
                f"{path} holds a run that has not finished (no results.json); resume it first: "
                f"spikelore run {path / 'config.yaml'} --out {path} --resume"
            )
        raise InputError(f"{path} is no run folder (no results.json in it); name the folder of a finished run")
    results, file = _table(path / "results.json"), path / "config.yaml"
    config_text = _text(file)
    try:
        config = plain_yaml.parse(config_text, file.name)
    except plain_yaml.NotPlainError as error:
        raise InputError(f"{file} is broken ({error}); restore it or run again") from error
    if not isinstance(config, dict):
        raise InputError(f"{file} is broken: it holds no table of names and values; run it again")
    environment, metrics = _table(path / "environment.json"), _lines(path / "metrics.jsonl")
    saved = path / "arrays.safetensors"
    arrays = load_tensors(saved)[0] if saved.exists() else {}
    return Run(path, results, config_text, config, environment, metrics, arrays)


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
    return [
        ("Data", join([", ".join(map(str, one.get("data", []))) for one in found])),
        (
            "Seed" if len(runs) == 1 else "Seeds",
            ", ".join(str(one.get("seed", "not given")) for one in found),
        ),
        *_told("Images a class", join([_images(each) for one in found for each in one.get("images_per_class", [])])),
        *_told("Notes", join([note for one in found for note in one.get("notes", [])])),
        ("Time", ", ".join(duration(one["seconds"]) for one in found if "seconds" in one)),
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


def write_page(folder: Path, content: Content, runs: Sequence[Run]) -> Path:
    """Write ``folder/figures/*.png`` and ``*.svg`` and the self-contained ``folder/report.html``.

    Every file is whole or absent. Returns the page's path.

    Raises:
        InputError: another process is writing to the folder.
        SpikeloreError: a file could not be written.
    """
    pictures, files = [], {}
    for drawing in content.drawings:
        drawn = style.files(drawing.figure)
        files |= {f"{drawing.name}.{kind}": picture for kind, picture in drawn.items()}
        pictures.append(
            {
                "title": drawing.title,
                "caption": drawing.caption,
                "base64": base64.b64encode(drawn["png"]).decode(),
                "width": round(96 * drawing.figure.get_figwidth()),
            }
        )
    environment = Environment(
        loader=PackageLoader("spikelore.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = folder / "report.html"
    template = environment.get_template("page.html.jinja")
    text = template.render(
        content=content,
        pictures=pictures,
        facts=_facts(runs),
        configs=[(run.path.resolve().name, run.config_text) for run in runs],
    )
    refuse_link(folder / "figures")
    with Writer(folder):
        for name, picture in files.items():
            write_bytes_atomic(folder / "figures" / name, picture)
        write_text_atomic(page, text)
    return page
