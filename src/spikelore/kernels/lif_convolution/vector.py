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


def _walk(builder, first, last, carried, visit, stride=1):
    """Write ``for e in first .. last-1 by stride: carried = visit(e, carried)`` and return what is carried out."""
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
    e.add_incoming(builder.add(e, ir.Constant(count, stride)), body)
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


def make_add_row_pairs(vectors: int) -> Callable[..., None]:
    """Make ``add_row_pairs(target, at, table, offset, back, stride, rows, first, last)`` for ``vectors`` vectors.

    For n in 0 .. W-1, W = 16*vectors, it does

        target[at + n]     += sum over e in first .. last-1 of table[offset + stride * rows[e] + n],
        target[at + W + n] += the same sum of table[offset - back + stride * rows[e] + n],

    each lane adding in the order of ``rows``. ``target`` and ``table`` are contiguous float32, ``rows`` uint16.
    """

    @intrinsic
    def add_row_pairs(typing_context, target, at, table, offset, back, stride, rows, first, last):
        index = types.intp
        signature = types.void(target, index, table, index, index, index, rows, index, index)

        def generate(context, builder, signature, arguments):
            vector = ir.VectorType(ir.FloatType(), LANES)
            target_data, table_data, row_data = (
                _data(context, builder, signature, arguments, position) for position in (0, 2, 6)
            )
            starts = [arguments[3], builder.sub(arguments[3], arguments[4])]

            def visit(e, sums):
                row = builder.zext(builder.load(builder.gep(row_data, [e])), ir.IntType(64))
                shift = builder.mul(row, arguments[5])
                runs = [builder.gep(table_data, [builder.add(start, shift)]) for start in starts]
                places = [_lanes(builder, run, n, vector) for run in runs for n in range(vectors)]
                loaded = [builder.load(place, align=4) for place in places]
                return [builder.fadd(total, value) for total, value in zip(sums, loaded, strict=True)]

            start = builder.gep(target_data, [arguments[1]])
            places = [_lanes(builder, start, n, vector) for n in range(2 * vectors)]
            carried = [builder.load(place, align=4) for place in places]
            sums = _walk(builder, arguments[7], arguments[8], carried, visit)
            for total, place in zip(sums, places, strict=True):
                builder.store(total, place, align=4)
            return context.get_dummy_value()

        return signature, generate

    return add_row_pairs


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
            vector = ir.VectorType(ir.FloatType(), LANES)
            number, lane_index = ir.IntType(64), ir.IntType(32)
            target_data, table_data, row_data, factor_data = (
                _data(context, builder, signature, arguments, position) for position in (0, 2, 5, 6)
            )
            kind = ir.FunctionType(vector, [vector] * 3)
            fma = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{LANES}f32")
            spread = ir.Constant(ir.VectorType(lane_index, LANES), [0] * LANES)

            def add(e, sums):
                row = builder.zext(builder.load(builder.gep(row_data, [e])), number)
                factor = builder.load(builder.gep(factor_data, [e]))
                one = builder.insert_element(ir.Constant(vector, ir.Undefined), factor, ir.Constant(lane_index, 0))
                factors = builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), spread)
                run = builder.gep(table_data, [builder.add(arguments[3], builder.mul(row, arguments[4]))])
                rows = [builder.load(_lanes(builder, run, n, vector), align=4) for n in range(vectors)]
                return [builder.call(fma, [factors, each, total]) for each, total in zip(rows, sums, strict=True)]

            def visit(e, sums):
                following = builder.add(e, ir.Constant(number, 1))
                return add(e, sums[:vectors]) + add(following, sums[vectors:])

            start = builder.gep(target_data, [arguments[1]])
            places = [_lanes(builder, start, n, vector) for n in range(vectors)]
            carried = [builder.load(place, align=4) for place in places]
            carried += [ir.Constant(vector, [0.0] * LANES)] * vectors
            sums = _walk(builder, arguments[7], arguments[8], carried, visit, stride=2)
            for n, place in enumerate(places):
                builder.store(builder.fadd(sums[n], sums[vectors + n]), place, align=4)
            return context.get_dummy_value()

        return signature, generate

    return weigh_rows


def make_append_above() -> Callable[..., int]:
    """Make ``append_above(target, count, values, at, valid, threshold, first)``: list which of 16 values exceed.

    It writes first + n for every n < valid with values[at + n] > threshold to target[count], target[count + 1] ...
    in ascending order and returns the new count. It reads 16 values and writes over 16 entries whatever
    ``valid`` is. ``values`` is contiguous float32, ``target`` uint16.
    """

    @intrinsic
    def append_above(typing_context, target, count, values, at, valid, threshold, first):
        index = types.intp
        signature = index(target, index, values, index, index, types.float32, index)

        def generate(context, builder, signature, arguments):
            def spread(scalar, kind):
                one = builder.insert_element(ir.Constant(kind, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0))
                zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
                return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), zeros)

            short, word = ir.IntType(16), ir.IntType(64)
            vector, places = ir.VectorType(ir.FloatType(), LANES), ir.VectorType(short, LANES)
            truths = ir.VectorType(ir.IntType(1), LANES)
            target_data, value_data = (_data(context, builder, signature, arguments, position) for position in (0, 2))
            start = builder.gep(value_data, [arguments[3]])
            loaded = builder.load(_lanes(builder, start, 0, vector), align=4)
            lanes = ir.Constant(places, list(range(LANES)))
            inside = builder.icmp_unsigned("<", lanes, spread(builder.trunc(arguments[4], short), places))
            above = builder.and_(builder.fcmp_ordered(">", loaded, spread(arguments[5], vector)), inside)
            listed = builder.add(lanes, spread(builder.trunc(arguments[6], short), places))
            kind = ir.FunctionType(places, [places, truths, places])
            compress = cgutils.get_or_insert_function(
                builder.module, kind, f"llvm.experimental.vector.compress.v{LANES}i16"
            )
            together = builder.call(compress, [listed, above, ir.Constant(places, ir.Undefined)])
            builder.store(
                together,
                builder.bitcast(builder.gep(target_data, [arguments[1]]), places.as_pointer()),
                align=2,
            )
            bits = builder.bitcast(above, short)
            return builder.add(arguments[1], builder.zext(builder.ctpop(bits), word))

        return signature, generate

    return append_above
