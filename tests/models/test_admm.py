"""System E: the Lagrangian, the executed network, a training that was interrupted, both chips."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import neurodeploy as nd
from neurodeploy.errors import InputError
from neurodeploy.models import admm
from neurodeploy.models.admm_steps import Variables
from neurodeploy.models.data import load
from neurodeploy.models.system import Data
from neurodeploy.reference import simulate as reference

SMALL = replace(admm.RECIPE, epochs=6, batch_size=60, steps=10, hidden=24, iterations=5, warm_up=4)


@pytest.fixture(scope="module")
def data() -> Data:
    return load("digits", train=120, test=60)


@pytest.fixture(scope="module")
def net(data: Data) -> admm.AdmmNet:
    return admm.train(data, SMALL)


def variables(hidden: tuple[int, ...], **changes: float) -> Variables:
    torch.manual_seed(0)
    x = (torch.rand(8, 12, 6) < 0.4).double()
    y = F.one_hot(torch.arange(12) % 3, 3).double()
    return Variables(x, y, (6, *hidden, 3), replace(SMALL, **changes))


@pytest.mark.parametrize("hidden", [(7,), (7, 5)])
def test_the_lagrangian_does_not_rise_while_multipliers_rest(hidden: tuple[int, ...]) -> None:
    made = variables(hidden)
    figures = [made.iterate(moving=False) for _ in range(25)]
    values = [item["lagrangian"] for item in figures]
    assert all(after <= before * (1 + 1e-6) for before, after in itertools.pairwise(values))
    assert sum(item["rose"] for item in figures) == 0
    assert values[-1] < 0.5 * values[0]


def test_every_update_minimises_over_its_own_variable() -> None:
    """Nothing near a new W, or near the z that were updated last, is better."""
    made = variables((7,), learning_rate=2.0)
    for _ in range(3):
        made.iterate(moving=True)
    generator = torch.Generator().manual_seed(1)

    def is_least(values: torch.Tensor, where: torch.Tensor | None = None) -> None:
        before = made.lagrangian()
        for _ in range(20):
            step = 1e-3 * torch.randn(values.shape, generator=generator, dtype=torch.float64)
            step = step if where is None else step * where
            values += step
            assert made.lagrangian() >= before - 1e-9
            values -= step

    made._weights(0)
    is_least(made.weights[0])
    made._weights(1)
    is_least(made.weights[1])
    for update, z in ((lambda: made._hidden(0), made.z[0]), (made._readout, made.z[1])):
        update()
        last = torch.zeros_like(z)
        last[-1] = 1  # what was updated last
        is_least(z, last)


def test_inputs_that_never_spike_have_no_weights(data: Data, net: admm.AdmmNet) -> None:
    used = admm._chosen(data, SMALL)
    spikes = admm.encode(data.train_x[used], SMALL.steps).any(axis=(0, 1)).reshape(-1)
    weight = net.linears()[0].weight.detach().numpy()
    assert not weight[:, ~spikes].any()
    assert weight[:, spikes].any(axis=0).all()
    assert not spikes.all()


def test_multipliers_close_the_last_constraint(data: Data) -> None:
    _, rest = admm.trained(data, replace(SMALL, warm_up=100))
    _, moving = admm.trained(data, SMALL)
    assert moving[3]["residual"] == rest[3]["residual"]
    assert moving[-1]["residual"] < 0.2 * rest[-1]["residual"]


def test_an_interrupted_training_ends_the_same(
    data: Data, net: admm.AdmmNet, tmp_path: Path
) -> None:
    path, calls = tmp_path / "checkpoint.pt", iter(range(17))
    whole = Variables.iterate

    def interrupted(self: Variables, moving: bool) -> dict[str, float]:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return whole(self, moving)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Variables, "iterate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            admm.train(data, SMALL, checkpoint=path)
    assert path.exists()
    resumed = admm.train(data, SMALL, checkpoint=path).state_dict()
    assert all(torch.equal(value, resumed[name]) for name, value in net.state_dict().items())


def test_snntorch_executes_the_models_equations(data: Data, net: admm.AdmmNet) -> None:
    """z_t = delta z_{t-1} + W a_{l-1,t} - theta a_{t-1}, computed here in float64."""
    net = admm.refit(net, data, SMALL)
    spikes, potentials = admm.execute(net, data.test_x)
    x = torch.from_numpy(admm.encode(data.test_x, SMALL.steps)).double().flatten(2)
    first, last = (linear.weight.detach().double() for linear in net.linears())
    z, a = (torch.zeros(len(x), 24, dtype=torch.float64) for _ in range(2))
    read = torch.zeros(len(x), 10, dtype=torch.float64)
    close = torch.zeros_like(z).bool()
    for t in range(SMALL.steps):
        z = SMALL.decay * z + x[:, t] @ first.T - SMALL.threshold * a
        close |= (z - SMALL.threshold).abs() < 1e-5
        a = (z > SMALL.threshold).double()
        assert torch.equal(spikes[t].double()[~close], a[~close])
        read = SMALL.decay * read + a @ last.T
        assert torch.allclose(potentials[t].double(), read, atol=1e-4) or close.any()
    assert close.double().mean() < 0.01
    assert spikes.any()
    decided = potentials[-1].argmax(1).numpy()
    assert admm.evaluate(net, data.test_x, data.test_y) == (decided == data.test_y).mean()


@pytest.mark.parametrize("target", ["loihi2", "spinnaker2"])
def test_it_compiles_and_decides_the_same(data: Data, net: admm.AdmmNet, target: str) -> None:
    deployable = admm.deploy(admm.refit(net, data, SMALL), data)
    graph = nd.from_snntorch(deployable.module, deployable.sample)
    assert nd.comparisons(graph)["random spikes"].unexplained == 0
    spikes = deployable.encode(data.test_x)
    program = nd.compile(graph, target=target, calibration=deployable.encode(data.train_x))
    reset = [note for note in program.lowerings if note.subject == "reset"]
    assert reset
    assert {note.how for note in reset} == {"exact"}
    decisions = reference(nd.load(graph), spikes).decisions(program.output)
    assert (nd.run(program, spikes).decisions(program.output) == decisions).mean() > 0.9


def test_a_refitted_readout_is_the_ridge_regression(data: Data, net: admm.AdmmNet) -> None:
    other = admm.refit(net, data, SMALL)
    used = admm._chosen(data, SMALL)
    spikes, _ = admm.execute(other, data.train_x[used])
    powers = SMALL.decay ** np.arange(SMALL.steps)[::-1]
    features = np.einsum("t,tni->ni", powers, spikes.double().numpy())
    targets = np.eye(10)[data.train_y[used]]
    stacked = np.vstack([features, np.sqrt(admm.RIDGE) * np.eye(24)])
    expected, *_ = np.linalg.lstsq(stacked, np.vstack([targets, np.zeros((24, 10))]), rcond=None)
    assert np.allclose(other.readout.weight.detach().numpy().T, expected, atol=1e-5)
    assert torch.equal(other.linears()[0].weight, net.linears()[0].weight)


def test_impossible_recipes_are_refused_all_at_once(data: Data) -> None:
    with pytest.raises(InputError, match=r"steps is 1.*hidden is 0.*decay"):
        admm.train(data, replace(SMALL, steps=1, hidden=0, decay=1.0))
