"""Files in the real NetX: lava-dl builds the network, Lava's fixed-point models run it."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.errors import InputError, LavaError
from neurodeploy.frontends.lava_dl_synapses import BIASES
from neurodeploy.program import IntArray, Program
from neurodeploy.targets.loihi.lava import environment as env
from neurodeploy.targets.loihi.lava.runner import checked, load_arrays, run_worker
from neurodeploy.targets.loihi.models import MODELS
from neurodeploy.targets.loihi.netx.options import Options
from neurodeploy.targets.loihi.netx.reading import read_program
from neurodeploy.targets.loihi.netx.writing import write_net
from neurodeploy.trace import Inputs, Messages, Spikes, Trace, check_inputs

FILE = "{}.net"
WORKER = "netx_worker.py"


@dataclass(frozen=True, eq=False)
class NetxRun:
    """A file for NetX with its input.

    Attributes
    ----------
    program: what the file means; names, shapes and depths of its blocks are used.
    path: the `.net` file.
    options: what NetX is told besides.
    inputs: what the program's one input gets, (samples, steps, *shape).
    """

    program: Program
    path: Path
    options: Options
    inputs: Messages


def run_in_netx(
    source: Program | str | Path,
    inputs: Inputs,
    *,
    timeout: float,
    options: Options | None = None,
    states: bool = False,
) -> Trace:
    """Run a `.net` file, or a program that can be written as one, in lava-dl's NetX.

    Every sample is a network of its own, so that nothing reaches from one into the next.  Of a
    file, a step of the trace is one of Lava, and all blocks start in the first; of a program,
    blocks start when the first spikes of a sample can reach them.

    Parameters
    ----------
    inputs: (samples, steps, *shape) for the one input.
    timeout: seconds for all.
    options: what NetX is told besides the file; a program has its own.
    states: also return the states of all neurons after every step.

    Raises
    ------
    FileError, ModelError
        A file that NetX cannot run, or a program that is none; see `read_program`, `write_net`.
    InputError
        An input that does not fit, or an image that changes: NetX takes it as a constant bias.
    LavaError
        No environment, another version, a crash, a hang or garbage output.
    """
    with tempfile.TemporaryDirectory(prefix="neurodeploy-netx-") as folder:
        if isinstance(source, Program):
            program, path = source, Path(folder) / "program.net"
            chosen = write_net(program, path)
        else:
            path, chosen = Path(source), Options() if options is None else options
            program = read_program(path, chosen, together=True)
        spikes = check_inputs(inputs, program.input_shapes, program.graded)
        (values,) = spikes.values()
        (trace,) = run_files(
            [NetxRun(program, path, chosen, values)], timeout=timeout, states=states
        )
    return trace


def run_files(runs: Sequence[NetxRun], *, timeout: float, states: bool = False) -> list[Trace]:
    """Run files one after another in one worker process; see `run_in_netx`."""
    environment = env.locate()
    try:
        with tempfile.TemporaryDirectory(prefix="neurodeploy-netx-") as folder:
            job = Path(folder)
            _write_job(runs, job, states=states)
            run_worker(WORKER, [run.path.name for run in runs], job, environment, timeout)
            arrays = load_arrays(job / "result.npz")
    except OSError as error:
        raise LavaError(f"cannot exchange files with the Lava worker: {error}") from error
    return [_trace(index, run, arrays, states=states) for index, run in enumerate(runs)]


def _steps(run: NetxRun) -> int:
    """Lava's steps for a sample: until the last block has seen its end."""
    return int(run.inputs.shape[1]) + run.program.depth


def _write_job(runs: Sequence[NetxRun], job: Path, *, states: bool) -> None:
    networks, arrays = [], {}
    for index, run in enumerate(runs):
        shutil.copyfile(run.path, job / FILE.format(index))
        arrays[f"{index}"] = _stream(run)
        networks.append(
            {
                "name": run.path.name,
                "file": FILE.format(index),
                "options": _arguments(run),
                "feed": _feed(run.program),
                "blocks": [
                    {"graded": p.graded, "record": _fields(p.model, states=states)}
                    for p in run.program.populations
                ],
            }
        )
    np.savez(job / "arrays.npz", **arrays)  # type: ignore[arg-type]
    (job / "job.json").write_text(json.dumps({"schema": 1, "networks": networks}), "utf-8")


def _fields(model: str, *, states: bool) -> list[str]:
    return ["s", *MODELS[model].states] if states else ["s"]


def _arguments(run: NetxRun) -> dict[str, Any]:
    """What NetX is told: Lava's order of axes, and a reset where a sample reaches each block."""
    options = run.options
    biased = any(np.any(p.parameters.get("bias_mant", 0)) for p in run.program.populations)
    deep = any(p.depth for p in run.program.populations)
    if options.reset_interval is None and biased and deep:
        options = replace(options, reset_interval=_steps(run) + 1)
    shape = options.input_shape
    return {**asdict(options), "input_shape": None if shape is None else shape[::-1]}


def _feed(program: Program) -> str:
    """How the input enters: into the neurons' bias, the neurons, or the first synapses."""
    first = next(s for s in program.synapses if s.source == program.inputs[0].name)
    if first.kind != "one-to-one":
        return "synapses"
    return "bias" if first.port == "bias" else "neurons"


def _stream(run: NetxRun) -> IntArray:
    """The input with zeros behind each sample, or the image that it repeats."""
    values = run.inputs.astype(np.int64)
    samples, steps, *shape = values.shape
    feed = _feed(run.program)
    if feed == "bias":
        if np.any(values != values[:, :1]) or values.min() < BIASES[0] or values.max() > BIASES[1]:
            raise InputError(
                f"NetX takes the input as the neurons' bias: constant, in {BIASES[0]}..{BIASES[1]}",
                node=run.program.inputs[0].name,
            )
        return np.broadcast_to(values[:, :1], (samples, _steps(run), *shape))
    first = next(s for s in run.program.synapses if s.source == run.program.inputs[0].name)
    if first.kind == "dense":
        values = values.reshape(samples, steps, -1)
    stream = np.zeros((samples, _steps(run), *values.shape[2:]), np.int64)
    stream[:, :steps] = values
    return stream


def _trace(index: int, run: NetxRun, arrays: Mapping[str, NDArray[Any]], *, states: bool) -> Trace:
    """What was recorded, from the step at which each block starts."""
    program = run.program
    samples, steps = run.inputs.shape[:2]
    (port,) = program.inputs
    spikes: dict[str, Spikes] = {port.name: np.asarray(run.inputs != 0, np.uint8)}
    values: dict[str, Messages] = {port.name: run.inputs} if port.graded else {}
    found: dict[str, dict[str, IntArray]] = {}
    for block, population in enumerate(program.populations):
        name, kept = population.name, {}
        for field in _fields(population.model, states=states):
            dtype = np.uint8 if field == "s" and not population.graded else np.int32
            shape = (_steps(run), *population.shape)
            parts = [
                checked(
                    arrays, f"{index}.{sample}.{block}.{field}", dtype, shape, f"{name}.{field}"
                )
                for sample in range(samples)
            ]
            whole = np.stack([part[population.depth : population.depth + steps] for part in parts])
            kept[field] = whole
        sent = kept.pop("s")
        spikes[name] = np.asarray(sent != 0, np.uint8)
        if population.graded:
            values[name] = sent.astype(np.int32)
        found[name] = {field: array.astype(np.int64) for field, array in kept.items()}
    return Trace(spikes, found, values)
