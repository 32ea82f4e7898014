"""Rewarded learning as its definition."""

import numpy as np

from spikelore.kernels.convolution.reference import potentials


def feature_potentials(spikes, weights, padding):
    """See `spikelore.kernels.reward_stdp.feature_potentials`."""
    per_image = [potentials(spikes.spikes(n), weights, padding).max(axis=(1, 2)) for n in range(len(spikes))]
    return np.array(per_image, np.float32).reshape(len(spikes), len(weights))


def train(spikes, order, labels, weights, feature_classes, padding, rates, lower, upper, plasticity, known):
    """See `spikelore.kernels.reward_stdp.train`."""
    weights = weights.copy()
    kernel = weights.shape[2]
    winners = np.full((len(order), 3), -1, np.int16)
    winner_potentials = np.zeros(len(order), np.float32)
    for step, image in enumerate(order):
        active = spikes.spikes(image)
        every = potentials(active, weights, padding)
        feature, row, column = np.unravel_index(every.argmax(), every.shape)
        if every[feature, row, column] <= 0:
            continue
        winners[step] = feature, row, column
        winner_potentials[step] = every[feature, row, column]
        padded = np.pad(active, ((0, 0), (padding, padding), (padding, padding)))
        patch = padded[:, row : row + kernel, column : column + kernel]
        pair = rates[step, 0 if feature_classes[feature] == labels[image] else 1] * plasticity[feature]
        weights[feature] += np.where(patch, pair[0], pair[1])
        np.clip(weights, lower, upper, out=weights)
    return weights, winners, winner_potentials
