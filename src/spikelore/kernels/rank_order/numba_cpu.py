"""Rank-order coding on the processor: images spread over the cores, work only where pixels are lit."""

import numpy as np

from spikelore.kernels.compiled import compiled, over_cores


@compiled()
def _filter(image, kernel, reach, response):
    """Correlate ``image`` (H,W) with the central ``2 reach + 1`` square of ``kernel``, from its lit pixels.

    ``kernel`` has its columns reversed, so that a pixel adds a run of it to a run of the response.
    """
    height, width = image.shape
    centre = kernel.shape[0] // 2
    for y in range(height):
        for x in range(width):
            response[y, x] = 0
    for y in range(height):
        for x in range(width):
            value = np.float32(image[y, x])
            if value == 0:
                continue
            first, last = max(0, x - reach), min(width - 1, x + reach)
            for r in range(max(0, y - reach), min(height - 1, y + reach) + 1):
                target = response[r, first : last + 1]
                source = kernel[centre + y - r, centre + first - x : centre + last - x + 1]
                for n in range(last - first + 1):
                    target[n] += value * source[n]


@compiled()
def _normalize(response, threshold, radius, out):
    """Threshold ``response`` and divide by its zero-padded local mean, from running row and column sums."""
    height, width = response.shape
    for y in range(height):
        for x in range(width):
            if response[y, x] < threshold:
                response[y, x] = 0
    columns = np.zeros(width)
    for y in range(min(radius, height)):
        for x in range(width):
            columns[x] += response[y, x]
    area = (2.0 * radius + 1.0) ** 2
    for y in range(height):
        if y + radius < height:
            for x in range(width):
                columns[x] += response[y + radius, x]
        if y > radius:
            for x in range(width):
                columns[x] -= response[y - radius - 1, x]
        total = 0.0
        for x in range(min(radius, width)):
            total += columns[x]
        for x in range(width):
            if x + radius < width:
                total += columns[x + radius]
            if x > radius:
                total -= columns[x - radius - 1]
            out[y, x] = 0
            if response[y, x] > 0:
                out[y, x] = response[y, x] / np.float32(total / area + 1e-12)


@over_cores
@compiled()
def _intensities(begin, end, images, kernels, reaches, threshold, radius, out):
    for n in range(begin, end):
        response = np.empty(images.shape[1:], np.float32)
        for c in range(len(kernels)):
            _filter(images[n], kernels[c], reaches[c], response)
            _normalize(response, threshold, radius, out[n, c])


def intensities(images, kernels, threshold, normalization_radius):
    """See `spikelore.kernels.rank_order.intensities`."""
    out = np.empty((len(images), len(kernels), *images.shape[1:]), np.float32)
    centre = kernels.shape[1] // 2
    reaches = np.array([np.abs(np.argwhere(kernel) - centre).max() for kernel in kernels])
    reversed_kernels = np.ascontiguousarray(kernels[:, :, ::-1], np.float32)
    _intensities(len(images), images, reversed_kernels, reaches, np.float32(threshold), normalization_radius, out)
    return out


@compiled()
def _sort_into_bins(flat, total_bins, keys, other_keys, index, other_index, out):
    """Stable radix sort of the float32 bits, inverted so that the largest comes first."""
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
    low = np.uint32(2047)
    for shift in (np.uint32(0), np.uint32(11), np.uint32(22)):
        for n in range(2049):
            buckets[n] = 0
        for n in range(count):
            buckets[((keys[n] >> shift) & low) + 1] += 1
        for n in range(2048):
            buckets[n + 1] += buckets[n]
        for n in range(count):
            digit = (keys[n] >> shift) & low
            at = buckets[digit]
            buckets[digit] = at + 1
            other_keys[at] = keys[n]
            other_index[at] = index[n]
        keys, other_keys = other_keys, keys
        index, other_index = other_index, index
    for n in range(size * total_bins):
        out[index[n]] = n // size


@over_cores
@compiled()
def _first_spike_bins(begin, end, intensity, total_bins, out):
    size = intensity.shape[1]
    for n in range(begin, end):
        keys, other_keys = np.empty(size, np.uint32), np.empty(size, np.uint32)
        index, other_index = np.empty(size, np.int32), np.empty(size, np.int32)
        _sort_into_bins(intensity[n], total_bins, keys, other_keys, index, other_index, out[n])


def first_spike_bins(intensity, total_bins):
    """See `spikelore.kernels.rank_order.first_spike_bins`."""
    out = np.empty(intensity.shape, np.int8)
    flat = np.ascontiguousarray(intensity, np.float32).reshape(len(intensity), -1)
    _first_spike_bins(len(flat), flat, total_bins, out.reshape(flat.shape))
    return out
