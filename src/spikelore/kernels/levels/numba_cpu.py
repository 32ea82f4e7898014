"""Counting of levels on the processor, spread over the cores."""

import numpy as np
from numba import prange

from spikelore.kernels.compiled import compiled


@compiled(parallel=True)
def _count(counts, values, lower, scale):
    last = np.float32(counts.shape[1] - 1)
    for w in prange(len(values)):
        nearest = np.rint((values[w] - lower) * scale)
        counts[w, int(min(max(nearest, np.float32(0)), last))] += np.uint16(1)


def count_(counts, values, lower, scale):
    """See `spikelore.kernels.levels.count_`."""
    _count(counts, values, lower, scale)
