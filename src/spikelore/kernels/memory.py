"""Arrays for kernels: they begin where a cache line does, and large memory is used again.

A vector that lies in two cache lines takes twice the time to read. Memory that goes back to the system with every
batch has to be given anew, page by page, with the next one: a quarter of a training step.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

_LINE = 64  # bytes
_LARGE = 2**18  # bytes; smaller memory is given at once
_MOST = 2**26  # bytes kept for arrays to come, oldest given back first
_kept: list["_Memory"] = []  # every use is one atomic operation, or looks at a copy


class _Memory:
    """Bytes that are compared by what they are, not by their values."""

    def __init__(self, size: int) -> None:
        self.array = np.empty(size, np.uint8)
        self.size = size


class _Block:
    """What an array lies on; when the last view of the array is gone, its memory is kept for another one."""

    def __init__(self, memory: _Memory, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.memory = memory
        begin, _ = memory.array.__array_interface__["data"]
        data = begin + -begin % _LINE, False
        self.__array_interface__ = {"shape": shape, "typestr": dtype.str, "data": data, "version": 3}

    def __del__(self, kept=_kept, most=_MOST, large=_LARGE) -> None:  # names that outlive the module
        if self.memory.size < large:
            return
        kept.append(self.memory)
        while sum(one.size for one in tuple(kept)) > most:
            try:
                kept.pop(0)
            except IndexError:  # another thread's
                return


def _take(size: int) -> _Memory:
    for one in tuple(_kept):
        if one.size == size:
            try:
                _kept.remove(one)
            except ValueError:  # another thread was faster
                continue
            return one
    return _Memory(size)


def empty(shape: tuple[int, ...], dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """Return a contiguous array of any contents that begins a cache line."""
    kind = np.dtype(dtype)
    needed = math.prod(shape) * kind.itemsize + _LINE
    grain = max(1, 2 ** (needed.bit_length() - 4))  # at most an eighth more: batches of about one size share
    return np.asarray(_Block(_take(-(-needed // grain) * grain), shape, kind))


def zeros(shape: tuple[int, ...], dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """Return a contiguous array of zeros that begins a cache line."""
    array = empty(shape, dtype)
    array.fill(0)
    return array
