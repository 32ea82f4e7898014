"""How far a long piece of work is: a bar on a terminal, a line on stderr now and then elsewhere.

The lines, as for a cluster's log or a notebook: time of day, what is done, its share, time so far and time left. The
first comes within seconds, the following ones at growing intervals, a few dozen in an hour. With the environment
variable ``SPIKELORE_QUIET`` set to anything but ``0`` there is neither bar nor line.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_LOOK_SECONDS = 0.25
_FIRST_SECONDS, _FIRST_WITHOUT_WORK_SECONDS = 2.0, 6.0
_LEAST_SECONDS, _MOST_SECONDS, _GROWTH = 10.0, 300.0, 0.1

COLUMNS: tuple[ProgressColumn, ...] = (
    TextColumn("{task.description:<28}"),
    BarColumn(),
    TextColumn("{task.percentage:>3.0f}%"),
    TimeElapsedColumn(),
    TextColumn("left"),
    TimeRemainingColumn(elapsed_when_finished=False),
)
"""What a bar shows."""


class Meter:
    """What is done of a piece of work.

    Attributes:
        description: what was done last.
        done: units of work done.
        total: units in all; None while unknown.
        bar: where it shows, if on a terminal.
        tell: is told the share that is done, if the work is a part of other work, which alone shows how far it is.
    """

    def __init__(self, description: str, total: float | None, done: float) -> None:
        self.description = description
        self.total = total
        self.done = done
        self.bar: Progress | None = None
        self.tell: Callable[[float], None] | None = None
        self._begun = time.monotonic()
        self._told = self._begun, done

    def advance(self, description: str, units: float) -> None:
        """Say what was just done and how many units of work that was."""
        self.reach(description, self.done + units)

    def reach(self, description: str, done: float) -> None:
        """Say what was just done and how many units of work are done in all."""
        self.description, self.done = description, done
        if self.bar is not None:
            self.bar.update(self.bar.task_ids[0], description=description, completed=self.done, total=self.total)
        if self.tell is not None and self.total:
            self.tell(min(self.done / self.total, 1.0))

    def moved(self) -> bool:
        """Return whether work was done since the last line."""
        return self.done > self._told[1]

    def line(self) -> str:
        """Return where the work stands, in words; the time left is by the pace since the last line."""
        now = time.monotonic()
        (before, earlier), self._told = self._told, (now, self.done)
        words = [f"{_clock(now - self._begun)} so far"]
        if self.total:
            words.insert(0, f"{min(self.done / self.total, 1):.0%} done")
            if self.done - earlier > self.total * _TELLS:
                left = max(self.total - self.done, 0) * (now - before) / (self.done - earlier)
                words.append(f"about {_clock(left)} left")
        return f"{time.strftime('%H:%M:%S')}  {self.description}: {', '.join(words)}"


_TELLS = 1e-6
"""Share of the work that must be done to tell how long the rest takes: less means that it has begun."""


def _clock(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


_listener: Callable[[float], None] | None = None
"""Who is told of the work of this process, in place of a bar or lines."""


@contextmanager
def told_to(listener: Callable[[float], None]) -> Iterator[None]:
    """While the block runs, tell ``listener`` what share of the work in it is done, and show nothing."""
    global _listener
    before, _listener = _listener, listener
    try:
        yield
    finally:
        _listener = before


@contextmanager
def shown(
    total: float | None, done: float = 0, description: str = "starting", columns: tuple[ProgressColumn, ...] = COLUMNS
) -> Iterator[Meter]:
    """Show on stderr how far the work of the block is.

    Args:
        total: units of work in all; None while unknown, to be set on the meter.
        done: units that an earlier, interrupted run has done.
        description: what is done first.
        columns: of the bar.
    """
    meter = Meter(description, total, done)
    if _listener is not None:
        meter.tell = _listener
        yield meter
    elif os.environ.get("SPIKELORE_QUIET", "0") not in ("", "0"):
        yield meter
    elif sys.stderr.isatty():
        with Progress(*columns, console=Console(stderr=True)) as meter.bar:
            meter.bar.add_task(description, total=total)
            meter.reach(description, done)
            yield meter
    else:
        ended = Event()
        writer = Thread(target=_write_lines, args=(meter, ended), daemon=True)
        writer.start()
        try:
            yield meter
        finally:
            ended.set()
            writer.join()


def _write_lines(meter: Meter, ended: Event) -> None:
    begun, due = time.monotonic(), 0.0
    while not ended.wait(_LOOK_SECONDS):
        now = time.monotonic() - begun
        if now < (due or (_FIRST_SECONDS if meter.moved() else _FIRST_WITHOUT_WORK_SECONDS)):
            continue
        try:
            print(meter.line(), file=sys.stderr, flush=True)
        except (OSError, ValueError):  # nobody reads any more
            return
        due = now + min(max(_LEAST_SECONDS, _GROWTH * now), _MOST_SECONDS)
