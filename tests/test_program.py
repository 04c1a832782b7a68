"""Programs: self-contained, and nothing that a file says is believed unchecked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy import archive, program_file
from neurodeploy.errors import FileError, InputError
from neurodeploy.frontends.nir import load
from neurodeploy.grid import Grid
from neurodeploy.linear import Conv2d
from neurodeploy.network import Connection, InputPort
from neurodeploy.program import Golden, Program, Synapses, compact
from neurodeploy.simulator.engine import simulate
from neurodeploy.targets.loihi.machine import LoihiMachine
from tests.builders import (
    SUBTRACT,
    chain,
    compiled,
    convolutions,
    lif,
    merged,
    network,
    recorded,
    small_program,
    spikes_for,
)


def same(a: Any, b: Any) -> bool:
    """Whether two values are equal down to dtypes, without regard to tuples against lists."""
    if is_dataclass(a):
        return type(a) is type(b) and all(
            same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a)
        )
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return set(a) == set(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


@pytest.fixture(scope="module")
def whole() -> Program:
    """A program with everything: convolution, dense, self-synapse, golden traces."""
    _, lowered, spikes = small_program()
    trace = simulate(lowered, spikes, LoihiMachine())
    names = [p.name for p in lowered.populations]
    golden = Golden({"input": spikes}, {name: trace.spikes[name] for name in names})
    return replace(lowered, golden=golden, provenance={"neurodeploy": "0"})


def test_a_file_gives_everything_back(whole: Program, tmp_path: Path) -> None:
    digest = whole.save(tmp_path / "a.ndp")
    again = Program.load(tmp_path / "a.ndp")
    assert same(replace(whole, graph={}), replace(again, graph={}))
    assert digest == whole.hash == again.hash
    again.save(tmp_path / "b.ndp")
    whole.save(tmp_path / "c.ndp")
    assert (tmp_path / "a.ndp").read_bytes() == (tmp_path / "b.ndp").read_bytes()
    assert (tmp_path / "a.ndp").read_bytes() == (tmp_path / "c.ndp").read_bytes()


def test_messages_delays_and_ports_come_back(whole: Program, tmp_path: Path) -> None:
    assert whole.golden is not None
    (port,), (first, *others) = whole.inputs, whole.populations
    dense = next(s for s in whole.synapses if s.kind == "dense")
    delay = np.arange(dense.weight.size).reshape(dense.weight.shape) % 64
    rest = tuple(s for s in whole.synapses if s is not dense)
    rich = replace(
        whole,
        inputs=(replace(port, graded=True, grid=Grid(0.1, -3, 4)),),
        populations=(replace(first, depth=0, model="sigma", graded=True), *others),
        synapses=(*rest, replace(dense, delay=delay, graded=True, port="bias")),
        golden=Golden(
            {"input": whole.golden.inputs["input"].astype(np.int32) * -(2**31)},
            whole.golden.spikes,
        ),
    )
    assert rich.graded == {"input", first.name}
    assert rich.grids == {"input": Grid(0.1, -3, 4)}
    rich.save(tmp_path / "a.ndp")
    again = Program.load(tmp_path / "a.ndp")
    assert same(replace(rich, graph={}), replace(again, graph={}))


def test_registers_in_float32_keep_dtype_and_bits(whole: Program, tmp_path: Path) -> None:
    values = np.array([1e-45, -0.0, 0.1, -3.4e38, 1 / 3, 2.0**-126, 5, 7], np.float32)
    first, second, third = whole.populations
    real = replace(second, parameters={"a": values, "b": values[:1], "n": np.arange(8)})
    program = replace(whole, populations=(first, real, third))
    program.save(tmp_path / "a.ndp")
    again = Program.load(tmp_path / "a.ndp").population("lif2")
    assert again.float_register("a").dtype == np.float32
    assert again.float_register("a").tobytes() == values.tobytes()
    assert again.register("n").tolist() == list(range(8))
    with pytest.raises(InputError, match="register a holds float32, expected int64"):
        again.register("a")
    with pytest.raises(InputError, match="register n holds int64, expected float32"):
        again.float_register("n")
    changed = replace(real, parameters={**real.parameters, "b": np.zeros(1, np.float32)})
    assert replace(whole, populations=(first, changed, third)).hash != program.hash


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=4))
def test_compact_registers_say_the_same(numbers: list[float]) -> None:
    values = np.array(numbers, np.float32)
    few = compact(values)
    assert few.dtype == np.float32
    assert np.array_equal(np.broadcast_to(few, values.shape), values)
    assert few.size == (1 if len(set(numbers)) == 1 else values.size)


def test_a_loaded_program_does_the_same(whole: Program, tmp_path: Path) -> None:
    whole.save(tmp_path / "a.ndp")
    again = Program.load(tmp_path / "a.ndp")
    spikes = spikes_for(9, 3, 10, (1, 6, 6))
    names = [p.name for p in whole.populations]
    a, b = (simulate(p, spikes, LoihiMachine(), record=names) for p in (whole, again))
    for name in names:
        assert np.array_equal(a.spikes[name], b.spikes[name])
        for key in a.states[name]:
            assert np.array_equal(a.states[name][key], b.states[name][key])


def test_the_reference_travels_with_the_program(whole: Program, tmp_path: Path) -> None:
    whole.save(tmp_path / "a.ndp")
    graph = nir.dict2NIRNode({**Program.load(tmp_path / "a.ndp").graph, "type_check": False})
    net, spikes = small_program()[0], spikes_for(9, 3, 10, (1, 6, 6))
    a, b = recorded(net, spikes), recorded(merged(load(graph)), spikes)
    for name, states in a.states.items():
        assert np.array_equal(a.spikes[name], b.spikes[name])
        assert np.array_equal(states["v"], b.states[name]["v"])


@given(st.lists(st.integers(1, 5), min_size=3, max_size=4), st.integers(0, 99))
def test_packed_spikes_of_any_size(shape: list[int], seed: int) -> None:
    spikes = spikes_for(seed, shape[0], shape[1], tuple(shape[2:]))
    assert np.array_equal(program_file._unpack(program_file._pack(spikes)), spikes)


@settings(max_examples=100)
@given(data=st.data())
def test_no_single_byte_can_change_a_program_unnoticed(
    whole: Program, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "flipped.ndp"
    whole.save(path)
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        loaded = Program.load(path)
    except FileError:
        return
    assert loaded.hash == whole.hash


def test_names(whole: Program) -> None:
    assert list(whole.shapes) == ["input", "lif1", "lif2", "lif3"]
    assert whole.input_shapes == {"input": (1, 6, 6)}
    assert whole.output == "lif3"
    assert whole.depth == 3
    assert whole.population("lif2").size == 8
    assert [s.name for s in whole.incoming("lif1")] == ["input->lif1", "lif1->lif1"]
    assert [s.recurrent for s in whole.incoming("lif1")] == [False, True]
    with pytest.raises(InputError, match=r"'lif9'.*There are: lif1, lif2, lif3"):
        whole.population("lif9")
    with pytest.raises(InputError, match="2 outputs"):
        _ = replace(whole, outputs=("lif1", "lif3")).output


# --- files that were made to harm ----------------------------------------------------------------


def altered(whole: Program, tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A well-formed archive with a right hash, whose content is not a program."""
    tree = program_file.to_tree(whole)
    tree = {
        k: [dict(i) if isinstance(i, dict) else i for i in v] if isinstance(v, (list, tuple)) else v
        for k, v in tree.items()
    }
    change(tree)
    archive.save(tmp_path / "bad.ndp", tree)
    return tmp_path / "bad.ndp"


