"""The chip, and connections drawn at random and written out synapse by synapse."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from numpy.typing import NDArray

from neurodeploy.chip import Chip, load_chip
from neurodeploy.program import Neurons, Synapses
from neurodeploy.targets.loihi.neurocores import Neurocores

CHIP_FILE = Path(__file__).parents[2] / "targets" / "loihi" / "loihi2.toml"


@pytest.fixture(scope="session")
def chip() -> Chip:
    """Loihi 2."""
    return load_chip(CHIP_FILE)


@pytest.fixture(scope="session")
def neurocores(chip: Chip) -> Neurocores:
    """Those of Loihi 2."""
    return Neurocores(chip)


@pytest.fixture(scope="session")
def with_limits(chip: Chip) -> Callable[..., Neurocores]:
    """Loihi 2 with other limits."""

    def build(**values: int) -> Neurocores:
        changed = {name: replace(chip.limits[name], value=v) for name, v in values.items()}
        return Neurocores(replace(chip, limits={**chip.limits, **changed}))

    return build


@pytest.fixture(scope="session")
def neurons() -> Callable[..., Neurons]:
    """A population of a given shape, with registers."""

    def build(name: str, shape: tuple[int, ...], depth: int = 1, **registers: Any) -> Neurons:
        values = {"du": 4095, "dv": 100, "vth": 64, **registers}
        parameters = {key: np.atleast_1d(np.asarray(v, np.int64)) for key, v in values.items()}
        return Neurons(name, shape, depth, parameters, np.ones(1))

    return build


@pytest.fixture(scope="session")
def adjacency() -> Callable[[Synapses], NDArray[np.int64]]:
    """Number of nonzero synapses from each source to each target neuron, (targets, sources)."""
    return _adjacency


def _adjacency(synapses: Synapses) -> NDArray[np.int64]:
    sources, targets = math.prod(synapses.in_shape), math.prod(synapses.out_shape)
    result = np.zeros((targets, sources), np.int64)
    if synapses.kind == "dense":
        for target, source in itertools.product(range(targets), range(sources)):
            result[target, source] += synapses.weight[target, source] != 0
    elif synapses.kind == "one-to-one":
        for neuron in range(sources):
            result[neuron, neuron] += synapses.weight[neuron] != 0
    else:
        for target, source in _taps(synapses):
            result[target, source] += 1
    return result


def _taps(synapses: Synapses) -> list[tuple[int, int]]:
    """(target, source) of each nonzero tap, from the definition of torch.nn.Conv2d."""
    (channels, height, width), (out_channels, rows, columns) = synapses.in_shape, synapses.out_shape
    per_group, out_per_group = channels // synapses.groups, out_channels // synapses.groups
    kernel = synapses.weight.shape[2:]
    found = []
    for o, i, j in itertools.product(range(out_channels), range(rows), range(columns)):
        for c, k, m in itertools.product(range(per_group), range(kernel[0]), range(kernel[1])):
            y = i * synapses.stride[0] - synapses.padding[0] + k * synapses.dilation[0]
            x = j * synapses.stride[1] - synapses.padding[1] + m * synapses.dilation[1]
            if 0 <= y < height and 0 <= x < width and synapses.weight[o, c, k, m] != 0:
                channel = o // out_per_group * per_group + c
                source = (channel * height + y) * width + x
                found.append(((o * rows + i) * columns + j, source))
    return found


@pytest.fixture(scope="session")
def any_synapses() -> st.SearchStrategy[Synapses]:
    """Small random synapses of every kind, a third of their weights zero."""
    return st.one_of(_dense(), _one_to_one(), _conv())


def _weights(draw: st.DrawFn, shape: tuple[int, ...]) -> NDArray[np.int64]:
    values = st.lists(
        st.sampled_from([0, 0, -256, -2, 2, 254]),
        min_size=math.prod(shape),
        max_size=math.prod(shape),
    )
    return np.array(draw(values), np.int64).reshape(shape)


@st.composite
def _dense(draw: st.DrawFn) -> Synapses:
    out, into = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    return Synapses("a->b", "a", "b", "dense", _weights(draw, (out, into)), 0, (into,), (out,))


@st.composite
def _one_to_one(draw: st.DrawFn) -> Synapses:
    shape = draw(st.sampled_from([(5,), (2, 2, 3)]))
    weight = _weights(draw, (math.prod(shape),))
    return Synapses("b->b", "b", "b", "one-to-one", weight, 0, shape, shape)


@st.composite
def _conv(draw: st.DrawFn) -> Synapses:
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    groups = draw(st.integers(1, 2))
    out_per_group, in_per_group = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    kernel, stride, dilation = draw(pair), draw(pair), draw(pair)
    padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    smallest = [
        max(1, d * (k - 1) + 1 - 2 * p) for k, d, p in zip(kernel, dilation, padding, strict=True)
    ]
    height, width = (n + draw(st.integers(0, 4)) for n in smallest)
    rows, columns = (
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, p, d, k, s in zip((height, width), padding, dilation, kernel, stride, strict=True)
    )
    return Synapses(
        name="a->b",
        source="a",
        target="b",
        kind="conv2d",
        weight=_weights(draw, (groups * out_per_group, in_per_group, *kernel)),
        exponent=0,
        in_shape=(groups * in_per_group, height, width),
        out_shape=(groups * out_per_group, rows, columns),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )
