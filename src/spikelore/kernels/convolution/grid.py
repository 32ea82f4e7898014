"""Weights on a grid, so that potentials are exact sums, the same in whatever order their terms come.

Floating-point sums depend on their order: two neurons whose potentials are equal would be told apart by
rounding, each kernel in its own way. Potentials are therefore sums of weights rounded to multiples of a step
``2**-b``, with b as large as lets every sum of a neuron's weights fit into 31 bits (21 for 270 inputs of
weight 1 or less, half of what float32 resolves in such a sum). Learned weights themselves are not rounded.
"""

import math

import numpy as np
from numpy.typing import NDArray


def grid_bits(weights: NDArray[np.float32], limit: float = 1.0) -> int:
    """Return b of the grid for weights (F,C,K,K) that stay within ``-limit .. limit``, or start beyond it."""
    largest = max(limit, float(np.abs(weights).max(initial=0)))
    return 30 - math.ceil(math.log2(weights[0].size * largest))


def to_grid(weights: NDArray[np.float32], bits: int) -> NDArray[np.int32]:
    """Return ``round(weights * 2**bits)``, halves to even."""
    return np.rint(np.ldexp(weights, bits)).astype(np.int32)


def threshold_on_grid(threshold: float, bits: int) -> int:
    """Return the largest potential on the grid that does not exceed ``threshold``."""
    return min(math.floor(math.ldexp(threshold, bits)), np.iinfo(np.int32).max)
