"""Recordings in the format of N-MNIST: a file a recording, a folder a class, in folders or in the published archives.

Five bytes an event: column, row, then polarity (the highest bit) and microseconds (23 bits, high byte first).
Source: Orchard et al. 2015, "Converting Static Image Datasets to Spiking Neuromorphic Datasets Using Saccades",
doi 10.3389/fnins.2015.00437.
"""

import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spikelore.data.examples import Examples
from spikelore.data.recordings import ANOTHER_COPY, Gathering
from spikelore.errors import InputError
from spikelore.files import open_regular

UNITS = (2, 34, 34)
"""Polarities, rows and columns of the published set, and of a folder that tells no other."""
EVENT_BYTES = 5
_SACCADE_US = 105_000
_SUFFIX = ".bin"


@dataclass(frozen=True)
class _Member:
    """One recording's file: its name, its class's folder, its bytes' number, and how to read them."""

    name: str
    folder: str
    size: int
    read: Callable[[], bytes]


def read_nmnist(place: Path, unit_shape: tuple[int, ...] = UNITS) -> tuple[Examples, dict[int, str]]:
    """Read the recordings of one part, such as ``Train`` or ``Train.zip``.

    Folders whose names are numbers are those labels; others are numbered in the order of their names.

    Args:
        place: a folder with a folder a class, or an archive of one.
        unit_shape: (2, rows, columns).

    Returns:
        The recordings with their labels, in the order of classes and names; and the classes' names by label.

    Raises:
        InputError: no recording, a truncated or broken file, an event outside the sensor, or times that go back.
    """
    with _members(place) as members:
        folders = sorted({one.folder for one in members})
        numbers = [int(one) for one in folders if one.isdecimal() and one.isascii() and len(one) < 10]
        labels = dict(zip(folders, numbers if len(set(numbers)) == len(folders) else range(len(folders)), strict=True))
        members.sort(key=lambda one: (labels[one.folder], one.name))
        gathering = Gathering(sum(one.size for one in members) // EVENT_BYTES, unit_shape, place)
        for member in members:
            times, units = _events(place, member, unit_shape)
            gathering.add(times, units, f"recording {member.name}")
        found = Examples(gathering.finished(), np.array([labels[one.folder] for one in members]))
    return found, {label: folder for folder, label in labels.items()}


def saccades(times_us: NDArray[np.integer]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how many rows and columns the image has moved from its middle place at each time, (E,) each.

    The camera that looked at the digits moved in three saccades of 105 ms, so that the image goes from (0,0) by (7,3.5)
    and (0,7) back to (0,0), rows and columns, along straight lines; its middle place is (3.5,3.5). Later it stays.

    Args:
        times_us: (E,) since the recording's begin.

    Source: Orchard et al. 2015, as their own program takes the motion off.
    """
    at = np.arange(4) * _SACCADE_US
    row, column = (np.interp(times_us, at, path) - 3.5 for path in ((0.0, 7.0, 0.0, 0.0), (0.0, 3.5, 7.0, 0.0)))
    return row, column


def count_nmnist(place: Path) -> int:
    """Return how many recordings one part has.

    Raises:
        InputError: none, or an archive that cannot be read.
    """
    with _members(place) as members:
        return len(members)


def _events(place: Path, member: _Member, unit_shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return times and units of one recording."""
    content = member.read()
    if len(content) % EVENT_BYTES:
        raise InputError(
            f"{place}: {member.name} is cut short: it has {len(content)} bytes, expected a multiple of {EVENT_BYTES}; "
            f"{ANOTHER_COPY}"
        )
    columns, rows, high, middle, low = np.frombuffer(content, np.uint8).reshape(-1, EVENT_BYTES).T.astype(np.int32)
    _, height, width = unit_shape
    outside = (columns >= width) | (rows >= height)
    if outside.any():
        at = int(np.argmax(outside))
        raise InputError(
            f"{place}: {member.name} has an event at row {rows[at]} and column {columns[at]}, expected a sensor of "
            f"{height} x {width}; tell another in sensor.json, or {ANOTHER_COPY}"
        )
    times = ((high & 127) << 16) | (middle << 8) | low
    return times, ((high >> 7) * height + rows) * width + columns


@contextmanager
def _members(place: Path) -> Iterator[list[_Member]]:
    """Give the recordings of a part as long as its archive is open."""
    if place.is_dir():
        found = _in_folder(place)
        _require(place, found)
        yield found
        return
    try:
        with open_regular(place, "an archive of recordings") as file, zipfile.ZipFile(file) as archive:
            found = [_in_archive(place, archive, info) for info in archive.infolist() if _is_recording(info.filename)]
            _require(place, found)
            yield found
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{place} is a broken archive ({error}), expected a whole one; {ANOTHER_COPY}") from error


def _in_folder(place: Path) -> list[_Member]:
    try:
        files = [one for folder in place.iterdir() if folder.is_dir() for one in folder.iterdir()]
        return [
            _Member(f"{one.parent.name}/{one.name}", one.parent.name, one.stat().st_size, _reader(one))
            for one in files
            if one.suffix == _SUFFIX and one.is_file()
        ]
    except OSError as error:
        raise InputError(f"cannot read {place} ({error.strerror}), expected a folder a class; check it") from error


def _reader(path: Path) -> Callable[[], bytes]:
    def read() -> bytes:
        try:
            with open_regular(path, "a recording") as file:
                return file.read()
        except OSError as error:
            raise InputError(f"cannot read {path} ({error.strerror}), expected a recording; check it") from error

    return read


def _in_archive(place: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    *_, folder, name = info.filename.split("/")
    if info.file_size > 64 * max(info.compress_size, 1):
        raise InputError(
            f"{place}: {info.filename} unpacks to {info.file_size:,} bytes, expected at most 64 times its own; "
            f"{ANOTHER_COPY}"
        )
    return _Member(f"{folder}/{name}", folder, info.file_size, lambda: archive.read(info))


def _is_recording(name: str) -> bool:
    return name.endswith(_SUFFIX) and name.count("/") >= 1 and "__MACOSX" not in name


def _require(place: Path, found: list[_Member]) -> None:
    if not found:
        raise InputError(f"{place} has no recording, expected CLASS/NUMBER{_SUFFIX} in it; put them there")
