"""Checks of a `LavaNetwork` before it is sent, because Lava makes none.

Lava hangs on float parameters, wraps or clips out-of-range integers, sets matrices of weights to
zero and waits for ever in loops without a delay, all without a word.
"""

from __future__ import annotations

import numpy as np

from neurodeploy.errors import InputError
from neurodeploy.targets.loihi.arithmetic_synapses import WEIGHT_BITS, effective_weights
from neurodeploy.targets.loihi.lava.job import (
    IntArray,
    LavaInput,
    LavaNetwork,
    LavaPopulation,
    LavaSynapse,
)
from neurodeploy.targets.loihi.models import INT32_MAX, MODELS, Limits

INT32: Limits = (-INT32_MAX - 1, INT32_MAX)
# Inclusive ranges of weights by sign mode (lava/utils/weightutils.py, clip_weights).
WEIGHT_RANGES: dict[str, Limits] = {
    "mixed": (-256, 255),
    "excitatory": (0, 255),
    "inhibitory": (-255, 0),
}
MAX_DELAY = 63  # 6 bits, lava/proc/dense/models.py
_MAX_EXPONENT = 16  # an 8-bit weight shifted further leaves every 24-bit register
_MAX_MESSAGE_BITS = 31  # num_message_bits has 5 bits
_MAX_CONV_OPTION = 127  # Lava's Conv keeps kernel size, stride, padding, ... in int8 and wraps

Shapes = dict[str, tuple[int, ...]]


def validate(network: LavaNetwork) -> None:
    """Check a network against everything that Lava would hang on or change silently.

    Raises
    ------
    InputError
        On the first value that is out of place, with the element, the value and the limit.
    """
    _require(network.steps >= 1, network.name, f"steps is {network.steps}; it must be at least 1")
    _require(bool(network.populations), network.name, "a network needs at least one population")
    elements: list[LavaInput | LavaPopulation] = [*network.inputs, *network.populations]
    names = [element.name for element in elements]
    for name in names:
        _require(names.count(name) == 1, name, "the name stands for more than one element")
    shapes = {element.name: element.shape for element in elements}
    for name, shape in shapes.items():
        fits = len(shape) in (1, 3) and all(size >= 1 for size in shape)
        _require(fits, name, f"the shape is {shape}; it must be (N,) or (C, H, W)")
    for source in network.inputs:
        _check_input(source, network.steps)
    for population in network.populations:
        _check_population(population)
    models = {population.name: population.model for population in network.populations}
    for synapse in network.synapses:
        _require(synapse.source in shapes, synapse.name, f"no source named {synapse.source}")
        _require(synapse.target in models, synapse.name, f"no population named {synapse.target}")
        _check_synapse(synapse, shapes, models)
    _check_loops(network)


def _require(condition: bool, node: str, message: str) -> None:
    if not condition:
        raise InputError(message, node=node)


def _check_range(array: IntArray, limits: Limits, node: str, what: str) -> None:
    """Integer dtype, at least one element, all inside the inclusive limits."""
    is_integer = isinstance(array, np.ndarray) and np.issubdtype(array.dtype, np.integer)
    _require(is_integer, node, f"{what} must be an integer array, Lava hangs on anything else")
    _require(array.size > 0, node, f"{what} is empty")
    low, high = int(array.min()), int(array.max())
    worst = low if low < limits[0] else high
    inside = limits[0] <= low and high <= limits[1]
    _require(inside, node, f"{what} holds {worst}, outside {limits[0]} to {limits[1]}")


def _check_input(source: LavaInput, steps: int) -> None:
    _check_range(source.data, INT32 if source.graded else (0, 1), source.name, "data")
    expected = (steps, *source.shape)
    _require(
        source.data.shape == expected,
        source.name,
        f"data has shape {source.data.shape} instead of {expected}",
    )


