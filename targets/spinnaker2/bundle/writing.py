"""Programs as folders that run on a board with numpy and py-spinnaker2 alone.

A bundle holds

- `program.json`: the network for py-spinnaker2, and the SHA-256 of each file with data and its own;
- `arrays.npz`: parameters and synapses, see `network.network_of`;
- `inputs.npz`: input spikes (samples, steps, *shape) by input, and `labels` where there are any;
- `expected_spikes.npz`: what every population must send, packed bits (samples, steps, bytes); of an
  output that is read as membrane potential also `v/NAME`, float32 (samples, steps, neurons);
- `program.ndp`: the program itself, for reading results back;
- `selftest/`: the first four files of a network whose spikes were recorded on a chip;
- `deploy.py`, `requirements.txt`, `README.md`.

The same program and inputs give the same bytes on any machine.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy import archive
from neurodeploy._version import __version__
from neurodeploy.errors import FileError, InputError, ModelError
from neurodeploy.program import Program
from neurodeploy.simulator.engine import simulate
from neurodeploy.target import Machine
from neurodeploy.targets.spinnaker2.bundle.network import Arrays, network_of
from neurodeploy.trace import Messages

FORMAT = "neurodeploy-spinnaker2-bundle"
VERSION = 1
DESCRIPTION, PROGRAM = "program.json", "program.ndp"
STATIC = ("deploy.py", "requirements.txt", "README.md")


@dataclass(frozen=True, eq=False)
class Job:
    """A program, where it runs and on what.

    Attributes
    ----------
    atoms: neurons of each input and population on one core, at most.
    sys_tick: length of a tick in s.
    inputs: spikes (samples, steps, *shape), as `trace.check_inputs` returns them.
    labels: integer class of each sample.
    recorded: population, ticks and SHA-256 of the packed spikes (ticks, neurons) of a run on a
        chip, where there was one.
    """

    program: Program
    atoms: Mapping[str, int]
    sys_tick: float
    inputs: Mapping[str, Messages]
    labels: NDArray[np.int64] | None = None
    recorded: Mapping[str, Any] | None = None


def write_bundle(job: Job, selftest: Job, machine: Machine, folder: str | Path) -> str:
    """Write a bundle and return the SHA-256 of its description, and with it of all its data.

    Parameters
    ----------
    folder: made if it does not exist; a bundle that lies there is replaced.

    Raises
    ------
    ModelError
        What py-spinnaker2 cannot be told.
    FileError
        The folder holds something else, or cannot be written.
    """
    path = Path(folder)
    files = _files(job, machine)
    inner = _files(selftest, machine)
    inner[DESCRIPTION] = _description(selftest, inner)[0]
    files |= {f"selftest/{name}": data for name, data in inner.items()}
    _check_place(path)
    files[PROGRAM] = job.program.to_bytes()
    description, digest = _description(job, files)
    own = importlib.resources.files(__package__)
    files |= {name: own.joinpath(name).read_bytes() for name in STATIC}
    archive.write_folder(path, {**files, DESCRIPTION: description})
    return digest


def _check_place(path: Path) -> None:
    """A folder that holds something else is left alone."""
    try:
        strange = path.exists() and any(path.iterdir()) and not (path / DESCRIPTION).exists()
    except OSError as error:
        raise FileError(f"cannot be made ({error.strerror})", node=str(path)) from error
    if strange:
        raise FileError("holds other files, and no bundle", node=str(path))


def _files(job: Job, machine: Machine) -> dict[str, bytes]:
    """The arrays of a job, as files."""
    _, arrays = network_of(job.program, job.atoms)
    given = dict(job.inputs)
    if job.labels is not None:
        if "labels" in given:
            raise InputError("an input is called 'labels', so no labels can lie beside it")
        given["labels"] = job.labels
    return {
        "arrays.npz": archive.npz(arrays),
        "inputs.npz": archive.npz(given),
        "expected_spikes.npz": archive.npz(_expected(job, machine)),
    }


def _expected(job: Job, machine: Machine) -> Arrays:
    """What every population sends, and the potentials of outputs that are read by these."""
    populations = job.program.populations
    membranes = {p.name for p in populations if p.readout == "membrane"}
    trace = simulate(job.program, job.inputs, machine, record=membranes)
    expected: Arrays = {}
    for name in (p.name for p in populations):
        spikes = trace.spikes[name]
        flat = spikes.reshape(*spikes.shape[:2], -1)
        expected[name] = np.packbits(flat, axis=-1)
        if name in membranes:
            if flat.any():
                raise ModelError(
                    "it is read as membrane potential but spikes, and the chip records potentials "
                    "after the reset",
                    node=name,
                )
            expected[f"v/{name}"] = trace.states[name]["v"].reshape(flat.shape)
    return expected


def _description(job: Job, files: Mapping[str, bytes]) -> tuple[bytes, str]:
    """`program.json`, and the SHA-256 in it."""
    samples, steps = next(iter(job.inputs.values())).shape[:2]
    network, _ = network_of(job.program, job.atoms)
    description = {
        "format": FORMAT,
        "version": VERSION,
        "neurodeploy": __version__,
        "program": job.program.hash,
        "samples": samples,
        "steps": steps,
        "ticks": steps + job.program.depth,
        "sys_tick": job.sys_tick,
        "recorded": job.recorded,
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
        **network,
    }
    plain = json.dumps(description, sort_keys=True, separators=(",", ":"), allow_nan=False)
    digest = hashlib.sha256(plain.encode()).hexdigest()
    text = json.dumps({**description, "sha256": digest}, sort_keys=True, indent=1)
    return (text + "\n").encode(), digest
