"""`.net` files against lava-dl itself: NetX builds networks from files that we wrote.

Every architecture is read from the fields of a file as lava-dl writes them, written by us, run in
the real NetX and Lava, and compared with our simulator: all messages and all states.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurodeploy import api
from neurodeploy.errors import InputError, LavaError, NeurodeployError
from neurodeploy.program import Program
from neurodeploy.simulator.engine import simulate
from neurodeploy.targets.loihi.machine import LoihiMachine
from neurodeploy.targets.loihi.netx import Options, read_program, write_net
from neurodeploy.targets.loihi.netx.running import NetxRun, run_files, run_in_netx
from neurodeploy.trace import Trace
from tests import net_files, pages_of_docs
from tests.net_files import Layer, conv, cuba, dense, flatten, source

SAMPLES, STEPS = 1, 24
DEFAULT = Options()


def even(seed: int, *shape: int, low: int = -40, high: int = 60) -> np.ndarray:
    return 2 * np.random.default_rng(seed).integers(low // 2, high // 2, shape)


def complex_dense(seed: int, out: int, inputs: int, neuron: Layer) -> Layer:
    """A dense layer of resonators."""
    layer = dense(even(seed, out, inputs), neuron)
    layer["weight"] = {"real": even(seed, out, inputs), "imag": even(seed + 1, out, inputs)}
    return layer


def sdnn(v_th: int, **fields: Any) -> Layer:
    return {"type": "SDNN", "activation": "relu", "vThMant": v_th, **fields}


def resonator(kind: str, sine: int, cosine: int, v_th: int) -> Layer:
    return {
        "type": kind,
        "sinDecay": sine,
        "cosDecay": cosine,
        "vThMant": v_th,
        "gradedSpike": False,
    }


@dataclass(frozen=True, eq=False)
class Case:
    """A file, what NetX is told, and the numbers that its input takes.

    `together`: all blocks start in the first step, as where sigma-delta neurons have a bias.
    """

    layers: tuple[Layer, ...]
    options: Options = DEFAULT
    values: tuple[int, int] = (0, 1)
    together: bool = False
    still: bool = False


def self_reset(size: int, inputs: int) -> Layer:
    """snnTorch's default neuron: u is the membrane, a self-synapse takes the threshold away."""
    neuron = cuba(120, 410, 4096)
    return dense(even(31, size, inputs), neuron, weight_rec=-120 * np.eye(size))


