"""Products of spikes and weights on the processor: an addition of a row of weights a spike, rows over the cores."""

import numpy as np
from numpy.typing import NDArray

from spikelore.kernels import memory
from spikelore.kernels.compiled import compiled, over_cores
from spikelore.kernels.spike_linear.model import SpikeRows

_ROWS = 64  # of a job
_LANES = 32  # neurons of a job of gradients


@over_cores
@compiled()
def _count(begin, end, inputs, counts):
    """Count the spikes of each row; -1 where a value is neither 0 nor 1."""
    for row in range(begin * _ROWS, min(len(inputs), end * _ROWS)):
        one, found, ones = inputs[row], 0, 0
        for n in range(len(one)):
            found += one[n] != 0
            ones += one[n] == 1
        counts[row] = found if found == ones else -1


@over_cores
@compiled()
def _list(begin, end, inputs, starts, units):
    found = np.empty(inputs.shape[1] + 1, np.int32)
    for row in range(begin * _ROWS, min(len(inputs), end * _ROWS)):
        one, count = inputs[row], 0
        for n in range(len(one)):  # without a branch, which a processor could not foresee
            found[count] = n
            count += one[n] != 0
        first = starts[row]
        for n in range(count):
            units[first + n] = found[n]


@compiled()
def add_rows_(table, rows, begin, end, total):
    """Add rows ``rows[begin:end]`` of a table (N,H) to ``total`` (H,), four at a time: the sums of four, then those."""
    n = begin
    while n + 4 <= end:
        first, second, third, fourth = table[rows[n]], table[rows[n + 1]], table[rows[n + 2]], table[rows[n + 3]]
        for h in range(len(total)):
            total[h] += (first[h] + second[h]) + (third[h] + fourth[h])
        n += 4
    while n < end:
        one = table[rows[n]]
        for h in range(len(total)):
            total[h] += one[h]
        n += 1


@over_cores
@compiled()
def _forward(begin, end, starts, units, table, bias, currents):
    for row in range(begin * _ROWS, min(len(currents), end * _ROWS)):
        total = currents[row]
        for h in range(len(total)):
            total[h] = bias[h]
        add_rows_(table, units, starts[row], starts[row + 1], total)


@over_cores
@compiled()
def _weight_gradients(begin, end, starts, units, gradients, found):
    """Add each row's gradients to those of the units that spike in it, ``_LANES`` neurons a job."""
    one = np.empty(_LANES, np.float32)
    for job in range(begin, end):
        totals, first = found[job], job * _LANES
        width = min(_LANES, gradients.shape[1] - first)
        for unit in range(len(totals)):
            total = totals[unit]
            for h in range(_LANES):
                total[h] = 0
        for h in range(_LANES):
            one[h] = 0
        for row in range(len(gradients)):
            for h in range(width):
                one[h] = gradients[row, first + h]
            for n in range(starts[row], starts[row + 1]):
                total = totals[units[n]]
                for h in range(_LANES):
                    total[h] += one[h]


def _jobs(count: int, size: int) -> int:
    return -(-count // size)


def rows_of(inputs: NDArray) -> SpikeRows | None:
    """Return which units of each row spike; None where a value is neither 0 nor 1."""
    counts = np.empty(len(inputs), np.int64)
    jobs = _jobs(len(inputs), _ROWS)
    _count(jobs, inputs, counts)
    if len(counts) and counts.min() < 0:
        return None
    starts = np.zeros(len(inputs) + 1, np.int64)
    np.cumsum(counts, out=starts[1:])
    units = memory.empty((int(starts[-1]),), np.int32)
    _list(jobs, inputs, starts, units)
    return SpikeRows(starts, units, inputs.shape[1])


def forward(rows: SpikeRows, weights: NDArray[np.float32], bias: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the currents (R,H); see the package's `forward`."""
    count = len(rows.starts) - 1
    currents = memory.empty((count, len(weights)))
    table = np.ascontiguousarray(weights.T)
    _forward(_jobs(count, _ROWS), rows.starts, rows.units, table, bias, currents)
    return currents


def weight_gradients(rows: SpikeRows, gradients: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return dL/dw, (H,N); see the package's `weight_gradients`."""
    neurons = gradients.shape[1]
    jobs = _jobs(neurons, _LANES)
    found = memory.empty((jobs, rows.size, _LANES))
    _weight_gradients(jobs, rows.starts, rows.units, gradients, found)
    return np.ascontiguousarray(found.transpose(0, 2, 1).reshape(jobs * _LANES, rows.size)[:neurons])
