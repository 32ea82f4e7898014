"""Recordings of spikes as events: when, and which unit; dense bins are made of a batch only when it is shown.

Axis order, as everywhere: ``N`` recordings, ``T`` time bins, then a recording's units, (U,) or (C,H,W).
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikelore.errors import InputError, check_whole

Late = Literal["drop", "last"]

_CHUNK = 1 << 20
"""Events that are looked at at once."""
_MOST_UNITS = 2**32


@dataclass(frozen=True, eq=False)
class Events:
    """Recordings of spikes, sparse: recording n has the events ``offsets[n]`` to ``offsets[n + 1]``, in order of time.

    Whole numbers of other types are taken where that loses nothing; what is right already is kept, not copied.

    Args:
        times_us: (E,) int32, int64 where they need it, microseconds from its recording's start, ascending within each.
        units: (E,) uint16 or uint32, the flat index of the unit in ``unit_shape``; uint16 where it suffices.
        offsets: (N + 1,) int64, from 0 to E, ascending; equal ones are a recording without an event.
        unit_shape: (U,), or (C,H,W) of a camera with C polarities.

    Raises:
        InputError: arrays that do not fit together, a time that is negative or goes back, a unit that is not there.

    Example:
        >>> from spikelore.data.events import Events
        >>> two = Events(times_us=[0, 1500, 700], units=[2, 0, 1], offsets=[0, 2, 3], unit_shape=(3,))
        >>> two.shape, two.bins(steps=2, bin_us=1000).astype(int).tolist()
        ((2, 3), [[[0, 0, 1], [1, 0, 0]], [[0, 1, 0], [0, 0, 0]]])
    """

    times_us: np.ndarray
    units: np.ndarray
    offsets: np.ndarray
    unit_shape: tuple[int, ...]

    def __post_init__(self) -> None:
        shape = _as_unit_shape(self.unit_shape)
        times = _as_whole(self.times_us, "times_us", np.int32, np.int64)
        small = np.uint16 if math.prod(shape) <= 2**16 else np.uint32
        units = _as_whole(self.units, "units", small, np.uint32)
        offsets = _as_whole(self.offsets, "offsets", np.int64)
        if len(times) != len(units):
            raise InputError(
                f"there are {len(times)} times and {len(units)} units, expected one of each an event; "
                "take both from the same recordings"
            )
        if not len(offsets) or offsets[0] or offsets[-1] != len(times) or (offsets[1:] < offsets[:-1]).any():
            found = f"{offsets[0]} to {offsets[-1]}" if len(offsets) else "empty"
            raise InputError(
                f"offsets are {found}, expected ascending ones from 0 to {len(times)}, the number of events; "
                "give where each recording begins, and the end"
            )
        for name, value in {"times_us": times, "units": units, "offsets": offsets, "unit_shape": shape}.items():
            object.__setattr__(self, name, value)
        self._check_values()

    def _check_values(self) -> None:
        """Refuse units and times that no recording has; looks at a chunk of events at once."""
        count = math.prod(self.unit_shape)
        for first in range(0, len(self.times_us), _CHUNK):
            times = self.times_us[first : first + _CHUNK + 1]  # with the next chunk's first
            units = self.units[first : first + _CHUNK]
            if units.max() >= count:
                at = first + int(np.argmax(units >= count))
                raise InputError(
                    f"recording {self._owner(at)} has a spike of unit {self.units[at]}, expected 0 to {count - 1} for "
                    f"units of shape {self.unit_shape}; give the shape that the recordings have"
                )
            if times.min() < 0:
                at = first + int(np.argmax(times < 0))
                raise InputError(
                    f"recording {self._owner(at)} has a spike at {self.times_us[at]} us, expected 0 or more; "
                    "count from the recording's start"
                )
            back = np.flatnonzero(times[1:] < times[:-1]) + first + 1
            if len(back):
                back = back[~np.isin(back, self.offsets)]
            if len(back):
                at = int(back[0])
                raise InputError(
                    f"times of recording {self._owner(at)} go back, from {self.times_us[at - 1]} to "
                    f"{self.times_us[at]} us, expected ascending ones; sort its events by time"
                )

    def _owner(self, event: int) -> int:
        return int(np.searchsorted(self.offsets, event, side="right")) - 1

    @classmethod
    def of_recordings(cls, recordings: Iterable[tuple[ArrayLike, ArrayLike]], unit_shape: Sequence[int]) -> "Events":
        """Return recordings that are given one by one, each as its times in microseconds and its units.

        Raises:
            InputError: as for the class.

        Example:
            >>> Events.of_recordings([([5, 8], [0, 1]), ([], [])], (2,)).offsets.tolist()
            [0, 2, 2]
        """
        pairs = [(np.asarray(times), np.asarray(units)) for times, units in recordings]
        for n, (times, units) in enumerate(pairs):
            if times.shape != units.shape or times.ndim != 1:
                raise InputError(
                    f"recording {n} has times of shape {times.shape} and units of shape {units.shape}, expected one "
                    "of each an event, (events,); take both from the same recording"
                )
        some = [pair for pair in pairs if len(pair[0])]
        none = np.zeros(0, np.int64)
        return cls(
            np.concatenate([times for times, _ in some] or [none]),
            np.concatenate([units for _, units in some] or [none]),
            np.cumsum([0, *(len(times) for times, _ in pairs)]),
            tuple(unit_shape),
        )

    @classmethod
    def of_bins(cls, bins: NDArray[np.bool_], bin_us: int = 1000) -> "Events":
        """Return dense spikes (N,T,U) or (N,T,C,H,W) bool as events, each at the start of its bin of ``bin_us``.

        ``of_bins(x, w).bins(T, w)`` is ``x``.

        Raises:
            InputError: another shape or type.

        Example:
            >>> import numpy as np
            >>> Events.of_bins(np.eye(3, dtype=bool)[None]).times_us.tolist()
            [0, 1000, 2000]
        """
        check_whole("bin_us", bin_us, 1)
        array = np.asarray(bins)
        if array.dtype != np.bool_ or array.ndim not in (3, 5):
            raise InputError(
                f"bins are {array.dtype} of shape {array.shape}, expected bool of shape (recordings, steps, units) or "
                "(recordings, steps, channels, rows, columns); convert them to that"
            )
        recordings, steps, units = np.nonzero(array.reshape(*array.shape[:2], math.prod(array.shape[2:])))
        counts = np.bincount(recordings, minlength=len(array))
        times = steps * bin_us
        return cls(times, units, np.concatenate([[0], np.cumsum(counts)]), array.shape[2:])

    def __len__(self) -> int:
        return len(self.offsets) - 1

    __iter__ = None

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        raise InputError(
            f"these are {len(self)} recordings of spikes of units {self.unit_shape}, expected an array; make one with "
            "bins, or images with spikelore.coding.event_images"
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, *unit_shape); ``shape[1:]`` is what a network's ``input_shape`` is."""
        return (len(self), *self.unit_shape)

    @property
    def nbytes(self) -> int:
        """Bytes that the three arrays take."""
        return self.times_us.nbytes + self.units.nbytes + self.offsets.nbytes

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(N,), events of each recording."""
        return np.diff(self.offsets)

    @property
    def durations_us(self) -> NDArray[np.int64]:
        """(N,), microseconds from each recording's start to just after its last event; 0 without an event."""
        durations = np.zeros(len(self), np.int64)
        some = self.lengths > 0
        durations[some] = self.times_us[self.offsets[1:][some] - 1].astype(np.int64) + 1
        return durations

    @property
    def duration_us(self) -> int:
        """The longest of ``durations_us``; 0 without a recording."""
        return int(self.durations_us.max(initial=0))

    def __getitem__(self, picked: Any) -> "Events":
        """Return the recordings at indices, in a slice, or where a mask is true; a slice of step 1 copies nothing.

        Raises:
            InputError: there is no such recording, or a number alone.
        """
        if isinstance(picked, slice) and picked.step in (None, 1):
            first, last, _ = picked.indices(len(self))
            offsets = self.offsets[first : max(first, last) + 1]
            inside = slice(offsets[0], offsets[-1])
            return self._same(self.times_us[inside], self.units[inside], offsets - offsets[0])
        if not isinstance(picked, slice) and np.ndim(picked) == 0:
            raise InputError(f"recordings are picked by {picked!r}, expected indices; give [{picked!r}] for one")
        try:
            indices = np.arange(len(self))[
                picked if isinstance(picked, slice) or len(picked) else np.zeros(0, np.int64)
            ]
        except (IndexError, TypeError, ValueError) as error:
            raise InputError(
                f"these recordings of {len(self)} cannot be taken ({error}); give whole numbers below that, or a mask"
            ) from None
        firsts, lasts = self.offsets[:-1][indices].tolist(), self.offsets[1:][indices].tolist()
        parts = [slice(first, last) for first, last in zip(firsts, lasts, strict=True)]
        return self._same(
            np.concatenate([self.times_us[part] for part in parts] or [self.times_us[:0]]),
            np.concatenate([self.units[part] for part in parts] or [self.units[:0]]),
            np.concatenate([[0], np.cumsum(self.lengths[indices])]),
        )

    def _same(self, times_us: np.ndarray, units: np.ndarray, offsets: np.ndarray) -> "Events":
        """Return part of these recordings, which need no check."""
        made = object.__new__(Events)
        values = {"times_us": times_us, "units": units, "offsets": offsets, "unit_shape": self.unit_shape}
        for name, value in values.items():
            object.__setattr__(made, name, value)
        return made

    @staticmethod
    def concatenated(parts: Sequence["Events"]) -> "Events":
        """Return the recordings of all parts, one part after the other.

        Raises:
            InputError: no part, or parts of different units.
        """
        shapes = sorted({one.unit_shape for one in parts})
        if len(shapes) != 1:
            raise InputError(
                f"recordings have units of {len(shapes)} shapes{''.join(f' {one}' for one in shapes)}, expected one; "
                "join recordings of the same sensor"
            )
        if len(parts) == 1:
            return parts[0]
        counts = np.concatenate([one.lengths for one in parts])
        return parts[0]._same(
            np.concatenate([one.times_us for one in parts]),
            np.concatenate([one.units for one in parts]),
            np.concatenate([[0], np.cumsum(counts)]),
        )

    def bins(self, steps: int, bin_us: int, *, late: Late = "drop") -> NDArray[np.bool_]:
        """Return (N,T,*unit_shape) bool: whether a unit has an event in ``[t * bin_us, (t + 1) * bin_us)``.

        Args:
            steps: number of bins, T.
            bin_us: microseconds of each.
            late: what becomes of events after the last bin: ``drop`` them, or count them into the ``last`` one.

        Raises:
            InputError: no bin, a bin of no length, or bins of more than the memory holds.
        """
        found = self._empty(steps, bin_us, late, np.bool_)
        for one, places in zip(found, self._places(steps, bin_us, late), strict=True):
            one.reshape(-1)[places] = True
        return found

    def counts(self, steps: int, bin_us: int, *, late: Late = "drop") -> NDArray[np.uint32]:
        """Return (N,T,*unit_shape) uint32: how many events a unit has in each bin; see `bins`."""
        found = self._empty(steps, bin_us, late, np.uint32)
        for one, places in zip(found, self._places(steps, bin_us, late), strict=True):
            np.add.at(one.reshape(-1), places, np.uint32(1))
        return found

    def _empty(self, steps: int, bin_us: int, late: Late, dtype: type) -> np.ndarray:
        check_whole("steps", steps, 1)
        check_whole("bin_us", bin_us, 1)
        if late not in ("drop", "last"):
            raise InputError(f"late is {late!r}, expected drop or last; choose one")
        try:
            return np.zeros((len(self), steps, *self.unit_shape), dtype)
        except (MemoryError, ValueError):
            raise InputError(
                f"{len(self)} recordings in {steps} bins of units {self.unit_shape} do not fit the memory, expected "
                "fewer; take a part of them at once"
            ) from None

    def _places(self, steps: int, bin_us: int, late: Late) -> Iterator[NDArray[np.intp]]:
        """Yield for each recording the flat place in (T,units) of each event that is in a bin."""
        count, ends = math.prod(self.unit_shape), self.offsets.tolist()
        largest = np.iinfo(self.times_us.dtype).max
        stop = self.times_us.dtype.type(min(steps * bin_us, largest))  # of their type, so that no copy is made of them
        width = self.times_us.dtype.type(bin_us) if bin_us <= largest else np.int64(bin_us)
        for first, last in itertools.pairwise(ends):
            times = self.times_us[first:last]
            kept = len(times) if late == "last" or stop == largest else int(np.searchsorted(times, stop))
            places = (times[:kept] // width).astype(np.intp)
            if late == "last":
                np.minimum(places, steps - 1, out=places)
            places *= count
            places += self.units[first : first + kept]
            yield places


def check_bins(events: Events, steps: int, bin_us: int) -> None:
    """Refuse bins that cannot show a recording's course: each is as long as the longest recording.

    Raises:
        InputError: such bins; or not whole numbers of 1 or more.
    """
    check_whole("steps", steps, 1)
    check_whole("bin_us", bin_us, 1)
    if steps > 1 and 0 < events.duration_us <= bin_us:
        raise InputError(
            f"bins are {bin_us} us long and the longest recording {events.duration_us} us, expected several bins a "
            "recording; make them shorter"
        )


def as_events(values: "Events | ArrayLike", bin_us: int = 1000) -> Events:
    """Return recordings of spikes: `Events` as they are, dense ones (N,T,*units) of bool turned sparse.

    The rule by which datasets take recordings.

    Raises:
        InputError: neither of these.
    """
    return values if isinstance(values, Events) else Events.of_bins(np.asarray(values), bin_us)


def as_bins(values: "Events | ArrayLike", steps: int, bin_us: int, unit_shape: Sequence[int]) -> NDArray[np.bool_]:
    """Return spikes as (N,T,*units) bool, C order: `Events` in bins, dense ones of bool passed as they are.

    The rule by which networks over time take recordings. Dense arrays may have another number of steps than ``steps``.

    Args:
        values: the recordings.
        steps: bins that events are put into; later events are dropped.
        bin_us: microseconds of each.
        unit_shape: the shape that the units must have.

    Raises:
        InputError: other units, another type or shape.
    """
    expected = tuple(unit_shape)
    bins = values.bins(steps, bin_us) if isinstance(values, Events) else np.asarray(values)
    if bins.dtype != np.bool_ or bins.ndim != 2 + len(expected) or bins.shape[2:] != expected:
        raise InputError(
            f"recordings are {bins.dtype} of shape {bins.shape}, expected events, or bool of shape (recordings, steps, "
            f"{', '.join(map(str, expected))}); give recordings of the units that the network was made for"
        )
    return np.ascontiguousarray(bins)


def _as_unit_shape(shape: Any) -> tuple[int, ...]:
    whole = isinstance(shape, Sequence) and not isinstance(shape, str)
    if not whole or len(shape) not in (1, 3) or not all(isinstance(n, int | np.integer) and n > 0 for n in shape):
        raise InputError(
            f"unit_shape is {shape!r}, expected (units,) or (channels, rows, columns), each 1 or more; correct it"
        )
    if (count := math.prod(shape)) > _MOST_UNITS:
        raise InputError(f"unit_shape {tuple(shape)} has {count} units, expected at most {_MOST_UNITS}; correct it")
    return tuple(map(int, shape))


def _as_whole(values: Any, name: str, *types: type[np.integer]) -> np.ndarray:
    """Return whole numbers (M,) in the first of some types that holds them, as they are if they have it."""
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise InputError(
            f"{name} are {array.dtype} of shape {array.shape}, expected whole numbers of shape (events,); "
            "convert them to that"
        )
    if not array.size:
        return np.zeros(0, types[0])
    if array.dtype == types[0]:
        return np.ascontiguousarray(array)
    low, high = int(array.min()), int(array.max())
    for kind in types:
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return np.ascontiguousarray(array, kind)
    raise InputError(
        f"{name} are {low} to {high}, expected {np.iinfo(types[-1]).min} to {np.iinfo(types[-1]).max}; correct them"
    )
