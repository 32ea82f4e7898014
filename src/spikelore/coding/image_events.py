"""Grey images to recordings of spikes, by the codings that networks of images have."""

import numpy as np

from spikelore.coding.poisson import image_indices, level_probabilities, poisson_spikes, stream_key
from spikelore.coding.rank_order import RankOrderConfig, encode
from spikelore.data.events import Events
from spikelore.errors import InputError, check_whole
from spikelore.shapes import Images, as_images


def rank_order_events(images: Images, config: RankOrderConfig | None = None, *, bin_us: int = 1000) -> Events:
    """Return each image's first spikes as a recording: what a first-spike network sees, a unit once at most.

    Args:
        images: (N,H,W) uint8.
        config: as for `spikelore.coding.rank_order.encode`; the published one if not given.
        bin_us: microseconds of each of its bins.

    Returns:
        Recordings with units (filters, H, W); a spike of bin b at ``b bin_us``.

    Raises:
        InputError: no images.
    """
    check_whole("bin_us", bin_us, 1)
    config = config or RankOrderConfig()
    bins = encode(images, config)
    recordings = []
    for one in bins.reshape(len(bins), -1):
        units = np.flatnonzero(one < config.total_bins)
        order = units[np.argsort(one[units], kind="stable")]
        recordings.append((one[order].astype(np.int64) * bin_us, order))
    return Events.of_recordings(recordings, bins.shape[1:])


def poisson_events(
    images: Images, rate_hz_per_level: float = 0.25, *, steps: int = 3500, dt_ms: float = 0.1, seed: int = 0
) -> Events:
    """Return each image's Poisson spike trains as a recording, drawn as those of a rate-coded network are.

    An image has the same train wherever it stands, another one with another seed; see `spikelore.coding.poisson`.

    Args:
        images: (N,H,W) uint8.
        rate_hz_per_level: spikes a second for each grey level.
        steps: number of steps.
        dt_ms: length of a step.
        seed: root seed.

    Returns:
        Recordings with units (1, H, W); a spike of step t at ``1000 t dt_ms`` us, rounded.

    Raises:
        InputError: no images, or rates that cannot be.

    Example:
        >>> import numpy as np
        >>> from spikelore.coding.image_events import poisson_events
        >>> poisson_events(np.full((1, 2, 2), 200, np.uint8)).lengths.tolist()
        [62]
    """
    check_whole("steps", steps, 1)
    images = as_images(images)
    probabilities = level_probabilities(rate_hz_per_level, dt_ms)
    at_us = np.rint(np.arange(steps) * 1000 * dt_ms).astype(np.int64)
    recordings = []
    for image, index in zip(images, image_indices(images).tolist(), strict=True):
        trains = poisson_spikes(probabilities[image.ravel()], steps, stream_key(seed, 0, index))
        recordings.append((np.repeat(at_us, np.diff(trains.starts)), trains.inputs))
    return Events.of_recordings(recordings, (1, *images.shape[1:]))


def latency_events(images: Images, longest_ms: float = 20.0) -> Events:
    """Return each image as a recording in which a pixel spikes once, the sooner the brighter it is.

    A pixel of grey level g spikes at ``longest_ms (255 - g) / 256``, one of level 0 never.

    Args:
        images: (N,H,W) uint8.
        longest_ms: milliseconds that the levels are spread over.

    Returns:
        Recordings with units (1, H, W).

    Raises:
        InputError: no images, or no time.

    Example:
        >>> import numpy as np
        >>> from spikelore.coding.image_events import latency_events
        >>> one = latency_events(np.array([[[0, 127, 255]]], np.uint8))
        >>> one.times_us.tolist(), one.units.tolist()
        ([0, 10000], [2, 1])
    """
    if not 0.256 <= longest_ms <= 1e6:
        raise InputError(f"longest_ms is {longest_ms}, expected 0.256 to 1000000; 20 is usual")
    images = as_images(images)
    at_us = np.rint((255 - np.arange(256)) * longest_ms * 1000 / 256).astype(np.int64)
    recordings = []
    for image in images.reshape(len(images), -1):
        units = np.flatnonzero(image)
        order = units[np.argsort(at_us[image[units]], kind="stable")]
        recordings.append((at_us[image[order]], order))
    return Events.of_recordings(recordings, (1, *images.shape[1:]))
