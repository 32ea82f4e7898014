"""What the Numba kernels of a first-spike convolution share: event lists and packed weights.

A wave is handled as a list of input spikes in order of their bin, each of which adds the weights of its
synapses to the potentials it reaches. Potentials and weights keep the feature axis last and padded to
whole vectors, and weights keep their columns reversed, so that one spike adds one contiguous run of
``kernel columns x features`` numbers per kernel row.
"""

import numpy as np

from spikelore.kernels import memory
from spikelore.kernels.compiled import compiled
from spikelore.kernels.vector import LANES, add_run


def pack_weights(weights: np.ndarray) -> np.ndarray:
    """(F,C,K,K) int32 -> contiguous (C,K,K*Fp), columns reversed and features padded with zeros to whole vectors."""
    features, channels, rows, columns = weights.shape
    padded = -(-features // LANES) * LANES
    packed = memory.zeros((channels, rows, columns, padded), np.int32)
    packed[..., :features] = weights[..., ::-1].transpose(1, 2, 3, 0)
    return packed.reshape(channels, rows, columns * padded)


@compiled()
def sort_events(bins, total_bins, padding, events, starts):
    """Counting-sort one wave (C,H,W) by bin into ``events`` (n,3) of (channel, padded row, padded column).

    ``starts`` (total_bins + 1,) receives where each bin begins. Within a bin events keep array order.
    """
    channels, height, width = bins.shape
    for t in range(total_bins + 1):
        starts[t] = 0
    for c in range(channels):
        for r in range(height):
            for x in range(width):
                t = bins[c, r, x]
                if t < total_bins:
                    starts[t + 1] += 1
    for t in range(total_bins):
        starts[t + 1] += starts[t]
    position = np.empty(total_bins, np.int32)
    for t in range(total_bins):
        position[t] = starts[t]
    for c in range(channels):
        for r in range(height):
            for x in range(width):
                t = bins[c, r, x]
                if t < total_bins:
                    n = position[t]
                    position[t] = n + 1
                    events[n, 0] = c
                    events[n, 1] = r + padding
                    events[n, 2] = x + padding


@compiled(inline="always")
def add_event(potentials, packed, channel, row, column, padded_features):
    """Add the synapses of one input spike to ``potentials`` (Ho, Wo*Fp).

    At most K*K*Fp additions, each of which reads a weight and a potential and writes a potential, 12 bytes: the
    processor's stores, one vector a cycle, are the limit.
    """
    out_height = potentials.shape[0]
    out_width = potentials.shape[1] // padded_features
    kernel = packed.shape[1]
    first = np.int64(column) - kernel + 1
    low = max(0, -first)
    high = min(kernel, out_width - first)
    length = (high - low) * padded_features
    for i in range(max(0, np.int64(row) - out_height + 1), min(kernel, np.int64(row) + 1)):
        at = ((row - i) * out_width + first + low) * padded_features
        start = ((np.int64(channel) * kernel + i) * kernel + low) * padded_features
        add_run(potentials, at, packed, start, length)
