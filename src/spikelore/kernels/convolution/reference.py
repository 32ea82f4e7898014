"""The convolution layer as its definition."""

import numpy as np

from spikelore.kernels.convolution.grid import grid_bits, to_grid


def potentials(active, weights, padding):
    """Potentials (F,H',W') float64 of one image whose inputs ``active`` (C,H,W) bool are on."""
    padded = np.pad(active.astype(np.float64), ((0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, weights.shape[2:], axis=(1, 2))
    return np.einsum("fcij,cyxij->fyx", weights.astype(np.float64), windows)


def on_grid(weights, limit=1.0):
    """Weights rounded to their grid, float64: sums of them are exact."""
    bits = grid_bits(weights, limit)
    return np.ldexp(to_grid(weights, bits).astype(np.float64), -bits)


def _pooled_minimum(bins, pool):
    features, height, width = bins.shape
    height, width = height // pool, width // pool
    windows = bins[:, : height * pool, : width * pool].reshape(features, height, pool, width, pool)
    return windows.min(axis=(2, 4))


def first_spike_bins(bins, weights, padding, threshold, total_bins, pool):
    """See `spikelore.kernels.convolution.first_spike_bins`."""
    out = []
    weights = on_grid(weights)
    for wave in bins:
        over = np.stack([potentials(wave <= t, weights, padding) > threshold for t in range(total_bins)])
        first = np.where(over.any(axis=0), over.argmax(axis=0), total_bins).astype(np.int8)
        out.append(_pooled_minimum(first, pool))
    return np.stack(out)


def spikes(spiked, weights, padding, threshold, pool):
    """See `spikelore.kernels.convolution.spikes`."""
    return first_spike_bins(np.where(spiked, 0, 1).astype(np.int8), weights, padding, threshold, 1, pool) == 0
