"""lava-dl in: what a `.net` file means, what is refused, and files that are not what they say."""

from __future__ import annotations

import contextlib
import copy
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neurodeploy as nd
from neurodeploy import reference
from neurodeploy.errors import FileError, InputError, ModelError, NeurodeployError
from neurodeploy.frontends.lava_dl import read_net
from neurodeploy.frontends.nir import load
from neurodeploy.network import Network
from tests import net_files
from tests.builders import spikes_for
from tests.net_files import Layer, conv, cuba, dense, flatten, pool, source

RNG = np.random.default_rng(0)
KERNEL = 2 * RNG.integers(-20, 21, (4, 2, 3, 2))
MATRIX = 2 * RNG.integers(-20, 21, (5, 3))


def network(folder: Path, *layers: Layer) -> Network:
    return load(read_net(net_files.write(folder / "x.net", *layers)))


# --- meaning -------------------------------------------------------------------------------------


def test_a_dense_layer(tmp_path: Path) -> None:
    bias = np.array([2, -4, 0, 6, 8])
    net = network(tmp_path, dense(MATRIX, cuba(80, 4096, 1024), bias=bias.astype(np.float32)))
    (population,) = net.populations
    assert (population.name, net.shapes["input"], net.outputs) == ("layer0", (3,), ("layer0",))
    assert np.all(population.decay == 0.75)
    assert not np.any(population.current_decay)
    assert np.all(population.threshold == 80)
    assert np.array_equal(population.bias, bias)
    assert population.leak is None
    meaning = population.semantics
    assert (meaning.reset, meaning.reset_timing, meaning.comparison) == ("zero", "immediate", ">")
    (connection,) = net.connections
    assert np.array_equal(connection.apply(np.eye(3)), MATRIX.T)


def test_every_decay_comes_back_exactly(tmp_path: Path) -> None:
    decays = np.arange(4097)
    for i_decay, v_decay in ((decays, 7), (4096, decays), (decays, decays[::-1].copy())):
        net = network(tmp_path, dense(np.zeros((4097, 1)), cuba(1, i_decay, v_decay)))
        (population,) = net.populations
        assert np.array_equal(4096 * (1 - population.current_decay), decays * 0 + i_decay)
        assert np.array_equal(4096 * (1 - population.decay), decays * 0 + v_decay)
        one = next(iter(net.connections)).apply(np.ones(1))
        assert not np.any(one)  # gains are finite even where a time constant is endless


@given(st.integers(-4096, 4095), st.integers(0, 4095), st.integers(0, 4096))
def test_a_filtered_bias_comes_back_exactly(bias: int, i_decay: int, v_decay: int) -> None:
    from neurodeploy.frontends.lava_dl_neurons import Cuba

    values = (np.array([n]) for n in (i_decay, v_decay))
    node = Cuba(*values, np.ones(1), spiking=True).node((2,), np.array([bias]), "layer/0")
    nodes = {"input": nir.Input({"input": np.array([2])}), "n": node}
    nodes["output"] = nir.Output({"output": np.array([2])})
    nodes["w"] = nir.Linear(np.eye(2))
    edges = [("input", "w"), ("w", "n"), ("n", "output")]
    (population,) = load(nir.NIRGraph(nodes, edges, type_check=False)).populations
    leak = np.zeros(2) if population.leak is None else population.leak
    assert leak.tolist() == [bias, bias]
    assert population.bias.tolist() == [0, 0]


def test_parameters_per_channel(tmp_path: Path) -> None:
    each = cuba(np.array([1, 2, 3, 4]), np.array([4096, 1, 2, 3]), np.array([5, 6, 7, 0]))
    net = network(
        tmp_path,
        source(2, 5, 4),
        conv(KERNEL, (4, 3, 3), each, bias=np.array([0.0, 2.0, 4.0, -6.0])),
    )
    (population,) = net.populations
    assert np.all(population.threshold == np.array([1, 2, 3, 4])[:, None, None])
    assert np.all(4096 * (1 - population.decay) == np.array([5, 6, 7, 0])[:, None, None])
    assert population.leak is not None
    assert np.all(population.leak == np.array([0, 2, 4, -6])[:, None, None])


