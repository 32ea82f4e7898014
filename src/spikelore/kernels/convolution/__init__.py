"""A layer of non-leaky integrate-and-fire neurons with shared weights, followed by max pooling.

Each neuron sums the weights of its inputs from the bin in which they spike and fires once, in the first bin
whose potential exceeds the threshold:

    V_f(t, y, x) = sum over c, i, j of w[f,c,i,j] [s_c(y + i - p, x + j - p) <= t],   spike if V > threshold.

Weights are rounded to a fine grid first (see `grid`), so that potentials are exact and equal ones are equal.
Max pooling of cumulative waves lets the earliest spike of a window through.

An image with E spikes takes at most E K^2 F additions, fewer at the edges. For bins each of them reads a weight and a
potential and writes the potential, 12 bytes, and each bin with a spike compares the F H' W' potentials once. For
whether neurons ever spike each reads a weight, 4 bytes, and W' H K C comparisons list the inputs before.
"""

import numpy as np
from numpy.typing import NDArray

from spikelore.kernels import DEFAULT_BACKEND, select
from spikelore.kernels.convolution import numba_cpu, reference
from spikelore.shapes import FirstSpikeBins, Weights

_BACKENDS = {"reference": reference, "numba_cpu": numba_cpu}


def first_spike_bins(
    bins: FirstSpikeBins,
    weights: Weights,
    *,
    padding: int,
    threshold: float,
    total_bins: int,
    pool: int = 1,
    backend: str = DEFAULT_BACKEND,
) -> FirstSpikeBins:
    """Return when each pooled neuron first spikes.

    Args:
        bins: (N,C,H,W) int8 first-spike bins of the input, ``total_bins`` = never.
        weights: (F,C,K,K) float32.
        padding: silent rows and columns around the input.
        threshold: a neuron fires when its potential is greater.
        total_bins: number of time bins T.
        pool: side and stride of the pooling windows; rows and columns that fill no window are dropped.
        backend: ``numba_cpu`` or ``reference``.

    Returns:
        (N,F,H',W') int8.

    Source: Mozafari et al. 2019 (doi 10.1016/j.patcog.2019.05.015), section 2.
    """
    return select(_BACKENDS, backend).first_spike_bins(bins, weights, padding, threshold, total_bins, pool)


def spikes(
    spiked: NDArray[np.bool_],
    weights: Weights,
    *,
    padding: int,
    threshold: float,
    pool: int = 1,
    backend: str = DEFAULT_BACKEND,
) -> NDArray[np.bool_]:
    """Return whether each pooled neuron ever spikes, given whether each input ever does.

    Weights are not negative and spikes stay on, so potentials never fall and the last bin decides alone:
    this equals ``first_spike_bins(...) < total_bins`` at a fraction of the work.

    Args:
        spiked: (N,C,H,W) bool.
        weights: (F,C,K,K) float32, not negative.
        padding: silent rows and columns around the input.
        threshold: a neuron fires when its potential is greater.
        pool: side and stride of the pooling windows.
        backend: ``numba_cpu`` or ``reference``.

    Returns:
        (N,F,H',W') bool.
    """
    return select(_BACKENDS, backend).spikes(spiked, weights, padding, threshold, pool)
