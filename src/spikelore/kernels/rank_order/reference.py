"""Rank-order coding as its definition."""

import numpy as np


def intensities(images, kernels, threshold, normalization_radius):
    """See `spikelore.kernels.rank_order.intensities`."""
    from scipy.ndimage import correlate, uniform_filter  # slow to load, and the fast kernel needs none

    out = np.zeros((len(images), len(kernels), *images.shape[1:]), np.float32)
    for n, image in enumerate(images.astype(np.float64)):
        for c, kernel in enumerate(kernels.astype(np.float64)):
            response = correlate(image, kernel, mode="constant")
            response[response < threshold] = 0
            mean = uniform_filter(response, 2 * normalization_radius + 1, mode="constant")
            out[n, c] = np.where(response > 0, response / (mean + 1e-12), 0)
    return out


def first_spike_bins(intensity, total_bins):
    """See `spikelore.kernels.rank_order.first_spike_bins`."""
    flat = intensity.reshape(len(intensity), -1)
    out = np.full(flat.shape, total_bins, np.int8)
    for n, row in enumerate(flat):
        size = np.count_nonzero(row) // total_bins
        largest = np.argsort(-row, kind="stable")[: size * total_bins]
        out[n, largest] = np.repeat(np.arange(total_bins), size)
    return out.reshape(intensity.shape)
