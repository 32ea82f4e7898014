"""Competition and STDP as their definition."""

import numpy as np

from spikelore.kernels.convolution.reference import on_grid, potentials


def find_winners(wave, weights, padding, threshold, total_bins, k, radius):
    """Winners of one image as a list of (feature, row, column, bin, potential), first winner first."""
    over_time = np.stack([potentials(wave <= t, weights, padding) for t in range(total_bins)])
    candidates = []
    for row, column in np.ndindex(*over_time.shape[2:]):
        here = over_time[:, :, row, column]
        bins = np.flatnonzero((here > threshold).any(axis=1))
        if len(bins):
            feature = here[bins[0]].argmax()
            candidates.append((feature, row, column, bins[0], here[bins[0], feature]))
    candidates.sort(key=lambda one: (one[3], -one[4], *one[:3]))
    chosen = []
    for feature, row, column, first, potential in candidates:
        near = (
            feature == other[0] or (radius > 0 and abs(row - other[1]) <= radius and abs(column - other[2]) <= radius)
            for other in chosen
        )
        if len(chosen) < k and not any(near):
            chosen.append((feature, row, column, first, potential))
    return chosen


def update(weights, wave, winner, padding, ltp, ltd, stabilizer, lower, upper):
    """Return the new weights (C,K,K) of the winner's feature."""
    feature, row, column, first = winner[:4]
    kernel = weights.shape[2]
    padded = np.pad(
        wave.astype(np.int16),
        ((0, 0), (padding, padding), (padding, padding)),
        constant_values=np.iinfo(np.int16).max,
    )
    early = padded[:, row : row + kernel, column : column + kernel] <= first
    old = weights[feature]
    change = np.where(early, np.float32(ltp), np.float32(ltd))
    if stabilizer:
        change = change * ((old - np.float32(lower)) * (np.float32(upper) - old))
    return np.clip(old + change, np.float32(lower), np.float32(upper))


def train(bins, order, weights, padding, threshold, total_bins, k, radius, ltp, ltd, stabilizer, lower, upper):
    """See `spikelore.kernels.stdp.train`."""
    limit = max(np.abs(weights).max(), abs(lower), abs(upper))
    weights = weights.copy()
    winners = np.full((len(order), k, 3), -1, np.int16)
    for step, image in enumerate(order):
        on_the_grid = on_grid(weights, limit)
        found = find_winners(bins[image], on_the_grid, padding, threshold, total_bins, k, radius)
        for n, winner in enumerate(found):
            winners[step, n] = winner[:3]
            weights[winner[0]] = update(
                weights, bins[image], winner, padding, ltp[step], ltd[step], stabilizer, lower, upper
            )
        np.clip(weights, np.float32(lower), np.float32(upper), out=weights)
    return weights, winners
