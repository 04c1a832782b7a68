"""Stateless layers of torch: what the NIR graph delivers to the next neurons, against torch itself.

Weights, statistics and inputs are small multiples of powers of two, so sums are exact in any order
and the numbers must be equal, but where a window is divided by another count than a power of two.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
snn = pytest.importorskip("snntorch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from neurodeploy import api  # noqa: E402
from neurodeploy.frontends import nir as nir_frontend  # noqa: E402
from neurodeploy.frontends.snntorch import from_snntorch, reference_spikes  # noqa: E402
from neurodeploy.reference import simulate  # noqa: E402
from neurodeploy.semantics import Semantics, from_metadata  # noqa: E402
from tests.nir_torch import one_step  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
BATCH = 3


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(5)


def hidden(beta: Any = 0.5, **options: Any) -> Any:
    return snn.Leaky(beta, init_hidden=True, **options)


class Model(nn.Module):
    """`function` between an input, or the spikes of `first`, and the neurons `last`."""

    def __init__(self, function: Callable[[Any, Any], Any], parts: dict[str, Any], spikes: bool):
        super().__init__()
        self.function, self.spikes = function, spikes
        self.first, self.last = hidden(), hidden()
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Any) -> Any:
        return self.last(self.function(self, self.first(x) if self.spikes else x))


def dyadic(*shape: int) -> Any:
    """Multiples of 1/8 between -2 and 2."""
    return torch.randint(-16, 17, shape) / 8.0


def binary(*shape: int) -> Any:
    return (torch.rand(shape) < 0.3).float()


def exact(module: Any) -> Any:
    """The module with dyadic weights, and batch norms that have only powers of two to divide by."""
    for part in module.modules():
        if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)):
            part.eps = 0.0
            part.running_mean.copy_(dyadic(*part.running_mean.shape))
            part.running_var.copy_(4.0 ** torch.randint(-1, 2, part.running_var.shape))
    for parameter in module.parameters():
        parameter.data.copy_(dyadic(*parameter.shape))
    return module.eval()


def delivered(graph: Any, x: Any) -> Any:
    """What the last neurons receive; `first` sends x on, which are its spikes."""
    sources = {name: [a for a, b in graph.edges if b == name] for name in graph.nodes}
    same = {name: lambda current: current for name in ("first", "last") if name in graph.nodes}
    return one_step(graph, x, sources, same)["last"]


def again(graph: Any) -> Any:
    """The graph written to a file and read by neurodeploy."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.nir"
        nir.write(path, graph)
        return nir_frontend.read(path)


def check(
    function: Callable[[Any, Any], Any],
    x: Any,
    *,
    spikes: bool = False,
    close: bool = False,
    **parts: Any,
) -> Any:
    """Check that the graph of a model computes `function`, also from a file; the graph's nodes."""
    model = exact(Model(function, parts, spikes))
    graph = from_snntorch(model, x)
    with torch.no_grad():
        expected = function(model, x)
    for version in (graph, again(graph)):
        found = delivered(version, x)
        assert found.shape == expected.shape
        if close:
            torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
        else:
            assert torch.equal(found, expected)
    for a, b in graph.edges:
        out, into = graph.nodes[a].output_type["output"], graph.nodes[b].input_type["input"]
        assert tuple(out) == tuple(into), (a, b)
    api.load(graph)  # which checks all shapes as well
    return graph.nodes


def check_module(layer: Any, x: Any, **options: Any) -> Any:
    return check(lambda m, x: m.layer(x), x, layer=layer, **options)


def fits(layer: Any, x: Any) -> bool:
    """Whether the layer delivers something, and no window of maxima lies in the padding."""
    try:
        out = layer(x)
    except RuntimeError:
        return False
    return bool(out.numel()) and bool(out.isfinite().all())


