"""What may not change a spike: passes, and the cut of a program into cores."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import nir
import numpy as np
import pytest

from neurodeploy import reference
from neurodeploy.equivalence import lossless
from neurodeploy.equivalence.lossless import cut, mapping, pass_parts, pass_stage
from neurodeploy.errors import ModelError
from neurodeploy.frontends.nir import load
from neurodeploy.mapping import place, split
from neurodeploy.network import Network
from neurodeploy.passes import MergeLinear, rewrites
from neurodeploy.program import Program
from neurodeploy.simulator.engine import simulate
from neurodeploy.target import cores_of, get_target
from tests.builders import (
    NONE,
    chain,
    compiled,
    conv,
    lif,
    merged,
    network,
    spikes_for,
)


def stage(before: Network, after: Network, inputs: Any) -> Any:
    """The one stage of a pass from `before` to `after`."""
    expected = reference.simulate(after, inputs)
    (found,) = pass_parts({"it": before}, after, {"input": inputs}, expected)
    return pass_stage("it", found, expected.samples)


def test_each_pass_is_compared_before_and_after() -> None:
    rng = np.random.default_rng(0)
    graph = chain(
        (1, 6, 6),
        conv=conv(rng.normal(0.3, 0.3, (2, 1, 3, 3)), padding=1),
        pool=nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        lif=lif(np.full((2, 3, 3), 0.875)),
    )
    before, inputs = load(graph), spikes_for(1, 3, 9, (1, 6, 6))
    ((name, after),) = rewrites(before, [MergeLinear()])
    assert name == "merge-linear"
    found = stage(before, after, inputs)
    assert (found.name, found.status, found.mismatches) == ("pass it", "passed", 0)
    assert (found.samples, found.cells) == (3, 3 * 9 * 18)
    assert "every spike of 486 cells is equal" in found.text


def test_a_pass_that_changes_spikes_fails_but_at_a_tie() -> None:
    """Two inputs of weight 1/2 meet the threshold of 1 exactly, with `>` no spike."""
    inputs = np.ones((1, 4, 2), np.uint8)

    def of(weight: float) -> Network:
        return network((2,), fc=nir.Linear(np.array([[0.5, weight]])), lif=lif(np.zeros(1)))

    tied = stage(of(0.5), of(0.5 + 1e-12), inputs)
    assert (tied.status, tied.mismatches) == ("passed", 4)
    assert "1 neurons part at a rounding tie, 0 elsewhere" in tied.text
    wrong = stage(of(0.5), of(0.5 + 1e-6), inputs)
    assert (wrong.status, wrong.mismatches) == ("failed", 4)


def test_a_pass_over_nothing_that_spikes_is_not_run() -> None:
    net = network((2,), fc=nir.Linear(np.ones((1, 2))), lif=lif(np.zeros(1), semantics=NONE))
    (population,) = net.populations
    endless = replace(population, threshold=np.full(1, np.inf), readout="membrane")
    silent = replace(net, populations=(endless,))
    assert stage(silent, silent, np.ones((1, 4, 2), np.uint8)).status == "not run"


@pytest.fixture(scope="module")
def spread() -> tuple[Program, Any]:
    """A population on several cores, with a self-synapse, and inputs."""
    rng = np.random.default_rng(3)
    net = merged(
        load(
            chain(
                (40,),
                fc=nir.Linear(rng.normal(0, 0.4, (9000, 40))),
                lif1=lif(np.full(9000, 0.875)),
            )
        )
    )
    inputs = spikes_for(2, 2, 5, (40,))
    return compiled(net, inputs), inputs


def mapped(program: Program, inputs: Any) -> Any:
    target = get_target("loihi2")
    actual = simulate(program, inputs, target.machine)
    return mapping(cut(program, target, {"input": inputs}, actual))


def test_a_program_on_several_cores_is_equal_in_every_cell(spread: tuple[Program, Any]) -> None:
    found = mapped(*spread)
    cores = place(spread[0], cores_of(spread[0])).cores
    assert cores > 1
    assert (found.status, found.mismatches, found.samples) == ("passed", 0, 2)
    assert found.cells == 2 * 5 * 9000
    assert found.text == f"0 of 90,000 cells differ, {cores:,} cores"


def test_a_wrong_cut_fails(spread: tuple[Program, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(program: Program, placement: Any) -> Program:
        apart = lossless_split(program, placement)
        first, *rest = apart.synapses
        return replace(apart, synapses=(replace(first, weight=-first.weight), *rest))

    lossless_split = lossless.split
    monkeypatch.setattr(lossless, "split", wrong)
    found = mapped(*spread)
    assert found.status == "failed"
    assert found.mismatches > 0


def test_a_cut_that_cannot_be_had_is_not_run(
    spread: tuple[Program, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def impossible(program: Program, placement: Any) -> Program:
        raise ModelError("too large")

    monkeypatch.setattr(lossless, "split", impossible)
    found = mapped(*spread)
    assert (found.status, found.text, found.cells) == ("not run", "too large", 0)


def test_synapses_that_would_be_too_many_are_an_error() -> None:
    shape = (64, 36, 36)
    rng = np.random.default_rng(0)
    program = compiled(
        network(shape, conv=conv(rng.normal(0, 1, (8, 64, 3, 3))), lif=lif(np.zeros((8, 34, 34)))),
        spikes_for(0, 1, 2, shape),
    )
    placement = place(program, cores_of(program))
    core = np.arange(8 * 34 * 34) % 2  # no whole channels
    mapped = replace(placement.mapped, core={**placement.core, "lif": core})
    with pytest.raises(ModelError, match="written out as 767,"):
        split(program, replace(placement, mapped=mapped))
