"""Our metrics against NeuroBench's own values, and every count against a plain recount in numpy."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import neurodeploy as nd
from neurodeploy import reference
from neurodeploy.costs import Metrics, metrics
from neurodeploy.costs.metrics import WIDTHS
from neurodeploy.network import InputPort
from neurodeploy.program import Neurons, Program, Synapses
from neurodeploy.trace import Trace
from tests.conformance.neurobench.worker import network
from tests.costs.provenance import unproven

WORKER = Path(__file__).resolve().parent / "neurobench" / "worker.py"
ENVIRONMENT = Path(__file__).resolve().parents[2] / ".venv-nir"
OPERATIONS = ("Effective_MACs", "Effective_ACs", "Dense")

# NeuroBench's own example of a spiking network, for speech commands (examples/gsc/SNN.py).
SPEECH: list[dict[str, Any]] = [
    {"kind": "flatten"},
    *(
        layer
        for index in range(4)
        for layer in (
            {"kind": "linear", "weight": f"w{index}"},
            {"kind": "leaky", "beta": 0.9, "threshold": 1.0},
        )
    ),
]
SIZES = (20, 256, 256, 256, 35)


def grid(rng: np.random.Generator, shape: tuple[int, ...], size: float) -> np.ndarray:
    """Integers with zeros among them, scaled: no other value becomes 0 in 8 bits."""
    keep = rng.random(shape) < 0.7
    return (keep * rng.integers(-100, 101, shape) * size / 100).astype(np.float32)


@pytest.fixture(scope="module")
def speech() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    weights = {f"w{i}": grid(rng, (SIZES[i + 1], SIZES[i]), 4 / SIZES[i] ** 0.5) for i in range(4)}
    return {"x": (rng.random((3, 20, 20)) < 0.2).astype(np.float32), **weights}


@pytest.fixture(scope="module")
def convolution() -> tuple[Program, Trace]:
    """Groups, a stride and padding; integers come in, and only spikes in some of the steps."""
    rng = np.random.default_rng(1)
    weight = rng.integers(-2, 3, (6, 2, 3, 3)) * 2
    shape, out = (4, 7, 6), (6, 4, 3)
    synapses = Synapses(
        "in->a",
        "in",
        "a",
        "conv2d",
        weight,
        0,
        shape,
        out,
        stride=(2, 2),
        padding=(1, 1),
        groups=2,
        graded=True,
    )
    registers = {"du": np.array([4095]), "dv": np.array([300]), "vth": np.array([1000])}
    program = Program(
        "loihi2",
        (InputPort("in", shape, graded=True),),
        (Neurons("a", out, 1, registers, np.ones(1)),),
        (synapses,),
        ("a",),
        {},
    )
    x = rng.integers(-3, 4, (2, 6, *shape)).astype(np.int32)
    x[:, ::2] = np.sign(x[:, ::2])
    x[:, 1] = np.clip(x[:, 1], -2, 2)
    return program, Trace.of_sent({"in": x, "a": (rng.random((2, 6, *out)) < 0.3).astype(np.uint8)})


@pytest.fixture(scope="module")
def program(speech: dict[str, np.ndarray]) -> tuple[Program, Trace]:
    """The example compiled, and what snnTorch's neurons did."""
    net = network(SPEECH, speech)
    graph = nd.from_snntorch(net, torch.from_numpy(speech["x"][0, 0][None]))
    loaded = nd.load(graph)
    spikes = speech["x"].astype(np.uint8)
    trace = reference.simulate(loaded, spikes)
    return nd.compile(graph, target="loihi2", calibration=spikes), trace