# Convolutions


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[Any, Any]:
    """A convolution of one or two axes and an input for it."""
    axes, groups = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    several = st.tuples(*[st.integers(1, 4)] * axes)
    kernel, dilation = draw(several), draw(st.tuples(*[st.integers(1, 3)] * axes))
    shape = (BATCH, 2 * groups, *draw(st.tuples(*[st.integers(1, 9)] * axes)))
    transposed = draw(st.booleans())
    options: dict[str, Any] = {"bias": draw(st.booleans()), "dilation": dilation, "groups": groups}
    if transposed:
        options["padding"] = draw(st.tuples(*[st.integers(0, 4)] * axes))
        options["output_padding"] = tuple(draw(st.integers(0, d - 1)) for d in dilation)
    else:
        options["padding"] = draw(
            st.one_of(st.tuples(*[st.integers(0, 3)] * axes), st.sampled_from(["same", "valid"]))
        )
        if options["padding"] != "same":
            options["stride"] = draw(st.tuples(*[st.integers(1, 3)] * axes))
    kinds = [[nn.Conv1d, nn.Conv2d], [nn.ConvTranspose1d, nn.ConvTranspose2d]]
    return kinds[transposed][axes - 1](2 * groups, 4 * groups, kernel, **options), dyadic(*shape)


@given(convolutions())
def test_convolutions_of_every_geometry(case: tuple[Any, Any]) -> None:
    """Also transposed ones of stride 1, and even kernels with padding 'same'."""
    layer, x = case
    assume(fits(layer, x))
    (node,) = [n for name, n in check_module(layer, x).items() if name == "layer"]
    assert type(node) is (nir.Conv1d if x.dim() == 3 else nir.Conv2d)
    assert not isinstance(node.padding, str)


def test_a_symmetric_convolution_keeps_its_kernel() -> None:
    layer = nn.Conv2d(2, 4, (3, 5), dilation=(2, 1), padding="same")
    node = check_module(layer, dyadic(BATCH, 2, 6, 7))["layer"]
    assert node.weight.shape == (4, 2, 3, 5)
    assert (node.padding, node.dilation) == ((2, 2), (2, 1))
    assert node.weight.dtype == node.bias.dtype == np.float32


# Pooling


@st.composite
def poolings(draw: st.DrawFn) -> tuple[Any, Any]:
    """An average, sum or maximum pooling and an input for it."""
    axes = draw(st.integers(1, 2))
    kind = draw(st.sampled_from(["AvgPool", "LPPool", "MaxPool"]))
    kernel = draw(st.tuples(*[st.integers(1, 4)] * axes))
    options: dict[str, Any] = {
        "stride": draw(st.none() | st.tuples(*[st.integers(1, 4)] * axes)),
        "ceil_mode": draw(st.booleans()),
    }
    if kind != "LPPool":
        options["padding"] = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    if kind == "MaxPool":
        options["dilation"] = draw(st.tuples(*[st.integers(1, 3)] * axes))
    if kind == "AvgPool":
        options["count_include_pad"] = draw(st.booleans())
        if axes == 2:
            options["divisor_override"] = draw(st.none() | st.integers(1, 5))
    arguments = (1, kernel) if kind == "LPPool" else (kernel,)
    if axes == 1:
        flat = [*arguments[:-1], kernel[0]]
        options = {k: v[0] if isinstance(v, tuple) else v for k, v in options.items()}
        layer = getattr(nn, f"{kind}1d")(*flat, **options)
    else:
        layer = getattr(nn, f"{kind}2d")(*arguments, **options)
    shape = (BATCH, 2, *draw(st.tuples(*[st.integers(1, 9)] * axes)))
    return layer, binary(*shape) if kind == "MaxPool" else dyadic(*shape)


@given(poolings())
def test_poolings_of_every_geometry(case: tuple[Any, Any]) -> None:
    layer, x = case
    assume(fits(layer, x))
    of_spikes = isinstance(layer, (nn.MaxPool1d, nn.MaxPool2d))
    check_module(layer, x, spikes=of_spikes, close=not of_spikes)


