"""Rate coding: grey levels to Poisson spike trains, one reproducible stream an image.

The trains are defined in `spikelore.kernels.lif_network.spike_trains`, where the fast form draws the same.
"""

import hashlib
import math

import numpy as np
from numpy.typing import NDArray

from spikelore.errors import InputError
from spikelore.kernels.lif_network.spike_trains import SpikeTrains, poisson_spikes, stream_key
from spikelore.shapes import Images
from spikelore.units import hz_to_probability

__all__ = ["SpikeTrains", "image_indices", "level_probabilities", "poisson_spikes", "stream_key"]


def level_probabilities(rate_hz_per_level: float, dt_ms: float) -> NDArray[np.float64]:
    """Return each grey level's spike probability a step, ``level rate_hz_per_level dt_ms / 1000``: (256,).

    Raises:
        InputError: the rate is negative or not a number, or level 255 would spike more than once a step.
    """
    if not (math.isfinite(rate_hz_per_level) and rate_hz_per_level >= 0):
        raise InputError(f"rate_hz_per_level is {rate_hz_per_level}, expected 0 or more; 0.25 is the published rate")
    if not (math.isfinite(dt_ms) and dt_ms > 0):
        raise InputError(f"dt_ms is {dt_ms}, expected a time greater than 0; 0.1 is the published step")
    if 255 * rate_hz_per_level * dt_ms > 1000:
        raise InputError(
            f"rate_hz_per_level {rate_hz_per_level} at dt_ms {dt_ms} means more than one spike a step at "
            "level 255, expected at most one; lower the rate or the time step"
        )
    return np.array([hz_to_probability(level * rate_hz_per_level, dt_ms) for level in range(256)])


def image_indices(images: Images) -> NDArray[np.int64]:
    """Return the index of each image's own spike train, (N,): 63 bits of the BLAKE2b digest of its pixels.

    The first eight bytes of the digest of the pixels in row order, little-endian, without the highest bit. So an
    image has the same train wherever it stands, and equal images have equal ones.

    Args:
        images: (N,H,W) uint8.

    Source: BLAKE2 (RFC 7693).

    Example:
        >>> import numpy as np
        >>> from spikelore.coding.poisson import image_indices
        >>> image_indices(np.zeros((2, 1, 1), np.uint8)).tolist()
        [5224996704525874836, 5224996704525874836]
    """
    digests = b"".join(hashlib.blake2b(image.tobytes(), digest_size=8).digest() for image in images)
    return np.frombuffer(digests, "<u8").astype(np.int64) & np.int64(2**63 - 1)
