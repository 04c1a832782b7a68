"""What goes into and comes out of a converted model: several inputs, and outputs of all kinds.

All weights are multiples of 1/16 and the models are float64, so that values agree bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nir
import numpy as np
import pytest

torch = pytest.importorskip("torch")
snn = pytest.importorskip("snntorch")

from torch import nn  # noqa: E402

from neurodeploy import api  # noqa: E402
from neurodeploy.errors import InputError, ModelError  # noqa: E402
from neurodeploy.frontends.snntorch import from_snntorch, reference_spikes  # noqa: E402
from neurodeploy.reference import simulate  # noqa: E402

BATCH, STEPS, SIZE = 4, 30, 6


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(4)


def dyadic(net: Any) -> Any:
    for part in net.modules():
        if isinstance(part, nn.Linear):
            part.register_forward_pre_hook(lambda module, args: (args[0].double(),))
            for parameter in part.parameters():
                parameter.data = torch.randint(-8, 13, parameter.shape) / 16
    return net.double()


def drive(*shape: int) -> Any:
    return (torch.rand(BATCH, STEPS, *shape) < 0.4).double()


class Parts(nn.Module):
    """Layers and neurons, and a forward given as a function."""

    def __init__(self, function: Callable[..., Any], **options: Any) -> None:
        super().__init__()
        self.function = function
        self.fc1, self.lif1 = nn.Linear(SIZE, SIZE), snn.Leaky(0.75, init_hidden=True)
        self.fc2, self.lif2 = nn.Linear(SIZE, 4), snn.Leaky(0.5, init_hidden=True, **options)
        self.fc3 = nn.Linear(SIZE, 4)

    def forward(self, x: Any) -> Any:
        return self.function(self, x)


def called(net: Any, inputs: Any) -> list[Any]:
    """Everything that the steps of a forward return, each [B, T, ...] in order."""
    for part in (net.lif1, net.lif2):
        part.reset_mem()
    with torch.no_grad():
        steps = [list(flat(net(inputs[:, step]))) for step in range(inputs.shape[1])]
    return [torch.stack(values, 1).numpy() for values in zip(*steps, strict=True)]


def flat(data: Any) -> Any:
    if isinstance(data, torch.Tensor):
        yield data
    else:
        for item in data.values() if isinstance(data, dict) else data:
            yield from flat(item)


# Outputs


def both(m: Any, x: Any) -> Any:
    spikes = m.lif1(m.fc1(x))
    return {"spikes": spikes, "read": [m.fc2(spikes), (m.lif2(m.fc3(spikes)),)]}


def residual(m: Any, x: Any) -> Any:
    spikes = m.lif1(m.fc1(x))
    return m.fc2(spikes) + m.fc3(spikes)


def membrane(m: Any, x: Any) -> Any:
    _, potential = m.lif2(m.fc2(m.lif1(m.fc1(x))))
    return potential


READ: dict[str, tuple[Callable[..., Any], dict[str, Any], list[str]]] = {
    "a last Linear": (lambda m, x: m.fc2(m.lif1(m.fc1(x))), {}, ["fc2"]),
    "spikes and values": (both, {}, ["lif1", "fc2", "lif2"]),
    "a sum of layers": (residual, {}, ["output"]),
    "graded spikes": (
        lambda m, x: m.lif2(m.fc2(m.lif1(m.fc1(x)))),
        {"graded_spikes_factor": 0.25},
        ["lif2.graded"],
    ),
    "spikes times a factor": (
        lambda m, x: m.lif2(m.fc2(m.lif1(m.fc1(x)))).double() * 0.1,
        {},
        ["scale"],
    ),
    "membrane": (membrane, {"output": True, "reset_mechanism": "none"}, ["lif2"]),
    "membrane that resets": (membrane, {"output": True}, ["lif2"]),
}


@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_a_membrane_that_was_reset_is_refused_as_an_output(reset: str) -> None:
    net = Parts(membrane, output=True, reset_mechanism=reset, reset_delay=False)
    with pytest.raises(ModelError, match="after the reset of the same step") as caught:
        from_snntorch(net, drive(SIZE)[:, 0])
    assert (caught.value.node, bool(caught.value.hint)) == ("lif2", True)


@pytest.mark.parametrize("name", READ)
def test_every_output_has_the_models_values(name: str) -> None:
    function, options, names = READ[name]
    net = dyadic(Parts(function, **options))
    inputs = drive(SIZE)
    graph = from_snntorch(net, inputs[:, 0])
    network = api.load(graph)
    trace = simulate(network, inputs.numpy())
    assert sorted(network.outputs) == sorted(names)
    for expected, output in zip(called(net, inputs), names, strict=True):
        found = trace.values.get(output, trace.spikes[output])
        np.testing.assert_array_equal(found, expected, err_msg=output)
        assert expected.any()
    shapes = {
        n: v.output_type["output"] for n, v in graph.nodes.items() if isinstance(v, nir.Output)
    }
    assert len(shapes) == len(names)
    assert all(n == "output" or n.removeprefix("output.") in graph.nodes for n in shapes)


def test_values_stacked_over_time_are_one_output() -> None:
    def loop(m: Any, x: Any) -> Any:
        return torch.stack([m.fc2(m.lif1(m.fc1(entry))) for entry in x])

    net, inputs = dyadic(Parts(loop)), drive(SIZE)
    graph = from_snntorch(net, inputs.transpose(0, 1))
    net.lif1.reset_mem()
    with torch.no_grad():
        expected = net(inputs.transpose(0, 1)).transpose(0, 1)
    found = simulate(api.load(graph), inputs.numpy()).values["fc2"]
    np.testing.assert_array_equal(found, expected.numpy())


def test_a_returned_membrane_is_no_output_beside_spikes_and_in_hidden_layers() -> None:
    def everything(m: Any, x: Any) -> Any:
        spikes, first = m.lif1(m.fc1(x))
        return (*m.lif2(m.fc2(spikes)), first)

    net = Parts(everything, output=True)
    net.lif1.output = True
    network = api.load(from_snntorch(net, drive(SIZE)[:, 0]))
    assert network.outputs == ("lif2",)
    assert {p.name: p.readout for p in network.populations} == {"lif1": "spikes", "lif2": "spikes"}


# Inputs


class Two(nn.Module):
    """Two inputs of different shapes, as one step or with the time loop in forward."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function
        self.fc1, self.lif1 = nn.Linear(SIZE, SIZE), snn.Leaky(0.75, init_hidden=True)
        self.fc2, self.lif2 = nn.Linear(3, SIZE), snn.Leaky(0.5, init_hidden=True)
        self.fc3, self.lif3 = nn.Linear(SIZE, 4), snn.Leaky(0.5, init_hidden=True)

    def forward(self, image: Any, sound: Any = None, mem: Any = None) -> Any:
        return self.function(self, image, sound)

    def step(self, image: Any, sound: Any) -> Any:
        joined = self.lif1(self.fc1(image)) + self.lif2(self.fc2(sound))
        return self.lif3(self.fc3(joined))


