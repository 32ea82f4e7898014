"""Recordings in the format of DVS Gesture: AEDAT 3.1 files, each cut into gestures by a table of labels.

A file is header lines of text up to ``#!END-HEADER``, then packets: 28 bytes and events, all little-endian. An
event of polarity has 8 bytes: a valid bit, the polarity, row (15 bits) and column (15 bits), then its microseconds.
Beside ``userNN_LIGHT.aedat`` lies ``userNN_LIGHT_labels.csv`` with the columns class (from 1), startTime_usec and
endTime_usec; ``trials_to_train.txt`` and ``trials_to_test.txt`` name the files of each part.
Sources: Amir et al. 2017, "A Low Power, Fully Event-Based Gesture Recognition System", CVPR; iniVation's page on
AEDAT 3.1.
"""

import csv
import os
import re
from pathlib import Path
from typing import BinaryIO

import numpy as np

from spikelore.data.examples import Examples
from spikelore.data.recordings import ANOTHER_COPY, Gathering
from spikelore.errors import InputError
from spikelore.files import open_regular

UNITS = (2, 128, 128)
"""Polarities, rows and columns of the published set, and of a folder that tells no other."""
TRIALS = {"train": "trials_to_train.txt", "test": "trials_to_test.txt"}

_MOST_TEXT = 1 << 20
_HEADER_END = b"#!END-HEADER"
_PACKET = np.dtype([
    ("type", "<i2"), ("source", "<i2"), ("size", "<i4"), ("time_offset", "<i4"), ("overflow", "<i4"),
    ("capacity", "<i4"), ("count", "<i4"), ("valid", "<i4"),
])  # fmt: skip
_POLARITY, _POLARITY_BYTES = 1, 8


def read_gestures(folder: Path, part: str, unit_shape: tuple[int, ...] = UNITS) -> tuple[Examples, dict[int, str]]:
    """Read the gestures of one part, ``train`` or ``test``.

    Times count from a gesture's start; labels are the table's minus 1; the group ``user`` is the number in the file's
    name.

    Args:
        folder: where the files and the lists of the parts are.
        part: which list.
        unit_shape: (2, rows, columns).

    Returns:
        The gestures in the order of the list, and the classes' names by label as ``gesture_mapping.csv`` tells them.

    Raises:
        InputError: a file that is missing, truncated or of another format, a table that cannot be, an event outside the
            sensor, or times that go back.
    """
    trials = count_trials(folder, part)
    paths = [folder / name for name in trials]
    missing = next((one for one in paths if not one.is_file()), None)
    if missing:
        raise InputError(f"{folder / TRIALS[part]} names {missing.name}, which is not there; put it there")
    most = sum(os.stat(one).st_size for one in paths) // _POLARITY_BYTES
    gathering, labels, users = Gathering(most, unit_shape, folder), [], []
    for path in paths:
        times, units = read_aedat(path, unit_shape)
        user = re.match(r"\D*(\d{1,9})", path.name)
        for number, (label, start, stop) in enumerate(_labels(path.with_name(f"{path.stem}_labels.csv"))):
            first, last = np.searchsorted(times, [start, stop])
            gathering.add(times[first:last] - start, units[first:last], f"gesture {number} of {path.name}")
            labels.append(label - 1)
            users.append(int(user[1]) if user else 0)
    if not labels:
        raise InputError(f"{folder} has no gesture for {part}, expected one or more; name files in {TRIALS[part]}")
    return Examples(gathering.finished(), np.array(labels), {"user": np.array(users)}), _names(folder)


def count_trials(folder: Path, part: str) -> list[str]:
    """Return the files that a part's list names.

    Raises:
        InputError: no such list, or it names none.
    """
    names = [line.strip() for line in _text(folder / TRIALS[part]).splitlines() if line.strip()]
    wrong = next((one for one in names if not re.fullmatch(r"[\w.-]{1,100}\.aedat", one)), None)
    if wrong is not None or not names:
        found = f"names {wrong[:80]!r}" if wrong else "names no file"
        raise InputError(f"{folder / TRIALS[part]} {found}, expected files such as user01_led.aedat; correct it")
    return names


