"""Counting of levels on the processor, spread over the cores."""

import numpy as np

from spikelore.kernels.compiled import compiled, over_cores


@over_cores
@compiled()
def _count(begin, end, counts, values, lower, scale):
    last = np.float32(counts.shape[1] - 1)
    for w in range(begin, end):
        nearest = np.rint((values[w] - lower) * scale)
        counts[w, int(min(max(nearest, np.float32(0)), last))] += np.uint16(1)


def count_(counts, values, lower, scale):
    """See `spikelore.kernels.levels.count_`."""
    _count(len(values), counts, values, lower, scale)
