"""Rewarded learning on the processor: exactly the sequential result, most potentials never taken.

An image changes one feature only, and by little. So most features' potentials are ruled out by what is known from
earlier weights (`known_potentials`). Images that nothing is known of come in blocks: their potentials are taken
together, with the weights from before the block, spread over features and images on all cores. All sums run in one
order (places, then channels in runs), so all ways give the same bits.
"""

import numpy as np

from spikelore.kernels import memory
from spikelore.kernels.compiled import compiled, over_cores
from spikelore.kernels.reward_stdp.known_potentials import RUN, norm, upwards
from spikelore.kernels.reward_stdp.vector import make_add_rows, make_sum_two
from spikelore.kernels.vector import LANES

BLOCK = 64
"""Images whose potentials are taken together."""
_GROUP = 16
"""Images that one job of a block handles."""
_STRETCH = 2 * RUN
"""Spikes of an image at a place that are taken before the next image's."""
_LARGE = 1e30
"""Weights whose sums are finite are smaller."""

_add_1, _add_2, _add_3, _add_4 = (make_add_rows(vectors) for vectors in range(1, 5))
_sum_two_1, _sum_two_2 = (make_sum_two(vectors) for vectors in range(1, 3))


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
                        for e in range(first, last, RUN):
                            stop = min(last, e + RUN)
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

    ``sums`` has room for twice a row of the table. Returns the largest, and the row and column where it comes first.
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
        top, bottom = max(0, y - kernel + 1), min(out_height, y + 1)
        left, right = max(0, x - kernel + 1), min(out_width, x + 1)
        vectors = ((bottom - top) * kernel + LANES - 1) // LANES  # those of the kernel's rows that meet the place
        offset = min((y - bottom + 1) * kernel, stride - vectors * LANES)
        for e in range(first, last, 2 * RUN):
            middle, stop = min(last, e + RUN), min(last, e + 2 * RUN)
            for n in range(0, vectors, 2):
                at = n * LANES
                if n + 1 < vectors:
                    _sum_two_2(sums, at, stride, flat, offset + at, stride, channels, e, middle, stop)
                else:
                    _sum_two_1(sums, at, stride, flat, offset + at, stride, channels, e, middle, stop)
            for shift in range(-offset, stride - offset + 1 if stop > middle else 1 - offset, stride):
                for r in range(top, bottom):
                    at = (y - r) * kernel + x + shift
                    for q in range(left, right):
                        potentials[r, q] += sums[at - q]
    best, row, column = potentials[0, 0], 0, 0
    for r in range(out_height):
        for q in range(out_width):
            if potentials[r, q] > best:
                best, row, column = potentials[r, q], r, q
    return best, row, column


@compiled()
def _largest(bounds):
    """Return the first of the largest."""
    found, most = 0, bounds[0]
    for f in range(1, len(bounds)):
        if bounds[f] > most:
            found, most = f, bounds[f]
    return found


@compiled()
def _walk(
    starts, channels, images, labels, classes, learned, kernel, height, width, padding, block, fresh,
    seen, weights_then, above, drift, reach, slack, rates, lower, upper, plasticity, changed,
    winners, winner_potentials,
):  # fmt: skip
    """Decide and learn in order; ``changed`` (F,) tells afterwards which features did.

    What is known of potentials is in ``seen`` to ``slack``, see `KnownPotentials`; of images that are ``fresh`` it is
    their row of ``block``, the potentials from before the block. Bounds of weights are those of each synapse, like
    ``learned``, or one for all, (1,1,1).

    Returns how many features' bounds reached the best potential.
    """
    features, inputs, synapses = learned.shape
    out_height, out_width = height + 2 * padding - kernel + 1, width + 2 * padding - kernel + 1
    potentials = np.empty((out_height, out_width), np.float32)
    sums = np.empty(2 * synapses, np.float32)
    patch = np.empty((inputs, synapses), np.float32)
    squares = np.empty((3, synapses), np.float32)
    rise, fall_then, bounds = np.zeros(features, np.float32), drift[1].copy(), np.empty(features, np.float32)
    zero, used = np.float32(0), kernel * kernel
    low, high, each = lower[0, 0, 0], upper[0, 0, 0], lower.size > 1
    reached = 0
    for n in range(len(images)):
        image = images[n]
        if starts[image, height * width] == starts[image, 0]:
            continue
        far, is_fresh = reach[image], fresh[n]
        row, risen = (block[n], rise) if is_fresh else (above[image], drift[0])
        for f in range(features):
            bound = row[f] + risen[f] * far
            bounds[f] = bound if bound == bound else np.inf
        best, winner, place_row, place_column = zero, -1, -1, -1
        for _ in range(features):
            f = _largest(bounds)
            if bounds[f] + slack[image] < best:
                break
            bounds[f] = -np.inf
            if is_fresh and not changed[f]:
                potential, r, q = row[f], -1, -1
            else:
                potential, r, q = one_potential(
                    starts, channels, image, learned[f], kernel, height, width, padding, potentials, sums
                )
                if not is_fresh:
                    row[f] = upwards(potential + drift[1, f] * far)
                    reached += 1
            if potential > best or (potential == best and f < winner):
                best, winner, place_row, place_column = potential, f, r, q
        if is_fresh and seen[image]:
            for f in range(features):
                reached += above[image, f] + drift[0, f] * far + slack[image] >= best
        if winner < 0:
            continue
        if place_row < 0:
            _, place_row, place_column = one_potential(
                starts, channels, image, learned[winner], kernel, height, width, padding, potentials, sums
            )
        winners[n, 0], winners[n, 1], winners[n, 2] = winner, place_row, place_column
        winner_potentials[n] = best
        pair = rates[n, 0] if classes[winner] == labels[image] else rates[n, 1]
        on, off = pair[0] * plasticity[winner], pair[1] * plasticity[winner]
        for c in range(inputs):
            for s in range(synapses):
                patch[c, s] = off
        for place in range(height * width):
            i, j = place // width + padding - place_row, place % width + padding - place_column
            if 0 <= i < kernel and 0 <= j < kernel:
                for e in range(starts[image, place], starts[image, place + 1]):
                    patch[channels[e], i * kernel + j] = on
        squares[:] = 0
        weights, then = learned[winner], weights_then[winner]
        for c in range(inputs):
            for s in range(synapses):
                old = weights[c, s]
                new = old + patch[c, s]
                new = min(max(new, lower[winner, c, s]), upper[winner, c, s]) if each else min(max(new, low), high)
                weights[c, s] = new
                now, up, down = max(new - old, zero), max(new - then[c, s], zero), max(then[c, s] - new, zero)
                squares[0, s] += now * now
                squares[1, s] += up * up
                squares[2, s] += down * down
        rise[winner] += norm(squares[0, :used])
        drift[0, winner], drift[1, winner] = norm(squares[1, :used]), norm(squares[2, :used])
        changed[winner] = True
    for n in range(len(images)):
        if fresh[n]:
            for f in range(features):
                above[images[n], f] = upwards(block[n, f] + fall_then[f] * reach[images[n]])
    return reached


