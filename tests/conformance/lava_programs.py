"""Random programs over everything that Lava's fixed-point models execute, with inputs for them.

Every model of neurons, dense, one-to-one and convolutional synapses of any geometry, delays, all
sign modes, recurrence, feedback, sums of several paths, direct connections, reset intervals, spikes
and integers as messages, registers up to the ends of their ranges: so that sums wrap, voltages
saturate and bits are cut off.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neurodeploy.linear import Conv2d, Shape
from neurodeploy.network import InputPort
from neurodeploy.program import IntArray, Neurons, Program, Synapses
from neurodeploy.targets.loihi.arithmetic_synapses import effective_weights
from neurodeploy.targets.loihi.models import INT32_MAX, MODELS
from neurodeploy.trace import Messages

SAMPLES, STEPS = 2, 16
CONV_MOST = 1 << 30
"""Lava converts a convolution's sums from float64: beyond 32 bits that means nothing."""


@dataclass(frozen=True)
class Case:
    """A program, its inputs, and what it consists of: model names and kinds of synapses."""

    seed: int
    program: Program
    inputs: dict[str, Messages]
    features: frozenset[str]


@dataclass
class _Source:
    """Where synapses may begin; `most` bounds the magnitude of its messages."""

    name: str
    shape: Shape
    depth: int
    graded: bool
    most: int
    model: str = ""


@dataclass
class _Builder:
    rng: np.random.Generator
    sources: list[_Source] = field(default_factory=list)
    populations: list[Neurons] = field(default_factory=list)
    synapses: list[Synapses] = field(default_factory=list)
    features: set[str] = field(default_factory=set)

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def any_of(self, choices: Any) -> Any:
        return choices[int(self.rng.integers(len(choices)))]

    def size(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high, endpoint=True))


def random_case(seed: int, model: str | None = None, models: Sequence[str] = tuple(MODELS)) -> Case:
    """A program of one or two inputs and two to four populations, the first of them of `model`, the
    others of any of `models`."""
    build = _Builder(np.random.default_rng(seed))
    ports = [_input(build, f"in{i}") for i in range(build.size(1, 2))]
    for index in range(build.size(2, 4)):
        chosen = model if index == 0 and model else build.any_of(models)
        _population(build, f"n{index}", chosen)
    for source in build.sources[len(ports) :]:
        _feedback(build, source)
    populations = tuple(build.populations)
    names = [p.name for p in populations]
    program = Program("loihi2", tuple(p for p, _ in ports), populations, tuple(build.synapses),
                      tuple(names[-2:]), {})  # fmt: skip
    inputs = {port.name: _messages(build, port, most) for port, most in ports}
    return Case(seed, program, inputs, frozenset(build.features))


# --- inputs ---------------------------------------------------------------------------------------


def _input(build: _Builder, name: str) -> tuple[InputPort, int]:
    image = (build.size(1, 2), build.size(2, 6), build.size(2, 6))
    shape = image if build.chance(0.5) else (build.size(1, 10),)
    graded = build.chance(0.6)
    most = build.any_of([3, 100, 1 << 15, 1 << 17, 1 << 23, INT32_MAX]) if graded else 1
    build.sources.append(_Source(name, shape, 0, graded, most))
    return InputPort(name, shape, graded), most


def _messages(build: _Builder, port: InputPort, most: int) -> Messages:
    shape = (SAMPLES, STEPS, *port.shape)
    sent = build.rng.random(shape) < build.rng.uniform(0.1, 0.9)
    if not port.graded:
        return sent.astype(np.uint8)
    return np.where(sent, build.rng.integers(-most, most, shape, endpoint=True), 0).astype(np.int32)


# --- populations ----------------------------------------------------------------------------------