def test_the_exponent_of_a_norm_raises_the_threshold(tmp_path: Path) -> None:
    """WgtScaleBatchNorm: v gets (current + bias)/2^e."""
    for exponent, threshold in ((2, 320), (-3, 10), (0, 80)):
        neuron = cuba(weight_exp=np.array([exponent], np.float32))
        (population,) = network(tmp_path, dense(MATRIX, neuron)).populations
        assert np.all(population.threshold == threshold)


def test_weights_may_be_flat(tmp_path: Path) -> None:
    layer = dense(MATRIX, cuba())
    layer["weight"] = layer["weight"].reshape(-1)
    (connection,) = network(tmp_path, layer).connections
    assert np.array_equal(connection.apply(np.eye(3)), MATRIX.T)


def test_layers_are_ordered_by_number(tmp_path: Path) -> None:
    sizes = [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 2]
    chain = [dense(np.eye(b, a), cuba()) for a, b in pairwise(sizes)]
    net = network(tmp_path, *chain)
    assert [p.shape[0] for p in net.populations] == sizes[1:]
    assert net.outputs == ("layer10",)


def test_flatten_is_c_order(tmp_path: Path) -> None:
    layers = (source(2, 2, 3), flatten(12), dense(np.arange(12)[None], cuba(5)))
    (connection,) = network(tmp_path, *layers).connections
    one = np.zeros((2, 2, 3))
    one[1, 0, 2] = 1
    assert connection.apply(one).tolist() == [8]


def test_a_convolution_correlates_as_torch_does(tmp_path: Path) -> None:
    net = network(
        tmp_path,
        source(2, 7, 6),
        conv(KERNEL, (4, 4, 5), cuba(), stride=np.array([2, 1]), padding=np.array([1, 0])),
    )
    (connection,) = net.connections
    one = np.zeros((2, 7, 6))
    one[1, 3, 2] = 1
    found = connection.apply(one)
    # Row 3 is row 4 of the padded image: tap 0 of output row 2, tap 2 of output row 1.
    assert np.array_equal(found[:, 2, 1:3], KERNEL[:, 1, 0, ::-1])
    assert np.array_equal(found[:, 1, 1:3], KERNEL[:, 1, 2, ::-1])
    assert np.count_nonzero(found.any(axis=0)) == 4


def test_fields_with_a_time_axis_or_one_value(tmp_path: Path) -> None:
    layer = conv(KERNEL, (4, 3, 3), cuba())
    expected = network(tmp_path, source(2, 5, 4), layer)
    layer["weight"] = layer["weight"][..., None]
    layer |= {"stride": 1, "padding": 0, "dilation": 1}
    found = network(tmp_path, source(2, 5, 4), layer)
    x = RNG.random((3, 2, 5, 4))
    assert np.array_equal(found.connections[0].apply(x), expected.connections[0].apply(x))


def test_the_input_of_a_first_convolution(tmp_path: Path) -> None:
    """Stride 1 tells it; a greater stride does not."""
    first = conv(KERNEL, (4, 5, 3), cuba(), padding=np.array([1, 0]))
    assert network(tmp_path, first).shapes["input"] == (2, 5, 4)
    strided = conv(KERNEL, (4, 3, 3), cuba(), stride=np.array([2, 1]))
    path = net_files.write(tmp_path / "y.net", strided)
    with pytest.raises(ModelError, match=r"layer/0: no layer tells .*input_shape="):
        read_net(path)
    for height in (7, 8):
        assert load(read_net(path, (2, height, 4))).shapes["input"] == (2, height, 4)
    with pytest.raises(FileError, match=r"layer/0: shape is \(4, 3, 3\), the convolution makes"):
        read_net(path, (2, 9, 4))


