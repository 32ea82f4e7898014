"""Rate coding: grey levels to Poisson spike trains, one reproducible stream an image.

The trains are defined in `spikelore.kernels.lif_network.spike_trains`, where the fast form draws the same.
"""

import math

import numpy as np
from numpy.typing import NDArray

from spikelore.errors import InputError
from spikelore.kernels.lif_network.spike_trains import SpikeTrains, poisson_spikes, stream_key
from spikelore.units import hz_to_probability

__all__ = ["SpikeTrains", "level_probabilities", "poisson_spikes", "stream_key"]


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
