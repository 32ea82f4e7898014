"""Rewarded learning on the processor: exactly the sequential result, most of it in parallel.

An image changes one feature only. So the potentials of a block of images are taken first, with the weights
from before the block, spread over features and images on all cores. Then the block is walked in order.
A feature that has not changed yet still has its exact potential. One that has changed can have risen by at
most (its positive rates so far) x (the image's spikes); only if that could beat the best is its potential
taken again. All sums run in one order (places, then channels in runs), so both ways give the same bits.
"""

import numpy as np

from spikelore.kernels import memory
from spikelore.kernels.compiled import compiled, over_cores
from spikelore.kernels.reward_stdp.vector import make_add_rows
from spikelore.kernels.vector import LANES

BLOCK = 64
"""Images whose potentials are taken together."""
_GROUP = 16
"""Images that one job of a block handles."""
_RUN = 32
"""Spikes summed before they join the potential: thousands of equal weights would drift in float32."""
_STRETCH = 2 * _RUN
"""Spikes of an image at a place that are taken before the next image's."""

_add_1, _add_2, _add_3, _add_4 = (make_add_rows(vectors) for vectors in range(1, 5))


@compiled()
def _add_runs(vectors, target, at, table, offset, stride, rows, first, last):
    """``add_rows`` for any number of vectors, four at a time."""
    while vectors > 0:
        if vectors >= 4:
            _add_4(target, at, table, offset, stride, rows, first, last)
        elif vectors == 3:
            _add_3(target, at, table, offset, stride, rows, first, last)
        elif vectors == 2:
            _add_2(target, at, table, offset, stride, rows, first, last)
        else:
            _add_1(target, at, table, offset, stride, rows, first, last)
        vectors -= 4
        at += 4 * LANES
        offset += 4 * LANES


@over_cores
@compiled()
def _block_potentials(begin, end, starts, channels, images, tiles, height, width, padding, out):
    """Largest potential over places of ``images`` for all features: ``out`` (images, tiles * LANES).

    ``tiles`` (tiles, C, K, K*LANES) keeps 16 features together, a few hundred kilobytes that stay in a
    core's cache, with kernel columns reversed so that neighbouring places read neighbouring vectors. A stretch of each
    image's spikes at a place reads about the same few rows of it: all images of a group come to them while they are in
    the nearest cache.
    """
    kernel = tiles.shape[2]
    out_height, out_width = height + 2 * padding - kernel + 1, width + 2 * padding - kernel + 1
    row_length = kernel * LANES
    stride, size = kernel * row_length, out_height * out_width * LANES
    groups = (len(images) + _GROUP - 1) // _GROUP
    potentials = np.empty(_GROUP * size, np.float32)
    for job in range(begin, end):
        tile, group = job // groups, job % groups
        table = tiles[tile].ravel()
        here = images[group * _GROUP : (group + 1) * _GROUP]
        for at in range(len(potentials)):
            potentials[at] = 0
        for place in range(height * width):
            y, x = place // width + padding, place % width + padding
            left, right = max(0, x - kernel + 1), min(out_width, x + 1)
            longest = 0
            for image in here:
                longest = max(longest, starts[image, place + 1] - starts[image, place])
            for begun in range(0, longest, _STRETCH):
                for r in range(max(0, y - kernel + 1), min(out_height, y + 1)):
                    offset = (y - r) * row_length + (kernel - 1 - x + left) * LANES
                    for n in range(len(here)):
                        first = starts[here[n], place] + begun
                        last = min(starts[here[n], place + 1], first + _STRETCH)
                        at = n * size + (r * out_width + left) * LANES
                        for e in range(first, last, _RUN):
                            stop = min(last, e + _RUN)
                            _add_runs(right - left, potentials, at, table, offset, stride, channels, e, stop)
        for n in range(len(here)):
            for f in range(LANES):
                best = potentials[n * size + f]
                for at in range(LANES, size, LANES):
                    best = max(best, potentials[n * size + at + f])
                out[group * _GROUP + n, tile * LANES + f] = best


