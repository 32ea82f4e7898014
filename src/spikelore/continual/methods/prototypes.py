"""Learning without any stored input: sums of each class's spikes, of layers that have stopped learning.

A new input adds to sums and moves nothing else, so no class is forgotten, and the order of the stream does not matter,
not even in the last digit: spike counts are whole numbers, whose sums are exact in float64 up to 2^53. `Subspaces` has
units besides that learn, of one class each.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, get_blas_funcs

from spikelore.continual.methods.local import LocalLearner
from spikelore.continual.storage import checked_inputs
from spikelore.shapes import Images, Labels

_Floats = NDArray[np.float64]
_AT_ONCE = 1024
"""Inputs whose features are kept at once while they are decided."""


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
            self._make_room(int(np.searchsorted(self.labels, label)), label)
        member = (labels == self.labels[:, None]).astype(np.float64)
        self.counts = self.counts + member.sum(1)
        self.sums = self.sums + member @ features

    def _make_room(self, place: int, label: int) -> None:
        """Let a class that was not learned yet stand at ``place``."""
        self.labels = np.insert(self.labels, place, label)
        self.counts = np.insert(self.counts, place, 0.0)
        self.sums = np.insert(self.sums, place, 0.0, axis=0)

    def weights(self) -> tuple[_Floats, _Floats]:
        """Return w (K,D) and b (K,)."""
        means = self.sums / self.counts[:, None]
        return 2 * means, -(means**2).sum(1)

    def scores(self, features: _Floats, known: NDArray[np.bool_]) -> _Floats:
        """Return the scores of the classes that ``known`` (K,) marks for features (N,D), (N, marked)."""
        weights, biases = self.weights()
        return features @ weights[known].T + biases[known]

    def decide(self, features: _Floats, among: Sequence[int]) -> Labels:
        """Return the class in ``among`` of the largest score for each of (N,D); -1 where none of them was learned."""
        known = np.isin(self.labels, among)
        if not known.any():
            return np.full(len(features), -1, np.int64)
        return self.labels[known][self.scores(features, known).argmax(1)]

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
        columns = np.asfortranarray(features.T, np.float64)
        gemm: Any = get_blas_funcs("gemm", (columns,))
        self.products = gemm(1.0, columns, columns, beta=1.0, c=self.products.T, trans_b=True, overwrite_c=True).T

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


class Subspaces(Prototypes):
    """Units of each class that learn, by a Hebbian rule, what its mean and the units before them leave of an input.

    Of the n-th input x of its class, the units k = 0, 1 ... see

        r_0 = x - mean_c,  y_k = r_k v_k / |v_k|,  r_(k+1) = r_k - y_k v_k / |v_k|
        v_k <- v_k + (y_k r_k - v_k) / (n - 1 - k)

    so that v_k is the mean of activity times input, and turns to the k-th principal component of the class. A unit
    without a vector takes what is left, v_k = r_k, and leaves nothing. A synapse needs its own input, its unit's
    activity, and what the units before have taken away.

    The class decides that leaves least of an input when the activities of its units have settled: the one of the
    nearest affine subspace, ``|x - mean_c|^2 - |Q_c (x - mean_c)|^2`` with Q_c an orthonormal basis of its v.

    Units see inputs of their class alone, so that no class changes another: the order in which classes come does not
    matter, not even in the last digit. That of one class's inputs does.

    Args:
        size: D.
        units: of a class, U.

    Attributes:
        vectors: (K,U,D) float32.

    Source: candid covariance-free incremental principal component analysis, Weng, Zhang & Hwang 2003
    (doi 10.1109/TPAMI.2003.1217609), without amnesia; a unit takes away by its vector before the step, as in Sanger's
    rule (1989, doi 10.1016/0893-6080(89)90044-0). Classes as subspaces: Watanabe's CLAFIC (1967), Oja 1983.
    """  # fmt: skip

    def __init__(self, size: int, units: int) -> None:
        super().__init__(size)
        self.vectors: NDArray[np.float32] = np.zeros((0, units, size), np.float32)
        self._bases: tuple[float, list[_Floats]] | None = None

    def _make_room(self, place: int, label: int) -> None:
        super()._make_room(place, label)
        self.vectors = np.insert(self.vectors, place, 0.0, axis=0)

    def learn(self, features: _Floats, labels: Labels) -> None:
        """Learn from whole-numbered features (N,D) of inputs of these classes, in order."""
        super().learn(features, labels)
        for label in np.unique(labels):
            own, place = features[labels == label], np.searchsorted(self.labels, label)
            later = np.arange(len(own))[::-1]
            counts = self.counts[place] - later  # as they were after each input; so the sums, exactly
            sums = self.sums[place] - (own[::-1].cumsum(0)[::-1] - own)
            for left, count in zip((own - sums / counts[:, None]).astype(np.float32), counts, strict=True):
                _take_in_(self.vectors[place], left, int(count))

    def bases(self) -> list[_Floats]:
        """Return an orthonormal basis (D, U or fewer) of each class's vectors."""
        learned = float(self.counts.sum())
        if self._bases is None or self._bases[0] != learned:
            used = [vectors[vectors.any(1)].T.astype(np.float64) for vectors in self.vectors]
            self._bases = learned, [np.linalg.qr(vectors)[0] for vectors in used]
        return self._bases[1]

    def scores(self, features: _Floats, known: NDArray[np.bool_]) -> _Floats:
        """Return ``|x|^2`` less what each class leaves of it, for the classes that ``known`` marks."""
        found = super().scores(features, known)
        for column, place in enumerate(np.flatnonzero(known)):
            basis, mean = self.bases()[place], self.sums[place] / self.counts[place]
            found[:, column] += ((features @ basis - mean @ basis) ** 2).sum(1)
        return found

    def arrays(self) -> dict[str, NDArray]:
        """Return what is kept, by name."""
        return {**super().arrays(), "vectors": self.vectors}

    def load(self, arrays: Mapping[str, NDArray]) -> None:
        """Take over what `arrays` returned."""
        super().load(arrays)
        self._bases = None


