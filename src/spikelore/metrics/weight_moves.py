"""How far weights moved while something else was learned, by how large they were before."""

import numpy as np
from numpy.typing import NDArray

from spikelore.errors import InputError

STILL = 0.01
"""A weight that moved by less than this has stayed."""


def by_size(before: NDArray[np.float32], after: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Return what each tenth of the weights did, from the smallest before to the largest.

    Of equal ones the first count as larger.

    Args:
        before: of any shape, ten weights or more.
        after: the same weights later.

    Returns:
        ``stayed``: (10,) share that moved by less than `STILL`.
        ``moved``: (10,) mean distance, in units of weight.

    Raises:
        InputError: the shapes differ, or there are fewer than ten weights.
    """
    if before.shape != after.shape or before.size < 10:
        raise InputError(
            f"weights have the shapes {before.shape} and {after.shape}, expected the same ten or more; give both"
        )
    distance = np.abs(after - before).ravel()
    tenths = np.array_split(distance[np.argsort(-before, axis=None, kind="stable")[::-1]], 10)
    stayed = [(tenth < STILL).mean() for tenth in tenths]
    return {"stayed": np.array(stayed, np.float32), "moved": np.array([tenth.mean() for tenth in tenths], np.float32)}
