"""Learning of templates as its definition."""

import numpy as np

from spikelore.kernels.convolution.reference import potentials
from spikelore.kernels.template_stdp.correlation import competing


class Learner:
    """Holds the weights while they learn."""

    def __init__(self, weights, padding):
        """Start from ``weights`` (F,C,K,K)."""
        self._weights, self._padding = weights.copy(), padding
        self._competing = competing(weights)

    def decide(self, spikes, images):
        """Return each unit's score for ``images``, (B,F); the places of their later moves follow these weights."""
        self._competing = competing(self._weights)
        each = [potentials(spikes.spikes(n), self._competing, self._padding) for n in images]
        return np.array([scores.max(axis=(1, 2)) for scores in each], np.float32)

    def renew_(self, scores, spikes, images):
        """Make ``scores`` (B,F) of ``images`` as `decide` would give them now: those of units moved since it was."""
        scores[...] = self.decide(spikes, images)

    def move(self, spikes, images, units, rates):
        """Move each unit towards (rate > 0) or away from (rate < 0) the image, at its best place, in order."""
        kernel = self._weights.shape[2]
        for image, unit, rate in zip(images, units, rates, strict=True):
            spiked = spikes.spikes(image)
            scores = potentials(spiked, self._competing[unit : unit + 1], self._padding)[0]
            row, column = np.unravel_index(scores.argmax(), scores.shape)
            padded = np.pad(spiked, ((0, 0), (self._padding, self._padding), (self._padding, self._padding)))
            patch = padded[:, row : row + kernel, column : column + kernel].astype(np.float32)
            self._weights[unit] += rate * (patch - self._weights[unit])
            np.clip(self._weights[unit], 0, 1, out=self._weights[unit])

    def weights(self):
        """Return a copy of the weights (F,C,K,K)."""
        return self._weights.copy()
