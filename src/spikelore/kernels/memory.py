"""Arrays for kernels: they begin where a cache line does, and large memory is used again.

A vector that lies in two cache lines takes twice the time to read. Memory that goes back to the system with every
batch has to be given anew, page by page, with the next one: a quarter of a training step.
"""

import math
from threading import RLock
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

_LINE = 64  # bytes
_MOST = 2**26  # bytes kept for arrays to come
_kept: dict[int, list[NDArray[np.uint8]]] = {}
_lock = RLock()


class _Block:
    """Memory under an array; it is kept for another one when the last view of the array is gone."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        needed = math.prod(shape) * dtype.itemsize + _LINE
        grain = max(1, 2 ** (needed.bit_length() - 4))
        size = -(-needed // grain) * grain  # at most an eighth more: batches of about one size share
        with _lock:
            blocks = _kept.get(size)
            self.memory = blocks.pop() if blocks else np.empty(size, np.uint8)
        begin, _ = self.memory.__array_interface__["data"]
        data = begin + -begin % _LINE, False
        self.__array_interface__ = {"shape": shape, "typestr": dtype.str, "data": data, "version": 3}

    def __del__(self, kept=_kept, lock=_lock, most=_MOST) -> None:  # names that outlive the module
        with lock:
            if self.memory.nbytes + sum(size * len(blocks) for size, blocks in kept.items()) <= most:
                kept.setdefault(self.memory.nbytes, []).append(self.memory)


def empty(shape: tuple[int, ...], dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """Return a contiguous array of any contents that begins a cache line."""
    return np.asarray(_Block(shape, np.dtype(dtype)))


def zeros(shape: tuple[int, ...], dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """Return a contiguous array of zeros that begins a cache line."""
    array = empty(shape, dtype)
    array.fill(0)
    return array
