"""The stand-alone program that runs networks on a Loihi 2 chip: `python loihi_worker.py JOB_DIR`.

It takes the job of `worker.py`, which lies beside it, with one more entry in `job.json`: `board`.
Besides lava-nc it needs Intel's lava-loihi, which holds the chip's models and the adapters between
host and chip (`lava.proc.embedded_io`), and a host with a board; it answers what is `missing`, or
as `worker.py` does.

A chip runs none of `worker_models`, so nothing here depends on them: the processes are lava-nc's
own, without schedules.  Every sample is a network of its own.  A population that starts at chip
step k has neither bias nor state until the host, between steps, sets both; nothing reaches it
earlier, so until then it does nothing.  An input that is a bias is set by the host in every step.

Where `board` is false, the same processes run in Lava's simulation instead, without adapters.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2HwCfg, Loihi2SimCfg
from lava.proc.io.sink import PyReceiveModelFixed
from lava.proc.io.sink import RingBuffer as Sink
from lava.proc.io.source import PySendModelFixed
from lava.proc.io.source import RingBuffer as Source
from lava.utils import loihi, slurm

sys.path.append(str(Path(__file__).resolve().parent))  # at the end: it hides no module of Lava's
import worker  # type: ignore[import-not-found]

MESSAGE_BITS = 24
STATES = {"bias_mant": "bias_mant", "u0": "u", "v0": "v"}
HOST, BINARY, GENERATION = "NXSDKHOST", "HOST_BINARY", "LOIHI_GEN"  # as nxcore reads them


def missing() -> str | None:
    """What keeps a program from running on a chip here, if anything: `lava-loihi` or `host`.

    lava-nc's `slurm.is_available` fails where there is no `sinfo` at all, so that is looked for
    first; so is `ping`.
    """
    if not loihi.is_installed():
        return "lava-loihi"
    address = os.environ.get(HOST)
    if shutil.which("sinfo") and slurm.is_available():
        return None
    if address and shutil.which("ping") and slurm.try_run_command(["ping", address, "-c 1"]):
        return None
    return "host"


def choose_host() -> None:
    """Tell lava-loihi where the board is: behind SLURM, or at an address."""
    generation = loihi.ChipGeneration(os.environ.get(GENERATION, "N3B3"))
    if shutil.which("sinfo") and slurm.is_available():
        board, partition = os.environ.get("BOARD"), os.environ.get("PARTITION")
        loihi.use_slurm_host(partition=partition, board=board, loihi_gen=generation)
    else:
        binary = os.environ.get(BINARY, "nxcore/bin/nx_driver_server")
        loihi.use_ethernet_host(os.environ[HOST], binary, generation)


def config(board: bool) -> Any:
    """The run configuration; the host's sources and sinks are the integer ones on a board too."""
    if not board:
        return Loihi2SimCfg(select_tag="fixed_pt")
    host = {Source: PySendModelFixed, Sink: PyReceiveModelFixed}
    return Loihi2HwCfg(exception_proc_model_map=host)


def whole(shape: tuple[int, ...], value: Any) -> np.ndarray:
    """A register of all neurons, as the host sets it."""
    return np.ascontiguousarray(np.broadcast_to(value, shape), dtype=np.int32)