def put(part: str, index: int, /, **values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda tree: tree[part][index].update(values)


def drop(part: str, index: int, name: str) -> Callable[[dict[str, Any]], None]:
    return lambda tree: tree[part][index].pop(name)


def top(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda tree: tree.update(values)


def register(name: str, values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda tree: tree["populations"][1]["parameters"].update({name: values})


NOT_PROGRAMS = {
    "another kind": top(kind="trace"),
    "no kind": lambda tree: tree.pop("kind"),
    "no target": lambda tree: tree.pop("target"),
    "no populations": top(populations=[]),
    "populations not a list": top(populations=7),
    "a population that is a number": top(populations=[7]),
    "two populations of one name": put("populations", 1, name="lif1"),
    "an unknown field": put("populations", 0, colour="red"),
    "a missing field": drop("populations", 0, "depth"),
    "a depth that is a text": put("populations", 0, depth="1"),
    "a negative depth": put("populations", 0, depth=-1),
    "a depth beyond all graphs": put("populations", 0, depth=10**30),
    "a synapse whose name is a table": put("synapses", 0, name={"bits": [1]}),
    "a synapse without a name": put("synapses", 0, name=None),
    "a shape of nothing": put("populations", 0, shape=[0]),
    "no unit": put("populations", 0, unit=None),
    "a unit of another size": put("populations", 0, unit=np.ones(5)),
    "an output that is no population": top(outputs=["input"]),
    "no output": top(outputs=[]),
    "an unknown source": put("synapses", 0, source="ghost"),
    "synapses onto an input": put(
        "synapses", 0, target="input", source="lif1", in_shape=[2, 6, 6], out_shape=[1, 6, 6]
    ),
    "float weights": put("synapses", 0, weight=np.ones((2, 1, 3, 3))),
    "no weights": put("synapses", 0, weight=None),
    "fewer input weights": put("synapses", 2, weight=np.ones((8, 9), np.int64)),
    "more input weights": put("synapses", 2, weight=np.ones((8, 19), np.int64)),
    "more output weights": put("synapses", 2, weight=np.ones((9, 18), np.int64)),
    "more channels": put("synapses", 0, weight=np.ones((4, 1, 3, 3), np.int64)),
    "more input channels": put("synapses", 0, weight=np.ones((2, 2, 3, 3), np.int64)),
    "a flat kernel": put("synapses", 0, weight=np.ones((2, 9), np.int64)),
    "another stride": put("synapses", 0, stride=[2, 2]),
    "a stride of zero": put("synapses", 0, stride=[0, 1]),
    "a negative padding": put("synapses", 0, padding=[-1, -1]),
    "a padding of texts": put("synapses", 0, padding=["1", "1"]),
    "three strides": put("synapses", 0, stride=[1, 1, 1]),
    "no groups": put("synapses", 0, groups=0),
    "an unknown kind": put("synapses", 0, kind="sparse"),
    "a dense convolution": put("synapses", 0, kind="dense"),
    "a fractional exponent": put("synapses", 0, exponent=0.5),
    "a huge exponent": put("synapses", 0, exponent=1 << 40),
    "delays of another shape": put("synapses", 2, delay=np.zeros(18, np.int64)),
    "delays of a convolution's weights": put(
        "synapses", 0, delay=np.zeros((2, 1, 3, 3), np.int64)
    ),
    "no delay": put("synapses", 0, delay=np.zeros(0, np.int64)),
    "a negative delay": put("synapses", 0, delay=np.full(1, -1)),
    "a delay of 64 steps": put("synapses", 0, delay=np.full(1, 64)),
    "a delay of 8 bits": put("synapses", 0, delay=np.zeros(1, np.int8)),
    "a delay that is a number": put("synapses", 0, delay=1),
    "a port that is a number": put("synapses", 0, port=1),
    "half graded synapses": put("synapses", 0, graded=0.5),
    "a half graded population": put("populations", 0, graded=None),
    "a half graded input": put("inputs", 0, graded=1),
    "a grid of spikes": put("inputs", 0, grid={"step": 1.0, "low": 0, "high": 1}),
    "a grid without an end": put("inputs", 0, graded=True, grid={"step": 1.0, "low": 0}),
    "a grid that is a number": put("inputs", 0, graded=True, grid=7),
    "a grid of half steps": put(
        "inputs", 0, graded=True, grid={"step": 1.0, "low": -0.5, "high": 1}
    ),
    "a grid without a step": put("inputs", 0, graded=True, grid={"step": 0.0, "low": 0, "high": 1}),
    "an unknown readout": put("populations", 0, readout="current"),
    "a model that is a number": put("populations", 0, model=1),
    "golden messages of floats": lambda tree: tree["golden"]["inputs"].update(
        input={"messages": np.zeros((1, 1, 1, 6, 6))}
    ),
    "no golden messages": lambda tree: tree["golden"]["inputs"].update(
        input={"messages": np.zeros((0, 1, 1, 6, 6), np.int32)}
    ),
    "self-synapses of another size": put("synapses", 1, weight=np.ones(5, np.int64)),
    "a register of another size": register("dv", np.zeros(5, np.int64)),
    "a register of 64-bit floats": register("dv", np.zeros(1)),
    "a register of no number": register("dv", np.full(1, np.nan, np.float32)),
    "an infinite register": register("dv", np.full(8, -np.inf, np.float32)),
    "a register that is a number": register("dv", 7),
    "a register of 8 bits": register("dv", np.zeros(1, np.int8)),
    "weights of 8 bits": put("synapses", 2, weight=np.full((8, 18), -128, np.int8)),
    "no register": lambda tree: tree["populations"][1].update(parameters={}),
    "no golden spikes": lambda tree: tree["golden"].pop("spikes"),
    "fewer golden bits": lambda tree: tree["golden"]["inputs"]["input"].update(shape=[9, 9, 9]),
    "a negative golden shape": lambda tree: tree["golden"]["inputs"]["input"].update(
        shape=[-6, -12, 1, 6, 6]
    ),
    "a huge golden shape": lambda tree: tree["golden"]["inputs"]["input"].update(
        shape=[1 << 62, 0]
    ),
    "a range without a node": drop("ranges", 0, "node"),
    "a graph that is a number": top(graph=7),
}  # fmt: skip


@pytest.mark.parametrize("harm", NOT_PROGRAMS)
def test_what_is_not_a_program_is_refused(harm: str, whole: Program, tmp_path: Path) -> None:
    """Loading must catch it: the kernels do not check their bounds."""
    path = altered(whole, tmp_path, NOT_PROGRAMS[harm])
    with pytest.raises(FileError) as caught:
        Program.load(path)
    assert "\n" not in str(caught.value)


def test_the_helper_alters_nothing_else(whole: Program, tmp_path: Path) -> None:
    assert Program.load(altered(whole, tmp_path, lambda tree: None)).hash == whole.hash


# --- the hash ------------------------------------------------------------------------------------


def test_any_change_changes_the_hash(whole: Program) -> None:
    first, second, third = whole.populations
    hashes = {
        changed.hash
        for changed in (
            whole,
            replace(whole, target="other"),
            replace(whole, inputs=(InputPort("x", (1, 6, 6)),)),
            replace(whole, inputs=(replace(whole.inputs[0], grid=Grid(1.0, 0, 1)),)),
            replace(whole, populations=(replace(first, depth=2), second, third)),
            replace(whole, synapses=whole.synapses[1:]),
            replace(whole, outputs=("lif2",)),
            replace(whole, graph={**whole.graph, "metadata": {"a": 1}}),
            replace(whole, lowerings=()),
            replace(whole, ranges=()),
            replace(whole, golden=None),
            replace(whole, provenance={}),
            replace(whole, semantics={"dt": 1.0}),
            replace(whole, chip={"name": "loihi2"}),
        )
    }
    assert len(hashes) == 14


@pytest.mark.parametrize(
    "metadata",
    [{"x": 1}, {"x": np.float64(2.5)}, {"x": np.arange(3)}, {"x": [1, "a", None]}, {"x": "a"},
     {"x": b"bytes"}, {"x": np.array(["a", "b"], object)}, {"x": float("nan")}],
    ids=["int", "numpy", "array", "list", "text", "bytes", "objects", "nan"],
)  # fmt: skip
def test_metadata_of_other_tools_do_not_keep_a_program_from_being_saved(
    metadata: dict[str, Any], tmp_path: Path
) -> None:
    """Whatever stands in NIR metadata, a compiled program can be hashed and saved."""
    fc = nir.Linear(np.ones((2, 3)), metadata=metadata)
    net = network((3,), fc=fc, lif=lif([0.5, 0.5]))
    compiled(net, spikes_for(0, 1, 4, (3,))).save(tmp_path / "a.ndp")


def test_two_paths_between_the_same_nodes_have_two_names() -> None:
    graph = chain((3,), fc=nir.Linear(np.ones((2, 3))), lif=lif([0.5, 0.5], semantics=SUBTRACT))
    graph.nodes["other"] = nir.Linear(np.ones((2, 3)))
    graph.edges += [("input", "other"), ("other", "lif")]
    made = compiled(merged(load(graph)), spikes_for(0, 1, 4, (3,)))
    names = [s.name for s in made.synapses]
    assert len(set(names)) == len(names) == 3


@given(convolutions())
def test_synapses_have_the_geometry_of_their_map(op: Conv2d) -> None:
    weight = op.weight.astype(np.int64)
    made = Synapses.of(Connection("a", "b", (op,)), op, weight, 3, op.out_shape)
    assert (made.name, made.kind, made.exponent) == ("a->b", "conv2d", 3)
    geometry = (made.stride, made.padding, made.dilation, made.groups)
    assert geometry == (op.stride, op.padding, op.dilation, op.groups)
    assert (made.in_shape, made.out_shape) == (op.in_shape, op.out_shape)
