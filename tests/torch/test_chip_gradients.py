"""`ChipModule` backward, against the same network written with ordinary differentiable operations.

The other formulation goes through chip steps in float64 and lets autograd do the rest: whatever is
rounded, truncated or wrapped is written as value + (exact - value).detach().
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from snntorch import surrogate
from torch import Tensor
from torch.nn import functional as F

from neurodeploy import arrivals
from neurodeploy.network import InputPort
from neurodeploy.program import Neurons, Program, Synapses
from neurodeploy.targets.loihi.stepwise import Restart
from neurodeploy.torch import ChipModule
from tests.builders import small_program, spikes_for
from tests.conformance.lava_programs import random_case
from tests.targets.spinnaker2.drawn import random_program

Spike = Callable[[Tensor], Tensor]


def exactly(value: Tensor, exact: Tensor) -> Tensor:
    return value + (exact - value).detach()


class Plain:
    """A program step by step; `masters`: float64 leaves by name of the module's parameters."""

    def __init__(self, module: ChipModule, spike: Spike) -> None:
        self.program, self.spike = module.origin, spike
        self.present = module.program()
        self.masters = {
            name: value.detach().double().requires_grad_()
            for name, value in module.named_parameters()
        }
        self.waits = arrivals.waits(self.program)
        self.links, self.names = module._links, module._names

    def weight(self, index: int) -> Tensor:
        exact = torch.from_numpy(self.present.synapses[index].weight.astype(np.float64))
        master = self.masters.get(f"weights.{self.links[index]}")
        return exact if master is None else exactly(master, exact)

    def register(self, index: int, name: str, group: str) -> Tensor:
        population = self.present.populations[index]
        values = population.parameters[name].astype(np.float64)
        exact = torch.from_numpy(np.broadcast_to(values.reshape(-1), population.size).copy())
        master = self.masters.get(f"{group}.{self.names[index]}")
        if master is None:
            return exact
        if master.dim() > 1:
            master = master.expand(population.shape).reshape(-1)
        return exactly(master.expand(population.size), exact)

    def run(self, inputs: dict[str, np.ndarray]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Spikes and potentials by population, (samples, steps, neurons)."""
        sent = {n: list(torch.from_numpy(x.astype(np.float64)).flatten(2).unbind(1))
                for n, x in inputs.items()}  # fmt: skip
        samples, steps = next(iter(inputs.values())).shape[:2]
        potentials: dict[str, list[Tensor]] = {}
        states: dict[str, Any] = {}
        for p in self.program.populations:
            sent[p.name], potentials[p.name], states[p.name] = [], [], None
        for t in range(steps):
            for index, p in enumerate(self.program.populations):
                currents = self.currents(p, sent, t, samples)
                step = self.loihi if self.program.target == "loihi2" else self.spinnaker2
                potential, spikes, states[p.name] = step(index, p, currents, states[p.name], t)
                potentials[p.name].append(potential)
                sent[p.name].append(spikes)
        names = [p.name for p in self.program.populations]
        return (
            {name: torch.stack(sent[name], 1) for name in names},
            {name: torch.stack(potentials[name], 1) for name in names},
        )

    def currents(self, p: Neurons, sent: Any, t: int, samples: int) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for index, s in enumerate(self.program.synapses):
            if s.target != p.name:
                continue
            weight = self.weight(index)
            for delay in np.unique(s.delay):
                at = t - self.waits[s] - int(delay)
                if at < 0:
                    continue
                rows = sent[s.source][at]
                rows = rows.detach() if arrivals.is_own(s, p) else rows
                chosen = weight * torch.from_numpy(np.asarray(s.delay == delay, np.float64))
                value = total(s, rows, chosen) * 2.0**s.exponent
                part = exactly(value, torch.floor(value.detach()))
                found[s.port] = found.get(s.port, torch.zeros(samples, p.size).double()) + part
        return found

    def spikes(self, potential: Tensor, threshold: Tensor, p: Neurons, fired: Tensor) -> Tensor:
        unit = torch.from_numpy(p.unit.reshape(-1))
        return exactly(self.spike((potential - threshold) / unit), fired.double())

    def loihi(
        self, index: int, p: Neurons, currents: dict[str, Tensor], states: Any, t: int
    ) -> Any:
        def fixed(name: str) -> Tensor:
            return self.register(index, name, "")

        zero = torch.zeros(1).double()
        scale = torch.exp2(fixed("bias_exp"))
        mantissa = self.register(index, "bias_mant", "biases")
        if states is None:  # a bias that u filters is taken from where it starts
            kept, before = fixed("u0"), self.program.populations[index]
            follows = (fixed("du") < 4095) & torch.from_numpy(np.broadcast_to(
                (before.parameters["u0"] != 0).reshape(-1)
                | (before.parameters["bias_mant"] == 0).reshape(-1), p.size).copy())  # fmt: skip
            start = kept - (mantissa * scale - (mantissa * scale).detach()) * follows
            states = start, fixed("v0")
        restart = Restart.of(p)
        if restart is not None and restart.at(t, 1)[0]:
            states = zero, zero
        u, v = states
        u = self.truncated(u * (4095 - fixed("du")) / 4096) + 64 * currents.get("current", zero)
        bias = (mantissa + currents.get("bias", zero)) * scale
        potential = self.truncated(v * (4096 - fixed("dv")) / 4096) + u + bias
        threshold = 64 * self.register(index, "vth", "thresholds")
        fired = potential > threshold
        spikes = self.spikes(potential, threshold, p, fired)
        return potential, spikes, (u, potential * (~fired))

    @staticmethod
    def truncated(x: Tensor) -> Tensor:
        return exactly(x, torch.trunc(x.detach()))

    def spinnaker2(self, index: int, p: Neurons, currents: dict[str, Tensor], states: Any, t: int
                   ) -> Any:  # fmt: skip
        def single(x: Tensor) -> Tensor:
            return exactly(x, x.detach().float().double())

        def fixed(name: str) -> Tensor:
            return self.register(index, name, "")

        zero = torch.zeros(1).double()
        alpha, c = fixed("alpha_decay"), self.register(index, "i_offset", "biases")
        threshold = self.register(index, "threshold", "thresholds")
        if states is None:
            v = fixed("v_init")
            for _ in range(p.depth):
                v = single(single(v * alpha) + c.detach())
            states = v, zero, zero
        v, exc, inh = states
        x = currents.get("current", zero)
        if "exc_decay" in p.parameters:
            exc = single(single(exc * fixed("exc_decay")) + currents.get("excitatory", zero)
                         + currents.get("current", zero))  # fmt: skip
            inh = single(single(inh * fixed("inh_decay")) + currents.get("inhibitory", zero))
            x = single(exc - inh)
        potential = single(single(v * alpha) + single(x + c))
        fired = potential >= threshold
        spikes = self.spikes(potential, threshold, p, fired)
        if p.register("reset").item():
            v = torch.where(fired, fixed("v_reset"), potential)
        else:
            v = potential - single(threshold) * fired
            v = single(v)
        return potential, spikes, (v, exc, inh)


def total(s: Synapses, rows: Tensor, weight: Tensor) -> Tensor:
    if s.kind == "dense":
        return F.linear(rows, weight)
    if s.kind == "one-to-one":
        return rows * weight.reshape(-1)
    image = rows.reshape(-1, *s.in_shape)
    return F.conv2d(image, weight, None, s.stride, s.padding, s.dilation, s.groups).flatten(1)


def check(program: Program, inputs: dict[str, np.ndarray], spike: Spike) -> int:
    """Compare the gradients of a random loss of all spikes and potentials; how many parameters."""
    module = ChipModule(program, spike)
    plain = Plain(module, spike)
    given = {name: torch.from_numpy(x.astype(np.float32)) for name, x in inputs.items()}
    sent, potentials = module.forward_all(given), module.forward_all(given, potentials=True)
    spikes, membranes = plain.run(inputs)
    generator = torch.Generator().manual_seed(0)
    loss, other = torch.zeros(()), torch.zeros(()).double()
    for p in program.populations:
        unit = torch.from_numpy(p.unit.reshape(-1))
        for mine, theirs in ((sent, spikes[p.name]), (potentials, membranes[p.name] / unit)):
            flat = mine[p.name].flatten(2)
            assert torch.equal(flat.detach(), theirs.detach().float())
            factor = torch.randn(flat.shape, generator=generator)
            loss, other = loss + (factor * flat).sum(), other + (factor * theirs).sum()
    names, masters = zip(*module.named_parameters(), strict=True)
    found = torch.autograd.grad(loss, masters)
    expected = torch.autograd.grad(other, [plain.masters[name] for name in names])
    for name, mine, theirs in zip(names, found, expected, strict=True):
        largest = float(theirs.abs().max())
        assert float((mine - theirs).abs().max()) <= 1e-4 * largest + 1e-12, name
    return sum(int(theirs.count_nonzero()) for theirs in expected)


@pytest.mark.parametrize(
    "spike",
    [surrogate.atan(), surrogate.fast_sigmoid(5), surrogate.sigmoid(4), surrogate.triangular(),
     surrogate.straight_through_estimator(), surrogate.spike_rate_escape()],
)  # fmt: skip
def test_any_surrogate_on_a_compiled_network(spike: Spike) -> None:
    _, program, spikes = small_program()
    assert check(program, {"input": spikes}, spike) > 300


def test_programs_for_spinnaker2() -> None:
    for seed in range(8):
        program = random_program(seed)
        scaled = tuple(replace(p, unit=np.array([8.0])) for p in program.populations)
        inputs = {"input": spikes_for(seed, 2, 8, (2, 5, 5), 0.3)}
        assert check(replace(program, populations=scaled), inputs, surrogate.atan()) > 1000


def test_programs_for_loihi() -> None:
    """With cycles, delays, restarts and inputs to the bias, as far as nothing leaves its range."""
    compared = 0
    for seed in range(40):
        case = random_case(seed, "lif", ("lif",))
        program = replace(case.program, populations=tuple(
            replace(p, unit=np.array([5000.0])) for p in case.program.populations))  # fmt: skip
        states = ChipModule(program).states(
            {name: torch.from_numpy(x.astype(np.float64)) for name, x in case.inputs.items()}
        )
        reach = max(float(x.abs().max()) for s in states.values() for x in s.values())
        if reach < (1 << 23) - 1 and not program.graded:
            compared += check(program, dict(case.inputs), surrogate.atan()) > 0
    assert compared >= 5


def test_nothing_goes_back_through_a_saturated_potential() -> None:
    """An integrator gains 254 2^12 in each step; the ninth would leave 24 bits."""
    registers = {"du": 4095, "dv": 0, "vth": (1 << 17) - 1, "bias_mant": 0, "bias_exp": 0,
                 "u0": 0, "v0": 0}  # fmt: skip
    neuron = Neurons(
        "n", (1,), 1, {name: np.array([value]) for name, value in registers.items()}, np.ones(1)
    )
    synapses = Synapses("w", "in", "n", "dense", np.array([[254]]), 6, (1,), (1,))
    program = Program("loihi2", (InputPort("in", (1,)),), (neuron,), (synapses,), ("n",), {})
    module = ChipModule(program)
    found = module.forward_all(torch.ones(1, 9, 1), potentials=True)["n"][0, :, 0]
    assert found.tolist() == [*(254 * 4096 * t for t in range(1, 9)), (1 << 23) - 1]
    for step, slope in ((7, 8 * 4096), (8, 0)):
        (gradient,) = torch.autograd.grad(found[step], module.weights["w"], retain_graph=True)
        assert gradient.item() == slope
