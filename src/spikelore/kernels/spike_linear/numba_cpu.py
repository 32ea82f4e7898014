"""Products of spikes and weights on the processor: an addition of a row of weights a spike, rows over the cores."""

import numpy as np
from llvmlite import ir
from numba import types
from numpy.typing import NDArray

from spikelore.kernels import memory
from spikelore.kernels.compiled import compiled, over_cores
from spikelore.kernels.spike_linear.model import SpikeRows
from spikelore.kernels.vector import LANES, compress, count_true, data_of, in_vectors, line_of_zeros, loop, prefetch

_ROWS = 64  # of a job
_SELDOM = 4  # units for each spike, as a rule: lists that could hold them all would be as large as the inputs
_AHEAD = 16  # rows


@in_vectors
def _list_vectors(typing_context, units, values, size):
    """List which of the first ``size`` values are not 0, and return how many; -1 if one of them is not 1.

    Values are whole vectors; a whole vector is written behind the last entry. One costs a comparison with 0 and with 1.
    """
    index = types.intp
    signature = index(units, values, index)

    def generate(context, builder, signature, arguments):
        unit_data, value_data = (data_of(context, builder, signature, arguments, position) for position in (0, 1))
        vector = ir.VectorType(value_data.type.pointee, LANES)
        places = ir.VectorType(ir.IntType(32), LANES)
        differs = builder.icmp_unsigned if isinstance(vector.element, ir.IntType) else builder.fcmp_unordered
        zeros, ones = (ir.Constant(vector, [value] * LANES) for value in (0, 1))

        def visit(n, carried):
            count, place, wrong = carried
            seen = builder.load(builder.bitcast(builder.gep(value_data, [n]), vector.as_pointer()), align=1)
            spiking = differs("!=", seen, zeros)
            listed = builder.bitcast(builder.gep(unit_data, [count]), places.as_pointer())
            builder.store(compress(builder, place, spiking), listed, align=4)
            return [
                builder.add(count, count_true(builder, spiking)),
                builder.add(place, ir.Constant(places, [LANES] * LANES)),
                builder.or_(wrong, builder.and_(spiking, differs("!=", seen, ones))),
            ]

        nothing = ir.Constant(ir.IntType(64), 0)
        first, right = ir.Constant(places, list(range(LANES))), ir.Constant(ir.VectorType(ir.IntType(1), LANES), None)
        count, _, wrong = loop(builder, nothing, arguments[2], [nothing, first, right], visit, stride=LANES)
        all_right = builder.icmp_unsigned("==", count_true(builder, wrong), nothing)
        return builder.select(all_right, count, ir.Constant(ir.IntType(64), -1))

    return signature, generate


@compiled()
def list_(spikes, units):
    """List the units that spike, in ascending order, and return how many; ``units`` (N+16,) is int32.

    Returns -1 if a value is neither 0 nor 1: what is listed is then of no use.
    """
    whole = len(spikes) // LANES * LANES
    count = _list_vectors(units, spikes, whole)
    for n in range(whole, len(spikes)):
        if count >= 0:
            units[count] = n
            count += spikes[n] != 0
            if spikes[n] != 0 and spikes[n] != 1:
                count = -1
    return count


@over_cores
@compiled()
def _list(begin, end, inputs, examples, step, example, counts, listed):
    """List the units of a job's rows, one row after the other in ``listed[job]``, and count each row's.

    The rows are those of all examples at one step, then at the next; from one step to the next it is ``step`` rows of
    the inputs, from an example to the next ``example``. -1 is counted where a value is neither 0 nor 1, -2 where the
    job's list may be too short.
    """
    for job in range(begin, end):
        found = 0
        for row in range(job * _ROWS, min(len(inputs), (job + 1) * _ROWS)):
            if found + inputs.shape[1] + LANES > listed.shape[1]:
                counts[row] = -2
                continue
            counts[row] = list_(inputs[row // examples * step + row % examples * example], listed[job, found:])
            found += max(0, counts[row])


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


@in_vectors
def _add_to_units(typing_context, totals, units, first, last, table, at, ahead):
    """Add 16 values of a table, from the ``at``-th on, to those of each unit on a list, ``totals[16 unit:]``.

    Values ``ahead`` of them are asked for, to be near when their turn comes.
    """
    index = types.intp
    signature = types.void(totals, units, index, index, table, index, index)

    def generate(context, builder, signature, arguments):
        total_data, unit_data, table_data = (
            data_of(context, builder, signature, arguments, position) for position in (0, 1, 4)
        )
        _, _, first, last, _, at, ahead = arguments
        vector = ir.VectorType(ir.FloatType(), LANES)
        added = builder.load(builder.bitcast(builder.gep(table_data, [at]), vector.as_pointer()), align=4)
        prefetch(builder, builder.gep(table_data, [builder.add(at, ahead)]))

        def visit(e, _):
            unit = builder.zext(builder.load(builder.gep(unit_data, [e])), ir.IntType(64))
            place = builder.gep(builder.bitcast(total_data, vector.as_pointer()), [unit])
            builder.store(builder.fadd(builder.load(place, align=4), added), place, align=4)
            return []

        loop(builder, first, last, [], visit)
        return context.get_dummy_value()

    return signature, generate


@over_cores
@compiled()
def _weight_gradients(begin, end, starts, units, gradients, found):
    """Add the gradients of each row to those of its units, 16 neurons a job; ``found`` (H,N).

    A job's sums, 64 bytes a unit, stay in the nearest cache. A spike costs H additions, 4 bytes read and written each.
    """
    width, size = found.shape
    totals = line_of_zeros(size * LANES).view(np.float32)
    for job in range(begin, end):
        at = min(job * LANES, width - LANES)
        for n in range(size * LANES):
            totals[n] = 0
        for row in range(len(starts) - 1):
            _add_to_units(totals, units, starts[row], starts[row + 1], gradients, row * width + at, _AHEAD * width)
        for n in range(size):
            for h in range(LANES):
                found[at + h, n] = totals[n * LANES + h]


def _jobs(count: int, size: int) -> int:
    return -(-count // size)


def rows_of(inputs: NDArray) -> SpikeRows | None:
    """Return which units of each row spike; None where a value is neither 0 nor 1; see the package's `rows_of`."""
    steps, examples, size = inputs.shape
    examples_first = inputs.transpose(1, 0, 2)
    turned = examples_first.flags.c_contiguous and not inputs.flags.c_contiguous
    flat = (examples_first if turned else np.ascontiguousarray(inputs)).reshape(-1, size)
    jobs, counts = _jobs(len(flat), _ROWS), np.empty(len(flat), np.int64)
    for room in (_ROWS * size // _SELDOM, _ROWS * size):
        listed = memory.empty((jobs, room + LANES), np.int32)
        _list(jobs, flat, examples, *((1, steps) if turned else (examples, 1)), counts, listed)
        if counts.min(initial=0) > -2:
            break
    if counts.min(initial=0) < 0:
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
    if neurons < LANES:
        gradients = np.pad(gradients, ((0, 0), (0, LANES - neurons)))
    found = memory.empty((gradients.shape[1], rows.size))
    _weight_gradients(_jobs(len(found), LANES), rows.starts, rows.units, np.ascontiguousarray(gradients), found)
    return found[:neurons]
