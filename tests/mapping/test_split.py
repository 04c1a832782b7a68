"""A program split into one population for each core sends the same spikes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.mapping import joined, place, split
from neurodeploy.network import InputPort
from neurodeploy.program import Neurons, Program, Synapses
from neurodeploy.simulator.engine import simulate
from neurodeploy.target import get_target
from neurodeploy.targets.loihi.neurocores import Neurocores
from tests.builders import small_program, spikes_for

IMAGE, FEATURES = (2, 6, 5), (4, 3, 3)


def lif(rng: np.random.Generator, name: str, shape: tuple[int, ...], depth: int) -> Neurons:
    parameters = {
        "du": np.array([rng.integers(0, 4096)]),
        "dv": rng.integers(0, 4096, shape),
        "vth": rng.integers(20, 90, shape),
        "bias_mant": rng.integers(-900, 900, shape),
        **{name: np.zeros(1, np.int64) for name in ("bias_exp", "u0", "v0")},
    }
    return Neurons(name, shape, depth, parameters, rng.uniform(1, 2, shape))


def recurrent_program(seed: int) -> Program:
    """Convolutions, grouped and not, loops within and between populations, and delays."""
    rng = np.random.default_rng(seed)

    def weight(*shape: int) -> np.ndarray:
        return 2 * rng.integers(-20, 30, shape) * (rng.random(shape) < 0.6)

    conv = Synapses(
        "in->a", "in", "a", "conv2d", weight(4, 2, 3, 3), 0, IMAGE, FEATURES, (2, 2), (1, 1)
    )
    grouped = Synapses(
        "a->b", "a", "b", "conv2d", weight(4, 2, 2, 2), 0, FEATURES, (4, 4, 4),
        padding=(1, 1), groups=2,
    )  # fmt: skip
    return Program(
        target="loihi2",
        inputs=(InputPort("in", IMAGE),),
        populations=(
            lif(rng, "a", FEATURES, 1), lif(rng, "b", (4, 4, 4), 2), lif(rng, "c", (7,), 3),
        ),
        synapses=(
            conv,
            Synapses("a->a", "a", "a", "one-to-one", weight(36), 1, FEATURES, FEATURES),
            Synapses("a.a", "a", "a", "dense", weight(36, 36), 0, FEATURES, FEATURES),
            grouped,
            Synapses("b->c", "b", "c", "dense", weight(7, 64), 0, (4, 4, 4), (7,),
                     delay=rng.integers(0, 4, (7, 64))),
            Synapses("c->c", "c", "c", "dense", weight(7, 7), 0, (7,), (7,), delay=np.array([2])),
            Synapses("c->b", "c", "b", "dense", weight(64, 7), 0, (7,), (4, 4, 4)),
            Synapses("c.c", "c", "c", "one-to-one", weight(7), 0, (7,), (7,)),
        ),
        outputs=("b", "c"),
        graph={},
    )  # fmt: skip


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), neurons=st.integers(1, 40))
def test_a_split_program_sends_the_same_spikes(
    seed: int, neurons: int, with_limits: Callable[..., Neurocores]
) -> None:
    program = recurrent_program(seed)
    placement = place(program, with_limits(neurons_per_core=neurons))
    apart = split(program, placement)
    assert len(apart.populations) == placement.cores
    machine = get_target("loihi2").machine
    inputs = spikes_for(seed, 2, 12, IMAGE, 0.3)
    expected = simulate(program, inputs, machine)
    found = joined(simulate(apart, inputs, machine), program, placement)
    for name in program.shapes:
        np.testing.assert_array_equal(found.spikes[name], expected.spikes[name], name)


def test_whole_channels_stay_convolutions(with_limits: Callable[..., Neurocores]) -> None:
    program = recurrent_program(1)
    placement = place(program, with_limits(neurons_per_core=36))
    halves = {**placement.core, "a": np.repeat([0, 1], 18), "b": np.repeat([2, 3], 32)}
    apart = split(program, replace(placement, mapped=replace(placement.mapped, core=halves)))
    kinds = {s.name: (s.kind, s.weight.shape) for s in apart.synapses}
    assert kinds["in->a.0"] == ("conv2d", (2, 2, 3, 3))
    assert kinds["a.0->b.0"] == ("conv2d", (2, 2, 2, 2))
    assert "a.0->b.1" not in kinds  # another group
    assert [p.shape for p in apart.populations[:2]] == [(2, 3, 3), (2, 3, 3)]


@pytest.mark.parametrize("target", ["loihi2", "loihi1"])
def test_a_compiled_program_may_be_split(
    target: str, with_limits: Callable[..., Neurocores]
) -> None:
    _, program, spikes = small_program()
    placement = place(program, with_limits(neurons_per_core=5))
    assert placement.cores > 16
    machine = get_target(target).machine
    whole = simulate(program, spikes, machine)
    found = joined(simulate(split(program, placement), spikes, machine), program, placement)
    for population in program.populations:
        assert whole.spikes[population.name].any()
        np.testing.assert_array_equal(found.spikes[population.name], whole.spikes[population.name])
