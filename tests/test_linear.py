"""Linear maps: against loops that follow the definitions, against torch, and their adjoints."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.errors import ModelError
from neurodeploy.linear import (
    Conv2d,
    Dense,
    FloatArray,
    LinearMap,
    Reshape,
    Scale,
    describe,
    pool2d,
)
from tests.builders import convolutions, whole

SEEDS = st.integers(0, 2**32 - 1)


def convolve(op: Conv2d, x: FloatArray) -> FloatArray:
    """The definition in the docstring of `Conv2d`, one product at a time."""
    out, per_group, rows, columns = op.weight.shape
    _, height, width = op.in_shape
    y = np.zeros(op.out_shape)
    for o, i, j in np.ndindex(op.out_shape):
        group = o // (out // op.groups)
        for c, k, m in np.ndindex(per_group, rows, columns):
            row = i * op.stride[0] - op.padding[0] + k * op.dilation[0]
            column = j * op.stride[1] - op.padding[1] + m * op.dilation[1]
            if 0 <= row < height and 0 <= column < width:
                y[o, i, j] += op.weight[o, c, k, m] * x[group * per_group + c, row, column]
    return y


def assert_adjoint(op: LinearMap, seed: int) -> None:
    """<A x, y> = <x, A' y>, exactly, on whole numbers."""
    rng = np.random.default_rng(seed)
    x, y = whole(rng, op.in_shape), whole(rng, op.out_shape)
    assert op.apply(x).shape == op.out_shape
    assert op.adjoint(y).shape == op.in_shape
    assert (op.apply(x) * y).sum() == (x * op.adjoint(y)).sum()


@given(convolutions(), SEEDS)
def test_convolution_is_its_definition(op: Conv2d, seed: int) -> None:
    x = whole(np.random.default_rng(seed), op.in_shape)
    assert np.array_equal(op.apply(x), convolve(op, x))


@given(convolutions(), SEEDS)
def test_convolution_equals_torch(op: Conv2d, seed: int) -> None:
    torch = pytest.importorskip("torch")
    x = whole(np.random.default_rng(seed), (2, *op.in_shape))
    expected = torch.nn.functional.conv2d(
        torch.from_numpy(x),
        torch.from_numpy(op.weight),
        stride=op.stride,
        padding=op.padding,
        dilation=op.dilation,
        groups=op.groups,
    )
    assert op.out_shape == tuple(expected.shape[1:])
    assert np.array_equal(op.apply(x), expected.numpy())


@given(convolutions(), SEEDS)
def test_adjoint_of_a_convolution(op: Conv2d, seed: int) -> None:
    assert_adjoint(op, seed)


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=3),
    st.lists(st.integers(1, 4), min_size=1, max_size=3),
    SEEDS,
)
def test_adjoint_of_a_dense_map(source: list[int], target: list[int], seed: int) -> None:
    weight = whole(np.random.default_rng(seed), (int(np.prod(target)), int(np.prod(source))))
    assert_adjoint(Dense(weight, tuple(source), tuple(target)), seed)


def test_dense_flattens_in_c_order() -> None:
    op = Dense(np.arange(12.0).reshape(2, 6), (2, 3), (2, 1))
    x = np.array([[1.0, 0, 0], [0, 0, 1]])
    assert np.array_equal(op.apply(x), [[5.0], [17.0]])


@given(SEEDS)
def test_adjoint_of_scale_and_reshape(seed: int) -> None:
    factor = whole(np.random.default_rng(seed), (2, 3))
    assert_adjoint(Scale(factor), seed)
    assert_adjoint(Reshape((2, 3), (6,)), seed)


@given(convolutions(), SEEDS)
def test_leading_axes_are_independent(op: Conv2d, seed: int) -> None:
    rng = np.random.default_rng(seed)
    chain: list[LinearMap] = [
        op,
        Scale(whole(rng, op.out_shape)),
        Reshape(op.out_shape, (int(np.prod(op.out_shape)),)),
    ]
    x = whole(rng, (2, 3, *op.in_shape))
    for one in chain:
        together, back = one.apply(x), None
        for index in itertools.product(range(2), range(3)):
            assert np.array_equal(together[index], one.apply(x[index]))
        back = one.adjoint(together)
        for index in itertools.product(range(2), range(3)):
            assert np.array_equal(back[index], one.adjoint(together[index]))
        x = together


def test_no_leading_sample_is_allowed() -> None:
    assert Reshape((2, 3), (6,)).apply(np.zeros((0, 2, 3))).shape == (0, 6)


@given(
    st.tuples(st.integers(1, 3), st.integers(1, 8), st.integers(1, 8)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(0, 1), st.integers(0, 1)),
    st.booleans(),
    SEEDS,
)
def test_pooling_is_its_definition(
    shape: tuple[int, int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    average: bool,
    seed: int,
) -> None:
    kernel = (min(kernel[0], shape[1]), min(kernel[1], shape[2]))
    op = pool2d(shape, kernel, stride, padding, average=average)
    x = whole(np.random.default_rng(seed), shape)
    around = ((0, 0), (padding[0], padding[0]), (padding[1], padding[1]))
    padded = np.pad(x, around)
    for c, i, j in np.ndindex(op.out_shape):
        top, left = i * stride[0], j * stride[1]
        window = padded[c, top : top + kernel[0], left : left + kernel[1]]
        assert window.shape == kernel
        expected = window.sum() / (window.size if average else 1)
        assert op.apply(x)[c, i, j] == pytest.approx(expected, rel=1e-12, abs=1e-12)
    assert op.out_shape[1] == (padded.shape[1] - kernel[0]) // stride[0] + 1
    assert op.out_shape[2] == (padded.shape[2] - kernel[1]) // stride[1] + 1


def test_wrong_shapes_are_refused() -> None:
    weight = np.ones((2, 1, 3, 3))
    good = Conv2d(weight, (1, 5, 5))
    for change in (
        {"in_shape": (2, 5, 5)},
        {"in_shape": (25,)},
        {"in_shape": (1, 2, 5)},
        {"weight": np.ones((2, 1, 3))},
        {"groups": 2},
        {"groups": 0},
        {"stride": (0, 1)},
        {"dilation": (1, 0)},
        {"padding": (-1, 0)},
    ):
        with pytest.raises(ModelError):
            replace(good, **change)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="expected"):
        Dense(np.ones((2, 3)), (2,), (2,))
    with pytest.raises(ModelError, match="reshape"):
        Reshape((2, 3), (5,))


def test_descriptions() -> None:
    op = Conv2d(np.ones((16, 4, 3, 5)), (8, 9, 9), (2, 2), (1, 0), (1, 1), 2)
    assert describe(op) == "Conv2d 8→16, 3x5, stride 2, padding (1, 0), 2 groups"
    assert describe(Dense(np.ones((3, 6)), (2, 3), (3,))) == "Dense 6→3"
    assert describe(Reshape((2, 3), (6,))) == "Reshape (2, 3)→(6,)"
