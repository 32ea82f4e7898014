"""The run folder: everything a run leaves behind, written so that a crash at any moment loses little.

``config.yaml`` (resolved; reruns the run), ``environment.json``, ``metrics.jsonl`` (appended as it runs),
``checkpoints/*.safetensors``, ``arrays.safetensors`` (what the figures draw), ``results.json``, ``table.parquet``
(its rows), ``figures/``, ``tables/`` and ``report.html``. While it is written to, ``.lock`` says by whom.

On one machine the same configuration gives the same bytes, but for the measured ``seconds`` in ``results.json``, in
``table.parquet``, in ``checkpoints/state.safetensors`` and in the page, and what ``environment.json`` says of versions
and the machine.
"""

import json
import os
import platform
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from fnmatch import fnmatch
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

import spikelore
from spikelore import plain_yaml
from spikelore.errors import InputError, SpikeloreError, check_whole, shortened
from spikelore.experiments.execution import Loggers
from spikelore.files import (
    append_text,
    load_tensors,
    parse_json,
    refuse_link,
    remove,
    save_tensors,
    write_json_atomic,
    write_text_atomic,
)
from spikelore.folders import LOCK, Writer

_LIBRARIES = ("numpy", "numba", "scipy", "torch")
_STATE = "state"
_FIRST = ("config.yaml", "environment.json", "metrics.jsonl", LOCK)
"""Files that a run writes before anything is done; the metrics are empty then."""
_DONE = ("checkpoints", "arrays.safetensors", "results.json")
"""What a run writes when something is done."""


_OF_OTHER_FILES = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What values of other types, sizes or names than expected lead to."""


def _other_files(path: Path, error: BaseException) -> InputError:
    told = shortened(f"{type(error).__name__}: {error}")
    return InputError(
        f"{path} cannot be gone on from ({told}), expected files as a run leaves them; restore them, or start another "
        "run with a new --out; if nobody changed them, report what the same command prints with --debug"
    )


@contextmanager
def read_as_left(path: Path) -> Iterator[None]:
    """Say of what goes wrong within that the files of a run are other than it left them.

    Raises:
        InputError: something went wrong that nobody foresaw.
    """
    try:
        yield
    except InputError:
        raise
    except _OF_OTHER_FILES as error:
        raise _other_files(path, error) from error


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that decide a result."""
    libraries = {name: version(name) for name in _LIBRARIES}
    return {"python": platform.python_version(), "spikelore": spikelore.__version__, **libraries}


