"""Counts against a slow count, spike by spike and synapse by synapse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.costs import count
from neurodeploy.errors import InputError
from neurodeploy.program import Synapses
from neurodeploy.trace import Trace


def targets_of(synapses: Synapses, source: int) -> list[int]:
    """Target neurons that a spike of `source` reaches through weights that are not zero."""
    weight = synapses.weight
    if synapses.kind == "dense":
        return [t for t in range(len(weight)) if weight[t, source]]
    if synapses.kind == "one-to-one":
        return [source] if weight[source] else []
    _, height, width = synapses.in_shape
    out_channels, rows, columns = synapses.out_shape
    channel, (y, x) = source // (height * width), divmod(source % (height * width), width)
    return [
        (o * rows + i) * columns + j
        for o in range(out_channels)
        for i in range(rows)
        for j in range(columns)
        if 0 <= y - i < weight.shape[2]
        and 0 <= x - j < weight.shape[3]
        and weight[o, channel, y - i, x - j]
    ]


def crossed(start: tuple[int, int], end: tuple[int, int]) -> list[tuple[str, int, int]]:
    """Links of the XY route: direction, and the router (x, y) that it leaves."""
    (x, y), (to_x, to_y) = start, end
    row = [("east", i, y) for i in range(x, to_x)] + [
        ("west", i, y) for i in range(to_x + 1, x + 1)
    ]
    down = [("south", to_x, j) for j in range(y, to_y)]
    return row + down + [("north", to_x, j) for j in range(to_y + 1, y + 1)]


@given(seed=st.integers(0, 10_000))
def test_counts_equal_a_slow_count(seed: int, case: Callable) -> None:
    program, placement, trace = case(seed)
    counts = count(program, trace, placement)
    tiles, core = placement.tiles, placement.core
    chip_steps = trace.steps + 2
    for sample in range(trace.samples):
        events: Counter[str] = Counter()
        per_core: Counter[int] = Counter()
        fired: Counter[int] = Counter()
        packets: Counter[str] = Counter()
        hops: Counter[str] = Counter()
        arrived: Counter[int] = Counter()
        on_link: Counter[tuple[str, int, int]] = Counter()
        for source in program.shapes:
            flat = trace.spikes[source][sample].reshape(trace.steps, -1)
            for _, neuron in np.argwhere(flat):
                destinations = set()
                for synapses in (s for s in program.synapses if s.source == source):
                    for target in targets_of(synapses, int(neuron)):
                        events[synapses.name] += 1
                        there = int(core[synapses.target][target])
                        per_core[there] += 1
                        destinations.add(there)
                start = tiles[core[source][neuron]] if source in core else np.array([0, 0])
                packets[source] += len(destinations)
                arrived.update(destinations)
                for there in destinations:
                    route = crossed(tuple(start.tolist()), tuple(tiles[there].tolist()))
                    on_link.update(route)
                    hops[source] += len(route)
                if source in core:
                    fired[int(core[source][neuron])] += 1
        for name, values in counts.synaptic_events.items():
            assert values[sample] == events[name]
        for name in counts.packets:
            assert (counts.packets[name][sample], counts.hops[name][sample]) == (
                packets[name],
                hops[name],
            )
        for one in range(placement.cores):
            neurons = sum(int((members == one).sum()) for members in core.values())
            assert counts.core_events[sample, one] == per_core[one]
            assert counts.core_spikes[sample, one] == fired[one]
            assert counts.core_packets[sample, one] == arrived[one]
            assert counts.core_updates[sample, one] == neurons * chip_steps
        for name in ("east", "west", "north", "south"):
            for (y, x), most in np.ndenumerate(getattr(counts.links, name)[sample]):
                assert most == on_link.pop((name, x, y), 0)
        assert not on_link
        assert counts.barriers[sample] == chip_steps


@given(seed=st.integers(0, 10_000))
def test_cores_add_up_to_totals(seed: int, case: Callable) -> None:
    program, placement, trace = case(seed)
    counts = count(program, trace, placement)
    totals = [
        (counts.core_events, counts.synaptic_events),
        (counts.core_updates, counts.updates),
        (counts.core_spikes, counts.spikes),
        (counts.core_packets, counts.packets),
    ]
    for per_core, by_name in totals:
        assert per_core.dtype == np.int64
        assert per_core.sum(axis=1).tolist() == counts.total(by_name).tolist()


def test_host_traffic_and_steps(case: Callable) -> None:
    program, placement, trace = case(1, 0.5)
    counts = count(program, trace, placement)
    into = trace.spikes["in"].sum(axis=(1, 2, 3, 4)).tolist()
    out = trace.spikes["b"].sum(axis=(1, 2)).tolist()
    assert counts.inputs["in"].tolist() == into
    assert counts.outputs["b"].tolist() == out
    assert counts.host_bytes.tolist() == [4 * (i + o) for i, o in zip(into, out, strict=True)]
    assert set(counts.spikes) == {"conv", "a", "b"}  # inputs are not generated on the chip
    assert counts.steps.tolist() == [trace.steps] * trace.samples
    assert counts.chip_steps.tolist() == [trace.steps + 3 - 1] * trace.samples
    assert counts.updates["a"].tolist() == [5 * (trace.steps + 2)] * trace.samples


def test_a_potential_that_is_read_is_a_message_in_every_step(case: Callable) -> None:
    program, placement, trace = case(1, 0.5)
    *others, last = program.populations
    read = replace(program, populations=(*others, replace(last, readout="membrane")))
    counts = count(read, trace, placement)
    assert counts.outputs["b"].tolist() == [9 * trace.steps] * trace.samples


def test_self_synapses_are_events_and_packets_without_hops(case: Callable) -> None:
    program, placement, trace = case(2, 1.0)
    (own,) = (s for s in program.synapses if s.recurrent)
    alone = replace(program, synapses=(replace(own, weight=np.full(18, -2)),))
    counts = count(alone, trace, placement)
    spikes = counts.spikes["conv"].tolist()
    assert counts.synaptic_events["conv->conv"].tolist() == spikes
    assert counts.packets["conv"].tolist() == spikes
    assert counts.hops["conv"].tolist() == [0] * trace.samples


def test_a_trace_of_another_program_is_refused(case: Callable) -> None:
    program, placement, trace = case(3)
    spikes = dict(trace.spikes)
    missing = {name: array for name, array in spikes.items() if name != "a"}
    with pytest.raises(InputError, match="a: the trace has no spikes"):
        count(program, Trace(missing), placement)
    wrong = {**spikes, "a": spikes["b"]}
    with pytest.raises(InputError, match=r"a: the trace has shape \(9,\), the program \(5,\)"):
        count(program, Trace(wrong), placement)
