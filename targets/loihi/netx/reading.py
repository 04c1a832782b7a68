"""A `.net` file as the program that NetX and Lava's fixed-point models execute.

Sources: lava-nc/lava-dl 0.6.0, `src/lava/lib/dl/netx/hdf5.py` and `netx/blocks/process.py`: which
fields they read, what they leave unread, and how blocks are joined.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neurodeploy._version import __version__
from neurodeploy.errors import FileError, ModelError, NeurodeployError
from neurodeploy.frontends.hdf5 import check_hdf5
from neurodeploy.frontends.lava_dl import read_net
from neurodeploy.frontends.lava_dl_chain import Chain
from neurodeploy.frontends.lava_dl_fields import Fields, layers
from neurodeploy.frontends.lava_dl_synapses import BIASES, MAX_DELAY, matrix
from neurodeploy.frontends.nir import plain
from neurodeploy.linear import Shape
from neurodeploy.network import InputPort
from neurodeploy.program import IntArray, Lowering, Neurons, Program, Synapses, compact
from neurodeploy.targets.loihi.netx.neurons import (
    RESONATORS,
    VTH_LIMIT,
    NetNeurons,
    integrator,
    read_neurons,
)
from neurodeploy.targets.loihi.netx.options import Options
from neurodeploy.targets.loihi.netx.storage import stored

TARGET = "loihi2"
INPUT = "input"
INPUT_WEIGHT = 64
"""The weight of an input layer that names none: 1 in SLAYER."""


def read_program(
    path: str | Path, options: Options | None = None, *, together: bool = False
) -> Program:
    """Read a `.net` file as NetX does, integer by integer.

    Populations are called `layer0`, `layer1`, ... by the numbers of their groups; dense weights are
    as NetX stores them, shifted to the left with a negative exponent.  The input is spikes or,
    where a message's value counts, integers (`InputPort.graded`): of CUBA input neurons the
    mantissa of their bias, of sigma-delta ones what they encode.

    Parameters
    ----------
    options: what NetX is told besides the file.
    together: every block starts in the first step and is a step behind the one before it, as in a
        run of NetX itself; a step of the program is then one of Lava.  Otherwise a block starts
        when the first spikes of a sample can reach it.

    Raises
    ------
    FileError
        The file is missing, no complete HDF5, too large or refers outside itself; or a field is
        missing or impossible.
    ModelError
        What NetX refuses, hangs on, leaves unread or changes without a message.
    InputError
        Options out of range, or an input shape that is not the file's.
    """
    path = Path(path)
    check_hdf5(path)
    chosen = Options() if options is None else options
    net = _Net(chosen, together=together)
    try:
        with h5py.File(path, "r") as file:
            for number, fields in enumerate(layers(file, str(path))):
                if number == chosen.num_layers:
                    break
                net.add(fields)
                if number < chosen.skip_layers:
                    net.forget()
    except OSError as error:
        raise FileError("not a complete HDF5 file", node=str(path), hint=f"({error})") from error
    program = net.finished(path)
    graph = {} if together else _reference(path, chosen, program)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    provenance = {"neurodeploy": __version__, "source": path.name, "sha256": digest}
    return replace(program, graph=graph, provenance=provenance)


class _Net:
    """A program that grows layer by layer."""

    def __init__(self, options: Options, *, together: bool) -> None:
        self.options = options
        self.together = together
        self.chain = Chain(options.input_shape)
        self.flattened = False
        self.message_bits = options.input_message_bits
        self.input: InputPort | None = None
        self.populations: list[Neurons] = []
        self.synapses: list[Synapses] = []
        self.lowerings: list[Lowering] = []

    def finished(self, path: Path) -> Program:
        """The whole program, without a graph."""
        if self.input is None:
            raise ModelError("holds no layer with neurons, or none is left", node=str(path))
        return Program(
            target=TARGET,
            inputs=(self.input,),
            populations=tuple(self.populations),
            synapses=tuple(self.synapses),
            outputs=(self.populations[-1].name,),
            graph={},
            lowerings=tuple(self.lowerings),
        )

    def add(self, fields: Fields) -> None:
        """One more layer; see `read_program` for what it raises."""
        readers: Mapping[str, Callable[[Fields], None]] = {
            "input": self._input,
            "dense": self._dense,
            "dense_rec": self._dense,
            "conv": self._conv,
            "flatten": self._flatten,
        }
        if fields.text("type") == "pool":
            raise ModelError(
                "NetX has no pooling",
                node=fields.node,
                hint="Train with strides, or convert the file to .nir to have it lowered.",
            )
        readers[self.chain.kind(fields, tuple(readers))](fields)
        fields.finish()

    def forget(self) -> None:
        """Leave out all that there is so far; what follows makes the first block."""
        self.input = None
        self.populations, self.synapses, self.lowerings = [], [], []

    # Layers

    def _input(self, fields: Fields) -> None:
        self.chain.input(fields)
        if "neuron" not in fields:
            return
        name, shape = fields.name, self.chain.shape
        if len(shape) not in (1, 3):
            raise fields.error("shape", f"is {shape}, expected 1 or 3 sizes")
        neurons = read_neurons(fields, shape, self.options.spike_exp, encoder=True)
        if neurons.model not in ("lif", "delta"):
            raise ModelError("NetX has no input layer of such neurons", node=fields.node)
        gain = fields.integer("weight", *BIASES, default=INPUT_WEIGHT)
        bias = fields.integer("bias", *BIASES, default=0)
        self.input = InputPort(INPUT, shape, graded=True)
        mantissa = neurons.model == "lif"
        self._append(
            Synapses(
                f"{INPUT}->{name}",
                INPUT,
                name,
                "one-to-one",
                np.ones(math.prod(shape), np.int64),
                0,
                shape,
                shape,
                graded=True,
                port="bias" if mantissa else "current",
            )
        )
        self._neurons(name, shape, neurons)
        what = "the bias mantissa of each neuron" if mantissa else "what each neuron encodes"
        text = f"the input is {what}; in lava-dl that is {gain} x + {bias}"
        self.lowerings.append(Lowering(name, "input", "exact", text))

    def _dense(self, fields: Fields) -> None:
        name, size = fields.name, math.prod(fields.shape("shape"))
        recurrent = fields.text("type") == "dense_rec"
        weights = _matrices(fields, size)
        first = next(iter(weights.values()))
        loops = [matrix(fields, "weight_rec", size, size)] if recurrent else []
        self.chain.dense(fields, first)
        self._check_flattened(fields)
        if "neuron" in fields:
            neurons = read_neurons(fields, (size,), self.options.spike_exp, encoder=False)
        else:
            neurons = integrator(fields, size)
        ports = ("real", "imag") if neurons.model in RESONATORS.values() else ("current",)
        if tuple(weights) != ports:
            raise ModelError(
                f"{neurons.model} neurons do not take {' and '.join(weights)} weights",
                node=fields.node,
                hint="Complex weights and resonate-and-fire neurons belong together.",
            )
        delay = _delay(fields, first)
        source, in_shape = self._source((first.shape[1],))
        graded = self.message_bits > 0
        for port, weight in weights.items():
            (kept, *own), exponent = stored(fields.node, weight, *loops)
            self._append(
                Synapses(
                    f"{source}->{name}" + (f".{port}" if len(weights) > 1 else ""),
                    source,
                    name,
                    "dense",
                    kept,
                    exponent,
                    in_shape,
                    (size,),
                    delay=delay,
                    graded=graded,
                    port=port,
                )
            )
            self.synapses += [
                Synapses(
                    f"{name}->{name}",
                    name,
                    name,
                    "dense",
                    loop,
                    exponent,
                    (size,),
                    (size,),
                    graded=graded,
                )
                for loop in own
            ]
        self._neurons(name, (size,), neurons)

    def _conv(self, fields: Fields) -> None:
        name, op = fields.name, self.chain.conv(fields)
        neurons = read_neurons(fields, op.out_shape, self.options.spike_exp, encoder=False)
        if neurons.model in RESONATORS.values():
            raise ModelError("NetX has no convolution to such neurons", node=fields.node)
        if np.any(fields.per_channel("delay", len(op.weight), 0, MAX_DELAY, default=0)):
            raise ModelError(
                "has delays, and NetX reads none in convolutions",
                node=fields.node,
                hint="Train the convolution with delay=False.",
            )
        source, in_shape = self._source(op.in_shape)
        self._append(
            Synapses(
                f"{source}->{name}",
                source,
                name,
                "conv2d",
                op.weight.astype(np.int64),
                0,
                in_shape,
                op.out_shape,
                op.stride,
                op.padding,
                op.dilation,
                op.groups,
                graded=self.message_bits > 0,
            )
        )
        self._neurons(name, op.out_shape, neurons)

    def _flatten(self, fields: Fields) -> None:
        self.chain.flatten(fields)
        if self.populations and len(self.populations[-1].shape) != 3:
            raise ModelError("NetX cannot flatten what is no image", node=fields.node)
        self.flattened = True

    # What layers share

    def _check_flattened(self, fields: Fields) -> None:
        if self.populations and len(self.populations[-1].shape) == 3 and not self.flattened:
            raise ModelError(
                "NetX wants a flatten layer between an image and a dense layer", node=fields.node
            )
        self.flattened = False

    def _source(self, shape: Shape) -> tuple[str, Shape]:
        """Name and shape of what a block takes: the block before, or the input, of `shape`."""
        if self.populations:
            return self.populations[-1].name, self.populations[-1].shape
        self.input = InputPort(INPUT, shape, graded=self.message_bits > 0)
        return INPUT, shape

    def _append(self, synapses: Synapses) -> None:
        """Synapses from the block before; on one clock for all, their step is a delay."""
        if self.together and synapses.kind != "one-to-one":
            synapses = replace(synapses, delay=synapses.delay + 1)
        self.synapses.append(synapses)

    def _neurons(self, name: str, shape: Shape, neurons: NetNeurons) -> None:
        """The population that the synapses so far lead to."""
        block = len(self.populations)
        registers = dict(neurons.registers)
        if neurons.model == "lif" and self.options.reset_interval is not None:
            registers["reset_interval"] = np.array([self.options.reset_interval], np.int64)
            registers["reset_offset"] = np.array([self.options.reset_offset + 1 + block], np.int64)
        elif self.options.reset_interval is not None:
            raise ModelError(
                f"NetX does not reset {neurons.model} neurons", node=name, hint="Read it without."
            )
        steps = block + (self.synapses[0].kind != "one-to-one")
        self.populations.append(
            Neurons(
                name=name,
                shape=shape,
                depth=0 if self.together else steps,
                parameters=registers,
                unit=neurons.unit,
                model=neurons.model,
                graded=neurons.graded,
            )
        )
        if neurons.note is not None:
            self.lowerings.append(Lowering(name, "decay", "approximate", neurons.note))
        self.message_bits = neurons.message_bits


def _matrices(fields: Fields, size: int) -> dict[str, IntArray]:
    """Weights (out, in) by the port that they lead to."""
    if not fields.is_group("weight"):
        return {"current": matrix(fields, "weight", size)}
    for name in ("bias", "delay", "weight_rec"):
        if name in fields:
            raise ModelError(f"NetX does not read {name} beside complex weights", node=fields.node)
    group = fields.group("weight")
    real = matrix(group, "real", size)
    imag = matrix(group, "imag", size, real.shape[1])
    group.finish()
    return {"real": real, "imag": imag}


def _delay(fields: Fields, weight: IntArray) -> IntArray:
    """One delay, or one per synapse, from one, one per row or column, or one per synapse."""
    if "delay" not in fields:
        return np.zeros(1, np.int64)
    if "weight_rec" in fields:
        raise ModelError(
            "has a loop and delays: NetX would multiply its currents and delay its feedback",
            node=fields.node,
            hint="Train it with delay=False.",
        )
    values = fields.integers("delay", 0, MAX_DELAY)
    if values.ndim == 1 and values.size == len(weight):
        values = values[:, None]
    elif values.ndim == 1 and values.size != weight.shape[1]:
        raise fields.error("delay", f"has {values.size} values for weights {weight.shape}")
    elif (values.ndim == 2 and values.shape != weight.shape) or values.ndim > 2:
        raise fields.error("delay", f"has shape {values.shape}, the weights {weight.shape}")
    return compact(np.broadcast_to(values, weight.shape))


def _reference(path: Path, options: Options, program: Program) -> dict[str, Any]:
    """The NIR graph of the same network, where it means the same and takes the same input."""
    plain_options = replace(options, input_shape=None) == Options()
    for population in program.populations:
        loops = any(s.recurrent for s in program.incoming(population.name))
        late = any(np.any(s.delay) for s in program.incoming(population.name))
        bias = np.any(population.parameters.get("bias_mant", 0))
        spiking = population.model == "lif" and population.register("vth").max() <= VTH_LIMIT
        plain_options &= spiking and not (late and (loops or bias))
    if not plain_options or program.inputs[0].graded:
        return {}
    try:
        graph = read_net(path, options.input_shape)
    except NeurodeployError:  # what SLAYER means, our float neurons do not compute
        return {}
    fits = tuple(graph.nodes[INPUT].input_type["input"]) == program.inputs[0].shape
    return plain(graph) if fits else {}
