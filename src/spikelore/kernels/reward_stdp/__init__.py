"""Rewarded learning of a decision layer whose neurons all fire in the last bin.

One neuron wins an image: the one of largest potential over all features and places (on a tie the lowest
feature, row, column); without any input spike there is no winner. The class of its feature is the decision.
If it is right, the winner's feature learns by STDP with the reward rates, else by anti-STDP with the
punishment rates; inputs that spiked take the first rate of the pair, all others the second:

    w <- clip(w + rate, lower, upper).

Rates may be other ones for each image, bounds other ones for each weight: one whose bounds are its own value is frozen.
After the first decided image all weights are clipped to the bounds, as SpykeTorch does.

The potentials of an image with E spikes are at most E K^2 F additions, fewer at the edges, a weight read for each, 4
bytes; F is the number of features that what is known does not rule out. Learning moves the C K^2 weights of one
feature, 8 bytes read and written each.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikelore.kernels import DEFAULT_BACKEND, select
from spikelore.kernels.reward_stdp import numba_cpu, reference
from spikelore.kernels.reward_stdp.known_potentials import KnownPotentials
from spikelore.kernels.reward_stdp.spike_lists import SpikeLists
from spikelore.shapes import Labels, Weights

__all__ = ["KnownPotentials", "Rates", "SpikeLists", "decide", "feature_potentials", "train", "winners"]

_BACKENDS = {"reference": reference, "numba_cpu": numba_cpu}


@dataclass(frozen=True)
class Rates:
    """Change of a weight per image: (inputs that spiked, inputs that did not)."""

    reward: tuple[float, float] = (0.004, -0.003)
    punish: tuple[float, float] = (-0.004, 0.0005)

    def table(self) -> NDArray[np.float32]:
        """Return (2,2) float32: reward, punish."""
        return np.array([self.reward, self.punish], np.float32)


def feature_potentials(
    spikes: SpikeLists, weights: Weights, *, padding: int, backend: str = DEFAULT_BACKEND
) -> NDArray[np.float32]:
    """Return each feature's largest potential over the layer's places, (N,F) float32."""
    return select(_BACKENDS, backend).feature_potentials(spikes, weights, padding)


def decide(potentials: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return the winning feature of each image, (N,) int64, -1 where all are 0 (no spike) or one is not finite.

    Args:
        potentials: (N,F) as from `feature_potentials`.
    """
    decides = potentials.any(axis=1) & np.isfinite(potentials).all(axis=1)
    return np.where(decides, potentials.argmax(axis=1), -1)


def winners(
    spikes: SpikeLists, weights: Weights, *, padding: int, known: KnownPotentials | None = None,
    backend: str = DEFAULT_BACKEND,
) -> NDArray[np.int64]:  # fmt: skip
    """Return what `decide` does of `feature_potentials`; faster if something is ``known`` from about such weights."""
    if known is not None and backend != "reference":
        found = select(_BACKENDS, backend).winners(spikes, weights, padding, known)
        if (found >= -1).all():
            return found
    return decide(feature_potentials(spikes, weights, padding=padding, backend=backend))


def train(
    spikes: SpikeLists,
    order: NDArray[np.int64],
    labels: Labels,
    weights: Weights,
    feature_classes: NDArray[np.int64],
    *,
    padding: int,
    rates: Rates | NDArray[np.float32],
    lower: float | Weights = 0.2,
    upper: float | Weights = 0.8,
    plasticity: NDArray[np.float32] | None = None,
    known: KnownPotentials | None = None,
    backend: str = DEFAULT_BACKEND,
) -> tuple[Weights, NDArray[np.int16], NDArray[np.float32]]:
    """Learn from the images ``order``, one after the other.

    Args:
        spikes: which inputs of each image ever spike.
        order: (M,) int64, which image comes when.
        labels: (N,) int64 class of each image.
        weights: (F,C,K,K) float32 to start from; not changed.
        feature_classes: (F,) int64, the class each feature stands for.
        padding: silent rows and columns around the input.
        rates: of reward and punishment; or (M,2,2) float32, those of each image in order, `Rates.table`.
        lower: lower bound of all weights, or (F,C,K,K) float32, one of each.
        upper: upper bound likewise.
        plasticity: (F,) float32 in 0..1, multiplies a feature's rates (0 = frozen); all 1 if not given.
        known: from earlier passes over ``spikes``, and for later ones; changes nothing but how long it takes.
        backend: ``numba_cpu`` or ``reference``.

    Returns:
        The new weights, (M,3) int16 winners as (feature, row, column) or -1, and (M,) float32 their
        potentials.

    Source: Mozafari et al. 2019 (doi 10.1016/j.patcog.2019.05.015), section 2.4.
    """
    if plasticity is None:
        plasticity = np.ones(len(weights), np.float32)
    table = np.repeat(rates.table()[None], len(order), axis=0) if isinstance(rates, Rates) else rates
    low, high = np.asarray(lower, np.float32), np.asarray(upper, np.float32)
    if low.ndim != high.ndim:
        low, high = (np.broadcast_to(bound, weights.shape) for bound in (low, high))
    return select(_BACKENDS, backend).train(
        spikes, order, labels, weights, feature_classes, padding, table, low, high, plasticity,
        known or KnownPotentials(),
    )  # fmt: skip
