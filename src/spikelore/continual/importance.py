"""How much an output unit matters: scores that rank the units of one class, larger = keep.

All but `activity` need no data. Unit weights are (F, ...) float32; every score is (F,) float64.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from spikelore.errors import InputError

Weights = NDArray[np.float32]
Importance = NDArray[np.float64]


def _rows(weights: Weights) -> NDArray[np.float64]:
    return weights.reshape(len(weights), -1).astype(np.float64)


def activity(winners: NDArray[np.int64], units: int) -> Importance:
    """Count how often each unit decided.

    Args:
        winners: (N,) unit that decided each image, -1 for silence.
        units: number of units F.

    Source: Antonov & Sukhov 2022 (doi 10.1109/ITNT55410.2022.9848660), section 3.
    """
    return np.bincount(winners[winners >= 0], minlength=units).astype(np.float64)


def full_sum(weights: Weights) -> Importance:
    """Sum of all incoming weights; shown by Antonov & Sukhov 2022 not to follow activity."""
    return _rows(weights).sum(axis=1)


def top_fraction(weights: Weights, fraction: float = 0.1) -> Importance:
    """Sum of the largest ``fraction`` of the incoming weights (625 of 6250 as published).

    Raises:
        InputError: the fraction is not above 0 and at most 1.

    Source: Antonov & Sukhov 2022 (doi 10.1109/ITNT55410.2022.9848660), section 3.
    """
    if not 0 < fraction <= 1:
        raise InputError(f"fraction is {fraction}, expected above 0 and at most 1; 0.1 is the published one")
    rows = _rows(weights)
    count = max(1, int(rows.shape[1] * fraction))
    return np.partition(rows, -count, axis=1)[:, -count:].sum(axis=1)


def spread(weights: Weights) -> Importance:
    """Standard deviation of the incoming weights: a unit that learned a sharp template has a large one."""
    return _rows(weights).std(axis=1)


def order(weights: Weights) -> Importance:
    """Falling with the position: what a network says whose units stand in the order of their importance.

    `spikelore.learning.template_stdp` leaves a network like that.
    """
    return -np.arange(len(weights), dtype=np.float64)


FROM_WEIGHTS: dict[str, Callable[[Weights], Importance]] = {
    "top fraction": top_fraction,
    "full sum": full_sum,
    "spread": spread,
    "order": order,
}
"""The scores that need weights alone, by name."""


def assignment(a: Weights, b: Weights) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pair the units of one class of two networks and keep one of each pair.

    With ``m = max(a_i, b_j)`` element by element, pairing i with j costs the smaller of ``|m - a_i|^2`` and
    ``|m - b_j|^2``; the Hungarian method finds the cheapest pairing. Of a pair the unit *farther* from m is
    kept, as the authors' code does ("1: was 0 in var. 2.0").

    Args:
        a: (F, ...) weights of the class in the first network.
        b: (G, ...) weights of the class in the second, of the same inner shape.

    Returns:
        Indices of the kept units of ``a`` and of ``b``; together min(F, G) of them.

    Source: Antonov & Sukhov's public code, notebook 5.
    """
    from scipy.optimize import linear_sum_assignment  # slow to load, and few ask for it

    rows_a, rows_b = _rows(a), _rows(b)
    cost = np.empty((len(rows_a), len(rows_b)))
    keep_a = np.empty(cost.shape, np.bool_)
    for i, row in enumerate(rows_a):
        to_a = (np.maximum(rows_b - row, 0) ** 2).sum(axis=1)
        to_b = (np.maximum(row - rows_b, 0) ** 2).sum(axis=1)
        cost[i] = np.minimum(to_a, to_b)
        keep_a[i] = to_a >= to_b
    pairs_a, pairs_b = linear_sum_assignment(cost)
    from_a = keep_a[pairs_a, pairs_b]
    return pairs_a[from_a], pairs_b[~from_a]
