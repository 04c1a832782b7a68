"""Where a program's neurons are is part of it: kept in its file, checked, and used by everyone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

from neurodeploy import api, archive
from neurodeploy.errors import DesignRuleError, FileError, InputError
from neurodeploy.mapping import place
from neurodeploy.program import Program
from neurodeploy.target import cores_of, get_target
from tests.builders import chain, lif, spikes_for


@pytest.fixture(scope="module", params=["loihi2", "spinnaker2"])
def program(request: pytest.FixtureRequest) -> Program:
    """Compiled; SpiNNaker2 has its inputs on cores too."""
    rng = np.random.default_rng(1)
    net = chain(
        (4,),
        fc=nir.Linear(rng.normal(0, 0.5, (300, 4))),
        hidden=lif(np.full(300, 0.75)),
        last=nir.Linear(rng.normal(0, 0.2, (3, 300))),
        out=lif(np.full(3, 0.75)),
    )
    return api.compile(net, target=request.param, calibration=spikes_for(1, 2, 8, (4,)))


def altered(program: Program, folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    tree, _ = archive.load(saved(program, folder))
    change(tree["mapped"])
    archive.save(folder / "altered.ndp", tree)
    return folder / "altered.ndp"


def saved(program: Program, folder: Path) -> Path:
    program.save(folder / "p.ndp")
    return folder / "p.ndp"


def with_mapped(program: Program, **changes: Any) -> Program:
    assert program.mapped is not None
    return replace(program, mapped=replace(program.mapped, **changes))


def test_it_comes_back_from_the_file_as_it_was(program: Program, tmp_path: Path) -> None:
    path = saved(program, tmp_path)
    mapped, again = program.mapped, Program.load(path)
    assert mapped is not None
    assert again.mapped is not None
    assert again.hash == program.hash
    for name, value in vars(mapped).items():
        if name not in ("core", "tiles"):
            assert getattr(again.mapped, name) == value
    assert list(again.mapped.core) == list(mapped.core)
    for name, core in mapped.core.items():
        assert (again.mapped.core[name].dtype, again.mapped.core[name].tolist()) == (
            np.int64,
            core.tolist(),
        )
    assert again.mapped.tiles.tolist() == mapped.tiles.tolist()
    tree, _ = archive.load(path)
    assert {item["core"].dtype.itemsize for item in tree["mapped"]["core"]} == {1}


def test_compilation_chooses_for_the_golden_traces_and_everyone_takes_that(
    program: Program,
) -> None:
    mapped = program.mapped
    assert mapped is not None
    assert mapped.traffic == "golden traces"
    assert api.place(program).mapped is mapped
    fresh = api.place(replace(program, mapped=None)).mapped
    assert fresh.tiles.tolist() == mapped.tiles.tolist()
    assert api.place(replace(program, mapped=None, golden=None)).mapped.traffic.startswith("one")
    moved = with_mapped(program, tiles=mapped.tiles[::-1].copy())
    assert api.place(moved).tiles.tolist() == mapped.tiles[::-1].tolist()


def test_more_cores_may_be_asked_for(program: Program) -> None:
    weight = np.random.default_rng(1).normal(0, 0.5, (50, 4))
    net = chain((4,), fc=nir.Linear(weight), hidden=lif(np.full(50, 0.75)))
    name, spikes = program.target, spikes_for(1, 2, 8, (4,))

    def asked(**most: int) -> Program:
        return api.compile(net, target=name, calibration=spikes, neurons_per_core=most)

    (sizes,) = (np.bincount(p.mapped.core["hidden"]) for p in [asked(hidden=20)] if p.mapped)
    assert sizes[sizes > 0].max() <= 20
    assert np.count_nonzero(sizes) == 3
    with pytest.raises(InputError, match="no population is called 'other'"):
        asked(other=20)
    with pytest.raises(InputError, match="hidden: 0 neurons per core"):
        asked(hidden=0)


def test_a_target_without_cores_takes_no_neurons_per_core() -> None:
    net = chain((4,), fc=nir.Linear(np.ones((3, 4))), hidden=lif(np.full(3, 0.75)))
    with pytest.raises(InputError, match="no neurocores"):
        api.compile(
            net,
            target="cpu8",
            calibration=spikes_for(1, 2, 8, (4,)),
            neurons_per_core={"hidden": 2},
        )


def test_a_file_from_before_is_mapped_when_it_is_needed(program: Program, tmp_path: Path) -> None:
    loaded = Program.load(saved(replace(program, mapped=None), tmp_path))
    assert loaded.mapped is None
    assert api.place(loaded).cores == api.place(program).cores


def _drop(key: str) -> Callable[[dict[str, Any]], object]:
    return lambda mapped: mapped.pop(key)


def _first(core: Callable[[np.ndarray], object]) -> Callable[[dict[str, Any]], object]:
    def change(mapped: dict[str, Any]) -> None:
        mapped["core"][0]["core"] = core(mapped["core"][0]["core"])

    return change


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (_drop("chips"), "KeyError: 'chips'"),
        (_drop("tiles"), "KeyError: 'tiles'"),
        (lambda m: m["core"].pop(), "it maps"),
        (lambda m: m["core"].reverse(), "it maps"),
        (lambda m: m["core"][0].update(name="other"), "it maps other"),
        (_first(lambda core: core[:-1]), "expected .* neurons"),
        (_first(lambda core: core.astype(np.float32)), "its cores are float32"),
        (_first(lambda core: core.astype(np.int64) - 1), "its cores are int64"),
        (_first(lambda core: core + np.uint8(1)), "its cores are up to .*, but .* hold neurons"),
        (_first(lambda core: core.tolist()), "its cores are <class 'list'>"),
        (lambda m: m.update(tiles=m["tiles"][:-1]), "it needs the tiles of .* cores"),
        (lambda m: m.update(tiles=m["tiles"].astype(np.uint32) + (1 << 25)), "it needs the tiles"),
        (lambda m: m.update(entry=[0]), "its numbers"),
        (lambda m: m.update(entry=[0, -1]), "its numbers"),
        (lambda m: m.update(chips=1.0), "its numbers"),
        (lambda m: m.update(traffic="some"), "its traffic is 'some'"),
    ],
)
def test_a_file_is_not_believed(
    program: Program, tmp_path: Path, change: Callable[[dict[str, Any]], object], problem: str
) -> None:
    with pytest.raises(FileError, match=problem):
        Program.load(altered(program, tmp_path, change))


def _rules(program: Program) -> set[str]:
    with pytest.raises(DesignRuleError) as caught:
        place(program, cores_of(program))
    found = {violation.rule.split(".")[1] for violation in caught.value.violations}
    assert found <= {v.rule.split(".")[1] for v in get_target(program.target).check(program)}
    return found


def test_a_mapping_that_the_chip_has_no_room_for_is_refused(program: Program) -> None:
    mapped = program.mapped
    assert mapped is not None
    first = next(iter(mapped.core))
    rest = {name: core for name, core in mapped.core.items() if name != first}
    assert _rules(with_mapped(program, core=rest)) == {"mapped-neurons"}
    assert _rules(with_mapped(program, chips=0)) == {"chips-per-system"}
    assert _rules(with_mapped(program, chips=1 << 20)) == {"chips-per-system"}
    assert _rules(with_mapped(program, entry=(99, 0))) == {"cores-per-tile"}
    assert _rules(with_mapped(program, tiles=mapped.tiles + 99)) == {"cores-per-tile"}


def test_a_core_that_holds_too_much_is_refused() -> None:
    """All of a population on one core, of which it needs two."""
    weight = np.random.default_rng(1).normal(0, 0.5, (300, 4))
    net = chain((4,), fc=nir.Linear(weight), hidden=lif(np.full(300, 0.75)))
    spikes = spikes_for(1, 2, 8, (4,))
    program = api.compile(net, target="spinnaker2", calibration=spikes)
    mapped = program.mapped
    assert mapped is not None
    assert len(np.unique(mapped.core["hidden"])) > 1
    one = {name: np.full_like(core, i) for i, (name, core) in enumerate(mapped.core.items())}
    program = with_mapped(program, core=one, tiles=mapped.tiles[:2])
    for verb in (api.energy, api.verify):
        with pytest.raises(DesignRuleError, match=r"hidden.*300.*compile it again"):
            verb(program, spikes)
