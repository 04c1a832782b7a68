"""From snnTorch to compiled C, and everything that can go wrong on the way."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

import neurodeploy as nd
from neurodeploy.cli import main
from neurodeploy.errors import DesignRuleError, InputError, TargetError
from neurodeploy.frontends.nir import load
from neurodeploy.program import Program
from neurodeploy.targets.cpu import cpu8, cpu8_shift
from neurodeploy.targets.cpu.export import to_c
from neurodeploy.targets.cpu.format import installed_formats
from neurodeploy.targets.cpu.vendor import run_in_c
from neurodeploy.trace import Spikes
from tests.builders import SUBTRACT, chain, lif, small_program, spikes_for

torch = pytest.importorskip("torch")
snn = pytest.importorskip("snntorch")

INPUTS = 20


class Net(torch.nn.Module):
    """Two layers of snnTorch's default neuron."""

    def __init__(self, beta: float) -> None:
        super().__init__()
        self.fc1, self.lif1 = torch.nn.Linear(INPUTS, 32), snn.Leaky(beta=beta)
        self.fc2, self.lif2 = torch.nn.Linear(32, 5), snn.Leaky(beta=beta)

    def forward(self, x: Any) -> Any:
        first, second = self.lif1.init_leaky(), self.lif2.init_leaky()
        sent = []
        for t in range(len(x)):
            spikes, first = self.lif1(self.fc1(x[t]), first)
            spikes, second = self.lif2(self.fc2(spikes), second)
            sent.append(spikes)
        return torch.stack(sent)


def graph_and_spikes(beta: float, steps: int, dyadic: bool) -> tuple[nir.NIRGraph, Spikes]:
    torch.manual_seed(0)
    net = Net(beta)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter *= 2
            if dyadic:
                parameter.copy_(torch.round(parameter * 64) / 64)
    spikes = spikes_for(0, 16, steps, (INPUTS,))
    sample = torch.tensor(spikes[:2].swapaxes(0, 1)).float()
    return nd.from_snntorch(net, sample), spikes


@pytest.fixture(scope="module")
def trained() -> tuple[nir.NIRGraph, Spikes]:
    return graph_and_spikes(0.9, 25, dyadic=False)


@pytest.mark.parametrize(
    ("target", "most"), [("cpu8", 0.02), ("cpu16", 0.0005), ("cpu8-shift", 0.2)]
)
def test_snntorch_to_c(trained: tuple[nir.NIRGraph, Spikes], target: str, most: float) -> None:
    """Few spikes differ from the model, and none between our simulator and the compiled C."""
    graph, spikes = trained
    program = nd.compile(graph, target=target, calibration=spikes)
    verdict = nd.verify(program, spikes)
    assert verdict.stage("golden").status == verdict.stage("vendor").status == "passed"
    assert verdict.stage("vendor").mismatches == 0
    lowering = verdict.stage("lowering")
    assert lowering.mismatches <= most * lowering.cells
    assert all(0.03 < verdict.trace.spikes[p.name].mean() < 0.97 for p in program.populations)


@pytest.mark.parametrize("target", ["cpu8", "cpu16"])
def test_a_model_on_the_grid_does_not_differ_at_all(target: str) -> None:
    """Weights of 8 bits, decay 1/2: eight steps need no bit that the states do not have."""
    graph, spikes = graph_and_spikes(0.5, 8, dyadic=True)
    program = nd.compile(graph, target=target, calibration=spikes)
    assert {note.how for note in program.lowerings} == {"exact"}
    verdict = nd.verify(program, spikes)
    assert {s.name for s in verdict.stages if s.status != "passed"} == {"import", "mapping"}
    assert verdict.stage("mapping").status == "not applicable"
    assert [verdict.stage(name).mismatches for name in ("lowering", "vendor")] == [0, 0]


# --- files ---------------------------------------------------------------------------------------


def looped(target: str) -> tuple[Program, Spikes]:
    """A population that feeds itself, with a name that C would not like."""
    rng = np.random.default_rng(0)
    name = "a */ for"
    graph = chain(
        (3,), fc=nir.Linear(rng.normal(0, 1, (5, 3))), **{name: lif(np.full(5, 0.5), 1.0, SUBTRACT)}
    )
    graph.nodes["loop"] = nir.Linear(rng.normal(0, 0.4, (5, 5)))
    graph.edges += [(name, "loop"), ("loop", name)]
    spikes = spikes_for(0, 4, 12, (3,))
    return nd.compile(load(graph), target=target, calibration=spikes), spikes


