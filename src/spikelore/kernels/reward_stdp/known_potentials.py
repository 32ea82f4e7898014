"""What is known of potentials from earlier weights: an upper bound of each feature's for each image."""

import numpy as np
from numpy.typing import NDArray

from spikelore.kernels.compiled import compiled, over_cores
from spikelore.kernels.reward_stdp.spike_lists import SpikeLists

RUN = 32
"""Spikes summed before they join the potential: thousands of equal weights would drift in float32."""
_CROWD = 0.25
"""A potential that is taken alone costs as much as four that are taken together."""
_PARTS, _LEAST = 8, 1024
"""Bounds are of the weights at the beginning of such a part of the images, of so many at least."""


class KnownPotentials:
    """Upper bounds of potentials that passes over the same spikes leave each other; no result depends on them.

    With weights w when a potential V was taken and w' now, of n spikes of the image,

        V' <= V + sqrt(n) |max(w' - w, 0)|    (Cauchy and Schwarz: a potential is the sum of at most n weights).

    So only features whose bound reaches the best potential need be taken again, a few of hundreds once learning has
    settled. They take four bytes for each image and feature, and the weights up to seventeen times. The idea is that of
    k-means with bounds (Elkan 2003, Proc. ICML).

    Attributes:
        weights: (F,C,K*K padded) those that the bounds of the images to come are of.
        above: (N,F) the bounds.
        seen: (N,) images that have some.
        drift: (2,F) norm of the rise of each feature's weights since ``weights``, and of their fall.
        reach: (N,) square root of an image's spikes.
        slack: (N,) how far an image's potentials may be off, by rounding.
        crowded: whether so many bounds reach the best potential that to take all anew costs less.
    """

    def __init__(self) -> None:
        self._spikes: SpikeLists | None = None
        self.weights = np.zeros((0, 0, 0), np.float32)

    def begin(
        self, spikes: SpikeLists, images: NDArray[np.int64], learned: NDArray[np.float32], kernel: int, largest: float,
        *, learns: bool = True,
    ) -> int:  # fmt: skip
        """Go on with other weights, or anew if it is with other spikes.

        Args:
            spikes: of all images.
            images: to decide, in order.
            learned: the weights, as `weights`.
            kernel: K.
            largest: size that no weight exceeds.
            learns: whether weights move meanwhile. It is then ready for an eighth of all images only: bounds from
                nearer weights are closer.

        Returns:
            How many of the images it is ready for.
        """
        if self._spikes is not spikes or self.weights.shape != learned.shape:
            self._anew(spikes, learned, kernel)
        part = max(_LEAST, len(spikes) // _PARTS) if learns else len(images)
        images = images[:part]
        if not self._earlier or self._passed + len(images) > part:
            self.weights, self._passed = learned.copy(), 0
            self._earlier[max(self._earlier, default=-1) + 1] = self.weights
        self._passed += len(images)
        for since in np.unique(self._since[images]).tolist():
            self._follow(images[self._since[images] == since], since)
        if len(self._earlier) > 2 * _PARTS:
            oldest = min(self._earlier)
            self._follow(np.flatnonzero(self._since == oldest), oldest)
        for unused in self._earlier.keys() - {*np.unique(self._since).tolist(), max(self._earlier)}:
            del self._earlier[unused]
        self._largest = max(self._largest, largest)
        self.slack = self._rounding * np.float32(self._largest)
        self.drift = self._drift(self.weights, learned)
        return len(images)

    def _anew(self, spikes: SpikeLists, learned: NDArray[np.float32], kernel: int) -> None:
        self._spikes, self._synapses, self._passed, self._largest = spikes, kernel * kernel, 0, 0.0
        self._earlier: dict[int, NDArray[np.float32]] = {}
        self._since = np.full(len(spikes), -1)
        self.above = np.empty((len(spikes), len(learned)), np.float32)
        self.seen, self.crowded = np.zeros(len(spikes), np.bool_), False
        counts = spikes.counts()
        self.reach = (np.sqrt(counts) * (1 + 1e-6)).astype(np.float32)
        terms = RUN + self._synapses * -(-spikes.shape[0] // RUN)  # most that are summed one after the other
        self._rounding = (counts * (2 * terms * 2.0**-24)).astype(np.float32)

    def _follow(self, images: NDArray[np.int64], since: int) -> None:
        """Make the bounds of images, which are of the weights ``since`` then, those of `weights`."""
        newest = max(self._earlier)
        if since < newest:
            seen = images[self.seen[images]]
            if len(seen):
                rise, _ = self._drift(self._earlier[since], self.weights)
                _raise(len(seen), seen, self.above, self.reach, rise)
            self._since[images] = newest

    def _drift(self, then: NDArray[np.float32], now: NDArray[np.float32]) -> NDArray[np.float32]:
        drift = np.empty((2, len(now)), np.float32)
        _drift(len(now), now, then, self._synapses, drift)
        return drift

    def met(self, reached: int, images: int) -> None:
        """Take note of how many bounds reached the best potentials of so many images that had some."""
        if images:
            self.crowded = reached > _CROWD * images * len(self.weights)


@compiled()
def upwards(value):
    """Return a number a little larger: no sum rounds it below what it was."""
    return value + abs(value) * np.float32(4e-7)


@compiled()
def norm(squares):
    """Return the root of the sum, a little larger."""
    return np.float32(np.sqrt(squares.sum()) * (1 + 1e-4))


@over_cores
@compiled()
def _drift(begin, end, learned, weights, synapses, drift):
    squares = np.empty((2, learned.shape[2]), np.float32)
    zero = np.float32(0)
    for f in range(begin, end):
        squares[:] = 0
        for c in range(learned.shape[1]):
            for s in range(learned.shape[2]):
                moved = learned[f, c, s] - weights[f, c, s]
                up, down = max(moved, zero), max(-moved, zero)
                squares[0, s] += up * up
                squares[1, s] += down * down
        drift[0, f], drift[1, f] = norm(squares[0, :synapses]), norm(squares[1, :synapses])


@over_cores
@compiled()
def _raise(begin, end, images, above, reach, rise):
    for n in images[begin:end]:
        for f in range(above.shape[1]):
            above[n, f] = upwards(above[n, f] + rise[f] * reach[n])
