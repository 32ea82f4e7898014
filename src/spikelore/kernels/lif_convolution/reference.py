"""The definition, in plain NumPy."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from spikelore.kernels.lif_scan import Leaky
from spikelore.kernels.lif_scan import reference as lif_scan


def _scan(currents: NDArray[np.float32], leaky: Leaky | None, steps: int) -> NDArray[np.float32]:
    """Return the spikes, (T,B,H,W,C); the input at each step where there are no neurons."""
    if leaky is None:
        return np.broadcast_to(currents, (steps, *currents.shape[1:]))
    spikes, _ = lif_scan.forward(currents.reshape(len(currents), -1), leaky, steps, False)
    return spikes.reshape(steps, *currents.shape[1:])


def _pooled_places(winners: NDArray[np.uint8], pool: int) -> tuple[NDArray, NDArray]:
    """Return row and column, before pooling, of each winner."""
    rows, columns = np.indices(winners.shape[2:4])[:, None, None, :, :, None]
    return rows * pool + winners // pool, columns * pool + winners % pool


def forward(
    currents: NDArray[np.float32],
    weights: NDArray[np.float32],
    bias: NDArray[np.float32],
    leaky: Leaky | None,
    steps: int,
    pool: int,
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return pooled currents and winners, (T,B,H',W',F); see the package's `forward`."""
    spikes = _scan(currents, leaky, steps)
    kernel = weights.shape[2]
    windows = sliding_window_view(spikes, (kernel, kernel), axis=(2, 3))  # T,B,H,W,C,K,K
    full = np.einsum("tbhwckl,fckl->tbhwf", windows, weights, optimize=True) + bias
    rows, columns = (side // pool for side in full.shape[2:4])
    full = full[:, :, : rows * pool, : columns * pool].reshape(*full.shape[:2], rows, pool, columns, pool, -1)
    full = full.transpose(0, 1, 2, 4, 6, 3, 5).reshape(*full.shape[:2], rows, columns, full.shape[-1], pool * pool)
    return full.max(axis=-1), full.argmax(axis=-1).astype(np.uint8)


def backward(
    gradients: NDArray[np.float32],
    winners: NDArray[np.uint8],
    currents: NDArray[np.float32],
    weights: NDArray[np.float32],
    leaky: Leaky | None,
    pool: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return the gradients of currents, weights and bias; see the package's `backward`."""
    steps = len(gradients)
    spikes = _scan(currents, leaky, steps)
    kernel = weights.shape[2]
    full = np.zeros(
        (*gradients.shape[:2], *(side - kernel + 1 for side in spikes.shape[2:4]), len(weights)), np.float32
    )
    t, b, _, _, f = np.indices(gradients.shape)
    full[t, b, *_pooled_places(winners, pool), f] = gradients
    windows = sliding_window_view(spikes, (kernel, kernel), axis=(2, 3))
    weight_gradients = np.einsum("tbhwckl,tbhwf->fckl", windows, full, optimize=True)
    spike_gradients = np.zeros_like(spikes)
    rows, columns = full.shape[2:4]
    for k in range(kernel):
        for m in range(kernel):
            spike_gradients[:, :, k : k + rows, m : m + columns] += full @ weights[:, :, k, m]
    if leaky is None:
        spike_gradients = spike_gradients if len(currents) == steps else spike_gradients.sum(axis=0)
    else:
        flat = currents.reshape(len(currents), -1)
        spike_gradients = lif_scan.backward(spike_gradients.reshape(steps, -1), None, flat, leaky)
    return spike_gradients.reshape(currents.shape), weight_gradients, gradients.sum(axis=(0, 1, 2, 3))
