"""What a PE holds, against a slow count; how populations are cut; the recorded network, split."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy import api
from neurodeploy.chip import Chip
from neurodeploy.mapping import joined, place, split
from neurodeploy.mapping.connectivity import written_out
from neurodeploy.mapping.partition import exceeded, partition, violations
from neurodeploy.network import InputPort
from neurodeploy.program import Golden, Neurons, Program, Synapses
from neurodeploy.simulator.engine import simulate
from neurodeploy.target import get_target
from neurodeploy.targets.spinnaker2 import selftest
from neurodeploy.targets.spinnaker2.budget import budget
from neurodeploy.targets.spinnaker2.models import MODELS
from neurodeploy.targets.spinnaker2.pes import HOLES, Pes
from tests.dvs_gesture import NEURONS, PARAMETERS, dvs_gesture, gestures
from tests.mapping.conftest import any_synapses  # noqa: F401

TARGET = get_target("spinnaker2")


def pes(ticks: int = 0, **limits: int) -> Pes:
    """Those of the chip with other limits."""
    changed = {
        name: replace(TARGET.chip.limits[name], value=value) for name, value in limits.items()
    }
    chip: Chip = replace(TARGET.chip, limits={**TARGET.chip.limits, **changed})
    return Pes(chip, ticks, {})


def neurons(model: str, *shape: int, **changes: Any) -> Neurons:
    names = [*MODELS[model].registers, "reset"]
    return Neurons(
        "b", shape, 1, {name: np.zeros(1) for name in names}, np.ones(1), model, **changes
    )


def dense(sources: int, targets: int) -> Synapses:
    weight = np.ones((targets, sources), np.int64)
    return Synapses("a->b", "a", "b", "dense", weight, 0, (sources,), (targets,))


@settings(max_examples=40)
@given(data=st.data())
def test_bytes_of_every_pe_equal_a_slow_count(
    data: st.DataObject,
    any_synapses: st.SearchStrategy[Synapses],  # noqa: F811
) -> None:
    first = data.draw(any_synapses)
    size = math.prod(first.out_shape)
    again = data.draw(st.booleans())
    incoming = (first, replace(first, weight=-first.weight)) if again else (first,)
    core = np.sort(np.array(data.draw(st.lists(st.integers(0, 2), min_size=size, max_size=size))))
    core = np.unique(core, return_inverse=True)[1]
    ticks = data.draw(st.integers(0, 9))
    population = neurons("lif_no_delay", *first.out_shape, readout="membrane")
    use = pes(ticks).meter(population, incoming)(core)
    weight = np.stack([written_out(s) for s in incoming])
    for one in range(int(core.max()) + 1):
        n = int((core == one).sum())
        stored = 4656 + 4 * 6 * n + 4 * ticks * (-(-n // 32) + 2 + n + 1 + 1)
        for source in range(weight.shape[2]):
            k = int(np.count_nonzero(weight[:, core == one, source]))
            stored += (12 + 12 + -(-2 * k // 4) * 4) if k else 0
        assert use["data_memory"][one] == stored


def test_published_sizes() -> None:
    """Rows from 512 sources to 16, 32 and 64 neurons: 22.5, 38.9 and 71.7 kB."""
    for targets, rows in ((16, 22_528), (32, 38_912), (64, 71_680)):
        use = pes().meter(neurons("lif_no_delay", targets), (dense(512, targets),))
        fixed = 4656 + 24 * targets + 512 * 12
        assert use(np.zeros(targets, np.int64))["data_memory"].tolist() == [rows + fixed]
    potentials = pes(600).meter(neurons("lif", 128, readout="membrane"), ())
    silent = pes(600).meter(neurons("lif", 128), ())
    core = np.zeros(128, np.int64)
    assert potentials(core)["data_memory"] - silent(core)["data_memory"] == 129 * 600 * 4
    assert exceeded(potentials(core), pes(600)) == {"data_memory": 4656 + 3072 + 600 * 4 * 136}


def test_a_population_is_cut_into_the_fewest_slices_that_fit() -> None:
    population, synapses = neurons("lif_no_delay", 512), dense(512, 512)
    core = partition(population, (synapses,), pes())
    sizes = np.bincount(core)
    assert (np.diff(core) >= 0).all()
    assert set(sizes[:-1].tolist()) == {int(sizes[0])}
    assert exceeded(pes().meter(population, (synapses,))(core), pes()) == {}
    one_less = np.arange(512) // -(-512 // int(core.max()))
    assert "data_memory" in exceeded(pes().meter(population, (synapses,))(one_less), pes())


@given(
    channels=st.integers(1, 9), pixels=st.integers(1, 12), most=st.integers(12, 90),
)  # fmt: skip
def test_convolutions_are_cut_between_channels(channels: int, pixels: int, most: int) -> None:
    population = neurons("lif_conv2d", channels, pixels, 1)
    core = partition(population, (), pes(neurons_per_core=most)).reshape(channels, pixels)
    assert (core == core[:, :1]).all()
    assert np.bincount(core.reshape(-1)).max() == pixels * min(
        channels, -(-channels // -(-channels // (most // pixels)))
    )


def test_a_channel_must_fit_a_pe() -> None:
    (broken,) = violations(neurons("lif_conv2d", 2, 257, 1), (), pes())
    assert (broken.rule, broken.measured, broken.limit) == ("spinnaker2.neurons-per-core", 257, 256)
    assert "smaller image" in broken.fix
    assert violations(neurons("lif_conv2d", 2, 256, 1), (), pes()) == ()


def test_fewer_neurons_than_a_channel_cannot_be_asked_for() -> None:
    (broken,) = violations(neurons("lif_conv2d", 2, 9, 1), (), pes(), 8)
    assert (broken.rule, broken.measured, broken.limit) == (
        "spinnaker2.neurons-per-core-asked",
        9,
        8,
    )
    assert "Ask for 9" in broken.fix
    assert violations(neurons("lif_conv2d", 2, 9, 1), (), pes(), 9) == ()


def test_pes_lie_where_quads_are() -> None:
    places = [tuple(place) for place in pes().positions.tolist()]
    assert len(places) == 148
    assert max(places.count(place) for place in set(places)) == 4
    assert not HOLES & set(places)


@pytest.mark.parametrize("atoms", [256, selftest.NEURONS_PER_CORE])
def test_the_recorded_network_in_slices_gives_the_chips_spikes(atoms: int) -> None:
    program = selftest.program()
    assert TARGET.check(program) == ()
    placement = place(program, pes(neurons_per_core=atoms))
    slices = len(np.unique(placement.core[selftest.FIELD]))
    assert slices == (14 if atoms < 256 else 2)
    apart = split(program, placement)
    assert len(apart.populations) == slices + 1
    trace = joined(simulate(apart, selftest.inputs(), TARGET.machine), program, placement)
    raster = selftest.raster(trace)
    assert raster.sum() == selftest.LIF_CURR_EXP.spikes
    assert selftest.digest(raster) == selftest.SHA256


@pytest.fixture(scope="module")
def gesture_program() -> Program:
    """The DVS-gesture network, compiled, with golden traces of 600 steps."""
    return api.compile(dvs_gesture(), target="spinnaker2", calibration=gestures(1, 1, 600))


def test_the_gesture_network_fits_one_chip(gesture_program: Program) -> None:
    network = dvs_gesture()
    assert sum(population.size for population in network.populations) == NEURONS
    weights = (16 * 2 * 25, 16 * 16 * 9, 8 * 16 * 9, 72 * 256, 256 * 11)
    assert sum(weights) == PARAMETERS
    placement = api.place(gesture_program)
    assert placement.chips == 1
    assert placement.cores <= 148
    use = {item.name: item for item in placement.total}
    assert use["cores"].available == 148
    asked = budget(gesture_program, placement, TARGET.chip)
    assert asked.atoms["lif1"] == asked.atoms["lif2"] == 225  # a channel
    assert asked.tick == 1e-3
    assert asked.packets.max() < 512
    assert all(spikes.any() for spikes in gesture_program.golden.spikes.values())


def test_the_gesture_network_in_slices_sends_the_same_spikes(gesture_program: Program) -> None:
    placement = api.place(gesture_program)
    inputs = {"input": gestures(2, 1, 40)}
    whole = simulate(gesture_program, inputs, TARGET.machine)
    apart = simulate(split(gesture_program, placement), inputs, TARGET.machine)
    found = joined(apart, gesture_program, placement)
    for population in gesture_program.populations:
        np.testing.assert_array_equal(
            found.spikes[population.name], whole.spikes[population.name], population.name
        )


def test_the_budget_is_that_of_a_slow_count(gesture_program: Program) -> None:
    assert gesture_program.golden is not None
    placement = api.place(gesture_program)
    asked = budget(gesture_program, placement, TARGET.chip)
    synapses = next(s for s in gesture_program.synapses if s.target == "lif4")
    spikes = gesture_program.golden.spikes["lif3"].reshape(600, -1).astype(np.int64)
    core, sent_from = placement.core["lif4"], placement.core["lif3"]
    for pe in np.unique(core):
        present = synapses.weight[core == pe] != 0
        assert asked.events[pe] == max((spikes @ present.sum(axis=0)).tolist())
        senders = [s for s in np.unique(sent_from) if present[:, sent_from == s].any()]
        heard = spikes[:, np.isin(sent_from, senders)].sum(axis=1)
        assert asked.packets[pe] == heard.max()
        assert asked.neurons[pe] == (core == pe).sum()
    cycles = [10_000 + 300 * asked.neurons[pe] + 60 * asked.events[pe] for pe in np.unique(core)]
    assert asked.busy["lif4"].high == pytest.approx(max(cycles) / 300e6)


def test_ticks_are_as_long_as_the_busiest_pe_may_take() -> None:
    """One neuron that 400 inputs reach at once: 10,300 + 60 x 400 cycles, 0.12 ms at 300 MHz."""
    registers = {
        "threshold": 9.0,
        "alpha_decay": 0.5,
        "i_offset": 0.0,
        "v_init": 0.0,
        "v_reset": 0.0,
    }
    own = {name: np.array([value], np.float32) for name, value in registers.items()}
    population = Neurons("b", (1,), 1, {**own, "reset": np.array([0])}, np.ones(1), "lif_no_delay")
    copies = 20
    synapses = tuple(replace(dense(400, 1), name=f"a->b {i}") for i in range(copies))
    inputs = np.ones((1, 2, 400), np.uint8)
    program = Program(
        "spinnaker2", (InputPort("a", (400,)),), (population,), synapses, ("b",), {},
        golden=Golden({"a": inputs}, {"b": np.zeros((1, 2, 1), np.uint8)}),
    )  # fmt: skip
    asked = budget(program, place(program, pes()), TARGET.chip)
    busy = (10_000 + 300 + 60 * 400 * copies) / 300e6
    assert asked.busy["b"].high == pytest.approx(busy)
    assert busy <= asked.tick < busy + 1e-4
    assert 2 * busy <= asked.slow_tick < 2 * busy + 1e-4
