"""Small models, graphs, spikes and hypothesis strategies that several test files share."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from typing import Any

import nir
import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from neurodeploy import reference
from neurodeploy.equivalence.compare import Cell
from neurodeploy.errors import NeurodeployError
from neurodeploy.frontends.nir import load
from neurodeploy.frontends.nir_nodes import POPULATIONS, linear_map
from neurodeploy.linear import Conv2d, FloatArray
from neurodeploy.network import Network
from neurodeploy.passes import MergeLinear, run_passes
from neurodeploy.program import Program
from neurodeploy.semantics import Semantics, to_metadata
from neurodeploy.targets.loihi.lowering import lower
from neurodeploy.trace import Spikes, Trace

DT = 2.0**-13
"""A power of two: decays that are sums of few powers of two pass through time constants exactly."""

ZERO = Semantics(dt=DT, reset="zero")
SUBTRACT = Semantics(dt=DT, reset="subtract", reset_timing="delayed")
AT_ONCE = Semantics(dt=DT, reset="subtract", reset_timing="immediate")
HELD = Semantics(dt=DT, reset="subtract", reset_timing="held")
NONE = Semantics(dt=DT, reset="none")
MEANINGS = (
    ZERO,
    replace(ZERO, reset_timing="delayed"),
    replace(ZERO, reset_timing="after-input"),
    SUBTRACT,
    replace(SUBTRACT, reset_amount=0.3),
    AT_ONCE,
    HELD,
    NONE,
)
"""One of every kind of reset."""


def lif(
    decay: Any, threshold: Any = 1.0, semantics: Semantics | None = ZERO, **changes: Any
) -> nir.LIF:
    """A LIF node with v' = decay v + x; `changes` replace its parameters."""
    beta, theta = np.broadcast_arrays(np.asarray(decay, float), np.asarray(threshold, float))
    dt = ZERO.dt if semantics is None else semantics.dt
    values: dict[str, Any] = {
        "tau": dt / (1 - beta),
        "r": 1 / (1 - beta),
        "v_leak": np.zeros(beta.shape),
        "v_threshold": theta.copy(),
        "v_reset": np.zeros(beta.shape),
    }
    entries = {} if semantics is None else to_metadata(semantics=semantics.to_dict())
    return nir.LIF(**{**values, "metadata": entries, **changes})


def cuba(alpha: Any, beta: Any, semantics: Semantics = ZERO) -> nir.CubaLIF:
    """A CubaLIF node with i' = alpha i + x, v' = beta v + i', threshold 1."""
    alpha, beta = np.asarray(alpha, float), np.asarray(beta, float)
    one, dt = np.ones_like(alpha), semantics.dt
    synaptic, membrane = dt / (1 - alpha), dt / (1 - beta)
    metadata = to_metadata(semantics=semantics.to_dict(), dtype="float32")
    return nir.CubaLIF(
        tau_syn=synaptic, tau_mem=membrane, r=membrane / dt, v_leak=0 * one, v_reset=0 * one,
        v_threshold=one, w_in=synaptic / dt, metadata=metadata,
    )  # fmt: skip


def integrator(threshold: Any, semantics: Semantics = ZERO) -> nir.IF:
    """An IF node with v' = v + x."""
    theta = np.asarray(threshold, float)
    entries = to_metadata(semantics=semantics.to_dict())
    return nir.IF(np.full(theta.shape, 1 / semantics.dt), theta, metadata=entries)


def conv(weight: Any, bias: Any = 0.0, **changes: Any) -> nir.Conv2d:
    """A nir.Conv2d; `input_shape` (height, width) is only needed to write it to a file."""
    weight = np.asarray(weight, float)
    values = {"input_shape": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1}
    full = np.broadcast_to(np.asarray(bias, float), len(weight)).copy()
    return nir.Conv2d(weight=weight, bias=full, **{**values, **changes})


def conv1d(weight: Any, bias: Any = 0.0, **changes: Any) -> nir.Conv1d:
    """A nir.Conv1d; `input_shape` (length) is only needed to write it to a file."""
    weight = np.asarray(weight, float)
    values = {"input_shape": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1}
    full = np.broadcast_to(np.asarray(bias, float), len(weight)).copy()
    return nir.Conv1d(weight=weight, bias=full, **{**values, **changes})


