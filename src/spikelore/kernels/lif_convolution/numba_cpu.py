"""The same on the processor: only spikes are added up, only pooled winners send gradients back.

One job takes whole images through all steps, so that potentials, spikes and their gradients stay in its
cache and never become arrays of the batch; going back, it computes the potentials again. Kernel rows are the
outer loop of the convolution, so that the part of the table in use stays in the nearest cache.
"""

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from spikelore.kernels.lif_convolution.vector import (
    make_add_row_pairs,
    make_append_above,
    make_scatter_rows,
    make_weigh_rows,
)
from spikelore.kernels.lif_scan import Leaky
from spikelore.kernels.lif_scan.numba_cpu import carry_back_, constants, slopes_, step_
from spikelore.kernels.reward_stdp.vector import LANES, make_add_rows

_TILE = 4 * LANES  # features, or inputs of a kernel row, handled together
_add_rows, _add_row_pairs = make_add_rows(4), make_add_row_pairs(4)
_scatter_rows, _weigh_rows, _append_above = make_scatter_rows(4), make_weigh_rows(4), make_append_above()


@njit(cache=True, nogil=True)
def _events_(potentials, threshold, channels, events, firsts):
    """List the places of each row's spikes in ascending order, and where in the list each column begins.

    Both arrays have ``LANES`` entries more than it uses.
    """
    rows, columns = firsts.shape[0], firsts.shape[1] - 1
    count = 0
    for y in range(rows):
        for x in range(columns):
            firsts[y, x] = count
            for c in range(0, channels, LANES):
                place = x * channels + c
                count = _append_above(
                    events, count, potentials, y * columns * channels + place, channels - c, threshold, place
                )
        firsts[y, columns] = count


