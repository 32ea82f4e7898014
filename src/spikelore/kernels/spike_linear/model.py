"""Spikes as lists."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class SpikeRows:
    """The units that spike in each of R rows, ascending: row r's are ``units[starts[r]:starts[r + 1]]``.

    Attributes:
        starts: (R+1,) int64.
        units: int32, one a spike.
        size: N, units in all.
    """

    starts: NDArray[np.int64]
    units: NDArray[np.int32]
    size: int

    def before(self, rows: int) -> "SpikeRows":
        """Return the first so many rows, nothing copied."""
        return SpikeRows(self.starts[: rows + 1], self.units[: self.starts[rows]], self.size)