@pytest.fixture(scope="module")
def found(
    speech: dict[str, np.ndarray],
    convolution: tuple[Program, Trace],
    program: tuple[Program, Trace],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    """What NeuroBench says."""
    folder = tmp_path_factory.mktemp("neurobench")
    conv, trace = convolution
    (synapses,) = conv.synapses
    geometry = {"stride": synapses.stride, "padding": synapses.padding, "groups": synapses.groups}
    arrays = {
        "speech": speech,
        "convolution": {"w": synapses.weight, "x": trace.sent("in")},
        "stored": {f"{index}": narrow(a) for index, a in enumerate(arrays_of(program[0]))},
    }
    jobs = {
        "speech": {"kind": "benchmark", "layers": SPEECH},
        "convolution": {"kind": "layer", "layers": [{"kind": "conv", **geometry}]},
        "stored": {"kind": "stored", "layers": []},
    }
    for name, item in arrays.items():
        np.savez(folder / f"{name}.npz", **item)
    (folder / "jobs.json").write_text(json.dumps(jobs), "utf-8")
    python = Path(os.environ.get("NEURODEPLOY_NIR_ENV", ENVIRONMENT)) / "bin" / "python"
    if not python.exists():
        pytest.fail(f"no NeuroBench: {python} is missing, `make nir` builds it")
    command = [str(python), "-W", "ignore", str(WORKER), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        pytest.fail(f"NeuroBench: {done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads((folder / "found.json").read_text("utf-8"))
    return answer


def arrays_of(program: Program) -> list[np.ndarray]:
    registers = [a for p in program.populations for a in p.parameters.values()]
    return [s.weight for s in program.synapses] + registers


def narrow(array: np.ndarray) -> np.ndarray:
    return next(array.astype(w) for w in WIDTHS if (array.astype(w) == array).all())


def operations(found: Metrics) -> dict[str, float]:
    return {name: q["typical"] for name, q in found.to_dict()["synaptic_operations"].items()}


def test_neurobench_on_its_own_example(
    program: tuple[Program, Trace], found: dict[str, Any]
) -> None:
    ours, theirs = metrics(*program), found["speech"]
    assert operations(ours) == pytest.approx(theirs["SynapticOperations"], rel=1e-12)
    assert ours.effective_acs.typical > 1000
    assert round(ours.connection_sparsity.typical, 4) == theirs["ConnectionSparsity"]
    assert ours.activation_sparsity.typical == pytest.approx(theirs["ActivationSparsity"], rel=1e-9)
    assert 0.5 < ours.activation_sparsity.typical < 0.99
    assert not list(unproven(ours.to_dict()))


def test_operations_of_a_convolution_on_integers(
    convolution: tuple[Program, Trace], found: dict[str, Any]
) -> None:
    conv, trace = convolution
    ours = {n: v * trace.samples for n, v in operations(metrics(conv, trace)).items()}
    assert ours == found["convolution"]
    assert all(ours[name] > 0 for name in OPERATIONS)


def test_what_is_stored(program: tuple[Program, Trace], found: dict[str, Any]) -> None:
    ours = metrics(*program)
    assert ours.footprint.typical == found["stored"]["footprint"]
    assert ours.parameter_count.typical == found["stored"]["parameter_count"]


def test_a_plain_recount(convolution: tuple[Program, Trace]) -> None:
    """Output by output, tap by tap."""
    conv, trace = convolution
    (synapses,) = conv.synapses
    padded = np.pad(trace.sent("in"), [(0, 0)] * 3 + [(1, 1)] * 2)
    there = np.pad(np.ones(synapses.in_shape), [(0, 0), (1, 1), (1, 1)])
    totals = dict.fromkeys(OPERATIONS, 0)
    for t in range(trace.steps):
        binary = set(np.unique(trace.sent("in")[:, t])) <= {-1, 0, 1}
        for o, i, j in np.ndindex(*synapses.out_shape):
            first = 2 * (o // 3)
            window = np.s_[first : first + 2, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
            taps = synapses.weight[o] != 0
            met = sum(int(((sample[t][window] != 0) & taps).sum()) for sample in padded)
            totals["Effective_ACs" if binary else "Effective_MACs"] += met
            totals["Dense"] += trace.samples * int(there[window].sum())
    ours = {n: v * trace.samples for n, v in operations(metrics(conv, trace)).items()}
    assert ours == totals
    zeros = sum(1 for w in synapses.weight.reshape(-1) if w == 0)
    found = metrics(conv, trace)
    assert found.connection_sparsity.typical == zeros / synapses.weight.size
    silent = sum(1 for s in trace.spikes["a"].reshape(-1) if not s)
    assert found.activation_sparsity.typical == pytest.approx(silent / trace.spikes["a"].size)


def test_floats_are_stored_as_they_are(convolution: tuple[Program, Trace]) -> None:
    conv, trace = convolution
    (neurons,) = conv.populations
    registers = {"decay": np.zeros(7, np.float32)}
    floats = replace(conv, populations=(replace(neurons, parameters=registers),))
    weights = conv.synapses[0].weight.size
    assert metrics(floats, trace).footprint.typical == weights + 28


def test_packed_spikes_are_the_same(program: tuple[Program, Trace]) -> None:
    compiled, expected = program
    packed = nd.run(compiled, expected.spikes["input"])
    plain = Trace({name: packed.spikes[name] for name in compiled.shapes}, values=packed.values)
    assert metrics(compiled, packed) == metrics(compiled, plain)
