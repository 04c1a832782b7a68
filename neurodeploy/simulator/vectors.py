"""Short vectors of integers in compiled kernels: LLVM's vector types, on any machine.

What LLVM makes of a loop depends on what it can prove; what it makes of a vector does not.  A
formula of +, -, *, &, <<, >>, comparisons (1 where true, else 0), `np.minimum` and `np.maximum` is
the same source for numpy arrays, scalars and vectors.  Vectors combine with vectors of their own
type and with integers; their arithmetic is modulo 2^bits and >> keeps the sign.

The functions below can only be called in kernels.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

Emit = Callable[[ir.IRBuilder, Any, Any], Any]
HAS_POSITIONS = binding.llvm_version_info >= (19,) and binding.get_host_cpu_features().get(
    "avx512vbmi2", False
)
"""Whether `positions` can be compiled, to the one instruction that makes it worth while."""


class Vector(types.Type):
    """`lanes` signed integers of `bits` bits."""

    def __init__(self, bits: int, lanes: int) -> None:
        self.bits = self.bitwidth = bits
        self.lanes = lanes
        self.llvm = ir.VectorType(ir.IntType(bits), lanes)
        super().__init__(name=f"Vector(int{bits} x {lanes})")


@register_model(Vector)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Vector) -> None:
        super().__init__(manager, kind, kind.llvm)  # type: ignore[no-untyped-call]


def _inside(function: Callable[..., Any]) -> Callable[..., Any]:
    """What kernels may call: `function` returns the signature and writes the code."""
    inside: Callable[..., Any] = intrinsic(function)
    return inside


def _kind(dtype: Any, lanes: Any) -> Vector | None:
    """The vector type; None, for numba to try again, while `lanes` is not known as a constant."""
    known = isinstance(lanes, types.IntegerLiteral)
    return Vector(dtype.bitwidth, lanes.literal_value) if known else None


def _address(context: Any, builder: Any, array: Any, args: Any, kind: Any) -> Any:
    data = context.make_array(array)(context, builder, args[0]).data
    return builder.bitcast(builder.gep(data, [args[1]]), kind.llvm.as_pointer())


def _spread(builder: Any, value: Any, kind: Any) -> Any:
    """The low bits of an int64 in every lane."""
    low = builder.trunc(value, ir.IntType(kind.bits)) if kind.bits < 64 else value
    start = ir.Constant(kind.llvm, ir.Undefined)
    order = ir.Constant(ir.VectorType(ir.IntType(32), kind.lanes), [0] * kind.lanes)
    one = builder.insert_element(start, low, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, start, order)


@_inside
def load(typing: Any, array: Any, offset: Any, lanes: Any) -> Any:
    """`lanes` consecutive elements of a C-contiguous array, from flat index `offset`: unchecked."""
    kind = _kind(array.dtype, lanes)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(_address(context, builder, array, args, kind), align=1)

    return kind and (kind(array, types.intp, lanes), code)


@_inside
def store(typing: Any, array: Any, offset: Any, vector: Any) -> Any:
    """Write to consecutive elements of a C-contiguous array of the vector's dtype: unchecked."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[2], _address(context, builder, array, args, vector), align=1)
        return context.get_dummy_value()

    same = isinstance(vector, Vector) and array.dtype.bitwidth == vector.bits
    return (types.void(array, types.intp, vector), code) if same else None


@_inside
def splat(typing: Any, value: Any, dtype: Any, lanes: Any) -> Any:
    """`value` in each of `lanes` lanes of a numpy `dtype`."""
    kind = _kind(dtype.dtype, lanes)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _spread(builder, context.cast(builder, args[0], value, types.int64), kind)

    return kind and (kind(value, dtype, lanes), code)


@_inside
def widen(typing: Any, vector: Any, dtype: Any) -> Any:
    """The same values in a `dtype` that is at least as wide."""
    kind = Vector(dtype.dtype.bitwidth, vector.lanes)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return args[0] if kind == vector else builder.sext(args[0], kind.llvm)

    return (kind(vector, dtype), code) if kind.bits >= vector.bits else None