def chain(shape: tuple[int, ...], **nodes: nir.NIRNode) -> nir.NIRGraph:
    """Input `input` of `shape`, `nodes` one after another, output `output`."""
    names = ["input", *nodes, "output"]
    last = shape
    with suppress(NeurodeployError, ValueError):  # some chains are meant to be wrong
        for node in nodes.values():
            if not isinstance(node, (*POPULATIONS, nir.Delay, nir.NIRGraph)):
                last = linear_map(node, last)[0][-1].out_shape
    everything = {
        "input": nir.Input({"input": np.array(shape)}),
        **nodes,
        "output": nir.Output({"output": np.array(last)}),
    }
    return nir.NIRGraph(everything, list(pairwise(names)), type_check=False)


def network(shape: tuple[int, ...], **nodes: nir.NIRNode) -> Network:
    """The loaded and merged chain."""
    return merged(load(chain(shape, **nodes)))


def merged(net: Network) -> Network:
    """`net` as it is lowered."""
    return run_passes(net, [MergeLinear()])


def spikes_for(
    seed: int, samples: int, steps: int, shape: tuple[int, ...], density: float = 0.4
) -> Spikes:
    """Random spikes (samples, steps, *shape)."""
    draws = np.random.default_rng(seed).random((samples, steps, *shape))
    return np.asarray(draws < density, dtype=np.uint8)


def recorded(net: Network, spikes: NDArray[Any]) -> Trace:
    """The reference run with the states of every population."""
    return reference.simulate(net, spikes, record=[p.name for p in net.populations])


def compiled(net: Network, calibration: NDArray[Any]) -> Program:
    """`net` lowered to Loihi 2."""
    return lower(net, recorded(net, calibration), "loihi2")


def small_program() -> tuple[Network, Program, Spikes]:
    """A convolution and two dense layers, with what they were calibrated on."""
    rng = np.random.default_rng(5)
    net = network(
        (1, 6, 6),
        conv=conv(rng.normal(0.3, 0.3, (2, 1, 3, 3)), padding=1, bias=[0.05, -0.05]),
        lif1=lif(np.full((2, 6, 6), 0.875), semantics=replace(SUBTRACT)),
        pool=nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        flatten=nir.Flatten({"input": np.array([2, 3, 3])}, 0, -1),
        fc=nir.Affine(rng.normal(0, 0.4, (8, 18)), rng.normal(0, 0.05, 8)),
        lif2=lif(np.linspace(0.5, 0.9, 8), np.linspace(0.8, 1.2, 8)),
        last=nir.Linear(rng.normal(0, 0.5, (3, 8))),
        lif3=lif(np.full(3, 0.75)),
    )
    spikes = spikes_for(1, 6, 12, (1, 6, 6))
    return net, compiled(net, spikes), spikes


def whole(rng: np.random.Generator, shape: tuple[int, ...], limit: int = 9) -> FloatArray:
    """Random whole numbers as float64: sums of them are exact in any order."""
    return rng.integers(-limit, limit + 1, shape).astype(np.float64)


@st.composite
def convolutions(draw: st.DrawFn, in_shape: tuple[int, ...] | None = None) -> Conv2d:
    """A convolution of any geometry with whole-number weights, on an input of at most 4x9x9."""
    if in_shape is None:
        in_shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9)))
    channels, height, width = in_shape
    groups = draw(st.sampled_from([g for g in range(1, channels + 1) if channels % g == 0]))
    out = groups * draw(st.integers(1, 3))
    padding = (draw(st.integers(0, 2)), draw(st.integers(0, 2)))
    dilation = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    stride = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    room = [
        (n + 2 * p - 1) // d + 1 for n, p, d in zip((height, width), padding, dilation, strict=True)
    ]
    kernel = [draw(st.integers(1, min(4, most))) for most in room]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weight = whole(rng, (out, channels // groups, *kernel))
    return Conv2d(weight, in_shape, stride, padding, dilation, groups)


def origins(expected: Trace, actual: Trace, populations: Iterable[str]) -> tuple[Cell, ...]:
    """Per sample that differs, the cell where it starts to: earliest step, then earliest layer.

    Later differences of that sample may be consequences; these cells are not.
    """
    found: dict[int, Cell] = {}
    for name in populations:
        differs = expected.spikes[name] != actual.spikes[name]
        for sample in np.flatnonzero(differs.reshape(len(differs), -1).any(axis=1)):
            cell = first_cell(name, differs[sample : sample + 1])
            known = found.get(int(sample))
            if cell is not None and (known is None or cell.step < known.step):
                found[int(sample)] = Cell(name, int(sample), cell.step, cell.neuron)
    return tuple(found[sample] for sample in sorted(found))


def first_cell(name: str, differs: np.ndarray) -> Cell:
    """The first true cell: earliest step, then neuron; of one sample."""
    step, *neuron = min((int(t), *map(int, rest)) for _, t, *rest in np.argwhere(differs))
    return Cell(name, 0, step, tuple(neuron))
