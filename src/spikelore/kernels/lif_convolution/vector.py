"""Hand-made vector loops over lists of table rows, beside those of ``reward_stdp``."""

from collections.abc import Callable

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

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


def _won(context, builder, signature, arguments, at):
    """Return which of 16 features from ``at`` on have the winner ``place``, and their gradients.

    The first arguments are the arrays of gradients and winners; the fourth is ``place``.
    """
    bytes_, vector = ir.VectorType(ir.IntType(8), LANES), ir.VectorType(ir.FloatType(), LANES)
    gradient_data, winner_data = (data_of(context, builder, signature, arguments, position) for position in (0, 1))
    start = builder.bitcast(builder.gep(winner_data, [at]), bytes_.as_pointer())
    place = spread(builder, builder.trunc(arguments[3], bytes_.element), bytes_)
    gradients = builder.load(lanes_at(builder, builder.gep(gradient_data, [at]), 0, vector), align=4)
    return builder.icmp_unsigned("==", builder.load(start, align=1), place), gradients


def make_scatter_won(vectors: int) -> Callable[..., None]:
    """Make ``scatter_won(gradients, winners, at, place, table, offset, stride, rows, first, last)``.

    For e in first .. last-1 and n in 0 .. 16*vectors - 1 it does

        table[offset + stride * rows[e] + n] += gradients[at + n] where winners[at + n] = place, 0 elsewhere,

    the gradients kept in registers. No row may be listed twice; ``place`` is at most 255. ``gradients`` and
    ``table`` are contiguous float32, ``winners`` uint8, ``rows`` uint16.
    """

    @intrinsic
    def scatter_won(typing_context, gradients, winners, at, place, table, offset, stride, rows, first, last):
        index = types.intp
        signature = types.void(gradients, winners, index, index, table, index, index, rows, index, index)

        def generate(context, builder, signature, arguments):
            vector, number = ir.VectorType(ir.FloatType(), LANES), ir.IntType(64)
            at, offset, stride, first, last = (arguments[position] for position in (2, 5, 6, 8, 9))
            table_data, row_data = (data_of(context, builder, signature, arguments, position) for position in (4, 7))
            starts = [builder.add(at, ir.Constant(number, n * LANES)) for n in range(vectors)]
            won = [_won(context, builder, signature, arguments, start) for start in starts]
            none = ir.Constant(vector, [0.0] * LANES)
            values = [builder.select(here, gradients, none) for here, gradients in won]
            table_start, list_start = builder.gep(table_data, [offset]), builder.gep(row_data, [first])

            def add(rows):
                places = [place for row in rows for place in row_at(builder, table_start, row, stride, vectors)]
                sums = [
                    builder.fadd(builder.load(place, align=4), value)
                    for place, value in zip(places, values * len(rows), strict=True)
                ]
                for place, total in zip(places, sums, strict=True):
                    builder.store(total, place, align=4)
                return []

            length = builder.sub(last, first)
            whole = builder.and_(length, ir.Constant(number, -4))
            loop(
                builder,
                ir.Constant(number, 0),
                whole,
                [],
                lambda e, _: add(four_entries(builder, list_start, e)),
                stride=4,
            )
            loop(builder, whole, length, [], lambda e, _: add([builder.load(builder.gep(list_start, [e]))]))
            return context.get_dummy_value()

        return signature, generate

    return scatter_won


def make_add_two_lists(vectors: int) -> Callable[..., None]:
    """Make ``add_two_lists(sums, start, at, table, stride, rows, *first list, *second list)`` for ``vectors`` vectors.

    Each list is three arguments: offset, first, last. For n in 0 .. W-1, W = 16*vectors, it does

        sums[n]     = start[at + n] + sum over e in first .. last-1 of table[offset + stride * rows[e] + n],
        sums[W + n] = the same for the second list,

    each lane adding in the order of ``rows``. All but ``rows`` (uint16) are contiguous float32.
    """

    @intrinsic
    def add_two_lists(
        typing_context, sums, start, at, table, stride, rows, offset, first, last, offset2, first2, last2
    ):  # fmt: skip
        index = types.intp
        signature = types.void(sums, start, index, table, index, rows, *[index] * 6)

        def generate(context, builder, signature, arguments):
            vector, number = ir.VectorType(ir.FloatType(), LANES), ir.IntType(64)
            sum_data, start_data, table_data, row_data = (
                data_of(context, builder, signature, arguments, position) for position in (0, 1, 3, 5)
            )
            stride, lists = arguments[4], (arguments[6:9], arguments[9:12])
            tables = [builder.gep(table_data, [offset]) for offset, _, _ in lists]
            list_starts = [builder.gep(row_data, [first]) for _, first, _ in lists]
            lengths = [builder.sub(last, first) for _, first, last in lists]
            shorter = builder.select(builder.icmp_signed("<", *lengths), *lengths)
            together = builder.and_(shorter, ir.Constant(number, -4))

            def add(sums, each, row):
                run = row_at(builder, tables[each], row, stride, vectors)
                return [builder.fadd(total, builder.load(one, align=4)) for total, one in zip(sums, run, strict=True)]

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


