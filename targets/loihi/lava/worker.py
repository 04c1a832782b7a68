"""The stand-alone program that runs networks in Lava: `python worker.py JOB_DIR`.

It needs Python 3.10 (or `shim.py`), numpy and lava-nc, and nothing of neurodeploy but
`worker_models.py`, which lies beside it.  It reads `JOB_DIR/job.json` and `JOB_DIR/arrays.npz`
(layout: see `job.py`, which writes them) and answers with `JOB_DIR/result.npz` and, last,
`JOB_DIR/result.json`.  Arrays of the job are in the order (C, H, W) with correlation kernels;
Lava's are (W, H, C) with true convolution.
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
from lava.proc.atrlif.process import ATRLIF
from lava.proc.conv.process import Conv
from lava.proc.dense.process import DelayDense, Dense
from lava.proc.graded.process import GradedReluVec, GradedVec
from lava.proc.io.source import RingBuffer
from lava.proc.lif.process import LIF, LIFReset, TernaryLIF
from lava.proc.prodneuron.process import ProdNeuron
from lava.proc.rf.process import RF
from lava.proc.rf_iz.process import RF_IZ
from lava.proc.sdn.process import ActivationMode, Delta, Sigma, SigmaDelta
from lava.proc.sparse.process import DelaySparse, Sparse
from lava.utils.weightutils import SignMode
from scipy.sparse import csr_matrix

sys.path.append(str(Path(__file__).resolve().parent))  # at the end: it hides no module of Lava's
from worker_models import MODELS, BiasedLIF, BiasedLIFReset  # type: ignore[import-not-found]

# Lava's names of the ports.
PORTS = {"current": "a_in", "real": "a_real_in", "imag": "a_imag_in", "first": "a_in1",
         "second": "a_in2", "bias": "bias_in"}  # fmt: skip
# The registers that hold the initial values of states.
INITIAL = {"u0": "u", "v0": "v", "i0": "i", "r0": "r"}
# States that start at 0 and have no register.
ZEROS = ("sigma", "act", "residue", "error", "real", "imag")
DISTRIBUTIONS = ("lava-nc", "numpy", "scipy")
UNIT_12, UNIT_6 = 4096.0, 64.0


def end_with_child(number: int, frame: Any) -> None:
    """Ends the worker when one of Lava's processes is killed, where Lava would wait for ever.

    SIGTERM is how Lava's memory manager is ended where it is slow to end by itself.
    """
    ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    killed = ended is not None and ended.si_code in (os.CLD_KILLED, os.CLD_DUMPED)
    if ended is not None and killed and ended.si_status != signal.SIGTERM:
        os.write(2, b"a process of Lava was killed by signal %d\n" % ended.si_status)
        os._exit(1)


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


def build_neurons(population: dict[str, Any], arrays: Any, biased: bool) -> Any:
    """The process of a population's neurons.

    Where Lava's constructor takes fractions, they are such that it arrives at the registers.
    """
    shape = tuple(population["shape"][::-1])
    values = {name: parameter(arrays[key]) for name, key in population["registers"].items()}
    values = {INITIAL.get(name, name): value for name, value in values.items()}
    model = population["model"]
    if model == "lif":
        resets = "reset_interval" in values
        plain, with_input = (LIFReset, BiasedLIFReset) if resets else (LIF, BiasedLIF)
        return (with_input if biased else plain)(shape=shape, **values)
    if model in ("rf", "rf-iz"):
        return build_resonator(RF if model == "rf" else RF_IZ, shape, values)
    if model == "sigma-delta":
        values["act_mode"] = ActivationMode.RELU if values.pop("relu") else ActivationMode.UNIT
    if "cum_error" in values:
        values["cum_error"] = bool(values["cum_error"])
    if model == "atrlif":
        for name in ("delta_i", "delta_v", "delta_theta", "delta_r"):
            values[name] = values[name] / UNIT_12  # exact: a power of two
        for name in ("theta_0", "theta_step"):
            values[name] = values[name] / UNIT_6
    process = {
        "ternary-lif": TernaryLIF,
        "sigma": Sigma,
        "delta": Delta,
        "sigma-delta": SigmaDelta,
        "atrlif": ATRLIF,
        "prod": ProdNeuron,
        "graded": GradedVec,
        "graded-relu": GradedReluVec,
    }[model]
    return process(shape=shape, **values)


def build_resonator(process: Any, shape: tuple[int, ...], values: dict[str, Any]) -> Any:
    """RF or RF_IZ, with the integers that its constructor would compute from period and alpha."""
    exponents = {name: values[name] for name in ("state_exp", "decay_bits")}
    resonator = process(shape=shape, period=4.0, alpha=0.0, **exponents)
    for name in ("sin_decay", "cos_decay", "vth"):
        getattr(resonator, name).init = values[name]
    return resonator


def build_population(
    population: dict[str, Any], arrays: Any, steps: int, files: dict[str, str], biased: bool
) -> Any:
    """The process of a population, told when to restart and what to record."""
    process = build_neurons(population, arrays, biased)
    initial: dict[str, Any] = {name: 0 for name in ZEROS if hasattr(process, name)}
    for name, key in population["registers"].items():
        if name in INITIAL:
            initial[INITIAL[name]] = parameter(arrays[key])
    if population["model"] == "atrlif":
        initial["theta"] = parameter(arrays[population["registers"]["theta_0"]])
    spikes = population["model"] in ("lif", "rf", "rf-iz", "atrlif")
    process.proc_params["schedule"] = {key: population[key] for key in ("reset", "start", "period")}
    process.proc_params["initial"] = initial
    process.proc_params["steps"] = steps
    process.proc_params["files"] = files
    process.proc_params["dtypes"] = {
        name: np.uint8 if name == "s" and spikes else np.int32 for name in files
    }
    return process


def build_input(source: dict[str, Any], arrays: Any) -> RingBuffer:
    """The source that sends `data[t]` in step t; Lava wants time last."""
    data = np.moveaxis(arrays[source["data"]].astype(np.int32), 0, -1)
    return RingBuffer(data=to_lava(data) if data.ndim == 4 else np.ascontiguousarray(data))


def connect_dense(synapse: dict[str, Any], arrays: Any, source: Any, port: Any) -> Any:
    """Join a process to a port with (Delay)Dense or (Delay)Sparse.

    These work on flattened tensors, so rows and columns are put in Lava's order.
    """
    order = np.ix_(flat_order(port.shape[::-1]), flat_order(source.s_out.shape[::-1]))
    weights = arrays[synapse["weight"]].astype(np.int32)[order]
    delays = arrays[synapse["delay"]].astype(np.int64)
    sparse = synapse["kind"] == "sparse"
    options = {
        "weight_exp": synapse["weight_exp"],
        "num_weight_bits": synapse["num_weight_bits"],
        "sign_mode": SignMode[synapse["sign_mode"].upper()],
        "num_message_bits": synapse["num_message_bits"],
    }
    if delays.any():
        full = np.broadcast_to(delays, weights.shape) if delays.size == 1 else delays[order]
        options["delays"] = csr_matrix(full) if sparse else np.ascontiguousarray(full)
    if sparse:
        process = (DelaySparse if delays.any() else Sparse)(weights=csr_matrix(weights), **options)
    else:
        process = (DelayDense if delays.any() else Dense)(weights=weights, **options)
    process.proc_params["forget"] = synapse["forget"]
    source.s_out.reshape(process.s_in.shape).connect(process.s_in)
    process.a_out.reshape(port.shape).connect(port)
    return process


def connect_conv(synapse: dict[str, Any], arrays: Any, source: Any, port: Any) -> Conv:
    """Join two (W, H, C) processes with Conv, which ignores weight_exp: it is shifted in here."""
    if synapse["weight_exp"] < 0:
        raise ValueError(f"conv synapse {synapse['name']}: Lava's Conv has no negative weight_exp")
    kernel = arrays[synapse["weight"]].astype(np.int32)[:, :, ::-1, ::-1].transpose(0, 3, 2, 1)
    process = Conv(
        weight=np.ascontiguousarray(kernel) << synapse["weight_exp"],
        input_shape=source.s_out.shape,
        stride=tuple(synapse["stride"][::-1]),
        padding=tuple(synapse["padding"][::-1]),
        dilation=tuple(synapse["dilation"][::-1]),
        groups=synapse["groups"],
        num_message_bits=synapse["num_message_bits"],
    )
    process.proc_params["forget"] = synapse["forget"]
    source.s_out.connect(process.s_in)
    process.a_out.connect(port)
    return process


def build(
    network: dict[str, Any], arrays: Any, files: list[dict[str, str]]
) -> tuple[list[Any], list[Any]]:
    """All processes of a network, connected: (those of its populations, the others)."""
    populations = network["populations"]
    biased = {synapse["target"] for synapse in network["synapses"] if synapse["port"] == "bias"}
    targets = {
        population["name"]: build_population(
            population, arrays, network["steps"], saved, population["name"] in biased
        )
        for population, saved in zip(populations, files, strict=True)
    }
    sources = {source["name"]: build_input(source, arrays) for source in network["inputs"]}
    others: list[Any] = list(sources.values())
    sources |= targets
    for synapse in network["synapses"]:
        source = sources[synapse["source"]]
        port = getattr(targets[synapse["target"]], PORTS[synapse["port"]])
        if synapse["kind"] == "direct":
            source.s_out.connect(port)
        else:
            connect = connect_conv if synapse["kind"] == "conv2d" else connect_dense
            others.append(connect(synapse, arrays, source, port))
    return list(targets.values()), others


def run_connected(neuron: Any, steps: int, config: Loihi2SimCfg) -> None:
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
    neurons, others = build(network, arrays, files)
    # By process, not by class: Lava then need not look for models in the files of each class.
    models = {process: MODELS[type(process)] for process in (*neurons, *others)}
    config = Loihi2SimCfg(select_tag="fixed_pt", exception_proc_model_map=models)
    for neuron in neurons:
        if neuron.runtime is None:  # Lava runs what is connected to it, and nothing else
            run_connected(neuron, network["steps"], config)
    return {
        f"{index}.{i}.{field}": from_lava(np.load(file, allow_pickle=False))
        for i, saved in enumerate(files)
        for field, file in saved.items()
    }


def versions(names: tuple[str, ...]) -> dict[str, str]:
    found = {name: importlib.metadata.version(name) for name in names}
    return {"python": platform.python_version(), **found}


def write_result(job: Path, result: dict[str, Any]) -> None:
    temporary = job / "result.json.tmp"
    temporary.write_text(json.dumps({"schema": 1, **result}), "utf-8")
    os.replace(temporary, job / "result.json")


def main(job: Path, run: Any = run_network, names: tuple[str, ...] = DISTRIBUTIONS) -> int:
    """Run every network of the job by `run`; 0 if all ran.

    `names`: the distributions whose versions are reported.
    """
    reported = {"versions": versions(names)}
    networks = json.loads((job / "job.json").read_text("utf-8"))["networks"]
    arrays = np.load(job / "arrays.npz", allow_pickle=False)
    recorded: dict[str, np.ndarray] = {}
    seconds = []
    for index, network in enumerate(networks):
        started = time.perf_counter()
        try:
            recorded |= run(index, network, arrays, job)
        except Exception:
            text = traceback.format_exc()
            write_result(job, {**reported, "status": "error", "network": index, "traceback": text})
            return 1
        seconds.append(time.perf_counter() - started)
    with (job / "result.npz.tmp").open("wb") as file:
        np.savez(file, **recorded)  # type: ignore[arg-type]
    os.replace(job / "result.npz.tmp", job / "result.npz")
    write_result(job, {**reported, "status": "ok", "seconds": seconds})
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
