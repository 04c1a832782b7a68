"""Sums, differences, multiples and constants in a traced forward pass, as values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import torch

from neurodeploy.errors import ModelError
from neurodeploy.frontends._snntorch_maps import Factor, Weighted
from neurodeploy.frontends._snntorch_values import Constant, Layer, Operand, Sum, terms

Number: TypeAlias = "Operand | Constant"

_WAYS_OUT = (
    "Put constants into a layer's bias, and return spikes instead of summing them over time; "
    "recurrence is what snn.RLeaky and snn.RSynaptic do."
)
_NO_PRODUCTS = "No NIR node multiplies signals: scale by constants."


def constant(number: object, value: Operand, dtype: torch.dtype) -> Constant:
    """A number or tensor that meets `value`, as torch computes with it: rounded to `dtype`.

    Raises
    ------
    ModelError
        It differs between the samples of a batch, is not finite, or no number at all.
    """
    tensor = torch.as_tensor(number, dtype=dtype).detach().cpu()
    axes = len(value.shape)
    if tensor.dim() > axes:
        if tensor.dim() > axes + 1 or bool((tensor != tensor[:1]).any()):
            raise ModelError(
                f"a constant of shape {tuple(tensor.shape)} meets values of shape {value.shape} "
                "(without batch) and differs between samples",
                hint="Give it the shape of one sample.",
            )
        tensor = tensor[0]
    array = tensor.numpy()
    if not np.all(np.isfinite(array)):
        raise ModelError("a constant is not finite", hint="Use finite constants.")
    return Constant.of(array)


def scaled(value: Operand, factor: Constant, path: str) -> Operand:
    """The value times a constant, as a layer `<path>.scale`."""
    if np.all(factor.array == 1):
        return value
    return Layer(value.shape, f"{path}.scale".lstrip("."), value, Factor(factor))


def _shifted(value: Operand, shift: Constant) -> Operand:
    """The value plus a constant, which goes into the bias of the layer that makes the value."""
    if not shift.shape and not shift.array.any():
        return value
    if not isinstance(value, Layer) or not isinstance(value.op, Weighted):
        raise ModelError(
            "a constant or a recurrent value is added to what has no bias", hint=_WAYS_OUT
        )
    array = np.broadcast_to(shift.array, value.shape)
    if value.op.bias_shape(value.shape) != value.shape:
        rows = array.reshape(len(array), -1)
        if np.any(rows != rows[:, :1]):
            raise ModelError(
                "the constant that is added to a convolution differs within a channel",
                hint="Add one value per channel, of shape (channels, 1, 1).",
            )
        array = rows[:, 0]
    return replace(value, op=value.op.changed(Constant.of(array)))


def _add(x: Operand, y: Number, path: str) -> Operand:
    """x + y; what is added n times is scaled by n."""
    if isinstance(y, Constant):
        return _shifted(x, y)
    if x.shape != y.shape:
        raise ModelError(
            "values of different shapes are added", hint="Bring them to one shape by a layer."
        )
    times = Counter((*terms(x), *terms(y)))
    summands = tuple(
        summand for t, n in times.items() for summand in terms(scaled(t, Constant.of(n), path))
    )
    return summands[0] if len(summands) == 1 else Sum(x.shape, summands)


def _negative(x: Operand, path: str) -> Operand:
    """-x."""
    return scaled(x, Constant.of(-1.0), path)


def _subtract(x: Operand, y: Number, path: str) -> Operand:
    """x - y."""
    if isinstance(y, Constant):
        return _shifted(x, Constant.of(-y.array))
    return _add(x, _negative(y, path), path)


def _subtract_from(x: Operand, y: Number, path: str) -> Operand:
    """y - x; a constant y finds the bias of x in -(x - y)."""
    if isinstance(y, Constant):
        return _negative(_subtract(x, y, path), path)
    return _subtract(y, x, path)


def _multiply(x: Operand, y: Number, path: str) -> Operand:
    """x y, where y is a constant."""
    if isinstance(y, Constant):
        return scaled(x, y, path)
    raise ModelError("two values that depend on the input are multiplied", hint=_NO_PRODUCTS)


def _divide(x: Operand, y: Number, path: str) -> Operand:
    """x / y, where y is a constant."""
    if not isinstance(y, Constant):
        raise ModelError("a value is divided by one that depends on the input", hint=_NO_PRODUCTS)
    if np.any(y.array == 0):
        raise ModelError("a value is divided by zero", hint="Divide by other numbers.")
    return scaled(x, Constant.of(1 / y.array), path)


def _divide_into(x: Operand, y: Number, path: str) -> Operand:
    """y / x."""
    if isinstance(y, Constant):
        raise ModelError("a constant is divided by a value of the input", hint=_NO_PRODUCTS)
    return _divide(y, x, path)


Operation: TypeAlias = Callable[[Operand, Number, str], Operand]


def _named(
    names: str, operation: Operation, mirrored: Operation
) -> dict[str, tuple[Operation, Operation]]:
    return dict.fromkeys(names.split(), (operation, mirrored))


# What an operation of torch makes of x and y where x depends on the input, and of y and x.
_OPERATIONS: Mapping[str, tuple[Operation, Operation]] = {
    **_named("add __add__ __radd__ add_ __iadd__", _add, _add),
    **_named("sub __sub__ sub_ __isub__ subtract subtract_", _subtract, _subtract_from),
    **_named("__rsub__ rsub", _subtract_from, _subtract),
    **_named("mul __mul__ __rmul__ mul_ __imul__ multiply multiply_", _multiply, _multiply),
    **_named(
        "div __truediv__ div_ __itruediv__ divide divide_ true_divide true_divide_",
        _divide,
        _divide_into,
    ),
    **_named("__rtruediv__ __rdiv__", _divide_into, _divide),
}
_NEGATIONS = frozenset(["neg", "__neg__", "neg_", "negative", "negative_"])
NAMES = _NEGATIONS | set(_OPERATIONS)


def calculated(op: str, operands: Sequence[Number], path: str) -> Operand:
    """Value of an operation of `NAMES`; at least one operand depends on the input.

    Raises
    ------
    ModelError
        NIR has no exact form of it.
    """
    first, *others = operands
    if op in _NEGATIONS and not others and not isinstance(first, Constant):
        return _negative(first, path)
    if op in _OPERATIONS and len(others) == 1:
        (second,) = others
        direct, mirrored = _OPERATIONS[op]
        if not isinstance(first, Constant):
            return direct(first, second, path)
        if not isinstance(second, Constant):
            return mirrored(second, first, path)
    raise ModelError(
        f"{op} with {len(operands)} operands", hint="Write a + b, a - b, a * b, a / b."
    )
