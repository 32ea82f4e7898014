"""Recordings of a camera's events to grey images, so that networks of images take them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spikelore.data.events import Events
from spikelore.data.examples import Dataset
from spikelore.errors import InputError, check_fields, check_whole
from spikelore.shapes import Images

_FULL_QUANTILE = 0.99
"""Share of a recording's pixels with events that are at most as bright as 255."""


@dataclass(frozen=True)
class EventImages:
    """How a recording becomes an image.

    ``counts``: a pixel is ``255 min(1, n / full)``, n its events and ``full`` the 99 % quantile of n over the pixels of
    that recording that have any. ``time surface``: ``255 exp(-(t_end - t_last) / tau)``, t_last the time of the pixel's
    last event and t_end that of the recording's, 0 without one (Lagorce et al. 2017, HOTS, doi
    10.1109/TPAMI.2016.2574707, their surface at the end, without their features). Rounded to whole grey levels.

    Attributes:
        coding: one of these, or ``none``: recordings stay what they are.
        tau_ms: decay of a time surface.
        polarity: events of which polarity count, the first (``off``), the second (``on``) or ``both`` as one.
        crop: pixels that are left out at each border.
        pool: side of the square blocks of pixels that are one pixel of the image.
    """

    coding: Literal["none", "counts", "time surface"] = "counts"
    tau_ms: float = 50.0
    polarity: Literal["both", "off", "on"] = "both"
    crop: int = 0
    pool: int = 1

    def __post_init__(self) -> None:
        check_fields(self, "events_as.")
        check_whole("events_as.crop", self.crop)
        check_whole("events_as.pool", self.pool, 1)
        if self.tau_ms <= 0:
            raise InputError(f"events_as.tau_ms is {self.tau_ms}, expected more than 0; 50 is usual")


def image_dataset(dataset: Dataset, config: EventImages) -> Dataset:
    """Return a dataset whose recordings are images; one of images, or with the coding ``none``, as it is.

    Raises:
        InputError: the recordings are none of a camera, or cannot be cropped or pooled so.
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
    """Return recordings of a camera as images, (N, (H - 2 crop) / pool, (W - 2 crop) / pool) uint8.

    Args:
        events: recordings with units (C,H,W).
        config: how.

    Raises:
        InputError: other units, the coding ``none``, or an image that cannot be cropped or pooled so.

    Example:
        >>> from spikelore.coding.event_images import EventImages, event_images
        >>> from spikelore.data import Events
        >>> one = Events([0, 50_000, 100_000], [0, 1, 5], [0, 3], (2, 2, 2))
        >>> event_images(one, EventImages("counts")).tolist()
        [[[128, 255], [0, 0]]]
        >>> event_images(one, EventImages("time surface")).tolist()
        [[[35, 255], [0, 0]]]
    """
    height, width = _size(events, config)
    images = np.zeros((len(events), height, width), np.uint8)
    for image, (times, pixels) in zip(images, _kept(events, config, height, width), strict=True):
        if not len(times):
            continue
        if config.coding == "counts":
            counts = np.bincount(pixels, minlength=height * width)
            full = np.quantile(counts[counts > 0], _FULL_QUANTILE)
            values = np.minimum(counts / full, 1.0)
        else:
            last = np.full(height * width, -np.inf)
            last[pixels] = times  # of several at one place the last one is assigned last: times ascend
            values = np.exp((last - times[-1]) / (1000 * config.tau_ms))
        image.reshape(-1)[:] = np.rint(255 * values)
    return images


def _size(events: Events, config: EventImages) -> tuple[int, int]:
    """Return rows and columns of the images."""
    if config.coding == "none":
        raise InputError("events_as.coding is none, expected counts or time surface; choose one")
    if len(events.unit_shape) != 3:
        raise InputError(
            f"recordings have units of shape {events.unit_shape}, expected (channels, rows, columns) of a camera; "
            "networks of images do not take these"
        )
    channels, *sides = events.unit_shape
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
    events: Events, config: EventImages, height: int, width: int
) -> Iterator[tuple[NDArray[np.integer], NDArray[np.int64]]]:
    """Yield times and pixels of each recording's events that count."""
    _, rows, columns = events.unit_shape
    for first, last in zip(events.offsets[:-1].tolist(), events.offsets[1:].tolist(), strict=True):
        units, times = events.units[first:last].astype(np.int64), events.times_us[first:last]
        channel, place = np.divmod(units, rows * columns)
        row, column = np.divmod(place, columns)
        row, column = (row - config.crop) // config.pool, (column - config.crop) // config.pool
        kept = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        if config.polarity != "both":
            kept &= channel == int(config.polarity == "on")
        yield times[kept], (row * width + column)[kept]
