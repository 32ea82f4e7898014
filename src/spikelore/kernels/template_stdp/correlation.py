"""The score by which templates compete."""

import numpy as np
from numpy.typing import NDArray


def gains_and_centres(rows: NDArray[np.floating]) -> tuple[NDArray, NDArray]:
    """Return 1 / |w - m| and m, the mean, of each unit's weights (F, inputs).

    ``gain (V - centre n)``, n = input spikes, is then Pearson's correlation of weights and input up to a factor
    that all units at a place share. A unit of equal weights has no template; a floor keeps its score finite.
    """
    centres = rows.mean(axis=1)
    norms = np.sqrt(((rows - centres[:, None]) ** 2).sum(axis=1))
    return 1 / np.maximum(norms, np.finfo(np.float32).eps), centres


def competing(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (w - m) / |w - m| of (F,C,K,K) weights."""
    gains, centres = gains_and_centres(weights.reshape(len(weights), -1))
    shape = (-1, 1, 1, 1)
    return ((weights - centres.reshape(shape)) * gains.reshape(shape)).astype(np.float32)
