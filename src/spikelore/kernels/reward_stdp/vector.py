"""The one hand-made vector loop: a sum of table rows that stays in registers."""

from collections.abc import Callable

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16
"""float32 in one vector."""


def make_add_rows(vectors) -> Callable[..., None]:
    """Make ``add_rows(target, at, table, offset, stride, rows, first, last)`` for ``vectors`` vectors.

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
            def data(position):
                array = cgutils.create_struct_proxy(signature.args[position])
                return array(context, builder, arguments[position]).data

            def lanes(pointer, n):
                at_lane = builder.gep(pointer, [ir.Constant(ir.IntType(64), n * LANES)])
                return builder.bitcast(at_lane, vector.as_pointer())

            vector = ir.VectorType(ir.FloatType(), LANES)
            target_data, table_data, row_data = data(0), data(2), data(5)
            entry = builder.block
            test, body, done = (builder.append_basic_block(name) for name in ("test", "body", "done"))
            builder.branch(test)
            builder.position_at_end(test)
            e = builder.phi(ir.IntType(64))
            sums = [builder.phi(vector) for _ in range(vectors)]
            e.add_incoming(arguments[6], entry)
            for total in sums:
                total.add_incoming(ir.Constant(vector, [0.0] * LANES), entry)
            builder.cbranch(builder.icmp_signed("<", e, arguments[7]), body, done)
            builder.position_at_end(body)
            row = builder.zext(builder.load(builder.gep(row_data, [e])), ir.IntType(64))
            run = builder.gep(table_data, [builder.add(arguments[3], builder.mul(row, arguments[4]))])
            for n, total in enumerate(sums):
                value = builder.load(lanes(run, n), align=4)
                total.add_incoming(builder.fadd(total, value), body)
            e.add_incoming(builder.add(e, ir.Constant(ir.IntType(64), 1)), body)
            builder.branch(test)
            builder.position_at_end(done)
            start = builder.gep(target_data, [arguments[1]])
            for n, total in enumerate(sums):
                place = lanes(start, n)
                builder.store(builder.fadd(builder.load(place, align=4), total), place, align=4)
            return context.get_dummy_value()

        return signature, generate

    return add_rows
