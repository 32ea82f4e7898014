"""Counting at which of evenly spaced levels each element of an array is: the nearest one, the end ones beyond them.

A value takes 4 operations, 4 bytes read, and 2 bytes of its count read and written.
"""

import numpy as np
from numpy.typing import NDArray

from spikelore.kernels import DEFAULT_BACKEND, select
from spikelore.kernels.levels import numba_cpu, reference

_BACKENDS = {"reference": reference, "numba_cpu": numba_cpu}


def count_(
    counts: NDArray[np.uint16], values: NDArray[np.float32], lower: float, upper: float,
    *, backend: str = DEFAULT_BACKEND,
) -> None:  # fmt: skip
    """Count one more value of each element, in place.

    Args:
        counts: (W,L), how often each element was at each level.
        values: (W,).
        lower: the first level.
        upper: the last level.
        backend: ``numba_cpu`` or ``reference``.
    """
    scale = np.float32((counts.shape[1] - 1) / (upper - lower))
    select(_BACKENDS, backend).count_(counts, values, np.float32(lower), scale)
