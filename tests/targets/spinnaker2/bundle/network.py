"""A program with every kind of neurons and synapses, made by hand, and bundles of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.network import InputPort
from neurodeploy.program import Neurons, Program, Synapses
from neurodeploy.targets.spinnaker2.bundle.writing import Job
from neurodeploy.targets.spinnaker2.machine import SpiNNaker2Machine
from neurodeploy.targets.spinnaker2.models import MODELS, SUBTRACT, TO_V_RESET

MACHINE = SpiNNaker2Machine()
STANDIN = Path(__file__).resolve().parent.parent / "standin"
SAMPLES, STEPS = 2, 12
ATOMS = 16


def neurons(
    name: str, shape: tuple[int, ...], depth: int, model: str, threshold: float, **more: Any
) -> Neurons:
    values = {"alpha_decay": 0.9, "i_offset": 0.0, "v_init": 0.0, "v_reset": 0.0}
    values |= {"exc_decay": 0.5, "inh_decay": 0.25, "threshold": threshold}
    registers: dict[str, Any] = {
        register: np.array([values[register]], np.float32) for register in MODELS[model].registers
    }
    registers["reset"] = np.array([more.pop("reset", SUBTRACT)])
    if MODELS[model].filtered:
        registers["t_refrac"] = np.array([0])
    readout = more.pop("readout", "spikes")
    registers |= more
    return Neurons(name, shape, depth, registers, np.full(1, 4.0), model, readout=readout)


def program() -> Program:
    """Input 2x8x8, then

    - `conv`: a sum pooling and a convolution, in one kernel;
    - `full`: dense and recurrent, with parameters of each neuron;
    - `late`: a convolution written out, with delays;
    - `filtered`: synaptic currents, both ports, a delay for every synapse;
    - `read`: read as membrane potential.
    """
    random = np.random.default_rng(1)

    def weights(most: int, *shape: int) -> Any:
        return random.integers(-most, most + 1, shape)

    blocks = weights(60, 3, 2, 3, 3).repeat(2, axis=2).repeat(2, axis=3)
    full, late, signed = weights(100, 10, 48), weights(15, 2, 3, 3, 3), weights(15, 5, 10)
    delays = random.integers(0, 8, signed.shape)
    image, small = (3, 4, 4), (2, 4, 4)
    own = random.uniform(-2, 6, 10).astype(np.float32)
    return Program(
        target="spinnaker2",
        inputs=(InputPort("input", (2, 8, 8)),),
        populations=(
            neurons("conv", image, 1, "lif_conv2d", 150.0),
            neurons("full", (10,), 2, "lif_no_delay", 90.0, reset=TO_V_RESET, i_offset=own),
            neurons("late", small, 2, "lif", 12.0),
            neurons("filtered", (5,), 3, "lif_curr_exp", 9.0),
            neurons("read", (4,), 4, "lif_no_delay", 1e9, readout="membrane"),
        ),
        synapses=(
            Synapses("a", "input", "conv", "conv2d", blocks, 0, (2, 8, 8), image, (2, 2), (2, 2)),
            Synapses("b", "conv", "full", "dense", full, 0, image, (10,)),
            Synapses("c", "full", "full", "dense", weights(30, 10, 10), 0, (10,), (10,)),
            Synapses(
                "d", "conv", "late", "conv2d", late, 0, image, small, (1, 1), (1, 1),
                delay=np.array([2]),
            ),
            *(
                Synapses(
                    f"e {port}", "full", "filtered", "dense", np.maximum(sign * signed, 0), 0,
                    (10,), (5,), delay=delays, port=port,
                )
                for sign, port in ((1, "excitatory"), (-1, "inhibitory"))
            ),
            Synapses("f", "filtered", "read", "dense", weights(127, 4, 5), 0, (5,), (4,)),
        ),
        outputs=("read",),
        graph={},
    )  # fmt: skip


def spikes(samples: int = SAMPLES) -> Any:
    random = np.random.default_rng(2)
    return (random.random((samples, STEPS, 2, 8, 8)) < 0.3).astype(np.uint8)


def job(**more: Any) -> Job:
    made = program()
    given = {"input": spikes()}
    labels = np.zeros(SAMPLES, np.int64)
    return Job(made, dict.fromkeys(made.shapes, ATOMS), 1e-3, given, labels, **more)


@dataclass(frozen=True)
class Run:
    """What a run of `deploy.py` left."""

    code: int
    stderr: str
    report: dict[str, Any]
    calls: list[dict[str, Any]] = field(repr=False)

    @property
    def kinds(self) -> list[str]:
        return [problem["kind"] for problem in self.report["problems"]]

    def called(self, name: str) -> list[dict[str, Any]]:
        return [call for call in self.calls if call["call"] == name]


def deploy(
    folder: Path, *options: str, package: bool = True, fault: str = "", variant: str = ""
) -> Run:
    """Run `deploy.py` of a bundle as its user does, on the stand-in for py-spinnaker2."""
    calls = folder / "calls"
    calls.unlink(missing_ok=True)
    path = [str(STANDIN)] * package + sys.path
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path),
        "STANDIN_CALLS": str(calls),
        "STANDIN_FAULT": fault,
        "STANDIN_VARIANT": variant,
    }
    done = subprocess.run(
        [sys.executable, str(folder / "deploy.py"), *options],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    name = "selftest.json" if "--selftest" in options else "report.json"
    said = calls.read_text("utf-8").splitlines() if calls.exists() else []
    report = json.loads((folder / name).read_text("utf-8"))
    return Run(done.returncode, done.stderr, report, [json.loads(line) for line in said])
