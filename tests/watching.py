"""Work that is watched by the images that are learned, and what it leaves."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas
import pytest

from spikelore.continual.run import ContinualRun
from spikelore.experiments import continual_run
from spikelore.progress import Meter


@contextmanager
def watched(tick: Callable[[float, int], None] | None) -> Iterator[None]:
    """While the block runs, call ``tick`` with the images done and all there are; it may raise."""

    @contextmanager
    def shown(total: int, done: float, description: str) -> Iterator[Meter]:
        meter = Meter(description, total, done)
        meter.tell = lambda _: tick(meter.done, total) if tick else None
        meter.advance(description, 0)
        yield meter

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(continual_run, "shown", shown)
        yield


def stop_in(task: int, batch: int, run: Callable[[], Any]) -> None:
    """Let a run save after each batch and stop at one of a task."""
    learn = ContinualRun._learn

    def interrupted(self: ContinualRun, number: int) -> Iterator[Any]:
        for count, one in enumerate(learn(self, number)):
            if number == task and count == batch:
                raise KeyboardInterrupt
            yield one

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(continual_run, "_SAVE_SECONDS", 0.0)
        patch.setattr(ContinualRun, "_learn", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run()


def left(folder: Path) -> dict[str, bytes]:
    """Return what a run left by its path in the folder, without its measured seconds."""
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    return {file.relative_to(folder).as_posix(): _without_seconds(file) for file in files}


def _without_seconds(file: Path) -> bytes:
    if file.suffix == ".parquet":
        return pandas.read_parquet(file).drop(columns="seconds", errors="ignore").to_json().encode()
    if file.suffix == ".json":
        return json.dumps(_less(json.loads(file.read_bytes()))).encode()
    shown = rb"(\d+ (s|min|h)\b ?)+" if file.name == "report.html" else rb'"seconds": [0-9.]+'
    return re.sub(shown, b"", file.read_bytes())


def _less(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _less(each) for name, each in value.items() if name != "seconds"}
    return [_less(each) for each in value] if isinstance(value, list) else value