def make_weigh_rows(vectors: int) -> Callable[..., None]:
    """Make ``weigh_rows(target, at, table, offset, stride, rows, factors, first, last)`` for ``vectors`` vectors.

    For n in 0 .. 16*vectors - 1 it does

        target[at + n] += sum over e in first .. last-1 of factors[e] * table[offset + stride * rows[e] + n],

    with fused multiply-adds, even and odd e apart and then together. ``last - first`` must be even. All but
    ``rows`` (uint16) are contiguous float32.
    """

    @intrinsic
    def weigh_rows(typing_context, target, at, table, offset, stride, rows, factors, first, last):
        index = types.intp
        signature = types.void(target, index, table, index, index, rows, factors, index, index)

        def generate(context, builder, signature, arguments):
            vector, number = ir.VectorType(ir.FloatType(), LANES), ir.IntType(64)
            target_data, table_data, row_data, factor_data = (
                data_of(context, builder, signature, arguments, position) for position in (0, 2, 5, 6)
            )
            at, offset, stride, first, last = (arguments[position] for position in (1, 3, 4, 7, 8))
            table_start = builder.gep(table_data, [offset])
            kind = ir.FunctionType(vector, [vector] * 3)
            fma = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{LANES}f32")

            def add(e, sums):
                run = row_at(builder, table_start, builder.load(builder.gep(row_data, [e])), stride, vectors)
                factors = spread(builder, builder.load(builder.gep(factor_data, [e])), vector)
                loaded = [builder.load(each, align=4) for each in run]
                return [builder.call(fma, [factors, each, total]) for each, total in zip(loaded, sums, strict=True)]

            def visit(e, sums):
                following = builder.add(e, ir.Constant(number, 1))
                return add(e, sums[:vectors]) + add(following, sums[vectors:])

            start = builder.gep(target_data, [at])
            places = [lanes_at(builder, start, n, vector) for n in range(vectors)]
            carried = [builder.load(place, align=4) for place in places]
            carried += [ir.Constant(vector, [0.0] * LANES)] * vectors
            sums = loop(builder, first, last, carried, visit, stride=2)
            for n, place in enumerate(places):
                builder.store(builder.fadd(sums[n], sums[vectors + n]), place, align=4)
            return context.get_dummy_value()

        return signature, generate

    return weigh_rows


def make_append_won() -> Callable[..., int]:
    """Make ``append_won(gradients, winners, at, place, lists, factors, count, first)``: list what a place won.

    It writes first + n for every n < 16 with winners[at + n] = place to lists[count], lists[count + 1] ... in
    ascending order, gradients[at + n] to the same places of ``factors``, and returns the new count. It writes
    over 16 entries of both from ``count`` on; ``place`` is at most 255. ``gradients`` and ``factors`` are contiguous
    float32, ``winners`` uint8, ``lists`` uint16.
    """

    @intrinsic
    def append_won(typing_context, gradients, winners, at, place, lists, factors, count, first):
        index = types.intp
        signature = index(gradients, winners, index, index, lists, factors, index, index)

        def generate(context, builder, signature, arguments):
            at, count, first = (arguments[position] for position in (2, 6, 7))
            list_data, factor_data = (data_of(context, builder, signature, arguments, position) for position in (4, 5))
            won, gradients = _won(context, builder, signature, arguments, at)
            numbers = numbered(builder, first, LANES)
            for data, values, align in ((list_data, numbers, 2), (factor_data, gradients, 4)):
                target = builder.bitcast(builder.gep(data, [count]), values.type.as_pointer())
                builder.store(compress(builder, values, won), target, align=align)
            return builder.add(count, count_true(builder, won))

        return signature, generate

    return append_won


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