def _population(build: _Builder, name: str, model: str) -> None:
    """A population with at least one synapse to each port that must have one."""
    first = build.any_of(build.sources)
    direct = first.model != "ternary-lif" and build.chance(0.25)
    conv = None if direct else _convolution(build, first)
    depth = first.depth + (0 if direct else 1)
    shape = conv.out_shape if conv else first.shape if direct else _shape(build)
    registers = {
        key: values.reshape(shape) if values.size > 1 else values
        for key, values in draw_registers(build.rng, model, math.prod(shape)).items()
    }
    if "reset_interval" in registers:
        build.features.add("reset interval")
    build.features.add(model)
    graded = MODELS[model].graded
    build.populations.append(Neurons(name, shape, depth, registers, np.ones(1), model, graded))
    target = _Source(name, shape, depth, graded, _most_sent(model, registers), model)
    ports = [*MODELS[model].ports]
    if model != "prod":  # a product needs both; others do with one
        build.rng.shuffle(ports)
    if direct:
        _direct(build, first, target, ports[0])
    elif conv:
        _convolve(build, first, target, conv, ports[0])
    else:
        _dense(build, first, target, ports[0])
    for port in [*ports[1:], *ports[: build.size(0, 1)]]:
        others = [s for s in build.sources if s.depth < depth]
        if others and (model == "prod" or build.chance(0.7)):
            _dense(build, build.any_of(others), target, port)
            build.features.add("several paths")
        elif model == "prod" and port == "second":
            _direct(build, first, target, port)
    build.sources.append(target)


def _shape(build: _Builder) -> Shape:
    if build.chance(0.25):
        return (build.size(1, 3), build.size(1, 4), build.size(1, 4))
    return (build.size(1, 9),)


def _most_sent(model: str, registers: dict[str, IntArray]) -> int:
    if not MODELS[model].graded or model == "ternary-lif":
        return 1
    return (1 << 31) >> int(registers["state_exp"].item() if "state_exp" in registers else 0)


def draw_registers(rng: np.random.Generator, model: str, size: int) -> dict[str, IntArray]:
    """Registers anywhere in their ranges, or where neurons do something; one value, or one each."""
    spec, regime = MODELS[model], rng.random()
    wide, tiny = regime < 0.35, regime > 0.75
    limits = {**spec.registers}
    small: dict[str, tuple[int, int]] = {
        "vth": (0, 60 if "spike_exp" in limits else 3000), "vth_hi": (0, 3000),
        "vth_lo": (-3000, 0), "u0": (0, 0), "v0": (0, 0), "i0": (0, 0), "r0": (0, 0),
        "bias": (-40, 40), "theta_0": (0, 1 << 16),
        "theta_step": (0, 1 << 16), "exp": (0, 12), "decay_bits": (12, 12),
        "sin_decay": (-4096, 4096), "cos_decay": (-4096, 4096),
    }  # fmt: skip
    if not wide:
        limits = {name: small.get(name, pair) for name, pair in limits.items()}
    if tiny:  # whole units without memory, so that states often equal a threshold
        exact = {"vth": (0, 3), "vth_hi": (0, 3), "vth_lo": (-3, 0), "bias_mant": (0, 0),
                 "du": (4095, 4095), "dv": (4096, 4096)}  # fmt: skip
        limits = {name: exact.get(name, pair) for name, pair in limits.items()}
    if spec.optional and rng.random() < 0.4:
        limits |= {"reset_interval": (1, 9), "reset_offset": (0, 20)}
    drawn = {}
    for name, (low, high) in limits.items():
        count = size if name not in {*spec.single} and rng.random() < 0.5 else 1
        drawn[name] = rng.integers(low, high, count, endpoint=True)
    if model in ("delta", "sigma-delta") and wide:
        most = INT32_MAX >> int((drawn["spike_exp"] + drawn["state_exp"]).item())
        drawn["vth"] = rng.integers(0, most, 1, endpoint=True)
        if "bias" in drawn:
            drawn["bias"] = rng.integers(-most, most, drawn["bias"].size, endpoint=True)
    if model == "ternary-lif" and wide:
        drawn["vth_lo"] = np.minimum(drawn["vth_lo"], drawn["vth_hi"])
    return drawn


# --- synapses -------------------------------------------------------------------------------------


def draw_weights(rng: np.random.Generator, shape: tuple[int, ...]) -> IntArray:
    """Weights of one of Lava's sign modes and precisions, as they are after its truncation."""
    kind = int(rng.integers(6))
    scale = int(rng.choice([4, 40, 256]))
    if kind == 0:  # one sign and large, so that sums leave 24 bits
        return int(rng.choice([-1, 1])) * 2 * rng.integers(90, 127, shape, endpoint=True)
    if kind == 1:
        return effective_weights(rng.integers(0, scale, shape), "excitatory", 8)
    if kind == 2:
        return effective_weights(-rng.integers(0, scale, shape), "inhibitory", 8)
    if kind == 3:
        return effective_weights(rng.integers(-scale, scale, shape), "mixed", 9)
    return effective_weights(rng.integers(-scale, scale, shape), "mixed", int(rng.integers(4, 9)))


