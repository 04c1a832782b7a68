"""The search: its order, its constraints, what falls silent, and that it can be interrupted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

import neurodeploy as nd
from neurodeploy.cli import main
from neurodeploy.equivalence.statistics import Proportion
from neurodeploy.errors import InputError
from neurodeploy.exploration import Candidate, Constraints, Exploration, exploring
from neurodeploy.exploration.candidate import front, weight_bits
from neurodeploy.program import Synapses
from neurodeploy.reference import simulate
from tests.builders import chain, lif
from tests.costs.provenance import unproven

RNG = np.random.default_rng(3)
INPUTS = (RNG.random((24, 10, 6)) < 0.4).astype(np.uint8)
GRAPH = chain(
    (6,),
    fc1=nir.Linear(RNG.normal(0.2, 0.4, (8, 6))),
    lif1=lif(np.full(8, 0.75)),
    fc2=nir.Linear(RNG.normal(0.2, 0.4, (4, 8))),
    lif2=lif(np.full(4, 0.75)),
)


def explored(**changes: Any) -> Exploration:
    return nd.explore(GRAPH, **{"target": "loihi2", "inputs": INPUTS, "budget": 24, **changes})


@pytest.fixture(scope="module")
def whole() -> Exploration:
    return explored(constraints=Constraints(accuracy=0.9))


def test_the_order_in_which_candidates_are_tried(whole: Exploration) -> None:
    """The target's own, uniform ones, one population alone, then steps from the best."""
    assert whole.candidates[0].settings == {}
    for bits, candidate in zip(range(7, 1, -1), whole.candidates[1:7], strict=True):
        assert candidate.settings == {n: {"weight_bits": bits} for n in ("lif1", "lif2")}
    assert whole.candidates[12].settings == {n: {"percentile": 90.0} for n in ("lif1", "lif2")}
    alone = [candidate.settings for candidate in whole.candidates[13:17]]
    last = ({"weight_bits": 2}, {"percentile": 90.0})
    assert alone == [{name: own} for name in ("lif1", "lif2") for own in last]
    assert len({json.dumps(c.settings) for c in whole.candidates}) == len(whole.candidates)


def test_the_pick_is_the_cheapest_that_holds_the_constraints(whole: Exploration) -> None:
    assert whole.pick is not None
    holding = [c for c in whole.candidates if c.usable and c.correct.value >= 0.9]
    pick = whole.candidates[whole.pick]
    assert pick.costs == min(c.costs for c in holding)
    assert pick.costs < whole.candidates[0].costs
    assert whole.pick in whole.front
    assert "90.0%" in whole.reason
    assert pick.energy is not None
    assert not list(unproven(pick.energy.to_dict()))


def test_a_candidate_is_what_its_settings_compile_to(whole: Exploration) -> None:
    assert whole.pick is not None
    pick = whole.candidates[whole.pick]
    program = nd.compile(GRAPH, target="loihi2", calibration=INPUTS, settings=pick.settings)
    report = nd.energy(program, INPUTS)
    assert pick.energy == report.line("core dynamic").total
    assert pick.cores == nd.place(program).cores
    ours = nd.run(program, INPUTS).decisions("lif2")
    theirs = simulate(nd.network_of(program), {"input": INPUTS}).decisions("lif2")
    assert pick.correct == Proportion(int((ours == theirs).sum()), len(INPUTS))


