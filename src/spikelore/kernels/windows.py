"""Spikes of a map as lists, one a window, and sums of weights over them: what convolutions of spikes share.

A window is as wide as the kernel and as high as the map. The rows of a place in it are a part of its list, so that the
input of a neuron is a list without a copy.
"""

from collections.abc import Callable

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from spikelore.kernels import memory
from spikelore.kernels.compiled import compiled
from spikelore.kernels.vector import (
    LANES,
    compress,
    count_true,
    data_of,
    four_entries,
    lanes_at,
    loop,
    numbered,
    row_at,
    spread,
)

TILE = 2 * LANES
"""Features handled together."""
LISTED = 2 * LANES
"""Values that are looked at together; so many past the last are read, and list places written."""
LARGEST_WINDOW = 2**16
"""Most inputs of a window, rows of the map x kernel columns x channels: they are listed in 16 bits."""


def make_add_two_lists(vectors: int) -> Callable[..., None]:
    """Make ``add_two_lists(sums, start, at, table, stride, rows, *first list, *second list)`` for ``vectors`` vectors.

    Each list is three arguments: offset, first, last. For n in 0 .. W-1, W = 16*vectors, it does

        sums[n]     = start[at + n] + sum over e in first .. last-1 of table[offset + stride * rows[e] + n],
        sums[W + n] = the same for the second list,

    each lane adding in the order of ``rows``. ``rows`` is contiguous uint16, ``sums``, ``start`` and ``table`` are
    contiguous float32 or all int32.
    """

    @intrinsic
    def add_two_lists(
        typing_context, sums, start, at, table, stride, rows, offset, first, last, offset2, first2, last2
    ):  # fmt: skip
        index = types.intp
        signature = types.void(sums, start, index, table, index, rows, *[index] * 6)

        def generate(context, builder, signature, arguments):
            number = ir.IntType(64)
            sum_data, start_data, table_data, row_data = (
                data_of(context, builder, signature, arguments, position) for position in (0, 1, 3, 5)
            )
            vector = ir.VectorType(table_data.type.pointee, LANES)
            plus = builder.fadd if isinstance(vector.element, ir.FloatType) else builder.add
            stride, lists = arguments[4], (arguments[6:9], arguments[9:12])
            tables = [builder.gep(table_data, [offset]) for offset, _, _ in lists]
            list_starts = [builder.gep(row_data, [first]) for _, first, _ in lists]
            lengths = [builder.sub(last, first) for _, first, last in lists]
            shorter = builder.select(builder.icmp_signed("<", *lengths), *lengths)
            together = builder.and_(shorter, ir.Constant(number, -4))

            def add(sums, each, row):
                run = row_at(builder, tables[each], row, stride, vectors)
                return [plus(total, builder.load(one, align=4)) for total, one in zip(sums, run, strict=True)]

            def four_of_both(e, sums):
                halves = [sums[:vectors], sums[vectors:]]
                for rows in zip(*(four_entries(builder, start, e) for start in list_starts), strict=True):
                    halves = [add(half, each, rows[each]) for each, half in enumerate(halves)]
                return halves[0] + halves[1]

            def one_of(each):
                return lambda e, sums: add(sums, each, builder.load(builder.gep(list_starts[each], [e])))

            begin = builder.gep(start_data, [arguments[2]])
            begun = [builder.load(lanes_at(builder, begin, n, vector), align=4) for n in range(vectors)] * 2
            sums = loop(builder, ir.Constant(number, 0), together, begun, four_of_both, stride=4)
            for each in range(2):
                part = slice(each * vectors, (each + 1) * vectors)
                rest = loop(builder, together, lengths[each], sums[part], one_of(each))
                for n, total in enumerate(rest):
                    place = lanes_at(builder, sum_data, each * vectors + n, vector)
                    builder.store(total, place, align=4)
            return context.get_dummy_value()

        return signature, generate

    return add_two_lists


def make_append_above(vectors: int) -> Callable[..., int]:
    """Make ``append_above(target, count, values, at, valid, threshold, first)``: list which values exceed.

    It writes first + n for every n < valid with values[at + n] > threshold to target[count], target[count + 1] ...
    in ascending order and returns the new count. It reads 16*vectors values and writes over as many entries
    whatever ``valid`` is. ``values`` is contiguous float32, ``target`` uint16.
    """
    lanes = vectors * LANES

    @intrinsic
    def append_above(typing_context, target, count, values, at, valid, threshold, first):
        index = types.intp
        signature = index(target, index, values, index, index, types.float32, index)

        def generate(context, builder, signature, arguments):
            _, count, _, at, valid, threshold, first = arguments
            vector, number, short = ir.VectorType(ir.FloatType(), lanes), ir.IntType(64), ir.IntType(16)
            target_data, value_data = (data_of(context, builder, signature, arguments, position) for position in (0, 2))
            start = builder.bitcast(builder.gep(value_data, [at]), vector.as_pointer())
            exceeds = builder.fcmp_ordered(">", builder.load(start, align=4), spread(builder, threshold, vector))
            most = ir.Constant(number, lanes)
            valid = builder.trunc(builder.select(builder.icmp_signed("<", valid, most), valid, most), short)
            lane = numbered(builder, ir.Constant(number, 0), lanes)
            above = builder.and_(exceeds, builder.icmp_unsigned("<", lane, spread(builder, valid, lane.type)))
            listed = builder.bitcast(builder.gep(target_data, [count]), lane.type.as_pointer())
            builder.store(compress(builder, numbered(builder, first, lanes), above), listed, align=2)
            return builder.add(count, count_true(builder, above))

        return signature, generate

    return append_above


add_two_lists, _append_above = make_add_two_lists(TILE // LANES), make_append_above(LISTED // LANES)


@compiled()
def list_windows_(potentials, threshold, channels, kernel, events, count, bounds):
    """Append the spikes of each window, ``kernel`` columns of the map with all its rows, and return the new count.

    An entry is row x (inputs in a window's row) + place in that row; entries of a window ascend. Rows y .. y2-1 of
    window x have the places bounds[x, y] .. bounds[x, y2] - 1 of the list. ``events`` and ``potentials`` are
    ``LISTED`` longer than what is used.
    """
    windows, rows = bounds.shape[0], bounds.shape[1] - 1
    columns, run = windows + kernel - 1, kernel * channels
    for x in range(windows):
        for y in range(rows):
            bounds[x, y] = count
            for c in range(0, run, LISTED):
                start = (y * columns + x) * channels + c
                count = _append_above(events, count, potentials, start, run - c, threshold, y * run + c)
        bounds[x, rows] = count
    return count


def pack_tiles(weights: NDArray) -> NDArray:
    """Return (F,C,K,K) weights as (tiles, K*K*C, TILE), a row for each input of a window, features filled up by 0."""
    features, channels, kernel, _ = weights.shape
    tiles, inputs = -(-features // TILE), kernel * kernel * channels
    by_feature = np.zeros((tiles * TILE, inputs), weights.dtype)
    by_feature[:features] = weights.transpose(0, 2, 3, 1).reshape(features, inputs)
    table = memory.empty((tiles, inputs, TILE), weights.dtype)
    table[:] = by_feature.reshape(tiles, TILE, inputs).transpose(0, 2, 1)
    return table
