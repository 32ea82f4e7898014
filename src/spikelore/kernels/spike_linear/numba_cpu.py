"""Products of spikes and weights on the processor: an addition of a row of weights a spike, rows over the cores."""

import numpy as np
from llvmlite import ir
from numba import types
from numpy.typing import NDArray

from spikelore.kernels import memory
from spikelore.kernels.compiled import compiled, over_cores
from spikelore.kernels.row_sums import LISTED_TILE, add_listed
from spikelore.kernels.spike_linear.model import SpikeRows
from spikelore.kernels.vector import LANES, compress, count_true, data_of, in_vectors, numbered

_ROWS = 64  # of a job
_UNITS = 128  # of a job of gradients
_BLOCK = 256  # rows of gradients that a near cache holds, of a tile


@in_vectors
def _append_spiking(typing_context, target, count, values, at):
    """List which of 16 values from ``at`` on are not 0 and return the new count; over as many entries is written."""
    index = types.intp
    signature = index(target, index, values, index)

    def generate(context, builder, signature, arguments):
        _, count, _, at = arguments
        target_data, value_data = (data_of(context, builder, signature, arguments, position) for position in (0, 2))
        vector = ir.VectorType(value_data.type.pointee, LANES)
        seen = builder.load(builder.bitcast(builder.gep(value_data, [at]), vector.as_pointer()), align=1)
        differs = builder.icmp_unsigned if isinstance(vector.element, ir.IntType) else builder.fcmp_unordered
        spiking = differs("!=", seen, ir.Constant(vector, None))
        place = numbered(builder, at, LANES, bits=32)
        listed = builder.bitcast(builder.gep(target_data, [count]), place.type.as_pointer())
        builder.store(compress(builder, place, spiking), listed, align=4)
        return builder.add(count, count_true(builder, spiking))

    return signature, generate


@compiled()
def list_(spikes, units):
    """List the units that spike, in ascending order, and return how many; ``units`` (N+16,) is int32."""
    count, whole = 0, len(spikes) // LANES * LANES
    for n in range(0, whole, LANES):
        count = _append_spiking(units, count, spikes, n)
    for n in range(whole, len(spikes)):
        units[count] = n
        count += spikes[n] != 0
    return count


@over_cores
@compiled()
def _list(begin, end, inputs, examples, step, example, counts, listed):
    """List the units of a job's rows, one row after the other in ``listed[job]``, and count each row's.

    The rows are those of all examples at one step, then at the next; from one step to the next it is ``step`` rows of
    the inputs, from an example to the next ``example``. -1 is counted where a value is neither 0 nor 1.
    """
    for job in range(begin, end):
        found = 0
        for row in range(job * _ROWS, min(len(inputs), (job + 1) * _ROWS)):
            one, spikes, ones = inputs[row // examples * step + row % examples * example], 0, 0
            for n in range(len(one)):
                spikes += one[n] != 0
                ones += one[n] == 1
            counts[row] = spikes if spikes == ones else -1
            found += list_(one, listed[job, found:])


@over_cores
@compiled()
def _join(begin, end, starts, listed, units):
    """Write what each job has listed behind what the job before it has."""
    for job in range(begin, end):
        first, last = starts[job * _ROWS], starts[min(len(starts) - 1, (job + 1) * _ROWS)]
        for n in range(last - first):
            units[first + n] = listed[job, n]


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


@compiled()
def _turn_(starts, units, size, begins, listed):
    """List each unit's rows of each block, ascending: ``listed[begins[n]:begins[n+1]]``, n = block N + unit."""
    for row in range(len(starts) - 1):
        block = row // _BLOCK * size
        for e in range(starts[row], starts[row + 1]):
            begins[block + units[e] + 2] += 1
    for n in range(1, len(begins)):
        begins[n] += begins[n - 1]
    for row in range(len(starts) - 1):
        block = row // _BLOCK * size
        for e in range(starts[row], starts[row + 1]):
            n = block + units[e] + 1
            listed[begins[n]] = row
            begins[n] += 1


@over_cores
@compiled()
def _weight_gradients(begin, end, begins, listed, gradients, found):
    """Sum up the gradients of each unit's rows, tile after tile of the neurons; a job is ``_UNITS`` units."""
    units, width = found.shape
    none = np.zeros(width, np.float32)
    for job in range(begin, end):
        for tile in range(0, width, LISTED_TILE):
            at = min(tile, width - LISTED_TILE)
            for n in range(0, len(begins) - 2, units):
                for unit in range(job * _UNITS, min(units, (job + 1) * _UNITS)):
                    total, first, last = found[unit], begins[n + unit], begins[n + unit + 1]
                    add_listed(total, total if n else none, at, gradients, width, listed, first, last)


def _jobs(count: int, size: int) -> int:
    return -(-count // size)


def rows_of(inputs: NDArray) -> SpikeRows | None:
    """Return which units of each row spike; None where a value is neither 0 nor 1; see the package's `rows_of`."""
    steps, examples, size = inputs.shape
    examples_first = inputs.transpose(1, 0, 2)
    turned = examples_first.flags.c_contiguous and not inputs.flags.c_contiguous
    flat = (examples_first if turned else np.ascontiguousarray(inputs)).reshape(-1, size)
    jobs = _jobs(len(flat), _ROWS)
    counts, listed = np.empty(len(flat), np.int64), memory.empty((jobs, _ROWS * size + LANES), np.int32)
    _list(jobs, flat, examples, *((1, steps) if turned else (examples, 1)), counts, listed)
    if len(counts) and counts.min() < 0:
        return None
    starts = np.zeros(len(flat) + 1, np.int64)
    np.cumsum(counts, out=starts[1:])
    units = memory.empty((int(starts[-1]),), np.int32)
    _join(jobs, starts, listed, units)
    return SpikeRows(starts, units, size)


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
    if neurons < LISTED_TILE:
        gradients = np.pad(gradients, ((0, 0), (0, LISTED_TILE - neurons)))
    begins = np.zeros(_jobs(max(1, len(gradients)), _BLOCK) * rows.size + 2, np.int64)
    listed = np.empty(len(rows.units), np.int32)
    _turn_(rows.starts, rows.units, rows.size, begins, listed)
    found = memory.empty((rows.size, gradients.shape[1]))
    _weight_gradients(_jobs(rows.size, _UNITS), begins, listed, gradients, found)
    return np.ascontiguousarray(found[:, :neurons].T)
