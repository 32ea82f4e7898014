"""Recordings in the HDF5 layout of the Spiking Heidelberg Digits and Spiking Speech Commands.

A file has ``spikes/times`` (a ragged array, seconds, floating point), ``spikes/units`` (ragged, whole numbers),
``labels`` (N,), and may have ``extra/keys``, the classes' names, and ``extra/speaker`` or other whole numbers (N,) that
tell who or what a recording is of. Source: Cramer et al. 2020, "The Heidelberg Spiking Data Sets for the Systematic
Evaluation of Spiking Neural Networks", doi 10.1109/TNNLS.2020.3044364.
"""

from pathlib import Path

import numpy as np

from spikelore.data.examples import Examples
from spikelore.data.hdf5 import Hdf5, opened
from spikelore.data.recordings import Gathering
from spikelore.errors import InputError
from spikelore.shapes import as_labels

UNITS = (700,)
"""Shape of the units of the published sets, and of a file whose folder tells no other."""

_LONGEST_S = 100.0
"""A recording that lasts longer is taken to be told in another unit of time."""
_LAYOUT = "expected spikes/times, spikes/units and labels as in the Spiking Heidelberg Digits"
_MOST_NAMES = 10_000


def read_heidelberg(path: Path, unit_shape: tuple[int, ...] = UNITS) -> tuple[Examples, dict[int, str]]:
    """Read one file; times are rounded to microseconds.

    Recordings are read one by one into their place: memory stays at 6 bytes an event.

    Args:
        path: the file.
        unit_shape: (units,).

    Returns:
        The recordings with their labels and groups, and the classes' names by label, as far as told.

    Raises:
        InputError: no HDF5 file, another layout, a broken or truncated one, ragged arrays that do not fit together,
            times in another unit, that are negative or go back, or a unit that is not there.
    """
    with opened(path, _LAYOUT) as file:
        times, units = file.ragged("spikes/times", "f"), file.ragged("spikes/units", "iu")
        if len(units) != len(times):
            file.refuse(f"{len(times)} entries in spikes/times and {len(units)} in spikes/units, expected as many")
        labels = file.whole_numbers("labels", len(times))
        uneven = np.flatnonzero(times.lengths != units.lengths)
        if len(uneven):
            n = int(uneven[0])
            file.refuse(f"{times.lengths[n]} times and {units.lengths[n]} units in recording {n}, expected as many")
        gathering = Gathering(int(times.lengths.sum()), unit_shape, path)
        for number in range(len(times)):
            seconds, places = times[number], units[number]
            if seconds.shape != places.shape:
                file.refuse(f"{len(seconds)} times and {len(places)} units in recording {number}, expected as many")
            gathering.add(_microseconds(path, seconds, number), places, f"recording {number}")
        groups = {name: file.whole_numbers(f"extra/{name}", len(times)) for name in _group_names(file, len(times))}
        names = _class_names(file)
    groups = {name: as_labels(each, what=f"{path}: {name} numbers") for name, each in groups.items()}
    return Examples(gathering.finished(), as_labels(labels, what=f"{path}: labels"), groups), names


def count_heidelberg(path: Path) -> int:
    """Return how many recordings a file has; reads nothing of them.

    Raises:
        InputError: no such file.
    """
    with opened(path, _LAYOUT) as file:
        return len(file.array("spikes/times"))


def _microseconds(path: Path, seconds: np.ndarray, number: int) -> np.ndarray:
    """Return times rounded to whole microseconds, as float64."""
    times = seconds.astype(np.float64)
    longest = times[-1] if len(times) else 0.0
    if longest > _LONGEST_S:
        unit, factor = ("milliseconds", "1e3") if longest < 1e3 * _LONGEST_S else ("microseconds", "1e6")
        raise InputError(
            f"{path}: recording {number} has a spike at {longest:g} s, expected at most {_LONGEST_S:g} s; the times "
            f"look like {unit}: divide them by {factor}"
        )
    times *= 1e6
    return np.rint(times, out=times)


def _group_names(file: Hdf5, count: int) -> list[str]:
    """Return the names in ``extra`` of whole numbers, one a recording."""
    extra = file.root.get("extra")
    if not hasattr(extra, "items"):
        return []
    return [
        name
        for name, one in extra.items()
        if getattr(one, "shape", None) == (count,) and getattr(getattr(one, "dtype", None), "kind", "") in ("i", "u")
    ]


def _class_names(file: Hdf5) -> dict[int, str]:
    """Return the classes' names by label; none where the file has none that can be read."""
    keys = file.root.get("extra/keys")
    texts = getattr(getattr(keys, "dtype", None), "kind", "") == "S"
    if (
        not texts
        or getattr(keys, "ndim", 0) != 1
        or len(keys) * keys.dtype.itemsize > file.size
        or len(keys) > _MOST_NAMES
    ):
        return {}
    return {label: name.decode("utf-8", "replace") for label, name in enumerate(file.array("extra/keys")[:])}
