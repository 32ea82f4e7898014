"""First-spike convolution on the processor: event-driven, images spread over the cores."""

import numpy as np
from numba import njit, prange

from spikelore.kernels.convolution.events import add_event, pack_weights, sort_events


@njit(cache=True, nogil=True, parallel=True)
def _first_spike_bins(bins, packed, features, padding, threshold, total_bins, out):
    images, channels, height, width = bins.shape
    out_height, out_width = out.shape[2], out.shape[3]
    padded = packed.shape[2] // packed.shape[1]
    for n in prange(images):
        events = np.empty((channels * height * width, 3), np.int16)
        starts = np.empty(total_bins + 1, np.int32)
        potentials = np.zeros((out_height, out_width * padded), np.float32)
        first = np.full((out_height, out_width * padded), total_bins, np.int8)
        sort_events(bins[n], total_bins, padding, events, starts)
        for t in range(total_bins):
            if starts[t] == starts[t + 1]:
                continue
            for e in range(starts[t], starts[t + 1]):
                add_event(potentials, packed, events[e, 0], events[e, 1], events[e, 2], padded)
            for r in range(out_height):
                row, spikes = potentials[r], first[r]
                for x in range(out_width * padded):
                    spikes[x] = min(spikes[x], np.int8(t) if row[x] > threshold else np.int8(total_bins))
        for r in range(out_height):
            for x in range(out_width):
                for f in range(features):
                    out[n, f, r, x] = first[r, x * padded + f]


def first_spike_bins(bins, weights, *, padding, threshold, total_bins):
    """See `spikelore.kernels.convolution.reference.first_spike_bins`."""
    images, _, height, width = bins.shape
    features, _, kernel, _ = weights.shape
    out = np.empty((images, features, height + 2 * padding - kernel + 1, width + 2 * padding - kernel + 1), np.int8)
    _first_spike_bins(
        np.ascontiguousarray(bins), pack_weights(weights), features, padding, np.float32(threshold), total_bins, out
    )
    return out