def test_programs_with_loops_pass_through_files(tmp_path: Path) -> None:
    program, spikes = looped("cpu8")
    program.save(tmp_path / "loop.ndp")
    read = Program.load(tmp_path / "loop.ndp")
    assert read.hash == program.hash
    assert nd.verify(read, spikes).stage("vendor").status == "passed"


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """inspect shows a program without cores; export-c writes it; energy says why it cannot."""
    program, spikes = looped("cpu8-shift")
    program.save(tmp_path / "m.ndp")
    np.save(tmp_path / "x.npy", spikes)
    assert main(["inspect", str(tmp_path / "m.ndp"), "--json"]) == 0
    assert "resources" not in json.loads(capsys.readouterr().out)
    assert main(["export-c", str(tmp_path / "m.ndp"), "-o", str(tmp_path / "m.c")]) == 0
    assert (tmp_path / "m.c").read_text("ascii") == to_c(program)
    capsys.readouterr()
    assert main(["energy", str(tmp_path / "m.ndp"), "--inputs", str(tmp_path / "x.npy")]) == 2
    assert "no energies or times are known for it" in capsys.readouterr().err
    missing = str(tmp_path / "no" / "m.c")
    assert main(["export-c", str(tmp_path / "m.ndp"), "-o", missing]) == 2
    assert "cannot be written" in capsys.readouterr().err


# --- what is not there ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", [item.name for item in installed_formats()])
def test_no_energy_is_invented(name: str) -> None:
    program, spikes = looped(name)
    with pytest.raises(TargetError, match=r"Fixed point .* no energies or times are known for it"):
        nd.energy(program, spikes)
    with pytest.raises(TargetError, match="it has no neurocores"):
        nd.place(program)


def test_without_a_compiler_verification_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    program, spikes = looped("cpu8")
    monkeypatch.setenv("CC", "no-such-compiler")
    stage = nd.verify(program, spikes).stage("vendor")
    assert stage.status == "not run"
    assert "no C compiler (no-such-compiler)" in stage.text


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("#error no\n", "the C compiler failed with code 1: .*#error no"),
        ("int main(void) { return 3; }\n", "the compiled program failed with code 3"),
        ("int main(void) { return 0; }\n", "answered 0 bytes, expected 240"),
        ("int main(void) { for (;;) ; }\n", "the compiled program took more than its time"),
    ],
)
def test_a_failing_program_is_reported(
    monkeypatch: pytest.MonkeyPatch, source: str, message: str
) -> None:
    program, spikes = looped("cpu8")
    monkeypatch.setattr("neurodeploy.targets.cpu.vendor.to_c", lambda program: source)
    with pytest.raises(TargetError, match=message):
        run_in_c(program, {"input": spikes}, timeout=2)


# --- design rules --------------------------------------------------------------------------------


def broken(program: Program, where: str, **changes: Any) -> Program:
    (population,), synapses = program.populations, program.synapses
    if where == "synapses":
        synapses = (replace(synapses[0], **changes), *synapses[1:])
    else:
        parameters = {**population.parameters, **{k: np.array([v]) for k, v in changes.items()}}
        population = replace(population, parameters=parameters)
    return replace(program, populations=(population,), synapses=synapses)


@pytest.mark.parametrize(
    ("where", "changes", "rule"),
    [
        ("synapses", {"weight": np.full((5, 3), -128)}, "weight-bits"),
        ("synapses", {"exponent": 24}, "exponent"),
        ("synapses", {"exponent": -1}, "exponent"),
        ("synapses", {"weight": np.full((5, 3), 127), "exponent": 23}, "accumulator-bits"),
        ("registers", {"state_bits": 32}, "format"),
        ("registers", {"nearest": 0}, "format"),
        ("registers", {"decay": 4097}, "registers"),
        ("registers", {"threshold": 1 << 23}, "threshold-bits"),
        ("registers", {"threshold": -1}, "threshold-bits"),
        ("registers", {"amount": 1 << 23}, "state-bits"),
        ("registers", {"bias": -(1 << 23) - 1}, "state-bits"),
    ],
)
def test_broken_rules_are_named(where: str, changes: dict[str, Any], rule: str) -> None:
    program, spikes = looped("cpu8")
    assert not cpu8.check(program)
    harmed = broken(program, where, **changes)
    assert f"cpu8.{rule}" in {violation.rule for violation in cpu8.check(harmed)}
    with pytest.raises(DesignRuleError, match=f"cpu8.{rule}"):
        nd.verify(harmed, spikes)


def test_a_program_of_another_format_is_refused() -> None:
    program, _ = looped("cpu8")
    found = {violation.rule for violation in cpu8_shift.check(program)}
    assert "cpu8-shift.format" in found


def test_states_beyond_their_range_are_reported() -> None:
    program, _ = looped("cpu8")
    (item,) = program.ranges
    harmed = replace(program, ranges=(replace(item, low=-9e6, proven=False),))
    (violation,) = cpu8.check(harmed)
    assert (violation.rule, violation.measured) == ("cpu8.state-range", 9e6 - 1)


def test_programs_of_other_chips_have_no_c() -> None:
    with pytest.raises(InputError, match="has no register state_bits"):
        to_c(small_program()[1])


def test_the_exported_program_keeps_no_states() -> None:
    (backend,) = cpu8.backends.values()
    with pytest.raises(TargetError, match="no states"):
        backend.run(None, {}, timeout=1.0, states=True)  # type: ignore[arg-type]
