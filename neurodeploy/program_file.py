"""A `Program` as plain data and back; what comes from a file is checked, as kernels are not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, get_args

import numpy as np

from neurodeploy import mapped
from neurodeploy.errors import FileError, ModelError, NeurodeployError
from neurodeploy.grid import Grid
from neurodeploy.linear import Shape
from neurodeploy.network import InputPort, Readout
from neurodeploy.program import (
    Golden,
    How,
    Lowering,
    Neurons,
    Program,
    Range,
    SynapseKind,
    Synapses,
)
from neurodeploy.trace import Messages

LARGEST_EXPONENT = 32
LONGEST_DELAY = 63
DEEPEST = 1 << 20
"""Chip steps behind the input: more than the largest graphs that are read can be deep."""


def to_tree(program: Program) -> dict[str, Any]:
    """Plain data and arrays, as `archive.save` keeps them."""
    golden = program.golden
    return {
        "kind": "program",
        "target": program.target,
        "inputs": [_plain(port) for port in program.inputs],
        "populations": [{**vars(p), "parameters": dict(p.parameters)} for p in program.populations],
        "synapses": [vars(s) for s in program.synapses],
        "outputs": program.outputs,
        "graph": program.graph,
        "lowerings": [vars(item) for item in program.lowerings],
        "ranges": [vars(item) for item in program.ranges],
        "golden": None
        if golden is None
        else {
            key: {name: _pack(array) for name, array in getattr(golden, key).items()}
            for key in ("inputs", "spikes")
        },
        "provenance": dict(program.provenance),
        **({} if program.mapped is None else {"mapped": program.mapped.to_tree()}),
        "semantics": dict(program.semantics),
        "chip": dict(program.chip),
    }


def from_tree(tree: Mapping[str, Any], path: str) -> Program:
    """The program that `to_tree` made into `tree`.

    Raises
    ------
    FileError
        A missing or unknown field, a wrong type, or parts that do not fit each other.
    """
    try:
        program = _build(tree)
        _check(program)
        if "mapped" not in tree:
            return program
        shapes = {population.name: population.shape for population in program.populations}
        where = mapped.from_tree(tree["mapped"], program.input_shapes, shapes)
        return replace(program, mapped=where)
    except NeurodeployError as error:
        raise FileError(f"not a valid program: {error}", node=path) from error
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise FileError(
            f"the archive is not a program ({type(error).__name__}: {error})", node=path
        ) from error


def _build(tree: Mapping[str, Any]) -> Program:
    if tree.get("kind") != "program":
        raise FileError(f"the archive holds a {tree.get('kind')!r}")
    golden = tree["golden"]
    return Program(
        target=str(tree["target"]),
        inputs=tuple(_port(item) for item in tree["inputs"]),
        populations=tuple(Neurons(**_shaped(item)) for item in tree["populations"]),
        synapses=tuple(Synapses(**_shaped(item)) for item in tree["synapses"]),
        outputs=tuple(tree["outputs"]),
        graph=tree["graph"],
        lowerings=tuple(Lowering(**item) for item in tree["lowerings"]),
        ranges=tuple(Range(**item) for item in tree["ranges"]),
        golden=None
        if golden is None
        else Golden(
            *({name: _unpack(p) for name, p in golden[key].items()} for key in ("inputs", "spikes"))
        ),
        provenance=dict(tree["provenance"]),
        semantics=dict(tree["semantics"]),
        chip=dict(tree["chip"]),
    )


def _plain(port: InputPort) -> dict[str, Any]:
    """Plain data; a grid only where there is one, as in files from before there were any."""
    fields = {name: value for name, value in vars(port).items() if name != "grid"}
    return fields if port.grid is None else {**fields, "grid": vars(port.grid)}


def _port(fields: Mapping[str, Any]) -> InputPort:
    shaped = _shaped(fields)
    if "grid" in shaped:
        grid = Grid(**shaped["grid"])
        whole = type(grid.low) is int and type(grid.high) is int and type(grid.step) is float
        _require(whole and shaped["graded"] is True, f"its grid is {grid}", str(shaped["name"]))
        shaped["grid"] = grid
    return InputPort(**shaped)


def _shaped(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Plain data with its lists turned back into tuples."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}


def _pack(sent: Messages) -> dict[str, Any]:
    if sent.dtype != np.uint8:
        return {"messages": sent}
    return {"shape": sent.shape, "bits": np.packbits(sent)}


def _unpack(packed: Mapping[str, Any]) -> Messages:
    if "messages" in packed:
        messages = packed["messages"]
        if messages.dtype != np.int32 or not messages.size:
            raise FileError(f"a golden trace of shape {messages.shape} is of {messages.dtype}")
        return np.asarray(messages)
    shape = tuple(int(n) for n in packed["shape"])
    count = math.prod(shape)
    bits = np.asarray(packed["bits"], dtype=np.uint8)
    if min(shape, default=0) < 1 or len(bits) != -(-count // 8):
        raise FileError(f"a golden trace of shape {shape} has {len(bits)} bytes")
    return np.unpackbits(bits, count=count).reshape(shape)


def _check(program: Program) -> None:
    nodes: tuple[InputPort | Neurons, ...] = (*program.inputs, *program.populations)
    for node in nodes:
        _require(isinstance(node.name, str), "its name is not a text", str(node.name))
        _require(_sizes(node.shape, least=1), f"its shape is {node.shape}", node.name)
        _require(type(node.graded) is bool, f"graded is {node.graded!r}", node.name)
    shapes = program.shapes
    _require(len(shapes) == len(nodes), "two nodes have one name", "program")
    _require(bool(program.populations), "it has no populations", "program")
    _require(isinstance(program.graph, dict), "its graph is not a table", "program")
    names = {population.name for population in program.populations}
    _require(bool(program.outputs) and set(program.outputs) <= names, "its outputs", "program")
    for population in program.populations:
        _check_neurons(population)
    for synapses in program.synapses:
        _check_synapses(synapses, shapes)
        _require(synapses.target in names, "it ends at an input", synapses.name)
    for lowering in program.lowerings:
        _check_types(lowering, node=str, subject=str, how=str, text=str)
        _require(lowering.how in get_args(How), f"it is {lowering.how!r}", lowering.node)
    numbers = dict.fromkeys(("low", "high", "limit_low", "limit_high"), (int, float))
    for bounds in program.ranges:
        _check_types(bounds, node=str, register=str, proven=bool, **numbers)
    if program.golden is not None:
        _check_golden(program, program.golden)


def _require(condition: bool, problem: str, node: str) -> None:
    if not condition:
        raise FileError(problem, node=node)


def _sizes(values: object, *, least: int, count: int | None = None) -> bool:
    """Whether `values` is a tuple of (`count`) integers, each at least `least`."""
    return (
        isinstance(values, tuple)
        and (bool(values) if count is None else len(values) == count)
        and all(type(n) is int and n >= least for n in values)
    )


def _check_types(item: Lowering | Range, **types: type | tuple[type, ...]) -> None:
    for name, kind in types.items():
        value = getattr(item, name)
        known = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
        _require(known, f"{name} is {value!r}", str(item.node))


def _check_golden(program: Program, golden: Golden) -> None:
    """Inputs of every port and spikes of populations, all of as many samples and steps."""
    ports = {port.name for port in program.inputs}
    own = {population.name for population in program.populations}
    fits = set(golden.inputs) == ports and set(golden.spikes) <= own
    _require(fits, "are of other nodes", "golden traces")
    sent = {**golden.inputs, **golden.spikes}
    counts = {values.shape[:2] for values in sent.values()}
    _require(len(counts) == 1, "differ in samples or steps", "golden traces")
    for name, values in sent.items():
        fits = values.shape[2:] == program.shapes[name]
        _require(fits, f"have shape {values.shape}", f"golden traces of {name}")


def _check_neurons(population: Neurons) -> None:
    name, size = population.name, population.size
    shallow = type(population.depth) is int and 0 <= population.depth <= DEEPEST
    _require(shallow, f"its depth is {population.depth!r}", name)
    _require(isinstance(population.model, str), "its model is not a text", name)
    readout = population.readout
    _require(readout in get_args(Readout), f"its readout is {readout!r}", name)
    unit = population.unit
    real = isinstance(unit, np.ndarray) and unit.dtype.kind == "f"
    _require(real and unit.size in (1, size), "its unit", name)
    _require(bool(np.all(np.isfinite(unit)) and np.all(unit > 0)), "its unit", name)
    known = bool(population.parameters) or population.model != "lif"  # Loihi's sigma has none
    _require(known, "it has no registers", name)
    for register, values in population.parameters.items():
        known = values.dtype in (np.int64, np.float32)
        fits = known and values.size in (1, size)
        _require(fits, f"register {register}: {values.dtype} of shape {values.shape}", name)
        finite = bool(np.all(np.isfinite(values)))
        _require(finite, f"register {register} holds what is not a finite number", name)


def _check_synapses(synapses: Synapses, shapes: Mapping[str, Shape]) -> None:
    name = synapses.name
    _require(isinstance(name, str), "its name is not a text", "synapses")
    ends = (shapes.get(synapses.source), shapes.get(synapses.target))
    _require(ends == (synapses.in_shape, synapses.out_shape), "its shapes", name)
    _require(synapses.kind in get_args(SynapseKind), f"its kind is {synapses.kind!r}", name)
    exponent = synapses.exponent
    small = type(exponent) is int and abs(exponent) <= LARGEST_EXPONENT
    _require(small, f"its exponent is {exponent}", name)
    _require(synapses.weight.dtype == np.int64, f"its weights are {synapses.weight.dtype}", name)
    _require(type(synapses.graded) is bool, f"graded is {synapses.graded!r}", name)
    _require(isinstance(synapses.port, str), "its port is not a text", name)
    _check_delay(synapses)
    outputs, inputs = math.prod(synapses.out_shape), math.prod(synapses.in_shape)
    expected: Shape = (outputs,) if synapses.kind == "one-to-one" else (outputs, inputs)
    if synapses.kind != "conv2d":
        _require(synapses.weight.shape == expected, f"it needs weights {expected}", name)
        return
    for pair, least in ((synapses.stride, 1), (synapses.padding, 0), (synapses.dilation, 1)):
        _require(_sizes(pair, least=least, count=2), f"its geometry is {pair}", name)
    _require(_sizes((synapses.groups,), least=1), f"its groups are {synapses.groups}", name)
    try:
        shape = synapses.convolution(synapses.weight).out_shape
    except ModelError as error:
        raise FileError(error.message, node=name) from error
    _require(shape == synapses.out_shape, f"it delivers {shape}", name)


def _check_delay(synapses: Synapses) -> None:
    delay, name = synapses.delay, synapses.name
    _require(delay.dtype == np.int64, f"its delays are {delay.dtype}", name)
    each = synapses.kind == "dense" and delay.shape == synapses.weight.shape
    _require(delay.shape == (1,) or each, f"its delays are of shape {delay.shape}", name)
    text = f"its delays are in {delay.min()}..{delay.max()}, expected 0..{LONGEST_DELAY}"
    _require(delay.min() >= 0 and delay.max() <= LONGEST_DELAY, text, name)
