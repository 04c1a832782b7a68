"""Work in chunks: the same result however it is cut, wherever it is done, and after any end."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

import neurodeploy as nd
from neurodeploy import api, archive, reference
from neurodeploy.chunks import Tree, Where, map_chunks
from neurodeploy.compilation import carried
from neurodeploy.costs import count
from neurodeploy.costs.counting import counted
from neurodeploy.costs.metrics import metrics
from neurodeploy.equivalence import verdict as verdict_module
from neurodeploy.equivalence.verdict import verify
from neurodeploy.errors import (
    FileError,
    TargetError,
)
from neurodeploy.program import Program
from neurodeploy.target import get_target
from tests.builders import AT_ONCE, SUBTRACT, chain, conv, lif, spikes_for

SAMPLES = 23


@dataclass(frozen=True)
class Squares:
    """Squares what a chunk holds, and counts how often."""

    called: list[int]
    fails_at: int | None = None

    def run(self, chunk: Tree) -> Tree:
        if chunk["x"] == self.fails_at:
            raise KeyboardInterrupt
        self.called.append(chunk["x"])
        return {"y": chunk["x"] ** 2}

    def to_tree(self) -> Tree:
        return {}

    @classmethod
    def from_tree(cls, tree: Tree) -> Squares:
        return cls([])


def xs(*numbers: int) -> list[Tree]:
    return [{"x": number} for number in numbers]


def test_results_come_in_order_and_progress_counts() -> None:
    told: list[tuple[int, int]] = []
    found = map_chunks(Squares([]), xs(3, 1, 2), progress=lambda *step: told.append(step))
    assert found == [{"y": 9}, {"y": 1}, {"y": 4}]
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_what_is_kept_is_not_done_again(tmp_path: Path) -> None:
    state = Where(state=tmp_path / "a" / "b")
    first = Squares([], fails_at=2)
    with pytest.raises(KeyboardInterrupt):
        map_chunks(first, xs(3, 1, 2, 5), state)
    second, told = Squares([]), []
    found = map_chunks(second, xs(3, 1, 2, 5), state, lambda *step: told.append(step))
    assert (first.called, second.called) == ([3, 1], [2, 5])
    assert [tree["y"] for tree in found] == [9, 1, 4, 25]
    assert told == [(2, 4), (3, 4), (4, 4)]


def test_a_result_that_was_altered_or_is_anothers_is_refused(tmp_path: Path) -> None:
    map_chunks(Squares([]), xs(3, 4), Where(state=tmp_path))
    first, second = sorted(tmp_path.iterdir())
    data = first.read_bytes()
    first.write_bytes(data.replace(b'"y":', b'"z":'))
    with pytest.raises(FileError, match="altered"):
        map_chunks(Squares([]), xs(3, 4), Where(state=tmp_path))
    first.write_bytes(second.read_bytes())
    with pytest.raises(FileError, match="something else"):
        map_chunks(Squares([]), xs(3, 4), Where(state=tmp_path))


def test_a_folder_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="cannot be made"):
        map_chunks(Squares([]), xs(1), Where(state=tmp_path / "file" / "state"))


# --- verify, energy ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def case() -> tuple[Program, Any, Any, Any]:
    """A program with roundings, resets and convolutions that part; inputs, labels, source."""
    rng = np.random.default_rng(5)
    graph = chain(
        (1, 6, 6),
        conv=conv(rng.normal(0.3, 0.3, (2, 1, 3, 3)), padding=1, bias=[0.05, -0.05]),
        lif1=lif(np.linspace(0.4, 0.95, 72).reshape(2, 6, 6), semantics=AT_ONCE),
        pool=nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        flatten=nir.Flatten({"input": np.array([2, 3, 3])}, 0, -1),
        fc=nir.Affine(rng.normal(0, 0.4, (8, 18)), rng.normal(0, 0.05, 8)),
        lif2=lif(np.linspace(0.5, 0.9, 8), np.linspace(0.8, 1.2, 8), semantics=SUBTRACT),
        last=nir.Linear(rng.normal(0, 0.5, (3, 8))),
        lif3=lif(np.full(3, 0.75)),
    )
    inputs = spikes_for(1, SAMPLES, 12, (1, 6, 6))
    program = nd.compile(graph, target="loihi2", calibration=inputs)
    network, _ = carried(program)
    source = {k: v.copy() for k, v in reference.simulate(network, inputs).spikes.items()}
    source["lif1"][7, 3, 0, 2, 2] ^= 1
    labels = rng.integers(0, 3, SAMPLES)
    return program, inputs, labels, source


def text_of(case: Any, samples: int | None = None, **options: Any) -> str:
    program, inputs, labels, source = case
    network, before = carried(program)
    found = verify(
        program, network, get_target("loihi2"), inputs, labels=labels, source=source,
        before=before, vendor_samples=None, chunk_samples=samples, **options,
    )  # fmt: skip
    return json.dumps(found.to_dict())


@pytest.fixture(scope="module")
def whole(case: Any) -> str:
    found = text_of(case, SAMPLES)
    stages = {stage["name"]: stage for stage in json.loads(found)["stages"]}
    assert stages["lowering"]["mismatches"] > 50
    assert stages["import"]["mismatches"] > 0
    assert len(json.loads(found)["causes"]["layers"][0]["histogram"]) > 1
    return found


@pytest.mark.parametrize("samples", [1, 4, 22, None])
def test_a_verdict_is_the_same_however_samples_are_cut(
    samples: int | None, case: Any, whole: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert text_of(case, samples) == whole
    monkeypatch.setattr(verdict_module, "MAPPED_SAMPLES", 3)
    monkeypatch.setattr(verdict_module, "PASS_SAMPLES", 6)
    cut = json.loads(text_of(case, samples))
    assert [stage["samples"] for stage in cut["stages"]][1:4:2] == [6, 3]


def test_the_runs_are_the_same_however_samples_are_cut(
    case: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, inputs, _, _ = case
    network, _ = carried(program)
    ours, actual = reference.simulate(network, inputs), api.run(program, inputs)
    cells = 12 * (72 + 8 + 3)
    for kept in (SAMPLES, 10):
        monkeypatch.setattr(verdict_module, "TRACED_CELLS", kept * cells)
        found = verify(
            program, network, get_target("loihi2"), inputs, vendor_samples=None, chunk_samples=4
        )
        for one, other in ((found.reference, ours), (found.trace, actual)):
            assert set(one.spikes) == set(other.spikes)
            for name in one.spikes:
                assert np.array_equal(one.spikes[name], other.spikes[name][:kept])


def test_a_verdict_that_was_interrupted_is_the_same(case: Any, whole: str, tmp_path: Path) -> None:
    def interrupt(what: str, done: int, total: int) -> None:
        if done >= 12:
            raise KeyboardInterrupt

    where = Where(state=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        text_of(case, 4, where=where, progress=interrupt)
    before = sorted(tmp_path.iterdir())
    assert len(before) == 3
    assert text_of(case, 4, where=where) == whole
    assert set(before) < set(tmp_path.iterdir())


def test_a_vendor_run_is_kept_and_a_failure_is_not(case: Any, tmp_path: Path) -> None:
    program, inputs, _, _ = case

    class Once:
        title = "once"
        calls = 0

        def run(
            self, program: Program, inputs: Any, *, timeout: float, states: bool = False
        ) -> Any:
            self.calls += 1
            if self.calls == 1:
                raise TargetError("lost")
            return api.run(program, inputs)

    vendor = Once()
    stages = [
        api.verify(program, inputs, vendor_samples=2, backend=vendor, state=tmp_path).stage(
            "vendor"
        )
        for _ in range(3)
    ]
    assert [stage.status for stage in stages] == ["not run", "passed", "passed"]
    assert stages[1] == stages[2]
    assert vendor.calls == 2


@pytest.mark.parametrize("samples", [1, 5, SAMPLES])
def test_counts_are_the_same_however_samples_are_cut(samples: int, case: Any) -> None:
    program, inputs, _, _ = case
    trace = api.run(program, inputs)
    counts, met = counted(program, inputs, Where(), chunk_samples=samples)
    direct = count(program, trace, api.place(program))
    assert archive.content_hash(counts.to_tree()) == archive.content_hash(direct.to_tree())
    assert metrics(program, met) == metrics(program, trace)
    assert api.energy(program, inputs) == api.energy(program, trace)
