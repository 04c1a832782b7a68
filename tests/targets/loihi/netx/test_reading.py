"""Reading `.net` files as NetX does: the integers, and what is refused where NetX would not say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import neurodeploy as nd
from neurodeploy import api
from neurodeploy.errors import FileError, InputError, ModelError
from neurodeploy.program import Program
from neurodeploy.targets.loihi.netx import Options, read_program
from tests import net_files
from tests.net_files import Layer, conv, cuba, dense, flatten, source

RNG = np.random.default_rng(1)
MATRIX = 2 * RNG.integers(-20, 21, (5, 3))
KERNEL = 2 * RNG.integers(-20, 21, (4, 2, 3, 2))
IMAGE = source(2, 5, 4)


def sdnn(**fields: Any) -> Layer:
    return {"type": "SDNN", "activation": "relu", "vThMant": 3, **fields}


def rf(**fields: Any) -> Layer:
    return {"type": "RF_PHASE", "sinDecay": 2000, "cosDecay": 3000, "vThMant": 9, **fields}


def complex_dense(neuron: Layer, **fields: Any) -> Layer:
    return {**dense(MATRIX, neuron, **fields), "weight": {"real": MATRIX, "imag": MATRIX + 2}}


def read(folder: Path, *layers: Layer, **options: Any) -> Program:
    together = options.pop("together", False)
    path = net_files.write(folder / "x.net", *layers)
    return read_program(path, Options(**options), together=together)


def test_dense_weights_are_kept_as_netx_stores_them(tmp_path: Path) -> None:
    """2 MATRIX fits the upper bits once; the exponent takes the factor back."""
    program = read(tmp_path, dense(MATRIX, cuba(80, 1000, 300), bias=np.arange(5) * 2.0))
    (synapses,) = program.synapses
    assert synapses.exponent < 0
    assert np.array_equal(synapses.weight, MATRIX << -synapses.exponent)
    assert 128 <= np.abs(synapses.weight).max() <= 256
    (neurons,) = program.populations
    values = {k: v.tolist() for k, v in neurons.parameters.items() if k != "bias_mant"}
    zero = {"u0": [0], "v0": [0]}
    assert values == {"du": [999], "dv": [300], "vth": [80], "bias_exp": [6], **zero}
    assert neurons.register("bias_mant").tolist() == [0, 2, 4, 6, 8]
    assert (neurons.depth, program.inputs[0].shape, program.outputs) == (1, (3,), ("layer0",))


def test_a_step_of_the_program_is_one_of_lava_if_all_start_together(tmp_path: Path) -> None:
    layers = (dense(MATRIX, cuba(), delay=2), dense(MATRIX.T, cuba(), weight_rec=np.eye(3)))
    apart = read(tmp_path, *layers)
    assert [p.depth for p in apart.populations] == [1, 2]
    assert [s.delay.tolist() for s in apart.synapses] == [[2], [0], [0]]
    together = read(tmp_path, *layers, together=True)
    assert [p.depth for p in together.populations] == [0, 0]
    assert [s.delay.tolist() for s in together.synapses] == [[3], [1], [0]]


def test_resets_follow_each_other(tmp_path: Path) -> None:
    layers = (dense(MATRIX, cuba()), dense(MATRIX.T, cuba()))
    program = read(tmp_path, *layers, reset_interval=16, reset_offset=3)
    offsets = [p.register("reset_offset").tolist() for p in program.populations]
    assert offsets == [[4], [5]]
    assert all(p.register("reset_interval") == 16 for p in program.populations)


def test_delays_by_row_column_and_synapse(tmp_path: Path) -> None:
    each = RNG.integers(0, 9, (5, 3))
    for given, expected in (
        (np.arange(5.0), np.repeat(np.arange(5)[:, None], 3, 1)),
        (np.arange(3), np.repeat(np.arange(3)[None], 5, 0)),
        (each, each),
        (np.full(5, 7), np.array([7])),
    ):
        (synapses,) = read(tmp_path, dense(MATRIX, cuba(), delay=given)).synapses
        assert np.array_equal(synapses.delay, expected)
    square = dense(np.eye(3), cuba(), delay=np.arange(3))  # rows come first
    assert np.array_equal(read(tmp_path, square).synapses[0].delay[:, 0], np.arange(3))


def test_blocks_may_be_left_out_at_both_ends(tmp_path: Path) -> None:
    layers = (
        source(3, neuron=sdnn()),
        dense(MATRIX, sdnn()),
        dense(np.eye(4, 5), cuba()),
        {"type": "average"},
    )
    program = read(tmp_path, *layers, num_layers=3, skip_layers=1)
    assert [p.name for p in program.populations] == ["layer1", "layer2"]
    assert program.inputs[0].graded
    assert [s.graded for s in program.synapses] == [True, True]
    with pytest.raises(ModelError, match="none is left"):
        read(tmp_path, *layers[:3], skip_layers=9)


def test_decays_of_resonators_are_truncated(tmp_path: Path) -> None:
    program = read(tmp_path, complex_dense(rf(sinDecay=-2000.5, cosDecay=3000.5)))
    parameters = program.populations[0].parameters
    assert (parameters["sin_decay"].item(), parameters["cos_decay"].item()) == (-2000, 3000)
    assert (parameters["vth"].item(), [s.port for s in program.synapses]) == (576, ["real", "imag"])
    assert not program.lowerings
    (note,) = read(tmp_path, complex_dense(rf())).lowerings
    assert (note.how, "sin and cos may be 1 less" in note.text) == ("approximate", True)


REFUSED: dict[str, tuple[list[Layer], type[Exception], str]] = {
    "unknown layer": ([{"type": "dropout"}], ModelError, "'dropout' are not supported"),
    "pool": ([IMAGE, {"type": "pool"}], ModelError, "NetX has no pooling"),
    "average": ([{"type": "average"}], ModelError, "Leave the block out"),
    "float decay": (
        [dense(MATRIX, cuba(i_decay=1024.0))],
        FileError,
        "layer/0/neuron: iDecay is no signed integer: NetX would hang on it. Write it as int64",
    ),
    "unsigned threshold": (
        [dense(MATRIX, cuba(v_th=np.uint32(80)))],
        FileError,
        "vThMant is no signed",
    ),
    "exponent of a norm": ([dense(MATRIX, cuba(weight_exp=2))], ModelError, "weight_exp is not 0"),
    "refractory": ([dense(MATRIX, cuba(refDelay=2))], FileError, "refDelay holds 2"),
    "graded spikes": ([dense(MATRIX, cuba(gradedSpike=True))], ModelError, "gradedSpike is set"),
    "wgtExp": ([dense(MATRIX, cuba(wgtExp=1))], FileError, "wgtExp holds 1"),
    "message bits": ([dense(MATRIX, cuba(messageBits=8))], ModelError, "field 'messageBits'"),
    "zero weights": ([dense(MATRIX * 0, cuba())], ModelError, "all weights are 0, which NetX"),
    "changed weights": (
        [dense(np.array([[-64, 0], [-6, -2]]), cuba())],
        ModelError,
        "layer/0: NetX and Lava would change weights without a message: 1 of 4, such as -64 to -63",
    ),
    "weights beyond 8 bits": ([dense(MATRIX + 300, cuba())], FileError, "weight holds"),
    "fractions": (
        [{**dense(MATRIX, cuba()), "weight": MATRIX + 0.9}],
        FileError,
        "expected whole numbers",
    ),
    "delayed loop": (
        [dense(np.eye(3), cuba(), weight_rec=np.eye(3), delay=0)],
        ModelError,
        "has a loop and delays: NetX would multiply",
    ),
    "delayed convolution": (
        [IMAGE, conv(KERNEL, (4, 3, 3), cuba(), delay=1)],
        ModelError,
        "NetX reads none in convolutions",
    ),
    "long delay": ([dense(MATRIX, cuba(), delay=63)], FileError, "delay holds 63, expected 0 to"),
    "half a delay": ([dense(MATRIX, cuba(), delay=0.5)], FileError, "delay holds 0.5"),
    "delays of nothing": (
        [dense(MATRIX, cuba(), delay=[1, 2])],
        FileError,
        "delay has 2 values for weights .5, 3.",
    ),
    "no flatten": (
        [IMAGE, conv(KERNEL[:, :, :, :1], (4, 3, 4), cuba()), dense(np.ones((2, 48)), cuba())],
        ModelError,
        "flatten layer belongs between",
    ),
    "flatten of one pixel": (
        [
            source(2, 3, 2),
            conv(KERNEL, (4, 1, 1), cuba()),
            dense(np.ones((2, 4)), cuba()),
        ],
        ModelError,
        "NetX wants a flatten layer",
    ),
    "flat vector": (
        [dense(MATRIX, cuba()), flatten(5), dense(np.ones((2, 5)), cuba())],
        ModelError,
        "NetX cannot flatten what is no image",
    ),
    "activation": ([dense(MATRIX, sdnn(activation="sigmoid"))], ModelError, "NetX computes relu"),
    "biased sums": (
        [dense(MATRIX, sdnn(sigma_output=True), bias=2)],
        ModelError,
        "only sum up have a bias",
    ),
    "one bias for channels": (
        [IMAGE, conv(KERNEL, (4, 3, 3), cuba(), bias=2)],
        FileError,
        "NetX wants one for each of 4 channels",
    ),
    "real resonators": ([dense(MATRIX, rf())], ModelError, "rf neurons do not take current"),
    "complex spikes": ([complex_dense(cuba())], ModelError, "lif neurons do not take real and"),
    "complex bias": ([complex_dense(rf(), bias=2)], ModelError, "does not read bias beside"),
    "resonating input": ([source(3, neuron=rf())], ModelError, "no input layer of such neurons"),
    "resonating image": (
        [IMAGE, conv(KERNEL, (4, 3, 3), rf())],
        ModelError,
        "NetX has no convolution to such",
    ),
    "no period": ([complex_dense(rf(sinDecay=0))], ModelError, "sinDecay is 0"),
    "adaptive": (
        [complex_dense(rf(type="ADRF_PHASE"))],
        ModelError,
        "'ADRF_PHASE' are not supported",
    ),
    "adaptive threshold": ([dense(MATRIX, cuba(type="ALIF"))], ModelError, "'ALIF' are not"),
    "only an input": ([source(3)], ModelError, "holds no layer with neurons"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_netx_would_refuse_change_or_hang_on(case: str, tmp_path: Path) -> None:
    layers, kind, message = REFUSED[case]
    with pytest.raises(kind, match=message):
        read(tmp_path, *layers)


def test_options_are_checked(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="reset_interval is 0, expected 1 to"):
        Options(reset_interval=0)
    with pytest.raises(InputError, match=r"spike_exp is 1\.5"):
        Options(spike_exp=1.5)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="layer0: NetX does not reset sigma-delta neurons"):
        read(tmp_path, dense(MATRIX, sdnn()), reset_interval=4)


# --- programs like any other ---------------------------------------------------------------------


def test_compile_takes_the_integers_of_the_file(tmp_path: Path) -> None:
    layers = (dense(MATRIX, cuba(40, 4096, 512)), dense(2 * np.eye(2, 5), cuba(1)))
    path = net_files.write(tmp_path / "x.net", *layers)
    x = (RNG.random((6, 20, 3)) < 0.4).astype(np.uint8)
    program = nd.compile(path, target="loihi2", calibration=x)
    exact = read_program(path)
    for name in ("layer0", "layer1"):
        assert program.population(name).parameters == exact.population(name).parameters
    assert np.array_equal(program.synapses[0].weight, exact.synapses[0].weight)
    assert program.golden is not None
    assert program.golden.spikes["layer1"].any()
    assert program.provenance["source"] == "x.net"
    program.save(tmp_path / "x.ndp")
    again = Program.load(tmp_path / "x.ndp")
    assert again.hash == program.hash
    verdict = api.verify(again, x, vendor_samples=2)
    assert [s.name for s in verdict.stages if s.status != "passed"] == ["import"]


def test_a_program_without_a_float_network_says_so(tmp_path: Path) -> None:
    path = net_files.write(tmp_path / "x.net", dense(MATRIX, sdnn()))
    program = read_program(path, Options(input_message_bits=16))
    assert program.graph == {}
    with pytest.raises(InputError, match="carries no reference network"):
        api.network_of(program)


def test_graded_programs_survive_their_file(tmp_path: Path) -> None:
    layers = (source(3, neuron=sdnn()), dense(MATRIX, sdnn(sigma_output=True)))
    path = net_files.write(tmp_path / "x.net", *layers)
    x = RNG.integers(-90, 90, (2, 9, 3))
    program = nd.compile(path, target="loihi2", calibration=x)
    program.save(tmp_path / "x.ndp")
    again = Program.load(tmp_path / "x.ndp")
    ours, theirs = api.run(program, x), api.run(again, x)
    assert np.array_equal(ours.values["layer1"], theirs.values["layer1"])
    assert ours.values["layer1"].any()
