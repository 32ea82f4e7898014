"""Recordings as files tell them, gathered one after the other into `Events` without a second copy."""

import math
from pathlib import Path
from typing import NoReturn

import numpy as np

from spikelore.data.events import Events
from spikelore.errors import InputError
from spikelore.files import read_json

SENSOR_NAME = "sensor.json"
"""The file beside recordings of one's own that tells their sensor, as in ``{"shape": [2, 34, 34]}``."""
ANOTHER_COPY = "take another copy of the file"

_LONGEST_US = 2**31


class Gathering:
    """Room for events, filled recording by recording.

    Memory is used as far as it is filled: ``most`` may be far above what comes.

    Args:
        most: no more events than this can come, told by the sizes of the files.
        unit_shape: shape of a recording's units.
        where: the file or folder that they come from, for sentences.

    Raises:
        InputError: so many events do not fit the memory.
    """

    def __init__(self, most: int, unit_shape: tuple[int, ...], where: Path) -> None:
        self.unit_shape, self.where, self.count = unit_shape, where, 0
        self._ends = [0]
        try:
            self._times = np.empty(most, np.int32)
            self._units = np.empty(most, np.uint16 if math.prod(unit_shape) <= 2**16 else np.uint32)
        except (MemoryError, ValueError):
            raise InputError(
                f"{where} has room for {most:,} events, which do not fit the memory; give a part of the recordings"
            ) from None

    def add(self, times_us: np.ndarray, units: np.ndarray, what: str) -> None:
        """Add one recording.

        Args:
            times_us: (E,), microseconds from its start, of any type.
            units: (E,), flat indices, of any type of whole numbers.
            what: the words for it in a sentence.

        Raises:
            InputError: a time that is negative, too late, or goes back; a unit that is not there; too many events.
        """
        stop = self.count + len(times_us)
        if stop > len(self._times):
            self._refuse(f"{what} brings more events than the file has bytes for, expected fewer", ANOTHER_COPY)
        if len(times_us):
            inside, count = (units >= 0) & (units < (total := math.prod(self.unit_shape))), len(units)
            if not inside.all():
                wrong = units[int(np.argmin(inside))]
                self._refuse(
                    f"{what} has a spike of unit {wrong}, expected 0 to {total - 1}",
                    f"tell another sensor in {SENSOR_NAME}, as in "
                    '{"shape": ' + str([*self.unit_shape]) + "}, or " + ANOTHER_COPY,
                )
            if not (times_us[0] >= 0 and times_us[-1] < _LONGEST_US):
                wrong = times_us[0] if not times_us[0] >= 0 else times_us[-1]
                self._refuse(f"{what} has a spike at {wrong} us, expected 0 to {_LONGEST_US}", "correct the times")
            back = np.flatnonzero(~(times_us[1:] >= times_us[:-1]))  # so NaN is found too
            if len(back):
                at = int(back[0])
                self._refuse(
                    f"times of {what} go back, from {times_us[at]} to {times_us[at + 1]} us, expected ascending ones",
                    "sort its events by time",
                )
            self._times[self.count : self.count + count] = times_us
            self._units[self.count : self.count + count] = units
        self.count = stop
        self._ends.append(stop)

    def finished(self) -> Events:
        """Return what came; the room that was left over is given back."""
        self._times.resize(self.count, refcheck=False)
        self._units.resize(self.count, refcheck=False)
        return Events(self._times, self._units, np.array(self._ends), self.unit_shape)

    def _refuse(self, found: str, remedy: str) -> NoReturn:
        raise InputError(f"{self.where}: {found}; {remedy}")


def sensor_of(folder: Path, usual: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of the units of recordings in ``folder``: as its ``sensor.json`` tells, else the format's own.

    Raises:
        InputError: the file cannot be read, or tells no such shape.
    """
    path = folder / SENSOR_NAME
    if not path.is_file():
        return usual
    shape = read_json(path, 'the shape of a sensor, as in {"shape": [2, 34, 34]}').get("shape")
    sound = isinstance(shape, list) and len(shape) == len(usual) and all(type(n) is int and n > 0 for n in shape)
    if not isinstance(shape, list) or not sound or math.prod(shape) > 2**24:
        raise InputError(
            f"{path} tells the shape {str(shape)[:80]}, expected {len(usual)} whole numbers as in "
            f"{[*usual]}, of at most {2**24} units; correct it"
        )
    return tuple(shape)