POOLS: dict[str, tuple[Any, list[tuple[str, type]]]] = {
    "plain": (nn.AvgPool2d((4, 2), 2, (1, 0)), [("layer", nir.AvgPool2d)]),
    "ceil_mode that changes nothing": (nn.AvgPool2d(2, ceil_mode=True), [("layer", nir.AvgPool2d)]),
    "no padding to count": (nn.AvgPool2d(4, count_include_pad=False), [("layer", nir.AvgPool2d)]),
    "divisor": (
        nn.AvgPool2d(4, 2, 1, divisor_override=8),
        [("layer.sum", nir.SumPool2d), ("layer", nir.Scale)],
    ),
    "padding not counted": (
        nn.AvgPool2d(2, padding=1, count_include_pad=False),
        [("layer.sum", nir.SumPool2d), ("layer", nir.Scale)],
    ),
    "ceil_mode": (
        nn.AvgPool2d(4, 3, ceil_mode=True),
        [("layer.sum", nir.Conv2d), ("layer", nir.Scale)],
    ),
    "sum": (nn.LPPool2d(1, 3, 2), [("layer", nir.SumPool2d)]),
    "adaptive": (nn.AdaptiveAvgPool2d((2, None)), [("layer", nir.AvgPool2d)]),
    "divisor of one": (nn.AvgPool2d(3, divisor_override=1), [("layer", nir.SumPool2d)]),
}


@pytest.mark.parametrize("name", POOLS)
def test_pooling_takes_the_plainest_nodes(name: str) -> None:
    layer, nodes = POOLS[name]
    found = check_module(layer, dyadic(BATCH, 2, 8, 8))
    assert [(n, type(node)) for n, node in found.items()][1:-2] == nodes


def test_pooling_of_series() -> None:
    x = dyadic(BATCH, 3, 8)
    nodes = check_module(nn.AvgPool1d(4, 2), x)
    assert [type(nodes[n]) for n in ("layer.sum", "layer")] == [nir.Conv1d, nir.Scale]
    assert (nodes["layer.sum"].groups, nodes["layer.sum"].weight.shape) == (3, (3, 1, 4))
    np.testing.assert_array_equal(nodes["layer"].scale, np.full((3, 3), 0.25))
    check_module(nn.AdaptiveAvgPool1d(2), x)
    nodes = check_module(nn.LPPool1d(1.0, 2), x)
    assert type(nodes["layer"]) is nir.Conv1d


def test_max_pooling_is_a_population() -> None:
    nodes = check_module(nn.MaxPool2d(2), binary(BATCH, 2, 4, 6), spikes=True)
    assert [type(nodes[n]) for n in ("layer.sum", "layer")] == [nir.SumPool2d, nir.Threshold]
    assert nodes["layer"].threshold.shape == (2, 2, 3)
    assert (nodes["layer"].threshold == 0.5).all()
    entries = from_metadata(nodes["layer"].metadata, node="layer")
    assert entries == {
        "schema": 1,
        "semantics": Semantics(dt=1e-4, reset="none", rounding="float32").to_dict(),
        "dtype": "float32",
        "module": "layer",
    }


# Batch norms


def test_batch_norms_are_folded_into_every_layer_with_weights() -> None:
    x = dyadic(BATCH, 2, 6)
    parts = {"layer": nn.Conv1d(2, 4, 3, bias=False), "norm": nn.BatchNorm1d(4)}
    nodes = check(lambda m, x: m.norm(m.layer(x)), x, **parts)
    assert list(nodes) == ["input", "layer", "last", "output"]
    parts = {"layer": nn.ConvTranspose1d(2, 4, 3), "norm": nn.BatchNorm1d(4, affine=False)}
    assert "norm" not in check(lambda m, x: m.norm(m.layer(x)), x, **parts)
    parts = {"layer": nn.Linear(6, 5), "norm": nn.BatchNorm1d(2)}
    assert "norm" not in check(lambda m, x: m.norm(m.layer(x)), x, **parts)  # rows are channels
    parts = {"layer": nn.Linear(6, 5), "norm": nn.BatchNorm1d(5), "more": nn.BatchNorm1d(5)}
    nodes = check(lambda m, x: m.more(m.norm(m.layer(x))), dyadic(BATCH, 6), **parts)
    assert list(nodes) == ["input", "layer", "last", "output"]


