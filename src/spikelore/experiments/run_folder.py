"""The run folder: everything a run leaves behind, written so that a crash at any moment loses little.

``config.yaml`` (resolved; reruns the run), ``environment.json``, ``metrics.jsonl`` (appended as it runs),
``checkpoints/*.safetensors``, ``arrays.safetensors`` (what the figures draw), ``results.json``, ``figures/``
and ``report.html``.
"""

import json
import os
import platform
import shutil
from collections.abc import Callable, Mapping
from fnmatch import fnmatch
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from spikelore.errors import InputError, SpikeloreError
from spikelore.files import (
    load_tensors,
    save_tensors,
    write_json_atomic,
    write_text_atomic,
)

_LIBRARIES = ("spikelore", "numpy", "numba", "scipy", "torch")
_STATE = "state"
_CONFIGURATION = ("config.yaml", "environment.json", ".config.yaml.*", ".environment.json.*")
"""Files that say what is to be run, and what a stopped process leaves of writing them."""


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that decide a result."""
    return {"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}}


class RunFolder:
    """One run's files."""

    def __init__(
        self,
        path: Path,
        config: Mapping[str, Any],
        *,
        resume: bool,
        lengthens: Callable[[dict[str, Any], dict[str, Any]], bool] = lambda old, new: False,
    ) -> None:
        """Create the folder, or open it again to go on.

        Args:
            path: the folder.
            config: the resolved configuration, plain values only.
            resume: go on with a run that was interrupted.
            lengthens: whether the run of a saved configuration, plain values, can go on with another, which then takes
                its place.

        Raises:
            InputError: a new run in a folder that already holds one, or a resumed one with another
                configuration.
        """
        self.path = path
        self._replaced: str | None = None
        saved = path / "config.yaml"
        text = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
        if saved.exists():
            if not resume:
                raise InputError(f"{path} already holds a run; pass --resume to go on with it, or another --out")
            old, new = _read(saved), yaml.safe_load(text)
            changed = _difference(old, new)
            if changed and isinstance(old, dict) and lengthens(old, new):
                self._replaced = saved.read_text()
                write_text_atomic(saved, text)
            elif changed:
                raise InputError(
                    f"{path} was run with another configuration ({changed}); resume with the same one, "
                    "or choose another --out"
                )
        else:
            write_text_atomic(saved, text)
            write_json_atomic(
                path / "environment.json",
                {"versions": versions(), "platform": platform.platform(), "cores": os.cpu_count()},
            )

    def withdraw(self) -> None:
        """Remove a folder in which nothing but the configuration was written, so that its name is free again.

        The folders of a run's parts are looked into in the same way. A configuration that was replaced comes back.
        """
        if self._replaced is not None:
            write_text_atomic(self.path / "config.yaml", self._replaced)
            return
        names = {file.name for file in self.path.iterdir() if file.is_dir()}
        files = [file for file in self.path.rglob("*") if not file.is_dir()]
        if names <= {"parts"} and all(_is_configuration(file) for file in files):
            shutil.rmtree(self.path)

    def checkpoint(self, name: str) -> Path:
        """Return the path of a named checkpoint."""
        return self.path / "checkpoints" / f"{name}.safetensors"

    def append_metrics(self, **values: Any) -> None:
        """Append one line to ``metrics.jsonl``."""
        try:
            with (self.path / "metrics.jsonl").open("a") as file:
                file.write(json.dumps(values, allow_nan=False) + "\n")
        except OSError as error:
            raise SpikeloreError(f"could not write {self.path / 'metrics.jsonl'}: {error.strerror}") from error

    def metrics(self) -> list[dict[str, Any]]:
        """Return all lines of ``metrics.jsonl``."""
        file = self.path / "metrics.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def save_state(self, arrays: Mapping[str, np.ndarray], progress: Mapping[str, Any]) -> None:
        """Remember how far the run has come: ``arrays``, ``progress`` and the lines of metrics so far."""
        text = json.dumps({**progress, "lines": len(self.metrics())})
        save_tensors(self.checkpoint(_STATE), arrays, {"progress": text})

    def load_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """Return what `save_state` remembered last, or None; metrics written after it are dropped."""
        if not self.checkpoint(_STATE).exists():
            write_text_atomic(self.path / "metrics.jsonl", "")
            return None
        arrays, metadata = load_tensors(self.checkpoint(_STATE))
        progress = json.loads(metadata["progress"])
        lines = progress.pop("lines")
        metrics = self.path / "metrics.jsonl"
        if lines and not metrics.exists():
            raise InputError(f"{metrics} is gone; the run cannot go on without it, start another with a new --out")
        kept = metrics.read_text().splitlines(keepends=True)[:lines] if lines else []
        write_text_atomic(self.path / "metrics.jsonl", "".join(kept))
        return arrays, progress

    def write_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep the arrays that the figures draw."""
        save_tensors(self.path / "arrays.safetensors", arrays, {})

    def write_results(self, results: Mapping[str, Any]) -> None:
        """Write ``results.json``."""
        write_json_atomic(self.path / "results.json", results)


def _is_configuration(file: Path) -> bool:
    if file.name == "metrics.jsonl":
        return not file.stat().st_size
    return any(fnmatch(file.name, pattern) for pattern in _CONFIGURATION)


def _read(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} cannot be read ({reason}); restore it, or choose another --out") from error


_ABSENT = object()


def _difference(old: Any, new: Any, name: str = "") -> str:
    """Return the first value that differs, by its key, or nothing."""
    if isinstance(old, dict) and isinstance(new, dict):
        pairs = [(f".{key}", old.get(key, _ABSENT), new.get(key, _ABSENT)) for key in {**old, **new}]
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = [(f"[{n}]", *pair) for n, pair in enumerate(zip(old, new, strict=True))]
    elif old == new:
        return ""
    else:
        was, now = ("not there" if value is _ABSENT else repr(value) for value in (old, new))
        return f"{name.removeprefix('.') or 'it'} was {was}, now {now}"
    return next(filter(None, (_difference(a, b, name + key) for key, a, b in pairs)), "")