def _joined(
    build: _Builder, source: _Source, target: _Source, port: str, **changes: Any
) -> Synapses:
    """Synapses between two; integers are multiplied, or counted as spikes."""
    name = f"{source.name}->{target.name}.{port}.{len(build.synapses)}"
    graded = build.chance(0.8) if source.graded else build.chance(0.1)
    values = {
        "weight": np.ones(1, np.int64), "exponent": 0, "graded": graded,
        "in_shape": source.shape, "out_shape": target.shape, "port": port,
    }  # fmt: skip
    synapses = Synapses(name, source.name, target.name, **{**values, **changes})
    build.synapses.append(synapses)
    if port != "current":
        build.features.add(f"input {port}")
    if source.graded:
        build.features.add("graded" if synapses.graded else "graded, counted")
    return synapses


def _dense(build: _Builder, source: _Source, target: _Source, port: str) -> None:
    """All-to-all or, between equal sizes, one-to-one, delayed as far as causality asks or more."""
    inputs, outputs = math.prod(source.shape), math.prod(target.shape)
    alone = inputs == outputs and build.chance(0.5)
    shape: tuple[int, ...] = (outputs,) if alone else (outputs, inputs)
    least = max(0, target.depth - source.depth - 1)
    delay = np.full(1, least)
    if build.chance(0.4):
        most = build.any_of([least + 1, least + 4, 63])
        each = () if alone or build.chance(0.4) else shape
        delay = build.rng.integers(least, most, each or 1, endpoint=True)
    if delay.any():
        build.features.add("delay")
    build.features.add("one-to-one" if alone else "dense")
    _joined(
        build, source, target, port,
        kind="one-to-one" if alone else "dense",
        weight=draw_weights(build.rng, shape),
        exponent=build.size(-9, 9) if build.chance(0.7) else 0,
        delay=delay,
    )  # fmt: skip


def _direct(build: _Builder, source: _Source, target: _Source, port: str) -> None:
    build.features.add("direct")
    count = math.prod(source.shape)
    _joined(build, source, target, port, kind="one-to-one", weight=np.ones(count, np.int64),
            graded=source.graded)  # fmt: skip


def _convolution(build: _Builder, source: _Source) -> Conv2d | None:
    """A convolution of any geometry whose sums stay within 32 bits, or None."""
    if len(source.shape) != 3 or build.chance(0.3):
        return None
    channels, *image = source.shape
    groups = channels if build.chance(0.4) else 1
    out = groups * build.size(1, 3)
    padding, dilation, stride = ([build.size(low, high) for _ in range(2)]
                                 for low, high in ((0, 2), (1, 2), (1, 3)))  # fmt: skip
    room = [(n + 2 * p - 1) // d + 1 for n, p, d in zip(image, padding, dilation, strict=True)]
    kernel = [build.size(1, min(3, most)) for most in room]
    taps = math.prod(kernel) * channels // groups
    most = CONV_MOST // (source.most * taps)
    if most < 2:
        return None
    weight = np.clip(draw_weights(build.rng, (out, channels // groups, *kernel)), -most, most)
    pairs = [(a, b) for a, b in (stride, padding, dilation)]
    return Conv2d(weight.astype(np.float64), source.shape, *pairs, groups)


def _convolve(build: _Builder, source: _Source, target: _Source, op: Conv2d, port: str) -> None:
    taps = math.prod(op.weight.shape[1:])
    largest = int(np.abs(op.weight).max()) * taps * source.most
    room = max(0, (CONV_MOST // max(largest, 1)).bit_length() - 1)
    build.features.add("conv")
    _joined(
        build, source, target, port,
        kind="conv2d", weight=op.weight.astype(np.int64), exponent=build.size(0, min(room, 9)),
        stride=op.stride, padding=op.padding, dilation=op.dilation, groups=op.groups,
    )  # fmt: skip


def _feedback(build: _Builder, source: _Source) -> None:
    """Perhaps synapses from a population to itself, or to one that is not deeper."""
    if build.chance(0.35):
        build.features.add("recurrent")
        _dense(build, source, source, build.any_of(MODELS[source.model].ports))
    earlier = [s for s in build.sources if s.model and s.depth < source.depth]
    if earlier and build.chance(0.3):
        target = build.any_of(earlier)
        build.features.add("feedback")
        _dense(build, source, target, build.any_of(MODELS[target.model].ports))
