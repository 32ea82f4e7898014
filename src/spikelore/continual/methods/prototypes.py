"""Learning without any stored input: sums of each class's spikes, of layers that have stopped learning.

A new input adds to sums and moves nothing else, so no class is forgotten, and the order of the stream does not matter,
not even in the last digit: spike counts are whole numbers, whose sums are exact in float64 up to 2^53.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from spikelore.continual.methods.local import LocalLearner
from spikelore.shapes import Images, Labels, as_images

_Floats = NDArray[np.float64]


class Prototypes:
    """Means of each class's features x, (D,), and the nearest of them: the class of the largest

        w_c x + b_c,  w_c = 2 mean_c,  b_c = -|mean_c|^2

    which is ``|x|^2 - |x - mean_c|^2``.

    Args:
        size: D.

    Attributes:
        labels: classes that were learned, ascending.
        counts: (K,) inputs of each.
        sums: (K,D) of their features.

    Source: the few-shot readout of NeuroBench (Yik et al. 2023, arXiv 2304.04640), after Snell et al. 2017
    (arXiv 1703.05175).

    Example:
        >>> import numpy as np
        >>> learned = Prototypes(2)
        >>> learned.learn(np.array([[3.0, 0.0], [1.0, 0.0], [0.0, 2.0]]), np.array([7, 7, 4]))
        >>> learned.decide(np.array([[1.0, 0.0], [0.0, 1.5]]), (4, 7)).tolist()
        [7, 4]
    """  # fmt: skip

    def __init__(self, size: int) -> None:
        self.labels: NDArray[np.int64] = np.zeros(0, np.int64)
        self.counts: _Floats = np.zeros(0)
        self.sums: _Floats = np.zeros((0, size))

    @property
    def bytes(self) -> int:
        """Bytes of all that is kept."""
        return sum(array.nbytes for array in self.arrays().values())

    def learn(self, features: _Floats, labels: Labels) -> None:
        """Add whole-numbered features (N,D) of inputs of these classes."""
        for label in np.setdiff1d(labels, self.labels):
            place = np.searchsorted(self.labels, label)
            self.labels = np.insert(self.labels, place, label)
            self.counts = np.insert(self.counts, place, 0.0)
            self.sums = np.insert(self.sums, place, 0.0, axis=0)
        member = (labels == self.labels[:, None]).astype(np.float64)
        self.counts = self.counts + member.sum(1)
        self.sums = self.sums + member @ features

    def weights(self) -> tuple[_Floats, _Floats]:
        """Return w (K,D) and b (K,)."""
        means = self.sums / self.counts[:, None]
        return 2 * means, -(means**2).sum(1)

    def decide(self, features: _Floats, among: Sequence[int]) -> Labels:
        """Return the class in ``among`` of the largest score for each of (N,D); -1 where none of them was learned."""
        known = np.isin(self.labels, among)
        if not known.any():
            return np.full(len(features), -1, np.int64)
        weights, biases = self.weights()
        scores = features @ weights[known].T + biases[known]
        return self.labels[known][scores.argmax(1)]

    def arrays(self) -> dict[str, NDArray]:
        """Return what is kept, by name."""
        return {"labels": self.labels, "counts": self.counts, "sums": self.sums}

    def load(self, arrays: Mapping[str, NDArray]) -> None:
        """Take over what `arrays` returned."""
        for name in self.arrays():
            setattr(self, name, arrays[name].copy())


class Discriminant(Prototypes):
    """Streaming linear discriminant analysis: `Prototypes` under the covariance S that the classes share.

        w_c = P mean_c,  b_c = -mean_c P mean_c / 2,  P = ((1 - e) S + e I)^-1
        S = (sum over inputs of x x' - sum over classes of n_c mean_c mean_c') / n

    Args:
        size: D.
        shrinkage: e.

    Attributes:
        products: (D,D), the sum of x x'.

    Source: Hayes & Kanan 2020 (arXiv 1909.01520), equations 1 and 2. They update S itself by each input, which gives
    the same but for rounding; sums do not depend on the order.
    """  # fmt: skip

    def __init__(self, size: int, shrinkage: float) -> None:
        super().__init__(size)
        self.shrinkage = shrinkage
        self.products: _Floats = np.zeros((size, size))
        self._solved: tuple[float, _Floats, _Floats] | None = None

    def learn(self, features: _Floats, labels: Labels) -> None:
        """Add whole-numbered features (N,D) of inputs of these classes."""
        super().learn(features, labels)
        self.products += features.T @ features

    def covariance(self) -> _Floats:
        """Return S."""
        between = self.sums.T @ (self.sums / self.counts[:, None])
        return (self.products - between) / self.counts.sum()

    def weights(self) -> tuple[_Floats, _Floats]:
        """Return w (K,D) and b (K,)."""
        learned = float(self.counts.sum())
        if self._solved is None or self._solved[0] != learned:
            shrunk = (1 - self.shrinkage) * self.covariance()
            shrunk[np.diag_indices_from(shrunk)] += self.shrinkage
            means = self.sums / self.counts[:, None]
            weights = cho_solve(cho_factor(shrunk, overwrite_a=True), means.T).T
            self._solved = learned, weights, -(weights * means).sum(1) / 2
        return self._solved[1:]

    def arrays(self) -> dict[str, NDArray]:
        """Return what is kept, by name."""
        return {**super().arrays(), "products": self.products}

    def load(self, arrays: Mapping[str, NDArray]) -> None:
        """Take over what `arrays` returned."""
        super().load(arrays)
        self._solved = None


def statistics_of(method: Any, size: int) -> Prototypes:
    """Return the empty statistics of a method for features (D,)."""
    return Discriminant(size, method.shrinkage) if hasattr(method, "shrinkage") else Prototypes(size)


class LocalPrototypes(LocalLearner):
    """The spikes of a network whose layers stop learning by themselves; until then the network learns and decides."""

    network: Any

    def __init__(self, method: Any, network: Any, *, seed: int, tasks: int) -> None:
        super().__init__(method, network, seed=seed, tasks=tasks)
        self.statistics = statistics_of(method, int(np.prod(network.feature_shape)))

    @property
    def memory_bytes(self) -> int:
        """Bytes of the statistics."""
        return self.statistics.bytes

    def _features(self, images: Images) -> _Floats:
        return self.network.encode_features(images).reshape(len(images), -1).astype(np.float64)

    def step(self, images: Images, labels: Labels, task: int) -> None:
        """Learn features, or once they are frozen add them up."""
        if self.network.features_frozen:
            self.statistics.learn(self._features(images), labels)
        else:
            super().step(images, labels, task)

    def decide(self, images: Images, among: Sequence[int]) -> Labels:
        """Return the class in ``among`` that each input is decided for, -1 for none."""
        if not len(self.statistics.labels) or not len(images):
            return super().decide(images, among)
        return self.statistics.decide(self._features(as_images(images)), among)

    def state_dict(self) -> tuple[dict[str, NDArray], str]:
        """Return the statistics beside the rest."""
        arrays, facts = super().state_dict()
        kept = {f"statistics/{name}": array.copy() for name, array in self.statistics.arrays().items()}
        return {**arrays, **kept}, facts

    def load_state_dict(self, arrays: Mapping[str, NDArray], facts: str) -> None:
        """Take over the statistics beside the rest."""
        super().load_state_dict(arrays, facts)
        self.statistics.load({name: arrays[f"statistics/{name}"] for name in self.statistics.arrays()})