@pytest.mark.parametrize("after", [1, 8])
def test_an_interrupted_search_goes_on_to_the_same_result(
    whole: Exploration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    path, constraints = tmp_path / "state", Constraints(accuracy=0.9)

    def interrupt(done: int, total: int) -> None:
        if done == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        explored(constraints=constraints, state=path, progress=interrupt)
    assert len(list(path.iterdir())) == after
    evaluated = []
    once = exploring.evaluate
    monkeypatch.setattr(exploring, "evaluate", lambda *a: evaluated.append(a[0]) or once(*a))
    assert explored(constraints=constraints, state=path) == whole
    assert len(evaluated) == len(whole.candidates) - after
    assert not [p for p in tmp_path.iterdir() if p != path]


def test_a_state_of_something_else_is_not_taken(tmp_path: Path) -> None:
    explored(budget=1, state=tmp_path)
    explored(budget=1, state=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    explored(budget=1, state=tmp_path, inputs=1 - INPUTS)
    explored(budget=1, state=tmp_path, target="loihi1")
    assert len(list(tmp_path.iterdir())) == 3


def test_a_population_that_falls_silent_is_flagged_and_not_picked(
    capsys: Any, tmp_path: Any
) -> None:
    """One weight of 1 beside small ones: with few bits these vanish, and only they are used."""
    weight = np.full((4, 6), 0.11)
    weight[0, 0] = 2.0
    graph = chain((6,), fc=nir.Linear(weight), lif=lif(np.full(4, 0.9)))
    inputs = INPUTS.copy()
    inputs[..., 0] = 0
    found = nd.explore(graph, target="loihi2", inputs=inputs, constraints=Constraints(accuracy=0.0))
    silent = [i for i, c in enumerate(found.candidates) if c.silent]
    assert silent
    assert all(found.candidates[i].silent == ("lif",) for i in silent)
    assert all(found.candidates[i].settings["lif"]["weight_bits"] <= 4 for i in silent)
    assert found.pick is not None
    assert not {found.pick, *found.front} & {*silent}
    assert f"{len(silent)} with silent populations" in found.reason
    nir.write(str(tmp_path / "m.nir"), graph)
    np.save(tmp_path / "x.npy", inputs)
    command = ["explore", str(tmp_path / "m.nir"), "--target", "loihi2", "--inputs"]
    assert main([*command, str(tmp_path / "x.npy"), "--accuracy", "0"]) == 0
    assert "lif sends nothing" in " ".join(capsys.readouterr().out.split())


def test_impossible_constraints_say_what_comes_closest(whole: Exploration) -> None:
    found = explored(constraints=Constraints(energy=1e-15))
    assert found.pick is None
    assert found.closest is not None
    assert "no candidate of" in found.reason
    assert f"the closest is number {found.closest}" in found.reason
    assert "at most 1.00 fJ" in found.reason


def test_a_format_has_bits_and_no_energy() -> None:
    found = explored(target="cpu8", constraints=Constraints(accuracy=0.5))
    assert found.pick is not None
    pick = found.candidates[found.pick]
    assert pick.energy is None
    assert pick.cores is None
    assert pick.weight_bits < found.candidates[0].weight_bits == 8 * (6 * 8 + 8 * 4)
    assert "fewest bits" in found.reason
    with pytest.raises(InputError, match="a limit of energy, of which nothing is known"):
        explored(target="cpu8", constraints=Constraints(energy=1.0), budget=1)


def test_percentiles_of_spinnaker2() -> None:
    found = explored(target="spinnaker2", budget=14)
    assert found.candidates[6].settings == {n: {"percentile": 90.0} for n in ("lif1", "lif2")}
    own, clipped = (
        nd.compile(GRAPH, target="spinnaker2", calibration=INPUTS, settings=settings)
        for settings in (None, found.candidates[13].settings)
    )
    assert np.array_equal(own.incoming("lif2")[0].weight, clipped.incoming("lif2")[0].weight)
    weights = [np.abs(p.incoming("lif1")[0].weight) for p in (own, clipped)]
    assert (weights[0] == 127).sum() == 1
    assert (weights[1] == 127).sum() > 1
    assert not found.complete
    assert "the budget ended the search" in found.reason


@pytest.mark.parametrize("target", ["loihi2", "spinnaker2", "cpu8"])
@pytest.mark.parametrize("bits", [2, 3, 7])
def test_weights_use_the_bits_they_have(target: str, bits: int) -> None:
    settings = {"lif1": {"weight_bits": float(bits)}}
    own, narrow = (
        nd.compile(GRAPH, target=target, calibration=INPUTS, settings=s) for s in (None, settings)
    )
    assert weight_bits(narrow.incoming("lif1")[0]) == bits * 6 * 8
    assert np.array_equal(own.incoming("lif2")[0].weight, narrow.incoming("lif2")[0].weight)


def test_settings_that_do_not_exist_are_refused() -> None:
    for settings in ({"x": {"weight_bits": 8.0}}, {"lif1": {"scale": 90.0}}):
        with pytest.raises(InputError, match="unknown populations, or unknown choices"):
            nd.compile(GRAPH, target="loihi2", calibration=INPUTS, settings=settings)
    for bad in ({"accuracy": 1.5}, {"accuracy": float("nan")}, {"energy": 0.0}, {"cores": 0}):
        with pytest.raises(InputError):
            Constraints(**bad)
    with pytest.raises(InputError, match="budget of 0"):
        explored(budget=0)


def test_the_front_has_no_candidate_that_another_beats() -> None:
    def candidate(right: int, bits: int, *silent: str) -> Candidate:
        return Candidate({}, silent=silent, correct=Proportion(right, 9), cores=1, weight_bits=bits)

    tried = [candidate(8, 5), candidate(8, 5), candidate(7, 5), candidate(7, 4)]
    tried += [candidate(9, 9), candidate(9, 1, "lif"), candidate(2, 4)]
    assert front(tried) == (0, 3, 4)


@pytest.mark.parametrize(
    ("weights", "bits"), [([0, 0], 0), ([1, -1], 4), ([254, 2], 16), ([-128, 64], 6), ([96, 32], 6)]
)
def test_bits_that_hold_weights(weights: list[int], bits: int) -> None:
    """[96, 32] is 32 times [3, 1]: two bits and a sign for each."""
    weight = np.array(weights, np.int64)
    synapses = Synapses("s", "a", "b", "one-to-one", weight, 0, (2,), (2,))
    assert weight_bits(synapses) == bits


def test_the_command_writes_the_pick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    nir.write("m.nir", GRAPH)
    np.save("x.npy", INPUTS)
    command = ["explore", "m.nir", "--target", "loihi2", "--inputs", "x.npy", "--budget", "9"]
    command += ["--accuracy", "0.9", "--state", "s.json", "-o", "p.ndp"]
    assert main([*command, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    pick = data["candidates"][data["pick"]]
    assert nd.Program.load("p.ndp").hash
    assert main(command) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert f"pick: number {data['pick']}" in text
    assert data["reason"] in text
    assert pick["energy"]["kind"] == "derived"
    assert main([*command, "--energy", "1e-15"]) == 1
    assert "no pick" in capsys.readouterr().out
