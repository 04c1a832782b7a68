"""Writing `.net` files: what goes in, and that it provokes no silent trap of NetX."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from neurodeploy.cli.output import Output
from neurodeploy.errors import ModelError
from neurodeploy.network import InputPort
from neurodeploy.program import Program, Synapses
from neurodeploy.targets.loihi.command import net
from neurodeploy.targets.loihi.netx import Options, read_program, write_net
from tests import net_files
from tests.net_files import conv, cuba, dense, flatten, source

RNG = np.random.default_rng(0)
MATRIX = 2 * RNG.integers(-20, 21, (5, 3))
KERNEL = 2 * RNG.integers(-20, 21, (4, 2, 3, 2))
WEIGHT = {
    "dense": (source(3), dense(MATRIX, cuba())),
    "dense_rec": (dense(MATRIX, cuba(), weight_rec=2 * np.eye(5)),),
    "conv": (source(2, 5, 4), conv(KERNEL, (4, 3, 3), cuba())),
    "sdnn": (dense(MATRIX, {"type": "SDNN", "activation": "relu", "vThMant": 3}),),
    "rf": (
        {
            **dense(MATRIX, {"type": "RF_PHASE", "sinDecay": 2000, "cosDecay": 3000, "vThMant": 9}),
            "weight": {"real": MATRIX, "imag": MATRIX + 2},
        },
    ),
    "two": (dense(MATRIX, cuba()), dense(MATRIX.T, cuba())),
}


def program(folder: Path, name: str) -> Program:
    bits = 16 if name == "sdnn" else 0
    path = net_files.write(folder / "given.net", *WEIGHT[name])
    return read_program(path, Options(input_message_bits=bits))


def synapses(program: Program, index: int = 0, **changes: Any) -> Program:
    found = list(program.synapses)
    found[index] = replace(found[index], **changes)
    return replace(program, synapses=tuple(found))


def weights(program: Program, values: Any, index: int = 0) -> Program:
    return synapses(program, index, weight=np.array(values, np.int64), exponent=0)


def registers(program: Program, index: int = 0, **changes: Any) -> Program:
    found = list(program.populations)
    values = {name: np.atleast_1d(np.array(v, np.int64)) for name, v in changes.items()}
    found[index] = replace(found[index], parameters={**found[index].parameters, **values})
    return replace(program, populations=tuple(found))


def one(weight: Any) -> Callable[[Program], Program]:
    """A first matrix whose first row is this, the others zero."""
    row = np.zeros((5, 3), np.int64)
    row[0] = weight
    return lambda program: weights(program, row)


def model(program: Program, name: str) -> Program:
    (population,) = program.populations
    return replace(program, populations=(replace(population, model=name),))


Change = Callable[[Program], Program]
TRAPS: dict[str, tuple[str, Change, str]] = {
    "excitatory beyond 255": ("dense", one([300, 2, 4]), r"in 0..300, NetX's in -256..255"),
    "greatest 0, odd, beyond -128": ("dense", one([-201, 0, -3]), "change weights without a mes"),
    "least a power of two": ("dense", one([-64, 0, -2]), "such as -64 to -63"),
    "negative with -256": ("dense", lambda p: weights(p, MATRIX * 0 - 256), "-256 to 0"),
    "one sign in a pair of both": (
        "dense_rec",
        lambda p: weights(weights(p, MATRIX * 0 + 199), -3 * np.eye(5), 1),
        "both signs must be even",
    ),
    "nine bits": ("dense", one([131, -3, 5]), "beyond -128..127 of both signs must be even"),
    "255 of both signs": ("dense", one([255, -3, 5]), "must be even|255 to 254"),
    "beyond -256": ("dense", one([-300, 2, 4]), r"in -300..4, NetX's"),
    "all zero": ("dense", lambda p: weights(p, MATRIX * 0), "all weights are 0"),
    "fractions": (
        "dense",
        lambda p: synapses(p, weight=MATRIX + 1, exponent=-1),
        "no whole numbers with the exponent -1",
    ),
    "a delayed loop": (
        "dense_rec",
        lambda p: synapses(p, delay=np.array([2])),
        "delays beside neither loops",
    ),
    "a delayed convolution": ("conv", lambda p: synapses(p, delay=np.array([1])), "no delays in"),
    "a delay beyond 62": ("dense", lambda p: synapses(p, delay=np.array([63])), "in 63..63"),
    "a kernel beyond 8 bits": (
        "conv",
        lambda p: weights(p, np.where(KERNEL > 10, 401, KERNEL)),
        r"..401, NetX's in",
    ),
    "an odd kernel": (
        "conv",
        lambda p: weights(p, np.where(KERNEL > 10, 201, KERNEL)),
        "both signs must be even",
    ),
    "no relu": ("sdnn", lambda p: registers(p, relu=0), "relu is 0, expected 1 to 1, as in NetX"),
    "another scale of states": ("sdnn", lambda p: registers(p, state_exp=5), "state_exp is 5"),
    "summed errors": ("sdnn", lambda p: registers(p, cum_error=1), "cum_error is 1"),
    "thresholds per neuron": (
        "dense",
        lambda p: registers(p, vth=[1, 2, 3, 4, 5]),
        "vth differs between neurons",
    ),
    "a threshold beyond 17 bits": ("dense", lambda p: registers(p, vth=1 << 17), "vth is 131072"),
    "no decay": ("dense", lambda p: registers(p, du=-1), "du is -1, expected 0 to 4095"),
    "a finer bias": ("dense", lambda p: registers(p, bias_mant=3, bias_exp=2), "multiple of 2.6"),
    "a bias beyond 13 bits": (
        "dense",
        lambda p: registers(p, bias_mant=4095, bias_exp=7),
        "beyond the mantissa's",
    ),
    "an initial state": ("dense", lambda p: registers(p, u0=-3), "u0 is not 0"),
    "another model": ("dense", lambda p: model(p, "atrlif"), "NetX has no atrlif neurons"),
    "counted differences": (
        "sdnn",
        lambda p: replace(
            synapses(p, graded=False),
            inputs=(InputPort("input", (3,), graded=True),),
        ),
        "",
    ),
}


@pytest.mark.parametrize("trap", TRAPS)
def test_no_silent_trap_can_be_provoked(trap: str, tmp_path: Path) -> None:
    """Refused, with the reason; or, where the text is empty, written with the right options."""
    name, change, text = TRAPS[trap]
    changed, path = change(program(tmp_path, name)), tmp_path / "out.net"
    if not text:
        assert write_net(changed, path).input_message_bits == 0
        assert not read_program(path).synapses[0].graded
        return
    with pytest.raises(ModelError, match=text):
        write_net(changed, path)
    assert not path.exists()


READ_BY_NETX = {
    "layer": {
        "type", "shape", "weight", "weight_rec", "bias", "delay", "neuron", "stride", "padding",
        "dilation", "groups",
    },
    "neuron": {
        "type", "iDecay", "vDecay", "vThMant", "sinDecay", "cosDecay", "activation", "sigma_output",
    },
}  # fmt: skip
IGNORED = {"activation"}
"""Read by no NetX; always relu, which is what it computes."""


@pytest.mark.parametrize("name", WEIGHT)
def test_a_file_holds_only_what_netx_reads_and_in_types_on_which_it_does_not_hang(
    name: str, tmp_path: Path
) -> None:
    given = program(tmp_path, name)
    path = tmp_path / "out.net"
    options = write_net(given, path)
    with h5py.File(path) as file:
        for number, layer in file["layer"].items():
            assert int(number) in range(len(file["layer"]))
            assert layer["type"][0] in (b"input", b"dense", b"dense_rec", b"conv", b"flatten")
            assert set(layer) <= READ_BY_NETX["layer"]
            neuron = layer.get("neuron", {})
            assert set(neuron) <= READ_BY_NETX["neuron"]
            assert all(neuron[key].dtype.kind == "i" for key in set(neuron) & {"iDecay", "vDecay"})
            assert "vThMant" not in neuron or neuron["vThMant"].dtype.kind == "i"
            assert "activation" not in neuron or neuron["activation"][0] == b"relu"
            for key in set(layer) & {"bias", "delay", "weight_rec"}:
                assert layer[key].dtype.kind == "i"
    assert options.input_message_bits == (16 if name == "sdnn" else 0)
    again = read_program(path, options)
    same(given, again)


def same(given: Program, again: Program) -> None:
    """Equal up to names."""
    assert [p.graded for p in given.inputs] == [p.graded for p in again.inputs]
    for a, b in zip(given.populations, again.populations, strict=True):
        assert (a.model, a.shape, a.depth, a.graded) == (b.model, b.shape, b.depth, b.graded)
        assert a.parameters.keys() == b.parameters.keys()
        for name, values in a.parameters.items():
            assert np.array_equal(values, b.parameters[name]), name
    for s, t in zip(given.synapses, again.synapses, strict=True):
        assert (s.kind, s.exponent, s.graded, s.port) == (t.kind, t.exponent, t.graded, t.port)
        assert np.array_equal(s.weight, t.weight)
        assert np.array_equal(s.delay, t.delay)


def test_all_reasons_come_at_once(tmp_path: Path) -> None:
    bad = registers(one([300, 1, 0])(program(tmp_path, "two")), 1, u0=1, vth=[1, 2, 3])
    with pytest.raises(
        ModelError, match=r"for 3 reasons: layer0: weights.*layer1: u0.*layer1: vth"
    ):
        write_net(bad, tmp_path / "out.net")


SHAPES: dict[str, tuple[str, Change, str]] = {
    "another target": ("dense", lambda p: replace(p, target="cpu8"), "for cpu8 with 1 inputs"),
    "two inputs": (
        "dense",
        lambda p: replace(p, inputs=(*p.inputs, InputPort("more", (3,)))),
        "with 2 inputs",
    ),
    "an inner output": ("two", lambda p: replace(p, outputs=("layer0",)), "its outputs are layer0"),
    "a skipped layer": (
        "two",
        lambda p: replace(
            p, synapses=(*p.synapses, replace(p.synapses[0], target="layer1", out_shape=(3,)))
        ),
        "layer1: NetX joins layer0 to it by current synapses",
    ),
    "another depth": (
        "two",
        lambda p: replace(p, populations=(p.populations[0], replace(p.populations[1], depth=3))),
        "layer1: its depth is 3, in a chain it is 2",
    ),
    "a loop after a bias": (
        "dense_rec",
        lambda p: registers(p, bias_mant=5),
        "a loop carries past NetX's reset",
    ),
    "a delay after a bias": (
        "two",
        lambda p: synapses(registers(p, bias_mant=5), 1, delay=np.array([1])),
        "delays carry past NetX's reset",
    ),
    "a bias of neurons without reset": (
        "sdnn",
        lambda p: registers(p, bias=5),
        "NetX resets no sigma-delta neurons",
    ),
    "one reset": (
        "two",
        lambda p: registers(p, 1, reset_interval=4, reset_offset=0),
        "NetX resets all blocks or none",
    ),
    "resets at once": (
        "two",
        lambda p: registers(
            registers(p, 0, reset_interval=4, reset_offset=1), 1, reset_interval=4, reset_offset=1
        ),
        "each a step after the one before it",
    ),
}


@pytest.mark.parametrize("case", SHAPES)
def test_what_is_no_chain_of_netx(case: str, tmp_path: Path) -> None:
    name, change, text = SHAPES[case]
    with pytest.raises(ModelError, match=text):
        write_net(change(program(tmp_path, name)), tmp_path / "out.net")


def test_a_self_synapse_becomes_a_loop(tmp_path: Path) -> None:
    """snnTorch's default reset: every neuron takes the threshold from itself."""
    given = program(tmp_path, "dense")
    own = Synapses(
        "layer1->layer1", "layer1", "layer1", "one-to-one", np.full(5, -120), 0, (5,), (5,)
    )
    write_net(replace(given, synapses=(*given.synapses, own)), tmp_path / "out.net")
    again = read_program(tmp_path / "out.net")
    loop = again.synapses[1]
    assert np.array_equal(loop.weight * 2.0**loop.exponent, -120 * np.eye(5))


