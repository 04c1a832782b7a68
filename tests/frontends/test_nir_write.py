"""NIR out: what is read back is what was written, the bytes are always the same, and errors."""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neurodeploy import api
from neurodeploy.api import write
from neurodeploy.errors import FileError, InputError, ModelError, NeurodeployError, SemanticsError
from neurodeploy.frontends.nir import load, read
from neurodeploy.semantics import METADATA_KEY, Semantics, from_metadata, to_metadata
from tests.builders import (
    DT,
    HELD,
    MEANINGS,
    NONE,
    SUBTRACT,
    ZERO,
    chain,
    conv,
    conv1d,
    lif,
    spikes_for,
)


def assert_same(a: Any, b: Any, where: str = "network") -> None:
    """Two networks, field by field and bit for bit, with what metadata say of their nodes."""
    assert type(a) is type(b), where
    if isinstance(a, np.ndarray):
        assert a.dtype == b.dtype, where
        assert np.array_equal(a, b), where
    elif isinstance(a, tuple):
        assert len(a) == len(b), where
        for index, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{where}[{index}]")
    elif isinstance(a, nir.NIRGraph):
        for name in a.nodes:
            entries = [from_metadata(g.nodes[name].metadata, node=name) for g in (a, b)]
            assert entries[0] == entries[1], name
    elif is_dataclass(a):
        for field in fields(a):
            assert_same(getattr(a, field.name), getattr(b, field.name), f"{where}.{field.name}")
    else:
        assert a == b, where


def neuron(kind: str, numbers: Any, shape: tuple[int, ...], **entries: Any) -> Any:
    """A neuron with input gain 1 and parameters from `numbers`, three values in 0..1."""
    a, b, c = (np.full(shape, x) + 0.01 * np.arange(np.prod(shape)).reshape(shape) for x in numbers)
    metadata = to_metadata(**entries)
    theta = 0.1 + 3 * c
    if kind == "IF":
        return nir.IF(np.full(shape, 1 / DT), theta, metadata=metadata)
    tau_mem, tau_syn = DT / (1 - 0.9 * a), DT / (1 - 0.9 * b)
    if kind == "LIF":
        return nir.LIF(tau_mem, tau_mem / DT, b - 0.5, theta, metadata=metadata)
    zero = np.zeros(shape)
    w_in = tau_syn / DT
    return nir.CubaLIF(tau_syn, tau_mem, tau_mem / DT, zero, theta, w_in=w_in, metadata=metadata)


def two_layers(first: Any, second: Any) -> nir.NIRGraph:
    """Input of 3, `a` of 2, `b` of 2 that is read, with feedback from b to a."""
    rng = np.random.default_rng(1)
    nodes = {
        "input": nir.Input({"input": np.array([3])}),
        "fc1": nir.Affine(rng.normal(0, 1, (2, 3)).astype(np.float32), rng.normal(0, 1, 2)),
        "a": first,
        "fc2": nir.Linear(rng.normal(0, 1, (2, 2))),
        "b": second,
        "back": nir.Linear(rng.normal(0, 1, (2, 2))),
        "output": nir.Output({"output": np.array([2])}),
    }
    edges = [("input", "fc1"), ("fc1", "a"), ("a", "fc2"), ("fc2", "b"), ("b", "back"),
             ("back", "a"), ("b", "output")]  # fmt: skip
    return nir.NIRGraph(nodes, edges, type_check=False)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    st.tuples(*[st.floats(0, 1)] * 3),
    st.sampled_from(["LIF", "IF", "CubaLIF"]),
    st.sampled_from(MEANINGS),
    st.sampled_from([">", ">="]),
    st.sampled_from(["spikes", "membrane"]),
    st.sampled_from([(), (2,)]),
    st.sampled_from(["exact", "portable"]),
    st.sampled_from(["", "float32"]),
)
def test_a_file_is_read_back_as_it_was(
    tmp_path: Path,
    numbers: Any,
    kind: str,
    meaning: Semantics,
    comparison: Any,
    readout: str,
    shape: Any,
    profile: Any,
    dtype: str,
) -> None:
    meaning = replace(meaning, comparison=comparison)
    own = {"semantics": meaning.to_dict(), "dtype": dtype, "module": "m"}
    read_so = {"readout": readout} if readout == "membrane" else {}
    graph = two_layers(
        neuron(kind, numbers, shape, **own), neuron(kind, numbers[::-1], shape, **own, **read_so)
    )
    expected = load(graph)
    assert expected.populations[1].readout == readout
    written = write(graph, tmp_path / "net.nir", profile=profile)
    assert_same(load(read(written.path)), expected)