@_inside
def reinterpret(typing: Any, vector: Any, dtype: Any) -> Any:
    """The same bits as lanes of a `dtype`, the lowest first."""
    bits = dtype.dtype.bitwidth
    kind = Vector(bits, vector.bits * vector.lanes // bits)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], kind.llvm)

    return kind(vector, dtype), code


@_inside
def average(typing: Any, a: Any, b: Any) -> Any:
    """ceil((a + b) / 2) of lanes taken as unsigned."""
    wide = ir.VectorType(ir.IntType(2 * a.bits), a.lanes)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        one = ir.Constant(wide, [1] * a.lanes)
        total = builder.add(*(builder.zext(value, wide) for value in args))
        return builder.trunc(builder.lshr(builder.add(total, one), one), a.llvm)

    return (a(a, b), code) if a == b else None


@_inside
def nonzero(typing: Any, vector: Any) -> Any:
    """Bit i is whether lane i is not 0: uint64, for at most 64 lanes."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        lanes = builder.icmp_signed("!=", args[0], ir.Constant(vector.llvm, None))
        word = builder.bitcast(lanes, ir.IntType(vector.lanes))
        return word if vector.lanes == 64 else builder.zext(word, ir.IntType(64))

    return types.uint64(vector), code


@_inside
def flags(typing: Any, word: Any) -> Any:
    """64 lanes of 8 bits: 1 where a bit of a uint64 is set, else 0."""
    kind = Vector(8, 64)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        lanes = builder.bitcast(args[0], ir.VectorType(ir.IntType(1), kind.lanes))
        return builder.zext(lanes, kind.llvm)

    return kind(types.uint64), code


@_inside
def positions(typing: Any, word: Any) -> Any:
    """Indices of the set bits of a uint64, the lowest first, in 64 lanes of 8 bits.

    What lies behind them is not specified.  Only where `HAS_POSITIONS`.
    """
    kind = Vector(8, 64)

    def code(context: Any, builder: Any, _: Any, args: Any) -> Any:
        mask = ir.VectorType(ir.IntType(1), kind.lanes)
        signature = ir.FunctionType(kind.llvm, [kind.llvm, mask, kind.llvm])
        name = "llvm.experimental.vector.compress.v64i8"
        insert: Callable[..., Any] = cgutils.get_or_insert_function
        compress = insert(builder.module, signature, name)
        indices = ir.Constant(kind.llvm, list(range(kind.lanes)))
        return builder.call(
            compress,
            [indices, builder.bitcast(args[0], mask), ir.Constant(kind.llvm, ir.Undefined)],
        )

    return kind(types.uint64), code


@_inside
def part(typing: Any, vector: Any, start: Any, lanes: Any) -> Any:
    """`lanes` lanes of a vector, from lane `start`, both constants."""
    kind = _kind(vector, lanes)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        chosen = [start.literal_value + i for i in range(lanes.literal_value)]
        order = ir.Constant(ir.VectorType(ir.IntType(32), len(chosen)), chosen)
        return builder.shuffle_vector(args[0], args[0], order)

    known = isinstance(start, types.IntegerLiteral)
    return (kind(vector, start, lanes), code) if kind and known else None


@_inside
def ones(typing: Any, word: Any) -> Any:
    """How many bits of a uint64 are set."""
    return types.int64(types.uint64), lambda context, builder, signature, args: builder.ctpop(*args)


@_inside
def lowest(typing: Any, word: Any) -> Any:
    """Index of the lowest set bit of a uint64, 64 for 0."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), code


def _define(function: Callable[..., Any], emit: Emit) -> None:
    """Let kernels apply `function` to two operands of which one is a vector at least."""

    @_inside
    def apply(typing: Any, a: Any, b: Any) -> Any:
        kind = a if isinstance(a, Vector) else b

        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            lanes = [
                value
                if own == kind
                else _spread(builder, context.cast(builder, value, own, types.int64), kind)
                for value, own in zip(args, signature.args, strict=True)
            ]
            return emit(builder, *lanes)

        return kind(a, b), code

    @overload(function)
    def choose(a: Any, b: Any) -> Any:
        def both(a: Any, b: Any) -> Any:
            return apply(a, b)

        vectors = {operand for operand in (a, b) if isinstance(operand, Vector)}
        others = [operand for operand in (a, b) if not isinstance(operand, Vector)]
        fit = all(isinstance(other, (types.Integer, types.Boolean)) for other in others)
        return both if len(vectors) == 1 and fit else None


def _comparison(sign: str) -> Emit:
    return lambda builder, a, b: builder.zext(builder.icmp_signed(sign, a, b), a.type)


def _selection(sign: str) -> Emit:
    return lambda builder, a, b: builder.select(builder.icmp_signed(sign, a, b), a, b)


_OPERATORS: Mapping[Callable[..., Any], Emit] = {
    operator.add: lambda builder, a, b: builder.add(a, b),
    operator.sub: lambda builder, a, b: builder.sub(a, b),
    operator.mul: lambda builder, a, b: builder.mul(a, b),
    operator.and_: lambda builder, a, b: builder.and_(a, b),
    operator.lshift: lambda builder, a, b: builder.shl(a, b),
    operator.rshift: lambda builder, a, b: builder.ashr(a, b),
    operator.gt: _comparison(">"),
    operator.ge: _comparison(">="),
    operator.lt: _comparison("<"),
    operator.le: _comparison("<="),
    np.minimum: _selection("<"),
    np.maximum: _selection(">"),
}
for _function, _emit in _OPERATORS.items():
    _define(_function, _emit)