@compiled()
def one_potential(starts, channels, image, table, kernel, height, width, padding, potentials, sums):
    """Write the ``potentials`` (H',W') of one feature, whose weights are ``table`` (C, K*K padded to vectors).

    Returns the largest, and the row and column where it comes first.
    """
    out_height, out_width = potentials.shape
    stride = table.shape[1]
    flat = table.ravel()
    for r in range(out_height):
        for q in range(out_width):
            potentials[r, q] = 0
    for place in range(height * width):
        first, last = starts[image, place], starts[image, place + 1]
        y, x = place // width + padding, place % width + padding
        for e in range(first, last, _RUN):
            for n in range(stride):
                sums[n] = 0
            _add_runs(stride // LANES, sums, 0, flat, 0, stride, channels, e, min(last, e + _RUN))
            for r in range(max(0, y - kernel + 1), min(out_height, y + 1)):
                for q in range(max(0, x - kernel + 1), min(out_width, x + 1)):
                    potentials[r, q] += sums[(y - r) * kernel + x - q]
    best, row, column = potentials[0, 0], 0, 0
    for r in range(out_height):
        for q in range(out_width):
            if potentials[r, q] > best:
                best, row, column = potentials[r, q], r, q
    return best, row, column


@compiled()
def _walk(
    starts, channels, images, labels, classes, learned, kernel, height, width, padding, block,
    rates, lower, upper, plasticity, changed, winners, winner_potentials,
):  # fmt: skip
    """Decide and learn in order; ``changed`` (F,) tells afterwards which features did.

    Bounds are those of each synapse, like ``learned``, or one for all, (1,1,1).
    """
    features, inputs, synapses = learned.shape
    out_height, out_width = height + 2 * padding - kernel + 1, width + 2 * padding - kernel + 1
    potentials = np.empty((out_height, out_width), np.float32)
    sums = np.empty(synapses, np.float32)
    rise = np.zeros(features, np.float32)
    patch = np.empty((inputs, synapses), np.float32)
    slack = np.float32(1 + 1e-5)  # of float32 sums of thousands of weights
    low, high, each = lower[0, 0, 0], upper[0, 0, 0], lower.size > 1
    for n in range(len(images)):
        image = images[n]
        count = np.float32(starts[image, height * width] - starts[image, 0])
        best = np.float32(0)
        winner = -1
        for f in range(features):
            if not changed[f] and block[n, f] > best:
                best, winner = block[n, f], f
        for f in range(features):
            if changed[f] and (block[n, f] + rise[f] * count) * slack >= best:
                potential, _, _ = one_potential(
                    starts, channels, image, learned[f], kernel, height, width, padding, potentials, sums
                )
                if potential > best or (potential == best and 0 <= f < winner):
                    best, winner = potential, f
        if winner < 0:
            continue
        _, row, column = one_potential(
            starts, channels, image, learned[winner], kernel, height, width, padding, potentials, sums
        )
        winners[n, 0], winners[n, 1], winners[n, 2] = winner, row, column
        winner_potentials[n] = best
        pair = rates[n, 0] if classes[winner] == labels[image] else rates[n, 1]
        on, off = pair[0] * plasticity[winner], pair[1] * plasticity[winner]
        for c in range(inputs):
            for s in range(synapses):
                patch[c, s] = off
        for place in range(height * width):
            i, j = place // width + padding - row, place % width + padding - column
            if 0 <= i < kernel and 0 <= j < kernel:
                for e in range(starts[image, place], starts[image, place + 1]):
                    patch[channels[e], i * kernel + j] = on
        weights = learned[winner]
        for c in range(inputs):
            if each:
                for s in range(synapses):
                    weights[c, s] = min(max(weights[c, s] + patch[c, s], lower[winner, c, s]), upper[winner, c, s])
            else:
                for s in range(synapses):
                    weights[c, s] = min(max(weights[c, s] + patch[c, s], low), high)
        rise[winner] += max(on, off, np.float32(0))
        changed[winner] = True


@compiled()
def _refresh_tile(learned, changed, tiles, tile):
    kernel = tiles.shape[2]
    for f in range(tile * LANES, min(len(learned), (tile + 1) * LANES)):
        if changed[f]:
            for c in range(learned.shape[1]):
                for i in range(kernel):
                    for j in range(kernel):
                        at = (kernel - 1 - j) * LANES + f % LANES
                        tiles[tile, c, i, at] = learned[f, c, i * kernel + j]


@over_cores
@compiled()
def _refresh(begin, end, learned, changed, tiles):
    for tile in range(begin, end):
        _refresh_tile(learned, changed, tiles, tile)


def refresh(learned, changed, tiles):
    """Copy the features that changed into their tiles."""
    touched = np.unique(np.flatnonzero(changed) // LANES)
    if len(touched) > 2:
        _refresh(len(tiles), learned, changed, tiles)
    else:  # less work than to wake the other threads
        for tile in touched:
            _refresh_tile(learned, changed, tiles, tile)


def block_potentials(spikes, images, tiles, padding):
    """Return the largest potential over places of ``images`` for all features of `pack_tiles`, zeros at the end."""
    out = np.empty((len(images), len(tiles) * LANES), np.float32)
    _, height, width = spikes.shape
    jobs = len(tiles) * -(-len(images) // _GROUP)
    _block_potentials(jobs, spikes.starts, spikes.channels, images, tiles, height, width, padding, out)
    return out


def pack_synapses(weights):
    """Return (F,C,K,K) weights as (F,C,K*K padded to vectors), the layout of `one_potential`."""
    features, channels, kernel, _ = weights.shape
    packed = memory.zeros((features, channels, -(-kernel * kernel // LANES) * LANES))
    packed[:, :, : kernel * kernel] = weights.reshape(features, channels, -1)
    return packed


def pack_tiles(weights):
    """Return (F,C,K,K) weights in tiles of 16 features, the layout of `block_potentials`."""
    features, channels, kernel, _ = weights.shape
    tiles = -(-features // LANES)
    padded = np.zeros((tiles * LANES, channels, kernel, kernel), np.float32)
    padded[:features] = weights[..., ::-1]
    packed = memory.empty((tiles, channels, kernel, kernel, LANES))
    packed[:] = padded.reshape(tiles, LANES, channels, kernel, kernel).transpose(0, 2, 3, 4, 1)
    return packed.reshape(tiles, channels, kernel, kernel * LANES)


def feature_potentials(spikes, weights, padding):
    """See `spikelore.kernels.reward_stdp.feature_potentials`."""
    return block_potentials(spikes, np.arange(len(spikes)), pack_tiles(weights), padding)[:, : len(weights)]


def train(spikes, order, labels, weights, feature_classes, padding, rates, lower, upper, plasticity):
    """See `spikelore.kernels.reward_stdp.train`."""
    features, _, kernel, _ = weights.shape
    _, height, width = spikes.shape
    learned = pack_synapses(weights)
    tiles = pack_tiles(weights)
    winners = np.full((len(order), 3), -1, np.int16)
    winner_potentials = np.zeros(len(order), np.float32)
    clipped = (lower <= weights).all() and (weights <= upper).all()
    lower, upper = (pack_synapses(one) if one.ndim else one.reshape(1, 1, 1) for one in (lower, upper))
    start = 0
    while start < len(order):
        stop = min(len(order), start + (BLOCK if clipped else 1))
        images = order[start:stop]
        block = block_potentials(spikes, images, tiles, padding)
        changed = np.zeros(features, np.bool_)
        _walk(
            spikes.starts, spikes.channels, images, labels, feature_classes, learned, kernel, height, width,
            padding, block, rates[start:stop], lower, upper, plasticity, changed,
            winners[start:stop], winner_potentials[start:stop],
        )  # fmt: skip
        if not clipped and changed.any():
            np.clip(learned, lower, upper, out=learned)
            changed[:] = clipped = True
        refresh(learned, changed, tiles)
        start = stop
    return learned[:, :, : kernel * kernel].reshape(weights.shape), winners, winner_potentials