def test_a_batch_norm_before_pooling_is_folded() -> None:
    parts = {"conv": nn.Conv2d(2, 4, 3), "norm": nn.BatchNorm2d(4), "pool": nn.AvgPool2d(2)}
    nodes = check(
        lambda m, x: m.pool(m.norm(m.conv(x))).flatten(1), dyadic(BATCH, 2, 6, 6), **parts
    )
    assert list(nodes) == ["input", "conv", "pool", "flatten", "last", "output"]


@pytest.mark.parametrize("spikes", [False, True])
@pytest.mark.parametrize(
    ("layer", "shape", "kind"),
    [
        (nn.BatchNorm2d(3), (3, 4, 5), nir.Conv2d),
        (nn.BatchNorm1d(3), (3, 4), nir.Conv1d),
        (nn.BatchNorm1d(7), (7,), nir.Affine),
    ],
)
def test_batch_norms_alone(layer: Any, shape: tuple[int, ...], kind: type, spikes: bool) -> None:
    """On the input and on spikes."""
    node = check_module(layer, binary(BATCH, *shape), spikes=spikes)["layer"]
    assert type(node) is kind
    assert node.weight.dtype == node.bias.dtype == np.float64
    assert kind is nir.Affine or node.groups == 3


def test_a_batch_norm_after_pooling_stands_alone() -> None:
    parts = {"conv": nn.Conv2d(2, 4, 3), "pool": nn.AvgPool2d(2), "norm": nn.BatchNorm2d(4)}
    nodes = check(lambda m, x: m.norm(m.pool(m.conv(x))), dyadic(BATCH, 2, 6, 6), **parts)
    assert list(nodes) == ["input", "conv", "pool", "norm", "last", "output"]


# Rows, shapes, and what does nothing


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("rows", [(), (3,), (2, 3)])
def test_linear_of_rows_has_a_matrix_for_each(rows: tuple[int, ...], bias: bool) -> None:
    node = check_module(nn.Linear(4, 5, bias=bias), dyadic(BATCH, *rows, 4))["layer"]
    assert type(node) is (nir.Affine if bias else nir.Linear)
    assert node.weight.shape == (*rows, 5, 4)
    assert not bias or node.bias.shape == (*rows, 5)


FLATTENINGS: dict[str, tuple[Callable[[Any, Any], Any], tuple[int, int]]] = {
    "module, all": (nn.Flatten(), (0, -1)),
    "module, last": (nn.Flatten(2), (1, -1)),
    "module, first": (nn.Flatten(1, 2), (0, 1)),
    "module, from behind": (nn.Flatten(1, -2), (0, 1)),
    "x.flatten(2)": (lambda x: x.flatten(2), (1, -1)),
    "x.flatten(-3, -2)": (lambda x: x.flatten(-3, -2), (0, 1)),
    "torch.flatten": (lambda x: torch.flatten(x, start_dim=1, end_dim=2), (0, 1)),
    "reshape": (lambda x: x.reshape(len(x), 4, -1), (1, -1)),
    "view": (lambda x: x.view(-1, 8, 3), (0, 1)),
}


@pytest.mark.parametrize("name", FLATTENINGS)
def test_every_flattening(name: str) -> None:
    flatten, axes = FLATTENINGS[name]
    nodes = check(lambda m, x: flatten(x), dyadic(BATCH, 4, 2, 3), spikes=True)
    (node,) = [node for node in nodes.values() if isinstance(node, nir.Flatten)]
    assert (node.start_dim, node.end_dim) == axes


@pytest.mark.parametrize("squeeze", [lambda x: x.squeeze(2), lambda x: x.squeeze()])
def test_squeezing_is_flattening(squeeze: Any) -> None:
    nodes = check(lambda m, x: squeeze(x), dyadic(BATCH, 4, 1, 3), spikes=True)
    assert list(nodes) == ["input", "first", "flatten", "last", "output"]


