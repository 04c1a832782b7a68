"""What py-spinnaker2 is told, against the maps that the synapses mean."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.errors import ModelError
from neurodeploy.linear import Conv2d
from neurodeploy.network import InputPort
from neurodeploy.program import Program, Synapses
from neurodeploy.targets.spinnaker2.bundle.network import network_of
from tests.targets.spinnaker2.bundle.network import neurons, program


def told(made: Program) -> tuple[dict[str, Any], dict[str, Any]]:
    return network_of(made, dict.fromkeys(made.shapes, 16))


def convolution(
    weight: Any, shape: tuple[int, int, int], model: str, **geometry: Any
) -> tuple[Program, Conv2d]:
    op = Conv2d(weight.astype(float), shape, **geometry)
    synapses = Synapses("s", "input", "out", "conv2d", weight, 0, shape, op.out_shape, **geometry)
    made = Program(
        "spinnaker2",
        (InputPort("input", shape),),
        (neurons("out", op.out_shape, 1, model, 5.0),),
        (synapses,),
        ("out",),
        {},
    )
    return made, op


@given(
    st.integers(0, 2**32 - 1),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(0, 2), st.integers(0, 2)),
    st.tuples(st.integers(1, 2), st.integers(1, 2)),
    st.integers(1, 2),
)
def test_a_convolution_written_out_is_its_matrix(seed, stride, padding, dilation, groups) -> None:
    weight = np.random.default_rng(seed).integers(-3, 4, (4, 2, 2, 3))
    geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    made, op = convolution(weight, (2 * groups, 5, 6), "lif_no_delay", **geometry)
    (projection,), arrays = told(made)[0]["projections"], told(made)[1]
    place = projection["array"]
    matrix = np.zeros((np.prod(op.out_shape), np.prod(op.in_shape)))
    np.add.at(matrix, (arrays[f"{place}/post"], arrays[f"{place}/pre"]), arrays[f"{place}/weight"])
    eye = np.eye(int(np.prod(op.in_shape))).reshape(-1, *op.in_shape)
    np.testing.assert_array_equal(matrix, op.apply(eye).reshape(len(eye), -1).T)
    assert np.all(arrays[f"{place}/weight"])


@pytest.mark.parametrize(
    ("kernel", "k", "stride", "padding", "size", "pool"),
    [(3, 2, 1, 1, 8, 2), (3, 1, 2, 1, 8, 1), (2, 4, 1, 0, 16, 4), (3, 2, 1, 1, 9, 1)],
)
def test_a_pooling_is_found_in_the_kernel(kernel, k, stride, padding, size, pool) -> None:
    weight = np.random.default_rng(3).integers(-9, 10, (4, 2, kernel, kernel))
    blocks = weight.repeat(k, axis=2).repeat(k, axis=3)
    geometry = {"stride": (stride * k,) * 2, "padding": (padding * k,) * 2}
    made, _ = convolution(blocks, (2, size, size), "lif_conv2d", **geometry)
    (projection,), arrays = told(made)[0]["projections"], told(made)[1]
    parameters = projection["parameters"]
    assert (parameters["pool_x"], parameters["pool_y"]) == (pool, pool)
    found = arrays[f"{projection['array']}/kernel"]
    expected = weight if pool == k else blocks
    np.testing.assert_array_equal(found, expected.swapaxes(0, 1))
    assert found.dtype == np.int8


def test_a_kernel_of_unequal_taps_is_no_pooling() -> None:
    weight = np.arange(4 * 2 * 6 * 6).reshape(4, 2, 6, 6) % 19
    made, _ = convolution(weight, (2, 8, 8), "lif_conv2d", stride=(2, 2), padding=(2, 2))
    (projection,), arrays = told(made)[0]["projections"], told(made)[1]
    assert projection["parameters"]["pool_x"] == 1
    assert arrays[f"{projection['array']}/kernel"].shape == (2, 4, 6, 6)


def test_what_a_kernel_cannot_be_is_refused() -> None:
    made, _ = convolution(np.ones((2, 2, 3, 3), int), (2, 6, 6), "lif_conv2d", stride=(1, 2))
    with pytest.raises(ModelError, match=r"s: its stride is \(1, 2\)"):
        told(made)
    grouped, _ = convolution(np.ones((2, 1, 3, 3), int), (2, 6, 6), "lif_conv2d", groups=2)
    with pytest.raises(ModelError, match="has 2 groups"):
        told(grouped)


def test_a_kernel_beside_other_synapses_is_refused() -> None:
    made = program()
    shape = (3, 4, 4)
    loop = Synapses("loop", "conv", "conv", "one-to-one", np.full(48, -7), 0, shape, shape)
    with pytest.raises(ModelError, match="conv: lif_conv2d takes one convolution and nothing else"):
        told(replace(made, synapses=(*made.synapses, loop)))


def test_both_signs_of_a_connection_are_one_projection() -> None:
    network, arrays = told(program())
    (place,) = [p["array"] for p in network["projections"] if p["target"] == "filtered"]
    weight = arrays[f"{place}/weight"]
    assert weight.min() < 0 < weight.max()
    assert set(arrays[f"{place}/delay"]) == set(range(8))