def read_aedat(path: Path, unit_shape: tuple[int, ...] = UNITS) -> tuple[np.ndarray, np.ndarray]:
    """Return times in microseconds (E,) int64 and units (E,) of the valid events of polarity of one AEDAT 3.1 file.

    Raises:
        InputError: another format, a truncated file, an event outside the sensor, or times that go back.
    """
    size = os.stat(path).st_size
    times = np.empty(size // _POLARITY_BYTES, np.int64)
    units = np.empty(size // _POLARITY_BYTES, np.uint16 if np.prod(unit_shape) <= 2**16 else np.uint32)
    count, (_, height, width) = 0, unit_shape
    with open_regular(path, "an AEDAT file") as file:
        _skip_header(path, file)
        while header := file.read(_PACKET.itemsize):
            if len(header) < _PACKET.itemsize:
                raise _cut(path, file)
            packet = np.frombuffer(header, _PACKET)[0]
            length = int(packet["size"]) * int(packet["count"])
            if packet["size"] <= 0 or packet["count"] < 0 or length > size - file.tell():
                raise _cut(path, file)
            if packet["type"] != _POLARITY:
                file.seek(length, os.SEEK_CUR)
                continue
            if packet["size"] != _POLARITY_BYTES:
                raise InputError(
                    f"{path} has events of {packet['size']} bytes, expected {_POLARITY_BYTES}; {ANOTHER_COPY}"
                )
            data, stamps = np.frombuffer(file.read(length), "<u4").reshape(-1, 2).T
            valid = (data & 1).astype(bool)
            data, stamps = data[valid], stamps[valid]
            rows, columns = (data >> 2) & 0x7FFF, data >> 17
            outside = (rows >= height) | (columns >= width)
            if outside.any():
                at = int(np.argmax(outside))
                raise InputError(
                    f"{path} has an event at row {rows[at]} and column {columns[at]}, expected a sensor of "
                    f"{height} x {width}; tell another in sensor.json, or {ANOTHER_COPY}"
                )
            stop = count + len(data)
            times[count:stop] = (int(packet["overflow"]) << 31) + (stamps & 0x7FFFFFFF).astype(np.int64)
            units[count:stop] = (((data >> 1) & 1) * height + rows) * width + columns
            count = stop
    times.resize(count, refcheck=False)
    units.resize(count, refcheck=False)
    back = np.flatnonzero(times[1:] < times[:-1])
    if len(back):
        at = int(back[0])
        raise InputError(
            f"times of {path} go back, from {times[at]} to {times[at + 1]} us, expected ascending ones; {ANOTHER_COPY}"
        )
    return times, units


def _skip_header(path: Path, file: BinaryIO) -> None:
    line = file.readline(_MOST_TEXT)
    if not line.startswith(b"#!AER-DAT3.1"):
        raise InputError(f"{path} begins with {line[:12]!r}, expected #!AER-DAT3.1; give an AEDAT 3.1 file")
    while not line.startswith(_HEADER_END):
        line = file.readline(_MOST_TEXT)
        if not line.startswith(b"#"):
            raise InputError(f"{path} has no line #!END-HEADER, expected one after its header; {ANOTHER_COPY}")


def _cut(path: Path, file: BinaryIO) -> InputError:
    return InputError(f"{path} is cut short or broken at byte {file.tell()}, expected whole packets; {ANOTHER_COPY}")


def _labels(path: Path) -> list[tuple[int, int, int]]:
    """Return class, start and end of each gesture."""
    found = []
    for number, row in enumerate(_rows(path), 2):
        try:
            label, start, stop = (int(cell) for cell in row[:3])
        except ValueError:
            label, start, stop = 0, 0, 0
        if not (1 <= label < 10**6 and 0 <= start < stop < 2**62):
            raise InputError(
                f"{path} has {','.join(row)[:80]!r} in line {number}, expected class, startTime_usec and endTime_usec, "
                "the class from 1 and the start before the end; correct it"
            )
        found.append((label, start, stop))
    return found


def _names(folder: Path) -> dict[int, str]:
    """Return the names of ``gesture_mapping.csv`` by label; none where it is not there."""
    path = folder / "gesture_mapping.csv"
    rows = _rows(path) if path.is_file() else []
    return {int(row[1]) - 1: row[0] for row in rows if len(row) > 1 and row[1].isdecimal() and len(row[1]) < 7}


def _rows(path: Path) -> list[list[str]]:
    """Return the cells of a table without its first line."""
    try:
        return list(csv.reader(_text(path).splitlines()))[1:]
    except csv.Error as error:
        raise InputError(f"{path} is no table ({error}), expected lines with commas; correct it") from error


def _text(path: Path) -> str:
    try:
        with open_regular(path, "a table or a list") as file:
            return file.read(_MOST_TEXT).decode("utf-8", "replace")
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror}), expected a table or a list; put it there") from error
