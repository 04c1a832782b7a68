"""What the Lava worker is asked and what it answers, as values; checked on the way out and in.

The layout on disk: `job.json` holds `{"schema": 1, "networks": [...]}` with the fields of the
classes below, every array replaced by its key in `arrays.npz`.  The answer is `result.npz` with one
array per network, population and recorded field, keyed `NETWORK.POPULATION.FIELD` by index, and
`result.json` with `{"schema": 1, "status": "ok", "versions": {...}, "seconds": [...]}`, or with
`"status": "error"` and the network's index, the error and the traceback.

Everything is checked before it is sent because Lava does not: it hangs on float parameters and
wraps or clips out-of-range integers without a word.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neurodeploy.errors import InputError

IntArray = NDArray[np.integer[Any]]
Field = Literal["s", "u", "v"]
DTYPES: dict[str, type[np.generic]] = {"s": np.uint8, "u": np.int32, "v": np.int32}

# Inclusive ranges of a LIF's parameters: the register widths in the docstring of Lava's
# PyLifModelBitAcc (lava/proc/lif/models.py), du and dv also taking the value that means no decay
# of the current and no memory of the voltage.  u and v have 24 bits.
RANGES = {
    "du": (-1, 4095),
    "dv": (0, 4096),
    "vth": (0, 131071),
    "bias_mant": (-4096, 4095),
    "bias_exp": (0, 7),
    "u0": (-(2**23) + 1, 2**23),
    "v0": (-(2**23) + 1, 2**23 - 1),
}
# Inclusive ranges of weights by sign mode (lava/utils/weightutils.py, clip_weights).
WEIGHT_RANGES = {"mixed": (-256, 255), "excitatory": (0, 255), "inhibitory": (-255, 0)}
_MAX_EXPONENT = 16  # an 8-bit weight shifted further leaves every 24-bit register
_MAX_CONV_OPTION = 127  # Lava's Conv keeps kernel size, stride, padding, ... in int8 and wraps


@dataclass(frozen=True, eq=False)
class LavaInput:
    """A source of spikes: `data` has shape (steps, *shape) and holds 0 or 1; step t sends data[t].

    A shape is (N,) or (C, H, W), here and in `LavaPopulation`.
    """

    name: str
    shape: tuple[int, ...]
    data: IntArray


@dataclass(frozen=True, eq=False)
class LavaPopulation:
    """A population of Lava's LIF neurons (equations: `PyLifModelBitAcc` in lava-nc 0.10.0).

    Parameters and initial states are integer arrays of size 1 or of the population's shape, in raw
    units of Lava.  With `reset`, u = u0 and v = v0 before the update of step `start` and every
    `period` steps after it (None: only once), and self-synapses forget the step before.  `record`
    names what is kept of every step: spikes "s", and the states "u" and "v" after the step.
    """

    name: str
    shape: tuple[int, ...]
    du: IntArray
    dv: IntArray
    vth: IntArray
    bias_mant: IntArray
    bias_exp: IntArray
    u0: IntArray
    v0: IntArray
    start: int = 0
    period: int | None = None
    reset: bool = False
    record: tuple[Field, ...] = ("s",)


@dataclass(frozen=True, eq=False)
class LavaSynapse:
    """Synapses from an input or population to a population; a spike arrives one step later.

    Dense weights are (out, in) on the flattened (C, H, W) order.  Conv weights are
    (Cout, Cin/groups, kH, kW), correlated with the input as torch does; Lava neither clips nor
    truncates them.  The effective weight is `weight * 2**weight_exp`.
    """

    name: str
    source: str
    target: str
    kind: Literal["dense", "conv2d"]
    weight: IntArray
    weight_exp: int = 0
    sign_mode: Literal["mixed", "excitatory", "inhibitory"] = "mixed"
    num_weight_bits: int = 8
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1


@dataclass(frozen=True, eq=False)
class LavaNetwork:
    """A network to run for `steps` steps from step 0."""

    name: str
    steps: int
    inputs: tuple[LavaInput, ...]
    populations: tuple[LavaPopulation, ...]
    synapses: tuple[LavaSynapse, ...]


@dataclass(frozen=True, eq=False)
class LavaResult:
    """What one network did.

    `recorded[population][field]` has shape (steps, *shape): "s" is uint8 and 0 or 1, "u" and "v"
    are int32.  `seconds` is the time Lava took for this network, construction included.
    """

    recorded: Mapping[str, Mapping[str, NDArray[Any]]]
    seconds: float


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
        _validate_input(source, network.steps)
    for population in network.populations:
        _validate_population(population)
    targets = {population.name for population in network.populations}
    for synapse in network.synapses:
        _require(synapse.source in shapes, synapse.name, f"no source named {synapse.source}")
        _require(synapse.target in targets, synapse.name, f"no population named {synapse.target}")
        _validate_synapse(synapse, shapes[synapse.source], shapes[synapse.target])


def _require(condition: bool, node: str, message: str) -> None:
    if not condition:
        raise InputError(message, node=node)


def _check_range(array: IntArray, limits: tuple[int, int], node: str, what: str) -> None:
    """Integer dtype, at least one element, all inside the inclusive limits."""
    is_integer = isinstance(array, np.ndarray) and np.issubdtype(array.dtype, np.integer)
    _require(is_integer, node, f"{what} must be an integer array, Lava hangs on anything else")
    _require(array.size > 0, node, f"{what} is empty")
    low, high = int(array.min()), int(array.max())
    worst = low if low < limits[0] else high
    inside = limits[0] <= low and high <= limits[1]
    _require(inside, node, f"{what} holds {worst}, outside {limits[0]} to {limits[1]}")


def _validate_input(source: LavaInput, steps: int) -> None:
    _check_range(source.data, (0, 1), source.name, "data")
    expected = (steps, *source.shape)
    _require(
        source.data.shape == expected,
        source.name,
        f"data has shape {source.data.shape} instead of {expected}",
    )


def _validate_population(population: LavaPopulation) -> None:
    for parameter, limits in RANGES.items():
        array = getattr(population, parameter)
        _check_range(array, limits, population.name, parameter)
        fits = array.size == 1 or array.shape == population.shape
        _require(
            fits,
            population.name,
            f"{parameter} has shape {array.shape}; it needs one value or shape {population.shape}",
        )
    _require(population.start >= 0, population.name, f"start is {population.start}, below 0")
    period = population.period
    _require(period is None or period >= 1, population.name, f"period is {period}, below 1")
    known = set(population.record) <= set(DTYPES)
    _require(known, population.name, f"record is {population.record}; it may hold s, u and v")


def _validate_synapse(
    synapse: LavaSynapse, source: tuple[int, ...], target: tuple[int, ...]
) -> None:
    name = synapse.name
    _require(synapse.kind in ("dense", "conv2d"), name, f"unknown kind {synapse.kind}")
    known = synapse.sign_mode in WEIGHT_RANGES
    _require(known, name, f"unknown sign mode {synapse.sign_mode}")
    _check_range(synapse.weight, WEIGHT_RANGES[synapse.sign_mode], name, "weight")
    lowest = 0 if synapse.kind == "conv2d" else -_MAX_EXPONENT
    in_range = lowest <= synapse.weight_exp <= _MAX_EXPONENT
    _require(
        in_range,
        name,
        f"weight_exp is {synapse.weight_exp}, outside {lowest} to {_MAX_EXPONENT}",
    )
    if synapse.kind == "conv2d":
        _validate_conv(synapse, source, target)
    else:
        _validate_dense(synapse, source, target)


def _validate_dense(synapse: LavaSynapse, source: tuple[int, ...], target: tuple[int, ...]) -> None:
    expected = (int(np.prod(target)), int(np.prod(source)))
    shape = synapse.weight.shape
    _require(shape == expected, synapse.name, f"weight has shape {shape} instead of {expected}")
    bits = synapse.num_weight_bits
    _require(1 <= bits <= 8, synapse.name, f"num_weight_bits is {bits}, outside 1 to 8")
    step = 1 << (8 - bits + (synapse.sign_mode == "mixed"))
    off_grid = synapse.weight[synapse.weight % step != 0]
    _require(
        off_grid.size == 0,
        synapse.name,
        f"weight holds {off_grid.flat[0] if off_grid.size else 0}, which Lava truncates: with "
        f"{bits} bits and sign mode {synapse.sign_mode} weights are multiples of {step}",
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


def _validate_conv(synapse: LavaSynapse, source: tuple[int, ...], target: tuple[int, ...]) -> None:
    name, shape, groups = synapse.name, synapse.weight.shape, synapse.groups
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


def write_job(networks: Sequence[LavaNetwork], job: Path) -> None:
    """Write `job.json` and `arrays.npz` into an existing folder."""
    arrays: dict[str, NDArray[Any]] = {}
    described = [_plain(network, f"{index}", arrays) for index, network in enumerate(networks)]
    np.savez(job / "arrays.npz", **arrays)  # type: ignore[arg-type]
    (job / "job.json").write_text(json.dumps({"schema": 1, "networks": described}), "utf-8")


def _plain(value: Any, key: str, arrays: dict[str, NDArray[Any]]) -> Any:
    """A value of the classes above as JSON, its arrays moved to `arrays` under keys."""
    if isinstance(value, np.ndarray):
        arrays[key] = value
        return key
    if isinstance(value, tuple):
        return [_plain(item, f"{key}.{index}", arrays) for index, item in enumerate(value)]
    if hasattr(value, "__dataclass_fields__"):
        return {
            field.name: _plain(getattr(value, field.name), f"{key}.{field.name}", arrays)
            for field in fields(value)
        }
    return value


def expected_arrays(networks: Sequence[LavaNetwork]) -> Iterator[tuple[int, str, str, str]]:
    """Every array of the answer: the network's index, population, field and key."""
    for index, network in enumerate(networks):
        for i, population in enumerate(network.populations):
            for field in population.record:
                yield index, population.name, field, f"{index}.{i}.{field}"