def time_first(m: Any, image: Any, sound: Any) -> Any:
    return [m.step(image[step], sound[step]) for step in range(len(image))]


def each_its_own_axis(m: Any, image: Any, sound: Any) -> Any:
    return [m.step(x, y) for x, y in zip(image, sound.unbind(1), strict=True)]


def one_constant(m: Any, image: Any, sound: Any) -> Any:
    return [m.step(x, sound) for x in image]


ORDERS: dict[str, tuple[Callable[..., Any], Any, Any]] = {
    "one step": (Two.step, lambda x: x[:, 0], lambda y: y[:, 0]),
    "time first": (time_first, lambda x: x.transpose(0, 1), lambda y: y.transpose(0, 1)),
    "each its own axis": (each_its_own_axis, lambda x: x.transpose(0, 1), lambda y: y),
    "one constant": (one_constant, lambda x: x.transpose(0, 1), lambda y: y[:, 0]),
}


@pytest.mark.parametrize("order", ORDERS)
def test_two_inputs(order: str) -> None:
    function, first, second = ORDERS[order]
    net = dyadic(Two(function))
    image, sound = drive(SIZE), drive(3)
    if order == "one constant":
        sound = sound[:, :1].expand_as(sound).contiguous()
    graph = from_snntorch(net, (first(image), second(sound)))
    assert {("input.image", "fc1"), ("input.sound", "fc2")} < set(graph.edges)
    inputs = {"input.sound": sound.numpy(), "input.image": image.numpy()}
    expected = reference_spikes(net, inputs, graph)
    found = simulate(api.load(graph), inputs).spikes
    assert set(expected) == {"lif1", "lif2", "lif3"}
    for name, spikes in expected.items():
        np.testing.assert_array_equal(spikes, found[name], err_msg=name)
        assert 10 < spikes.sum() < spikes.size - 10


