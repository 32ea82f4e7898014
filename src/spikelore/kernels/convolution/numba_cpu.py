"""The convolution layer on the processor: event-driven, images spread over the cores."""

import numpy as np

from spikelore.kernels.compiled import compiled, over_cores
from spikelore.kernels.convolution.events import add_event, pack_weights, sort_events
from spikelore.kernels.convolution.grid import grid_bits, threshold_on_grid, to_grid


@over_cores
@compiled()
def _first_spike_bins(begin, end, bins, packed, padding, threshold, total_bins, pool, out_height, out_width, out):
    _, channels, height, width = bins.shape
    padded = packed.shape[2] // packed.shape[1]
    never = np.int8(total_bins)
    _, features, pooled_height, pooled_width = out.shape
    events = np.empty((channels * height * width, 3), np.int16)
    starts = np.empty(total_bins + 1, np.int32)
    potentials = np.empty((out_height, out_width * padded), np.int32)
    first = np.empty((pooled_height, pooled_width, padded), np.int8)
    for n in range(begin, end):
        potentials[:] = 0
        first[:] = never
        sort_events(bins[n], total_bins, padding, events, starts)
        for t in range(total_bins):
            if starts[t] == starts[t + 1]:
                continue
            for e in range(starts[t], starts[t + 1]):
                add_event(potentials, packed, events[e, 0], events[e, 1], events[e, 2], padded)
            now = np.int8(t)
            for y in range(pooled_height * pool):
                for x in range(pooled_width * pool):
                    here = potentials[y, x * padded : (x + 1) * padded]
                    spike = first[y // pool, x // pool]
                    for f in range(padded):
                        spike[f] = min(spike[f], now if here[f] > threshold else never)
        for f in range(features):
            for y in range(pooled_height):
                for x in range(pooled_width):
                    out[n, f, y, x] = first[y, x, f]


def first_spike_bins(bins, weights, padding, threshold, total_bins, pool):
    """See `spikelore.kernels.convolution.first_spike_bins`."""
    features, _, kernel, _ = weights.shape
    height, width = (side + 2 * padding - kernel + 1 for side in bins.shape[2:])
    out = np.empty((len(bins), features, height // pool, width // pool), np.int8)
    bits = grid_bits(weights)
    packed = pack_weights(to_grid(weights, bits))
    limit = threshold_on_grid(threshold, bits)
    _first_spike_bins(len(bins), bins, packed, padding, limit, total_bins, pool, height, width, out)
    return out


def spikes(spiked, weights, padding, threshold, pool):
    """See `spikelore.kernels.convolution.spikes`: one bin, in which every input that spikes is on."""
    return first_spike_bins((~spiked).view(np.int8), weights, padding, threshold, 1, pool) == 0
