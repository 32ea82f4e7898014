"""Features of a network of convolutions as pictures, by plain linear back-projection."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def project(layers: Sequence[tuple[NDArray[np.float32], int]], kernels: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return features as pictures.

    The weights of the top layer are maps of the layer below it. Each map value is stamped with that layer's
    weights at its place (a transposed convolution), and so on down to the difference-of-Gaussians kernels;
    through max pooling a value goes to all places it may have come from. Thresholds, inhibition and time are
    left out, so the picture is what the weights add up to, not what makes the neuron fire first.

    Args:
        layers: (weights (F,C,K,K), pooling below it) from the top layer to layer 1, whose pooling is 1.
        kernels: (C,1,K,K) filters of the coding.

    Returns:
        (F,H,W), bright where the feature wants light, dark where it wants none; without the border that
        only the tails of the widest filter reach.
    """
    maps, pool = layers[0]
    for weights, pool_below in [*layers[1:], (kernels, 1)]:
        maps = _spread_out(maps.repeat(pool, axis=2).repeat(pool, axis=3), weights)
        pool = pool_below
    border = kernels.shape[-1] // 4
    pictures = maps[:, 0]
    return pictures[:, border : pictures.shape[1] - border, border : pictures.shape[2] - border].astype(np.float64)


def _spread_out(maps: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Project maps one layer down: sum over f of ``maps[n,f]`` stamped with ``weights[f]``.

    (N,F,H,W) and (F,C,K,K) give (N,C,H+K-1,W+K-1).
    """
    count, _, height, width = maps.shape
    channels, kernel = weights.shape[1], weights.shape[2]
    out = np.zeros((count, channels, height + kernel - 1, width + kernel - 1), np.float32)
    for y, x in np.ndindex(kernel, kernel):
        stamped = np.tensordot(maps, weights[:, :, y, x], axes=(1, 0))
        out[:, :, y : y + height, x : x + width] += np.moveaxis(stamped, -1, 1)
    return out
