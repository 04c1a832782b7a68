"""`split`: the program that a placement means, with one population for each core.

What runs on the chip is not one large population but slices that exchange spikes.  Written out as a
program, the slices run in the same simulator; that they give the same spikes is a check of the cut
and of everything that is said per core.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.errors import ModelError
from neurodeploy.linear import Shape
from neurodeploy.mapping.connectivity import written_out
from neurodeploy.mapping.placement import Placement
from neurodeploy.program import IntArray, Neurons, Program, Synapses
from neurodeploy.trace import Trace

MAX_WRITTEN = 1 << 26


@dataclass(frozen=True, eq=False)
class Part:
    """Some neurons of an input or population.

    Attributes
    ----------
    index: of its neurons in the C order of the whole, int64 (neurons,), ascending.
    channels: first and last + 1 of the channels that it consists of, if it consists of such.
    """

    name: str
    whole: str
    index: IntArray
    shape: Shape
    channels: tuple[int, int] | None


def split(program: Program, placement: Placement) -> Program:
    """The same program with every population cut into one population for each of its cores.

    Parts are called `population.number`, or as the population where it has one core; inputs stay
    whole.  A part of whole channels keeps its shape and its convolutions; every other is flat, and
    its synapses are written out.  Synapses between two parts that are all of weight 0 are left out.
    From one part of a population to a later one, spikes that took a step still do: their delay is
    one more, since the parts' depths are equal.  Golden traces, ranges and the graph, which are of
    the whole, are left out.

    Raises
    ------
    ModelError
        Synapses that would be written out as more than 2^26 weights.
    """
    parts = _parts(program, placement)
    populations = [_sliced(program.population(part.whole), part) for part in _cut(program, parts)]
    synapses = [piece for one in program.synapses for piece in _pieces(one, parts)]
    return Program(
        target=program.target,
        inputs=program.inputs,
        populations=tuple(populations),
        synapses=tuple(synapses),
        outputs=tuple(part.name for name in program.outputs for part in parts[name]),
        graph={},
        lowerings=program.lowerings,
        provenance=program.provenance,
    )


def joined(trace: Trace, program: Program, placement: Placement) -> Trace:
    """A run of `split(program, placement)` as one of `program`: spikes and what else was sent."""
    parts = _parts(program, placement)
    spikes = {name: _whole(trace.spikes, program.shapes[name], own) for name, own in parts.items()}
    values = {
        name: _whole(trace.values, program.shapes[name], own)
        for name, own in parts.items()
        if own[0].name in trace.values
    }
    return Trace(spikes, values=values)


def _parts(program: Program, placement: Placement) -> dict[str, tuple[Part, ...]]:
    """Inputs, whole, and populations in parts, core by core."""
    parts: dict[str, tuple[Part, ...]] = {}
    for port in program.inputs:
        parts[port.name] = (_part(port.name, port.name, port.shape, np.arange(_size(port.shape))),)
    for population in program.populations:
        name, core = population.name, placement.core[population.name]
        cores = np.unique(core)
        parts[name] = tuple(
            _part(
                f"{name}.{number}" if len(cores) > 1 else name,
                name,
                population.shape,
                np.flatnonzero(core == one),
            )
            for number, one in enumerate(cores)
        )
    return parts


def _size(shape: Shape) -> int:
    return int(np.prod(shape, dtype=np.int64))


def _part(name: str, whole: str, shape: Shape, index: IntArray) -> Part:
    size = len(index)
    if size == _size(shape) and len(shape) != 3:
        return Part(name, whole, index, shape, None)
    pixels = _size(shape[1:])
    contiguous = int(index[-1]) - int(index[0]) == size - 1
    if len(shape) == 3 and contiguous and index[0] % pixels == 0 and size % pixels == 0:
        first = int(index[0]) // pixels
        last = first + size // pixels
        return Part(name, whole, index, (last - first, *shape[1:]), (first, last))
    return Part(name, whole, index, (size,), None)


def _cut(program: Program, parts: Mapping[str, tuple[Part, ...]]) -> Iterator[Part]:
    for population in program.populations:
        yield from parts[population.name]


def _sliced(population: Neurons, part: Part) -> Neurons:
    def own(values: NDArray[Any]) -> NDArray[Any]:
        if values.size == 1:
            return values
        return np.ascontiguousarray(values.reshape(-1)[part.index].reshape(part.shape))

    return replace(
        population,
        name=part.name,
        shape=part.shape,
        parameters={name: own(values) for name, values in population.parameters.items()},
        unit=own(population.unit),
    )


def _pieces(synapses: Synapses, parts: Mapping[str, tuple[Part, ...]]) -> Iterator[Synapses]:
    """Its synapses from every part of the source to every part of the target."""
    sources, targets = parts[synapses.source], parts[synapses.target]
    if len(sources) == len(targets) == 1:
        yield synapses
        return
    written: list[IntArray] = []  # once it is needed
    for j, target in enumerate(targets):
        for i, source in enumerate(sources):
            if synapses.kind == "one-to-one" and not np.isin(source.index, target.index).any():
                continue
            piece = _piece(synapses, source, target, written)
            if piece.weight.any():
                later = synapses.recurrent and i < j
                yield replace(piece, delay=piece.delay + 1) if later else piece


def _piece(synapses: Synapses, source: Part, target: Part, written: list[IntArray]) -> Synapses:
    same: dict[str, Any] = {
        "name": f"{source.name}->{target.name}",
        "source": source.name,
        "target": target.name,
        "in_shape": source.shape,
        "out_shape": target.shape,
    }
    if synapses.kind == "conv2d" and source.channels and target.channels:
        weight = _ungrouped(synapses)[slice(*target.channels), slice(*source.channels)]
        return replace(synapses, weight=np.ascontiguousarray(weight), groups=1, **same)
    if synapses.kind == "one-to-one" and np.array_equal(source.index, target.index):
        weight = synapses.weight.reshape(-1)[target.index]
        return replace(synapses, weight=weight, **same)
    if synapses.kind == "one-to-one":
        own = synapses.weight.reshape(-1)[target.index, None]
        weight = np.where(target.index[:, None] == source.index, own, 0)
        return replace(synapses, kind="dense", weight=weight, **same)
    if not written:
        count = _size(synapses.in_shape) * _size(synapses.out_shape)
        if count > MAX_WRITTEN:
            raise ModelError(
                f"cut into cores they would be written out as {count:,} weights, at most "
                f"{MAX_WRITTEN:,}",
                node=synapses.name,
            )
        written.append(written_out(synapses))
    pairs = np.ix_(target.index, source.index)
    return replace(
        synapses,
        kind="dense",
        weight=written[0][pairs],
        delay=synapses.delay if synapses.delay.size == 1 else synapses.delay[pairs],
        stride=(1, 1),
        padding=(0, 0),
        dilation=(1, 1),
        groups=1,
        **same,
    )


def _ungrouped(synapses: Synapses) -> IntArray:
    """The kernel with all input channels: (out, in, height, width), zeros between groups."""
    out, per_group, *taps = synapses.weight.shape
    full = np.zeros((out, synapses.in_shape[0], *taps), np.int64)
    for o in range(out):
        first = o // (out // synapses.groups) * per_group
        full[o, first : first + per_group] = synapses.weight[o]
    return full


def _whole(
    found: Mapping[str, NDArray[Any]], shape: Shape, parts: tuple[Part, ...]
) -> NDArray[Any]:
    """Arrays (samples, steps, *part shape) put together."""
    first = found[parts[0].name]
    result = np.zeros((*first.shape[:2], _size(shape)), first.dtype)
    for part in parts:
        result[:, :, part.index] = found[part.name].reshape(*first.shape[:2], -1)
    return result.reshape(*first.shape[:2], *shape)
