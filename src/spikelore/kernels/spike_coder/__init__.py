"""Arithmetic coding of spikes: likely bits take less than a bit, and nothing is lost.

A bit's probability is that of its context: which of six bits before it are set, those one and two columns to the left,
three in the row above (left, same, right), and the same place one step before. Contexts begin with what handwritten and
spoken digits have in the mean (`model.PRIOR`) and follow the record's own bits, ``p += (bit - p) / n`` with n from 8 to
128. So a record needs nothing but itself to be read; one that was cut gives other spikes. All numbers are whole, and
the bytes are the same on every machine.

Spikes of two axes, of a layer (T,U) or a picture (H,W), are one plane of rows; of more, (T,...,H,W), planes in steps.

A bit takes some 20 operations and reads at most six others.

Source: Rissanen & Langdon 1979 (doi 10.1147/rd.232.0149); contexts of neighbours: JBIG (ITU-T T.82).
"""

from collections.abc import Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray

from spikelore.kernels import DEFAULT_BACKEND, select
from spikelore.kernels.spike_coder import numba_cpu, reference

_BACKENDS = {"reference": reference, "numba_cpu": numba_cpu}


def encode(spikes: NDArray, *, backend: str = DEFAULT_BACKEND) -> list[NDArray[np.uint8]]:
    """Return the record of each of N examples, at least a byte.

    Args:
        spikes: (N,*shape) of at least one axis an example; what is not 0 is a spike.
        backend: ``numba_cpu`` or ``reference``.
    """
    shape = spikes.shape[1:]
    return select(_BACKENDS, backend).encode((spikes != 0).reshape(len(spikes), *_planes(shape)).astype(np.uint8))


def decode(
    records: Sequence[NDArray[np.uint8]], shape: tuple[int, ...], *, backend: str = DEFAULT_BACKEND
) -> NDArray[np.uint8]:
    """Return (N,*shape) spikes, 0 or 1, of N records.

    Args:
        records: (R,) each, as `encode` gave them.
        shape: of one example.
        backend: ``numba_cpu`` or ``reference``.
    """
    ends = np.cumsum([0, *map(len, records)], dtype=np.int64)
    found = np.zeros((len(records), *_planes(shape)), np.uint8)
    select(_BACKENDS, backend).decode_(found, np.concatenate([np.zeros(0, np.uint8), *records]), ends)
    return found.reshape(len(records), *shape)


def _planes(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Return spikes' shape as steps, planes, rows and columns."""
    *before, height, width = (1, 1, *shape) if len(shape) < 2 else (1, *shape) if len(shape) == 2 else shape
    return before[0], prod(before[1:]), height, width
