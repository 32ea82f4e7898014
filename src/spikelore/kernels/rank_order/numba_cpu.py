"""Rank-order coding on the processor: one pass per image, images spread over the cores."""

import numpy as np
from numba import njit, prange


@njit(cache=True, nogil=True, inline="always")
def _filter(image, kernel, response):
    """Correlate ``image`` (H,W) with ``kernel`` (K,K), zero-padded to the same size, from its lit pixels."""
    height, width = image.shape
    size = kernel.shape[0]
    reach = size // 2
    response[:] = 0
    for y in range(height):
        for x in range(width):
            value = image[y, x]
            if value == 0:
                continue
            for i in range(max(0, y + reach - height + 1), min(size, y + reach + 1)):
                left = max(0, x + reach - width + 1)
                right = min(size, x + reach + 1)
                start = x + reach - right + 1
                target = response[y + reach - i, start : start + right - left]
                source = kernel[i, size - right : size - left]
                for n in range(right - left):
                    target[n] += value * source[n]


@njit(cache=True, nogil=True, inline="always")
def _normalize(response, scale, threshold, radius, columns, out):
    """Threshold ``scale * response``, divide by its local mean over a zero-padded box, write to ``out``."""
    height, width = response.shape
    area = np.float64((2 * radius + 1) ** 2)
    columns[:] = 0
    for y in range(height):
        for x in range(width):
            value = response[y, x] * scale
            out[y, x] = value if value >= threshold else np.float32(0)
    for y in range(min(radius, height)):
        for x in range(width):
            columns[x] += out[y, x]
    # rows enter the running column sums ``radius`` ahead; ``out`` is overwritten only behind them
    raw = out.copy()
    for y in range(height):
        if y + radius < height:
            for x in range(width):
                columns[x] += raw[y + radius, x]
        if y - radius - 1 >= 0:
            for x in range(width):
                columns[x] -= raw[y - radius - 1, x]
        total = 0.0
        for x in range(min(radius, width)):
            total += columns[x]
        for x in range(width):
            if x + radius < width:
                total += columns[x + radius]
            if x - radius - 1 >= 0:
                total -= columns[x - radius - 1]
            if raw[y, x] > 0:
                out[y, x] = np.float32(raw[y, x] / np.float32(total / area + 1e-12))


@njit(cache=True, nogil=True)
def _bin(flat, total_bins, keys, other_keys, index, other_index, out):
    """Give each of the largest ``total_bins * (nonzero // total_bins)`` values its bin; the others none.

    A stable least-significant-digit radix sort of the float32 bits, largest first.
    """
    count = 0
    bits = flat.view(np.uint32)
    for n in range(len(flat)):
        out[n] = total_bins
        if bits[n]:
            keys[count] = ~bits[n]
            index[count] = n
            count += 1
    size = count // total_bins
    if size == 0:
        return
    buckets = np.empty(2049, np.int32)
    for shift in (np.uint32(0), np.uint32(11), np.uint32(22)):
        buckets[:] = 0
        for n in range(count):
            buckets[((keys[n] >> shift) & np.uint32(2047)) + 1] += 1
        for n in range(2048):
            buckets[n + 1] += buckets[n]
        for n in range(count):
            digit = (keys[n] >> shift) & np.uint32(2047)
            at = buckets[digit]
            buckets[digit] = at + 1
            other_keys[at] = keys[n]
            other_index[at] = index[n]
        keys, other_keys = other_keys, keys
        index, other_index = other_index, index
    for n in range(size * total_bins):
        out[index[n]] = n // size


@njit(cache=True, nogil=True, parallel=True)
def _intensities(images, kernels, ratios, threshold, radius, out):
    count, height, width = images.shape
    for n in prange(count):
        image = images[n].astype(np.float32)
        response = np.empty((height, width), np.float32)
        columns = np.empty(width, np.float64)
        for k in range(len(kernels)):
            _filter(image, kernels[k], response)
            for s in range(ratios.shape[1]):
                _normalize(response, ratios[k, s], threshold, radius, columns, out[n, 2 * k + s])


@njit(cache=True, nogil=True, parallel=True)
def _first_spike_bins(intensities, total_bins, out):
    count, size = intensities.shape
    for n in prange(count):
        keys, other_keys = np.empty(size, np.uint32), np.empty(size, np.uint32)
        index, other_index = np.empty(size, np.int32), np.empty(size, np.int32)
        _bin(intensities[n], total_bins, keys, other_keys, index, other_index, out[n])