class RunFolder:
    """One run's files; no other process writes to them until `close` or the end of this one."""

    def __init__(
        self,
        path: Path,
        config: Mapping[str, Any],
        *,
        resume: bool,
        lengthens: Callable[[dict[str, Any], dict[str, Any]], bool] = lambda old, new: False,
        loggers: Sequence[str] = (),
    ) -> None:
        """Create the folder, or open it again to go on.

        Args:
            path: the folder; one that is there may hold other files, which are left alone.
            config: the resolved configuration, plain values only.
            resume: go on with a run that was interrupted.
            lengthens: whether the run of a saved configuration, plain values, can go on with another, which then takes
                its place.
            loggers: that are told the metrics, too; see `spikelore.experiments.execution`.

        Raises:
            InputError: a new run in a folder that already holds one, a resumed one with another configuration, or
                another process is writing to the folder.
            SpikeloreError: the folder cannot be written to.
        """
        self.path = path
        self._before: set[str] | None = None
        self._replaced: str | None = None
        self._loggers = Loggers(loggers, path, config)
        self._is_old = False
        self._writer = Writer(path)
        try:
            self._open(config, resume, lengthens)
        except BaseException:
            self.withdraw()
            raise

    def __enter__(self) -> Self:
        """Return the folder itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close it; bad input first takes back what was written, if nothing was done yet.

        Raises:
            InputError: the run was there before, and what was read of it led to an error that nobody foresaw.
        """
        try:
            with self.guarded():
                if error is not None:
                    raise error
        except BaseException as told:
            if told is not error:
                raise
        finally:
            self.close()

    def _open(
        self, config: Mapping[str, Any], resume: bool, lengthens: Callable[[dict[str, Any], dict[str, Any]], bool]
    ) -> None:
        try:
            self._before = {*os.listdir(self.path)} - {LOCK}
        except OSError as error:
            raise InputError(f"cannot read {self.path}: {error.strerror}; choose another --out") from error
        parts = self.path / "parts"
        for folder in (self.path / "checkpoints", parts, *(parts.iterdir() if parts.is_dir() else ())):
            refuse_link(folder)
        _remove_halves(self.path)
        saved, text = self.path / "config.yaml", plain_yaml.dump(dict(config))
        if saved.exists():
            self._is_old = True
            if not resume:
                raise InputError(f"{self.path} already holds a run; pass --resume to go on with it, or another --out")
            if refuse_another(self.path, config, lengthens):
                self._replaced = saved.read_text(encoding="utf-8")
                write_text_atomic(saved, text)
        else:
            write_text_atomic(saved, text)
            write_json_atomic(
                self.path / "environment.json",
                {"versions": versions(), "platform": platform.platform(), "cores": os.cpu_count()},
            )

    def close(self) -> None:
        """Let other processes write to the folder; see `spikelore.folders.Writer`."""
        self._loggers.close()
        self._writer.close()

    def withdraw(self) -> None:
        """Take back what was written while nothing but the configuration was, and close.

        Only files that were not there before go, and only a folder that this made. The folders of a run's parts are
        looked into in the same way. What cannot be deleted stays. A configuration that was replaced comes back.
        """
        with suppress(OSError, SpikeloreError):
            new = {*os.listdir(self.path)} - self._before if self._before is not None else set()
            parts = self.path / "parts"
            within = [file for file in parts.rglob("*") if not file.is_dir()] if "parts" in new else []
            first = [self.path / name for name in _FIRST if name in new]
            if new.isdisjoint(_DONE) and all(map(_is_first, [*first, *within])):
                for file in [*first, *within]:
                    file.unlink()
                for folder, _, _ in os.walk(parts, topdown=False) if "parts" in new else ():
                    os.rmdir(folder)
        if self._replaced is not None:
            with suppress(SpikeloreError):
                write_text_atomic(self.path / "config.yaml", self._replaced)
        self.close()

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Bad input in the block first takes back what was written, if nothing was done yet.

        Raises:
            InputError: the run was there before, and what was read of it led to an error that nobody foresaw.
        """
        with read_as_left(self.path) if self._is_old else nullcontext():
            try:
                yield
            except InputError:
                self.withdraw()
                raise

    def checkpoint(self, name: str) -> Path:
        """Return the path of a named checkpoint."""
        return self.path / "checkpoints" / f"{name}.safetensors"

    def append_metrics(self, **values: Any) -> None:
        """Append one line to ``metrics.jsonl``."""
        self._refuse_removed()
        append_text(self.path / "metrics.jsonl", json.dumps(values, allow_nan=False) + "\n")
        self._loggers.write(values)

    def _refuse_removed(self) -> None:
        """Stop rather than write half a run into a folder made anew."""
        if self._writer.removed("config.yaml"):
            raise SpikeloreError(f"{self.path} has been removed while the run was going on; start the run again")

    def metrics(self) -> list[dict[str, Any]]:
        """Return all lines of ``metrics.jsonl``."""
        return read_metrics(self.path) if (self.path / "metrics.jsonl").exists() else []

    def save_state(self, arrays: Mapping[str, np.ndarray], progress: Mapping[str, Any]) -> None:
        """Remember how far the run has come: ``arrays``, ``progress`` and the lines of metrics so far."""
        self._refuse_removed()
        text = json.dumps({**progress, "lines": len(self.metrics())})
        save_tensors(self.checkpoint(_STATE), arrays, {"progress": text})
        self._replaced = None  # the state is of the new configuration

    def load_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """Return what `save_state` remembered last, or None; metrics written after it are dropped."""
        if not self.checkpoint(_STATE).exists():
            write_text_atomic(self.path / "metrics.jsonl", "")
            return None
        arrays, metadata = load_tensors(self.checkpoint(_STATE))
        try:
            progress = parse_json(metadata["progress"])
            lines = progress.pop("lines")
            check_whole("lines", lines)
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise InputError(
                f"{self.checkpoint(_STATE)} holds no state of a run; restore it, or start another run with a new --out"
            ) from error
        metrics = self.path / "metrics.jsonl"
        if lines and not metrics.exists():
            raise InputError(f"{metrics} is gone; the run cannot go on without it, start another with a new --out")
        kept = metrics.read_text(encoding="utf-8").splitlines(keepends=True)[:lines] if lines else []
        write_text_atomic(self.path / "metrics.jsonl", "".join(kept))
        return arrays, progress

    def drop_state(self) -> None:
        """Delete what `save_state` remembered, when the run has come to its end."""
        remove(self.checkpoint(_STATE))

    def write_metrics(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Write ``metrics.jsonl`` anew."""
        text = "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines)
        write_text_atomic(self.path / "metrics.jsonl", text)

    def write_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep the arrays that the figures draw."""
        self._refuse_removed()
        save_tensors(self.path / "arrays.safetensors", arrays, {})

    def write_results(self, results: Mapping[str, Any]) -> None:
        """Write ``results.json``."""
        self._refuse_removed()
        write_json_atomic(self.path / "results.json", results)


def refuse_another(
    path: Path,
    config: Mapping[str, Any],
    lengthens: Callable[[dict[str, Any], dict[str, Any]], bool] = lambda old, new: False,
) -> bool:
    """Refuse to go on with a run of another configuration than this one, unless it lengthens that one.

    Args:
        path: the run's folder.
        config: resolved and plain.
        lengthens: see `RunFolder`.

    Returns:
        Whether it differs, and lengthens the other.

    Raises:
        InputError: ``config.yaml`` in the folder differs otherwise; the message has the first value that does.
    """
    saved = path / "config.yaml"
    old, new = _read(saved), plain_yaml.parse(plain_yaml.dump(dict(config)), str(saved))
    if not isinstance(old, dict):
        raise InputError(f"{saved} holds no configuration; restore it, or choose another --out")
    for one in (old, new):
        one.pop("execution", None)  # decides nothing
    changed = _difference(old, new)
    if not changed:
        return False
    if lengthens(old, new):
        return True
    raise InputError(
        f"{path} was run with another configuration ({changed}); resume with the same one, or choose another --out"
    )


def _remove_halves(path: Path) -> None:
    """Delete what a killed process left of writing a file; see `spikelore.files.write_bytes_atomic`."""
    for folder in (path, path / "checkpoints"):
        for file in folder.glob(".*.????????"):
            if re.fullmatch(r"\.[\w.-]+\.[0-9a-f]{8}", file.name) and file.is_file():
                remove(file)


def _is_first(file: Path) -> bool:
    """Return whether a file says only what is to be run, or is what a stopped process leaves of writing that."""
    if file.name == "metrics.jsonl":
        return not file.stat().st_size
    return file.name in _FIRST or any(fnmatch(file.name, f".{name}.*") for name in _FIRST)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return all lines of a folder's ``metrics.jsonl``."""
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def _read(path: Path) -> Any:
    try:
        return plain_yaml.read(path)
    except InputError as error:
        reason = str(error).replace(f"{path}", path.name)
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