@njit(cache=True, parallel=True, nogil=True, error_model="numpy")
def _forward(jobs, currents, shape, neuron, table, bias, kernel, pool, pooled, winners):
    rows, columns, channels = shape
    width = columns * channels
    padded = table.shape[3]
    steps, images, pooled_rows, pooled_columns, features = pooled.shape
    used_rows, used_columns = pooled_rows * pool, pooled_columns * pool
    flat = table.ravel()
    row = channels * padded
    constant = len(currents) == 1
    for job in prange(jobs):
        potentials = np.zeros(rows * width + LANES, np.float32)
        events = np.empty(rows * width + LANES, np.uint16)
        firsts = np.empty((rows, columns + 1), np.int64)
        sums = np.empty((used_rows * used_columns, _TILE), np.float32)
        flat_sums = sums.ravel()
        best = np.empty(_TILE, np.float32)
        which = np.empty(_TILE, np.int32)
        for image in range(job * images // jobs, (job + 1) * images // jobs):
            potentials[:] = 0
            for t in range(steps):
                state = potentials[: rows * width]
                step_(state, currents[0 if constant else t, image], neuron, state)
                _events_(potentials, neuron.threshold, channels, events, firsts)
                for tile in range(0, padded, _TILE):
                    for place in range(used_rows * used_columns):
                        for n in range(_TILE):
                            sums[place, n] = bias[tile + n]
                    for k in range(kernel):
                        for y in range(used_rows):
                            for x in range(0, used_columns - 1, 2):
                                _add_row_pairs(
                                    flat_sums, (y * used_columns + x) * _TILE, flat,
                                    row + (k * (kernel + 2) - x) * row + tile, row, padded,
                                    events, firsts[y + k, x], firsts[y + k, x + kernel + 1],
                                )  # fmt: skip
                            if used_columns % 2:
                                x = used_columns - 1
                                _add_rows(
                                    flat_sums, (y * used_columns + x) * _TILE, flat,
                                    row + (k * (kernel + 2) - x) * row + tile, padded,
                                    events, firsts[y + k, x], firsts[y + k, x + kernel],
                                )  # fmt: skip
                    for py in range(pooled_rows):
                        for px in range(pooled_columns):
                            for inside in range(pool * pool):
                                place = (py * pool + inside // pool) * used_columns + px * pool + inside % pool
                                for n in range(_TILE):
                                    better = inside == 0 or sums[place, n] > best[n]
                                    best[n] = sums[place, n] if better else best[n]
                                    which[n] = inside if better else which[n]
                            for n in range(min(_TILE, features - tile)):
                                pooled[t, image, py, px, tile + n] = best[n]
                                winners[t, image, py, px, tile + n] = which[n]


@njit(cache=True, parallel=True, nogil=True, error_model="numpy")
def _backward(gradients, winners, currents, shape, neuron, runs, kernel, pool, table_gradients, current_gradients):
    rows, columns, channels = shape
    width = columns * channels
    steps, images, pooled_rows, pooled_columns, features = gradients.shape
    used_rows, used_columns = pooled_rows * pool, pooled_columns * pool
    padded = table_gradients.shape[2]
    run = runs.shape[2]
    zero = np.float32(0)
    flat = runs.ravel()
    constant = len(currents) == 1
    summed = constant and steps > 1
    jobs = len(table_gradients)
    for job in prange(jobs):
        potentials = np.zeros((steps + 1, rows * width + LANES), np.float32)
        slopes = np.empty(rows * width, np.float32)
        after = np.empty(rows * width, np.float32)
        events = np.empty(rows * width + LANES, np.uint16)
        firsts = np.empty((rows, columns + 1), np.int64)
        spread = np.zeros((used_rows * used_columns, padded), np.float32)
        flat_spread = spread.ravel()
        lists = np.empty((used_rows * used_columns, features + 2), np.uint16)
        factors = np.empty((used_rows * used_columns, features + 2), np.float32)
        flat_lists, flat_factors = lists.ravel(), factors.ravel()
        counts = np.empty(used_rows * used_columns, np.int64)
        sent = np.empty((rows, width + run), np.float32)
        flat_sent = sent.ravel()
        target = table_gradients[job].ravel()
        target[:] = 0
        for image in range(job * images // jobs, (job + 1) * images // jobs):
            for t in range(steps):
                before, following = potentials[t, : rows * width], potentials[t + 1, : rows * width]
                step_(before, currents[0 if constant else t, image], neuron, following)
            after[:] = 0
            if summed:
                current_gradients[0, image] = 0
            for t in range(steps - 1, -1, -1):
                _events_(potentials[t + 1], neuron.threshold, channels, events, firsts)
                for py in range(pooled_rows):
                    for px in range(pooled_columns):
                        for inside in range(pool * pool):
                            place = (py * pool + inside // pool) * used_columns + px * pool + inside % pool
                            for n in range(features):
                                won = winners[t, image, py, px, n] == inside
                                spread[place, n] = gradients[t, image, py, px, n] if won else zero
                            count = 0
                            for n in range(features):
                                lists[place, count] = n
                                factors[place, count] = gradients[t, image, py, px, n]
                                count += winners[t, image, py, px, n] == inside
                            lists[place, count] = 0
                            factors[place, count] = 0
                            counts[place] = (count + 1) & ~1
                for k in range(kernel):
                    for tile in range(0, padded, _TILE):
                        for y in range(used_rows):
                            for x in range(used_columns):
                                _scatter_rows(
                                    flat_spread, (y * used_columns + x) * padded + tile, target,
                                    (k * kernel - x) * channels * padded + tile, padded,
                                    events, firsts[y + k, x], firsts[y + k, x + kernel],
                                )  # fmt: skip
                sent[:] = 0
                for k in range(kernel):
                    for tile in range(0, run, _TILE):
                        for y in range(used_rows):
                            for x in range(used_columns):
                                place = y * used_columns + x
                                first = place * (features + 2)
                                _weigh_rows(
                                    flat_sent, (y + k) * (width + run) + x * channels + tile,
                                    flat, k * features * run + tile, run,
                                    flat_lists, flat_factors, first, first + counts[place],
                                )  # fmt: skip
                slopes_(potentials[t + 1, : rows * width], neuron, slopes)
                for y in range(rows):
                    part = slice(y * width, (y + 1) * width)
                    carry_back_(sent[y, :width], potentials[t + 1, part], slopes[part], neuron, after[part])
                if summed:
                    current_gradients[0, image] += after
                else:
                    current_gradients[t, image] = after


def _jobs(images: int) -> int:
    """Return how many jobs share the images: never by the number of cores, so that sums do not depend on it."""
    return max(1, min(16, images // 8))


def _padded(size: int) -> int:
    return -(-size // _TILE) * _TILE


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
    table = np.zeros((kernel, kernel + 2, channels, _padded(features)), np.float32)
    table[:, 1:-1, :, :features] = weights.transpose(2, 3, 1, 0)
    shape = (steps, images, (rows - kernel + 1) // pool, (columns - kernel + 1) // pool, features)
    pooled, winners = np.empty(shape, np.float32), np.empty(shape, np.uint8)
    _forward(
        _jobs(images), currents.reshape(given, images, -1), (rows, columns, channels), constants(leaky), table,
        np.pad(bias, (0, table.shape[3] - features)), kernel, pool, pooled, winners,
    )  # fmt: skip
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
    runs = np.zeros((kernel, features, _padded(run)), np.float32)
    runs[:, :, :run] = weights.transpose(2, 0, 3, 1).reshape(kernel, features, run)
    table_gradients = np.empty((_jobs(images), kernel * run, _padded(features)), np.float32)
    current_gradients = np.empty((given, images, rows * columns * channels), np.float32)
    _backward(
        gradients, winners, currents.reshape(given, images, -1), (rows, columns, channels), constants(leaky),
        runs, kernel, pool, table_gradients, current_gradients,
    )  # fmt: skip
    table = table_gradients.sum(axis=0)[:, :features]
    weight_gradients = np.ascontiguousarray(table.reshape(kernel, kernel, channels, features).transpose(3, 2, 0, 1))
    bias_gradients = gradients.reshape(-1, features).sum(axis=0)
    return current_gradients.reshape(currents.shape), weight_gradients, bias_gradients
