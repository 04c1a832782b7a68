"""The stand-alone program that runs networks in Lava: `python worker.py JOB_DIR`.

It needs Python 3.10 (or `shim.py`), numpy and lava-nc, and nothing of neurodeploy.  It reads
`JOB_DIR/job.json` and `JOB_DIR/arrays.npz` (layout: see `job.py`, which writes them) and answers
with `JOB_DIR/result.npz` and, last, `JOB_DIR/result.json`.  Arrays of the job are in the order
(C, H, W) with correlation kernels; Lava's are (W, H, C) with true convolution.  All arithmetic is
that of Lava's own fixed-point models: the subclasses here only set states, clear a buffer and
record.

Sources, all in lava-nc 0.10.0: `lava/proc/{lif,dense,sparse,conv}/models.py`.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.conv.models import PyConvModelFixed
from lava.proc.conv.process import Conv
from lava.proc.dense.models import PyDenseModelBitAcc
from lava.proc.dense.process import Dense
from lava.proc.io.source import PySendModelFixed, RingBuffer
from lava.proc.lif.models import PyLifModelBitAcc
from lava.proc.lif.process import LIF
from lava.proc.sparse.models import PySparseModelBitAcc
from lava.proc.sparse.process import Sparse
from lava.utils.weightutils import SignMode
from scipy.sparse import csr_matrix

SPARSE_ABOVE = 512  # a diagonal self-synapse of more neurons is handed to Lava as a csr matrix
# What can be recorded: the model's attribute and the dtype.
FIELDS: dict[str, tuple[str, type]] = {
    "s": ("s_out_buff", np.uint8),
    "u": ("u", np.int32),
    "v": ("v", np.int32),
}
NEVER = {"reset": False, "start": 0, "period": None}


def is_reset_step(schedule: dict[str, Any], time_step: int) -> bool:
    """Whether the states are reset in a step; Lava counts from 1, the schedule from 0."""
    since = time_step - 1 - schedule["start"]
    if not schedule["reset"] or since < 0:
        return False
    return bool(since == 0 if schedule["period"] is None else since % schedule["period"] == 0)


class Outspoken:
    """Ends the worker when a model fails, where Lava would wait for ever (lava-nc/lava #231)."""

    def _spike(self) -> None:
        try:
            super()._spike()  # type: ignore[misc]
        except Exception:
            traceback.print_exc()
            sys.stderr.flush()
            os.kill(os.getppid(), signal.SIGTERM)
            os._exit(1)


def end_with_child(number: int, frame: Any) -> None:
    """Ends the worker when one of Lava's processes is killed, where Lava would wait for ever.

    SIGTERM is how Lava's memory manager is ended where it is slow to end by itself.
    """
    ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    killed = ended is not None and ended.si_code in (os.CLD_KILLED, os.CLD_DUMPED)
    if ended is not None and killed and ended.si_status != signal.SIGTERM:
        os.write(2, b"a process of Lava was killed by signal %d\n" % ended.si_status)
        os._exit(1)


class RecordingLif(Outspoken, PyLifModelBitAcc):
    """Lava's bit-accurate LIF that resets its state on schedule and records what it does."""

    def run_spk(self) -> None:
        recorder = self.proc_params["recorder"]
        if is_reset_step(recorder["schedule"], self.time_step):
            self.u[:] = self.proc_params["u"]
            self.v[:] = self.proc_params["v"]
        super().run_spk()
        if self.time_step == 1:
            self.recorded = {
                field: np.empty((recorder["steps"], *self.u.shape), FIELDS[field][1])
                for field in recorder["files"]
            }
        for field, array in self.recorded.items():
            array[self.time_step - 1] = getattr(self, FIELDS[field][0])
        if self.time_step == recorder["steps"]:
            for field, array in self.recorded.items():
                np.save(recorder["files"][field], array)


class ResettingDense(Outspoken, PyDenseModelBitAcc):
    """Lava's bit-accurate Dense that can forget, on schedule, the spikes of the step before."""

    def run_spk(self) -> None:
        if is_reset_step(self.proc_params["schedule"], self.time_step):
            self.a_buff[:] = 0
        super().run_spk()


class ResettingSparse(Outspoken, PySparseModelBitAcc):
    """Lava's bit-accurate Sparse that can forget, on schedule, the spikes of the step before."""

    def run_spk(self) -> None:
        if is_reset_step(self.proc_params["schedule"], self.time_step):
            self.a_buff[:] = 0
        super().run_spk()


class PlainConv(Outspoken, PyConvModelFixed):
    """Lava's fixed-point Conv."""


class PlainSource(Outspoken, PySendModelFixed):
    """Lava's fixed-point RingBuffer source."""


MODELS = {
    LIF: RecordingLif,
    Dense: ResettingDense,
    Sparse: ResettingSparse,
    Conv: PlainConv,
    RingBuffer: PlainSource,
}


def to_lava(array: np.ndarray) -> np.ndarray:
    """(C, H, W, ...) as (W, H, C, ...); anything else unchanged."""
    if array.ndim < 3:
        return array
    return np.ascontiguousarray(array.transpose(2, 1, 0, *range(3, array.ndim)))


def from_lava(array: np.ndarray) -> np.ndarray:
    """(steps, W, H, C) as (steps, C, H, W); (steps, N) unchanged."""
    return np.ascontiguousarray(array.transpose(0, 3, 2, 1)) if array.ndim == 4 else array


def flat_order(shape: tuple[int, ...]) -> np.ndarray:
    """For each place in Lava's flattened tensor, the place in ours."""
    return to_lava(np.arange(np.prod(shape)).reshape(shape)).ravel()


def parameter(array: np.ndarray) -> Any:
    """A parameter as Lava takes it: one Python int, or an int array per neuron.

    Never a float: Lava shifts it, the child process dies and the run hangs.
    """
    return int(array.item()) if array.size == 1 else to_lava(array.astype(np.int64))


def build_population(
    population: dict[str, Any], arrays: Any, steps: int, files: dict[str, str]
) -> LIF:
    """The LIF process of one population."""
    values = {
        name: parameter(arrays[population[name]])
        for name in ("du", "dv", "vth", "bias_mant", "bias_exp")
    }
    u, v = (parameter(arrays[population[name]]) for name in ("u0", "v0"))
    recorder = {"schedule": schedule_of(population), "steps": steps, "files": files}
    return LIF(shape=tuple(population["shape"][::-1]), u=u, v=v, recorder=recorder, **values)


def schedule_of(population: dict[str, Any]) -> dict[str, Any]:
    """Only what says when a population is reset."""
    return {key: population[key] for key in NEVER}


def build_input(source: dict[str, Any], arrays: Any) -> RingBuffer:
    """The source that sends `data[t]` in step t; Lava wants time last."""
    data = np.moveaxis(arrays[source["data"]].astype(np.int32), 0, -1)
    return RingBuffer(data=to_lava(data) if data.ndim == 4 else np.ascontiguousarray(data))


def connect_dense(
    synapse: dict[str, Any], weight: np.ndarray, source: Any, target: Any, schedule: dict[str, Any]
) -> None:
    """Join two processes with Dense weights, or a csr matrix for a large diagonal self-synapse.

    Dense works on flattened tensors, so rows and columns are put in Lava's order.
    """
    source_order, target_order = (
        flat_order(port.shape[::-1]) for port in (source.s_out, target.a_in)
    )
    weight = weight.astype(np.int32)[np.ix_(target_order, source_order)]
    options = {
        "weight_exp": synapse["weight_exp"],
        "num_weight_bits": synapse["num_weight_bits"],
        "sign_mode": SignMode[synapse["sign_mode"].upper()],
        "schedule": schedule,
    }
    recurrent = synapse["source"] == synapse["target"]
    if recurrent and len(weight) > SPARSE_ABOVE and np.count_nonzero(weight) <= len(weight):
        process = Sparse(weights=csr_matrix(weight), **options)
    else:
        process = Dense(weights=weight, **options)
    source.s_out.reshape(process.s_in.shape).connect(process.s_in)
    process.a_out.reshape(target.a_in.shape).connect(target.a_in)


def connect_conv(synapse: dict[str, Any], weight: np.ndarray, source: Any, target: Any) -> None:
    """Join two (W, H, C) processes with Conv, which ignores weight_exp: it is shifted in here."""
    if synapse["weight_exp"] < 0:
        raise ValueError(f"conv synapse {synapse['name']}: Lava's Conv has no negative weight_exp")
    kernel = weight.astype(np.int32)[:, :, ::-1, ::-1].transpose(0, 3, 2, 1)
    process = Conv(
        weight=np.ascontiguousarray(kernel) << synapse["weight_exp"],
        input_shape=source.s_out.shape,
        stride=tuple(synapse["stride"][::-1]),
        padding=tuple(synapse["padding"][::-1]),
        dilation=tuple(synapse["dilation"][::-1]),
        groups=synapse["groups"],
    )
    source.s_out.connect(process.s_in)
    process.a_out.connect(target.a_in)


def build(network: dict[str, Any], arrays: Any, files: list[dict[str, str]]) -> list[LIF]:
    """All processes of a network, connected; returns those of its populations."""
    populations = network["populations"]
    neurons = [
        build_population(population, arrays, network["steps"], saved)
        for population, saved in zip(populations, files, strict=True)
    ]
    targets = {
        population["name"]: lif for population, lif in zip(populations, neurons, strict=True)
    }
    schedules = {population["name"]: schedule_of(population) for population in populations}
    sources = {source["name"]: build_input(source, arrays) for source in network["inputs"]}
    sources |= targets
    for synapse in network["synapses"]:
        weight = arrays[synapse["weight"]]
        source, target = sources[synapse["source"]], targets[synapse["target"]]
        if synapse["kind"] == "conv2d":
            connect_conv(synapse, weight, source, target)
        else:
            recurrent = synapse["source"] == synapse["target"]
            schedule = schedules[synapse["target"]] if recurrent else NEVER
            connect_dense(synapse, weight, source, target, schedule)
    return neurons


def run_connected(neuron: LIF, steps: int, config: Loihi2SimCfg) -> None:
    """Run a process and all that is connected to it."""
    if hasattr(os, "waitid"):  # not on macOS, where the time limit has to do
        signal.signal(signal.SIGCHLD, end_with_child)
    try:
        neuron.run(condition=RunSteps(num_steps=steps), run_cfg=config)
    finally:
        neuron.stop()


def run_network(
    index: int, network: dict[str, Any], arrays: Any, job: Path
) -> dict[str, np.ndarray]:
    """Run one network; the recorded arrays by key."""
    files = [
        {field: str(job / f"{index}.{i}.{field}.npy") for field in population["record"]}
        for i, population in enumerate(network["populations"])
    ]
    neurons = build(network, arrays, files)
    config = Loihi2SimCfg(select_tag="fixed_pt", exception_proc_model_map=MODELS)
    for neuron in neurons:
        if neuron.runtime is None:  # Lava runs what is connected to it, and nothing else
            run_connected(neuron, network["steps"], config)
    return {
        f"{index}.{i}.{field}": from_lava(np.load(file, allow_pickle=False))
        for i, saved in enumerate(files)
        for field, file in saved.items()
    }


def versions() -> dict[str, str]:
    found = {name: importlib.metadata.version(name) for name in ("lava-nc", "numpy", "scipy")}
    return {"python": platform.python_version(), **found}


def write_result(job: Path, result: dict[str, Any]) -> None:
    temporary = job / "result.json.tmp"
    temporary.write_text(json.dumps({"schema": 1, "versions": versions(), **result}), "utf-8")
    os.replace(temporary, job / "result.json")


def main(job: Path) -> int:
    """Run every network of the job; 0 if all ran."""
    networks = json.loads((job / "job.json").read_text("utf-8"))["networks"]
    arrays = np.load(job / "arrays.npz", allow_pickle=False)
    recorded: dict[str, np.ndarray] = {}
    seconds = []
    for index, network in enumerate(networks):
        started = time.perf_counter()
        try:
            recorded |= run_network(index, network, arrays, job)
        except Exception:
            text = traceback.format_exc()
            write_result(job, {"status": "error", "network": index, "traceback": text})
            return 1
        seconds.append(time.perf_counter() - started)
    with (job / "result.npz.tmp").open("wb") as file:
        np.savez(file, **recorded)  # type: ignore[arg-type]
    os.replace(job / "result.npz.tmp", job / "result.npz")
    write_result(job, {"status": "ok", "seconds": seconds})
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