@pytest.mark.parametrize(
    "layer",
    [
        nn.Identity(),
        nn.Dropout(0.9),
        nn.Dropout1d(0.9),
        nn.AlphaDropout(0.9),
        nn.FeatureAlphaDropout(0.9),
        nn.Sequential(nn.Dropout(), nn.Sequential(nn.Identity(), nn.Dropout(inplace=True))),
    ],
)
def test_layers_that_do_nothing_leave_no_node(layer: Any) -> None:
    assert list(check_module(layer, dyadic(BATCH, 2, 3))) == ["input", "last", "output"]


@pytest.mark.parametrize("layer", [nn.Dropout2d(0.9), nn.Dropout3d(0.9)])
def test_dropouts_of_feature_maps_leave_no_node(layer: Any) -> None:
    assert list(check_module(layer, dyadic(BATCH, 2, 2, 2, 2)[..., 0])) == [
        "input", "last", "output"
    ]  # fmt: skip


# Functions and arithmetic in forward


def parts_of(*shape: int) -> dict[str, Any]:
    weight = nn.Parameter(torch.empty(shape))
    return {"weight": weight, "bias": nn.Parameter(torch.empty(shape[0]))}


FUNCTIONS: dict[str, tuple[Callable[[Any, Any], Any], tuple[int, ...], dict[str, Any], list[str]]]
FUNCTIONS = {
    "linear": (lambda m, x: F.linear(x, m.weight, m.bias), (6,), parts_of(4, 6), ["linear"]),
    "linear of a module": (
        lambda m, x: F.linear(input=x, weight=m.fc.weight),
        (6,),
        {"fc": nn.Linear(6, 4)},
        ["linear"],
    ),
    "conv1d": (
        lambda m, x: F.conv1d(x, m.weight, None, 2, 1),
        (2, 9),
        parts_of(4, 2, 3),
        ["conv1d"],
    ),
    "conv2d": (
        lambda m, x: F.conv2d(x, m.weight, m.bias, 1, "same", groups=2),
        (4, 5, 5),
        parts_of(4, 2, 2, 3),
        ["conv2d"],
    ),
    "conv_transpose1d": (
        lambda m, x: F.conv_transpose1d(x, m.weight, padding=1),
        (4, 5),
        parts_of(4, 2, 3),
        ["conv_transpose1d"],
    ),
    "avg_pool1d": (
        lambda m, x: F.avg_pool1d(x, 4, 2, 1),
        (2, 8),
        {},
        ["avg_pool1d.sum", "avg_pool1d"],
    ),
    "avg_pool2d": (lambda m, x: F.avg_pool2d(x, 2), (2, 4, 4), {}, ["avg_pool2d"]),
    "lp_pool2d": (lambda m, x: F.lp_pool2d(x, 1, 2), (2, 4, 4), {}, ["lp_pool2d"]),
    "adaptive": (lambda m, x: F.adaptive_avg_pool2d(x, 1), (2, 4, 4), {}, ["adaptive_avg_pool2d"]),
    "flatten": (lambda m, x: torch.flatten(x, 1), (2, 4), {}, ["flatten"]),
    "dropouts": (
        lambda m, x: F.dropout2d(F.dropout(x, 0.5, m.training), training=False),
        (2, 4, 4),
        {},
        [],
    ),
    "batch_norm": (
        lambda m, x: F.batch_norm(
            m.fc(x), m.norm.running_mean, m.norm.running_var, m.norm.weight, m.norm.bias, eps=0
        ),
        (6,),
        {"fc": nn.Linear(6, 4), "norm": nn.BatchNorm1d(4)},
        ["fc"],
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_layers(name: str) -> None:
    function, shape, parts, names = FUNCTIONS[name]
    nodes = check(function, dyadic(BATCH, *shape), **parts)
    assert list(nodes) == ["input", *names, "last", "output"]


@pytest.mark.parametrize("pool", [F.max_pool2d, torch.max_pool2d])
def test_max_pooling_as_a_function(pool: Any) -> None:
    """A population as well, but of no module that could be watched."""
    nodes = check(lambda m, x: pool(x, 3, 2, 1), binary(BATCH, 2, 5, 5), spikes=True)
    assert list(nodes) == ["input", "first", "max_pool2d.sum", "max_pool2d", "last", "output"]
    entries = from_metadata(nodes["max_pool2d"].metadata, node="max_pool2d")
    assert entries is not None
    assert "module" not in entries


def in_place(m: Any, x: Any) -> Any:
    y = m.fc(x)
    y -= m.bias
    y *= 2
    y /= 8
    return y


def averaged(m: Any, x: Any) -> Any:
    return (m.fc(x) + m.other(x)) / 2


ARITHMETIC: dict[str, tuple[Callable[[Any, Any], Any], list[str]]] = {
    "times a number": (lambda m, x: m.fc(x) * 0.5, ["fc", "scale"]),
    "a number times": (lambda m, x: 3 * x, ["scale"]),
    "times one": (lambda m, x: x * 1.0, []),
    "over a number": (lambda m, x: x / 4, ["scale"]),
    "times a parameter": (lambda m, x: m.bias * m.fc(x), ["fc", "scale"]),
    "times a constant": (lambda m, x: x * torch.tensor([[0.5] * 6]), ["scale"]),
    "times the same for all samples": (lambda m, x: x * torch.full((BATCH, 6), 0.5), ["scale"]),
    "minus": (lambda m, x: -x, ["scale"]),
    "a difference": (lambda m, x: m.fc(x) - m.other(x), ["fc", "other", "scale"]),
    "a difference of sums": (lambda m, x: m.fc(x) - (x + m.other(x)), ["fc", "other", "scale"]),
    "rsub": (lambda m, x: torch.rsub(m.fc(x), m.other(x)), ["other", "fc", "scale"]),
    "twice": (lambda m, x: x + x, ["scale"]),
    "twice in a sum": (lambda m, x: x + m.fc(x) + x, ["scale", "fc"]),
    "thrice, twice": (lambda m, x: torch.add(x, x) + x, ["scale"]),
    "plus a number": (lambda m, x: m.fc(x) + 0.5, ["fc"]),
    "plus nothing": (lambda m, x: sum([x, m.fc(x)]), ["fc"]),
    "a parameter plus": (lambda m, x: m.bias + m.fc(x), ["fc"]),
    "minus a parameter": (lambda m, x: torch.sub(m.fc(x), m.bias), ["fc"]),
    "a number minus": (lambda m, x: 1 - m.fc(x), ["fc", "scale"]),
    "named operands": (lambda m, x: torch.sub(other=m.bias, input=m.fc(x)), ["fc"]),
    "normed and shifted": (lambda m, x: m.norm(m.fc(x)) + 1 + m.bias, ["fc"]),
    "norm alone, shifted": (lambda m, x: m.norm(x) + m.bias, ["norm"]),
    "averaged": (averaged, ["fc", "other", "scale"]),
    "in place": (in_place, ["fc", "scale", "scale_2"]),
}


@pytest.mark.parametrize("name", ARITHMETIC)
def test_arithmetic(name: str) -> None:
    function, names = ARITHMETIC[name]
    parts = {"fc": nn.Linear(6, 6), "other": nn.Linear(6, 6, bias=False), "norm": nn.BatchNorm1d(6)}
    bias = nn.Parameter(torch.empty(6))
    nodes = check(function, dyadic(BATCH, 6), bias=bias, **parts)
    assert list(nodes) == ["input", *names, "last", "output"]


def test_constants_of_channels_go_into_the_bias_of_a_convolution() -> None:
    parts = {"conv": nn.Conv2d(2, 3, 2, bias=False), "shift": nn.Parameter(torch.empty(3, 1, 1))}
    nodes = check(lambda m, x: m.conv(x) + m.shift - 0.5, dyadic(BATCH, 2, 4, 4), **parts)
    assert list(nodes) == ["input", "conv", "last", "output"]
    assert nodes["conv"].bias.dtype == np.float64


@pytest.mark.parametrize("factor", [0.1, torch.tensor(0.1, dtype=torch.float64), np.float64(0.1)])
def test_a_factor_is_rounded_as_torch_computes(factor: Any) -> None:
    nodes = check(lambda m, x: x * factor, dyadic(BATCH, 6))
    np.testing.assert_array_equal(nodes["scale"].scale, np.full(6, np.float64(np.float32(0.1))))


# Whole models, spike by spike


class Tutorial(nn.Module):
    """A convolutional network as tutorials write it, pooling after the neurons."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.lif1 = nn.Conv2d(1, 4, 4, padding="same"), snn.Leaky(0.5)
        self.conv2, self.lif2 = nn.Conv2d(4, 4, 2), snn.Leaky(0.75)
        self.norm, self.pool = nn.BatchNorm2d(4), nn.MaxPool2d(2, ceil_mode=True)
        self.fc, self.lif3 = nn.Linear(16, 5), snn.Leaky(0.5)

    def forward(self, x: Any) -> Any:
        mem1, mem2, mem3 = self.lif1.init_leaky(), self.lif2.init_leaky(), self.lif3.init_leaky()
        out = []
        for step in range(x.size(0)):
            spk1, mem1 = self.lif1(self.conv1(x[step]) * 0.5, mem1)
            pooled = F.dropout(self.pool(spk1), training=self.training)
            spk2, mem2 = self.lif2(self.norm(self.conv2(F.avg_pool2d(pooled, 2, 1))), mem2)
            spk3, mem3 = self.lif3(self.fc(spk2.flatten(1)) - 0.25, mem3)
            out.append(spk3)
        return torch.stack(out)


class Pooled(nn.Module):
    """One pooling module for two layers, and one of pooled spikes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.lif1 = nn.Conv1d(2, 4, 3), hidden(0.75)
        self.conv2, self.lif2 = nn.Conv1d(4, 4, 2), hidden()
        self.pool, self.top = nn.MaxPool1d(2), nn.MaxPool1d(3, 1, 1)
        self.fc, self.lif3 = nn.Linear(2, 3), hidden()

    def forward(self, x: Any) -> Any:
        spikes = self.pool(self.lif1(self.conv1(x)))
        spikes = self.top(self.pool(self.lif2(self.conv2(spikes))))
        return self.lif3(self.fc(spikes).flatten(1))


class Rows(nn.Module):
    """Linear layers along rows, a residual difference, averages of series."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.norm, self.lif1 = nn.Linear(8, 8), nn.BatchNorm1d(3), hidden(0.75)
        self.fc2, self.lif2 = nn.Linear(8, 8, bias=False), hidden()
        self.pool, self.fc3, self.lif3 = nn.AvgPool1d(2), nn.Linear(12, 4), hidden()

    def forward(self, x: Any) -> Any:
        first = self.lif1(self.norm(self.fc1(x)))
        second = self.lif2(first - self.fc2(first) / 2)
        return self.lif3(self.fc3(self.pool(second + first).flatten(1)))


MODELS: dict[str, tuple[Callable[[], Any], tuple[int, ...], int, list[str]]] = {
    "tutorial": (Tutorial, (1, 7, 7), 1, ["lif1", "lif2", "lif3", "pool"]),
    "pooled": (Pooled, (2, 12), 0, ["lif1", "lif2", "lif3", "top"]),
    "rows": (Rows, (3, 8), 0, ["lif1", "lif2", "lif3"]),
}


@pytest.mark.parametrize("name", MODELS)
def test_models_spike_by_spike(name: str) -> None:
    """snnTorch, and the graph from a file run by the reference in float32: no difference."""
    build, shape, loop, watched = MODELS[name]
    model, steps = exact(build()), 30
    inputs = (binary(8, steps, *shape) + binary(8, steps, *shape)).numpy()
    sample = torch.from_numpy(inputs[:BATCH, 0])
    graph = from_snntorch(model, torch.stack([sample] * steps) if loop else sample)
    expected = reference_spikes(model, inputs, graph)
    assert sorted(expected) == watched
    network = api.load(again(graph))
    found = simulate(network, inputs, rounded=True)
    for population in network.populations:
        spikes = found.spikes[population.name]
        assert 0.02 < spikes.mean() < 0.98, population.name
        if population.name in expected:
            np.testing.assert_array_equal(
                spikes, expected[population.name], err_msg=population.name
            )
