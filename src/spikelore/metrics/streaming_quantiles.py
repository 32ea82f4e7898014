"""Quantiles of a stream of arrays, element by element, without keeping the stream."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikelore.errors import InputError, check_whole
from spikelore.kernels import DEFAULT_BACKEND, levels

_MOST = 2**16 - 1


class StreamingQuantiles:
    """Quantiles of each element of arrays that come one by one, for values between known bounds.

    Each value is rounded to the nearest of a number of levels, and what is kept is how often each element was at each
    level, 2 bytes a level. Rounding keeps the order of values, so that a quantile (the least value that is not below
    the share of all) is wrong by at most half the distance of two levels, whatever the values and their order. The
    P-square algorithm, which keeps fewer numbers, is off by up to the whole range where values wander slowly.

    Attributes:
        count: arrays so far.
        levels: (L,) float32, ascending; the first and the last are the bounds.

    Example:
        >>> import numpy as np
        >>> from spikelore.metrics.streaming_quantiles import StreamingQuantiles
        >>> seen = StreamingQuantiles((1,), 0.0, 1.0, count=11)
        >>> for value in (0.3, 0.1, 0.2):
        ...     seen.add(np.array([value]))
        >>> round(float(seen.values((0.5,))[0, 0]), 3)
        0.2
    """

    def __init__(
        self, shape: tuple[int, ...], lower: float, upper: float, *, count: int = 61, backend: str = DEFAULT_BACKEND
    ) -> None:
        """Begin without an array.

        Args:
            shape: of the arrays.
            lower: bound of all values; what lies below counts as this.
            upper: likewise above.
            count: of levels, 2 or more.
            backend: ``numba_cpu`` or ``reference``.

        Raises:
            InputError: fewer levels, or an upper bound that is not above the lower one.
        """
        check_whole("count", count, 2)
        if not lower < upper:
            raise InputError(f"upper is {upper}, expected above lower, which is {lower}; correct one of them")
        self.levels, self.count, self._shape = np.linspace(lower, upper, count, dtype=np.float32), 0, shape
        self._bounds, self._backend = (lower, upper), backend
        self._counts = np.zeros((int(np.prod(shape)), count), np.uint16)

    def add(self, values: NDArray[Any]) -> None:
        """Take one more array.

        Raises:
            InputError: it has another shape, or 65535 came before.
        """
        if values.shape != self._shape:
            raise InputError(f"the array has shape {values.shape}, expected {self._shape}; give one of this shape")
        if self.count == _MOST:
            raise InputError(f"there are {_MOST} arrays already, expected no more; record less often")
        flat = np.ascontiguousarray(values, np.float32).ravel()
        levels.count_(self._counts, flat, *self._bounds, backend=self._backend)
        self.count += 1

    def values(self, shares: Sequence[float]) -> NDArray[np.float32]:
        """Return quantiles, (k, ...) float32.

        Args:
            shares: k numbers from 0 to 1, such as 0.1 for the first decile.

        Raises:
            InputError: there was no array, or another share.
        """
        if not self.count:
            raise InputError("quantiles of no records are asked for, expected at least one record; add some first")
        if not all(0 <= share <= 1 for share in shares):
            raise InputError(f"shares are {list(shares)}, expected numbers from 0 to 1; correct them")
        below = self._counts.cumsum(axis=1, dtype=np.uint16)
        least = [max(1, int(np.ceil(share * self.count - 1e-9))) for share in shares]  # of 0.1 x 10, one
        return np.stack([self.levels[(below >= each).argmax(axis=1)].reshape(self._shape) for each in least])

    def counts(self, elements: ArrayLike) -> NDArray[np.uint16]:
        """Return how often each of some elements was at each level, (k,L).

        Args:
            elements: (k,) their places in the flattened arrays.
        """
        return self._counts[np.asarray(elements, np.int64)]

    def state_dict(self) -> dict[str, NDArray]:
        """Return all that decides how it goes on."""
        return {"counts": self._counts, "count": np.array([self.count])}

    def load_state_dict(self, state: Mapping[str, NDArray]) -> None:
        """Go on from what `state_dict` returned of one of the same shape and levels."""
        self._counts, self.count = state["counts"].copy(), int(state["count"][0])