@over_cores
@compiled()
def _decide(begin, end, starts, channels, learned, kernel, height, width, padding, above, slack, winners):
    """Write the winner of each image: -1 without a spike, and nothing where the best potential is 0."""
    features, _, synapses = learned.shape
    out_height, out_width = height + 2 * padding - kernel + 1, width + 2 * padding - kernel + 1
    potentials = np.empty((out_height, out_width), np.float32)
    sums, bounds = np.empty(2 * synapses, np.float32), np.empty(features, np.float32)
    for n in range(begin, end):
        if starts[n, height * width] == starts[n, 0]:
            winners[n] = -1
            continue
        row = above[n]
        bounds[:] = row
        best, winner = np.float32(-np.inf), -1
        for _ in range(features):
            f = _largest(bounds)
            if bounds[f] + slack[n] < best:
                break
            bounds[f] = -np.inf
            potential, _, _ = one_potential(
                starts, channels, n, learned[f], kernel, height, width, padding, potentials, sums
            )
            row[f] = potential
            if potential > best or (potential == best and f < winner):
                best, winner = potential, f
        if best != 0:
            winners[n] = winner


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


def winners(spikes, weights, padding, known):
    """Return the winner of each image as `spikelore.kernels.reward_stdp.winners`, -2 where only all potentials tell."""
    features, _, kernel, _ = weights.shape
    _, height, width = spikes.shape
    found, largest = np.full(len(spikes), -2), abs(weights).max()
    if not largest < _LARGE:
        return found
    learned = pack_synapses(weights)
    known.begin(spikes, np.arange(len(spikes)), learned, kernel, largest, learns=False)
    fresh = np.flatnonzero(~known.seen)
    if len(fresh):
        known.above[fresh] = block_potentials(spikes, fresh, pack_tiles(weights), padding)[:, :features]
        known.seen[fresh] = True
    _decide(
        len(spikes), spikes.starts, spikes.channels, learned, kernel, height, width, padding, known.above, known.slack,
        found,
    )  # fmt: skip
    return found


def train(spikes, order, labels, weights, feature_classes, padding, rates, lower, upper, plasticity, known):
    """See `spikelore.kernels.reward_stdp.train`."""
    features, _, kernel, _ = weights.shape
    _, height, width = spikes.shape
    learned = pack_synapses(weights)
    largest = max(abs(each).max() for each in (weights, lower, upper))
    winners = np.full((len(order), 3), -1, np.int16)
    winner_potentials = np.zeros(len(order), np.float32)
    clipped = (lower <= weights).all() and (weights <= upper).all()
    lower, upper = (pack_synapses(one) if one.ndim else one.reshape(1, 1, 1) for one in (lower, upper))
    tiles, stale = None, np.zeros(features, np.bool_)
    start = ready = 0
    while start < len(order):
        if start == ready:
            ready += known.begin(spikes, order[start:], learned, kernel, largest)
        stop = min(ready, start + (BLOCK if clipped else 1))
        images = order[start:stop]
        seen = known.seen[images]
        fresh = ~seen | known.crowded
        block = np.empty((len(images), features), np.float32)
        if fresh.any():
            if tiles is None:
                tiles = pack_tiles(learned[:, :, : kernel * kernel].reshape(weights.shape))
            else:
                refresh(learned, stale, tiles)
            stale[:] = False
            block[fresh] = block_potentials(spikes, images[fresh], tiles, padding)[:, :features]
        changed = np.zeros(features, np.bool_)
        reached = _walk(
            spikes.starts, spikes.channels, images, labels, feature_classes, learned, kernel, height, width,
            padding, block, fresh, known.seen, known.weights, known.above, known.drift, known.reach, known.slack,
            rates[start:stop], lower, upper, plasticity, changed, winners[start:stop], winner_potentials[start:stop],
        )  # fmt: skip
        known.met(reached, seen.sum())
        known.seen[images] = True
        if not clipped and changed.any():
            np.clip(learned, lower, upper, out=learned)
            changed[:] = clipped = True
            ready = stop
        stale |= changed
        start = stop
    return learned[:, :, : kernel * kernel].reshape(weights.shape), winners, winner_potentials
