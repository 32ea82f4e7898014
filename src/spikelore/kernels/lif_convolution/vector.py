"""Hand-made vector loops over lists of table rows, beside those of ``reward_stdp``."""

from collections.abc import Callable

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from spikelore.kernels.reward_stdp.vector import LANES


def _data(context, builder, signature, arguments, position):
    array = cgutils.create_struct_proxy(signature.args[position])
    return array(context, builder, arguments[position]).data


def _lanes(builder, pointer, n, vector):
    return builder.bitcast(builder.gep(pointer, [ir.Constant(ir.IntType(64), n * LANES)]), vector.as_pointer())


def _walk(builder, first, last, carried, visit):
    """Write ``for e in first .. last-1: carried = visit(e, carried)`` and return what is carried out."""
    count = ir.IntType(64)
    entry = builder.block
    test, body, done = (builder.append_basic_block(name) for name in ("test", "body", "done"))
    builder.branch(test)
    builder.position_at_end(test)
    e = builder.phi(count)
    values = [builder.phi(start.type) for start in carried]
    e.add_incoming(first, entry)
    for value, start in zip(values, carried, strict=True):
        value.add_incoming(start, entry)
    builder.cbranch(builder.icmp_signed("<", e, last), body, done)
    builder.position_at_end(body)
    for value, following in zip(values, visit(e, values), strict=True):
        value.add_incoming(following, body)
    e.add_incoming(builder.add(e, ir.Constant(count, 1)), body)
    builder.branch(test)
    builder.position_at_end(done)
    return values


def make_scatter_rows(vectors: int) -> Callable[..., None]:
    """Make ``scatter_rows(source, at, table, offset, stride, rows, first, last)`` for ``vectors`` vectors.

    For e in first .. last-1 and n in 0 .. 16*vectors - 1 it does

        table[offset + stride * rows[e] + n] += source[at + n],

    the source kept in registers. ``source`` and ``table`` are contiguous float32, ``rows`` uint16.
    """

    @intrinsic
    def scatter_rows(typing_context, source, at, table, offset, stride, rows, first, last):
        index = types.intp
        signature = types.void(source, index, table, index, index, rows, index, index)

        def generate(context, builder, signature, arguments):
            vector = ir.VectorType(ir.FloatType(), LANES)
            source_data, table_data, row_data = (
                _data(context, builder, signature, arguments, position) for position in (0, 2, 5)
            )
            start = builder.gep(source_data, [arguments[1]])
            values = [builder.load(_lanes(builder, start, n, vector), align=4) for n in range(vectors)]

            def visit(e, carried):
                row = builder.zext(builder.load(builder.gep(row_data, [e])), ir.IntType(64))
                run = builder.gep(table_data, [builder.add(arguments[3], builder.mul(row, arguments[4]))])
                for n, value in enumerate(values):
                    place = _lanes(builder, run, n, vector)
                    builder.store(builder.fadd(builder.load(place, align=4), value), place, align=4)
                return carried

            _walk(builder, arguments[6], arguments[7], [], visit)
            return context.get_dummy_value()

        return signature, generate

    return scatter_rows


def make_weigh_rows(vectors: int) -> Callable[..., None]:
    """Make ``weigh_rows(target, at, table, offset, stride, rows, factors, first, last)`` for ``vectors`` vectors.

    For n in 0 .. 16*vectors - 1 it does

        target[at + n] += sum over e in first .. last-1 of factors[e] * table[offset + stride * rows[e] + n],

    with fused multiply-adds in the order of ``rows``. All but ``rows`` (uint16) are contiguous float32.
    """

    @intrinsic
    def weigh_rows(typing_context, target, at, table, offset, stride, rows, factors, first, last):
        index = types.intp
        signature = types.void(target, index, table, index, index, rows, factors, index, index)

        def generate(context, builder, signature, arguments):
            vector = ir.VectorType(ir.FloatType(), LANES)
            number, lane_index = ir.IntType(64), ir.IntType(32)
            target_data, table_data, row_data, factor_data = (
                _data(context, builder, signature, arguments, position) for position in (0, 2, 5, 6)
            )
            kind = ir.FunctionType(vector, [vector] * 3)
            fma = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{LANES}f32")
            spread = ir.Constant(ir.VectorType(lane_index, LANES), [0] * LANES)

            def visit(e, sums):
                row = builder.zext(builder.load(builder.gep(row_data, [e])), number)
                factor = builder.load(builder.gep(factor_data, [e]))
                one = builder.insert_element(ir.Constant(vector, ir.Undefined), factor, ir.Constant(lane_index, 0))
                factors = builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), spread)
                run = builder.gep(table_data, [builder.add(arguments[3], builder.mul(row, arguments[4]))])
                rows = [builder.load(_lanes(builder, run, n, vector), align=4) for n in range(vectors)]
                return [builder.call(fma, [factors, each, total]) for each, total in zip(rows, sums, strict=True)]

            start = builder.gep(target_data, [arguments[1]])
            places = [_lanes(builder, start, n, vector) for n in range(vectors)]
            sums = _walk(builder, arguments[7], arguments[8], [builder.load(place, align=4) for place in places], visit)
            for total, place in zip(sums, places, strict=True):
                builder.store(total, place, align=4)
            return context.get_dummy_value()

        return signature, generate

    return weigh_rows
