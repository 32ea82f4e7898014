"""Rewarded learning with soft bounds: the weights of a unit approach the mean of the inputs it stands for.

Units compete by the correlation of weights and input,

    s_f = max over places p of (w_f - m_f) · x_p / |w_f - m_f|,   m_f = the mean of w_f,

where x_p is the input that the unit sees at p, 1 where it spiked. Let t be the best unit of the image's class and
u the best unit of any other. A unit that is rewarded learns by STDP with soft bounds, one that is punished by its
opposite, r = the rate:

    w_t <- w_t + r (x - w_t)                 (r (1 - w) for an input that spiked, -r w for the others)
    w_u <- clip(w_u - r (x - w_u), 0, 1).

The fixed point of the first line is the probability that the input spikes where the unit wins.

An image takes the additions of `reward_stdp` for all units that are scored, those of a unit that moves once more to
find its place, and a multiply-add for each of its C K^2 weights.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from spikelore.errors import InputError
from spikelore.kernels import DEFAULT_BACKEND, select
from spikelore.kernels.reward_stdp import SpikeLists
from spikelore.kernels.template_stdp import numba_cpu, reference
from spikelore.shapes import Labels, Weights

_BACKENDS = {"reference": reference, "numba_cpu": numba_cpu}
_BATCH = 64
_AHEAD = 32
"""Images that are scored together where fewer are decided at once: a unit that moves is scored anew for the rest."""


@dataclass(frozen=True, eq=False)
class Result:
    """What a pass did.

    Attributes:
        weights: (F,C,K,K) float32, the new weights.
        right: share of the images whose class had the best unit.
        rewarded: (F,) int64, how often each unit was rewarded.
        changed: (F,) bool, which units moved.
        learner: with the new weights, to go on from.
    """

    weights: Weights
    right: float
    rewarded: NDArray[np.int64]
    changed: NDArray[np.bool_]
    learner: "Learner"


class Learner(Protocol):
    """Weights on their way, in a backend's layout."""

    def decide(self, spikes: SpikeLists, images: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return each unit's score for ``images``, (B,F)."""
        ...

    def renew_(self, scores: NDArray[np.float32], spikes: SpikeLists, images: NDArray[np.int64]) -> None:
        """Make ``scores`` (B,F) of ``images`` as `decide` would give them now: those of units moved since it was."""
        ...

    def move(
        self, spikes: SpikeLists, images: NDArray[np.int64], units: NDArray[np.int64], rates: NDArray[np.float32]
    ) -> None:
        """Move each unit towards (rate > 0) or away from (rate < 0) the image at its best place, in order."""
        ...

    def weights(self) -> Weights:
        """Return a copy of the weights (F,C,K,K)."""
        ...


def train(
    spikes: SpikeLists,
    order: NDArray[np.int64],
    labels: Labels,
    weights: Weights | Learner,
    unit_classes: NDArray[np.int64],
    *,
    padding: int,
    rate: float | None,
    margin: float | None,
    ranks: NDArray[np.int64] | None = None,
    limits: NDArray[np.int64] | None = None,
    plasticity: NDArray[np.float32] | None = None,
    warning: NDArray[np.bool_] | None = None,
    wins: NDArray[np.int64] | None = None,
    least_rate: float = 0.0,
    batch: int = _BATCH,
    backend: str = DEFAULT_BACKEND,
) -> Result:
    """Present the images ``order`` in batches: a batch is decided with the weights it finds, then learned.

    Args:
        spikes: which inputs of each image ever spike.
        order: (M,) int64, which image comes when.
        labels: (N,) int64 class of each image.
        weights: (F,C,K,K) float32 in 0..1 to start from; not changed. Or the learner of an earlier pass with the same
            padding and backend, which goes on and changes: many short passes then do not lay out the weights each time.
        unit_classes: (F,) int64, the class each unit stands for.
        padding: silent rows and columns around the input.
        rate: of reward and punishment; with None a unit's k-th reward of the pass has rate 1/k, so that its
            weights become the mean of its inputs.
        margin: learn from an image only if s_t - s_u < margin · sqrt(spikes of the image), and punish u besides;
            with None every image rewards and none punishes.
        ranks: (F,) int64, position of each unit in its class, 0 first; needed with ``limits``.
        limits: (M,) int64, only units of a rank below it compete for the image; all if not given. With varied
            limits the first units of a class learn to do without the rest.
        plasticity: (F,) float32 in 0..1, multiplies a unit's rates (0 protects it). The best unit of the class
            that is not protected is rewarded. All 1 if not given.
        warning: (N,) bool, images that only punish, no unit is rewarded for them. None if not given.
        wins: (F,) int64, how often each unit was rewarded in earlier passes; not changed. With them, a unit that
            never was does not compete, and takes the first image of its class that comes, before any other unit of
            the class learns from it. Without, a pass counts from 0 and all units compete.
        least_rate: a k-th reward's rate does not fall below it.
        batch: images that are decided before they are learned; with 1 what is learned does not depend on how images
            are divided over calls.
        backend: ``numba_cpu`` or ``reference``.

    Raises:
        InputError: a label that no unit stands for, limits without ranks, a margin without a rate.

    Source: soft bounds: van Rossum et al. 2000 (doi 10.1523/JNEUROSCI.20-23-08812.2000); reward of the nearest
    right and punishment of the nearest wrong template within a window: Kohonen's LVQ 2.1 (doi
    10.1109/IJCNN.1990.137622). Deviations: correlation in place of distance, places, limits.
    """
    units = len(unit_classes)
    unknown = np.setdiff1d(labels[order], unit_classes)
    if len(unknown):
        raise InputError(f"images have label {unknown[0]}, but no unit stands for it; units: {np.unique(unit_classes)}")
    if margin is not None and rate is None:
        raise InputError(f"margin is {margin} without a rate; a unit can be punished at a fixed rate only, give one")
    plastic = np.ones(units, np.float32) if plasticity is None else np.asarray(plasticity, np.float32)
    if limits is None:
        ranks, limits = np.zeros(units, np.int64), np.ones(len(order), np.int64)
    elif ranks is None:
        raise InputError("limits are given without ranks; give the rank of each unit")
    teaches = np.ones(len(labels), np.bool_) if warning is None else ~warning
    learner: Learner = (
        select(_BACKENDS, backend).Learner(weights, padding) if isinstance(weights, np.ndarray) else weights
    )
    changed = np.zeros(units, np.bool_)
    lengths = np.sqrt(np.maximum(spikes.counts(), 1)).astype(np.float32)
    counts = _Counts(np.zeros(units, np.int64), wins, least_rate)
    right, coming, scored = 0, order[:0], np.empty((0, units), np.float32)
    ahead = max(1, _AHEAD // batch) * batch
    for start in range(0, len(order), batch):
        images, limit = order[start : start + batch], limits[start : start + batch]
        if start % ahead == 0:
            coming = order[start : start + ahead]
            scored = learner.decide(spikes, coming)
        scores, coming, scored = scored[:batch], coming[batch:], scored[batch:]
        competing = (ranks < limit[:, None]) & ~counts.unused()
        own = unit_classes == labels[images][:, None]
        may_learn = (ranks < limit[:, None]) & (plastic > 0) & teaches[images][:, None]
        best, taught, other = (
            np.where(mask, scores, -np.inf) for mask in (competing & own, may_learn & own, competing & ~own)
        )
        with np.errstate(invalid="ignore"):  # neither class has a unit that competes: not right
            lead = (best.max(axis=1) - other.max(axis=1)) / lengths[images]
        right += int((lead > 0).sum())
        spiked = (scores != 0).any(axis=1)
        learns = spiked if margin is None else spiked & (lead < margin)
        moves = _moves(images, learns, taught, other, rate, margin is not None, plastic, counts)
        learner.move(spikes, *moves)
        changed[moves[1]] = True
        if len(moves[1]) and len(coming):
            learner.renew_(scored, spikes, coming)
    return Result(learner.weights(), right / len(order), counts.rewarded, changed, learner)


@dataclass(frozen=True, eq=False)
class _Counts:
    """Rewards of each unit: those of the pass, and those before it if they count."""

    rewarded: NDArray[np.int64]
    before: NDArray[np.int64] | None
    least_rate: float

    def unused(self) -> NDArray[np.bool_]:
        """Return which units wait for their first image."""
        if self.before is None:
            return np.zeros(len(self.rewarded), np.bool_)
        return self.before + self.rewarded == 0

    def reward(self, scores: NDArray[np.float32]) -> int:
        """Count and return the unit of the largest score, or the first finite one that waits for an image."""
        waiting = np.flatnonzero(self.unused() & np.isfinite(scores))
        unit = int(waiting[0] if len(waiting) else scores.argmax())
        self.rewarded[unit] += 1
        return unit

    def rate(self, unit: int) -> float:
        """Return 1 / k at its k-th reward."""
        before = 0 if self.before is None else self.before[unit]
        return max(self.least_rate, 1 / (before + self.rewarded[unit]))


def _moves(
    images: NDArray[np.int64], learns: NDArray[np.bool_], taught: NDArray[np.float32], other: NDArray[np.float32],
    rate: float | None, punish: bool, plastic: NDArray[np.float32], counts: _Counts,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:  # fmt: skip
    """Return what the batch changes, in order: image, unit, rate (negative: away); counts the rewards."""

    def each() -> Iterator[tuple[int, int, float]]:
        for n in np.flatnonzero(learns):
            if np.isfinite(taught[n].max()):
                unit = counts.reward(taught[n])
                yield images[n], unit, (counts.rate(unit) if rate is None else rate) * plastic[unit]
            if punish and np.isfinite(other[n].max()):
                unit = int(other[n].argmax())
                yield images[n], unit, -(rate or 0.0) * plastic[unit]

    moves = list(each())
    return (
        np.array([image for image, _, _ in moves], np.int64),
        np.array([unit for _, unit, _ in moves], np.int64),
        np.array([change for _, _, change in moves], np.float32),
    )