def test_one_input_may_be_given_in_a_tuple() -> None:
    net = dyadic(Parts(lambda m, x: m.lif1(m.fc1(x))))
    graph = from_snntorch(net, (drive(SIZE)[:, 0],))
    assert "input" in graph.nodes
    assert reference_spikes(net, {"input": drive(SIZE).numpy()}, graph)["lif1"].any()


def test_two_inputs_added_without_a_layer() -> None:
    net = dyadic(Two(lambda m, x, y: m.lif1(x + y)))
    inputs = {"input.image": drive(SIZE).numpy(), "input.sound": drive(SIZE).numpy()}
    samples = tuple(torch.from_numpy(array[:, 0]) for array in inputs.values())
    graph = from_snntorch(net, samples)
    assert {("input.image", "lif1"), ("input.sound", "lif1")} < set(graph.edges)
    expected = reference_spikes(net, inputs, graph)["lif1"]
    np.testing.assert_array_equal(expected, simulate(api.load(graph), inputs).spikes["lif1"])


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        ((), "batch axis"),
        ((torch.zeros(2, SIZE), None), "batch axis"),
        ({"image": torch.zeros(2, SIZE)}, "batch axis"),
        ((torch.zeros(2, SIZE),) * 4, "3 named arguments, 4 samples"),
    ],
)
def test_samples_that_do_not_fit_forward(samples: Any, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        from_snntorch(Two(Two.step), samples)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda m, x, y: m.lif1(m.fc1(x)), "its input sound reaches no output"),
        (
            lambda m, x, y: (m.lif1(m.fc1(x)), m.lif2(m.fc2(y)))[0],
            "its input sound reaches no output",
        ),
        (
            lambda m, x, y: (m.lif1(m.fc1(x)), m.lif2(y), m.lif3(y[:, 0])),
            "some layers get the sample sound as a whole and others a part",
        ),
    ],
)
def test_refused_inputs(function: Callable[..., Any], words: str) -> None:
    sound = torch.zeros(3, 3, SIZE) if "part" in words else torch.zeros(3, 3)
    with pytest.raises(ModelError, match=words) as caught:
        from_snntorch(Two(function), (torch.zeros(3, SIZE), sound))
    assert (caught.value.node, bool(caught.value.hint)) == ("Two", True)


def test_what_reference_spikes_refuses_of_several_inputs() -> None:
    net = dyadic(Two(Two.step))
    image, sound = drive(SIZE).numpy(), drive(3).numpy()
    graph = from_snntorch(net, (torch.zeros(1, SIZE), torch.zeros(1, 3)))
    for wrong, words in (
        (image, "are given for input.image; the model's are input.image, input.sound"),
        ({"image": image, "sound": sound}, "are given for image, sound"),
        ({"input.image": image, "input.sound": sound[:, 1:]}, "input.sound: is float64"),
        ({"input.image": image.astype(np.float32), "input.sound": sound}, "expected float64"),
    ):
        with pytest.raises(InputError) as caught:
            reference_spikes(net, wrong, graph)
        assert words in str(caught.value)
