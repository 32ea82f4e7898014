"""Learning of templates on the processor: scores by the rewarded layer's kernel, moves one after the other."""

import numpy as np

from spikelore.kernels.compiled import compiled
from spikelore.kernels.reward_stdp.numba_cpu import (
    block_potentials,
    one_potential,
    pack_synapses,
    pack_tiles,
    refresh,
)
from spikelore.kernels.template_stdp.correlation import competing
from spikelore.kernels.vector import LANES


@compiled()
def _move(starts, channels, images, units, rates, scoring, learned, kernel, height, width, padding):
    out_height, out_width = height + 2 * padding - kernel + 1, width + 2 * padding - kernel + 1
    potentials = np.empty((out_height, out_width), np.float32)
    sums = np.empty(2 * scoring.shape[2], np.float32)
    one, zero = np.float32(1), np.float32(0)
    for n in range(len(images)):
        image, weights, rate = images[n], learned[units[n]], rates[n]
        _, row, column = one_potential(
            starts, channels, image, scoring[units[n]], kernel, height, width, padding, potentials, sums
        )
        patch = np.zeros(weights.shape, np.float32)
        for place in range(height * width):
            i, j = place // width + padding - row, place % width + padding - column
            if 0 <= i < kernel and 0 <= j < kernel:
                for e in range(starts[image, place], starts[image, place + 1]):
                    patch[channels[e], i * kernel + j] = one
        for c in range(weights.shape[0]):
            for s in range(weights.shape[1]):
                moved = weights[c, s] + rate * (patch[c, s] - weights[c, s])
                weights[c, s] = min(max(moved, zero), one)


class Learner:
    """See `spikelore.kernels.template_stdp.reference.Learner`."""

    def __init__(self, weights, padding):
        """Start from ``weights`` (F,C,K,K)."""
        self._shape, self._padding = weights.shape, padding
        self._learned = pack_synapses(weights)
        self._scoring = pack_synapses(competing(weights))
        self._tiles = pack_tiles(competing(weights))
        self._changed = np.zeros(len(weights), np.bool_)

    def decide(self, spikes, images):
        """See the reference."""
        self._refresh()
        return block_potentials(spikes, images, self._tiles, self._padding)[:, : self._shape[0]]

    def renew_(self, scores, spikes, images):
        """See the reference."""
        for tile in self._refresh():
            units = slice(tile * LANES, min((tile + 1) * LANES, self._shape[0]))
            renewed = block_potentials(spikes, images, self._tiles[tile : tile + 1], self._padding)
            scores[:, units] = renewed[:, : units.stop - units.start]

    def _refresh(self):
        """Lay out the weights that moved; return the tiles that they are in."""
        synapses = self._shape[2] ** 2
        rows = self._learned[self._changed, :, :synapses]
        touched = np.unique(np.flatnonzero(self._changed) // LANES)
        if len(rows):
            moved = competing(rows.reshape(len(rows), *self._shape[1:]))
            self._scoring[self._changed, :, :synapses] = moved.reshape(rows.shape)
            refresh(self._scoring, self._changed, self._tiles)
            self._changed[:] = False
        return touched

    def move(self, spikes, images, units, rates):
        """See the reference."""
        _, height, width = spikes.shape
        _move(
            spikes.starts, spikes.channels, images, units, rates, self._scoring, self._learned,
            self._shape[2], height, width, self._padding,
        )  # fmt: skip
        self._changed[units] = True

    def weights(self):
        """See the reference."""
        return self._learned[:, :, : self._shape[2] ** 2].reshape(self._shape).copy()
