"""Merging a chain of linear maps must not change what it computes."""

from __future__ import annotations

import math
import tracemalloc
from typing import Any

import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.errors import ModelError
from neurodeploy.linear import Conv2d, Dense, LinearMap, Reshape, Scale, pool2d
from neurodeploy.network import Connection, Network
from neurodeploy.passes import merge_linear, run_passes
from neurodeploy.passes.merge_linear import merge as merge_from
from tests.builders import conv, convolutions, lif, network, whole


def joined(*ops: LinearMap) -> Connection:
    return Connection("a", "b", ops)


def merge(connection: Connection) -> Dense | Conv2d:
    return merge_from(connection, connection.ops[0].in_shape)


def assert_same(connection: Connection, seed: int = 0) -> Dense | Conv2d:
    op = merge(connection)
    first, last = connection.ops[0], connection.ops[-1]
    assert (op.in_shape, op.out_shape) == (first.in_shape, last.out_shape)
    x = whole(np.random.default_rng(seed), (3, *first.in_shape))
    expected = connection.apply(x)
    scale = max(1.0, float(np.abs(expected).max()))
    assert np.abs(op.apply(x) - expected).max() <= 1e-11 * scale
    return op


@st.composite
def chains(draw: st.DrawFn) -> Connection:
    """One to four maps: convolutions, pools and scales, then perhaps a flattening or a matrix."""
    ops: list[LinearMap] = []
    shape: tuple[int, ...] = draw(st.tuples(*[st.integers(1, n) for n in (4, 9, 9)]))
    for _ in range(draw(st.integers(0, 3))):
        rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        match draw(st.sampled_from(["conv", "pool", "channels", "elements"])):
            case "conv":
                ops.append(draw(convolutions(shape)))
            case "pool":
                kernel = [draw(st.integers(1, min(3, n))) for n in shape[1:]]
                stride = [draw(st.integers(1, 3)) for _ in kernel]
                padding = [draw(st.integers(0, k // 2)) for k in kernel]
                average = draw(st.booleans())
                ops.append(
                    pool2d(shape, tuple(kernel), tuple(stride), tuple(padding), average=average)
                )
            case "channels":
                factor = whole(rng, (shape[0], 1, 1))
                ops.append(Scale(np.broadcast_to(factor, shape).copy()))
            case _:
                ops.append(Scale(whole(rng, shape)))
        shape = ops[-1].out_shape
    end = draw(st.sampled_from(["nothing", "flatten", "dense", "image"]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if end != "nothing":
        ops.append(Reshape(shape, (math.prod(shape),)))
    if end in ("dense", "image"):
        ops.append(Dense(whole(rng, (8, math.prod(shape))), (math.prod(shape),), (8,)))
    if end == "image":
        ops += [
            Reshape((8,), (2, 2, 2)),
            Conv2d(whole(rng, (2, 2, 2, 2)), (2, 2, 2), (1, 1), (1, 1)),
        ]
    if not ops:
        ops.append(draw(convolutions(shape)))
    return joined(*ops)


@settings(max_examples=300)
@given(chains(), st.integers(0, 2**32 - 1))
def test_any_chain_keeps_its_meaning(connection: Connection, seed: int) -> None:
    assert_same(connection, seed)


@pytest.mark.parametrize("size", [6, 7])
def test_convolution_then_pool_is_one_convolution(size: int) -> None:
    rng = np.random.default_rng(size)
    op = Conv2d(whole(rng, (4, 2, 3, 3)), (2, size, size), (1, 1), (1, 1))
    pool = pool2d(op.out_shape, (2, 2), (2, 2), (0, 0), average=True)
    result = assert_same(joined(op, pool))
    assert isinstance(result, Conv2d)
    assert (result.weight.shape, result.stride) == ((4, 2, 4, 4), (2, 2))


@pytest.mark.parametrize(("size", "kind"), [(6, Conv2d), (7, Dense)])
def test_pool_then_padded_convolution(size: int, kind: type) -> None:
    """An odd size drops a row; the padding stands for zeros that the input does not have there."""
    pool = pool2d((2, size, size), (2, 2), (2, 2), (0, 0), average=True)
    op = Conv2d(whole(np.random.default_rng(size), (3, 2, 3, 3)), pool.out_shape, (1, 1), (1, 1))
    result = assert_same(joined(pool, op))
    assert isinstance(result, kind)
    if isinstance(result, Conv2d):
        # A spike reaches as many synapses as it does in the convolution behind the pool.
        reached = np.count_nonzero(result.adjoint(np.ones(result.out_shape)) != 0)
        assert reached > 0
        assert result.stride == (2, 2)


def test_overlapping_pool_then_padded_convolution_is_a_matrix() -> None:
    """Average of 3 with stride 1 and padding 1 is not zero just outside its output."""
    pool = pool2d((1, 5, 5), (3, 3), (1, 1), (1, 1), average=False)
    op = Conv2d(np.ones((1, 1, 3, 3)), pool.out_shape, (1, 1), (1, 1))
    assert isinstance(assert_same(joined(pool, op)), Dense)


def test_grouped_convolutions_stay_grouped() -> None:
    rng = np.random.default_rng(3)
    a = Conv2d(whole(rng, (8, 1, 3, 3)), (4, 7, 8), groups=4)
    b = Conv2d(whole(rng, (6, 4, 2, 2)), a.out_shape, groups=2)
    result = assert_same(joined(a, b))
    assert isinstance(result, Conv2d)
    assert result.groups == 2


def test_groups_without_a_common_divisor_are_joined() -> None:
    rng = np.random.default_rng(3)
    a = Conv2d(whole(rng, (6, 2, 3, 3)), (4, 7, 8), groups=2)
    b = Conv2d(whole(rng, (3, 2, 2, 2)), a.out_shape, groups=3)
    result = assert_same(joined(a, b))
    assert isinstance(result, Conv2d)
    assert result.groups == 1


def test_per_channel_scales_stay_convolutions() -> None:
    rng = np.random.default_rng(4)
    before = Scale(np.broadcast_to(whole(rng, (4, 1, 1)), (4, 6, 6)).copy())
    op = Conv2d(whole(rng, (6, 2, 3, 3)), (4, 6, 6), groups=2)
    after = Scale(np.broadcast_to(whole(rng, (6, 1, 1)), op.out_shape).copy())
    assert isinstance(assert_same(joined(before, op, after)), Conv2d)


@pytest.mark.parametrize(("shape", "kind"), [((3, 4, 5), Conv2d), ((6,), Dense), ((2, 3), Dense)])
def test_no_map_is_a_synapse_of_weight_1_for_each_neuron(shape: Any, kind: type) -> None:
    op = merge_from(joined(), shape)
    assert isinstance(op, kind)
    x = whole(np.random.default_rng(0), (2, *shape))
    np.testing.assert_array_equal(op.apply(x), x)
    assert np.count_nonzero(op.weight) == (shape[0] if kind is Conv2d else np.prod(shape))


def test_a_scale_per_channel_is_a_convolution() -> None:
    scale = Scale(np.broadcast_to(np.arange(3.0).reshape(3, 1, 1), (3, 4, 5)).copy())
    assert isinstance(assert_same(joined(scale)), Conv2d)
    assert isinstance(assert_same(joined(Scale(np.arange(60.0).reshape(3, 4, 5)))), Dense)


def test_limits_name_the_connection_and_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge_linear, "MAX_DENSE_WEIGHTS", 1000)
    op = Conv2d(np.ones((2, 1, 3, 3)), (1, 10, 10))
    flat = Reshape(op.out_shape, (128,))
    with pytest.raises(ModelError, match=r"a->b.*1408 weights.*limit is 1000"):
        merge(joined(op, flat, Dense(np.ones((11, 128)), (128,), (11,))))
    with pytest.raises(ModelError, match=r"a->b.*limit is 1000"):
        merge(joined(op, flat))
    with pytest.raises(ModelError, match=r"a->b.*limit is 1000"):
        merge(joined(Scale(np.arange(100.0))))
    merge(joined(op, flat, Dense(np.ones((7, 128)), (128,), (7,))))


def test_a_small_matrix_needs_no_large_intermediate() -> None:
    """16x16 -> 8x16x16 as a matrix is 4 MiB; the identity of its outputs would be 32 MiB."""
    pool = pool2d((1, 16, 16), (3, 3), (1, 1), (1, 1), average=False)
    op = Conv2d(np.ones((8, 1, 3, 3)), pool.out_shape, (1, 1), (1, 1))
    tracemalloc.start()
    try:
        merge(joined(pool, op))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 24 << 20


def test_a_network_keeps_everything_but_its_chains() -> None:
    rng = np.random.default_rng(6)
    net = network(
        (2, 7, 7),
        conv=conv(rng.normal(size=(4, 2, 3, 3)), padding=1, bias=rng.normal(size=4)),
        pool=nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        lif=lif(np.full((4, 3, 3), 0.5)),
        flatten=nir.Flatten({"input": np.array([4, 3, 3])}, 0, -1),
        fc=nir.Linear(rng.normal(size=(5, 36))),
        out=lif(np.full(5, 0.5)),
    )
    assert [len(c.ops) for c in net.connections] == [1, 1]
    assert isinstance(net.connections[0].ops[0], Conv2d)
    assert net.connections[1].ops[0].in_shape == (4, 3, 3)


def test_a_pass_that_changes_the_meaning_is_caught() -> None:
    net = network((3,), fc=nir.Linear(np.ones((2, 3))), lif=lif(np.full(2, 0.5)))

    class Broken:
        name = "broken"

        def run(self, before: Network) -> Network:
            (connection,) = before.connections
            wrong = Dense(connection.ops[0].weight * (1 + 1e-6), (3,), (2,))  # type: ignore[attr-defined]
            changed = Connection(connection.source, connection.target, (wrong,))
            return Network(
                before.inputs, before.populations, (changed,), before.outputs, before.graph
            )

    with pytest.raises(ModelError, match="pass broken: changed what reaches lif"):
        run_passes(net, [Broken()])
