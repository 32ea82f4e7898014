"""A layer of leaky integrate-and-fire neurons, the convolution of its spikes, and max pooling, over all steps.

Forward, with the neurons of `lif_scan`:

    S[t] = spikes of the neurons for the currents I[0..t]
    P[t,y,x,f] = max over the pool's places of  bias[f] + sum over k,l,c of w[f,c,k,l] S[t, y'+k, x'+l, c]

without padding, rows and columns that fill no pool left out; on a tie the first place in row order wins.
Backward, the gradient of P goes to the winning place alone, from there to the weights of the inputs that
spiked and, through the surrogate's slope, to the currents.

An image with E spikes in all steps takes at most E K^2 F additions, a weight read for each, 4 bytes, beside the 3 T H
W C operations of the neurons and the comparisons that list spikes, K T H W C at most. The way back takes the last two
again, as many additions to the gradients of weights, 8 bytes read and written each, and T H' W' F K^2 C multiply-adds
for the gradients of spikes, which are not sparse, a weight read for each.
"""

import numpy as np
from numpy.typing import NDArray

from spikelore.errors import InputError
from spikelore.kernels import DEFAULT_BACKEND, select
from spikelore.kernels.lif_convolution import numba_cpu, reference
from spikelore.kernels.lif_scan import Leaky
from spikelore.kernels.windows import LARGEST_WINDOW

_MOST_FEATURES = 2**16
"""They are listed in 16 bits."""
_LARGEST_POOL = 16  # its places are kept in 8 bits

_BACKENDS = {"reference": reference, "numba_cpu": numba_cpu}


def forward(
    currents: NDArray[np.float32],
    weights: NDArray[np.float32],
    bias: NDArray[np.float32],
    leaky: Leaky | None,
    *,
    steps: int,
    pool: int,
    backend: str = DEFAULT_BACKEND,
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return the pooled currents of the next layer's neurons and which place won each.

    Args:
        currents: (T,B,H,W,C) float32 input of the neurons, or (1,B,H,W,C): the same at every step. Where
            ``leaky`` is None they are the spikes, 0 or 1.
        weights: (F,C,K,K) float32.
        bias: (F,) float32.
        leaky: constants of the neurons, or None.
        steps: T.
        pool: side and stride of the pooling.
        backend: ``numba_cpu`` or ``reference``; their sums differ in order.

    Returns:
        (T,B,H',W',F) float32 and uint8, the place in row order inside the pool.

    Raises:
        InputError: a kernel and pool larger than the map, a pool of side over 16, or more inputs in a window than
            `LARGEST_WINDOW`, or more features than 65536.
    """
    _check(currents, weights, pool)
    return select(_BACKENDS, backend).forward(currents, weights, bias, leaky, steps, pool)


def backward(
    gradients: NDArray[np.float32],
    winners: NDArray[np.uint8],
    currents: NDArray[np.float32],
    weights: NDArray[np.float32],
    leaky: Leaky | None,
    *,
    pool: int,
    backend: str = DEFAULT_BACKEND,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return the gradients of currents, weights and bias.

    Args:
        gradients: (T,B,H',W',F) float32 of the pooled currents.
        winners: (T,B,H',W',F) uint8 from `forward`.
        currents: as given to `forward`.
        weights: as given to `forward`.
        leaky: as given to `forward`.
        pool: as given to `forward`.
        backend: ``numba_cpu`` or ``reference``.

    Raises:
        InputError: as `forward`.
    """
    _check(currents, weights, pool)
    return select(_BACKENDS, backend).backward(gradients, winners, currents, weights, leaky, pool)


def _check(currents: NDArray[np.float32], weights: NDArray[np.float32], pool: int) -> None:
    _, _, rows, columns, channels = currents.shape
    features, _, kernel, _ = weights.shape
    if kernel + pool - 1 > min(rows, columns):
        raise InputError(f"a map of {rows} x {columns} is too small for a kernel of side {kernel} and pooling {pool}")
    if pool > _LARGEST_POOL:
        raise InputError(f"the pool has side {pool}; at most {_LARGEST_POOL} fits")
    if rows * kernel * channels > LARGEST_WINDOW:
        raise InputError(
            f"rows x kernel x channels is {rows} x {kernel} x {channels} inputs; at most {LARGEST_WINDOW} fit, use "
            "a smaller kernel or map, or fewer channels"
        )
    if features > _MOST_FEATURES:
        raise InputError(f"the layer has {features} features; at most {_MOST_FEATURES} fit")
