"""Fine-tuning: it gets decisions back, and what it gives is a program like any other."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

import neurodeploy as nd
from neurodeploy.cli import main
from neurodeploy.errors import FileError, InputError, ModelError, TargetError
from neurodeploy.program import Program
from neurodeploy.torch.finetuning import Recipe, Tuned, finetune, split
from tests.builders import SUBTRACT, chain, conv, lif, network

RNG = np.random.default_rng(0)
GRAPH = chain(
    (1, 6, 6),
    conv=conv(RNG.normal(0.1, 0.3, (4, 1, 3, 3)), RNG.normal(0, 0.05, 4), stride=2, padding=1),
    lif1=lif(np.full((4, 3, 3), 0.75), semantics=SUBTRACT),
    flat=nir.Flatten({"input": np.array([4, 3, 3])}, 0, -1),
    fc=nir.Affine(RNG.normal(0, 0.3, (3, 36)), RNG.normal(0, 0.05, 3)),
    lif2=lif(np.full(3, 0.875), semantics=SUBTRACT),
)
Y = np.arange(120) % 3
X = (RNG.random((120, 8, 1, 6, 6)) < RNG.random((3, 1, 1, 6, 6))[Y]).astype(np.uint8)
RECIPE = Recipe(epochs=3, batch_size=8, learning_rate=0.1, validation=0.2)


def tuned(target: str = "loihi2", **changes: Any) -> Tuned:
    options = {"inputs": X, "labels": Y, "bits": 3, "recipe": RECIPE, **changes}
    return finetune(GRAPH, target=target, **options)


@pytest.fixture(scope="module", params=["loihi2", "spinnaker2"])
def found(request: pytest.FixtureRequest) -> Tuned:
    return tuned(request.param)


def test_decisions_come_back_and_the_best_epoch_is_kept(found: Tuned) -> None:
    assert found.before.value < 0.7
    assert found.after.value > 0.9
    assert len(found.history) == RECIPE.epochs
    best = max(row["validation"] for row in found.history)
    assert found.history[found.epoch - 1]["validation"] == best
    assert found.after.trials == len(split(Y, RECIPE)[1])
    assert not found.held_out


def test_the_program_is_like_any_other(found: Tuned, tmp_path: Path) -> None:
    """Its graph says what it means now, and compiles to it; it verifies, costs, and can be kept."""
    program, target = found.program, found.program.target
    program.save(tmp_path / "m.ndp")
    assert Program.load(tmp_path / "m.ndp").hash == program.hash
    net = nd.network_of(program)
    settings = {p.name: {"weight_bits": 3.0} for p in net.populations}
    again = nd.compile(net.graph, target=target, calibration=X, settings=settings)
    assert again.hash == program.hash
    weights = [s.weight for s in program.synapses if s.name in {c.name for c in net.connections}]
    for weight in weights:
        assert np.abs(weight // np.gcd.reduce(weight.reshape(-1))).max() <= 3
    before = nd.load(GRAPH).connections[0].ops[0].weight  # type: ignore[attr-defined]
    assert not np.array_equal(net.connections[0].ops[0].weight, before)  # type: ignore[attr-defined]
    verdict = nd.verify(program, X, labels=Y, vendor_samples=3)
    status = {stage.name: stage.status for stage in verdict.stages}
    assert status.pop("import") == "not run", "the weights are no other framework's"
    assert set(status.values()) == {"passed"}, status
    assert nd.energy(program, X).total.typical > 0
    notes = [note.text for note in program.lowerings if note.subject == "quantisation"]
    assert len(notes) == 2


def test_an_interrupted_training_goes_on_to_the_same_result(found: Tuned, tmp_path: Path) -> None:
    path = tmp_path / "tuning.pt"

    def interrupt(done: int, total: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tuned(found.program.target, checkpoint=path, progress=interrupt)
    done: list[tuple[int, int]] = []
    again = tuned(found.program.target, checkpoint=path, progress=lambda *state: done.append(state))
    assert done == [(1, 3), (2, 3), (3, 3)]
    assert again.program.hash == found.program.hash
    assert again.to_dict() == found.to_dict()
    with pytest.raises(FileError, match="another recipe"):
        tuned(found.program.target, checkpoint=path, labels=(Y + 1) % 3)
    assert [*tmp_path.iterdir()] == [path]


def test_samples_that_take_no_part_judge_it() -> None:
    found = tuned(inputs=X[:90], labels=Y[:90], test=(X[90:], Y[90:]))
    assert found.held_out
    ours = nd.run(found.program, X[90:]).decisions("lif2")
    assert found.after.successes == int((ours == Y[90:]).sum())
    assert found.after.trials == 30


def test_the_price_of_spikes_lowers_them() -> None:
    events = [
        nd.energy(tuned(recipe=Recipe(2, 16, 0.05, price=price)).program, X)
        .counted["synaptic events"]
        .typical
        for price in (0.0, 20.0)
    ]
    assert events[1] < events[0]


def test_the_split_is_stratified_and_drawn_by_the_seed() -> None:
    labels = np.repeat([0, 1, 2], [10, 20, 40])
    training, validation = split(labels, Recipe(validation=0.2, seed=1))
    assert np.bincount(labels[validation]).tolist() == [2, 4, 8]
    assert sorted([*training, *validation]) == list(range(70))
    other = split(labels, Recipe(validation=0.2, seed=2))[1]
    assert not np.array_equal(validation, other)
    with pytest.raises(InputError, match="too few"):
        split(labels[:3], Recipe())


def test_what_cannot_be_tuned_is_refused() -> None:
    with pytest.raises(TargetError, match="cannot be fine-tuned"):
        tuned("cpu8")
    with pytest.raises(InputError, match="no target"):
        finetune(GRAPH, inputs=X, labels=Y)
    with pytest.raises(InputError, match="unknown choices or values"):
        tuned(bits=1)
    with pytest.raises(InputError, match="labels have shape"):
        tuned(labels=Y[:-1])
    with pytest.raises(InputError, match=r"epochs is 0.*batch_size is 0.*price is -1"):
        Recipe(epochs=0, batch_size=0, price=-1)
    matrix = network(
        (1, 5, 5),
        pool=nir.SumPool2d(np.array([2, 2]), np.array([1, 1]), np.array([0, 0])),
        conv=conv(np.ones((2, 1, 3, 3)), padding=1),
        lif=lif(np.full((2, 4, 4), 0.75)),
    )
    with pytest.raises(ModelError, match="matrix onto neurons"):
        finetune(matrix, target="loihi2", inputs=X[..., :5, :5], labels=Y)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    nd.write(GRAPH, tmp_path / "model.nir")
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    monkeypatch.chdir(tmp_path)
    return tmp_path


COMMAND = ["finetune", "model.nir", "--target", "loihi2", "--bits", "3", "--inputs", "x.npy"]
COMMAND += ["--labels", "y.npy", "--epochs", "1", "-o", "m.ndp"]


def test_on_the_command_line(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert main([*COMMAND, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["program"] == Program.load("m.ndp").hash
    assert len(data["history"]) == 1
    more = ["finetune", "m.ndp", "--inputs", "x.npy", "--labels", "y.npy", "--epochs", "1"]
    more += ["--bits", "3", "--test-inputs", "x.npy", "-o", "n.ndp"]
    assert main(more) == 2
    assert "belong together" in capsys.readouterr().err
    assert main([*more, "--test-labels", "y.npy"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for expected in ("program before", "program after", "120 samples that took no part", "wrote"):
        assert expected in text


def test_without_torch_the_extra_is_named(
    folder: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("neurodeploy.torch")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main(COMMAND) == 2
    assert "neurodeploy.torch needs torch. pip install" in capsys.readouterr().err
