"""Poisson spike trains with one reproducible stream an image: their definition.

Each input spikes in each step with probability ``p = rate_hz * dt_ms / 1000``, independently (a Bernoulli
process, what clock-driven simulators call Poisson). Instead of one number a step, the gap to the next spike
is drawn: the number of steps up to and including it is geometric,

    gap = 1 + floor(log(u) / log(1 - p)),   u uniform in (0, 1],

so the work grows with the number of spikes, not with inputs times steps. The logarithm is a written series,
not the C library's, so that streams are the same on every machine.

The numbers come from SplitMix64 (Steele, Lea and Flood 2014, doi 10.1145/2714064.2660195), a generator that
counts: draw ``n`` of the stream with key ``k`` is ``mix(k + n * 0x9E3779B97F4A7C15)``, and its 53 high bits
plus one, over 2**53, are the uniform number. An image's key is a mix of the seed, a stream number and the
image's index, so the spikes of an image depend neither on the other images nor on the number of cores.
Within an image the inputs draw in ascending order.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikelore.errors import InputError

GOLDEN_GAMMA = 0x9E3779B97F4A7C15
"""The step of SplitMix64's counter: 2**64 over the golden ratio, odd."""
LOG_2 = 0.6931471805599453
SQRT_HALF = 0.7071067811865476
LOG_SERIES = tuple(2.0 / (2 * k + 1) for k in range(11))
_MASK = (1 << 64) - 1


class SpikeTrains(NamedTuple):
    """Spikes by step: those of step ``t`` are ``inputs[starts[t]:starts[t + 1]]``, ascending."""

    starts: NDArray[np.int64]
    """(T+1,)"""
    inputs: NDArray[np.int32]
    """(number of spikes,)"""


def mix(value: int) -> int:
    """Return SplitMix64's output for the counter ``value``: a bijection of 64-bit integers."""
    value &= _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def stream_key(seed: int, stream: int, image: int) -> int:
    """Return the key of the stream of ``image`` in the family ``stream`` under the root ``seed``."""
    return mix(mix(mix(seed + GOLDEN_GAMMA) + stream + GOLDEN_GAMMA) + image + GOLDEN_GAMMA)


def log_uniform(key: int, draw: int) -> float:
    """Return log(u) of draw number ``draw`` (from 1) of the stream ``key``: u = (53 high bits + 1) / 2**53.

    With u 2**53 = m 2**e, m from sqrt(1/2) to sqrt(2), and s = (m - 1) / (m + 1):
    ``log(u) = 2 s (1 + s**2/3 + s**4/5 + ... + s**20/21) + (e - 53) log(2)``, to 1e-15 of the true value.
    """
    mantissa, exponent = math.frexp((mix(key + draw * GOLDEN_GAMMA) >> 11) + 1)
    if mantissa < SQRT_HALF:
        mantissa, exponent = 2 * mantissa, exponent - 1
    s = (mantissa - 1.0) / (mantissa + 1.0)
    square = s * s
    series = LOG_SERIES[-1]
    for coefficient in LOG_SERIES[-2::-1]:
        series = series * square + coefficient
    return s * series + (exponent - 53) * LOG_2


def poisson_spikes(probabilities: NDArray[np.float64], steps: int, key: int) -> SpikeTrains:
    """Return the spike trains of inputs that spike with ``probabilities`` (I,) in each of ``steps`` steps.

    Args:
        probabilities: (I,), each 0 to 1.
        steps: number of steps T.
        key: the stream, see `stream_key`.

    Raises:
        InputError: a probability is NaN or outside 0 to 1.

    Example:
        >>> import numpy as np
        >>> from spikelore.kernels.lif_network.spike_trains import poisson_spikes, stream_key
        >>> trains = poisson_spikes(np.array([0.0, 0.5, 1.0]), 1000, stream_key(0, 0, 0))
        >>> [int((trains.inputs == i).sum()) for i in range(3)]
        [0, 520, 1000]
    """
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise InputError("a spike probability is NaN or outside 0 to 1; lower the rate or the time step")
    drawn = 0
    times, sources = [], []
    for i, p in enumerate(probabilities.tolist()):
        if p == 0:
            continue
        scale = 1 / math.log1p(-p) if p < 1 else 0.0
        t = -1
        while True:
            drawn += 1
            gap = log_uniform(key, drawn) * scale
            if gap >= steps - 1 - t:
                break
            t += 1 + int(gap)
            times.append(t)
            sources.append(i)
    order = np.argsort(np.array(times, np.int64), kind="stable")
    starts = np.searchsorted(np.array(times, np.int64)[order], np.arange(steps + 1))
    return SpikeTrains(starts.astype(np.int64), np.array(sources, np.int32)[order])
