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
    in_vectors,
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


@in_vectors
def append_won(typing_context, gradients, winners, at, place, lists, factors, count, first):
    """List what a place won.

    It writes first + n for every n < 16 with winners[at + n] = place to lists[count], lists[count + 1] ... in
    ascending order, gradients[at + n] to the same places of ``factors``, and returns the new count. It writes
    over 16 entries of both from ``count`` on; ``place`` is at most 255. ``gradients`` and ``factors`` are contiguous
    float32, ``winners`` uint8, ``lists`` uint16.
    """
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
