"""NIR in: what a graph means, what is refused, and files that are not what they say."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy import reference
from neurodeploy.errors import FileError, ModelError, NeurodeployError, SemanticsError
from neurodeploy.frontends import hdf5
from neurodeploy.frontends.nir import load, read
from neurodeploy.semantics import METADATA_KEY, Semantics, from_metadata, to_metadata
from tests.builders import (
    DT,
    HELD,
    SUBTRACT,
    ZERO,
    chain,
    conv,
    conv1d,
    integrator,
    lif,
    spikes_for,
)

ONES = np.ones((2, 3))


def simple(**changes: Any) -> nir.NIRGraph:
    """Three inputs, a linear layer, two neurons; `changes` replace parameters of the neurons."""
    return chain((3,), fc=nir.Linear(ONES.copy()), lif=lif([0.5, 0.75], **changes))


def edited(graph: nir.NIRGraph, edges: list[tuple[str, str]], **nodes: Any) -> nir.NIRGraph:
    return nir.NIRGraph({**graph.nodes, **nodes}, edges, type_check=False)


def pooled(kind: type, kernel: Any = 2, stride: Any = 2, padding: Any = 0) -> Any:
    pairs = (np.broadcast_to(value, 2).copy() for value in (kernel, stride, padding))
    return kind(*pairs)


# --- meaning -------------------------------------------------------------------------------------


def test_a_simple_graph() -> None:
    net = load(simple())
    (population,) = net.populations
    assert net.shapes == {"input": (3,), "lif": (2,)}
    assert net.outputs == ("lif",)
    assert population.decay.tolist() == [0.5, 0.75]
    assert population.threshold.tolist() == [1.0, 1.0]
    assert population.bias.tolist() == [0.0, 0.0]
    assert population.semantics == ZERO
    assert [c.name for c in net.connections] == ["input->lif"]


def test_parameters_are_copies() -> None:
    graph = simple()
    net = load(graph)
    graph.nodes["lif"].v_threshold[:] = 7
    graph.nodes["fc"].weight[:] = 7
    assert net.populations[0].threshold.tolist() == [1.0, 1.0]
    assert net.connections[0].apply(np.ones(3)).tolist() == [3.0, 3.0]


@given(
    st.lists(st.floats(1 / 1024, 1023 / 1024, width=32), min_size=1, max_size=50),
    st.sampled_from([1e-4, 1e-3, 0.1, 1.0, 2.0**-13]),
    st.sampled_from(["euler", "exact"]),
)
def test_float32_betas_come_back_bit_for_bit(betas: list[float], dt: float, how: str) -> None:
    beta = np.array(betas)
    meaning = replace(ZERO, dt=dt, integrator=how)  # type: ignore[arg-type]
    tau = dt / (1 - beta) if how == "euler" else -dt / np.log(beta)
    size = len(beta)
    node = nir.LIF(
        tau=tau,
        r=1 / (1 - beta),
        v_leak=np.zeros(size),
        v_threshold=np.ones(size),
        metadata=to_metadata(semantics=meaning.to_dict(), dtype="float32"),
    )
    net = load(chain((size,), fc=nir.Linear(np.eye(size)), lif=node))
    assert np.array_equal(net.populations[0].decay, beta)
    assert len(net.connections[0].ops) == 1, "the gain is exactly 1"


@given(st.integers(0, 2**32 - 1), st.booleans())
def test_leak_and_resistance_against_an_euler_loop(seed: int, affine: bool) -> None:
    """tau dv/dt = v_leak - v + r x by Euler steps, with reset to zero."""
    rng = np.random.default_rng(seed)
    n, steps, dt = 4, 60, 1e-3
    tau, r = rng.uniform(1.5e-3, 2e-2, n), rng.uniform(0.3, 8, n)
    leak, threshold = rng.normal(0, 0.4, n), rng.uniform(0.5, 1.5, n)
    weight, bias = rng.normal(0, 1, (n, 3)), rng.normal(0, 0.5, n) * affine
    node = nir.LIF(tau, r, leak, threshold)
    layer = nir.Affine(weight, bias) if affine else nir.Linear(weight)
    net = load(chain((3,), fc=layer, lif=node), replace(ZERO, dt=dt))
    inputs = spikes_for(seed, 1, steps, (3,))
    trace = reference.simulate(net, inputs, record=["lif"])
    v = np.zeros(n)
    for t in range(steps):
        v = v + dt / tau * (leak - v + r * (weight @ inputs[0, t] + bias))
        assert np.allclose(trace.states["lif"]["v"][0, t], v, rtol=1e-9, atol=1e-9)
        assert np.array_equal(trace.spikes["lif"][0, t], v > threshold)
        v[v > threshold] = 0


def test_exact_integrator_is_the_exponential() -> None:
    meaning = replace(ZERO, dt=1e-3, integrator="exact")
    node = nir.LIF(np.array([4e-3]), np.array([2.0]), np.array([0.3]), np.array([9.0]))
    net = load(chain((1,), fc=nir.Linear(np.ones((1, 1))), lif=node), meaning)
    decay = np.exp(-0.25)
    assert net.populations[0].decay[0] == pytest.approx(decay, rel=1e-14)
    assert net.populations[0].bias[0] == pytest.approx((1 - decay) * 0.3, rel=1e-14)
    assert net.connections[0].apply(np.ones(1))[0] == pytest.approx((1 - decay) * 2, rel=1e-14)


def test_integrate_and_fire_integrates_r_dt_x() -> None:
    net = load(chain((3,), fc=nir.Linear(ONES), lif=integrator([1.0, 2.0])))
    assert net.populations[0].decay.tolist() == [1.0, 1.0]
    assert net.connections[0].apply(np.ones(3)).tolist() == [3.0, 3.0]
    weak = nir.IF(np.array([10.0, 20]), np.ones(2))
    net = load(chain((3,), fc=nir.Linear(ONES), lif=weak), replace(ZERO, dt=0.25))
    assert net.connections[0].apply(np.ones(3)).tolist() == [7.5, 15.0]


def test_biases_go_through_what_follows_them() -> None:
    """A constant channel, averaged with counted zeros at the border, then scaled."""
    factor = np.arange(18.0).reshape(2, 3, 3)
    net = load(
        chain(
            (1, 5, 5),
            conv=conv(np.zeros((2, 1, 3, 3)), bias=[0.5, -1], padding=1),
            pool=pooled(nir.AvgPool2d, 3, 2, 1),
            scale=nir.Scale(factor),
            lif=lif(np.full((2, 3, 3), 0.5)),
        )
    )
    covered = np.array([[4, 6, 4], [6, 9, 6], [4, 6, 4]]) / 9
    expected = np.stack([0.5 * covered, -covered]) * factor
    assert np.allclose(net.populations[0].bias, expected, rtol=1e-14)


def test_a_bias_is_scaled_by_the_neurons_gain() -> None:
    node = nir.LIF(np.full(2, 4 * DT), np.full(2, 3.0), np.zeros(2), np.ones(2))
    net = load(chain((3,), fc=nir.Affine(ONES, np.array([1.0, 2])), lif=node), ZERO)
    assert net.populations[0].bias.tolist() == [0.75, 1.5]
    assert net.connections[0].apply(np.ones(3)).tolist() == [2.25, 2.25]


def test_branches_meet_at_a_population() -> None:
    graph = edited(
        simple(),
        [("input", "fc"), ("input", "other"), ("fc", "lif"), ("other", "lif"), ("lif", "output")],
        other=nir.Affine(2 * ONES, np.array([1.0, 0])),
    )
    net = load(graph)
    assert len(net.connections) == 2
    assert sum(c.apply(np.ones(3)) for c in net.connections).tolist() == [9.0, 9.0]
    assert net.populations[0].bias.tolist() == [1.0, 0.0]


def test_branches_meet_before_a_pool() -> None:
    """Two convolutions added, then pooled: both chains go through the pool, and both biases."""
    nodes = {
        "a": conv(np.ones((1, 1, 1, 1)), bias=1.0),
        "b": conv(np.full((1, 1, 1, 1), 2.0), bias=2.0),
        "pool": pooled(nir.SumPool2d),
        "lif": lif(np.full((1, 2, 2), 0.5)),
    }
    graph = chain((1, 4, 4), **nodes)
    edges = [
        ("input", "a"),
        ("input", "b"),
        ("a", "pool"),
        ("b", "pool"),
        ("pool", "lif"),
        ("lif", "output"),
    ]
    net = load(edited(graph, edges))
    assert net.populations[0].bias.tolist() == [[[12.0, 12], [12, 12]]]
    assert sum(c.apply(np.ones((1, 4, 4))) for c in net.connections).tolist() == [
        [[12.0, 12], [12, 12]]
    ]


@pytest.mark.parametrize(
    ("value", "kernel", "expected"),
    [("same", (3, 5), (1, 2)), ("valid", (3, 5), (0, 0)), (b"same", (1, 1), (0, 0)),
     ((2, 1), (3, 3), (2, 1)), (2, (3, 3), (2, 2))],
)  # fmt: skip
def test_paddings(value: Any, kernel: tuple[int, int], expected: tuple[int, int]) -> None:
    node = conv(np.ones((1, 1, *kernel)))
    node.padding = value
    height, width = (7 + 2 * p - k + 1 for p, k in zip(expected, kernel, strict=True))
    net = load(chain((1, 7, 7), conv=node, lif=lif(np.full((1, height, width), 0.5))))
    assert net.connections[0].ops[0].padding == expected  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [(0, -1, (24,)), (1, -1, (2, 12)), (0, 1, (6, 4)), (-2, -1, (2, 12)), (1, 1, (2, 3, 4))],
)
def test_flattening(start: int, end: int, expected: tuple[int, ...]) -> None:
    node = nir.Flatten({"input": np.array([2, 3, 4])}, start, end)
    scale = nir.Scale(np.ones(expected))
    net = load(chain((2, 3, 4), flatten=node, scale=scale, lif=lif(np.full(expected, 0.5))))
    assert net.populations[0].shape == expected


# --- semantics -----------------------------------------------------------------------------------


def test_metadata_wins_over_the_caller(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="neurodeploy"):
        assert load(simple(semantics=SUBTRACT), ZERO).populations[0].semantics == SUBTRACT
        assert not caplog.records
        assert load(simple(semantics=None), HELD).populations[0].semantics == HELD
        assert "chosen by the caller" in caplog.text


def test_missing_semantics_are_not_guessed() -> None:
    with pytest.raises(SemanticsError, match=r"lif: .*does not say what a time step means"):
        load(simple(semantics=None))


@pytest.mark.parametrize("meaning", ["subtract", 3, []])
def test_malformed_semantics_are_not_replaced(meaning: Any) -> None:
    """A file that says something unreadable is not reinterpreted with the caller's choice."""
    graph = simple(metadata=to_metadata(semantics=meaning))
    with pytest.raises(NeurodeployError):
        load(graph, ZERO)


