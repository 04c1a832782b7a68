"""What lowering does to weights and biases, undone: lowering it again changes no integer."""

from __future__ import annotations

from dataclasses import replace

import nir
import numpy as np
import pytest

from neurodeploy.errors import ModelError
from neurodeploy.network import Network
from neurodeploy.program import Neurons, Program
from neurodeploy.target import Raises, get_target
from tests.builders import AT_ONCE, SUBTRACT, ZERO, conv, cuba, lif, network, recorded, spikes_for

RNG = np.random.default_rng(0)


def nets() -> dict[str, Network]:
    """Resets, loops, biases, convolutions; a synaptic current with its leak past it."""
    one = np.ones((2, 4, 4))
    dense = {
        f"{name}{meaning.reset_timing}": network(
            (5,),
            fc=nir.Affine(RNG.normal(0, 0.5, (6, 5)), RNG.normal(0, 0.1, 6)),
            lif=lif(np.full(6, 0.75), np.linspace(0.5, 2, 6), meaning),
            last=nir.Affine(RNG.normal(0, 0.5, (3, 6)), RNG.normal(0, 0.1, 3)),
            out=lif(np.full(3, 0.75), np.ones(3), meaning),
        )
        for name, meaning in (("zero ", ZERO), ("subtract ", SUBTRACT), ("subtract ", AT_ONCE))
    }
    return {
        **dense,
        "convolution": network(
            (1, 4, 4),
            conv=conv(RNG.normal(0, 0.5, (2, 1, 3, 3)), [0.1, -0.1], padding=1),
            lif=lif(0.75 * one, one),
            flat=nir.Flatten({"input": np.array([2, 4, 4])}, 0, -1),
            fc=nir.Linear(RNG.normal(0, 0.5, (3, 32))),
            out=cuba(np.full(3, 0.5), np.full(3, 0.75)),
        ),
    }


def bias(neurons: Neurons, target: str) -> tuple[np.ndarray, float]:
    """In units of the model, with what one step of the register is."""
    if target == "spinnaker2":
        value = neurons.float_register("i_offset") / neurons.unit
        return value, float(np.abs(value).max() * 2**-22)
    finest = 2.0 ** neurons.register("bias_exp") / neurons.unit
    return neurons.register("bias_mant") * finest, float(finest.max())


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("target", ["loihi2", "spinnaker2"])
@pytest.mark.parametrize("name", nets())
def test_a_program_read_back_lowers_to_itself(name: str, target: str, bits: int) -> None:
    net, chip = nets()[name], get_target(target)
    assert isinstance(chip, Raises)
    trace = recorded(net, spikes_for(1, 4, 10, net.inputs[0].shape))
    settings = {p.name: {"weight_bits": float(bits)} for p in net.populations}
    program = chip.lower_with(net, trace, settings)  # type: ignore[attr-defined]
    meant = chip.raised(program, net)
    again: Program = chip.lower_with(meant, trace, settings)  # type: ignore[attr-defined]
    for before, after in zip(program.synapses, again.synapses, strict=True):
        nonzero = before.weight != 0
        ratio = after.weight[nonzero] * 2.0**after.exponent / before.weight[nonzero]
        assert np.array_equal(after.weight != 0, nonzero)
        assert np.ptp(ratio) == 0, before.name
    for before, after in zip(program.populations, again.populations, strict=True):
        values, finest = zip(*(bias(p, target) for p in (before, after)), strict=True)
        assert np.all(np.abs(values[0] - values[1]) <= finest[1] / 2), after.name


def test_synapses_that_are_not_one_connections_are_refused() -> None:
    net = nets()["convolution"]
    trace = recorded(net, spikes_for(1, 4, 10, (1, 4, 4)))
    chip = get_target("loihi2")
    program = chip.lower(net, trace)
    first = replace(program.synapses[0], name="joined")
    with pytest.raises(ModelError, match="not the weights of this one connection"):
        chip.raised(replace(program, synapses=(first, *program.synapses[1:])), net)  # type: ignore[attr-defined]
