"""Fully connected synapses that get spikes: only those of units that spike are added up.

For R rows of spikes X (R,N), 0 or 1, such as all steps and examples of a batch:

    I[r] = bias + sum over n with X[r,n] = 1 of w[:,n],      dL/dw[:,n] = sum over r with X[r,n] = 1 of dL/dI[r]

With E spikes each is E H additions and reads 4 E H bytes, nearly all from a near cache, where the dense product
multiplies R N H times. Forward, the fast form adds four rows of weights first and their sum then; backward, it lists
the rows of each unit, 8 E bytes more, and adds row after row. Neither the number of threads nor other rows change that
order.
"""

import numpy as np
from numpy.typing import NDArray

from spikelore.errors import InputError
from spikelore.kernels import DEFAULT_BACKEND, select
from spikelore.kernels.spike_linear import numba_cpu, reference
from spikelore.kernels.spike_linear.model import SpikeRows

__all__ = ["SpikeRows", "forward", "rows_of", "weight_gradients"]

_BACKENDS = {"reference": reference, "numba_cpu": numba_cpu}


def rows_of(inputs: NDArray, *, backend: str = DEFAULT_BACKEND) -> SpikeRows:
    """Return which units of each row spike, a row for each step and example: all examples of a step, then the next.

    Args:
        inputs: (T,B,N) of 0 and 1, of any type; nothing is copied if it or its view (B,T,N) is contiguous.
        backend: ``numba_cpu`` or ``reference``.

    Raises:
        InputError: another value.
    """
    found = select(_BACKENDS, backend).rows_of(inputs)
    if found is None:
        other = inputs[(inputs != 0) & (inputs != 1)].flat[0]
        raise InputError(f"inputs hold {other:g}, expected spikes, 0 or 1; make spikes of them")
    return found


def forward(
    rows: SpikeRows, weights: NDArray[np.float32], bias: NDArray[np.float32], *, backend: str = DEFAULT_BACKEND
) -> NDArray[np.float32]:
    """Return the currents I, (R,H) float32.

    Args:
        rows: the spikes.
        weights: (H,N) float32.
        bias: (H,) float32.
        backend: ``numba_cpu`` or ``reference``; their sums differ in order.
    """
    return select(_BACKENDS, backend).forward(rows, weights, bias)


def weight_gradients(
    rows: SpikeRows, gradients: NDArray[np.float32], *, backend: str = DEFAULT_BACKEND
) -> NDArray[np.float32]:
    """Return dL/dw, (H,N) float32.

    Args:
        rows: the spikes, as given to `forward`.
        gradients: (R,H) float32, dL/dI, contiguous.
        backend: ``numba_cpu`` or ``reference``; their sums differ in order.
    """
    return select(_BACKENDS, backend).weight_gradients(rows, gradients)
