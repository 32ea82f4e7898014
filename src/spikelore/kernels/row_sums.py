"""Sums of rows of float32 tables times factors, whose totals stay in registers.

A tile is some lanes of every row; the last one may overlap the one before, so that any width of at least a tile is
covered. Each lane adds in an order that is written down, so the bits are the same with any processor's vectors.
"""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types

from spikelore.kernels.compiled import compiled
from spikelore.kernels.vector import LANES, in_vectors, lanes_at, loop, spread

_VECTORS = 2  # of a tile
_TILE = _VECTORS * LANES
_TOGETHER = 4  # rows of totals

_number = ir.IntType(64)
_vector = ir.VectorType(ir.FloatType(), LANES)


def _added(builder: Any, one: list[Any], other: list[Any]) -> list[Any]:
    return [builder.fadd(left, right) for left, right in zip(one, other, strict=True)]


def _loaded(builder: Any, pointer: Any) -> list[Any]:
    return [builder.load(lanes_at(builder, pointer, n, _vector), align=4) for n in range(_VECTORS)]


def _store(builder: Any, values: list[Any], pointer: Any) -> None:
    for n, value in enumerate(values):
        builder.store(value, lanes_at(builder, pointer, n, _vector), align=4)


@in_vectors
def _add_products_tile(typing_context, totals, start, at, factors, table):
    """Do what `add_products_` does for four rows and 32 lanes, at .. at+31."""
    signature = types.void(totals, start, types.intp, factors, table)

    def generate(context, builder, signature, arguments):
        total, begun, factor, rows = (
            cgutils.create_struct_proxy(signature.args[position])(context, builder, arguments[position])
            for position in (0, 1, 3, 4)
        )
        at = arguments[2]

        def line(array, n):
            """Return the pointer to the values of an array's n-th row."""
            bytes_ = builder.bitcast(array.data, ir.IntType(8).as_pointer())
            away = builder.mul(n, builder.extract_value(array.strides, 0))
            return builder.bitcast(builder.gep(bytes_, [away]), ir.FloatType().as_pointer())

        together = [ir.Constant(_number, g) for g in range(_TOGETHER)]
        factors = [line(factor, g) for g in together]

        def terms(k):
            """Return the products of row k with each total's factor."""
            row = _loaded(builder, builder.gep(line(rows, k), [at]))
            spreads = [spread(builder, builder.load(builder.gep(each, [k])), _vector) for each in factors]
            return [builder.fmul(each, one) for each in spreads for one in row]

        def four(k, sums):
            parts = [terms(builder.add(k, ir.Constant(_number, ahead))) for ahead in range(4)]
            return _added(builder, sums, _added(builder, _added(builder, *parts[:2]), _added(builder, *parts[2:])))

        sums = [one for g in together for one in _loaded(builder, builder.gep(line(begun, g), [at]))]
        count = builder.extract_value(rows.shape, 0)
        whole = builder.and_(count, ir.Constant(_number, -4))
        sums = loop(builder, ir.Constant(_number, 0), whole, sums, four, stride=4)
        sums = loop(builder, whole, count, sums, lambda k, sums: _added(builder, sums, terms(k)))
        for g in together:
            part = sums[g.constant * _VECTORS : (g.constant + 1) * _VECTORS]
            _store(builder, part, builder.gep(line(total, g), [at]))
        return context.get_dummy_value()

    return signature, generate


@compiled()
def add_products_(factors, table, start, totals):
    """Set ``totals`` (G,H) to ``start`` plus ``factors`` (G,K) times a table (K,H), four rows of the table at a time.

    The sum of four products is added, (first + second) + (third + fourth), then the products that are left. All are
    float32 with contiguous rows; ``start`` and ``totals`` are not the same memory.
    """
    count, width = table.shape
    tiled = len(totals) // _TOGETHER * _TOGETHER if width >= _TILE else 0
    for first in range(0, tiled, _TOGETHER):
        four = slice(first, first + _TOGETHER)
        for begin in range(0, width, _TILE):
            _add_products_tile(totals[four], start[four], min(begin, width - _TILE), factors[four], table)
    for g in range(tiled, len(totals)):
        total, begun = totals[g], start[g]
        for h in range(width):
            total[h] = begun[h]
        k = 0
        while k + 4 <= count:
            one, two, three, four = table[k], table[k + 1], table[k + 2], table[k + 3]
            a, b, c, d = factors[g, k], factors[g, k + 1], factors[g, k + 2], factors[g, k + 3]
            for h in range(width):
                total[h] += (a * one[h] + b * two[h]) + (c * three[h] + d * four[h])
            k += 4
        while k < count:
            one, a = table[k], factors[g, k]
            for h in range(width):
                total[h] += a * one[h]
            k += 1
