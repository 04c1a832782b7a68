"""`ChipModule` forward: all that the simulator records, bit by bit; and back to a program."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import nir
import numpy as np
import pytest
import snntorch as snn
import torch

import neurodeploy as nd
from neurodeploy.compilation import completed
from neurodeploy.errors import InputError, ModelError, TargetError
from neurodeploy.network import InputPort
from neurodeploy.program import Golden, Program, Synapses
from neurodeploy.simulator.engine import simulate
from neurodeploy.target import get_target
from neurodeploy.targets.spinnaker2.machine import settled
from neurodeploy.torch import ChipModule
from neurodeploy.torch.cells import Levels
from tests.builders import chain, lif, small_program, spikes_for
from tests.conformance.lava_programs import random_case
from tests.targets.spinnaker2.drawn import neurons, random_program


def tensors(program: Program, inputs: Any) -> dict[str, torch.Tensor]:
    given = inputs if isinstance(inputs, Mapping) else {program.inputs[0].name: inputs}
    return {name: torch.from_numpy(values.astype(np.float64)) for name, values in given.items()}


def differing(program: Program, inputs: Any, module: ChipModule | None = None) -> int:
    """How many spikes, potentials that are read, and states differ from the simulator's."""
    names = [population.name for population in program.populations]
    machine = get_target(program.target).machine
    trace = simulate(program, inputs, machine, record=names, threads=1)
    module = ChipModule(program) if module is None else module
    given = tensors(program, inputs)
    sent, states = module.forward_all(given), module.states(given)
    found = 0
    for name in names:
        expected = trace.values.get(name, trace.spikes[name])
        found += int((sent[name].detach().numpy() != expected.astype(np.float32)).sum())
        assert states[name].keys() == trace.states[name].keys()
        for state, values in trace.states[name].items():
            found += int((states[name][state].numpy() != values).sum())
    return found


# --- forward --------------------------------------------------------------------------------------


def test_programs_for_loihi() -> None:
    """All that Lava's CUBA LIF does, registers up to their ends: wraps, saturation, restarts."""
    features: set[str] = set()
    for seed in range(30):
        case = random_case(seed, "lif", ("lif",))
        assert differing(case.program, case.inputs) == 0, seed
        features |= case.features
    expected = {"dense", "one-to-one", "conv", "delay", "graded", "graded, counted", "recurrent",
                "feedback", "several paths", "direct", "reset interval", "input bias"}  # fmt: skip
    assert not expected - features


def test_programs_for_spinnaker2() -> None:
    """Every application, both resets, delays of each synapse, recurrence."""
    for seed in range(16):
        inputs = spikes_for(seed, 2, 20, (2, 5, 5), 0.3)
        assert differing(random_program(seed), inputs) == 0, seed


def test_a_compiled_network() -> None:
    _, program, spikes = small_program()
    *others, last = program.populations
    assert differing(program, spikes) == 0
    read = replace(program, populations=(*others, replace(last, readout="membrane")))
    assert differing(read, spikes) == 0


def test_potentials_are_in_units_of_the_model() -> None:
    _, program, spikes = small_program()
    found = ChipModule(program).forward_all(tensors(program, spikes), potentials=True)
    states = simulate(program, spikes, get_target("loihi2").machine, record=["lif2"]).states
    expected = states["lif2"]["potential"] / program.population("lif2").unit
    np.testing.assert_allclose(found["lif2"].detach(), expected, rtol=1e-6)


def test_lower_precision_around_it_changes_nothing() -> None:
    _, program, spikes = small_program()
    with torch.autocast("cpu", torch.bfloat16):
        assert differing(program, spikes) == 0


def test_behind_a_layer_on_the_host() -> None:
    """A snnTorch layer before it gets a gradient."""
    _, program, _ = small_program()
    layer, neurons_ = torch.nn.Linear(5, 36), snn.Leaky(0.9, init_hidden=True)
    spikes = [neurons_(layer(x)) for x in torch.rand(8, 2, 5)]
    sent = torch.stack(spikes, 1).reshape(2, 8, 1, 6, 6)
    found = ChipModule(program)(sent)
    torch.autograd.backward(found.sum())
    assert layer.weight.grad is not None
    assert torch.isfinite(layer.weight.grad).all()
    assert layer.weight.grad.abs().sum() > 0


# --- masters and back -----------------------------------------------------------------------------