def test_semantics_of_a_newer_schema_are_refused() -> None:
    graph = simple(metadata={METADATA_KEY: '{"schema": 99}'})
    with pytest.raises(FileError, match=r"lif: .*schema 99"):
        load(graph, ZERO)


def test_the_network_carries_an_annotated_graph_and_leaves_the_original() -> None:
    graph = simple(semantics=None)
    graph.nodes["lif"].metadata = {"author": "someone"}
    net = load(graph, HELD)
    assert graph.nodes["lif"].metadata == {"author": "someone"}
    metadata = net.graph.nodes["lif"].metadata
    assert metadata["author"] == "someone"
    entries = from_metadata(metadata, node="lif")
    assert entries is not None
    assert Semantics.from_dict(entries["semantics"]) == HELD
    assert load(net.graph).populations[0].semantics == HELD, "now it says what it means"


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["tau", "r", "v_leak", "v_threshold", "v_reset"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_parameters_of_neurons_are_finite(field: str, bad: float) -> None:
    with pytest.raises(ModelError, match=f"lif: 1 of 2 values of {field} are not finite"):
        load(simple(**{field: np.array([1.0, bad])}))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tau": np.array([DT, 0.0])}, "tau is 0"),
        ({"tau": np.array([DT, -DT])}, "tau is -0.0001"),
        ({"tau": np.array([DT, DT / 2])}, "longer than tau"),
        ({"v_reset": np.array([0.0, 0.1])}, "v_reset is not 0"),
        ({"v_threshold": np.array([1.0, 0.0])}, "lowest threshold is 0"),
        ({"v_threshold": np.array([1.0, -1.0])}, "lowest threshold is -1"),
        ({"v_leak": np.zeros(3)}, r"v_leak has shape \(3,\), the layer \(2,\)"),
        ({"v_threshold": np.ones((2, 1))}, r"v_threshold has shape \(2, 1\)"),
        ({"tau": np.array(["a", "b"])}, "expected real numbers"),
        ({"r": np.array([1.0, 1j])}, "invalid|complex"),
    ],
)
def test_impossible_neurons(change: dict[str, Any], words: str) -> None:
    graph = simple()
    for name, value in change.items():  # past NIR's own checks, as a file may have it
        setattr(graph.nodes["lif"], name, value)
    with pytest.raises(ModelError, match=f"lif: .*({words})") as caught:
        load(graph)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "node", "shape", "words"),
    [
        ("fc", nir.Linear(np.array([[1.0, np.nan, 0]])), (3,), "1 of 3 values of weight"),
        ("fc", nir.Affine(ONES, np.array([0, np.inf])), (3,), "1 of 2 values of bias"),
        ("fc", nir.Affine(ONES, np.zeros(3)), (3,), r"bias has shape \(3,\), the layer \(2,\)"),
        ("fc", nir.Linear(ONES), (4,), r"weight \(2, 3\) does not fit an input of shape \(4,\)"),
        ("fc", nir.Linear(ONES), (1, 3), "Flatten the input first"),
        ("fc", nir.Linear(np.ones((2, 2, 3))), (3,), "does not fit"),
        ("c", conv(np.full((1, 1, 3, 3), np.nan)), (1, 5, 5), "9 of 9 values of weight"),
        ("c", conv(np.ones((1, 2, 3, 3))), (1, 5, 5), "does not fit 1 input channels"),
        ("c", conv(np.ones((1, 1, 3, 3))), (5, 5), "2-d convolution of weight"),
        ("c", conv(np.ones((1, 1, 7, 3))), (1, 5, 5), "does not fit|output would be empty"),
        ("c", conv(np.ones((2, 1, 3, 3)), groups=2), (1, 5, 5), "2 groups does not fit"),
        ("c", conv(np.ones((1, 1, 3, 3)), stride=0), (1, 5, 5), "stride >= 1"),
        ("c", conv(np.ones((1, 1, 3, 3)), padding=-1), (1, 5, 5), "padding >= 0"),
        (
            "c",
            conv(np.ones((1, 1, 3, 3)), input_shape=(5, 4)),
            (1, 5, 5),
            r"written for .*\(5, 4\)",
        ),
        ("c", conv(np.ones((1, 1, 3, 3)), padding="same", stride=2), (1, 5, 5), "stride 1"),
        ("c", conv(np.ones((1, 1, 3, 3)), dilation=(1, 1, 1)), (1, 5, 5), "invalid parameters"),
        ("p", pooled(nir.AvgPool2d, 0), (1, 4, 4), "must be positive"),
        ("p", pooled(nir.SumPool2d, 2, 0), (1, 4, 4), "must be positive"),
        ("p", pooled(nir.SumPool2d, 5), (1, 4, 4), "does not fit|output would be empty"),
        ("p", pooled(nir.SumPool2d), (4, 4), "2-d pooling"),
        ("s", nir.Scale(np.ones(3)), (2,), r"scale has shape \(3,\)"),
        ("s", nir.Scale(np.array([1.0, np.nan])), (2,), "1 of 2 values of scale"),
        ("f", nir.Flatten({"input": None}, 0, 3), (2, 2), r"cannot flatten axes 0..3"),
        ("f", nir.Flatten({"input": np.array([3])}, 0, 0), (2,), r"written for .*\(3,\)"),
        ("t", nir.Threshold(np.zeros(2)), (2,), "lowest threshold is 0"),
        ("c", conv1d(np.ones((1, 1, 2))), (1, 5, 5), "1-d convolution"),
        ("c", conv1d(np.ones((1, 1, 2)), input_shape=4), (1, 5), r"written for .*\(4,\)"),
        ("c", conv1d(np.ones((1, 1, 2)), stride=np.array([1, 2])), (1, 5), "invalid parameters"),
        ("d", nir.Delay(np.array([-1.0, 1])), (2,), "-1 s is not a whole number of steps"),
        ("d", nir.Delay(np.array([0, 1.5 * DT])), (2,), "is not a whole number of steps"),
        ("d", nir.Delay(np.array([0, 1e29])), (2,), "is not a whole number of steps"),
        ("d", nir.Delay(np.array([0, np.nan])), (2,), "1 of 2 values of delay"),
    ],
)
def test_impossible_layers(name: str, node: Any, shape: tuple[int, ...], words: str) -> None:
    graph = chain(shape, **{name: node}, lif=lif([0.5, 0.5]))
    with pytest.raises(ModelError, match=words) as caught:
        load(graph, ZERO)
    assert caught.value.node == name
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("edges", "words"),
    [
        ([("input", "fc"), ("fc", "lif"), ("lif", "nothing")], "'nothing', which does not exist"),
        ([("ghost", "fc"), ("fc", "lif"), ("lif", "output")], "'ghost', which does not exist"),
        ([("input", "fc"), ("fc", "lif"), ("fc", "lif"), ("lif", "output")], "there twice"),
        ([("input", "fc"), ("fc", "lif"), ("lif", "fc"), ("lif", "output")], "cycle through"),
        ([("input", "fc"), ("lif", "output")], "nothing is connected to its input"),
        ([("input", "fc"), ("fc", "lif")], "output"),
        ([("input", "fc"), ("fc", "output")], "nothing is connected to its input"),
        ([("input", "fc"), ("fc", "lif"), ("input", "output")], r"declared as \(2,\) and gets"),
        ([("input", "fc"), ("fc", "lif"), ("input", "lif"), ("lif", "output")],
         "different shapes meet"),
    ],
)  # fmt: skip
def test_impossible_graphs(edges: list[tuple[str, str]], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        load(edited(simple(), edges))


def test_an_unknown_padding_is_refused() -> None:
    node = conv(np.ones((1, 1, 3, 3)))
    node.padding = "wide"
    with pytest.raises(ModelError, match="conv: padding 'wide'"):
        load(chain((1, 5, 5), conv=node, lif=lif([0.5])))


def test_an_edge_out_of_an_output_is_refused() -> None:
    edges = [("input", "fc"), ("fc", "lif"), ("lif", "output"), ("output", "more")]
    with pytest.raises(ModelError, match="output"):
        load(edited(simple(), edges, more=nir.Linear(ONES)))


def test_an_edge_into_an_input_is_refused() -> None:
    edges = [("input", "fc"), ("fc", "lif"), ("lif", "output"), ("lif", "second")]
    with pytest.raises(ModelError, match="second"):
        load(edited(simple(), edges, second=nir.Input({"input": np.array([2])})))


def test_a_graph_without_neurons_is_refused() -> None:
    with pytest.raises(ModelError, match="fc: no neuron leads to it"):
        load(chain((3,), fc=nir.Linear(ONES)))


@pytest.mark.parametrize("shape", [[0], [2, -1], []])
def test_impossible_input_shapes(shape: list[int]) -> None:
    graph = simple()
    graph.nodes["input"] = nir.Input({"input": np.array(shape, int)})
    with pytest.raises(ModelError):
        load(graph)


@pytest.mark.parametrize(
    "graph",
    [
        chain((1 << 44,), fc=nir.Linear(ONES), lif=lif([0.5, 0.5])),
        chain((1, 4, 4), c=conv(np.ones((1, 1, 3, 3)), padding=1 << 22), lif=lif([0.5])),
        chain((1, 4, 4), p=pooled(nir.AvgPool2d, 2, 2, 1 << 22), lif=lif([0.5])),
    ],
    ids=["input", "convolution", "pool"],
)
def test_absurd_sizes_are_refused_before_memory_is_asked_for(graph: nir.NIRGraph) -> None:
    with pytest.raises(ModelError):
        load(graph)


# --- files ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("nir") / "valid.nir"
    graph = chain(
        (1, 6, 6),
        conv=conv(np.ones((2, 1, 3, 3)), input_shape=(6, 6)),
        lif1=lif(np.full((2, 4, 4), 0.75)),
        pool=pooled(nir.AvgPool2d),
        flatten=nir.Flatten({"input": np.array([2, 2, 2])}, 0, -1),
        fc=nir.Affine(np.ones((3, 8)), np.zeros(3)),
        lif2=lif(np.full(3, 0.5), semantics=SUBTRACT),
    )
    nir.write(path, graph)
    return path


def refused(path: Path) -> str:
    """The one line that `read` says about a bad file."""
    with pytest.raises(FileError) as caught:
        read(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text


def test_a_file_means_what_its_graph_meant(valid: Path) -> None:
    net = load(read(valid))
    assert [p.semantics for p in net.populations] == [ZERO, SUBTRACT]
    assert net.shapes == {"input": (1, 6, 6), "lif1": (2, 4, 4), "lif2": (3,)}
    assert net.outputs == ("lif2",)


def test_a_missing_file(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "absent.nir")
    assert "no such file" in refused(tmp_path)


@pytest.mark.parametrize("content", [b"", b"hello\n", b"\x89HDF\r\n\x1a\n", bytes(4096)])
def test_a_file_that_is_not_hdf5(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.nir"
    path.write_bytes(content)
    assert "not a complete HDF5 file" in refused(path)


@settings(max_examples=60)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file(
    share: float, valid: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = valid.read_bytes()
    path = tmp_path_factory.mktemp("cut") / "cut.nir"
    path.write_bytes(data[: int(share * len(data))])
    assert "not a complete HDF5 file" in refused(path)


def linked_outside(file: h5py.File) -> None:
    file["node"]["nodes"]["fc"]["more"] = h5py.ExternalLink("/etc/passwd", "/")


def linked_inside(file: h5py.File) -> None:
    file["node"]["nodes"]["fc"]["more"] = h5py.SoftLink("/node")


def kept_outside(file: h5py.File) -> None:
    file.create_dataset("x", (8,), "u1", external=[("/etc/hostname", 0, 8)])


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((8,), "u1")
    layout[:] = h5py.VirtualSource("/etc/hostname", "x", (8,))
    file.create_virtual_dataset("x", layout)


def bomb(file: h5py.File) -> None:
    file.create_dataset("x", (1 << 34,), "f8", chunks=(1 << 16,), compression="gzip")


def many_bombs(file: h5py.File) -> None:
    for index in range(40):
        file.create_dataset(f"x{index}", (1 << 22,), "f8", chunks=(1 << 16,), compression="gzip")


def cyclic(file: h5py.File) -> None:
    file["node"]["again"] = file["node"]


def strange_type(file: h5py.File) -> None:
    space = h5py.h5s.create_simple((4,))
    h5py.h5d.create(file.id, b"x", h5py.h5t.UNIX_D32LE, space)


def committed_type(file: h5py.File) -> None:
    file["x"] = np.dtype("f8")


@pytest.mark.parametrize(
    "harm",
    [linked_outside, linked_inside, kept_outside, virtual, bomb, many_bombs, cyclic, strange_type,
     committed_type],
)  # fmt: skip
def test_a_file_that_reaches_outside_or_declares_too_much(
    harm: Callable[[h5py.File], None],
    valid: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hdf5, "MAX_OBJECTS", 2000)
    path = tmp_path / "harm.nir"
    path.write_bytes(valid.read_bytes())
    read(path)
    with h5py.File(path, "a") as file:
        harm(file)
    refused(path)


def renamed(file: h5py.File) -> None:
    file.move("node", "graph")


def unknown_node(file: h5py.File) -> None:
    del file["node/nodes/fc/type"]
    file["node/nodes/fc/type"] = "Magic"


def no_weight(file: h5py.File) -> None:
    del file["node/nodes/fc/weight"]


def no_type(file: h5py.File) -> None:
    del file["node/nodes/fc/type"]


def only_a_node(file: h5py.File) -> None:
    node = file["node/nodes/fc"]
    file.copy(node, "copy")
    del file["node"]
    file.move("copy", "node")


@pytest.mark.parametrize("harm", [renamed, unknown_node, no_weight, no_type, only_a_node])
def test_an_hdf5_file_that_is_not_a_nir_graph(
    harm: Callable[[h5py.File], None], valid: Path, tmp_path: Path
) -> None:
    path = tmp_path / "harm.nir"
    path.write_bytes(valid.read_bytes())
    with h5py.File(path, "a") as file:
        harm(file)
    refused(path)
