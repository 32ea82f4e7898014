"""Competition and STDP, one image after the other, event-driven and only as far as the winners need."""

import numpy as np

from spikelore.kernels.compiled import compiled
from spikelore.kernels.convolution.events import add_event, pack_weights, sort_events
from spikelore.kernels.convolution.grid import grid_bits, threshold_on_grid, to_grid
from spikelore.kernels.vector import line_of_zeros


@compiled()
def _train(
    bins, order, weights, packed, scale, padding, threshold, total_bins, radius, ltp, ltd, stabilizer, lower, upper,
    winners,
):  # fmt: skip
    """Learn in place: ``packed`` are the ``weights`` on their grid, ``scale`` steps to 1."""
    k = winners.shape[1]
    _, channels, height, width = bins.shape
    kernel = packed.shape[1]
    padded = packed.shape[2] // kernel
    out_height = height + 2 * padding - kernel + 1
    out_width = width + 2 * padding - kernel + 1
    events = np.empty((channels * height * width, 3), np.int16)
    starts = np.empty(total_bins + 1, np.int32)
    potentials = line_of_zeros(out_height * out_width * padded).reshape(out_height, out_width * padded)
    fired = np.zeros((out_height, out_width), np.bool_)
    candidates = np.empty((out_height * out_width, 3), np.int32)
    strength = np.empty(out_height * out_width, np.int32)
    winner_bin = np.empty(k, np.int32)
    for step in range(len(order)):
        wave = bins[order[step]]
        sort_events(wave, total_bins, padding, events, starts)
        potentials[:] = 0
        fired[:] = False
        found = 0
        for t in range(total_bins):
            if starts[t] == starts[t + 1]:
                continue
            for e in range(starts[t], starts[t + 1]):
                add_event(potentials, packed, events[e, 0], events[e, 1], events[e, 2], padded)
            count = 0
            for r in range(out_height):
                for x in range(out_width):
                    if fired[r, x]:
                        continue
                    at = x * padded
                    best = potentials[r, at]
                    for f in range(padded):
                        best = max(best, potentials[r, at + f])
                    if best > threshold:
                        fired[r, x] = True
                        f = 0
                        while potentials[r, at + f] != best:
                            f += 1
                        candidates[count, 0] = f
                        candidates[count, 1] = r
                        candidates[count, 2] = x
                        strength[count] = best
                        count += 1
            while found < k:
                choice = -1
                for n in range(count):
                    if strength[n] <= 0:
                        continue
                    free = True
                    for w in range(found):
                        if candidates[n, 0] == winners[step, w, 0] or (
                            radius > 0
                            and abs(candidates[n, 1] - winners[step, w, 1]) <= radius
                            and abs(candidates[n, 2] - winners[step, w, 2]) <= radius
                        ):
                            free = False
                            break
                    if not free:
                        strength[n] = 0
                    elif (
                        choice < 0
                        or strength[n] > strength[choice]
                        or (strength[n] == strength[choice] and candidates[n, 0] < candidates[choice, 0])
                    ):
                        choice = n
                if choice < 0:
                    break
                for axis in range(3):
                    winners[step, found, axis] = candidates[choice, axis]
                winner_bin[found] = t
                found += 1
            if found == k:
                break
        rate_ltp, rate_ltd = ltp[step], ltd[step]
        for w in range(found):
            f, row, column = winners[step, w, 0], winners[step, w, 1], winners[step, w, 2]
            for c in range(channels):
                for i in range(kernel):
                    r = row + i - padding
                    for j in range(kernel):
                        x = column + j - padding
                        rate = rate_ltd
                        if 0 <= r < height and 0 <= x < width and wave[c, r, x] <= winner_bin[w]:
                            rate = rate_ltp
                        old = weights[f, c, i, j]
                        change = rate
                        if stabilizer:
                            change = rate * ((old - lower) * (upper - old))
                        new = min(max(old + change, lower), upper)
                        weights[f, c, i, j] = new
                        packed[c, i, (kernel - 1 - j) * padded + f] = np.int32(np.rint(new * scale))


def train(bins, order, weights, padding, threshold, total_bins, k, radius, ltp, ltd, stabilizer, lower, upper):
    """See `spikelore.kernels.stdp.train`."""
    winners = np.full((len(order), k, 3), -1, np.int16)
    bits = grid_bits(weights, max(abs(lower), abs(upper)))
    threshold = threshold_on_grid(threshold, bits)
    lower, upper, scale = np.float32(lower), np.float32(upper), np.float32(2.0**bits)
    weights = weights.copy()
    for steps in (slice(0, 1), slice(1, None)):
        packed = pack_weights(to_grid(weights, bits))
        _train(
            bins, order[steps], weights, packed, scale, padding, threshold, total_bins, radius, ltp[steps],
            ltd[steps], stabilizer, lower, upper, winners[steps],
        )  # fmt: skip
        np.clip(weights, lower, upper, out=weights)
    return weights, winners
