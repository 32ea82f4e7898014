"""The same on the processor: only spikes are added up, only pooled winners send gradients back.

One job takes whole images through all steps, so that potentials, spikes and their gradients stay in its
cache and never become arrays of the batch; going back, it computes the potentials again. The spikes of all steps
are listed first. Then features are taken in tiles so narrow that the weights of a whole kernel, or their
gradients, stay in the nearest cache while one tile sees every step.
"""

import numpy as np
from numpy.typing import NDArray

from spikelore.kernels import memory
from spikelore.kernels.compiled import compiled, over_cores
from spikelore.kernels.lif_convolution.vector import append_won, make_scatter_won, make_weigh_rows
from spikelore.kernels.lif_scan import Leaky
from spikelore.kernels.lif_scan.numba_cpu import add_, carry_back_, clear_, constants, copy_, slopes_, step_
from spikelore.kernels.vector import LANES
from spikelore.kernels.windows import LISTED, TILE, add_two_lists, list_windows_, pack_tiles

_RUN = 4 * LANES  # inputs of a kernel row that get gradients together
_scatter_won, _weigh_rows = make_scatter_won(TILE // LANES), make_weigh_rows(_RUN // LANES)


@over_cores
@compiled(error_model="numpy")
def _forward(begin, end, jobs, currents, shape, neuron, table, start, kernel, pool, pooled, winners):
    rows, columns, channels = shape
    size, run, windows = rows * columns * channels, kernel * channels, columns - kernel + 1
    steps, images, pooled_rows, pooled_columns, features = pooled.shape
    flat, tile_size = table.ravel(), kernel * run * TILE
    constant = len(currents) == 1
    for job in range(begin, end):
        states = np.empty((2, size + LISTED), np.float32)
        events = np.empty(steps * windows * rows * run + LISTED, np.uint16)
        bounds = np.empty((steps, windows, rows + 1), np.int64)
        sums = np.empty((2, TILE), np.float32)
        flat_sums = sums.ravel()
        best = np.empty(TILE, np.float32)
        which = np.empty(TILE, np.int32)
        for image in range(job * images // jobs, (job + 1) * images // jobs):
            clear_(states[1])
            count = 0
            for t in range(steps):
                before, after = states[1 - (t & 1)], states[t & 1]
                step_(before[:size], currents[0 if constant else t, image], neuron, after[:size])
                count = list_windows_(after, neuron.threshold, channels, kernel, events, count, bounds[t])
            for tile in range(len(table)):
                used = min(TILE, features - tile * TILE)
                for t in range(steps):
                    for py in range(pooled_rows):
                        for px in range(pooled_columns):
                            for inside in range(0, pool * pool, 2):
                                y, x = py * pool + inside // pool, px * pool + inside % pool
                                y2, x2 = py * pool + (inside + 1) // pool, px * pool + (inside + 1) % pool
                                both = inside + 1 < pool * pool
                                add_two_lists(
                                    flat_sums, start, tile * TILE, flat, TILE, events,
                                    tile * tile_size - y * run * TILE,
                                    bounds[t, x, y], bounds[t, x, y + kernel],
                                    tile * tile_size - y2 * run * TILE,
                                    bounds[t, x2, y2] if both else 0, bounds[t, x2, y2 + kernel] if both else 0,
                                )  # fmt: skip
                                for place in range(inside, inside + 1 + both):
                                    for n in range(TILE):
                                        better = place == 0 or sums[place - inside, n] > best[n]
                                        best[n] = sums[place - inside, n] if better else best[n]
                                        which[n] = place if better else which[n]
                            for n in range(used):
                                pooled[t, image, py, px, tile * TILE + n] = best[n]
                                winners[t, image, py, px, tile * TILE + n] = which[n]


@over_cores
@compiled(error_model="numpy")
def _backward(
    begin, end, gradients, winners, currents, shape, neuron, runs, kernel, pool, table_gradients, current_gradients
):
    rows, columns, channels = shape
    width, run, windows = columns * channels, kernel * channels, columns - kernel + 1
    size = rows * width
    steps, images, pooled_rows, pooled_columns, features = gradients.shape
    used_rows, used_columns = pooled_rows * pool, pooled_columns * pool
    flat, padded_features, padded = runs.ravel(), runs.shape[0], runs.shape[2]
    most = padded_features + LANES
    constant = len(currents) == 1
    summed = constant and steps > 1
    jobs, tiles, table_size = table_gradients.shape
    for job in range(begin, end):
        potentials = np.zeros((steps + 1, size + LISTED), np.float32)
        events = np.empty(steps * windows * rows * run + LISTED, np.uint16)
        bounds = np.empty((steps, windows, rows + 1), np.int64)
        lists = np.empty(used_rows * used_columns * most, np.uint16)
        factors = np.empty(used_rows * used_columns * most, np.float32)
        counts = np.empty((used_rows, used_columns), np.int64)
        sent = np.empty(size + padded, np.float32)
        slopes = np.empty(size, np.float32)
        after = np.empty(size, np.float32)
        target = table_gradients[job].ravel()
        received = np.zeros((steps, pooled_rows, pooled_columns, padded_features), np.float32)
        # Features that are none: won no place but 255, where their gradient and weights are 0.
        won = np.full((steps, pooled_rows, pooled_columns, padded_features), 255, np.uint8)
        flat_received, flat_won = received.ravel(), won.ravel()
        for image in range(job * images // jobs, (job + 1) * images // jobs):
            count = 0
            for t in range(steps):
                here = potentials[t + 1]
                step_(potentials[t, :size], currents[0 if constant else t, image], neuron, here[:size])
                count = list_windows_(here, neuron.threshold, channels, kernel, events, count, bounds[t])
                for y in range(pooled_rows):
                    for x in range(pooled_columns):
                        for n in range(features):
                            received[t, y, x, n] = gradients[t, image, y, x, n]
                            won[t, y, x, n] = winners[t, image, y, x, n]
            for tile in range(tiles):
                for t in range(steps - 1, -1, -1):
                    for y in range(used_rows):
                        for x in range(used_columns):
                            cell = (t * pooled_rows + y // pool) * pooled_columns + x // pool
                            _scatter_won(
                                flat_received, flat_won, cell * padded_features + tile * TILE,
                                y % pool * pool + x % pool, target, tile * table_size - y * run * TILE, TILE,
                                events, bounds[t, x, y], bounds[t, x, y + kernel],
                            )  # fmt: skip
            clear_(after)
            if summed:
                clear_(current_gradients[0, image])
            for t in range(steps - 1, -1, -1):
                for y in range(used_rows):
                    for x in range(used_columns):
                        cell = (t * pooled_rows + y // pool) * pooled_columns + x // pool
                        place = y % pool * pool + x % pool
                        first = last = (y * used_columns + x) * most
                        for n in range(0, padded_features, LANES):
                            at = cell * padded_features + n
                            last = append_won(flat_received, flat_won, at, place, lists, factors, last, n)
                        lists[last] = 0
                        factors[last] = 0
                        counts[y, x] = (last - first + 1) & ~1
                clear_(sent)
                for start in range(0, padded, _RUN):
                    for k in range(kernel):
                        for y in range(used_rows):
                            for x in range(used_columns):
                                first = (y * used_columns + x) * most
                                _weigh_rows(
                                    sent, (y + k) * width + x * channels + start,
                                    flat, k * padded + start, kernel * padded,
                                    lists, factors, first, first + counts[y, x],
                                )  # fmt: skip
                here = potentials[t + 1, :size]
                slopes_(here, neuron, slopes)
                carry_back_(sent[:size], here, slopes, neuron, after)
                if summed:
                    add_(after, current_gradients[0, image])
                else:
                    copy_(after, current_gradients[t, image])


def _jobs(images: int) -> int:
    """Return how many jobs share the images: never by the number of cores, so that sums do not depend on it."""
    return max(1, min(16, images // 8))


def _padded(size: int, unit: int) -> int:
    return -(-size // unit) * unit


def forward(
    currents: NDArray[np.float32],
    weights: NDArray[np.float32],
    bias: NDArray[np.float32],
    leaky: Leaky | None,
    steps: int,
    pool: int,
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return pooled currents and winners, (T,B,H',W',F); see the package's `forward`."""
    given, images, rows, columns, channels = currents.shape
    features, _, kernel, _ = weights.shape
    table = pack_tiles(weights)
    shape = (steps, images, (rows - kernel + 1) // pool, (columns - kernel + 1) // pool, features)
    pooled, winners = memory.empty(shape), memory.empty(shape, np.uint8)
    start = np.zeros(len(table) * TILE, np.float32)
    product = rows == columns == kernel  # gets its bias last, a map first: another order would move kept results
    if not product:
        start[:features] = bias
    jobs = _jobs(images)
    _forward(
        jobs, jobs, currents.reshape(given, images, -1), (rows, columns, channels), constants(leaky), table, start,
         kernel, pool, pooled, winners,
    )  # fmt: skip
    if product:
        pooled += bias
    return pooled, winners


def backward(
    gradients: NDArray[np.float32],
    winners: NDArray[np.uint8],
    currents: NDArray[np.float32],
    weights: NDArray[np.float32],
    leaky: Leaky | None,
    pool: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return the gradients of currents, weights and bias; see the package's `backward`."""
    given, images, rows, columns, channels = currents.shape
    features, _, kernel, _ = weights.shape
    run = kernel * channels
    runs = memory.zeros((_padded(features, TILE), kernel, _padded(run, _RUN)))
    runs[:features, :, :run] = weights.transpose(0, 2, 3, 1).reshape(features, kernel, run)
    jobs, tiles = _jobs(images), len(runs) // TILE
    table_gradients = memory.zeros((jobs, tiles, kernel * run * TILE))
    current_gradients = memory.empty((given, images, rows * columns * channels))
    _backward(
        jobs, gradients, winners, currents.reshape(given, images, -1), (rows, columns, channels), constants(leaky),
        runs, kernel, pool, table_gradients, current_gradients,
    )  # fmt: skip
    by_feature = table_gradients.sum(axis=0).reshape(tiles, -1, TILE).transpose(0, 2, 1).reshape(tiles * TILE, -1)
    weight_gradients = by_feature[:features].reshape(features, kernel, kernel, channels).transpose(0, 3, 1, 2)
    bias_gradients = gradients.reshape(-1, features).sum(axis=0)
    return current_gradients.reshape(currents.shape), np.ascontiguousarray(weight_gradients), bias_gradients