def _check_population(population: LavaPopulation) -> None:
    name, registers = population.name, population.registers
    _require(population.model in MODELS, name, f"unknown model {population.model}")
    model = MODELS[population.model]
    limits = {**model.registers, **model.optional}
    missing = sorted(set(model.registers) - set(registers))
    _require(not missing, name, f"registers are missing: {', '.join(missing)}")
    unknown = sorted(set(registers) - set(limits))
    _require(not unknown, name, f"{population.model} has no registers {', '.join(unknown)}")
    useless = "reset_offset" in registers and "reset_interval" not in registers
    _require(not useless, name, "there is a reset_offset, but no reset_interval")
    for register, array in registers.items():
        _check_range(array, limits[register], name, register)
        single = array.size == 1
        fits = single or (register not in model.single and array.shape == population.shape)
        expected = "one value" if register in model.single else f"one value or {population.shape}"
        _require(fits, name, f"{register} has shape {array.shape}; it needs {expected}")
    _check_scaled(population)
    _require(population.start >= 0, name, f"start is {population.start}, below 0")
    period = population.period
    _require(period is None or period >= 1, name, f"period is {period}, below 1")
    known = ("s", *model.states)
    fits = set(population.record) <= set(known)
    _require(fits, name, f"record is {population.record}; it may hold {', '.join(known)}")


def _check_scaled(population: LavaPopulation) -> None:
    """Registers that belong together: what Lava shifts into 32 bits, and the two thresholds."""
    registers, name = population.registers, population.name
    if "spike_exp" in registers:
        shift = int(registers["spike_exp"].item() + registers["state_exp"].item())
        for register in ("vth", "bias"):
            if register in registers:
                most = INT32_MAX >> shift
                _check_range(registers[register], (-most, most), name, f"{register} << {shift}")
    if "vth_lo" in registers:
        low, high = registers["vth_lo"].item(), registers["vth_hi"].item()
        _require(low <= high, name, f"vth_lo is {low}, above vth_hi, which is {high}")


def _check_synapse(synapse: LavaSynapse, shapes: Shapes, models: dict[str, str]) -> None:
    name, kinds = synapse.name, ("dense", "sparse", "conv2d", "direct")
    _require(synapse.kind in kinds, name, f"unknown kind {synapse.kind}")
    model = models[synapse.target]
    ports = MODELS[model].ports
    _require(synapse.port in ports, name, f"{model} has no input {synapse.port}")
    bits, exponent = synapse.num_message_bits, synapse.weight_exp
    in_range = 0 <= bits <= _MAX_MESSAGE_BITS
    _require(in_range, name, f"num_message_bits is {bits}, outside 0 to {_MAX_MESSAGE_BITS}")
    lowest = 0 if synapse.kind in ("conv2d", "direct") else -_MAX_EXPONENT
    highest = 0 if synapse.kind == "direct" else _MAX_EXPONENT
    in_range = lowest <= exponent <= highest
    _require(in_range, name, f"weight_exp is {exponent}, outside {lowest} to {highest}")
    delayable = synapse.kind in ("dense", "sparse")
    _check_range(synapse.delay, (0, MAX_DELAY if delayable else 0), name, "delay")
    forget = synapse.forget
    _require(forget is None or forget.steps >= 1, name, "it forgets in less than one step")
    if synapse.kind == "direct":
        _check_direct(synapse, shapes, models)
    elif synapse.kind == "conv2d":
        _check_conv(synapse, shapes[synapse.source], shapes[synapse.target])
    else:
        _check_dense(synapse, shapes[synapse.source], shapes[synapse.target])


def _check_direct(synapse: LavaSynapse, shapes: Shapes, models: dict[str, str]) -> None:
    name, source, target = synapse.name, shapes[synapse.source], shapes[synapse.target]
    weight = synapse.weight
    plain = weight.size == 1 and int(weight.reshape(-1)[0]) == 1
    _require(plain, name, "a direct connection has the one weight 1")
    _require(source == target, name, f"a direct connection from {source} to {target}")
    # Sums with 64-bit messages would not wrap at 32 bits.
    narrow = models.get(synapse.source) != "ternary-lif"
    _require(narrow, name, "Lava's ternary neurons send 64 bits; they cannot connect directly")


