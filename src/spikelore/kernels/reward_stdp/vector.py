"""The hand-made vector loops of rewarded learning: sums of table rows that stay in registers."""

from collections.abc import Callable

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from spikelore.kernels.vector import LANES, data_of, lanes_at, loop, row_at


def _adding(builder, table, rows, stride, vectors):
    """Return what `loop` visits to add the rows of a table, which ``rows`` names one after the other."""

    def visit(e, sums):
        run = row_at(builder, table, builder.load(builder.gep(rows, [e])), stride, vectors)
        return [builder.fadd(total, builder.load(each, align=4)) for total, each in zip(sums, run, strict=True)]

    return visit


def make_add_rows(vectors: int) -> Callable[..., None]:
    """Make ``add_rows(target, at, table, offset, stride, rows, first, last)``.

    In a compiled function it does, for n in 0 .. 16*vectors - 1,

        target[at + n] += sum over e in first .. last-1 of table[offset + stride * rows[e] + n],

    each lane adding in the order of ``rows``, from 0. ``target`` and ``table`` are contiguous float32,
    ``rows`` contiguous uint16. Written in the compiler's own vectors because a loop in Python keeps the sums
    in memory, which costs twice the time.
    """

    @intrinsic
    def add_rows(typing_context, target, at, table, offset, stride, rows, first, last):
        index = types.intp
        signature = types.void(target, index, table, index, index, rows, index, index)

        def generate(context, builder, signature, arguments):
            vector = ir.VectorType(ir.FloatType(), LANES)
            at, offset, stride, first, last = (arguments[position] for position in (1, 3, 4, 6, 7))
            target_data, table_data, row_data = (
                data_of(context, builder, signature, arguments, position) for position in (0, 2, 5)
            )
            add = _adding(builder, builder.gep(table_data, [offset]), row_data, stride, vectors)
            sums = loop(builder, first, last, [ir.Constant(vector, [0.0] * LANES)] * vectors, add)
            start = builder.gep(target_data, [at])
            for n, total in enumerate(sums):
                place = lanes_at(builder, start, n, vector)
                builder.store(builder.fadd(builder.load(place, align=4), total), place, align=4)
            return context.get_dummy_value()

        return signature, generate

    return add_rows


def make_sum_two(vectors: int) -> Callable[..., None]:
    """Make ``sum_two(target, at, apart, table, offset, stride, rows, first, middle, last)``.

    In a compiled function it does, for n in 0 .. 16*vectors - 1,

        target[at + n]         = sum over e in first .. middle-1 of table[offset + stride * rows[e] + n],
        target[at + apart + n] = sum over e in middle .. last-1 of the same,

    each lane adding in the order of ``rows``, from 0; the second run is no longer than the first. An addition waits for
    the one before it in its run, so two runs take little longer than one.
    """

    @intrinsic
    def sum_two(typing_context, target, at, apart, table, offset, stride, rows, first, middle, last):
        index = types.intp
        signature = types.void(target, index, index, table, index, index, rows, index, index, index)

        def generate(context, builder, signature, arguments):
            vector = ir.VectorType(ir.FloatType(), LANES)
            at, apart, offset, stride, first, middle, last = (arguments[position] for position in (1, 2, 4, 5, 7, 8, 9))
            target_data, table_data, row_data = (
                data_of(context, builder, signature, arguments, position) for position in (0, 3, 6)
            )
            add = _adding(builder, builder.gep(table_data, [offset]), row_data, stride, vectors)

            def both(e, sums):
                second = builder.add(e, builder.sub(middle, first))
                return [*add(e, sums[:vectors]), *add(second, sums[vectors:])]

            zeros = [ir.Constant(vector, [0.0] * LANES)] * vectors
            shared = builder.add(first, builder.sub(last, middle))
            sums = loop(builder, first, shared, [*zeros, *zeros], both)
            sums = [*loop(builder, shared, middle, sums[:vectors], add), *sums[vectors:]]
            for run in range(2):
                start = builder.gep(target_data, [builder.add(at, apart) if run else at])
                for n, total in enumerate(sums[run * vectors :][:vectors]):
                    builder.store(total, lanes_at(builder, start, n, vector), align=4)
            return context.get_dummy_value()

        return signature, generate

    return sum_two
