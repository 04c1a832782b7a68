"""The way onto a chip, as far as it goes without one: what is missing, and the job itself."""

from __future__ import annotations

import json
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

from neurodeploy import api
from neurodeploy.errors import LavaError, TargetError
from neurodeploy.frontends.nir import load
from neurodeploy.network import Network
from neurodeploy.program import Program
from neurodeploy.simulator.engine import simulate
from neurodeploy.targets.loihi.lava import environment
from neurodeploy.targets.loihi.lava.job import write_job
from neurodeploy.targets.loihi.machine import LoihiMachine
from neurodeploy.targets.loihi.silicon import run_on_loihi2
from neurodeploy.targets.loihi.vendor import to_lava
from neurodeploy.trace import Messages, Spikes, check_inputs
from tests.builders import (
    SUBTRACT,
    ZERO,
    chain,
    compiled,
    conv,
    cuba,
    lif,
    merged,
    network,
    small_program,
)
from tests.targets.loihi.interpreters import script

LAVA = Path(environment.__file__).parent
Case = tuple[Program, dict[str, Messages]]


@pytest.fixture(scope="module")
def small() -> tuple[Program, Spikes]:
    _, program, spikes = small_program()
    return program, spikes[:2]


def in_environment(text: str, *arguments: str) -> Any:
    """What a script says, in JSON, in the environment of Lava, with the worker importable."""
    start = f"import sys; sys.path.append({str(LAVA)!r})\n"
    done = subprocess.run(
        [environment.locate().python, "-I", "-c", start + text, *arguments],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


# --- what is missing -----------------------------------------------------------------------------


def test_no_environment(
    small: tuple[Program, Spikes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEURODEPLOY_LAVA_ENV", str(tmp_path))
    with pytest.raises(LavaError, match="there is no Lava environment"):
        api.run(*small, backend="loihi2")


def test_no_package_of_intels(small: tuple[Program, Spikes]) -> None:
    """For real: nobody outside Intel's community has it."""
    with pytest.raises(TargetError, match=r"Loihi 2 needs lava-loihi, which .* does not have"):
        api.run(*small, backend="loihi2")
    stage = api.verify(*small, backend="loihi2").stage("vendor")
    assert stage.status == "not run"
    assert "lava-loihi" in stage.text
    assert "not run on silicon by us" in stage.title


def test_no_host(
    small: tuple[Program, Spikes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker's answer, which `test_where_a_host_is_looked_for` provokes."""
    versions = {"lava-nc": "0.10.0", "python": "3.10.2"}
    answer = {"schema": 1, "status": "ok", "versions": versions, "missing": "host"}
    monkeypatch.setenv("NEURODEPLOY_LAVA_ENV", str(tmp_path))
    marker = {"schema": 1, "versions": environment.requirements("3.10")}
    (tmp_path / environment.MARKER).write_text(json.dumps(marker))
    write = f"for job; do :; done\ncat >\"$job/result.json\" <<'END'\n{json.dumps(answer)}\nEND\n"
    script(tmp_path / "bin" / "python", write)
    with pytest.raises(TargetError, match=r"no host of a Loihi 2 board can be reached") as caught:
        api.run(*small, backend="loihi2")
    assert "NXSDKHOST" in str(caught.value)


LOOK = """
import json, os, lava.utils, loihi_worker
def look(variables):
    os.environ.update(variables)
    return loihi_worker.missing()
folder, cases = sys.argv[1], json.loads(sys.argv[2])
without = [look(case) for case in cases]
lava.utils.__path__.append(folder)
print(json.dumps([without, [look(case) for case in cases]]))
"""
TOOLS = [
    ({}, "", "host"),
    ({"sinfo": "exit 1\n"}, "", "host"),
    ({"sinfo": "echo boards\n"}, "", None),
    ({"ping": "echo pong\n"}, "", "host"),
    ({"ping": "exit 1\n"}, "192.0.2.1", "host"),
    ({"ping": "echo pong\n"}, "192.0.2.1", None),
    ({}, "192.0.2.1", "host"),
]
"""Programs in the PATH, NXSDKHOST, and what is missing then."""


def test_where_a_host_is_looked_for(tmp_path: Path) -> None:
    """By lava-nc's own functions; an empty module has the name by which these find lava-loihi."""
    (tmp_path / "loihi2_profiler.py").touch()
    found = []
    for number, (tools, address, _) in enumerate(TOOLS):
        folder = tmp_path / str(number)
        for name, text in tools.items():
            script(folder / name, text)
        found.append({"PATH": str(folder), "NXSDKHOST": address})
    without, with_package = in_environment(LOOK, str(tmp_path), json.dumps(found))
    assert without == ["lava-loihi"] * len(TOOLS)
    assert with_package == [expected for *_, expected in TOOLS]


def refused(program: Program, words: str) -> None:
    shape = (1, 5, *program.inputs[0].shape)
    with pytest.raises(TargetError, match=words):
        api.run(program, np.zeros(shape), backend="loihi2")


def test_what_a_chip_is_not_sent() -> None:
    from tests.conformance.test_loihi_lowering import READOUTS, readout

    spikes = np.ones((1, 5, 6))
    refused(compiled(readout(READOUTS["leaky"][0]), spikes), "its potential is read")
    program = compiled(network((6,), lif=lif(np.full(6, 0.5))), spikes)
    with pytest.raises(TargetError, match="states of neurons on a chip are not read"):
        api.run(program, spikes, backend="loihi2", record=["lif"])


# --- the job -------------------------------------------------------------------------------------


def biased() -> Network:
    """Constant biases in both forms of the neuron, three layers deep, with a loop and delays."""
    rng = np.random.default_rng(0)
    nodes = {
        "input": nir.Input({"input": np.array([5])}),
        "a": nir.Affine(rng.normal(0.2, 0.4, (6, 5)), rng.uniform(0, 0.3, 6)),
        "lif1": lif(np.full(6, 0.9), semantics=SUBTRACT),
        "b": nir.Affine(rng.normal(0.2, 0.4, (4, 6)), rng.uniform(0, 0.3, 4)),
        "lif2": lif(np.full(4, 0.9), semantics=ZERO),
        "c": nir.Affine(rng.normal(0.2, 0.4, (3, 4)), rng.uniform(0.1, 0.4, 3)),
        "lif3": cuba(np.full(3, 0.5), np.full(3, 0.75)),
        "skip": nir.Linear(rng.normal(0.2, 0.4, (3, 5))),
        "back": nir.Linear(rng.normal(0, 0.3, (6, 6))),
        "output": nir.Output({"output": np.array([3])}),
    }
    names = ["input", "a", "lif1", "b", "lif2", "c", "lif3", "output"]
    edges = [*pairwise(names), ("input", "skip"), ("skip", "lif3")]
    edges += [("lif1", "back"), ("back", "lif1")]
    return merged(load(nir.NIRGraph(nodes, edges, type_check=False)))


def analog(net: Network, seed: int) -> Case:
    x = np.random.default_rng(seed).uniform(-0.3, 1.2, (2, 15, *net.inputs[0].shape))
    program = compiled(net, x)
    return program, check_inputs(x, program.input_shapes, program.graded, program.grids)


def cases() -> dict[str, Case]:
    rng = np.random.default_rng(1)
    spikes = (rng.random((2, 20, 5)) < 0.4).astype(np.uint8)
    image = network(
        (2, 5, 5),
        c=conv(rng.normal(0.1, 0.4, (3, 2, 3, 3)), bias=0.1),
        lif=lif(np.full((3, 3, 3), 0.9), semantics=SUBTRACT),
        d=conv(rng.normal(0.1, 0.4, (2, 3, 2, 2))),
        out=lif(np.full((2, 2, 2), 0.9)),
    )
    fed = network(
        (6,), fc=nir.Affine(np.eye(6), np.full(6, 0.1)), lif=lif(np.full(6, 0.9)),
        d=nir.Linear(rng.normal(0.2, 0.4, (4, 6))), out=lif(np.full(4, 0.9), semantics=SUBTRACT),
    )  # fmt: skip
    return {
        "biases": (compiled(biased(), spikes), {"input": spikes}),
        "convolutions of analog values": analog(image, 2),
        "an analog bias": analog(fed, 3),
    }


CASES = cases()


@pytest.mark.parametrize("name", CASES)
def test_the_job_does_in_lavas_simulation_what_it_should(name: str) -> None:
    """lava-nc's own processes and models; the host sets biases and states between their steps."""
    program, x = CASES[name]
    ours = simulate(program, x, LoihiMachine())
    theirs = run_on_loihi2(program, x, timeout=120, board=False)
    for population in program.populations:
        assert ours.spikes[population.name].any()
        np.testing.assert_array_equal(
            ours.sent(population.name), theirs.sent(population.name), err_msg=population.name
        )


BUILD = """
import json, traceback
import numpy as np
import loihi_worker
from lava.magma.core.run_conditions import RunSteps
from pathlib import Path
job = Path(sys.argv[1])
network = json.loads((job / "job.json").read_text())["networks"][0]
arrays = np.load(job / "arrays.npz")
def said(call):
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
built = loihi_worker.Network(network, arrays, False)
config = loihi_worker.config(True)
neuron = built.neurons["lif"]
synapse = neuron.a_in.get_src_ports()[0].process
print(json.dumps({
    "neurons": {name: type(p).__module__ for name, p in built.neurons.items()},
    "sinks": [type(p).__module__ for p in built.sinks],
    "into lif": type(synapse).__module__,
    "config": type(config).__name__,
    "run": said(lambda: neuron.run(condition=RunSteps(1), run_cfg=config)),
    "adapters": said(lambda: loihi_worker.Network(network, arrays, True)),
}))
"""


def test_up_to_where_the_closed_package_is_needed(tmp_path: Path) -> None:
    """lava-nc's objects for the chip, and what lava-nc says then: this is how far it comes here."""
    fc = nir.Linear(np.ones((3, 2)))
    program = api.compile(
        chain((2,), fc=fc, lif=lif(np.full(3, 0.5))),
        target="loihi2",
        calibration=np.ones((1, 4, 2)),
    )
    inputs = {"input": np.ones((1, 4, 2), np.uint8)}
    write_job([to_lava(program, inputs, states=False)], tmp_path, board=True)
    assert in_environment(BUILD, str(tmp_path)) == {
        "neurons": {"lif": "lava.proc.lif.process"},
        "sinks": ["lava.proc.io.sink"],
        "into lif": "lava.proc.dense.process",
        "config": "Loihi2HwCfg",
        "run": "NameError: name 'CLoihiProcessModel' is not defined",
        "adapters": "ImportError: cannot import name 'embedded_io' from 'lava.proc' (unknown "
        "location)",
    }
