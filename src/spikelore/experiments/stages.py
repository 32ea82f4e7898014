"""The resume machine of all experiments: stages in a row, each of which can be stopped between two steps and go on."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from numpy.typing import NDArray

from spikelore.errors import InputError
from spikelore.experiments.run_folder import RunFolder


class Stage(Protocol):
    """A piece of learning whose end leaves in the run's folder what later stages and measurements need."""

    def state_dict(self) -> tuple[dict[str, NDArray], str]:
        """Return all that decides how the stage goes on: arrays by name, and the rest as JSON."""
        ...

    def load_state_dict(self, arrays: Mapping[str, NDArray], facts: str, /) -> None:
        """Go on from what `state_dict` returned."""
        ...

    def steps(self) -> Iterator[tuple[str, float]]:
        """Go on to the end; yield at each point where the state may be saved.

        Yields:
            what was just done, and how much work it was.
        """
        ...


class Stages:
    """How far a run has come, kept in the ``state`` checkpoint of its folder.

    Attributes:
        done: work that is done, that of an earlier, interrupted run included.
        seconds: time so far, likewise.
    """

    def __init__(self, folder: RunFolder, *, every_s: float = 0.0) -> None:
        """Read the state of a run that was interrupted; without one, begin.

        Args:
            folder: the run's.
            every_s: save when so many seconds have passed since the last time, and at each stage's end.

        Raises:
            InputError: the state is damaged, or of a version without stages.
        """
        self.folder = folder
        self.every_s = every_s
        self.arrays, progress = folder.load_state() or ({}, {})
        if progress and "facts" not in progress:
            raise InputError(
                f"{folder.checkpoint('state')} is of an earlier version of Spikelore, which alone can go on from it; "
                "start another run with a new --out"
            )
        self.number: int = progress.get("stage", 0)
        self.done: float = progress.get("done", 0)
        self.facts: str | None = progress.get("facts")
        self._begun = time.monotonic() - progress.get("seconds", 0.0)

    @property
    def seconds(self) -> float:
        """Time so far."""
        return time.monotonic() - self._begun

    def run(self, stages: Sequence[Callable[[], Stage]], advance: Callable[[str, float], None]) -> None:
        """Go through what is left of the stages.

        Args:
            stages: each makes its stage when it is its turn; finished ones are skipped.
            advance: is told of each step, as `spikelore.progress.Meter.advance`.
        """
        for number in range(self.number, len(stages)):
            self.number, stage = number, stages[number]()
            saved, unsaved = time.monotonic(), False
            if self.facts is not None:
                stage.load_state_dict(self.arrays, self.facts)
                self.arrays, self.facts = {}, None
            for description, work in stage.steps():
                self.done, unsaved = self.done + work, True
                if time.monotonic() - saved >= self.every_s:
                    self._save(stage, self.seconds)
                    saved, unsaved = time.monotonic(), False
                advance(description, work)
            last = number == len(stages) - 1
            if unsaved or last:
                # Time is no part of what a finished run leaves of itself, so that two leave the same.
                self._save(stage, 0.0 if last else self.seconds)

    def _save(self, stage: Stage, seconds: float) -> None:
        arrays, facts = stage.state_dict()
        progress = {"stage": self.number, "done": self.done, "seconds": seconds, "facts": facts}
        self.folder.save_state(arrays, progress)