@pytest.mark.parametrize("profile", ["exact", "portable"])
@pytest.mark.parametrize("meaning", MEANINGS, ids=lambda m: f"{m.reset}-{m.reset_timing}")
def test_every_meaning_of_every_neuron(tmp_path: Path, meaning: Semantics, profile: Any) -> None:
    """The same, once for every combination."""
    for kind in ("LIF", "IF", "CubaLIF"):
        for shape in ((), (2,)):
            node = neuron(kind, (0.8, 0.5, 0.3), shape, semantics=meaning.to_dict())
            graph = chain((2,), fc=nir.Linear(np.eye(2)), n=node)
            graph.nodes["output"] = nir.Output({"output": np.array([2])})
            written = write(graph, tmp_path / "net.nir", profile=profile)
            assert_same(load(read(written.path)), load(graph))
            for part in read(written.path).nodes.values():
                for key in ("tau", "tau_syn", "tau_mem", "r", "v_threshold", "threshold", "scale"):
                    array = getattr(part, key, np.ones(2))
                    assert (array.dtype, array.shape) == (np.float64, (2,))


def image(name: str) -> nir.NIRGraph:
    """Convolutions of all kinds in a chain, with scalars where NIR's writer wants vectors."""
    rng = np.random.default_rng(2)
    theta = np.full((4, 3, 2), 0.5)
    graph = chain(
        (2, 6, 5),
        grouped=conv(rng.normal(0, 1, (4, 1, 2, 3)), stride=2, padding=(0, 1), groups=2),
        half=nir.Scale(np.array(0.5, np.float32)),
        late=nir.Delay(np.full((4, 3, 3), 2 * DT)),
        **{name: lif(np.full((4, 3, 3), 0.75), 0.4, SUBTRACT)},
        pool=nir.AvgPool2d(np.array([1, 2]), np.array([1, 1]), np.array([0, 0])),
        same=conv(rng.normal(0, 1, (4, 4, 2, 3)), padding="same"),
        li=nir.LI(*np.array([4 * DT, 4.0, 0.0]), metadata=to_metadata(semantics=ZERO.to_dict())),
        over=nir.Threshold(theta, metadata=to_metadata(semantics=ZERO.to_dict())),
        flat=nir.Flatten({"input": None}, 1, 2),
        line=conv1d(rng.normal(0, 1, (2, 2, 3)), groups=2, padding=1),
        last=lif(np.full((2, 6), 0.5), 0.5, HELD),
    )
    graph.nodes["output"] = nir.Output({"output": np.array([2, 6])})
    return graph


@pytest.mark.parametrize("profile", ["exact", "portable"])
def test_every_kind_of_layer(tmp_path: Path, profile: Any) -> None:
    graph = image("lif")
    written = write(graph, tmp_path / "net.nir", profile=profile)
    assert_same(load(read(written.path)), load(graph))
    assert written.objection is not None, "NIR 1.0.8 reads no grouped convolution"
    assert "type mismatch" in written.objection
    nodes = read(written.path).nodes
    assert nodes["grouped"].input_shape.tolist() == [6, 5]
    assert nodes["line"].input_shape == 6
    assert nodes["half"].scale.shape == (4, 3, 3)


def test_nir_itself_reads_the_file(tmp_path: Path) -> None:
    own = {"semantics": SUBTRACT.to_dict()}
    nodes = (neuron(kind, (0.8, 0.5, 0.3), (2,), **own) for kind in ("LIF", "CubaLIF"))
    graph = two_layers(*nodes)
    written = write(graph, tmp_path / "net.nir")
    assert written.objection is None
    found = nir.read(written.path)
    assert set(found.nodes) == set(read(written.path).nodes), "nothing is invented"


