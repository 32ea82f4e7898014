"""Recordings of spikes to grey images, so that networks of images take them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spikelore.data.events import Events
from spikelore.data.examples import Dataset
from spikelore.data.nmnist import saccades
from spikelore.errors import InputError, check_fields, check_whole
from spikelore.shapes import Images

_FULL_QUANTILE = 0.99
"""Share of a recording's pixels with events that are at most as bright as 255."""
_SHORTEST_MS, _LONGEST_MS = 0.001, 1e6


@dataclass(frozen=True)
class EventImages:
    """How a recording becomes an image.

    ``counts``: a pixel is ``255 min(1, n / full)``, n its events and ``full`` the 99 % quantile of n over the pixels of
    that recording that have any. ``time surface``: ``255 exp(-(t_end - t_last) / tau)``, t_last the time of the pixel's
    last event and t_end that of the recording's, 0 without one (Lagorce et al. 2017, HOTS, doi
    10.1109/TPAMI.2016.2574707, their surface at the end, without their features). Rounded to whole grey levels.

    A camera's image has the camera's rows and columns. Of channels, such as a cochlea's, it has a row a channel and a
    column a bin: the counts of each bin, or the surface at each bin's end. ``contrast``, of channels alone, shows where
    a channel is louder than it is in the mean of the bins that have any event, so that neither a voice's timbre nor a
    microphone matters: ``max(0, l - mean l)`` in place of n, ``l = log(1 + n bin_ms / length)`` with the length that a
    bin has, another one with ``whole`` (as the mean over time is taken off cepstra, Atal 1974, doi 10.1121/1.1914702).

    Attributes:
        coding: one of these, or ``none``: recordings stay what they are.
        tau_ms: decay of a time surface.
        polarity: events of which polarity count, the first (``off``), the second (``on``) or ``both`` as one.
        steady: whether the motion of N-MNIST's camera is taken off (`spikelore.data.nmnist.saccades`); what leaves the
            image then is left out.
        crop: a camera's pixels that are left out at each border; the channels that are left out at either end.
        pool: side of the square blocks of pixels that are one pixel of the image; how many channels are one row.
        columns: bins of a recording of channels; what comes after the last one is left out.
        bin_ms: length of such a bin.
        whole: whether the bins divide each recording from its first to its last event in place of having one length, so
            that a word looks alike whether it is spoken soon or late, quickly or slowly.
    """

    coding: Literal["none", "counts", "contrast", "time surface"] = "counts"
    tau_ms: float = 50.0
    polarity: Literal["both", "off", "on"] = "both"
    steady: bool = False
    crop: int = 0
    pool: int = 1
    columns: int = 28
    bin_ms: float = 20.0
    whole: bool = False

    def __post_init__(self) -> None:
        check_fields(self, "events_as.")
        check_whole("events_as.crop", self.crop)
        check_whole("events_as.pool", self.pool, 1)
        check_whole("events_as.columns", self.columns, 1)
        for name, usual in {"tau_ms": 50, "bin_ms": 20}.items():
            if not _SHORTEST_MS <= getattr(self, name) <= _LONGEST_MS:
                raise InputError(
                    f"events_as.{name} is {getattr(self, name)}, expected {_SHORTEST_MS} to {_LONGEST_MS:g}; "
                    f"{usual} is usual"
                )

    @property
    def bin_us(self) -> int:
        """Length of a bin in microseconds."""
        return round(1000 * self.bin_ms)


def image_dataset(dataset: Dataset, config: EventImages) -> Dataset:
    """Return a dataset whose recordings are images; one of images, or with the coding ``none``, as it is.

    Raises:
        InputError: the recordings cannot be cropped or pooled so.
    """
    if config.coding == "none" or not isinstance(dataset.train.inputs, Events):
        return dataset
    train, test, validation = (
        part and part.changed(inputs=event_images(part.inputs, config))
        for part in (dataset.train, dataset.test, dataset.validation)
    )
    assert train is not None
    assert test is not None
    return replace(dataset, train=train, test=test, validation=validation)


