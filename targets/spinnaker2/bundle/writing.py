"""Programs as folders that run on a board with numpy and py-spinnaker2 alone.

A bundle holds

- `program.json`: the network for py-spinnaker2, and the SHA-256 of every other file and of itself;
- `arrays.npz`: its parameters and synapses;
- `inputs.npz`: input spikes (samples, steps, *shape) by input, and `labels` where there are any;
- `expected_spikes.npz`: what every population must send, packed bits (samples, steps, bytes); of an
  output that is read as membrane potential also `v/NAME`, float32 (samples, steps, neurons);
- `program.ndp`: the program itself, for reading results back;
- `deploy.py`, `requirements.txt`, `README.md`;
- `selftest/`: the same of a network whose spikes were recorded on a chip.

The same program and inputs give the same bytes on any machine.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import json
import tempfile
from collections.abc import Mapping
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
from neurodeploy.trace import Inputs, Messages, Trace, check_inputs, check_labels

FORMAT = "neurodeploy-spinnaker2-bundle"
VERSION = 1
FILES = ("deploy.py", "requirements.txt", "README.md")
"""What every bundle has, as it lies beside this module."""
DESCRIPTION = "program.json"


def write_bundle(
    program: Program,
    folder: str | Path,
    machine: Machine,
    *,
    atoms: Mapping[str, int],
    sys_tick: float,
    inputs: Inputs | None = None,
    labels: NDArray[Any] | None = None,
) -> str:
    """Write a bundle of `program` and return the SHA-256 of what it consists of.

    Parameters
    ----------
    folder: made if it does not exist; a bundle that lies there is replaced.
    atoms: neurons of each input and population on one core, at most.
    sys_tick: length of a tick in s.
    inputs: spikes (samples, steps, *shape) to run on the chip; those of the golden traces if None.
    labels: integer class of each sample.

    Raises
    ------
    ModelError
        What py-spinnaker2 cannot be told.
    InputError
        Inputs or labels that do not fit.
    FileError
        The folder holds something else, or cannot be written.
    """
    path = Path(folder)
    _make(path)
    main = _parts(program, machine, atoms, sys_tick, inputs, labels)
    return _write(path, main, selftest=True)


def _parts(
    program: Program,
    machine: Machine,
    atoms: Mapping[str, int],
    sys_tick: float,
    inputs: Inputs | None,
    labels: NDArray[Any] | None,
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The description without hashes, and the files with arrays."""
    if inputs is None:
        if program.golden is None:
            raise InputError("the program has no golden traces, so inputs must be given")
        inputs = program.golden.inputs
    spikes = check_inputs(inputs, program.input_shapes, program.graded)
    samples, steps = next(iter(spikes.values())).shape[:2]
    truth = check_labels(labels, samples)
    if "labels" in spikes and truth is not None:
        raise InputError("an input is called 'labels', so no labels can lie beside it")
    network, arrays = network_of(program, atoms)
    description = {
        "format": FORMAT,
        "version": VERSION,
        "neurodeploy": __version__,
        "program": program.hash,
        "samples": samples,
        "steps": steps,
        "ticks": steps + program.depth,
        "sys_tick": sys_tick,
        **network,
    }
    given: dict[str, Messages] = {**spikes, **({} if truth is None else {"labels": truth})}
    members = {
        "arrays.npz": archive.npz(arrays),
        "inputs.npz": archive.npz(given),
        "expected_spikes.npz": archive.npz(_expected(program, machine, spikes)),
    }
    return description, members


def _expected(program: Program, machine: Machine, inputs: Mapping[str, Messages]) -> Arrays:
    """What every population sends, and the potentials of outputs that are read by these."""
    membranes = [
        name for name in program.outputs if program.population(name).readout == "membrane"
    ]
    trace: Trace = simulate(program, inputs, machine, record=membranes)
    expected: Arrays = {}
    for population in program.populations:
        spikes = trace.spikes[population.name]
        flat = spikes.reshape(*spikes.shape[:2], -1)
        expected[population.name] = np.packbits(flat, axis=-1)
        if population.name in membranes:
            if flat.any():
                raise ModelError(
                    "it is read as membrane potential but spikes, and then the chip's recording "
                    "does not hold the potential",
                    node=population.name,
                )
            values = trace.states[population.name]["v"].astype(np.float32, copy=False)
            expected[f"v/{population.name}"] = values.reshape(flat.shape)
    return expected


def _write(path: Path, parts: tuple[dict[str, Any], dict[str, bytes]]) -> str:
    description, members = parts
    for name, data in members.items():
        archive.write_atomically(path / name, data)
    description = {**description, "files": {n: _sha256(data) for n, data in members.items()}}
    digest = _sha256(canonical(description))
    text = json.dumps({**description, "sha256": digest}, indent=1, sort_keys=True) + "\n"
    archive.write_atomically(path / DESCRIPTION, text.encode())
    return digest


def canonical(value: Any) -> bytes:
    """The bytes of plain data that are hashed, here and in `deploy.py`."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