def test_subgraphs_two_inputs_two_outputs(tmp_path: Path) -> None:
    inner = chain((2,), n=lif([0.5, 0.5], 1.0, NONE))
    inner.nodes["output"] = nir.Output({"output": np.array([2])})
    nodes = {
        "x": nir.Input({"input": np.array([2])}),
        "y": nir.Input({"input": np.array([2])}),
        "sub": inner,
        "m": lif([0.5, 0.75], 1.0, SUBTRACT),
        "o1": nir.Output({"output": np.array([2])}),
        "o2": nir.Output({"output": np.array([2])}),
        "sum": nir.Output({"output": np.array([2])}),
    }
    edges = [("x", "sub"), ("y", "m"), ("sub", "m"), ("m", "o2"), ("sub", "o1"), ("m", "sum"),
             ("sub", "sum")]  # fmt: skip
    graph = nir.NIRGraph(nodes, edges, type_check=False)
    written = write(graph, tmp_path / "net.nir")
    assert_same(load(read(written.path)), load(graph))
    assert "sub.n.threshold" in read(written.path).nodes


def test_semantics_that_the_caller_chose_are_written(tmp_path: Path) -> None:
    graph = chain((2,), lif=lif([0.5, 0.75], semantics=None))
    graph.nodes["output"] = nir.Output({"output": np.array([2])})
    with pytest.raises(SemanticsError, match="does not say what a time step means"):
        write(graph, tmp_path / "net.nir")
    source = tmp_path / "source.nir"
    nir.write(source, graph)
    written = api.write(source, tmp_path / "net.nir", semantics=replace(SUBTRACT, dt=1e-4))
    assert_same(api.load(written.path), load(graph, replace(SUBTRACT, dt=1e-4)))
    assert [s.nodes for s in written.statements] == [("LI", "Threshold", "Scale")]


def test_what_others_say_in_metadata_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    graph = two_layers(lif([0.5, 0.5]), lif([0.5, 0.5], semantics=NONE))
    good = {"author": "someone", "list": np.arange(3), "deep": {"f": 0.5, "ok": True}}
    bad = {"none": None, "a/b": 1, "": 2, "nul": "a\0b", "words": ["a", "b"], "o": object()}
    graph.nodes["a"].metadata |= {**bad, **good}
    graph.metadata = {**to_metadata(producer="x", profile="old", deviation={}), **bad, **good}
    with caplog.at_level(logging.WARNING, logger="neurodeploy"):
        written = write(graph, tmp_path / "net.nir")
    assert len(caplog.records) == 2 * len(bad)
    assert "a: a NIR file cannot hold the metadata entry 'a/b'" in caplog.text
    again = read(written.path)
    for metadata in (again.nodes["a"].metadata, again.metadata):
        assert set(metadata) == {*good, METADATA_KEY}
        assert metadata["deep"] == {"f": 0.5, "ok": True}
    assert from_metadata(again.metadata, node="graph") == {
        "schema": 1, "producer": "x", "profile": "exact"
    }  # fmt: skip


# --- determinism ---------------------------------------------------------------------------------

PROGRAM = """
import sys
from neurodeploy.api import write
print(write("source.nir", sys.argv[1], profile=sys.argv[2]).digest)
"""