def moved(module: ChipModule, seed: int = 0, size: float = 3.0) -> ChipModule:
    """All masters moved by up to `size` units, off the grid."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for master in module.parameters():
            master += size * (2 * torch.rand(master.shape, generator=generator) - 1)
    return module


def test_a_program_of_the_present_values_runs_as_the_module() -> None:
    """With golden traces, ranges and cores of its own; what is not trained as it was."""
    _, program, spikes = small_program()
    target = get_target("loihi2")
    program = completed(program, target, {"input": spikes})
    module = moved(ChipModule(program))
    found = module.program()
    assert differing(found, spikes, module) == 0
    assert differing(found, spikes) == 0
    assert not np.array_equal(found.synapses[0].weight, program.synapses[0].weight)
    assert np.array_equal(found.synapses[1].weight, program.synapses[1].weight)  # the reset
    before, after = (p.populations[0].parameters["bias_mant"] for p in (program, found))
    assert np.any(before != after)
    assert target.check(found) == ()
    again = simulate(found, {"input": spikes[:4]}, target.machine)
    assert isinstance(found.golden, Golden)
    assert np.array_equal(found.golden.spikes["lif3"], again.spikes["lif3"])
    assert all(item.proven for item in found.ranges)
    assert found.provenance == program.provenance


def test_potentials_start_where_they_did_when_a_bias_moves() -> None:
    """On SpiNNaker2 they run before any input arrives, so that v_init moves against the bias."""
    net = chain(
        (4,),
        a=nir.Linear(np.full((3, 4), 0.3)),
        lif=lif(np.full(3, 0.75), np.ones(3)),
        b=nir.Linear(np.full((3, 3), 0.3)),
        out=lif(np.full(3, 0.75), np.ones(3)),
    )
    spikes = spikes_for(0, 4, 12, (4,))
    module = ChipModule(nd.compile(net, target="spinnaker2", calibration=spikes))
    with torch.no_grad():
        for master in module.biases.values():
            master += 0.3 * float(module.origin.population("out").unit.max())
    program = module.program()
    assert program.population("out").depth > 1
    assert np.any(program.population("out").float_register("v_init"))
    for population in program.populations:
        assert np.allclose(settled(population), 0, atol=1e-4)
    assert not differing(program, spikes, module)


def test_nothing_moved_is_the_same_program() -> None:
    _, program, spikes = small_program()
    program = completed(program, get_target("loihi2"), {"input": spikes})
    module = ChipModule(program)
    once = module.program()
    assert replace(once, ranges=program.ranges).hash == program.hash
    assert ChipModule(once).program().hash == once.hash


def test_a_state_dict_goes_round() -> None:
    _, program, spikes = small_program()
    one, other = moved(ChipModule(program)), ChipModule(program)
    assert other.load_state_dict(one.state_dict()).missing_keys == []
    given = tensors(program, spikes)
    assert torch.equal(one(given), other(given))
    assert set(one.state_dict()) == {
        "weights.input->lif1", "weights.lif1->lif2", "weights.lif2->lif3",
        *(f"{group}.lif{i}" for group in ("biases", "thresholds") for i in (1, 2, 3)),
    }  # fmt: skip


def test_only_what_is_named_is_trained() -> None:
    _, program, _ = small_program()
    names = [name for name, _ in ChipModule(program, trainable=["bias"]).named_parameters()]
    assert names == ["biases.lif1", "biases.lif2", "biases.lif3"]
    with pytest.raises(InputError, match="trainable is decay"):
        ChipModule(program, trainable=["decay"])  # type: ignore[list-item]


def test_weights_keep_to_the_grid_that_they_lie_on() -> None:
    """Four bits of Loihi are multiples of 32 up to 224."""
    _, program, _ = small_program()
    coarse = tuple(
        replace(s, weight=np.clip(s.weight // 32 * 32, -224, 224)) if s.kind != "one-to-one" else s
        for s in program.synapses
    )
    module = moved(ChipModule(replace(program, synapses=coarse)), size=300.0)
    for index in (0, 2, 3):
        weight = module.program().synapses[index].weight
        assert not np.any(weight % 32)
        assert np.abs(weight).max() == 224


def test_levels_round_halves_to_even_and_hold_back_what_is_clipped() -> None:
    levels = Levels(2, -6, 6)
    master = torch.tensor([1.0, 3.0, 2.9, -7.5, 9.0, 9.0], requires_grad=True)
    found = levels.nearest(master)
    assert found.tolist() == [0, 4, 2, -6, 6, 6]
    found.backward(torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, -1.0]))
    assert master.grad is not None
    assert master.grad.tolist() == [1, 1, 1, 0, 1, 0]  # down for -7.5 and up for 9 is outward


@pytest.mark.parametrize("name", ["torch", "snntorch"])
def test_a_missing_extra_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "neurodeploy.torch")
    with pytest.raises(TargetError, match=rf"needs {name}.*neurodeploy-snn\[snntorch\]"):
        importlib.import_module("neurodeploy.torch")


# --- what is refused ------------------------------------------------------------------------------


def test_other_neurons_are_refused() -> None:
    case = random_case(0, "rf", ("rf",))
    with pytest.raises(ModelError, match="neurons 'rf' have no gradient here"):
        ChipModule(case.program)


def test_a_target_without_arithmetic_in_torch_is_refused() -> None:
    _, program, _ = small_program()
    with pytest.raises(TargetError, match="no arithmetic in torch"):
        ChipModule(replace(program, target="cpu8"))


def test_sums_beyond_float32_are_refused() -> None:
    population = neurons("a", (1,), "lif_no_delay")
    weight = np.full((1, 140_000), 127)
    program = random_program(0)
    synapses = Synapses("w", "input", "a", "dense", weight, 0, (140_000,), (1,))
    program = replace(
        program, inputs=(InputPort("input", (140_000,)),), populations=(population,),
        synapses=(synapses,), outputs=("a",),
    )  # fmt: skip
    with pytest.raises((ModelError, InputError), match="may sum up to"):
        ChipModule(program)


def test_another_dtype_is_refused() -> None:
    """It would not be exact."""
    _, program, spikes = small_program()
    with pytest.raises(InputError, match=r"cast to torch\.float16"):
        ChipModule(program).half()(torch.from_numpy(spikes).float())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x[:, :, 0], "expected"),
        (lambda x: x * 2, "are not 0 or 1"),
        (lambda x: x[:0], "empty"),
        (lambda x: {"x": x}, "inputs are named x"),
    ],
)
def test_inputs_that_do_not_fit(change: Any, words: str) -> None:
    _, program, spikes = small_program()
    with pytest.raises(InputError, match=words):
        ChipModule(program)(change(torch.from_numpy(spikes).float()))
