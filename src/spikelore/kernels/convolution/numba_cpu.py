"""The convolution layer on the processor: only spikes are added up, images spread over the cores.

When a neuron first spikes is found input spike by input spike, in the order of bins. Whether it ever does needs no
order: its inputs are listed, and their weights added up in registers.
"""

import numpy as np

from spikelore.kernels.compiled import compiled, over_cores
from spikelore.kernels.convolution.events import add_event, pack_weights, sort_events
from spikelore.kernels.convolution.grid import grid_bits, threshold_on_grid, to_grid
from spikelore.kernels.vector import line_of_zeros
from spikelore.kernels.windows import LARGEST_WINDOW, LISTED, TILE, add_two_lists, list_windows_, pack_tiles


@over_cores
@compiled()
def _first_spike_bins(begin, end, bins, packed, padding, threshold, total_bins, pool, out_height, out_width, out):
    """Write in which bin pooled neurons first spike: ``out`` (N,F,H',W').

    An image costs the additions of its events, see `add_event`, and a comparison for each neuron and bin with an event.
    """
    _, channels, height, width = bins.shape
    padded = packed.shape[2] // packed.shape[1]
    never = np.int32(total_bins)
    _, features, pooled_height, pooled_width = out.shape
    events = np.empty((channels * height * width, 3), np.int16)
    starts = np.empty(total_bins + 1, np.int32)
    row_length = out_width * padded
    potentials = line_of_zeros(out_height * row_length).reshape(out_height, row_length)
    most, first = line_of_zeros(row_length), line_of_zeros(pooled_height * row_length)
    first = first.reshape(pooled_height, row_length)
    for n in range(begin, end):
        for y in range(out_height):
            for at in range(row_length):
                potentials[y, at] = 0
        for py in range(pooled_height):
            for at in range(row_length):
                first[py, at] = never
        sort_events(bins[n], total_bins, padding, events, starts)
        for t in range(total_bins):
            if starts[t] == starts[t + 1]:
                continue
            for e in range(starts[t], starts[t + 1]):
                add_event(potentials, packed, events[e, 0], events[e, 1], events[e, 2], padded)
            now = np.int32(t)
            for py in range(pooled_height):
                for at in range(row_length):
                    most[at] = potentials[py * pool, at]
                for y in range(py * pool + 1, (py + 1) * pool):
                    for at in range(row_length):
                        most[at] = max(most[at], potentials[y, at])
                for at in range(row_length):
                    first[py, at] = min(first[py, at], now if most[at] > threshold else never)
        for f in range(features):
            for py in range(pooled_height):
                for px in range(pooled_width):
                    earliest = never
                    for x in range(px * pool, (px + 1) * pool):
                        earliest = min(earliest, first[py, x * padded + f])
                    out[n, f, py, px] = earliest


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


@over_cores
@compiled()
def _spikes(begin, end, spiked, table, kernel, padding, threshold, pool, out):
    """Write which pooled neurons ever spike: ``out`` (N,F,H',W').

    An image costs F additions for each spike of a window, as many times four bytes of ``table`` read from the nearest
    cache, 16 features an instruction; and a comparison for each value of the windows, to list them.
    """
    _, channels, height, width = spiked.shape
    _, features, pooled_height, pooled_width = out.shape
    rows, columns = height + 2 * padding, width + 2 * padding
    run, windows = kernel * channels, columns - kernel + 1
    flat, tile_size = table.ravel(), kernel * run * TILE
    here = np.zeros(rows * columns * channels + LISTED, np.float32)
    events = np.empty(windows * rows * run + LISTED, np.uint16)
    bounds = np.empty((windows, rows + 1), np.int64)
    start, sums, best = np.zeros(TILE, np.int32), np.empty((2, TILE), np.int32), np.empty(TILE, np.int32)
    flat_sums = sums.ravel()
    for image in range(begin, end):
        for y in range(height):
            for c in range(channels):
                for x in range(width):
                    here[((y + padding) * columns + x + padding) * channels + c] = spiked[image, c, y, x]
        list_windows_(here, np.float32(0), channels, kernel, events, 0, bounds)
        for tile in range(len(table)):
            used = min(TILE, features - tile * TILE)
            for py in range(pooled_height):
                for px in range(pooled_width):
                    for inside in range(0, pool * pool, 2):
                        both = inside + 1 < pool * pool
                        y, x = py * pool + inside // pool, px * pool + inside % pool
                        y2, x2 = py * pool + (inside + both) // pool, px * pool + (inside + both) % pool
                        add_two_lists(
                            flat_sums, start, 0, flat, TILE, events,
                            tile * tile_size - y * run * TILE, bounds[x, y], bounds[x, y + kernel],
                            tile * tile_size - y2 * run * TILE, bounds[x2, y2],
                            bounds[x2, y2 + kernel] if both else bounds[x2, y2],
                        )  # fmt: skip
                        for n in range(TILE):
                            most = max(sums[0, n], sums[1, n]) if both else sums[0, n]
                            best[n] = most if inside == 0 else max(best[n], most)
                    for n in range(used):
                        out[image, tile * TILE + n, py, px] = best[n] > threshold


def spikes(spiked, weights, padding, threshold, pool):
    """See `spikelore.kernels.convolution.spikes`: in one bin, in which every input that spikes is on."""
    features, channels, kernel, _ = weights.shape
    rows, columns = (side + 2 * padding for side in spiked.shape[2:])
    if rows * kernel * channels > LARGEST_WINDOW:
        return first_spike_bins((~spiked).view(np.int8), weights, padding, threshold, 1, pool) == 0
    out = np.empty((len(spiked), features, (rows - kernel + 1) // pool, (columns - kernel + 1) // pool), np.bool_)
    bits = grid_bits(weights)
    table, limit = pack_tiles(to_grid(weights, bits)), threshold_on_grid(threshold, bits)
    _spikes(len(spiked), np.ascontiguousarray(spiked), table, kernel, padding, limit, pool, out)
    return out
