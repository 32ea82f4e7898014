"""Rank-order coding: filter responses of an image, locally normalised, become bins of equal spike count.

With P pixels that are not 0, a filter of side S takes at most P S^2 multiply-adds, 12 bytes read and written each in
the nearest cache; its normalisation 4 additions and a division a place; bins three passes over the places above
threshold.
"""

import numpy as np
from numpy.typing import NDArray

from spikelore.kernels import DEFAULT_BACKEND, select
from spikelore.kernels.rank_order import numba_cpu, reference
from spikelore.shapes import FirstSpikeBins, Images

_BACKENDS = {"reference": reference, "numba_cpu": numba_cpu}


def intensities(
    images: Images,
    kernels: NDArray[np.float32],
    *,
    threshold: float,
    normalization_radius: int,
    backend: str = DEFAULT_BACKEND,
) -> NDArray[np.float32]:
    """Return thresholded filter responses over their local mean.

    With ``r = image * kernel`` (correlation, zero-padded to the image's size) and ``r = 0`` where
    ``r < threshold``, the intensity is ``r / (mean of r over the (2 radius + 1)^2 box + 1e-12)``; outside the
    image the box counts zeros.

    Args:
        images: (N,H,W) uint8.
        kernels: (C,K,K) float32, K odd.
        threshold: responses below it become 0, in units of pixel value x kernel.
        normalization_radius: radius of the box in pixels.
        backend: ``numba_cpu`` or ``reference``.

    Returns:
        (N,C,H,W) float32.

    Source: Mozafari et al. 2019 (doi 10.1016/j.patcog.2019.05.015), section 2.
    """
    return select(_BACKENDS, backend).intensities(images, kernels, threshold, normalization_radius)


def first_spike_bins(
    intensity: NDArray[np.float32], *, total_bins: int, backend: str = DEFAULT_BACKEND
) -> FirstSpikeBins:
    """Sort each image's positive intensities, largest first, into ``total_bins`` bins of equal count.

    With ``n`` positive values every bin takes ``n // total_bins``; the left-over smallest never spike.
    Equal intensities keep array order (channel, row, column).

    Args:
        intensity: (N,C,H,W) float32, not negative.
        total_bins: number of time bins T.
        backend: ``numba_cpu`` or ``reference``.

    Returns:
        (N,C,H,W) int8 in ``0 .. T``; ``T`` = never.
    """
    return select(_BACKENDS, backend).first_spike_bins(intensity, total_bins)
