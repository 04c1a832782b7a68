"""The float64 reference of a lowered network: the model with the program's numbers.

What is left between it and the simulator is the rounding of float32 states alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.linear import Conv2d, Dense, FloatArray
from neurodeploy.network import Connection, Network, Population
from neurodeploy.program import Neurons, Program, Synapses


def quantised(net: Network, program: Program) -> Network:
    """`net` in chip units: integer weights, and float32 registers as float64.

    A register T is tested by `>=`, which for float32 potentials is `>` of the number below it.
    With a self-synapse of weight -k, what a spike takes away by the next step is alpha T + k.
    """
    populations = tuple(_population(program, p) for p in net.populations)
    connections = tuple(_connection(program, c) for c in net.connections)
    return replace(net, populations=populations, connections=connections)


def _each(neurons: Neurons, values: NDArray[Any]) -> FloatArray:
    shape = neurons.shape if values.size > 1 else (1,) * len(neurons.shape)
    return np.broadcast_to(values.reshape(shape), neurons.shape).astype(np.float64)


def _named(program: Program, name: str) -> tuple[Synapses, ...]:
    ports = (name, f"{name} excitatory", f"{name} inhibitory")
    return tuple(s for s in program.synapses if s.name in ports)


def _signed(s: Synapses) -> NDArray[np.int64]:
    return -s.weight if s.port == "inhibitory" else s.weight


def _connection(program: Program, connection: Connection) -> Connection:
    (op,) = connection.ops
    found = _named(program, connection.name)
    weight = np.asarray(sum(_signed(s) for s in found), np.float64)
    if found[0].kind == "dense":
        return replace(connection, ops=(Dense(weight, op.in_shape, op.out_shape),))
    one = found[0]
    return replace(connection, ops=(Conv2d(weight, op.in_shape, one.stride, one.padding),))


def _population(program: Program, population: Population) -> Population:
    name, neurons = population.name, program.population(population.name)
    registers = {
        key: _each(neurons, values.astype(np.float64)) for key, values in neurons.parameters.items()
    }
    decay, threshold = registers["alpha_decay"], registers["threshold"]
    changes: dict[str, Any] = {"decay": decay, "bias": registers["i_offset"], "leak": None}
    if neurons.model.startswith("lif_curr_exp"):
        steady = [s for s in program.incoming(name) if s.source == f"{name} bias"]
        bias = sum((_signed(s).reshape(neurons.shape) for s in steady), np.zeros(neurons.shape))
        changes |= {"bias": bias, "leak": registers["i_offset"]}
        changes["current_decay"] = registers["exc_decay"]
    semantics = population.semantics
    if population.spiking:
        own = [s for s in program.incoming(name) if s.recurrent and s.kind == "one-to-one"]
        supplied = sum((s.weight.reshape(neurons.shape) for s in own), np.zeros(neurons.shape))
        taken = decay * threshold - supplied
        if semantics.reset == "subtract" and np.any(supplied):
            taken = taken / decay if semantics.reset_timing == "immediate" else taken
            taken = taken / semantics.reset_amount
            threshold = np.where(supplied != 0, taken, threshold)
        elif semantics.reset == "zero" and semantics.comparison == ">":
            threshold = np.nextafter(threshold.astype(np.float32), np.float32(0)).astype(float)
        elif not _on_integers(population, registers):
            semantics = replace(semantics, comparison=">=")
        changes["threshold"] = threshold
    return replace(population, semantics=semantics, **changes)


def _on_integers(population: Population, registers: dict[str, FloatArray]) -> bool:
    """Whether potentials are whole numbers, kept with one half less."""
    return bool(np.all(registers["v_init"] == -0.5)) and bool(np.all(population.decay == 1))
