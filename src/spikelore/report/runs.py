"""Finished runs on disk: what a run folder holds, and which runs lie in the folder of a sweep."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from spikelore import plain_yaml
from spikelore.errors import InputError, printable
from spikelore.files import load_tensors, open_regular, parse_json

Row = dict[str, Any]

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


def _read(file: Path, parse: Callable[[str], list[Any]]) -> tuple[str, list[Row]]:
    """Return a file's text and the tables of names and values in it."""
    advice = "restore it, or delete it and go on with --resume"
    try:
        with open_regular(file, f"the {file.name} of a run") as opened:
            text = opened.read(_LONGEST).decode()
        found = parse(text)
    except FileNotFoundError as error:
        raise InputError(f"{file.parent} has no {file.name}, so it is no complete run; run it again") from error
    except InputError as error:
        raise InputError(f"{error}; {advice}") from error
    except (OSError, ValueError, plain_yaml.NotPlainError) as error:
        raise InputError(f"{file} is broken ({' '.join(str(error).split())}); {advice}") from error
    if not all(isinstance(one, dict) for one in found):
        raise InputError(f"{file} is broken: it holds no table of names and values; {advice}")
    return text, found


def read_results(path: Path) -> Row:
    """Return ``results.json`` of a run's folder.

    Raises:
        InputError: it is not there, cannot be read, or holds something else.
    """
    return _read(path / "results.json", lambda text: [parse_json(text)])[1][0]


def _printable(value: Any) -> Any:
    """Return a value read from JSON with nothing in its texts that a page, a figure or a terminal cannot show."""
    if isinstance(value, str):
        return printable(value.replace("\n", " "))
    if isinstance(value, dict):
        return {_printable(name): _printable(each) for name, each in value.items()}
    return [*map(_printable, value)] if isinstance(value, list) else value


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
        raise InputError(
            f"{path} is no run folder (no results.json in it), nor one of a sweep; name the folder of a finished run"
        )
    results = _printable(read_results(path))
    config_text, (config,) = _read(path / "config.yaml", lambda text: [plain_yaml.parse(text, "config.yaml")])
    _, (environment,) = _read(path / "environment.json", lambda text: [parse_json(text)])
    lines, tensors = path / "metrics.jsonl", path / "arrays.safetensors"
    metrics = _read(lines, lambda text: parse_json(f"[{','.join(text.splitlines())}]"))[1] if lines.exists() else []
    arrays = load_tensors(tensors)[0] if tensors.exists() else {}
    return Run(path, results, config_text, config, _printable(environment), _printable(metrics), arrays)


def of_sweep(path: Path) -> tuple[list[Path], int]:
    """Return the folders of a sweep's finished runs, in the order of their names, and the number of unfinished ones.

    They are named after their seeds. A folder that holds a run itself, or nothing of the kind, has none.
    """
    if (path / "config.yaml").exists() or (path / "results.json").exists():
        return [], 0
    found = {file.parent for depth in ("", "*/", "*/*/") for file in path.glob(f"{depth}seed[0-9]*/config.yaml")}
    done = [folder for folder in found if (folder / "results.json").exists()]

    def place(folder: Path) -> list[str | int]:
        return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", str(folder))]

    return sorted(done, key=place), len(found) - len(done)
