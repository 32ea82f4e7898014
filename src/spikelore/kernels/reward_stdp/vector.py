"""The hand-made vector loop of rewarded learning: a sum of table rows that stays in registers."""

from collections.abc import Callable

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from spikelore.kernels.vector import LANES, data_of, lanes_at, loop, row_at


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
            table_start = builder.gep(table_data, [offset])

            def visit(e, sums):
                run = row_at(builder, table_start, builder.load(builder.gep(row_data, [e])), stride, vectors)
                return [builder.fadd(total, builder.load(each, align=4)) for total, each in zip(sums, run, strict=True)]

            sums = loop(builder, first, last, [ir.Constant(vector, [0.0] * LANES)] * vectors, visit)
            start = builder.gep(target_data, [at])
            for n, total in enumerate(sums):
                place = lanes_at(builder, start, n, vector)
                builder.store(builder.fadd(builder.load(place, align=4), total), place, align=4)
            return context.get_dummy_value()

        return signature, generate

    return add_rows
