"""Packets between cores and on links against a slow count; what moving cores about saves."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.mapping import place, routes
from neurodeploy.mapping.arrangement import arrange
from neurodeploy.mapping.traffic import expected_spikes, links, packets_between
from neurodeploy.network import InputPort
from neurodeploy.program import Golden, Neurons, Program, Synapses
from neurodeploy.targets.loihi.neurocores import Neurocores
from tests.mapping.test_split import recurrent_program

Step = tuple[tuple[int, int], tuple[int, int]]


def path(start: tuple[int, int], end: tuple[int, int]) -> list[Step]:
    """Links of the XY route."""
    x, y = start
    found = []
    while (x, y) != end:
        towards = (
            (x + (end[0] > x) - (end[0] < x), y)
            if x != end[0]
            else (x, y + (end[1] > y) - (end[1] < y))
        )
        found.append(((x, y), towards))
        x, y = towards
    return found


@given(seed=st.integers(0, 10_000))
def test_links_are_those_of_every_packets_route(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cores = int(rng.integers(1, 7))
    packets = rng.integers(0, 9, (cores + 1, cores)) * (rng.random((cores + 1, cores)) < 0.5)
    tiles = rng.integers(0, 5, (cores, 2))
    entry = (int(rng.integers(5)), int(rng.integers(5)))
    places = [*map(tuple, tiles.tolist()), entry]
    expected: Counter[Step] = Counter()
    for sender, receiver in itertools.product(range(cores + 1), range(cores)):
        for step in path(places[sender], places[receiver]):
            expected[step] += int(packets[sender, receiver])
    found = links(packets, tiles, entry)
    steps = {"east": (1, 0), "west": (-1, 0), "south": (0, 1), "north": (0, -1)}
    counted: Counter[Step] = Counter()
    for name, (dx, dy) in steps.items():
        for (y, x), most in np.ndenumerate(getattr(found, name)):
            counted[(x, y), (x + dx, y + dy)] += int(most)
    assert +counted == +expected
    assert found.hops == expected.total()
    assert found.busiest == max(expected.values(), default=0)


def hops(packets: np.ndarray, tiles: np.ndarray) -> int:
    return links(packets, tiles, (0, 0)).hops


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000))
def test_moving_cores_about_never_costs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cores, size = int(rng.integers(1, 30)), int(rng.integers(30, 40))
    packets = rng.integers(0, 99, (cores + 1, cores)) * (rng.random((cores + 1, cores)) < 0.2)
    y, x = np.divmod(np.arange(size), 8)
    places = np.stack([x, y], axis=1)
    place_of = arrange(packets, places, (0, 0))
    assert len(set(place_of.tolist())) == cores
    assert set(place_of.tolist()) <= set(range(size))
    found = hops(packets, places[place_of])
    assert found <= hops(packets, places[:cores])
    assert place_of.tolist() == arrange(packets, places, (0, 0)).tolist()
    other = arrange(packets, places, (0, 0), seed)
    assert other.tolist() == arrange(packets, places, (0, 0), seed).tolist()
    assert hops(packets, places[other]) <= hops(packets, places[:cores])
    for i, j in itertools.combinations(range(cores), 2):  # no exchange is left that saves
        other = place_of.copy()
        other[[i, j]] = other[[j, i]]
        assert hops(packets, places[other]) >= found


def test_at_equal_hops_the_busiest_link_is_relieved() -> None:
    """A core sends to two: behind each other one link carries both, on either side one each."""
    packets = np.zeros((4, 3), np.int64)
    packets[0, 1], packets[0, 2] = 10, 5
    packets[1, 2] = 5
    places = np.array([[x, 0] for x in range(3)])
    before = links(packets, places, (0, 0))
    after = links(packets, places[arrange(packets, places, (0, 0))], (0, 0))
    assert (before.hops, before.busiest) == (25, 15)
    assert (after.hops, after.busiest) == (25, 10)


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000))
def test_no_exchange_at_equal_hops_relieves_the_busiest_link(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cores = int(rng.integers(2, 9))
    packets = rng.integers(0, 4, (cores + 1, cores)) * (rng.random((cores + 1, cores)) < 0.3)
    y, x = np.divmod(np.arange(12), 4)
    places = np.stack([x, y], axis=1)
    found = arrange(packets, places, (0, 0))
    least = links(packets, places[found], (0, 0))
    room = [*found, *(set(range(12)) - set(found.tolist()))]
    for i, j in itertools.combinations(range(12), 2):
        other = np.array(room)
        other[[i, j]] = other[[j, i]]
        moved = links(packets, places[other[:cores]], (0, 0))
        assert (moved.hops, moved.busiest) >= (least.hops, least.busiest)


def test_a_shuffled_chain_is_put_in_order() -> None:
    cores = 32
    order = np.random.default_rng(3).permutation(cores)
    packets = np.zeros((cores + 1, cores), np.int64)
    packets[order[:-1], order[1:]] = 10
    y, x = np.divmod(np.arange(cores), 8)
    places = np.stack([x, y], axis=1)
    before = hops(packets, places)
    after = hops(packets, places[arrange(packets, places, (0, 0))])
    assert after < 0.6 * before


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), neurons=st.integers(3, 40))
def test_packets_are_those_of_routes(
    seed: int, neurons: int, with_limits: Callable[..., Neurocores]
) -> None:
    """Hops on links equal those that single spikes cost, weighted with how many there are."""
    program = recurrent_program(seed)
    rng = np.random.default_rng(seed)
    sent = {
        name: (rng.random((2, 5, *shape)) < 0.3).astype(np.uint8)
        for name, shape in program.shapes.items()
    }
    golden = Golden({"in": sent.pop("in")}, sent)
    program = replace(program, golden=golden)
    cores = replace(with_limits(neurons_per_core=neurons), movable=bool(seed % 2))
    placement = place(program, cores)
    spikes = expected_spikes(program)
    packets = packets_between(program, placement.core, placement.cores, spikes)
    crossed = [routes(name, program, placement) for name in program.shapes]
    each = list(zip(crossed, (spikes[name] for name in program.shapes), strict=True))
    assert packets.sum() == sum(int(route.destinations @ count) for route, count in each)
    assert placement.links.hops == sum(int(route.hops @ count) for route, count in each)


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), limits=st.lists(st.integers(4, 40), min_size=2, max_size=2))
def test_smaller_cores_hold_no_more_neurons_each(
    seed: int, limits: list[int], with_limits: Callable[..., Neurocores]
) -> None:
    """Mapped twice it is the same; more cores never make the busiest one busier."""
    program = recurrent_program(seed)
    found = []
    for most in sorted(limits):
        cores = replace(with_limits(neurons_per_core=most), movable=True)
        placement = place(program, cores)
        again = place(program, cores)
        assert placement.tiles.tolist() == again.tiles.tolist()
        for name, core in placement.core.items():
            assert core.tolist() == again.core[name].tolist()
        sizes = np.bincount(np.concatenate(list(placement.core.values())))
        assert sizes.min() > 0
        assert sizes.max() <= most
        found.append((placement.cores, int(sizes.max())))
    (many, few), (fewer, more) = found
    assert many >= fewer
    assert few <= more


def test_a_million_neurons_map_in_seconds(neurocores: Neurocores) -> None:
    """Four layers of 4 x 256 x 256 neurons with 5 x 5 kernels; on hardware of today, some 5 s."""
    shape, names = (4, 256, 256), ["in", "a", "b", "c", "d"]
    kernel = np.ones((4, 4, 5, 5), np.int64)
    registers = {key: np.array([100]) for key in ("du", "dv", "vth")}
    program = Program(
        target="loihi2",
        inputs=(InputPort("in", shape),),
        populations=tuple(
            Neurons(name, shape, depth, registers, np.ones(1))
            for depth, name in enumerate(names[1:], 1)
        ),
        synapses=tuple(
            Synapses(f"{a}->{b}", a, b, "conv2d", kernel, 0, shape, shape, padding=(2, 2))
            for a, b in itertools.pairwise(names)
        ),
        outputs=("d",),
        graph={},
    )
    start = time.process_time()
    placement = place(program, neurocores)
    assert time.process_time() - start < 60
    assert sum(core.size for core in placement.core.values()) == 1 << 20
    assert placement.chips * 120 >= placement.cores >= 256
