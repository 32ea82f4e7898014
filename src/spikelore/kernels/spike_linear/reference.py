"""The definition, in plain NumPy."""

import numpy as np
from numpy.typing import NDArray

from spikelore.kernels.spike_linear.model import SpikeRows


def rows_of(inputs: NDArray) -> SpikeRows | None:
    """Return which units of each row spike; None where a value is neither 0 nor 1."""
    if not ((inputs == 0) | (inputs == 1)).all():
        return None
    flat = inputs.reshape(-1, inputs.shape[2])
    rows, units = np.nonzero(flat)
    starts = np.zeros(len(flat) + 1, np.int64)
    np.cumsum(np.bincount(rows, minlength=len(flat)), out=starts[1:])
    return SpikeRows(starts, units.astype(np.int32), flat.shape[1])


def _dense(rows: SpikeRows, kind: np.dtype) -> NDArray:
    spikes = np.zeros((len(rows.starts) - 1, rows.size), kind)
    spikes[np.repeat(np.arange(len(spikes)), np.diff(rows.starts)), rows.units] = 1
    return spikes


def forward(rows: SpikeRows, weights: NDArray, bias: NDArray) -> NDArray:
    """Return the currents (R,H); see the package's `forward`."""
    return _dense(rows, weights.dtype) @ weights.T + bias


def weight_gradients(rows: SpikeRows, gradients: NDArray) -> NDArray:
    """Return dL/dw, (H,N); see the package's `weight_gradients`."""
    return gradients.T @ _dense(rows, gradients.dtype)