class Network:
    """A network's processes and what the host does.

    `changes`: by step, (variable, value) to be set before it; those of step 0 are initial values.
    """

    def __init__(self, network: dict[str, Any], arrays: Any, board: bool) -> None:
        self.steps, self.board = network["steps"], board
        self.changes: dict[int, list[tuple[Any, np.ndarray]]] = {}
        self.sources = {entry["name"]: entry for entry in network["inputs"]}
        self.graded = {entry["name"] for entry in network["inputs"] if entry["graded"]}
        self.graded |= {p["name"] for p in network["populations"] if p["model"] != "lif"}
        self.arrays, self.feeds = arrays, dict[tuple[str, bool], Any]()
        self.neurons, self.sinks = dict[str, Any](), list[Any]()
        self.constants: dict[str, Any] = {}
        for population in network["populations"]:
            self.add(population)
        for synapse in network["synapses"]:
            if synapse["port"] == "bias":
                self.set_bias(synapse)
            else:
                self.connect(synapse)
        for variable, value in self.changes.pop(0, ()):
            variable.init = value

    def add(self, population: dict[str, Any]) -> None:
        """The neurons, at rest until they start, and a sink for what they send."""
        process = worker.build_neurons(population, self.arrays, False)
        shape, name = process.s_out.shape, population["name"]
        self.neurons[name] = process
        for register, state in STATES.items():
            if register in population["registers"]:
                variable, value = getattr(process, state), getattr(process, state).init
                if register == "bias_mant":
                    self.constants[name] = value
                if population["start"] and np.any(value):
                    variable.init = whole(shape, 0)
                    self.change(population["start"], variable, whole(shape, value))
        sink = Sink(shape=shape, buffer=self.steps)
        self.join(process.s_out, sink.a_in, name in self.graded)
        self.sinks.append(sink)

    def change(self, step: int, variable: Any, value: np.ndarray) -> None:
        self.changes.setdefault(step, []).append((variable, value))

    def join(self, port: Any, sink: Any, graded: bool) -> None:
        """From neurons to the host."""
        if not self.board:
            port.connect(sink)
            return
        from lava.proc import embedded_io  # of lava-loihi

        bits = MESSAGE_BITS if graded else 0
        adapter = embedded_io.spike.NxToPyAdapter(shape=port.shape, num_message_bits=bits)
        port.connect(adapter.inp)
        adapter.out.connect(sink)

    def feed(self, name: str, conv: bool) -> Any:
        """From the host to synapses: what has the port `s_out`."""
        if (name, conv) not in self.feeds:
            source = worker.build_input(self.sources[name], self.arrays)
            if self.board:
                from lava.proc import embedded_io  # of lava-loihi

                kind = "PyToN3ConvAdapter" if conv else "PyToNxAdapter"
                adapter = getattr(embedded_io.spike, kind)(
                    shape=source.s_out.shape,
                    num_message_bits=MESSAGE_BITS if name in self.graded else 0,
                )
                source.s_out.connect(adapter.inp)
                source = SimpleNamespace(s_out=adapter.out)
            self.feeds[name, conv] = source
        return self.feeds[name, conv]

    def connect(self, synapse: dict[str, Any]) -> None:
        conv = synapse["kind"] == "conv2d"
        name = synapse["source"]
        source = self.feed(name, conv) if name in self.sources else self.neurons[name]
        port = getattr(self.neurons[synapse["target"]], worker.PORTS[synapse["port"]])
        if synapse["kind"] == "direct":
            source.s_out.connect(port)
        else:
            make = worker.connect_conv if conv else worker.connect_dense
            make(synapse, self.arrays, source, port)

    def set_bias(self, synapse: dict[str, Any]) -> None:
        """An input one to one: added to the mantissa, as late as its synapses would be."""
        target = self.neurons[synapse["target"]]
        late = 0
        if synapse["kind"] != "direct":
            late = 1 + int(self.arrays[synapse["delay"]].item())
        data = self.arrays[self.sources[synapse["source"]]["data"]]
        constant = self.constants[synapse["target"]]
        for step in range(late, self.steps):  # the target starts at step `late`
            value = constant + worker.to_lava(data[step - late])
            self.change(step, target.bias_mant, whole(target.s_out.shape, value))

    def run(self) -> list[np.ndarray]:
        """What each population sent: (steps, *shape), in Lava's order of axes."""
        if hasattr(os, "waitid"):  # not on macOS, where the time limit has to do
            signal.signal(signal.SIGCHLD, worker.end_with_child)
        found: dict[int, np.ndarray] = {}
        for neuron in self.neurons.values():
            if neuron.runtime is None:  # Lava runs what is connected to it, and nothing else
                found |= self.run_connected(neuron)
        return [found[index] for index in range(len(self.sinks))]

    def run_connected(self, neuron: Any) -> dict[int, np.ndarray]:
        chosen, done = config(self.board), 0
        try:
            for step in sorted({*self.changes, self.steps}):
                neuron.run(condition=RunSteps(num_steps=step - done), run_cfg=chosen)
                done = step
                for variable, value in self.changes.get(step, ()):
                    if variable.process.runtime is neuron.runtime:
                        variable.set(value)
            return {
                index: np.moveaxis(sink.data.get(), -1, 0)
                for index, sink in enumerate(self.sinks)
                if sink.runtime is neuron.runtime
            }
        finally:
            neuron.stop()


def run_network(
    index: int, network: dict[str, Any], arrays: Any, board: bool
) -> dict[str, np.ndarray]:
    """Run one network; what its populations sent, by key."""
    recorded = {}
    built = Network(network, arrays, board)
    for i, (population, sent) in enumerate(zip(network["populations"], built.run(), strict=True)):
        if population["name"] in built.graded:
            # An adapter delivers the 24 bits of a message without their sign.
            spare = 32 - MESSAGE_BITS
            sent = (sent.astype(np.int32) << spare) >> spare
        else:
            sent = sent.astype(np.uint8)
        recorded[f"{index}.{i}.s"] = worker.from_lava(sent)
    return recorded


def main(job: Path) -> int:
    """Answer what is missing, or run every network of the job; 0 if nothing failed."""
    board = json.loads((job / "job.json").read_text("utf-8"))["board"]
    lacks = missing() if board else None
    if lacks is not None:
        reported = {"versions": worker.versions(worker.DISTRIBUTIONS), "status": "ok"}
        worker.write_result(job, {**reported, "missing": lacks})
        return 0
    if board:
        choose_host()
    return int(
        worker.main(job, lambda i, network, arrays, _: run_network(i, network, arrays, board))
    )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