def test_a_stated_input_shape_must_be_one_and_fit(tmp_path: Path) -> None:
    path = net_files.write(tmp_path / "x.net", dense(MATRIX, cuba()))
    assert load(read_net(path, (3,))).shapes["input"] == (3,)
    assert load(read_net(path, (3, 1, 1))).shapes["input"] == (3, 1, 1)
    with pytest.raises(ModelError, match="weights for 3 inputs meet an input of shape"):
        read_net(path, (4,))
    with pytest.raises(InputError, match="expected positive sizes"):
        read_net(path, (0,))
    path = net_files.write(tmp_path / "y.net", source(3), dense(MATRIX, cuba()))
    with pytest.raises(InputError, match=r"input_shape is \(4,\), the file says \(3,\)"):
        read_net(path, (4,))


def test_input_neurons(tmp_path: Path) -> None:
    """x times the weight (64 is 1), plus the bias, into the neurons."""
    encoder = source(3, neuron=cuba(80, 4096, 512), weight=np.array([44.0]), bias=np.array([6.0]))
    net = network(tmp_path, encoder, dense(MATRIX, cuba()))
    first, _ = net.populations
    assert np.array_equal(net.connections[0].apply(np.ones(3)), np.full(3, 44.0))
    assert np.all(first.bias == 6)
    plain = network(tmp_path, source(3, neuron=cuba()), dense(MATRIX, cuba()))
    assert np.array_equal(plain.connections[0].apply(np.ones(3)), np.full(3, 64.0))


def test_delays(tmp_path: Path) -> None:
    """A neuron's spikes come so many steps later, and those of other neurons are as they were."""
    x = spikes_for(3, 2, 40, (3,))
    delay = np.array([0, 1, 3, 3, 62], np.float32)
    layer = dense(MATRIX, cuba(20))
    before = reference.simulate(network(tmp_path, layer), x).spikes["layer0"]
    after = reference.simulate(network(tmp_path, {**layer, "delay": delay}), x).spikes["layer0"]
    for neuron, steps in enumerate([0, 1, 3, 3, 40]):
        moved = np.zeros_like(before[..., neuron])
        moved[:, steps:] = before[:, : 40 - steps, neuron]
        assert np.array_equal(after[..., neuron], moved)
    assert before.sum() > 50


def test_the_graph_survives_a_nir_file(tmp_path: Path) -> None:
    layers = (
        source(2, 6, 4),
        conv(KERNEL, (4, 4, 3), cuba(), bias=np.array([2.0, 0.0, 4.0, 0.0])),
        pool((2, 3), (4, 2, 1), cuba(100)),
        flatten(8),
        dense(2 * RNG.integers(-20, 30, (3, 8)), cuba(30, 4096, 0)),
    )
    graph = read_net(net_files.write(tmp_path / "x.net", *layers))
    x = spikes_for(4, 3, 20, (2, 6, 4))
    expected = reference.simulate(load(graph), x)
    nir.write(str(tmp_path / "x.nir"), graph)
    found = reference.simulate(nd.load(tmp_path / "x.nir"), x)
    assert nd.load(tmp_path / "x.net").outputs == ("layer4",)
    for name, spikes in expected.spikes.items():
        assert np.array_equal(found.spikes[name], spikes)
        assert spikes.any()


# --- refusals ------------------------------------------------------------------------------------


def layer_without(name: str) -> Layer:
    layer = dense(MATRIX, cuba())
    del layer[name]
    return layer


def neuron(**changes: Any) -> Layer:
    return dense(MATRIX, cuba(**changes))


def without(name: str) -> Layer:
    fields = cuba()
    del fields[name]
    return dense(MATRIX, fields)