def event_images(events: Events, config: EventImages) -> Images:
    """Return recordings as images, uint8: (N, (H - 2 crop) / pool, (W - 2 crop) / pool), or (N, rows, columns).

    Args:
        events: recordings with units (C,H,W) of a camera, or (C,) of channels.
        config: how.

    Raises:
        InputError: a coding that such recordings cannot have, or an image that cannot be cropped or pooled so.

    Example:
        >>> from spikelore.coding.event_images import EventImages, event_images
        >>> from spikelore.data import Events
        >>> one = Events([0, 50_000, 100_000], [0, 1, 5], [0, 3], (2, 2, 2))
        >>> event_images(one, EventImages("counts")).tolist()
        [[[128, 255], [0, 0]]]
        >>> event_images(one, EventImages("time surface")).tolist()
        [[[35, 255], [0, 0]]]
        >>> two = Events([0, 50_000, 51_000], [0, 1, 1], [0, 3], (2,))
        >>> event_images(two, EventImages("counts", columns=3, bin_ms=30.0)).tolist()
        [[[128, 0, 0], [0, 255, 0]]]
    """
    height, width = _size(events, config)
    images = np.zeros((len(events), height, width), np.uint8)
    for image, (times, pixels, bins) in zip(images, _kept(events, config, width), strict=True):
        if not len(times):
            continue
        if config.coding == "time surface":
            last = np.full(height * width, -np.inf)
            last[pixels] = times  # of several at one place the last one is assigned last: times ascend
            last = last.reshape(height, width)
            ends = times[-1] if bins is None else bins[0] + bins[1] * (1 + np.arange(width))
            ago = ends - (last if bins is None else np.maximum.accumulate(last, axis=1))
            values = np.exp(-ago / (1000 * config.tau_ms))
        else:
            counts = np.bincount(pixels, minlength=height * width).reshape(height, width)
            seen = counts if bins is None or config.coding == "counts" else _contrast(counts, config.bin_us / bins[1])
            above = seen[seen > 0]
            values = np.minimum(seen / np.quantile(above, _FULL_QUANTILE), 1.0) if len(above) else seen
        image[:] = np.rint(255 * values)
    return images


def _contrast(counts: NDArray[np.integer], scale: float) -> NDArray[np.floating]:
    """Return how far each bin of each channel is above the channel's mean, (rows, columns); counts are scaled first."""
    heard, loud = counts.any(axis=0), np.log1p(counts * scale)
    return np.maximum(0.0, loud - loud[:, heard].mean(axis=1, keepdims=True)) * heard


def _size(events: Events, config: EventImages) -> tuple[int, int]:
    """Return rows and columns of the images."""
    if config.coding == "none":
        raise InputError("events_as.coding is none, expected counts or time surface; choose one")
    if len(events.unit_shape) == 1:
        kept = events.unit_shape[0] - 2 * config.crop
        if config.polarity != "both" or config.steady or kept < 1:
            raise InputError(
                f"recordings of {events.unit_shape[0]} channels have events_as.polarity {config.polarity!r}, steady "
                f"{config.steady} and crop {config.crop}, expected 'both', False and some channels that are left; "
                "correct them"
            )
        return -(-kept // config.pool), config.columns
    channels, *sides = events.unit_shape
    if config.coding == "contrast":
        raise InputError("events_as.coding is contrast, and a camera has no channels; choose counts or time surface")
    if config.polarity != "both" and channels != 2:
        raise InputError(f"recordings have {channels} channels, expected 2 for events_as.polarity; choose both")
    height, width = (side - 2 * config.crop for side in sides)
    if min(height, width) < config.pool or height % config.pool or width % config.pool:
        raise InputError(
            f"recordings of {sides[0]} x {sides[1]} less {config.crop} at each border are {height} x {width}, expected "
            f"multiples of {config.pool}; change events_as.crop or events_as.pool"
        )
    return height // config.pool, width // config.pool


def _kept(
    events: Events, config: EventImages, width: int
) -> Iterator[tuple[NDArray[np.integer], NDArray[np.int64], tuple[float, float] | None]]:
    """Yield times and pixels of each recording's events that count; of channels the first bin's begin and length."""
    camera = len(events.unit_shape) == 3
    rows, columns = events.unit_shape[1:] if camera else (events.unit_shape[0], config.columns)
    for first, last in zip(events.offsets[:-1].tolist(), events.offsets[1:].tolist(), strict=True):
        units, times = events.units[first:last].astype(np.int64), events.times_us[first:last]
        bins = None
        if camera:
            channel, place = np.divmod(units, rows * columns)
            row, column = np.divmod(place, columns)
            if config.steady:
                down, right = saccades(times)
                row, column = row - np.rint(down).astype(np.int64), column - np.rint(right).astype(np.int64)
            kept = (column >= config.crop) & (column < columns - config.crop)
            column = (column - config.crop) // config.pool
            if config.polarity != "both":
                kept &= channel == int(config.polarity == "on")
        else:
            bins = 0.0, float(config.bin_us)
            if config.whole and len(times):
                bins = float(times[0]), (int(times[-1]) - int(times[0]) + 1) / columns
            row, column = units, ((times - bins[0]) // bins[1]).astype(np.int64)
            kept = column < columns
        kept &= (row >= config.crop) & (row < rows - config.crop)
        row = (row - config.crop) // config.pool
        yield times[kept], (row * width + column)[kept], bins
