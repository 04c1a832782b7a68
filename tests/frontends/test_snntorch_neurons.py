"""Synaptic, Lapicque, RLeaky and RSynaptic: the produced NIR graph against snnTorch itself.

`run` is a small Euler interpreter of the graph, with float32 operations in snnTorch's order; the
edge from recurrent weights to their neurons carries the spikes of the step before.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

torch = pytest.importorskip("torch")
snn = pytest.importorskip("snntorch")

from torch import nn  # noqa: E402

from neurodeploy.errors import ModelError  # noqa: E402
from neurodeploy.frontends.snntorch import from_snntorch, reference_spikes  # noqa: E402
from neurodeploy.semantics import Semantics, from_metadata  # noqa: E402
from tests.nir_torch import linear_node, one_step, tensor32  # noqa: E402

BATCH, STEPS, SIZE, CHANNELS = 3, 40, 8, 3
IMAGE = (2, 5, 4)
NEURON_NODES = (nir.LIF, nir.IF, nir.CubaLIF)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(3)


# The interpreter


def fires(difference: Any) -> Any:
    return (difference > 0).float()


class Neuron:
    """One neuron node as its metadata say."""

    def __init__(self, node: Any, name: str) -> None:
        entries = from_metadata(node.metadata, node=name)
        assert entries is not None
        semantics = Semantics.from_dict(entries["semantics"])
        assert (semantics.integrator, semantics.rounding) == ("euler", "float32")
        self.reset, self.timing, dt = semantics.reset, semantics.reset_timing, semantics.dt
        assert not node.v_reset.any()
        self.alpha: Any = None
        if isinstance(node, nir.CubaLIF):
            self.alpha = tensor32(1 - dt / node.tau_syn)
            assert (tensor32(node.w_in * dt / node.tau_syn) == 1).all()
        if isinstance(node, nir.IF):
            decay, gain = np.ones_like(node.r), node.r * dt
        else:
            tau = node.tau_mem if isinstance(node, nir.CubaLIF) else node.tau
            decay, gain = 1 - dt / tau, node.r * dt / tau
            assert tau.dtype == np.float64
            assert tau.shape == node.v_threshold.shape
            assert not node.v_leak.any()
        self.beta, self.gain = tensor32(decay), tensor32(gain)
        self.threshold = tensor32(node.v_threshold)
        self.v = self.current = torch.zeros(node.v_threshold.shape)

    def step(self, x: Any, recurrent: Any) -> Any:
        before = fires(self.v - self.threshold)
        if self.alpha is not None:
            self.current = self.alpha * self.current + x + recurrent
            v = self.beta * self.v + self.gain * self.current
        else:
            v = self.beta * self.v + self.gain * x + recurrent
        if self.reset == "zero" and self.timing == "after-input":
            v = v - before * v
        elif self.reset == "subtract":
            v = v - before * self.threshold
        spikes = fires(v - self.threshold)
        if self.reset == "subtract" and self.timing == "held":
            v = v - (spikes - before) * self.threshold
        elif self.reset == "zero" and self.timing == "immediate":
            v = v * (1 - spikes)
        self.v = v
        return spikes


def run(graph: Any, inputs: Any) -> dict[str, Any]:
    """Spikes [B, T, ...] of every neuron node."""
    neurons = {n: Neuron(v, n) for n, v in graph.nodes.items() if isinstance(v, NEURON_NODES)}
    loops = {b: a for a, b in graph.edges if a == f"{b}.recurrent"}
    sources = {
        name: [a for a, b in graph.edges if b == name and a != loops.get(name)]
        for name in graph.nodes
    }
    last = {name: torch.zeros(BATCH, *neurons[name].v.shape) for name in loops}
    spikes: dict[str, list[Any]] = {name: [] for name in neurons}
    for step in range(inputs.shape[1]):
        back = {
            name: linear_node(graph.nodes[loops[name]], last[name]) if name in loops else 0.0
            for name in neurons
        }
        fire = {name: partial(neurons[name].step, recurrent=back[name]) for name in neurons}
        values = one_step(graph, inputs[:, step], sources, fire)
        for name in neurons:
            spikes[name].append(values[name])
            last[name] = values[name]
    return {name: torch.stack(steps, 1) for name, steps in spikes.items()}


def agree(module: Any, graph: Any, inputs: Any) -> None:
    """Check that graph and module spike alike in every entry, and neither never nor always."""
    expected, found = reference_spikes(module, inputs.numpy(), graph), run(graph, inputs)
    assert set(expected) == set(found)
    for name, spikes in expected.items():
        np.testing.assert_array_equal(spikes, found[name].numpy().astype(np.uint8), err_msg=name)
        assert 10 < spikes.sum() < spikes.size - 10, name


# Modules


def values(vector: bool, low: float, high: float, shape: tuple[int, ...]) -> Any:
    return torch.rand(shape) * (high - low) + low if vector else (low + high) / 2


def synaptic(kind: str, vector: bool, **options: Any) -> Any:
    shape = (SIZE,)
    return snn.Synaptic(
        values(vector, -0.2, 0.9, shape),
        values(vector, 0.3, 0.95, shape),
        threshold=values(vector, 0.7, 1.3, shape),
        **options,
    )


def lapicque(kind: str, vector: bool, **options: Any) -> Any:
    options.pop("reset_delay", None)
    given: dict[str, Any] = {
        "R C": {"R": 1.5, "C": 2.5},
        "beta": {"beta": 0.6},
        "beta R": {"beta": 0.6, "R": 1.25},
        "beta C": {"beta": 0.6, "C": 2.5},
        "time_step": {"R": 5.1, "C": 5e-3, "time_step": 1e-2},
    }[kind]
    neuron = snn.Lapicque(**given, **options)
    if vector:
        neuron.R = neuron.R * (1 + torch.rand(SIZE))
        neuron.C = neuron.C * (1 + torch.rand(SIZE))
    neuron.threshold = neuron.R * values(vector, 0.4, 0.6, (SIZE,))
    return neuron


def recurrence(kind: str, vector: bool) -> tuple[dict[str, Any], tuple[int, ...]]:
    """Options of the recurrent weights, and the shape of the parameters."""
    if kind == "linear":
        return {"linear_features": SIZE}, (SIZE,)
    if kind == "conv":
        return {"conv2d_channels": CHANNELS, "kernel_size": 3}, (CHANNELS, 1, 1)
    return {"all_to_all": False, "V": values(vector, -1.0, 1.2, (SIZE,))}, (SIZE,)


def rleaky(kind: str, vector: bool, **options: Any) -> Any:
    weights, shape = recurrence(kind, vector)
    return snn.RLeaky(
        values(vector, 0.3, 0.95, shape),
        threshold=values(vector, 0.7, 1.3, shape),
        **weights,
        **options,
    )


def rsynaptic(kind: str, vector: bool, **options: Any) -> Any:
    weights, shape = recurrence(kind, vector)
    return snn.RSynaptic(
        values(vector, -0.2, 0.8, shape), values(vector, 0.3, 0.95, shape), **weights, **options
    )


BUILDERS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "Synaptic": (synaptic, ("",)),
    "Lapicque": (lapicque, ("R C", "beta", "beta R", "beta C", "time_step")),
    "RLeaky": (rleaky, ("linear", "conv", "one")),
    "RSynaptic": (rsynaptic, ("linear", "conv", "one")),
}
KINDS = [(name, kind) for name, (_, kinds) in BUILDERS.items() for kind in kinds]


class Hidden(nn.Module):
    """One step; the neuron keeps its state."""

    def __init__(self, fc: Any, lif: Any) -> None:
        super().__init__()
        self.fc, self.lif = fc, lif

    def forward(self, x: Any) -> Any:
        return self.lif(self.fc(x))


class ThreeStates(Hidden):
    def forward(self, x: Any, spk: Any = None, syn: Any = None, mem: Any = None) -> Any:
        if spk is None:
            spk, syn, mem = self.lif.init_rsynaptic()
        return self.lif(self.fc(x), mem=mem, syn=syn.detach(), spk=spk)


def image(kind: str) -> bool:
    return kind == "conv"


def layer(kind: str) -> Any:
    fc = nn.Conv2d(IMAGE[0], CHANNELS, 3, padding=1) if image(kind) else nn.Linear(6, SIZE)
    with torch.no_grad():
        fc.weight.abs_()
    return fc


def drive(kind: str) -> Any:
    shape = IMAGE if image(kind) else (6,)
    return (torch.rand(BATCH, STEPS, *shape) < 0.4).float()


def build(name: str, kind: str, vector: bool, **options: Any) -> Any:
    neuron = BUILDERS[name][0](kind, vector, init_hidden=True, **options)
    return Hidden(layer(kind), neuron)


def test_states_that_default_to_none_and_go_by_keyword() -> None:
    net, inputs = ThreeStates(layer(""), rsynaptic("linear", True)), drive("")
    agree(net, from_snntorch(net, inputs[:, 0]), inputs)


LOOPS = {"linear": nir.Affine, "conv": nir.Conv2d, "one": nir.Scale}


@pytest.mark.parametrize(("name", "kind"), [case for case in KINDS if case[1] in LOOPS])
def test_recurrent_weights_are_a_node_on_a_loop(name: str, kind: str, tmp_path: Path) -> None:
    net, inputs = build(name, kind, True), drive(kind)
    graph = from_snntorch(net, inputs[:, 0])
    assert set(graph.edges) == {
        ("input", "fc"),
        ("fc", "lif"),
        ("lif", "lif.recurrent"),
        ("lif.recurrent", "lif"),
        ("lif", "output"),
    }
    loop = graph.nodes["lif.recurrent"]
    assert type(loop) is LOOPS[kind]
    if kind != "one":
        np.testing.assert_array_equal(loop.weight, net.lif.recurrent.weight.detach().numpy())
        np.testing.assert_array_equal(loop.bias, net.lif.recurrent.bias.detach().numpy())
    nir.write(tmp_path / "net.nir", graph)
    again = nir.read(tmp_path / "net.nir", type_check=False)
    assert set(again.edges) == set(graph.edges)
    assert {n: type(v) for n, v in again.nodes.items()} == {
        n: type(v) for n, v in graph.nodes.items()
    }
    agree(net, again, inputs)


@pytest.mark.parametrize(("name", "kind"), [("Synaptic", ""), ("Lapicque", "time_step")])
def test_a_file_keeps_everything(name: str, kind: str, tmp_path: Path) -> None:
    net, inputs = build(name, kind, True), drive(kind)
    nir.write(tmp_path / "net.nir", from_snntorch(net, inputs[:, 0]))
    agree(net, nir.read(tmp_path / "net.nir", type_check=False), inputs)


@pytest.mark.parametrize("dt", [1e-4, 1e-3, 1.0])
def test_alpha_and_beta_come_back_bit_for_bit(dt: float) -> None:
    alpha, beta = torch.rand(2, 5000)
    graph = from_snntorch(snn.Synaptic(alpha, beta, init_hidden=True), torch.rand(1, 5000), dt=dt)
    node = graph.nodes["synaptic"]
    for tau, gain, decay in (
        (node.tau_syn, node.w_in, alpha),
        (node.tau_mem, node.r, beta),
    ):
        np.testing.assert_array_equal((1 - dt / tau).astype(np.float32), decay.numpy())
        assert ((gain * dt / tau).astype(np.float32) == 1).all()


def test_a_recurrent_bias_acts_before_any_spike() -> None:
    neuron = snn.RLeaky(0.5, linear_features=2, init_hidden=True)
    with torch.no_grad():
        neuron.recurrent.weight.zero_()
        neuron.recurrent.bias.copy_(torch.tensor([1.5, 0.25]))
    inputs = torch.zeros(BATCH, 4, 2)
    graph = from_snntorch(neuron, inputs[:, 0])
    assert {("rleaky", "rleaky.recurrent"), ("rleaky.recurrent", "rleaky")} <= set(graph.edges)
    spikes = run(graph, inputs)["rleaky"]
    assert spikes[0, 0].tolist() == [1, 0]
    expected = reference_spikes(neuron, inputs.numpy(), graph)["rleaky"]
    np.testing.assert_array_equal(spikes.numpy(), expected)


def test_learned_parameters_and_recurrence_without_bias() -> None:
    neuron = snn.RSynaptic(
        0.5,
        torch.full((SIZE,), 0.8),
        linear_features=SIZE,
        init_hidden=True,
        learn_alpha=True,
        learn_beta=True,
        learn_threshold=True,
        learn_recurrent=False,
    )
    neuron.recurrent.bias = None
    net, inputs = Hidden(layer(""), neuron), drive("")
    graph = from_snntorch(net, inputs[:, 0])
    assert type(graph.nodes["lif.recurrent"]) is nir.Linear
    agree(net, graph, inputs)


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_the_state_of_a_neuron_is_left_as_it_was(name: str, kind: str) -> None:
    net, inputs = build(name, kind, True), drive(kind)
    clean = from_snntorch(net, inputs[:, 0])
    with torch.no_grad():
        for step in range(5):
            net(inputs[:, step])
    before = {name: buffer.clone() for name, buffer in net.named_buffers()}
    agree(net, clean, inputs)
    assert from_snntorch(net, inputs[:, 0]).edges == clean.edges
    for state, buffer in net.named_buffers():
        assert torch.equal(buffer, before[state]), state


def test_fixed_one_to_one_weights() -> None:
    neuron = snn.RLeaky(0.8, V=0.3, all_to_all=False, learn_recurrent=False, init_hidden=True)
    net, inputs = Hidden(layer(""), neuron), drive("")
    graph = from_snntorch(net, inputs[:, 0])
    np.testing.assert_array_equal(
        graph.nodes["lif.recurrent"].scale, np.full(SIZE, float(np.float32(0.3)))
    )
    agree(net, graph, inputs)


def test_rleaky_with_beta_of_one_is_an_if() -> None:
    net = build("RLeaky", "one", False)
    net.lif.beta.fill_(1.5)
    inputs = drive("")
    graph = from_snntorch(net, inputs[:, 0])
    assert type(graph.nodes["lif"]) is nir.IF
    agree(net, graph, inputs)


def test_graded_spikes_also_go_round_the_loop() -> None:
    net, inputs = build("RLeaky", "linear", True), drive("")
    net.lif.graded_spikes_factor = torch.tensor(2.0)
    graph = from_snntorch(net, inputs[:, 0])
    assert {("lif", "lif.graded"), ("lif.graded", "lif.recurrent")} <= set(graph.edges)


@pytest.mark.parametrize("kind", BUILDERS["Lapicque"][1])
def test_lapicque_is_an_rc_circuit_with_its_own_time_step(kind: str) -> None:
    neuron = lapicque(kind, False, init_hidden=True)
    node = from_snntorch(neuron, torch.rand(BATCH, SIZE)).nodes["lapicque"]
    entries = from_metadata(node.metadata, node="lapicque")
    assert entries is not None
    step = entries["semantics"]["dt"]
    resistance, capacity = float(neuron.R), float(neuron.C)
    assert step == float(neuron.time_step)
    np.testing.assert_allclose(node.tau, resistance * capacity, rtol=1e-6)
    np.testing.assert_allclose(node.r, resistance, rtol=1e-6)
    decay = 1 - neuron.time_step / (neuron.R * neuron.C)
    assert ((1 - step / node.tau).astype(np.float32) == decay.numpy()).all()


def test_lapicque_gain_is_the_float32_nearest_to_snntorchs_factors() -> None:
    neuron = snn.Lapicque(R=5.1, C=7.3, time_step=0.01, init_hidden=True)
    neuron.C = neuron.C * (1 + torch.rand(1000))
    node = from_snntorch(neuron, torch.rand(1, 1000)).nodes["lapicque"]
    resistance, step = float(neuron.R), float(neuron.time_step)
    rate = (1 / (neuron.R * neuron.C)).numpy().astype(np.float64)
    found = (node.r * step / node.tau).astype(np.float32)
    np.testing.assert_array_equal(found, (resistance * rate * step).astype(np.float32))


def test_lapicque_neurons_of_one_graph_keep_their_time_steps() -> None:
    net = nn.Sequential(
        layer(""),
        snn.Lapicque(R=1.5, C=2.5, threshold=0.2, init_hidden=True),
        nn.Linear(SIZE, SIZE),
        snn.Lapicque(R=5.1, C=5e-3, time_step=1e-2, threshold=0.05, init_hidden=True),
        snn.Leaky(0.9, init_hidden=True),
    )
    inputs = drive("")
    graph = from_snntorch(net, inputs[:, 0], dt=1e-3)
    steps = {}
    for name in ("1", "3", "4"):
        entries = from_metadata(graph.nodes[name].metadata, node=name)
        assert entries is not None
        steps[name] = entries["semantics"]["dt"]
    assert steps == {"1": 1.0, "3": float(np.float32(1e-2)), "4": 1e-3}
    agree(net, graph, inputs)


# Refusals


def alone(neuron: Any) -> Callable[[], Any]:
    return lambda: Hidden(nn.Linear(6, SIZE), neuron())


def swapped(weights: Any) -> Any:
    net = build("RLeaky", "linear", False)
    net.lif.recurrent = weights
    return net


def changed_alpha(*, inhibition: bool = False, **decays: float) -> Any:
    neuron = snn.Alpha(0.9, 0.8, reset_mechanism="none", init_hidden=True)
    neuron.inhibition = inhibition
    for name, value in decays.items():
        getattr(neuron, name).fill_(value)
    return Hidden(nn.Linear(6, SIZE), neuron)


class OtherSpikes(Hidden):
    """The recurrent input is another neuron's output."""

    def forward(self, x: Any) -> Any:
        first, mem = self.fc(x)
        return self.lif(first, first, mem)


