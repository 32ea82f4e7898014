"""Pieces of hand-made vector loops, written in the compiler's own vectors."""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from spikelore.kernels.compiled import compiled

LANES = 16
"""float32 or int32 in one vector."""


@compiled()
def line_of_zeros(size):
    """Return ``size`` int32 that begin where a cache line does: a vector that lies in two takes longer."""
    room = np.zeros(size + LANES, np.int32)
    skipped = -room.ctypes.data % 64 // 4
    return room[skipped : skipped + size]


def in_vectors(typed: Callable[..., Any]) -> Callable[..., Any]:
    """Make an intrinsic of what numba gives types to; compiled code calls it without the first parameter."""
    return intrinsic(typed)


def data_of(context, builder, signature, arguments, position):
    """Return the pointer to the values of the array at ``position`` of an intrinsic's arguments."""
    array = cgutils.create_struct_proxy(signature.args[position])
    return array(context, builder, arguments[position]).data


def lanes_at(builder, pointer, n, vector):
    """Return the pointer to the n-th vector from a pointer to values."""
    return builder.bitcast(builder.gep(pointer, [ir.Constant(ir.IntType(64), n * LANES)]), vector.as_pointer())


def row_at(builder, table, row, stride, vectors):
    """Return the pointers to the vectors of a table's row, an entry of a list; rows are ``stride`` apart."""
    start = builder.gep(table, [builder.mul(builder.zext(row, ir.IntType(64)), stride)])
    kind = ir.VectorType(table.type.pointee, LANES)
    return [lanes_at(builder, start, n, kind) for n in range(vectors)]


def loop(builder, first, last, carried, visit, stride=1):
    """Write ``for e in first .. last-1 by stride: carried = visit(e, carried)`` and return what is carried out.

    How the counter grows is hidden from the compiler: it would unroll these short loops once more, and the
    branches which that adds cost more than they save.
    """
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
    following = builder.add(e, ir.Constant(count, stride))
    e.add_incoming(builder.asm(ir.FunctionType(count, [count]), "", "=r,0", [following], False), body)
    builder.branch(test)
    builder.position_at_end(done)
    return values


def four_entries(builder, rows, e):
    """Return entries e .. e+3 of a uint16 list, read as one number: a processor reads two things at a time."""
    number = ir.IntType(64)
    pointer = builder.bitcast(builder.gep(rows, [e]), number.as_pointer())
    packed = builder.load(pointer, align=2)
    return [builder.trunc(builder.lshr(packed, ir.Constant(number, 16 * n)), ir.IntType(16)) for n in range(4)]


def spread(builder, scalar, vector):
    """Return a vector of ``scalar`` in every lane."""
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), zeros)


def prefetch(builder, pointer):
    """Let the processor bring what ``pointer`` points to into its nearest cache; it need not exist."""
    kind, text = ir.IntType(32), ir.IntType(8).as_pointer()
    function = ir.FunctionType(ir.VoidType(), [text, kind, kind, kind])
    function = cgutils.get_or_insert_function(builder.module, function, "llvm.prefetch.p0")
    read, near, data = (ir.Constant(kind, value) for value in (0, 3, 1))
    builder.call(function, [builder.bitcast(pointer, text), read, near, data])


def compress(builder, values, kept):
    """Return a vector that begins with the ``kept`` lanes of int or float32 ``values``; the rest is undefined."""
    element = values.type.element
    letter = f"i{element.width}" if isinstance(element, ir.IntType) else "f32"
    kind = ir.FunctionType(values.type, [values.type, kept.type, values.type])
    name = f"llvm.experimental.vector.compress.v{values.type.count}{letter}"
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(function, [values, kept, ir.Constant(values.type, ir.Undefined)])


def count_true(builder, truths):
    """Return how many lanes of ``truths`` are true."""
    bits = builder.bitcast(truths, ir.IntType(truths.type.count))
    return builder.zext(builder.ctpop(bits), ir.IntType(64))


def numbered(builder, first, lanes, bits=16):
    """Return the vector first, first + 1, ... modulo 2^bits."""
    kind = ir.VectorType(ir.IntType(bits), lanes)
    return builder.add(ir.Constant(kind, list(range(lanes))), spread(builder, builder.trunc(first, kind.element), kind))


@in_vectors
def add_run(typing_context, target, at, table, start, length):
    """Do ``target[at + n] += table[start + n]`` for n in 0 .. length - 1: contiguous, of whole vectors of 64 bytes.

    A loop in Python looks first whether the two overlap, and takes shorter vectors: four times the time.
    """
    index = types.intp
    signature = types.void(target, index, table, index, index)

    def generate(context, builder, signature, arguments):
        _, at, _, start, length = arguments
        target_data, table_data = (data_of(context, builder, signature, arguments, position) for position in (0, 2))
        targets, added = builder.gep(target_data, [at]), builder.gep(table_data, [start])
        element = target_data.type.pointee
        plus = builder.add if isinstance(element, ir.IntType) else builder.fadd
        size = context.get_abi_sizeof(element)
        vector = ir.VectorType(element, 64 // size)

        def add(n, _):
            place, other = (builder.bitcast(builder.gep(each, [n]), vector.as_pointer()) for each in (targets, added))
            total = plus(builder.load(place, align=size), builder.load(other, align=size))
            builder.store(total, place, align=size)
            return []

        loop(builder, ir.Constant(ir.IntType(64), 0), length, [], add, stride=vector.count)
        return context.get_dummy_value()

    return signature, generate
