"""`ChipModule` in Lava itself: everything sent and every state of random CUBA LIF networks."""

from __future__ import annotations

import numpy as np
import torch

from neurodeploy.torch import ChipModule
from tests.conformance.lava_programs import random_case
from tests.conformance.lava_random import in_lava


def test_random_networks_equal_lava() -> None:
    cases = [random_case(seed, "lif", ("lif",)) for seed in range(12)]
    values = 0
    for case, lava in zip(cases, in_lava(cases), strict=True):
        module = ChipModule(case.program)
        given = {n: torch.from_numpy(x.astype(np.float64)) for n, x in case.inputs.items()}
        sent, states = module.forward_all(given), module.states(given)
        for population in case.program.populations:
            name = population.name
            assert np.array_equal(sent[name].detach().numpy(), lava.spikes[name]), case.seed
            for state in ("u", "v"):
                expected = lava.states[name][state]
                assert np.array_equal(states[name][state].numpy(), expected), (case.seed, state)
                values += expected.size
    assert values > 5_000
