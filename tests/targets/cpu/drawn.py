"""Formats and programs of any kind, and a model of the machine in Python integers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import strategies as st

from neurodeploy.linear import Conv2d, Dense
from neurodeploy.network import InputPort
from neurodeploy.program import IntArray, Neurons, Program, Synapses
from neurodeploy.targets.cpu.format import FixedPoint
from neurodeploy.trace import Spikes, Trace
from tests.builders import convolutions

RESETS = (
    "zero",
    "zero delayed",
    "zero after input",
    "subtract",
    "subtract delayed",
    "subtract held",
    "none",
)


@st.composite
def formats(draw: st.DrawFn) -> FixedPoint:
    width = draw(st.sampled_from([8, 12, 16, 24, 30, 31, 32]))
    multiply = draw(st.booleans())
    return FixedPoint(
        name="drawn",
        title="any",
        weight_bits=draw(st.sampled_from([2, 8, 16])),
        state_bits=width,
        threshold_bits=min(31, width - 1),
        decay="multiply" if multiply else "shift",
        decay_bits=draw(st.integers(1, 15)) if multiply else 0,
        rounding=draw(st.sampled_from(["floor", "nearest"])),
        overflow=draw(st.sampled_from(["saturate", "wrap"])),
    )


def neurons(
    rng: np.random.Generator, name: str, shape: tuple[int, ...], target: FixedPoint, scale: int
) -> Neurons:
    """Registers of any value; thresholds near `scale`, so that there are spikes."""
    size = math.prod(shape)
    limit = target.state_limit
    factor = (1 << target.decay_bits) if target.decay_bits else target.state_bits

    def some(low: int, high: int) -> IntArray:
        low, high = max(low, -limit - 1), min(high, limit)
        many = shape if rng.random() < 0.5 else (1,)
        return rng.integers(low, max(low, high) + 1, many)

    def decays() -> IntArray:
        return np.minimum(some(0, factor) if rng.random() < 0.7 else np.array([factor]), factor)

    wild = limit if rng.random() < 0.2 else scale
    threshold = some(1, 2 * scale)
    return Neurons(
        name,
        shape,
        1,
        {
            **{key: np.array([value]) for key, value in target.registers.items()},
            "filtered": rng.integers(0, 2, 1),
            "reset": rng.integers(0, len(RESETS), 1),
            "closed": rng.integers(0, 2, 1),
            "decay": decays(),
            "current_decay": decays(),
            "threshold": threshold,
            "amount": threshold if rng.random() < 0.6 else some(0, wild),
            "bias": some(-wild // 2, wild) if rng.random() < 0.5 else np.zeros(1, np.int64),
            "leak": some(-wild // 2, wild) if rng.random() < 0.5 else np.zeros(1, np.int64),
            "v0": some(-wild, wild) if rng.random() < 0.5 else np.zeros(1, np.int64),
        },
        np.ones(1) * (size > 0),
    )


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """Chains with branches, convolutions, own synapses and cycles; states often overflow."""
    target = draw(formats())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shapes: dict[str, tuple[int, ...]] = {"in": draw(st.sampled_from([(7,), (2, 5, 4)]))}
    synapses: list[Synapses] = []
    limit = target.weight_limit
    # Sums of 20 inputs from 4 sources at most, in 31 bits.
    most = max(0, min(target.state_bits - target.weight_bits, 24 - target.weight_bits))

    def connect(source: str, to: str, kind: Any, weight: IntArray, **geometry: Any) -> None:
        exponent = int(rng.integers(0, most + 1))
        name = f"{source}->{to} {len(synapses)}"
        ends = (shapes[source], shapes[to])
        synapses.append(Synapses(name, source, to, kind, weight, exponent, *ends, **geometry))

    def weights(shape: tuple[int, ...]) -> IntArray:
        return rng.integers(-limit // 2, limit + 1, shape)

    def dense(source: str, to: str) -> None:
        connect(source, to, "dense", weights((math.prod(shapes[to]), math.prod(shapes[source]))))

    for index in range(draw(st.integers(1, 3))):
        name, before = f"p{index}", list(shapes)
        source = before[-1]
        if len(shapes[source]) == 3 and draw(st.booleans()):
            op = draw(convolutions(in_shape=shapes[source]))
            shapes[name] = op.out_shape
            connect(
                source, name, "conv2d", weights(op.weight.shape), stride=op.stride,
                padding=op.padding, dilation=op.dilation, groups=op.groups,
            )  # fmt: skip
        else:
            shapes[name] = draw(st.sampled_from([(3,), (5,), (2, 3, 2)]))
            dense(source, name)
        if draw(st.booleans()):
            connect(name, name, "one-to-one", weights((math.prod(shapes[name]),)))
        if draw(st.booleans()):
            dense(draw(st.sampled_from([*before, name])), name)
        if index and draw(st.booleans()):
            dense(name, f"p{index - 1}")
    populations = []
    for name, shape in list(shapes.items())[1:]:
        scale = max(int(np.abs(s.weight).max()) << s.exponent for s in synapses if s.target == name)
        populations.append(neurons(rng, name, shape, target, max(1, scale)))
    port = InputPort("in", shapes["in"])
    return Program("drawn", (port,), tuple(populations), tuple(synapses), ("p0",), {})


def total(synapses: Synapses, spikes: Spikes) -> IntArray:
    """Sums of weights (n,) for the spikes of one step."""
    if synapses.kind == "one-to-one":
        return spikes.reshape(-1) * synapses.weight.reshape(-1)
    weight = synapses.weight.astype(float)
    op: Dense | Conv2d = Dense(weight, synapses.in_shape, synapses.out_shape) if (
        synapses.kind == "dense"
    ) else Conv2d(
        weight, synapses.in_shape, synapses.stride, synapses.padding, synapses.dilation,
        synapses.groups,
    )  # fmt: skip
    return op.apply(spikes.astype(float)).reshape(-1).astype(np.int64)


class Neuron:
    """One neuron, every integer as wide as it needs."""

    def __init__(self, p: Mapping[str, int]) -> None:
        self.p, self.v, self.i, self.fired = p, p["v0"], 0, 0

    def fit(self, x: int) -> int:
        one = 2 ** (self.p["state_bits"] - 1)
        if self.p["saturate"]:
            return max(-one, min(one - 1, x))
        return (x + one) % (2 * one) - one

    def decay(self, x: int, factor: int) -> int:
        half = Fraction(self.p["nearest"], 2)
        if self.p["decay_bits"]:
            return math.floor(Fraction(x * factor, 2 ** self.p["decay_bits"]) + half)
        if factor == self.p["state_bits"]:
            return x
        return x - math.floor(Fraction(x, 2**factor) + (half if factor else 0))

    def step(self, x: int) -> tuple[int, int, int, int]:
        """(spike, v, i, potential)."""
        p, reset = self.p, RESETS[self.p["reset"]]
        drive = x + p["bias"]
        if p["filtered"]:
            self.i = self.fit(self.decay(self.i, p["current_decay"]) + drive)
            drive = self.i + p["leak"]
        before, held = self.fired, self.v > p["threshold"]
        v = 0 if reset == "zero delayed" and before else self.v
        v = self.decay(v, p["decay"]) + drive
        if reset == "zero after input" and before:
            v = 0
        if (reset == "subtract delayed" and before) or (reset == "subtract held" and held):
            v -= p["amount"]
        potential = v = self.fit(v)
        self.fired = int(v >= p["threshold"] if p["closed"] else v > p["threshold"])
        if reset == "zero" and self.fired:
            v = 0
        if reset == "subtract" and self.fired:
            v = self.fit(v - p["amount"])
        if reset == "subtract held":
            v = self.fit(v - p["amount"] * (self.fired - held))
        self.v = v
        return self.fired, v, self.i, potential


def run(program: Program, spikes: Spikes) -> Trace:
    """What the program does; synapses that go backwards deliver one step later."""
    samples, steps = spikes.shape[:2]
    order = list(program.shapes)
    fired: dict[str, Any] = {"in": spikes}
    states: dict[str, dict[str, IntArray]] = {}
    for p in program.populations:
        fired[p.name] = np.zeros((samples, steps, *p.shape), np.uint8)
        states[p.name] = {
            name: np.zeros((samples, steps, *p.shape), np.int64) for name in ("v", "i", "potential")
        }
    for b in range(samples):
        cells = {
            p.name: [
                Neuron({
                    key: int(a.reshape(-1)[n if a.size > 1 else 0])
                    for key, a in p.parameters.items()
                })
                for n in range(p.size)
            ]
            for p in program.populations
        }  # fmt: skip
        for t in range(steps):
            for p in program.populations:
                x = np.zeros(p.size, np.int64)
                for s in program.incoming(p.name):
                    late = order.index(s.source) >= order.index(p.name)
                    if t >= late:
                        x += total(s, fired[s.source][b, t - late]) << s.exponent
                for n, cell in enumerate(cells[p.name]):
                    at = (b, t, *np.unravel_index(n, p.shape))
                    fired[p.name][at], *rest = cell.step(int(x[n]))
                    for array, value in zip(states[p.name].values(), rest, strict=True):
                        array[at] = value
    return Trace(fired, states)