IMAGE = source(2, 5, 4)
REFUSED: dict[str, tuple[list[Layer], type[NeurodeployError], str]] = {
    "sigma-delta": ([neuron(type="SDNN")], ModelError, "layer/0/neuron: .*'SDNN'.*graded"),
    "adaptive": ([neuron(type="ALIF")], ModelError, "adaptive threshold.*block.cuba"),
    "resonator": ([neuron(type="RF_PHASE")], ModelError, "complex state"),
    "other neuron": ([neuron(type="HOYER")], ModelError, "only CUBA"),
    "graded": ([neuron(gradedSpike=True)], ModelError, "gradedSpike.*graded_spike=False"),
    "refractory": ([neuron(refDelay=2)], FileError, "refDelay holds 2"),
    "old exponent": ([neuron(wgtExp=1)], FileError, "wgtExp holds 1"),
    "norm exponent": ([neuron(weight_exp=4.0)], FileError, "weight_exp holds 4, expected -3 to 3"),
    "message bits": ([neuron(messageBits=8)], ModelError, "has the field 'messageBits'"),
    "no decay": ([without("iDecay")], FileError, "layer/0/neuron: iDecay is missing"),
    "no type": ([without("type")], FileError, "layer/0/neuron: type is missing"),
    "decay": ([neuron(v_decay=4097)], FileError, "vDecay holds 4097, expected 0 to 4096"),
    "negative": ([neuron(i_decay=-1)], FileError, "iDecay holds -1"),
    "fraction": ([neuron(v_th=1.5)], FileError, "vThMant holds 1.5, expected whole"),
    "not a number": ([neuron(v_th=np.nan)], FileError, "vThMant holds nan"),
    "threshold 0": ([neuron(v_th=0)], FileError, "vThMant holds 0"),
    "threshold": ([neuron(v_th=200_000)], FileError, "vThMant holds 200000, expected 1 to 131071"),
    "length": ([neuron(v_th=[1, 2, 3])], FileError, "vThMant has 3 values for 5 channels"),
    "text": ([neuron(v_th="80")], FileError, "vThMant is .*, expected whole numbers"),
    "neuron is no group": (
        [{**dense(MATRIX, None), "neuron": 1}],
        FileError,
        "neuron is a dataset",
    ),
    "weight 300": ([dense(MATRIX + 300, cuba())], FileError, "weight holds .*, expected -256"),
    "weight 0.5": (
        [{**dense(MATRIX, cuba()), "weight": MATRIX + 0.5}],
        FileError,
        "layer/0: weight holds .*quantize_8bit",
    ),
    "complex weight": (
        [{**dense(MATRIX, cuba()), "weight": {"real": MATRIX, "imag": MATRIX}}],
        ModelError,
        "weight is complex",
    ),
    "no weight": ([layer_without("weight")], FileError, "weight is missing"),
    "no shape": ([layer_without("shape")], FileError, "shape is missing"),
    "outputs": ([dense(MATRIX, cuba(), shape=[4])], FileError, "weight has shape .5, 3., the l"),
    "inFeatures": ([dense(MATRIX, cuba(), inFeatures=4)], FileError, "inFeatures is .4., the w"),
    "bias": ([dense(MATRIX, cuba(), bias=[1, 2])], FileError, "bias has 2 values for 5"),
    "large bias": ([dense(MATRIX, cuba(), bias=5000)], FileError, "bias holds 5000"),
    "delay": ([dense(MATRIX, cuba(), delay=63)], FileError, "delay holds 63, expected 0 to 62"),
    "delay per synapse": (
        [dense(MATRIX, cuba(), delay=MATRIX * 0 + 1)],
        FileError,
        "delay has 15 values for 5 channels",
    ),
    "recurrent bias": (
        [dense(np.eye(4), cuba(), weight_rec=np.eye(4), bias=2)],
        ModelError,
        "SLAYER filters it, NetX does not.*current_decay=1",
    ),
    "loop without weights": (
        [{**dense(MATRIX, cuba()), "type": "dense_rec"}],
        FileError,
        "weight_rec is missing",
    ),
    "weights without loop": (
        [{**dense(np.eye(4), cuba(), weight_rec=np.eye(4)), "type": "dense"}],
        ModelError,
        "has the field 'weight_rec'",
    ),
    "recurrent shape": (
        [dense(np.eye(4, 3), cuba(), weight_rec=np.eye(4, 3))],
        FileError,
        "weight_rec has shape .4, 3., expected .4, 4.",
    ),
    "recurrent sum": ([dense(MATRIX, None, weight_rec=np.eye(5))], FileError, "neuron is missing"),
    "delayed readout": (
        [dense(MATRIX, cuba(2**18 - 1), delay=2)],
        ModelError,
        "neurons that never spike have a delay",
    ),
    "filtered input bias": (
        [source(3, neuron=cuba(), bias=[2])],
        ModelError,
        "layer/0: a bias of input neurons.*without bias",
    ),
    "unknown layer": ([{"type": "dropout"}], ModelError, "'dropout'.*types are input, dense"),
    "transposed": ([{"type": "convT"}], ModelError, "transposed convolution.*Conv blocks"),
    "average": ([{"type": "average"}], ModelError, "over neurons or over time"),
    "concat": ([{"type": "concat"}], ModelError, "concatenation"),
    "unknown field": ([dense(MATRIX, cuba(), mask=1)], ModelError, "layer/0: has the field 'mask'"),
    "late input": ([dense(MATRIX, cuba()), source(5)], ModelError, "layer/1: an input after"),
    "only an input": ([source(3)], ModelError, r"x\.net: holds no layer with synapses"),
    "no flatten": ([IMAGE, dense(np.ones((2, 40)), cuba())], ModelError, "flatten layer belongs"),
    "sizes": (
        [dense(MATRIX, cuba()), dense(np.eye(4), cuba())],
        ModelError,
        "layer/1: weights for 4 inputs meet an input of shape .5,.",
    ),
    "flatten": ([IMAGE, flatten(39)], FileError, "layer/1: shape has 39 elements"),
    "channels": (
        [source(3, 5, 4), conv(KERNEL, (4, 3, 3), cuba())],
        FileError,
        "layer/1: convolution weight .* does not fit 3 input channels",
    ),
    "kernel": (
        [IMAGE, conv(KERNEL, (4, 3, 3), cuba(), kernelSize=[2, 2])],
        FileError,
        "kernelSize is .2, 2., the weights say .3, 2.",
    ),
    "kernel of four": (
        [IMAGE, conv(KERNEL, (4, 3, 3), cuba(), kernelSize=[3, 2, 3, 2])],
        FileError,
        "kernelSize has 4 values, expected 2",
    ),
    "stride 0": (
        [IMAGE, conv(KERNEL, (4, 3, 3), cuba(), stride=0)],
        FileError,
        "stride holds 0, expected 1 to",
    ),
    "three strides": (
        [IMAGE, conv(KERNEL, (4, 3, 3), cuba(), stride=[1, 1, 1])],
        FileError,
        "stride has 3 values",
    ),
    "padding": (
        [IMAGE, conv(KERNEL, (4, 3, 3), cuba(), padding=1 << 21)],
        FileError,
        "padding is .*more than 4194304 inputs",
    ),
    "too small": (
        [source(2, 2, 2), conv(KERNEL, (4, 1, 1), cuba())],
        FileError,
        "convolution output would be empty",
    ),
    "convolution of a vector": (
        [source(8), conv(KERNEL, (4, 1, 1), cuba())],
        FileError,
        "expected a 4-dimensional weight on",
    ),
    "no neurons": (
        [IMAGE, {k: v for k, v in conv(KERNEL, (4, 3, 3), {}).items() if k != "neuron"}],
        FileError,
        "layer/1: neuron is missing",
    ),
    "pooling across channels": (
        [source(2, 5, 4), pool((3, 2), (2, 2, 2), cuba())],
        ModelError,
        "reach from one channel into the next",
    ),
    "padded pooling": (
        [source(2, 4, 4), pool((2, 2), (2, 3, 2), cuba(), padding=[1, 0])],
        ModelError,
        "reach from one channel into the next",
    ),
    "pooling of a vector": ([source(8), pool((2, 2), (4,), cuba())], ModelError, "a pooling of"),
    "pooling first": ([pool((2, 2), (2, 2, 2), cuba())], ModelError, "no layer tells"),
    "huge input": ([source(1 << 12, 1 << 12)], FileError, "shape has more than 4194304 elements"),
    "empty shape": ([source(0)], FileError, "shape holds 0"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_layer_field_and_reason(case: str, tmp_path: Path) -> None:
    layers, kind, message = REFUSED[case]
    path = net_files.write(tmp_path / "x.net", *layers)
    with pytest.raises(kind, match=message) as caught:
        read_net(path)
    assert type(caught.value) is kind
    assert str(caught.value).startswith("layer/") or case == "only an input"


def test_a_single_channel_may_be_pooled_in_any_way(tmp_path: Path) -> None:
    padded = pool((3, 2), (1, 3, 3), cuba(), stride=np.array([3, 1]), padding=np.array([1, 0]))
    assert network(tmp_path, source(1, 5, 4), padded).populations[0].shape == (1, 3, 3)


# --- files that are not what they say ------------------------------------------------------------


def edit(path: Path, change: Callable[[h5py.File], None]) -> Path:
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def drop(name: str) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]

    return change


def link(file: h5py.File) -> None:
    del file["layer/0/weight"]
    file["layer/0/weight"] = h5py.ExternalLink("other.net", "/layer/0/weight")


def virtual_weight(file: h5py.File) -> None:
    file["layer"].create_dataset("9", data=1)


FILES: dict[str, tuple[Callable[[h5py.File], None], str]] = {
    "no layers": (drop("layer"), "x.net: has no group `layer`"),
    "a gap": (drop("layer/1"), "x.net: layer/1 is not a group among the 2 layers"),
    "an external link": (link, "layer/0/weight is a link"),
    "a dataset as layer": (virtual_weight, "layer/3 is not a group among the 4"),
    "layers as a dataset": (
        lambda file: (drop("layer")(file), file.create_dataset("layer", data=1))[0],
        "has no group `layer`",
    ),
    "an empty dataset": (
        lambda file: (
            drop("layer/0/bias")(file),
            file.create_dataset("layer/0/bias", data=h5py.Empty("f")),
        )[0],
        "x.net: not a complete HDF5 file|bias is no array",
    ),
    "two types": (
        lambda file: (
            drop("layer/0/type")(file),
            file.create_dataset("layer/0/type", data=[b"dense", b"conv"]),
        )[0],
        "layer/0: type is .* of 2 values, expected one text",
    ),
    "a reference": (
        lambda file: (
            drop("layer/0/bias")(file),
            file.create_dataset("layer/0/bias", data=file["layer"].ref, dtype=h5py.ref_dtype),
        )[0],
        "holds neither numbers nor texts",
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_broken_files(case: str, tmp_path: Path) -> None:
    change, message = FILES[case]
    layer = dense(np.eye(3), cuba(), bias=2)
    path = edit(net_files.write(tmp_path / "x.net", layer, layer, layer), change)
    with pytest.raises(FileError, match=message):
        read_net(path)


def test_missing_truncated_and_other_files(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no such file"):
        nd.load(tmp_path / "no.net")
    (tmp_path / "text.net").write_text("hello")
    with pytest.raises(FileError, match="not a complete HDF5 file"):
        nd.load(tmp_path / "text.net")
    whole = net_files.write(tmp_path / "x.net", dense(MATRIX, cuba())).read_bytes()
    (tmp_path / "cut.net").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileError, match=r"cut.net: not a complete HDF5 file"):
        nd.load(tmp_path / "cut.net")


def test_declared_sizes_are_bounded_before_allocation(tmp_path: Path) -> None:
    def change(file: h5py.File) -> None:
        del file["layer/0/weight"]
        file["layer/0"].create_dataset("weight", (1 << 13, 1 << 14), "i1", chunks=(512, 512))

    path = edit(net_files.write(tmp_path / "x.net", dense(MATRIX, cuba())), change)
    with pytest.raises(FileError, match=r"declares more than|weight has 134217728 values"):
        read_net(path)


BASES: tuple[tuple[Layer, ...], ...] = (
    (
        source(2, 5, 4),
        conv(KERNEL, (4, 3, 3), cuba(), bias=np.ones(4), delay=np.array([0, 2, 2, 5])),
        pool((3, 3), (4, 1, 1), cuba()),
        flatten(4),
        dense(np.ones((3, 4)), cuba(), weight_rec=np.eye(3)),
    ),
    (
        source(3, neuron=cuba(), weight=[64.0]),
        dense(MATRIX, cuba(20, np.arange(5), 7, weight_exp=1.0), delay=np.arange(5)),
        dense(np.ones((2, 5)), cuba(2**18 - 1)),
    ),
)
VALUES: tuple[Any, ...] = (
    0, 1, -1, 3, 62, 255, 4096, 2**18 - 1, 2**31, 2**63 - 1, -(2**63), 1.0, 0.5, np.nan, np.inf,
    1e300, True, "", "CUBA", "dense", b"\xff\xfe", 1 + 2j, np.zeros(0), np.zeros((0, 3)),
    np.ones(3), np.ones((5, 3)), np.ones((1, 1, 2, 2)), np.arange(5), np.array([1, 2, 3]),
    np.uint64(2**64 - 1), np.float16(2.0), np.ones((2,) * 9), np.zeros((2, 2), "S3"),
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> tuple[Layer, ...]:
    """A valid file with one to three fields removed, replaced, added, moved or reshaped."""
    layers = copy.deepcopy(draw(st.sampled_from(BASES)))
    for _ in range(draw(st.integers(1, 3))):
        fields = draw(st.sampled_from(layers))
        if "neuron" in fields and isinstance(fields["neuron"], dict) and draw(st.booleans()):
            fields = fields["neuron"]
        name = draw(st.sampled_from(sorted({*fields, "bias", "delay", "weight", "neuron"})))
        match draw(st.sampled_from(["drop", "replace", "reshape", "repeat", "scale"])):
            case "drop":
                fields.pop(name, None)
            case "replace":
                fields[name] = copy.deepcopy(draw(st.sampled_from(VALUES)))
            case "reshape" if isinstance(fields.get(name), np.ndarray):
                fields[name] = fields[name].reshape(-1)[:: draw(st.sampled_from([1, -1, 2]))]
            case "repeat" if isinstance(fields.get(name), np.ndarray):
                fields[name] = np.concatenate([fields[name], fields[name]])
            case "scale" if isinstance(fields.get(name), np.ndarray):
                fields[name] = fields[name] * draw(st.sampled_from([0, -1, 2, 1000]))
    if draw(st.booleans()):
        layers = tuple(draw(st.permutations(layers)))
    return layers


@settings(max_examples=100)
@given(layers=mutated())
def test_mutated_files_end_in_a_network_or_in_one_of_our_errors(
    layers: tuple[Layer, ...], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("net")
    with contextlib.suppress(NeurodeployError):
        net = network(folder, *layers)
        x = np.ones((1, 2, *net.inputs[0].shape), np.uint8)
        assert all(s.shape[:2] == (1, 2) for s in reference.simulate(net, x).spikes.values())
    shutil.rmtree(folder)
