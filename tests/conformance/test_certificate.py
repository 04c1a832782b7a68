"""What a certificate refutes overflows in Lava itself, at the same step and to the same value."""

from __future__ import annotations

import numpy as np
import pytest

from neurodeploy.equivalence.certificate import certify
from neurodeploy.simulator.engine import simulate
from neurodeploy.target import get_target
from tests.overflowing import overflowing


@pytest.mark.parametrize("sign", [1, -1])
def test_the_refuting_input_overflows_in_lava(sign: int) -> None:
    program, target = overflowing(sign), get_target("loihi2")
    found = certify(program, target).of("n", "u").overflow
    assert found is not None
    lava = target.backends["lava"].run(program, found.inputs, timeout=300, states=True)
    u = lava.states["n"]["u"][0, :, found.neuron[0]]
    ours = simulate(program, found.inputs, target.machine, record=["n"]).states["n"]["u"]
    assert np.array_equal(u, ours[0, :, found.neuron[0]])
    assert np.all(np.diff(sign * u[:-1]) > 0)  # it grows in each step
    assert u[found.step] == found.value - sign * 2**24  # and wraps in the last
    assert sign * found.value > 2**23
