"""Where a tensor of a traced forward pass comes from, as frozen values.

A value is a tree that ends at the sample or at a neuron, so the values that drive one neuron at two
time steps can be compared with `==` once their step numbers are made relative.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Shape = tuple[int, ...]


class Op(Protocol):
    """What a stateless layer computes, as a frozen value."""

    def nodes(self, layer: Layer, tensors: Mapping[str, Any]) -> list[tuple[str, Any]]:
        """NIR nodes that compute one after the other what `layer` does of its operand.

        Each comes with what it adds to the layer's name, the last with nothing.  `tensors` are the
        model's parameters and buffers by name.
        """


@dataclass(frozen=True)
class Source:
    """A sample as a whole (`axis` None), or its entry `step` along the time axis `axis`.

    `name` is that of the node that the sample becomes.
    """

    shape: Shape
    axis: int | None = None
    step: int = 0
    name: str = "input"


@dataclass(frozen=True)
class Spikes:
    """Output of the neurons at `path` in their call number `step`."""

    shape: Shape
    path: str
    step: int


@dataclass(frozen=True)
class Layer:
    """What a stateless layer makes of `operand`; `path` is its name."""

    shape: Shape
    path: str
    operand: Operand
    op: Op


@dataclass(frozen=True)
class Sum:
    """Elementwise sum of values of one shape."""

    shape: Shape
    terms: tuple[Term, ...]


@dataclass(frozen=True)
class State:
    """State tensor `name` of the neurons at `path` after their call number `step`.

    `mem` is the membrane potential, `syn` the synaptic current; the spikes are `Spikes`.
    """

    path: str
    step: int
    name: str


@dataclass(frozen=True)
class Record:
    """Spikes or states put together; may be returned, not computed with."""

    items: tuple[Value, ...]


@dataclass(frozen=True)
class Rearranged:
    """A view of the sample that is neither all of it nor one time step."""


@dataclass(frozen=True)
class Drawn:
    """Numbers drawn at random by forward."""


@dataclass(frozen=True)
class StateArgument:
    """The initial state that `forward` takes as its argument `name`."""

    name: str


Term: TypeAlias = "Source | Spikes | Layer"
Operand: TypeAlias = "Term | Sum"
Value: TypeAlias = "Operand | State | Record | Rearranged | Drawn | StateArgument"


@dataclass(frozen=True)
class Constant:
    """An array of float64 that can be compared and hashed; `data` is in C order."""

    shape: Shape
    data: bytes

    @classmethod
    def of(cls, array: ArrayLike) -> Constant:
        values = np.asarray(array, np.float64)
        return cls(values.shape, values.tobytes())

    @property
    def array(self) -> NDArray[np.float64]:
        return np.frombuffer(self.data).reshape(self.shape)


OPERANDS = (Source, Spikes, Layer, Sum)


def terms(value: Operand) -> tuple[Term, ...]:
    """The summands of a value; one where it is not a sum."""
    return value.terms if isinstance(value, Sum) else (value,)


def relative(value: Operand, step: int) -> Operand:
    """The value with all step numbers counted from `step`."""
    if isinstance(value, Sum):
        return replace(value, terms=tuple(_relative(term, step) for term in value.terms))
    return _relative(value, step)


def _relative(term: Term, step: int) -> Term:
    if isinstance(term, Layer):
        return replace(term, operand=relative(term.operand, step))
    if isinstance(term, Source) and term.axis is None:
        return term
    return replace(term, step=term.step - step)


def origins(value: Operand) -> Iterator[Source | Spikes]:
    """The sample entries and spikes that a value is computed from."""
    for term in terms(value):
        if isinstance(term, Layer):
            yield from origins(term.operand)
        else:
            yield term


def flat(value: Value) -> tuple[Value, ...]:
    """The items of a record; the value itself where it is none."""
    return value.items if isinstance(value, Record) else (value,)