PAIR = np.array([2, 1])
IMAGE = source(2, 9, 7)
KERNEL = even(1, 4, 2, 3, 2)
GROUPED = even(2, 4, 1, 2, 3)
CUBA = cuba(90, 700, 300)
LAST = dense(even(3, 5, 12), cuba(70, 4096, 1000))
CASES: dict[str, Case] = {
    "dense": Case((dense(even(4, 12, 20), CUBA),)),
    "two dense": Case((source(20), dense(even(4, 12, 20), CUBA), LAST)),
    "deep": Case((dense(even(4, 12, 20), CUBA), dense(even(5, 12, 12), CUBA), LAST)),
    "large even weights": Case((dense(even(6, 12, 20, low=-256, high=254), cuba(900)),)),
    "small odd weights": Case((dense(even(7, 12, 20) // 2 - 1, cuba(40)),)),
    "excitatory": Case((dense(even(8, 12, 20, low=0, high=254) + 1, cuba(900)),)),
    "inhibitory with bias": Case(
        (
            dense(
                even(9, 12, 20, low=-30, high=0) - 1, cuba(50, 4096, 99), bias=np.full(12, 120.0)
            ),
            LAST,
        )
    ),
    "biases": Case(
        (
            dense(even(4, 12, 20), CUBA, bias=even(10, 12)),
            dense(even(5, 5, 12), cuba(70), bias=np.full(5, 8.0)),
        )
    ),
    "no current": Case((dense(even(4, 12, 20), cuba(90, 4096, 0)), LAST)),
    "no memory": Case((dense(even(4, 12, 20), cuba(90, 4096, 4096)), LAST)),
    "integrator": Case((dense(even(4, 12, 20), CUBA), dense(even(3, 5, 12), None))),
    "recurrent": Case((dense(even(4, 12, 20), CUBA, weight_rec=even(11, 12, 12)), LAST)),
    "two loops": Case(
        (
            dense(even(4, 12, 20), CUBA, weight_rec=even(11, 12, 12)),
            dense(even(3, 5, 12), CUBA, weight_rec=even(12, 5, 5)),
        )
    ),
    "self-reset": Case((self_reset(12, 20), self_reset(5, 12))),
    "one delay": Case((dense(even(4, 12, 20), CUBA, delay=3), LAST)),
    "delays of outputs": Case((dense(even(4, 12, 20), CUBA, delay=np.arange(12.0)), LAST)),
    "delays of inputs": Case((dense(even(4, 12, 20), CUBA, delay=np.arange(20)), LAST)),
    "delays of synapses": Case(
        (
            dense(even(4, 12, 20), CUBA),
            dense(even(5, 5, 12), cuba(60), delay=even(13, 5, 12, low=0)),
        )
    ),
    "convolution": Case((IMAGE, conv(KERNEL, (4, 7, 6), CUBA))),
    "strides and padding": Case(
        (IMAGE, conv(KERNEL, (4, 5, 6), CUBA, stride=PAIR, padding=PAIR - 1))
    ),
    "dilation and groups": Case(
        (
            IMAGE,
            conv(GROUPED, (4, 7, 5), cuba(40), groups=2, dilation=PAIR),
            conv(even(14, 6, 2, 2, 2), (6, 6, 4), CUBA, groups=2, bias=even(15, 6)),
        )
    ),
    "image to vector": Case(
        (
            IMAGE,
            conv(KERNEL, (4, 7, 6), CUBA, bias=even(16, 4)),
            flatten(168),
            dense(even(17, 10, 168), cuba(300)),
            dense(even(18, 4, 10), cuba(50)),
        )
    ),
    "image as bias": Case(
        (source(2, 9, 7, neuron=cuba(300, 4096, 200)), conv(KERNEL, (4, 7, 6), CUBA)),
        values=(-50, 200),
        still=True,
    ),
    "vector as bias": Case(
        (source(20, neuron=cuba(300, 4096, 200)), dense(even(4, 12, 20), CUBA), LAST),
        values=(-50, 200),
        still=True,
    ),
    "graded input": Case(
        (dense(even(4, 12, 20), cuba(900)), LAST), Options(input_message_bits=16), (-9, 9)
    ),
    "sigma-delta": Case(
        (
            source(20, neuron=sdnn(3)),
            dense(even(4, 12, 20), sdnn(5)),
            dense(even(3, 5, 12), sdnn(0, sigma_output=True)),
        ),
        values=(-40, 60),
    ),
    "sigma-delta images with biases": Case(
        (
            source(2, 9, 7, neuron=sdnn(0)),
            conv(KERNEL, (4, 7, 6), sdnn(9), bias=even(19, 4)),
            flatten(168),
            dense(even(17, 10, 168), sdnn(7), bias=even(20, 10)),
            dense(even(18, 4, 10), sdnn(0, sigma_output=True)),
        ),
        Options(spike_exp=4),
        values=(0, 100),
        together=True,
    ),
    "delayed sigma-delta": Case(
        (dense(even(4, 12, 20), sdnn(5), delay=np.arange(12)), dense(even(3, 5, 12), sdnn(2))),
        Options(input_message_bits=16),
        values=(-400, 600),
    ),
    "sigma-delta loop": Case(
        (dense(even(4, 12, 20), sdnn(5), weight_rec=2 * np.eye(12)),),
        Options(input_message_bits=16, spike_exp=0),
        values=(-4, 6),
    ),
    "spikes from sigma-delta": Case(
        (dense(even(4, 12, 20), sdnn(5)), dense(even(3, 5, 12), cuba(900))),
        Options(input_message_bits=16, spike_exp=2),
        values=(-40, 60),
    ),
    "resonators": Case(
        (
            complex_dense(21, 12, 20, resonator("RF_PHASE", 2100, 3300, 60)),
            complex_dense(23, 5, 12, resonator("RF_IZHIKEVICH", 3000, 2500, 90)),
            dense(even(25, 3, 5), cuba(40)),
        )
    ),
    "resets": Case(
        (dense(even(4, 12, 20), CUBA, bias=even(10, 12)), LAST),
        Options(reset_interval=8, reset_offset=1),
    ),
    "resets from the first step": Case(
        (dense(even(4, 12, 20), CUBA, bias=even(10, 12)), LAST),
        Options(reset_interval=7),
        together=True,
    ),
}


def inputs_for(name: str, case: Case, program: Program) -> np.ndarray:
    """Half of the entries are 0, unless the input is a still image."""
    rng = np.random.default_rng(sorted(CASES).index(name))
    shape = (SAMPLES, 1 if case.still else STEPS, *program.inputs[0].shape)
    values = rng.integers(*case.values, shape, endpoint=True)
    if case.still:
        return np.broadcast_to(values, (SAMPLES, STEPS, *shape[2:]))
    return values * (rng.random(shape) < 0.5)


@dataclass(frozen=True, eq=False)
class Result:
    """A case in our simulator and in NetX."""

    program: Program
    ours: Trace
    theirs: Trace


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """All cases, in one process of Lava's."""
    folder = tmp_path_factory.mktemp("netx")
    runs, expected = [], []
    for number, (name, case) in enumerate(CASES.items()):
        origin = net_files.write(folder / f"{number}.given.net", *case.layers)
        program = read_program(origin, case.options, together=case.together)
        path = folder / f"{number}.net"
        options = write_net(program, path)
        values = inputs_for(name, case, program)
        if not program.inputs[0].graded:
            values = (values != 0).astype(np.uint8)
        runs.append(NetxRun(program, path, options, np.asarray(values, np.int32)))
        record = [population.name for population in program.populations]
        expected.append((program, simulate(program, values, LoihiMachine(), record=record)))
    traces = run_files(runs, timeout=300, states=True)
    return {
        name: Result(program, ours, theirs)
        for name, (program, ours), theirs in zip(CASES, expected, traces, strict=True)
    }


@pytest.mark.parametrize("name", CASES)
def test_our_files_do_in_netx_what_our_simulator_does(
    name: str, results: dict[str, Result]
) -> None:
    result = results[name]
    for population in result.program.populations:
        own = population.name
        for kind in ("spikes", "values"):
            ours, theirs = getattr(result.ours, kind), getattr(result.theirs, kind)
            assert (own in ours) == (own in theirs)
            if own in ours:
                np.testing.assert_array_equal(ours[own], theirs[own], err_msg=f"{own}.{kind}")
        for state, values in result.theirs.states[own].items():
            np.testing.assert_array_equal(
                result.ours.states[own][state], values, err_msg=f"{own}.{state}"
            )


def test_the_architectures_are_not_silent(results: dict[str, Result]) -> None:
    for name, result in results.items():
        for population in result.program.populations:
            fired = result.ours.spikes[population.name]
            silent = np.all(population.parameters.get("du", 0) == -1)  # an integrator's u is read
            assert silent or fired.mean() > 0.005, (name, population.name)
    page = (pages_of_docs.FOLDER / "lava_dl.md").read_text("utf-8")
    assert f"{len(CASES)} architectures that we write" in page


CHANGED: dict[str, tuple[list[list[int]], list[list[int]] | None]] = {
    "no positive, least a power of two": ([[-128, -2], [-6, -10]], None),
    "greatest 0, least a power of two": ([[-64, 0], [-6, -2]], None),
    "greatest 0, odd, beyond -128": ([[-255, 0], [-6, -10]], None),
    "negative with -256": ([[-256, -3], [-6, -10]], None),
    "excitatory beyond 255": ([[300, 2], [6, 10]], None),
    "255 of both signs": ([[255, -2], [6, 10]], None),
    "a loop of one sign, odd, beyond 127": ([[200, -2], [6, 10]], [[3, 1], [1, 5]]),
}


def test_netx_changes_the_weights_that_we_refuse(tmp_path: Path) -> None:
    """Neurons whose u is what the last step brought; input 0 spikes, then both neurons do."""
    neuron, x = cuba(0, 4096, 4096), np.zeros((1, 6, 2), np.uint8)
    x[0, 0, 0] = 1
    shapes = read_program(
        net_files.write(tmp_path / "shapes.net", dense(np.eye(2), neuron, weight_rec=np.eye(2)))
    )
    runs = []
    for number, (weight, loop) in enumerate(CHANGED.values()):
        fields = {} if loop is None else {"weight_rec": np.array(loop)}
        layer = dense(np.array(weight), neuron, **fields)
        path = net_files.write(tmp_path / f"{number}.net", layer)
        with pytest.raises(NeurodeployError, match=r"NetX and Lava would change|weight holds 300"):
            read_program(path)
        runs.append(NetxRun(shapes, path, DEFAULT, x))
    for (name, (weight, loop)), trace in zip(
        CHANGED.items(), run_files(runs, timeout=120, states=True), strict=True
    ):
        u = trace.states["layer0"]["u"][0] / 64
        fed_back = 0 if loop is None else np.array(loop) @ trace.spikes["layer0"][0, 0]
        assert not (
            np.array_equal(u[0], np.array(weight)[:, 0])
            and (loop is None or np.array_equal(u[1], fed_back))
        ), name


def test_samples_are_runs_of_their_own() -> None:
    """What a delay or a loop carries from the end of one sample must not reach the next."""
    rng = np.random.default_rng(8)
    layers = (dense(even(4, 6, 8), CUBA, delay=4), dense(even(5, 6, 6), CUBA, weight_rec=np.eye(6)))
    x = (rng.random((3, 12, 8)) < 0.4).astype(np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        program = read_program(net_files.write(Path(folder) / "x.net", *layers))
    ours = api.run(program, x, record=["layer0", "layer1"])
    theirs = api.run(program, x, record=["layer0", "layer1"], backend="netx")
    for name in ("layer0", "layer1"):
        np.testing.assert_array_equal(ours.spikes[name], theirs.spikes[name])
        np.testing.assert_array_equal(ours.states[name]["u"], theirs.states[name]["u"])
    assert ours.spikes["layer1"].any()


def test_an_image_that_changes_is_refused(tmp_path: Path) -> None:
    path = net_files.write(tmp_path / "x.net", *CASES["vector as bias"].layers)
    x = np.zeros((1, 3, 20), np.int32)
    x[0, 1] = 5
    with pytest.raises(InputError, match=r"input: NetX takes the input as the neurons' bias"):
        run_in_netx(path, x, timeout=60)
    with pytest.raises(InputError, match=r"constant, in -4096\.\.4095"):
        run_in_netx(path, np.full((1, 3, 20), 5000), timeout=60)


def test_the_time_limit_ends_netx(tmp_path: Path) -> None:
    path = net_files.write(tmp_path / "x.net", *CASES["deep"].layers)
    with pytest.raises(LavaError, match=r"time limit of 2 s"):
        run_in_netx(path, np.zeros((1, 200_000, 20), np.uint8), timeout=2)


def test_our_files_keep_the_decays_of_resonators(tmp_path: Path) -> None:
    """NetX computes them anew in float64, and would now and then arrive at one less."""
    rng = np.random.default_rng(3)
    x = (rng.random((1, 30, 6)) < 0.5).astype(np.uint8)
    programs, runs = [], []
    for number, (sine, cosine) in enumerate(rng.integers(-2800, 2800, (12, 2)).tolist()):
        layer = complex_dense(number, 5, 6, resonator("RF_IZHIKEVICH", sine, cosine, 70))
        program = read_program(net_files.write(tmp_path / "given.net", layer))
        path = tmp_path / f"{number}.net"
        runs.append(NetxRun(program, path, write_net(program, path), x))
        programs.append(program)
        assert read_program(path).populations[0].parameters == program.populations[0].parameters
    for program, trace in zip(programs, run_files(runs, timeout=120, states=True), strict=True):
        ours = simulate(program, x, LoihiMachine(), record=["layer0"])
        for state in ("real", "imag"):
            np.testing.assert_array_equal(
                ours.states["layer0"][state], trace.states["layer0"][state]
            )
