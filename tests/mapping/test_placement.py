"""Cores, tiles, chips, routes and the resource table of whole programs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from neurodeploy.errors import DesignRuleError
from neurodeploy.mapping import Resource, place, routes
from neurodeploy.network import InputPort
from neurodeploy.program import Neurons, Program, Synapses
from neurodeploy.targets.loihi.neurocores import Neurocores


def dense(source: str, target: str, weight: np.ndarray) -> Synapses:
    out, into = weight.shape
    return Synapses(f"{source}->{target}", source, target, "dense", weight, 0, (into,), (out,))


def by_name(resources: tuple[Resource, ...]) -> dict[str, Resource]:
    return {resource.name: resource for resource in resources}


@pytest.fixture
def program(neurons: Callable[..., Neurons]) -> Program:
    """in (4) -> a (6) -> b (3), a resets itself, and a second connection from a to b."""
    ones = np.ones
    own = Synapses("a->a", "a", "a", "one-to-one", -2 * ones(6, np.int64), 0, (6,), (6,))
    half = np.array([[2, 0, 0, 0, 0, 0], [0, 2, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]])
    return Program(
        target="loihi2",
        inputs=(InputPort("in", (4,)),),
        populations=(neurons("a", (6,), 1), neurons("b", (3,), 2)),
        synapses=(
            dense("in", "a", ones((6, 4), np.int64)),
            own,
            dense("a", "b", ones((3, 6), np.int64)),
            dense("a", "b", half),
        ),
        outputs=("b",),
        graph={},
    )


def test_cores_fill_tiles_in_reading_order(
    program: Program, with_limits: Callable[..., Neurocores]
) -> None:
    cores = with_limits(neurons_per_core=1, cores_per_tile=2, mesh_columns=2, cores_per_chip=8)
    placement = place(program, cores)
    assert (placement.cores, placement.chips) == (9, 2)
    assert placement.core["a"].tolist() == [0, 1, 2, 3, 4, 5]
    assert placement.core["b"].tolist() == [6, 7, 8]
    assert placement.tiles.tolist() == [
        [0, 0], [0, 0], [1, 0], [1, 0], [0, 1], [0, 1], [1, 1], [1, 1], [2, 0],
    ]  # fmt: skip


def test_routes_count_packets_and_hops(
    program: Program, with_limits: Callable[..., Neurocores]
) -> None:
    cores = with_limits(neurons_per_core=1, cores_per_tile=1, mesh_columns=3)
    placement = place(program, cores)  # a on tiles (0..2, 0..1), b on (0..2, 2)
    inputs = routes("in", program, placement)
    assert inputs.destinations.tolist() == [6] * 4
    assert inputs.hops.tolist() == [0 + 1 + 2 + 1 + 2 + 3] * 4
    # one packet to itself (0 hops) and one to each core of b, although two connections go there
    spikes = routes("a", program, placement)
    assert spikes.destinations.tolist() == [4] * 6
    assert spikes.hops.tolist() == [
        2 + 3 + 4, 3 + 2 + 3, 4 + 3 + 2, 1 + 2 + 3, 2 + 1 + 2, 3 + 2 + 1,
    ]  # fmt: skip
    assert routes("b", program, placement).destinations.tolist() == [0] * 3


def test_neurons_without_synapses_to_a_core_send_it_nothing(
    program: Program, with_limits: Callable[..., Neurocores]
) -> None:
    sparse = Program(
        target="loihi2",
        inputs=program.inputs,
        populations=program.populations,
        synapses=program.synapses[3:],
        outputs=("b",),
        graph={},
    )
    placement = place(sparse, with_limits(neurons_per_core=1))
    assert routes("a", sparse, placement).destinations.tolist() == [1, 1, 0, 0, 0, 0]


def test_resources_are_pairs_of_used_and_available(
    program: Program, with_limits: Callable[..., Neurocores]
) -> None:
    placement = place(program, with_limits(neurons_per_core=3))
    a, total = by_name(placement.resources["a"]), by_name(placement.total)
    assert (a["cores"].used, a["neurons"].used, a["neurons"].available) == (2, 6, 6)
    assert (a["synapses"].used, a["synapses"].kind) == (30, "counted")
    assert (a["synaptic memory"].used, a["synaptic memory"].kind) == (4 * 2 + 6, "derived")
    assert a["input axons, busiest core"].used == 4 + 3
    assert (total["cores"].used, total["cores"].available) == (3, 120)
    assert total["synapses"].used == 24 + 6 + 18 + 2
    assert placement.to_dict()["total"][0]["name"] == "chips"
    assert all(item.source and item.unit for item in placement.total)


def test_a_kernel_is_stored_once_and_used_often(
    neurocores: Neurocores, neurons: Callable[..., Neurons]
) -> None:
    weight = np.ones((2, 1, 3, 3), np.int64)
    weight[0, 0, 0, 0] = 0
    conv = Synapses("in->a", "in", "a", "conv2d", weight, 0, (1, 6, 6), (2, 4, 4))
    program = Program(
        target="loihi2",
        inputs=(InputPort("in", (1, 6, 6)),),
        populations=(neurons("a", (2, 4, 4)),),
        synapses=(conv,),
        outputs=("a",),
        graph={},
    )
    a = by_name(place(program, neurocores).resources["a"])
    assert (a["stored weights"].used, a["synapses"].used) == (17, 17 * 16)


def test_all_populations_that_do_not_fit_are_reported(
    program: Program, with_limits: Callable[..., Neurocores]
) -> None:
    with pytest.raises(DesignRuleError) as caught:
        place(program, with_limits(input_axons=3))
    assert [(v.node, v.rule) for v in caught.value.violations] == [
        ("a", "loihi2.input-axons"),
        ("b", "loihi2.input-axons"),
    ]