def test_resets_go_into_the_options(tmp_path: Path) -> None:
    layers = (dense(MATRIX, cuba(), bias=np.full(5, 2.0)), dense(MATRIX.T, cuba()))
    options = Options(reset_interval=8, reset_offset=1)
    given = read_program(net_files.write(tmp_path / "given.net", *layers), options)
    assert write_net(given, tmp_path / "out.net") == options
    same(given, read_program(tmp_path / "out.net", options))


def test_a_bias_per_neuron_of_an_image(tmp_path: Path) -> None:
    bias = np.arange(36).reshape(4, 3, 3)
    given = registers(program(tmp_path, "conv"), bias_mant=bias)
    write_net(given, tmp_path / "out.net")
    again = read_program(tmp_path / "out.net")
    assert np.array_equal(again.populations[0].register("bias_mant"), bias)


def test_images_are_flattened_before_dense_layers(tmp_path: Path) -> None:
    layers = (*WEIGHT["conv"], flatten(36), dense(2 * RNG.integers(-9, 9, (3, 36)), cuba()))
    given = read_program(net_files.write(tmp_path / "given.net", *layers))
    write_net(given, tmp_path / "out.net")
    with h5py.File(tmp_path / "out.net") as file:
        kinds = [file[f"layer/{i}/type"][0] for i in range(4)]
    assert kinds == [b"input", b"conv", b"flatten", b"dense"]
    same(given, read_program(tmp_path / "out.net"))


def test_the_command_says_what_netx_must_be_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program(tmp_path, "sdnn").save(tmp_path / "x.ndp")
    parser = argparse.ArgumentParser()
    net.arguments(parser)
    arguments = parser.parse_args([str(tmp_path / "x.ndp"), "-o", str(tmp_path / "x.net")])
    assert net.run(arguments, Output(as_json=False)) == 0
    assert "NetX must be told: input_message_bits=16" in capsys.readouterr().out
    same(
        program(tmp_path, "sdnn"), read_program(tmp_path / "x.net", Options(input_message_bits=16))
    )
