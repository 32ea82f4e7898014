"""Axis letters and the array aliases that signatures use.

Axis order is fixed everywhere: ``N`` images, ``T`` time bins or steps, ``C`` input channels,
``F`` features (output channels), ``H`` rows, ``W`` columns, ``K`` kernel rows or columns.

A spike wave is kept as first-spike bins, (N,C,H,W) int8: bin ``b`` in ``0 .. T-1`` is the time of the
neuron's one spike and ``T`` means that it never fires.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Images: TypeAlias = NDArray[np.uint8]
"""(N,H,W) uint8, background 0."""

Labels: TypeAlias = NDArray[np.int64]
"""(N,) int64."""

FirstSpikeBins: TypeAlias = NDArray[np.int8]
"""(N,C,H,W) int8, ``T`` = never."""

Weights: TypeAlias = NDArray[np.float32]
"""(F,C,K,K) float32."""