class Faster(snn.Synaptic):
    pass


class Gates(snn.SLSTM):
    pass


class LostSpikes(Hidden):
    def forward(self, x: Any, mem: Any) -> Any:
        return self.lif(self.fc(x), torch.zeros(BATCH, SIZE), mem)


class CurrentAsInput(Hidden):
    def forward(self, x: Any) -> Any:
        self.lif(self.fc(x))
        return self.again(self.lif.syn)

    def __init__(self, fc: Any, lif: Any) -> None:
        super().__init__(fc, lif)
        self.again = snn.Leaky(0.9, init_hidden=True)


ONE = torch.tensor([0.5] * (SIZE - 1) + [1.0])

REFUSED: dict[str, tuple[Callable[[], Any], str, str]] = {
    "Alpha zero": (
        alone(lambda: snn.Alpha(0.9, 0.8, init_hidden=True)),
        "lif",
        "its reset changes two currents",
    ),
    "Alpha subtract": (
        alone(lambda: snn.Alpha(0.9, 0.8, reset_mechanism="subtract", init_hidden=True)),
        "lif",
        "its reset changes two currents",
    ),
    "Alpha with equal decays": (lambda: changed_alpha(alpha=0.8), "lif", "not finite for 8 of 8"),
    "Alpha without decay": (lambda: changed_alpha(beta=0.0, alpha=0.0), "lif", "not finite"),
    "Alpha with inhibition": (lambda: changed_alpha(inhibition=True), "lif", "inhibition=True"),
    "SLSTM": (alone(lambda: snn.SLSTM(SIZE, SIZE, init_hidden=True)), "lif", "gates of an LSTM"),
    "SConv2dLSTM": (
        alone(lambda: snn.SConv2dLSTM(1, 1, 3, init_hidden=True)),
        "lif",
        "gates of an LSTM",
    ),
    "LeakyParallel": (alone(lambda: snn.LeakyParallel(SIZE, SIZE)), "lif", "rectifies"),
    "StateLeaky": (alone(lambda: snn.StateLeaky(0.9, SIZE)), "lif", "all steps at once"),
    "LinearLeaky": (alone(lambda: snn.LinearLeaky(0.9, SIZE, SIZE)), "lif", "all steps at once"),
    "AssociativeLeaky": (
        alone(lambda: snn.AssociativeLeaky(SIZE, 2, 2, 4)),
        "lif",
        "state is a matrix",
    ),
    "DeltaLeaky": (
        alone(lambda: snn.DeltaLeaky(0.9, beta=0.9, init_hidden=True)),
        "lif",
        "fires on the change",
    ),
    "GradedSpikes": (
        alone(lambda: snn.GradedSpikes(SIZE, 1.0)),
        "lif",
        "scale the axis before the last, which of (batch, neurons) is the batch",
    ),
    "subclass": (
        alone(lambda: Faster(0.5, 0.5, init_hidden=True)),
        "lif",
        "a subclass of Synaptic may compute anything. Use Synaptic itself.",
    ),
    "subclass of a refused class": (
        alone(lambda: Gates(SIZE, SIZE, init_hidden=True)),
        "lif",
        "Gates is not supported: the gates of an LSTM",
    ),
    "RSynaptic delay": (
        lambda: build("RSynaptic", "one", False, reset_delay=False),
        "lif",
        "with reset_delay=False",
    ),
    "alpha one": (
        alone(lambda: snn.Synaptic(1.0, 0.5, init_hidden=True)),
        "lif",
        "alpha is 1 (after clamping) for 8 of 8",
    ),
    "beta one": (
        alone(lambda: snn.Synaptic(0.5, ONE, init_hidden=True)),
        "lif",
        "beta is 1 (after clamping) for 1 of 8",
    ),
    "tiny alpha": (
        alone(lambda: snn.Synaptic(1e-12, 0.5, init_hidden=True)),
        "lif",
        "alpha is 1e-12 or less",
    ),
    "inhibition": (
        alone(lambda: snn.RLeaky(0.5, linear_features=SIZE, inhibition=True, init_hidden=True)),
        "lif",
        "inhibition=True",
    ),
    "state_quant": (
        alone(lambda: snn.Synaptic(0.5, 0.5, state_quant=lambda v: v, init_hidden=True)),
        "lif",
        "state_quant",
    ),
    "too large a step": (
        alone(lambda: snn.Lapicque(R=0.5, C=1.0, init_hidden=True)),
        "lif",
        "1 - time_step / (R C) is -1 for 8 of 8",
    ),
    "no leak": (
        alone(lambda: snn.Lapicque(R=1e5, C=1e5, init_hidden=True)),
        "lif",
        "1 - time_step / (R C) is 1",
    ),
    "negative R": (
        alone(lambda: snn.Lapicque(R=-2.0, C=-2.0, init_hidden=True)),
        "lif",
        "R or C is not positive",
    ),
    "two time steps": (
        alone(lambda: snn.Lapicque(R=2.0, C=2.0, time_step=torch.ones(SIZE), init_hidden=True)),
        "lif",
        "not one positive number",
    ),
    "other weights": (
        lambda: swapped(nn.Sequential(nn.Linear(SIZE, SIZE))),
        "lif.recurrent",
        "Sequential from neurons of shape (8,)",
    ),
    "wrong features": (
        alone(lambda: snn.RLeaky(0.5, linear_features=5, init_hidden=True)),
        "lif.recurrent",
        "RuntimeError",
    ),
    "V broadcasts": (
        alone(lambda: snn.RLeaky(0.5, V=torch.ones(2, 1, SIZE), all_to_all=False)),
        "lif",
        "broadcast",
    ),
    "other spikes": (
        lambda: OtherSpikes(
            Hidden(nn.Linear(6, SIZE), snn.Leaky(0.9)), snn.RLeaky(0.5, all_to_all=False)
        ),
        "lif",
        "its last output is neither",
    ),
    "lost spikes": (
        lambda: LostSpikes(nn.Linear(6, SIZE), snn.RLeaky(0.5, all_to_all=False)),
        "lif",
        "its last output is set to zero between two steps",
    ),
    "current as input": (
        lambda: CurrentAsInput(nn.Linear(6, SIZE), snn.Synaptic(0.5, 0.5, init_hidden=True)),
        "again",
        "its input is a synaptic current",
    ),
}


@pytest.mark.parametrize(("module", "node", "words"), REFUSED.values(), ids=REFUSED)
@pytest.mark.filterwarnings("ignore:Inhibition is an unstable feature")
def test_refused_with_module_reason_and_way_out(
    module: Callable[[], Any], node: str, words: str
) -> None:
    with pytest.raises(ModelError) as caught:
        from_snntorch(module(), torch.rand(BATCH, 6))
    assert words in str(caught.value)
    assert caught.value.node == node
    assert caught.value.hint
