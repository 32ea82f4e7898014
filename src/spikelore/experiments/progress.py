"""A progress bar on a terminal, nothing elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Advance = Callable[[str, int], None]
"""Called with what was just done and how many units of work it was."""


@contextmanager
def progress_bar(total: int, done: int = 0) -> Iterator[Advance]:
    """Show a bar with time left on stderr while the block runs, if stderr is a terminal.

    Args:
        total: units of work in all.
        done: units that an earlier, interrupted run has done.
    """
    if not sys.stderr.isatty():
        yield lambda description, units: None
        return
    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=False),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("starting", total=total, completed=done)

        def advance(description: str, units: int) -> None:
            progress.update(task, description=description, advance=units)

        yield advance
