"""The stages of `verify`: what passes, what fails, and what did not run."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import nir
import numpy as np
import pytest

from neurodeploy import reference
from neurodeploy.equivalence.gates import Gates
from neurodeploy.equivalence.stage import Stage
from neurodeploy.equivalence.verdict import Verdict, verify
from neurodeploy.errors import InputError, TargetError
from neurodeploy.network import Network
from neurodeploy.program import Golden, Neurons, Program
from neurodeploy.simulator.engine import simulate
from neurodeploy.target import Cells, get_target
from neurodeploy.targets.loihi.machine import LoihiMachine
from neurodeploy.targets.loihi.resolve import SEMANTICS
from neurodeploy.trace import Spikes, Trace
from tests.builders import compiled, lif, network, recorded, small_program, spikes_for

MACHINE = LoihiMachine()
Vendor = Callable[[Program, Mapping[str, Spikes]], Trace]


def honest(program: Program, inputs: Mapping[str, Spikes]) -> Trace:
    return simulate(program, inputs, MACHINE)


@dataclass(frozen=True)
class FakeBackend:
    """A runtime of our choice."""

    call: Vendor
    title: str = "Fake runtime 1.0"

    def run(
        self,
        program: Program,
        inputs: Mapping[str, Spikes],
        *,
        timeout: float,
        states: bool = False,
    ) -> Trace:
        return self.call(program, inputs)


@dataclass(frozen=True)
class FakeTarget:
    """Loihi's arithmetic with a runtime of our choice in the vendor's place, and an honest one."""

    run: Vendor = honest
    name: str = "loihi2"
    description: str = "fake"
    semantics: Any = SEMANTICS
    machine: Any = MACHINE
    chip: Any = None

    def lower(self, network: Network, calibration: Trace) -> Program:
        raise NotImplementedError

    def check(self, program: Program) -> tuple[()]:
        return ()

    @property
    def backends(self) -> Mapping[str, FakeBackend]:
        return {"fake": FakeBackend(self.run), "other": FakeBackend(honest, "Other runtime 2.0")}


@pytest.fixture(scope="module")
def case() -> tuple[Program, Network, Spikes]:
    """A program with golden traces, its network and inputs."""
    net, program, spikes = small_program()
    golden_inputs = {"input": spikes[:2]}
    trace = simulate(program, golden_inputs, MACHINE)
    golden = Golden(golden_inputs, {p.name: trace.spikes[p.name] for p in program.populations})
    return replace(program, golden=golden), net, spikes


def check(case: tuple[Program, Network, Spikes], run: Vendor = honest, **options: Any) -> Verdict:
    program, net, spikes = case
    return verify(program, net, FakeTarget(run), spikes, **options)


def test_all_stages_pass(case: Any) -> None:
    program, net, spikes = case
    verdict = check(
        case,
        gates=Gates(agreement=0.5),
        source=reference.simulate(net, spikes).spikes,
        before={"merge-linear": net},
    )
    names = ["import", "pass merge-linear", "lowering", "mapping", "golden", "vendor"]
    assert [s.name for s in verdict.stages] == names
    assert verdict.stage("mapping").status == "not applicable"
    assert {s.status for s in verdict.stages if s.name != "mapping"} == {"passed"}
    assert verdict.status == "passed"
    assert verdict.passed
    cells = 6 * 12 * (72 + 8 + 3)
    assert verdict.stage("lowering").cells == verdict.stage("vendor").cells == cells
    assert verdict.stage("golden").cells == cells // 3
    assert verdict.stage("vendor").samples == 6
    assert "Fake runtime 1.0" in verdict.stage("vendor").title
    assert [layer.population for layer in verdict.stage("vendor").layers] == [
        "lif1",
        "lif2",
        "lif3",
    ]
    plain = json.loads(json.dumps(verdict.to_dict()))
    assert plain["status"] == "passed"
    assert [s["name"] for s in plain["stages"]] == names
    assert verdict.program_hash == program.hash


# --- status --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (["passed", "passed"], "passed"),
        (["passed", "not run"], "incomplete"),
        (["passed", "not applicable"], "passed"),
        (["not applicable"], "incomplete"),
        (["not run", "not run"], "incomplete"),
        (["passed", "failed"], "failed"),
        (["failed", "not run"], "failed"),
    ],
)
def test_status(statuses: list[Any], expected: str, case: Any) -> None:
    stages = tuple(Stage(str(i), "", status, "") for i, status in enumerate(statuses))
    verdict = replace(check(case), stages=stages)
    assert verdict.status == expected
    assert verdict.passed == (expected == "passed")


def test_nothing_compared_is_no_pass(case: Any) -> None:
    verdict = replace(check(case), stages=())
    assert not verdict.passed


# --- vendor --------------------------------------------------------------------------------------


def unavailable(program: Program, inputs: Mapping[str, Spikes]) -> Trace:
    raise TargetError("there is no runtime here", hint="Install it.")


def test_a_runtime_that_is_not_there_is_not_a_pass(case: Any) -> None:
    verdict = check(case, unavailable)
    stage = verdict.stage("vendor")
    assert (stage.status, stage.cells, stage.samples) == ("not run", 0, 0)
    assert stage.text == "there is no runtime here. Install it."
    assert verdict.status in ("incomplete", "failed")
    assert not verdict.passed


def test_leaving_the_runtime_out_is_not_a_pass(case: Any) -> None:
    called: list[int] = []

    def run(program: Program, inputs: Mapping[str, Spikes]) -> Trace:
        called.append(1)
        return honest(program, inputs)

    verdict = check(case, run, vendor_samples=None, gates=Gates(agreement=0))
    assert verdict.stage("vendor").status == "not run"
    assert verdict.status == "incomplete"
    assert not called


@pytest.mark.parametrize("name", ["lif1", "lif2", "lif3"])
def test_one_differing_cell_fails(name: str, case: Any) -> None:
    def flipped(program: Program, inputs: Mapping[str, Spikes]) -> Trace:
        trace = honest(program, inputs)
        spikes = {k: v.copy() for k, v in trace.spikes.items()}
        spikes[name][-1, -1].reshape(-1)[-1] ^= 1
        return Trace(spikes)

    verdict = check(case, flipped)
    stage = verdict.stage("vendor")
    assert (stage.status, stage.mismatches) == ("failed", 1)
    assert stage.layers[["lif1", "lif2", "lif3"].index(name)].first.step == 11  # type: ignore[union-attr]
    assert verdict.status == "failed"


def test_only_the_first_samples_run(case: Any) -> None:
    seen: list[tuple[int, ...]] = []

    def run(program: Program, inputs: Mapping[str, Spikes]) -> Trace:
        seen.append(inputs["input"].shape)
        return honest(program, inputs)

    stage = check(case, run, vendor_samples=2).stage("vendor")
    assert seen == [(2, 12, 1, 6, 6)]
    assert (stage.samples, stage.cells) == (2, 2 * 12 * 83)
    assert check(case, run, vendor_samples=1000).stage("vendor").samples == 6


@pytest.mark.parametrize("samples", [0, -1])
def test_no_samples_are_not_a_pass(samples: int, case: Any) -> None:
    def empty(program: Program, inputs: Mapping[str, Spikes]) -> Trace:
        trace = honest(program, {"input": case[2]})
        return Trace({k: v[:samples] for k, v in trace.spikes.items()})

    try:
        stage = check(case, empty, vendor_samples=samples).stage("vendor")
    except InputError:
        return
    assert stage.status != "passed"


def test_a_runtime_that_returns_too_little_is_an_error(case: Any) -> None:
    def partial(program: Program, inputs: Mapping[str, Spikes]) -> Trace:
        trace = honest(program, inputs)
        return Trace({k: v for k, v in trace.spikes.items() if k != "lif2"})

    def short(program: Program, inputs: Mapping[str, Spikes]) -> Trace:
        trace = honest(program, inputs)
        return Trace({k: v[:, :-1] for k, v in trace.spikes.items()})

    for run in (partial, short):
        with pytest.raises(InputError):
            check(case, run)


# --- golden --------------------------------------------------------------------------------------


def test_altered_weights_fail_the_golden_stage(case: Any) -> None:
    program, net, spikes = case
    for index in range(len(program.synapses)):
        changed = list(program.synapses)
        changed[index] = replace(changed[index], weight=-changed[index].weight)
        verdict = check((replace(program, synapses=tuple(changed)), net, spikes))
        assert verdict.stage("golden").status == "failed"
        assert verdict.status == "failed"
        assert "spikes differ" in verdict.stage("golden").text


def test_an_altered_threshold_fails_the_golden_stage(case: Any) -> None:
    program, net, spikes = case
    first, *rest = program.populations
    lower = {**first.parameters, "vth": first.parameters["vth"] // 2}
    changed = replace(program, populations=(replace(first, parameters=lower), *rest))
    assert check((changed, net, spikes)).stage("golden").status == "failed"


def test_a_broken_simulator_fails_the_golden_stage(
    case: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(LoihiMachine):
        """Forgets the reset of one population."""

        def cells(self, population: Neurons, own: Any, bounds: Any) -> Cells:
            return super().cells(population, own * (population.name != "lif1"), bounds)

    program, net, spikes = case
    target = FakeTarget(machine=Broken())
    verdict = verify(program, net, target, spikes)
    assert verdict.stage("golden").status == "failed"


def test_no_golden_traces_are_not_a_pass(case: Any) -> None:
    program, net, spikes = case
    stage = check((replace(program, golden=None), net, spikes)).stage("golden")
    assert stage.status == "not run"
    partial = replace(program.golden, spikes={})
    some = replace(program.golden, spikes={"lif1": program.golden.spikes["lif1"]})
    for golden in (partial, some):
        try:
            stage = check((replace(program, golden=golden), net, spikes)).stage("golden")
        except InputError:
            continue
        assert stage.status != "passed", golden.spikes.keys()


# --- lowering ------------------------------------------------------------------------------------


def test_gates_of_agreement(case: Any) -> None:
    verdict = check(case, gates=Gates(agreement=0.0))
    assert verdict.accuracy is None
    assert verdict.reference_accuracy is None
    assert verdict.stage("lowering").status == "passed"
    assert check(case, gates=Gates(agreement=1.1)).stage("lowering").status == "failed"
    value = verdict.agreement.value
    assert check(case, gates=Gates(agreement=value)).stage("lowering").status == "passed"


def test_gates_of_accuracy(case: Any) -> None:
    """With labels, the drop against the reference counts where nothing else is asked."""
    program, net, spikes = case
    decided = simulate(program, spikes, MACHINE).decisions("lif3")
    verdict = check(case, labels=decided)
    assert verdict.accuracy is not None
    assert verdict.accuracy.value == 1.0
    assert verdict.stage("lowering").status == "passed"
    assert [gate.name for gate in verdict.stage("lowering").gates] == ["accuracy drop"]
    both = check(case, labels=decided, gates=Gates(agreement=1.1, accuracy_drop=0))
    assert [gate.passed for gate in both.stage("lowering").gates] == [True, False]
    assert both.status == "failed"
    wrong = replace(
        program,
        synapses=tuple(
            replace(s, weight=-s.weight) if s.target == "lif3" else s for s in program.synapses
        ),
    )
    labels = reference.simulate(net, spikes).decisions("lif3")
    verdict = check((wrong, net, spikes), labels=labels)
    assert verdict.reference_accuracy is not None
    assert verdict.reference_accuracy.value == 1.0
    assert verdict.stage("lowering").status == "failed"


@pytest.mark.parametrize(
    "labels",
    [np.zeros(5, int), np.zeros((6, 1), int), np.zeros(6), np.zeros(6, bool), ["a"] * 6, 3],
)
def test_labels_that_do_not_fit(labels: Any, case: Any) -> None:
    with pytest.raises(InputError, match="labels"):
        check(case, labels=labels)


def test_the_first_divergence_says_where_and_by_how_much(case: Any) -> None:
    """A threshold one part in ten lower makes the second population spike too early."""
    program, net, spikes = case
    index = [p.name for p in program.populations].index("lif2")
    population = program.populations[index]
    lower = {**population.parameters, "vth": population.parameters["vth"] * 9 // 10}
    populations = list(program.populations)
    populations[index] = replace(population, parameters=lower)
    changed = replace(program, populations=tuple(populations))
    first = check((changed, net, spikes)).stage("lowering").first
    assert first is not None
    expected, actual = recorded(net, spikes), simulate(changed, spikes, MACHINE)
    steps = {
        name: int(np.argwhere(expected.spikes[name] != actual.spikes[name])[:, 1].min(initial=99))
        for name in ("lif1", "lif2", "lif3")
    }
    assert first.cell.step == min(steps.values())
    assert first.cell.population == next(n for n in steps if steps[n] == first.cell.step)
    at = (first.cell.sample, first.cell.step, *first.cell.neuron)
    assert first.expected_potential == pytest.approx(
        expected.states[first.cell.population]["v"][at], rel=1e-9
    )
    assert first.expected_spike == bool(expected.spikes[first.cell.population][at])
    assert first.threshold == next(
        p.threshold[first.cell.neuron] for p in net.populations if p.name == first.cell.population
    )
    assert f"sample {first.cell.sample}, step {first.cell.step}" in str(first)


def test_no_divergence_where_nothing_differs() -> None:
    net = network((3,), fc=nir.Linear(np.eye(3)), lif=lif(np.zeros(3), 0.5))
    spikes = spikes_for(0, 3, 9, (3,))
    program = compiled(net, spikes)
    stage = verify(program, net, FakeTarget(), spikes).stage("lowering")
    assert (stage.first, stage.mismatches, stage.status) == (None, 0, "passed")


def test_several_outputs_are_an_error(case: Any) -> None:
    program, net, spikes = case
    with pytest.raises(InputError, match="2 outputs"):
        check((replace(program, outputs=("lif2", "lif3")), net, spikes))


# --- import --------------------------------------------------------------------------------------


def tie() -> tuple[Program, Network, Spikes]:
    """Two neurons: inputs 0 and 1 together bring the first exactly to its threshold."""
    net = network(
        (2,), fc=nir.Linear(np.array([[0.5, 0.5], [0.25, 0.5]])), lif=lif(np.zeros(2), 1.0)
    )
    spikes = np.ones((1, 6, 2), np.uint8)
    return compiled(net, spikes), net, spikes


def with_source(flips: list[tuple[int, int]]) -> Stage:
    """The import stage where the source differs in cells (step, neuron)."""
    program, net, spikes = tie()
    source = {k: v.copy() for k, v in reference.simulate(net, spikes).spikes.items()}
    for step, neuron in flips:
        source["lif"][0, step, neuron] ^= 1
    return verify(program, net, FakeTarget(), spikes, source=source).stage("import")


def test_an_equal_source_passes() -> None:
    stage = with_source([])
    assert (stage.status, stage.text) == (
        "passed",
        "every spike of 12 cells is equal; no spike in lif",
    )


def test_a_tie_may_fall_either_way() -> None:
    stage = with_source([(2, 0)])
    assert stage.status == "passed"
    assert stage.mismatches == 1
    assert "1 rounding tie" in stage.text


@pytest.mark.parametrize(
    "flips",
    [[(2, 1)], [(2, 1), (3, 0)], [(2, 0), (2, 1)], [(2, 0), (3, 1)]],
    ids=["no tie", "tie later", "tie beside it", "tie before, in another neuron"],
)
def test_anything_else_fails(flips: list[tuple[int, int]]) -> None:
    """A tie explains later cells of its own neuron and of later layers, nothing else."""
    stage = with_source(flips)
    assert stage.status == "failed", stage.text


def test_a_tie_does_not_explain_earlier_layers() -> None:
    net = network(
        (2,),
        a=nir.Linear(np.array([[2.0, 0.0], [0.0, 3.0]])),
        lif1=lif(np.zeros(2)),
        b=nir.Linear(np.array([[0.5, 0.5]])),
        lif2=lif(np.zeros(1)),
    )
    spikes = np.ones((1, 6, 2), np.uint8)
    source = {k: v.copy() for k, v in reference.simulate(net, spikes).spikes.items()}
    source["lif2"][0, 2, 0] ^= 1  # a tie: two spikes of weight 0.5 meet the threshold
    program = compiled(net, spikes)
    assert verify(program, net, FakeTarget(), spikes, source=source).stage("import").status == (
        "passed"
    )
    source["lif1"][0, 4, 0] ^= 1  # no tie, and nothing before it can have caused it
    stage = verify(program, net, FakeTarget(), spikes, source=source).stage("import")
    assert stage.status == "failed", stage.text


def test_a_source_that_lacks_a_population_is_an_error(case: Any) -> None:
    _, net, spikes = case
    source = dict(reference.simulate(net, spikes).spikes)
    del source["lif2"]
    with pytest.raises(InputError, match="lif2"):
        check(case, source=source)
    with pytest.raises(InputError):
        check(case, source={})


def test_another_backend_stands_in_the_vendors_place(case: Any) -> None:
    def broken(program: Program, inputs: Mapping[str, Spikes]) -> Trace:
        raise TargetError("it is away")

    vendor = check(case, broken, backend="other").stage("vendor")
    assert vendor.status == "passed"
    assert "Other runtime 2.0" in vendor.title
    with pytest.raises(TargetError, match=r"unknown backend 'third'. It has: fake, other"):
        check(case, backend="third")


# --- causes --------------------------------------------------------------------------------------


def test_every_differing_cell_has_its_causes(case: Any) -> None:
    program, net, spikes = case
    seen: list[tuple[str, int, int]] = []
    verdict = verify(
        program,
        net,
        get_target("loihi2"),
        spikes,
        vendor_samples=None,
        progress=lambda *step: seen.append(step),
    )
    lowering = verdict.stage("lowering")
    assert lowering.mismatches
    for layer, causes in zip(lowering.layers, verdict.causes.layers, strict=True):
        assert (causes.population, causes.events) == (layer.population, layer.mismatches)
        assert causes.local == sum(causes.histogram.values()) + causes.unexplained
    first, event = lowering.first, verdict.causes.first
    assert first is not None
    assert event is not None
    assert event.local
    assert (event.potential, event.chip_potential) == pytest.approx(
        (first.expected_potential, first.potential), rel=1e-12
    )
    assert str(event).startswith("undoing ")
    assert seen == [("comparing samples", 6, 6)]
    plain = json.loads(json.dumps(verdict.to_dict()))["causes"]
    assert plain["first"]["causes"]
    assert sum(layer["local"] for layer in plain["layers"]) == sum(
        entry["events"] for layer in plain["layers"] for entry in layer["histogram"]
    )


def test_a_target_that_says_nothing_of_its_step_leaves_differences_unexplained(case: Any) -> None:
    verdict = check(case)
    wrong = [layer for layer in verdict.stage("lowering").layers if layer.mismatches]
    found = {layer.population: layer for layer in verdict.causes.layers}
    assert wrong
    for layer in wrong:
        causes = found[layer.population]
        assert causes.unexplained == causes.events == layer.mismatches
        assert "does not say what one step" in str(causes)
    assert verdict.causes.first is None
