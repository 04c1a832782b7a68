"""float64 models: what comes back exactly, which casts are exact, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
snn = pytest.importorskip("snntorch")

from torch import nn  # noqa: E402

from neurodeploy import api  # noqa: E402
from neurodeploy.errors import InputError, ModelError  # noqa: E402
from neurodeploy.frontends.snntorch import from_snntorch, reference_spikes  # noqa: E402
from neurodeploy.reference import simulate  # noqa: E402
from neurodeploy.semantics import from_metadata  # noqa: E402

BATCH, STEPS, SIZE = 8, 60, 8


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(2)


def cast(module: Any, args: Any) -> Any:
    """A forward pre-hook as users write it."""
    return tuple(x.double() for x in args)


def hooked(net: Any) -> Any:
    """The net in float64, with a cast before everything that has weights."""
    for part in net.modules():
        if isinstance(part, (nn.Linear, nn.Conv2d, nn.AvgPool2d)):
            part.register_forward_pre_hook(cast)
    return net.double()


def drive(*shape: int) -> Any:
    return (torch.rand(BATCH, STEPS, *shape, dtype=torch.float64) < 0.4).double()


def hidden(beta: Any = 0.9, **options: Any) -> Any:
    return snn.Leaky(beta, init_hidden=True, **options)


def agree(net: Any, inputs: Any) -> None:
    """The reference in float64 gives every spike of the model."""
    graph = from_snntorch(net, inputs[:1, 0])
    expected = reference_spikes(net, inputs.numpy(), graph)
    found = simulate(api.load(graph), inputs.numpy()).spikes
    for name, spikes in expected.items():
        np.testing.assert_array_equal(spikes, found[name], err_msg=name)
        assert 10 < spikes.sum() < spikes.size - 10, name


def precise(size: int = SIZE) -> Any:
    """Parameters that float32 cannot hold."""
    return torch.rand(size, dtype=torch.float64) * 0.9 + 0.05


class Casting(nn.Module):
    """Casts in forward, in all the ways that torch has."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(6, SIZE), hidden(torch.rand(SIZE))
        self.fc2, self.lif2 = nn.Linear(SIZE, SIZE), hidden(0.8, threshold=0.3)
        self.fc3, self.lif3 = nn.Linear(SIZE, SIZE), hidden(0.7, threshold=0.2)
        self.gain = nn.Parameter(precise())

    def forward(self, x: Any) -> Any:
        first = self.lif1(self.fc1(x.float().double()))
        current = first + 0.1 * self.fc2(first.to(torch.float64))
        second = self.lif2(current + first * self.gain)
        return self.lif3(self.fc3((first + second).type_as(self.fc3.weight)))


def convolutional() -> Any:
    return nn.Sequential(
        nn.Conv2d(1, 3, 3),
        hidden(torch.rand(3, 1, 1), threshold=0.2),
        nn.AvgPool2d(3, 1, 1),
        nn.Flatten(),
        nn.Linear(36, 5),
        hidden(0.8, threshold=0.2, graded_spikes_factor=1 / 3),
        nn.Linear(5, 4),
        hidden(0.8, threshold=0.1),
    )


def with_weights(neuron: Any) -> Any:
    net = nn.Sequential(nn.Linear(6, SIZE), neuron)
    net[0].weight.data.mul_(2)
    return hooked(net)