@pytest.mark.parametrize("profile", ["exact", "portable"])
def test_the_bytes_are_the_same_in_every_process(tmp_path: Path, profile: str) -> None:
    own = {"semantics": SUBTRACT.to_dict()}
    nodes = (neuron(kind, (0.8, 0.5, 0.3), (2,), **own) for kind in ("LIF", "CubaLIF"))
    nir.write(tmp_path / "source.nir", two_layers(*nodes))
    found = []
    for seed in ("1", "2"):
        name = f"net{seed}.nir"
        run = subprocess.run(
            [sys.executable, "-c", PROGRAM, name, profile],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        found.append(run.stdout.strip())
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == found[-1]
    assert found[0] == found[1]


def test_the_order_of_nodes_edges_and_metadata_is_nothing(tmp_path: Path) -> None:
    def digest(step: int) -> str:
        graph = image("lif")
        graph.metadata = dict([("x", 1), ("y", 2)][::step])
        nodes = dict([*graph.nodes.items()][::step])
        turned = nir.NIRGraph(nodes, graph.edges[::step], graph.metadata, type_check=False)
        return write(turned, tmp_path / "net.nir").digest

    assert digest(1) == digest(-1)


def test_writing_again_gives_the_same_bytes(tmp_path: Path) -> None:
    """A file of either profile, read and written in the other, loses nothing."""
    first = write(image("lif"), tmp_path / "a.nir")
    write(tmp_path / "a.nir", tmp_path / "b.nir", profile="portable")
    assert write(tmp_path / "b.nir", tmp_path / "b.nir").digest == first.digest


# --- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a/b", ".", "", "a\0"])
def test_names_that_a_file_cannot_hold(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match="cannot hold this name of a node") as caught:
        write(image(name), tmp_path / "net.nir")
    assert caught.value.node == repr(name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"profile": "best"}, "the profile is 'best', expected exact or portable"),
        ({"inputs": np.ones((1, 2, 2, 6, 5))}, "not of the exact"),
        ({"profile": "portable", "inputs": np.ones((1, 2, 3))}, "shape"),
    ],
)
def test_impossible_options(tmp_path: Path, options: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        write(image("lif"), tmp_path / "net.nir", **options)
    assert not list(tmp_path.iterdir())


def test_a_place_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot be written"):
        write(image("lif"), tmp_path / "no" / "net.nir")
    (tmp_path / "folder.nir").mkdir()
    with pytest.raises(FileError, match="cannot be written"):
        write(image("lif"), tmp_path / "folder.nir")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.nir"]


def test_an_invalid_graph_is_not_written(tmp_path: Path) -> None:
    graph = image("lif")
    graph.nodes["lif"].tau[0, 0, 0] = np.nan
    with pytest.raises(NeurodeployError, match=r"lif: .*not finite"):
        write(graph, tmp_path / "net.nir")
    assert not list(tmp_path.iterdir())


def test_a_file_that_means_something_else_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is read back is compared: with a writer that loses precision, nothing is written."""
    honest = nir.write

    def lossy(file: Any, graph: Any, **options: Any) -> None:
        honest(file, graph, **options)
        with h5py.File(file, "r+") as content:
            content["node/nodes/last/tau"][0] *= 1 + 1e-15

    monkeypatch.setattr(nir, "write", lossy)
    (tmp_path / "net.nir").write_text("old")
    with pytest.raises(FileError, match="means something else when it is read back"):
        write(image("lif"), tmp_path / "net.nir")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


# --- what a portable file becomes ----------------------------------------------------------------


def test_the_deviation_is_measured_and_stored(tmp_path: Path) -> None:
    graph = two_layers(lif([0.5, 0.75], 0.5, ZERO), lif([0.75, 0.5], 0.5, SUBTRACT))
    given_inputs = spikes_for(1, 3, 20, (3,))
    written = write(graph, tmp_path / "net.nir", profile="portable", inputs=given_inputs)
    entries = from_metadata(read(written.path).metadata, node="graph") or {}
    assert entries["profile"] == "portable"
    assert entries["deviation"]["inputs"] == {"kind": "given"}
    assert entries["deviation"]["populations"] == {
        layer.population: {
            "cells": 3 * 20 * 2,
            "mismatches": layer.mismatches,
            "spikes": layer.expected_spikes,
            "literal_spikes": layer.spikes,
        }
        for layer in written.deviation
    }
    assert {layer.population: layer.mismatches > 0 for layer in written.deviation}["b"]
    random = write(graph, tmp_path / "net.nir", profile="portable")
    entries = from_metadata(read(random.path).metadata, node="graph") or {}
    assert entries["deviation"]["inputs"] == {
        "kind": "random", "seed": 0, "samples": 4, "steps": 64, "density": 0.25
    }  # fmt: skip
    assert [layer.cells for layer in random.deviation] == [4 * 64 * 2] * 2
