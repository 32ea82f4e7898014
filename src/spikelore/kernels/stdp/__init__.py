"""Unsupervised learning of a convolution layer: competition, then spike-timing-dependent plasticity.

For each image in turn:

1. *Point-wise inhibition*: at every place only the feature that fires first survives (on a tie the one of
   largest potential in that bin, then the lowest feature).
2. *k winners*: the earliest survivor wins (on a tie the largest potential, then the lowest feature, row,
   column), silences its own feature everywhere and every feature within ``radius`` of it, and so on up to k.
3. *STDP* on each winner's feature, with inputs that spike no later than the winner taking ``ltp`` and all
   others ``ltd``:

       w <- clip(w + rate (w - lower) (upper - w), lower, upper),    without (...)(...) if not ``stabilizer``.

After the first image all weights are clipped to the bounds, as SpykeTorch does.

An image takes the additions of `convolution` for bins, up to the bin of its last winner; in each of these bins the
potentials of places where none has fired are compared once; and each winner moves C K^2 weights.
"""

import numpy as np
from numpy.typing import NDArray

from spikelore.kernels import DEFAULT_BACKEND, select
from spikelore.kernels.stdp import numba_cpu, reference
from spikelore.shapes import FirstSpikeBins, Weights

_BACKENDS = {"reference": reference, "numba_cpu": numba_cpu}


def train(
    bins: FirstSpikeBins,
    order: NDArray[np.int64],
    weights: Weights,
    *,
    padding: int,
    threshold: float,
    total_bins: int,
    winners: int,
    radius: int,
    ltp: NDArray[np.float32],
    ltd: NDArray[np.float32],
    stabilizer: bool = True,
    lower: float = 0.0,
    upper: float = 1.0,
    backend: str = DEFAULT_BACKEND,
) -> tuple[Weights, NDArray[np.int16]]:
    """Learn from ``bins[order]``, one image after the other.

    Args:
        bins: (N,C,H,W) int8 first-spike bins of the layer's input.
        order: (M,) int64, which image comes when.
        weights: (F,C,K,K) float32 to start from; not changed.
        padding: silent rows and columns around the input.
        threshold: a neuron fires when its potential is greater.
        total_bins: number of time bins T.
        winners: k, the most winners an image has.
        radius: of the inhibition around a winner, in neurons; 0 for none.
        ltp: (M,) float32 rate at each step for inputs no later than the winner.
        ltd: (M,) float32 rate at each step for later inputs and silent ones.
        stabilizer: multiply the change by (w - lower)(upper - w).
        lower: lower bound of a weight.
        upper: upper bound of a weight.
        backend: ``numba_cpu`` or ``reference``.

    Returns:
        The new weights, and (M,k,3) int16 winners as (feature, row, column), -1 where there was none.

    Source: Mozafari et al. 2019 (doi 10.1016/j.patcog.2019.05.015), sections 2.2 and 2.3.
    """
    return select(_BACKENDS, backend).train(
        bins,
        order,
        weights,
        padding,
        threshold,
        total_bins,
        winners,
        radius,
        ltp,
        ltd,
        stabilizer,
        lower,
        upper,
    )