MODELS: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "casts in forward": (lambda: Casting().double(), (6,)),
    "hooks on layers": (lambda: hooked(convolutional()), (1, 5, 6)),
    "per neuron": (
        lambda: with_weights(
            nn.Sequential(
                hidden(precise(), threshold=precise(), graded_spikes_factor=precise()),
                nn.Linear(SIZE, SIZE),
                hidden(),
            )
        ),
        (6,),
    ),
    "single numbers": (
        lambda: with_weights(
            hidden(precise(1)[0], threshold=precise(1)[0], reset_mechanism="zero")
        ),
        (6,),
    ),
    "single graded factor": (
        lambda: with_weights(
            nn.Sequential(
                hidden(graded_spikes_factor=precise(1)[0]), nn.Linear(SIZE, SIZE), hidden()
            )
        ),
        (6,),
    ),
    "synaptic": (
        lambda: with_weights(snn.Synaptic(precise(), precise(), init_hidden=True)),
        (6,),
    ),
    "lapicque": (
        lambda: with_weights(snn.Lapicque(R=3.1, C=1.7, threshold=0.4, init_hidden=True)),
        (6,),
    ),
    "all to all": (
        lambda: with_weights(snn.RLeaky(precise(), linear_features=SIZE, init_hidden=True)),
        (6,),
    ),
    "one to one": (
        lambda: with_weights(snn.RLeaky(0.8, V=precise(), all_to_all=False, init_hidden=True)),
        (6,),
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_every_spike_of_a_float64_model(name: str) -> None:
    build, shape = MODELS[name]
    agree(build(), drive(*shape))


@pytest.mark.parametrize("hook", [False, True])
def test_a_single_recurrent_weight_is_float32_without_a_cast(hook: bool) -> None:
    """It multiplies float32 spikes; a hook that casts them keeps it float64."""
    neuron = snn.RLeaky(0.8, V=precise(1)[0], all_to_all=False, init_hidden=True)
    if hook:
        neuron.recurrent.register_forward_pre_hook(cast)
    net = with_weights(neuron)
    value = neuron.V.item()
    scale = from_snntorch(net, torch.rand(1, 6)).nodes["1.recurrent"].scale
    assert (scale == value).all() == hook
    assert (scale == float(np.float32(value))).all() != hook
    agree(net, drive(6))


def test_metadata_and_parameters_are_float64() -> None:
    graph = from_snntorch(with_weights(hidden()), torch.rand(1, 6))
    entries = from_metadata(graph.nodes["1"].metadata, node="1")
    assert entries is not None
    assert (entries["dtype"], entries["semantics"]["rounding"]) == ("float64", "float64")
    assert graph.nodes["0"].weight.dtype == np.float64


@pytest.mark.parametrize("dt", [1e-4, 1e-3, 1.0])
def test_decays_come_back_within_one_rounding(dt: float) -> None:
    beta = torch.rand(20_000, dtype=torch.float64)
    beta[:4] = torch.tensor([0.0, 0.5, 2.0**-60, 1 - 2.0**-53], dtype=torch.float64)
    narrow = beta.float().double().clamp(max=1 - 2.0**-24)
    for decay in (beta, narrow):
        node = from_snntorch(hidden(decay.clone()), torch.zeros(1, len(decay)), dt=dt).nodes[
            "leaky"
        ]
        lost = np.abs(1 - dt / node.tau - decay.numpy())
        assert lost.max() <= 2.0**-53
        if decay is narrow:
            assert not lost[decay.numpy() >= 0.5].any()


@pytest.mark.parametrize("sample", [torch.uint8, torch.float32, torch.float64])
def test_the_type_of_the_sample_does_not_matter(sample: Any) -> None:
    net, inputs = with_weights(hidden()), drive(6)
    graph = from_snntorch(net, inputs[:, 0].to(sample))
    assert reference_spikes(net, inputs.numpy(), graph)["1"].any()
    with pytest.raises(InputError, match="expected float64"):
        reference_spikes(net, inputs.float().numpy(), graph)


# Refusals


class Net(nn.Module):
    def __init__(self, function: Any, neuron: Any = None) -> None:
        super().__init__()
        self.function = function
        self.fc, self.lif = nn.Linear(6, 6), neuron or hidden()
        self.other = hidden(0.8)

    def forward(self, x: Any) -> Any:
        return self.function(self, x)


def double(function: Any, neuron: Any = None) -> Callable[[], Any]:
    return lambda: Net(function, neuron() if neuron else None).double()


def recurrent_hook(hook: Any, *, after: bool = False) -> Callable[[], Any]:
    """An RLeaky whose recurrent weights have a hook of the user's."""

    def build() -> Any:
        neuron = snn.RLeaky(0.8, V=0.5, all_to_all=False, init_hidden=True)
        part = neuron.recurrent
        (part.register_forward_hook if after else part.register_forward_pre_hook)(hook)
        return nn.Sequential(nn.Linear(6, 6), neuron)

    return build


def in_place(m: Any, args: Any) -> None:
    args[0].mul_(2)


def in_place_after(m: Any, args: Any, output: Any) -> None:
    output.mul_(2)


REFUSED: dict[str, tuple[Callable[[], Any], str, str]] = {
    "narrowed current": (
        double(lambda m, x: m.lif(m.fc(x).float())),
        "Net",
        "float turns torch.float64 into torch.float32",
    ),
    "widened current": (
        lambda: Net(lambda m, x: m.lif(m.fc(x).to(torch.float64))),
        "Net",
        "to turns torch.float32 into torch.float64",
    ),
    "integer spikes": (
        double(lambda m, x: m.other(m.lif(m.fc(x)).type(torch.int32))),
        "Net",
        "type",
    ),
    "no cast": (double(lambda m, x: m.other(m.fc(m.lif(m.fc(x))))), "fc", "RuntimeError"),
    "spikes as current": (
        double(lambda m, x: m.other(m.lif(m.fc(x)))),
        "other",
        "its membrane potential is torch.float32, its model torch.float64",
    ),
    "graded sum": (
        double(
            lambda m, x: m.other((m.lif(m.fc(x)) + m.lif(m.fc(x))).double()),
            lambda: hidden(graded_spikes_factor=1 / 3),
        ),
        "Net",
        "computes in torch.float32, its model in torch.float64",
    ),
    "narrowed graded spikes": (
        double(
            lambda m, x: m.other(m.fc(m.lif(m.fc(x)).float().double())),
            lambda: hidden(graded_spikes_factor=torch.rand(6)),
        ),
        "Net",
        "float turns",
    ),
    "single threshold": (
        lambda: with_weights(hidden(threshold=precise(1)[0])),
        "1",
        "since snnTorch's spikes are float32",
    ),
    "scaling hook": (
        recurrent_hook(lambda m, a: (a[0] * 2,)),
        "1.recurrent",
        "something other than the last spikes",
    ),
    "constant hook": (
        recurrent_hook(lambda m, a: (torch.ones(1, 6),)),
        "1.recurrent",
        "something other than the last spikes",
    ),
    "hook in place": (recurrent_hook(in_place), "1", "mul_ changes the last spikes"),
    "hook after": (
        recurrent_hook(lambda m, a, out: out * 2, after=True),
        "1",
        "a forward hook changes",
    ),
    "hook after in place": (recurrent_hook(in_place_after, after=True), "1", "a forward hook"),
}


@pytest.mark.parametrize(("build", "node", "words"), REFUSED.values(), ids=REFUSED)
def test_refused_with_module_reason_and_way_out(
    build: Callable[[], Any], node: str, words: str
) -> None:
    with pytest.raises(ModelError) as caught:
        from_snntorch(build(), torch.rand(2, 6))
    assert words in str(caught.value)
    assert caught.value.node == node
    assert caught.value.hint


def test_pooling_in_float32_is_refused_in_a_float64_model() -> None:
    net = convolutional().double()
    for index in (4, 6):
        net[index].register_forward_pre_hook(cast)
    with pytest.raises(ModelError, match=r"computes in torch\.float32") as caught:
        from_snntorch(net, torch.rand(2, 1, 5, 6))
    assert caught.value.node == "2"


@pytest.mark.parametrize("dt", [1e-4, 1e-3, 0.7])
@pytest.mark.parametrize("integrates", [False, True])
def test_the_gain_of_a_float64_neuron_is_one(dt: float, integrates: bool) -> None:
    """Bit for bit: connections carry the weights and nothing else."""
    neuron = hidden(torch.ones(500))
    if not integrates:
        neuron = snn.Synaptic(precise(500), precise(500), init_hidden=True)
    network = api.load(from_snntorch(neuron.double(), torch.rand(1, 500), dt=dt))
    assert all(not connection.ops for connection in network.connections)