def _take_in_(vectors: NDArray[np.float32], left: NDArray[np.float32], count: int) -> None:
    """Let a class's units (U,D) learn what the mean leaves (D,) of its ``count``-th input; ``left`` changes."""
    taken = np.empty_like(left)
    for k, vector in enumerate(vectors[: max(0, count - 1)]):
        squared = vector @ vector
        if not squared:
            vector[:] = left
            return
        along, rate = left @ vector, np.float32(1 / (count - 1 - k))
        np.multiply(vector, along / squared, out=taken)
        vector *= 1 - rate
        vector += left * (rate * along / np.sqrt(squared))
        left -= taken


def statistics_of(method: Any, size: int) -> Prototypes:
    """Return the empty statistics of a method for features (D,)."""
    if hasattr(method, "shrinkage"):
        return Discriminant(size, method.shrinkage)
    return Subspaces(size, method.units) if hasattr(method, "units") else Prototypes(size)


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
        images = checked_inputs(self.network, images)
        parts = [images[start : start + _AT_ONCE] for start in range(0, len(images), _AT_ONCE)]
        return np.concatenate([self.statistics.decide(self._features(part), among) for part in parts])

    def state_dict(self) -> tuple[dict[str, NDArray], str]:
        """Return the statistics beside the rest."""
        arrays, facts = super().state_dict()
        kept = {f"statistics/{name}": array.copy() for name, array in self.statistics.arrays().items()}
        return {**arrays, **kept}, facts

    def load_state_dict(self, arrays: Mapping[str, NDArray], facts: str) -> None:
        """Take over the statistics beside the rest."""
        super().load_state_dict(arrays, facts)
        self.statistics.load({name: arrays[f"statistics/{name}"] for name in self.statistics.arrays()})
