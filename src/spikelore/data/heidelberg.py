"""Recordings in the HDF5 layout of the Spiking Heidelberg Digits and Spiking Speech Commands.

A file has ``spikes/times`` (a ragged array, seconds, floating point), ``spikes/units`` (ragged, whole numbers),
``labels`` (N,), and may have ``extra/keys``, the classes' names, and ``extra/speaker`` or other whole numbers (N,) that
tell who or what a recording is of. Source: Cramer et al. 2020, "The Heidelberg Spiking Data Sets for the Systematic
Evaluation of Spiking Neural Networks", doi 10.1109/TNNLS.2020.3044364.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from spikelore.data.examples import Examples
from spikelore.data.recordings import ANOTHER_COPY, Gathering
from spikelore.errors import InputError
from spikelore.files import open_regular
from spikelore.shapes import as_labels

UNITS = (700,)
"""Shape of the units of the published sets, and of a file whose folder tells no other."""

_LONGEST_S = 100.0
"""A recording that lasts longer is taken to be told in another unit of time."""
_REFERENCE_BYTES = 16
"""What the file needs for each ragged entry, beside its values."""
_LAYOUT = "expected spikes/times, spikes/units and labels as in the Spiking Heidelberg Digits"


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
    with _opened(path) as file:
        times, units = _ragged(path, file, "spikes/times", "f"), _ragged(path, file, "spikes/units", "iu")
        labels = _plain(path, file, "labels", len(times))
        if len(units) != len(times):
            _refuse(path, f"{len(times)} entries in spikes/times and {len(units)} in spikes/units, expected as many")
        size = path.stat().st_size
        if len(times) * 2 * _REFERENCE_BYTES > size:
            _refuse(path, f"{len(times)} recordings in {size} bytes, expected fewer")
        each = sum(_inner(one).itemsize for one in (times, units))
        gathering = Gathering(size // each, unit_shape, path)
        for number in range(len(times)):
            seconds, places = times[number], units[number]
            if seconds.shape != places.shape:
                _refuse(path, f"{len(seconds)} times and {len(places)} units in recording {number}, expected as many")
            gathering.add(_microseconds(path, seconds, number), places, f"recording {number}")
        groups = (
            {
                name: _plain(path, file, f"extra/{name}", len(times))
                for name, one in file["extra"].items()
                if getattr(one, "shape", None) == (len(times),) and one.dtype.kind in "iu"
            }
            if "extra" in file
            else {}
        )
        names = _names(file)
    return Examples(gathering.finished(), labels, groups), names


def count_heidelberg(path: Path) -> int:
    """Return how many recordings a file has; reads nothing of them.

    Raises:
        InputError: no such file.
    """
    with _opened(path) as file:
        return len(_ragged(path, file, "spikes/times", "f"))


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


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a file for reading; whatever the library says of it within becomes one sentence."""
    import h5py  # slow to load, and images need none

    open_regular(path, "an HDF5 file").close()
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except InputError:
        raise
    except MemoryError:
        raise InputError(f"{path} asks for more memory than there is, {_LAYOUT}; {ANOTHER_COPY}") from None
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, OverflowError) as error:
        reason = str(error).strip("'\"").partition("\n")[0]
        raise InputError(f"{path} cannot be read ({reason}), {_LAYOUT}; {ANOTHER_COPY}") from error


def _dataset(path: Path, file: Any, name: str) -> Any:
    """Return a one-dimensional array of the file, nothing of which lies in other files."""
    import h5py

    found = file.get(name)
    if not isinstance(found, h5py.Dataset):
        _refuse(path, f"no {name}")
    if found.ndim != 1 or found.is_virtual or found.external:
        _refuse(path, f"{name} of shape {found.shape}, expected (recordings,) in the file itself")
    return found


def _ragged(path: Path, file: Any, name: str, kinds: str) -> Any:
    """Return a ragged array of floating point or whole numbers."""
    found = _dataset(path, file, name)
    inner = _inner(found)
    if inner is None or inner.kind not in kinds:
        wanted = "ragged floating point numbers, seconds" if kinds == "f" else "ragged whole numbers"
        _refuse(path, f"{name} of type {found.dtype if inner is None else inner}, expected {wanted}")
    return found


def _inner(ragged: Any) -> Any:
    import h5py

    inner = h5py.check_vlen_dtype(ragged.dtype)
    return np.dtype(inner) if inner is not None and inner is not str and inner is not bytes else None


def _plain(path: Path, file: Any, name: str, count: int) -> np.ndarray:
    """Return whole numbers, one a recording."""
    found = _dataset(path, file, name)
    if found.shape != (count,) or found.dtype.kind not in "iu":
        _refuse(
            path, f"{name} of {found.dtype} and shape {found.shape}, expected ({count},) whole numbers, one a recording"
        )
    return as_labels(found[:], what=f"{name} of {path}")


def _names(file: Any) -> dict[int, str]:
    """Return the classes' names by label; none where the file has none that can be read."""
    keys = file.get("extra/keys")
    if getattr(keys, "ndim", 0) != 1 or keys.dtype.kind not in "SO" or len(keys) > 10**4:
        return {}
    texts = [one.decode("utf-8", "replace") if isinstance(one, bytes) else str(one) for one in keys[:]]
    return dict(enumerate(texts))


def _refuse(path: Path, found: str) -> NoReturn:
    raise InputError(f"{path} has {found}, {_LAYOUT}; {ANOTHER_COPY}")