def _check_dense(synapse: LavaSynapse, source: tuple[int, ...], target: tuple[int, ...]) -> None:
    name, weight, mode = synapse.name, synapse.weight, synapse.sign_mode
    _require(mode in WEIGHT_RANGES, name, f"unknown sign mode {mode}")
    _check_range(weight, WEIGHT_RANGES[mode], name, "weight")
    expected = (int(np.prod(target)), int(np.prod(source)))
    _require(weight.shape == expected, name, f"weight has shape {weight.shape} not {expected}")
    shape = synapse.delay.shape
    _require(shape in ((1,), expected), name, f"delay has shape {shape}, not (1,) or {expected}")
    bits, most = synapse.num_weight_bits, WEIGHT_BITS + (mode == "mixed")
    _require(1 <= bits <= most, name, f"num_weight_bits is {bits}, outside 1 to {most}")
    changed = weight[effective_weights(weight, mode, bits) != weight]
    _require(
        changed.size == 0,
        name,
        f"weight holds {changed.flat[0] if changed.size else 0}, which Lava truncates: with "
        f"{bits} bits and sign mode {mode} weights are multiples of {1 << (most - bits)}",
    )


def conv_shape(synapse: LavaSynapse, source: tuple[int, ...]) -> tuple[int, ...]:
    """The (C, H, W) that a convolution makes of its source.

    Size per axis: floor((n + 2 padding - dilation (k - 1) - 1) / stride) + 1, as in
    torch.nn.Conv2d and Lava's `lava/proc/conv/utils.py`.
    """
    sizes = (
        (n + 2 * pad - dilation * (k - 1) - 1) // stride + 1
        for n, pad, dilation, k, stride in zip(
            source[1:],
            synapse.padding,
            synapse.dilation,
            synapse.weight.shape[2:],
            synapse.stride,
            strict=True,
        )
    )
    return (synapse.weight.shape[0], *sizes)


def _check_conv(synapse: LavaSynapse, source: tuple[int, ...], target: tuple[int, ...]) -> None:
    name, shape, groups = synapse.name, synapse.weight.shape, synapse.groups
    _check_range(synapse.weight, WEIGHT_RANGES["mixed"], name, "weight")
    _require(len(shape) == 4, name, f"weight has shape {shape} instead of (Cout, Cin, kH, kW)")
    _require(len(source) == 3, name, f"the source has shape {source} instead of (C, H, W)")
    options = (*shape[2:], *synapse.stride, *synapse.padding, *synapse.dilation, groups)
    _require(
        max(options) <= _MAX_CONV_OPTION,
        name,
        f"kernel size, stride, padding, dilation or groups is {max(options)}; Lava's Conv holds at "
        f"most {_MAX_CONV_OPTION}",
    )
    positive = min(*synapse.stride, *synapse.dilation, groups) >= 1 and min(synapse.padding) >= 0
    _require(positive, name, "stride, dilation and groups must be at least 1, padding at least 0")
    divides = shape[0] % groups == 0 and shape[1] * groups == source[0]
    _require(divides, name, f"weight {shape} and {groups} groups do not fit {source[0]} channels")
    made = conv_shape(synapse, source)
    _require(made == target, name, f"the convolution makes {made}, its target is {target}")


def _check_loops(network: LavaNetwork) -> None:
    """Direct connections must not form a loop: each process in it would wait for another."""
    edges = {(s.source, s.target) for s in network.synapses if s.kind == "direct"}
    while edges:
        ends = {source for source, _ in edges}
        inner = {(source, target) for source, target in edges if target in ends}
        _require(
            inner != edges,
            min(ends),
            "direct connections form a loop, in which Lava waits for ever",
        )
        edges = inner
