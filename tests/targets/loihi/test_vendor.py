"""Programs as Lava networks: which process stands for what, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from neurodeploy.errors import InputError
from neurodeploy.network import InputPort
from neurodeploy.program import Neurons, Program, Synapses
from neurodeploy.targets.loihi.lava.job import Forget, LavaResult, LavaSynapse
from neurodeploy.targets.loihi.vendor import from_lava, to_lava


def sigma(name: str, depth: int, shape: tuple[int, ...] = (2,), **changes: Any) -> Neurons:
    return replace(Neurons(name, shape, depth, {}, np.ones(1), "sigma", True), **changes)


def joined(source: str, target: str, weight: Any = 1, **changes: Any) -> Synapses:
    weights = np.full(2, weight) if np.ndim(weight) == 0 else weight
    synapses = Synapses(f"{source}->{target}", source, target, "one-to-one", weights, 0, (2,), (2,),
                        graded=True)  # fmt: skip
    return replace(synapses, **changes)


def program(populations: tuple[Neurons, ...], *synapses: Synapses) -> Program:
    return Program("loihi2", (InputPort("in", (2,), True),), populations, synapses, ("a",), {})


def sent(samples: int = 2, steps: int = 3) -> dict[str, np.ndarray]:
    return {"in": np.arange(samples * steps * 2, dtype=np.int32).reshape(samples, steps, 2) - 4}


def made(program: Program, **inputs: int) -> dict[str, LavaSynapse]:
    return {s.name: s for s in to_lava(program, sent(**inputs), states=True).synapses}


def test_equal_depths_are_a_direct_connection() -> None:
    found = made(program((sigma("a", 0),), joined("in", "a"), joined("a", "a")))
    assert found["in->a"].kind == "direct"
    assert found["a->a"].kind == "dense"  # a loop always takes a step


@pytest.mark.parametrize(
    ("synapses", "said"),
    [
        (joined("in", "a", 2), "one-to-one, of weight 1"),
        (joined("in", "a", exponent=1), "without exponent and delay"),
        (joined("in", "a", delay=np.ones(1, np.int64)), "without exponent and delay"),
        (joined("in", "a", kind="dense", weight=np.ones((2, 2), np.int64)), "one-to-one"),
        (joined("in", "a", graded=False), "cannot make spikes of graded messages"),
    ],
)
def test_what_no_direct_connection_can_do_is_refused(synapses: Synapses, said: str) -> None:
    with pytest.raises(InputError, match=rf"in->a: .*{said}"):
        made(program((sigma("a", 0),), synapses))


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(InputError, match="a: Loihi has no neuron model 'alif'"):
        made(program((sigma("a", 1, model="alif"),), joined("in", "a")))


@pytest.mark.parametrize(
    ("weight", "mode", "bits"),
    [
        ([[-256, 254]], "mixed", 8),
        ([[0, 255]], "excitatory", 8),
        ([[0, -255]], "inhibitory", 8),
        ([[-3, 255]], "mixed", 9),
    ],
)
def test_weights_get_the_sign_mode_that_keeps_them(
    weight: list[list[int]], mode: str, bits: int
) -> None:
    dense = joined("in", "a", kind="dense", weight=np.array(weight), out_shape=(1,))
    found = made(program((sigma("a", 1, (1,)),), dense))["in->a"]
    assert (found.sign_mode, found.num_weight_bits) == (mode, bits)


def test_a_new_sample_forgets_the_one_before() -> None:
    """What was sent to a deeper population is still on its way, the rest is of the old sample."""
    one = np.ones(1, np.int64)
    populations = (sigma("a", 1), sigma("b", 2), sigma("c", 4))
    found = made(
        program(
            populations,
            joined("in", "a"),
            joined("a", "b"),
            joined("a", "c", delay=2 * one),
            joined("b", "b"),
            joined("c", "a"),
        )
    )
    assert found["in->a"].forget == Forget(0, 3, 1, kept=1)
    assert found["a->c"].forget == Forget(1, 3, 1, kept=3)
    assert found["b->b"].forget == Forget(2, 3, 1)
    assert found["c->a"].forget == Forget(1, 3, 4)


def test_delayed_integers_are_shifted_right_by_the_process_that_wraps_sums() -> None:
    delayed = joined("in", "a", exponent=-2, delay=np.ones(1, np.int64))
    assert made(program((sigma("a", 1),), delayed))["in->a"].kind == "sparse"
    assert made(program((sigma("a", 1),), replace(delayed, exponent=2)))["in->a"].kind == "dense"


def test_recordings_become_messages_and_spikes_in_the_time_of_the_model() -> None:
    case = program((sigma("a", 1),), joined("in", "a"))
    network = to_lava(case, sent(), states=True)
    assert network.steps == 7
    recorded = np.arange(14, dtype=np.int32).reshape(7, 2) - 3
    trace = from_lava(case, sent(), LavaResult({"a": {"s": recorded, "sigma": recorded}}, 1.0))
    assert trace.values["a"].dtype == np.int32
    np.testing.assert_array_equal(trace.values["a"].reshape(6, 2), recorded[1:])
    np.testing.assert_array_equal(trace.spikes["a"], trace.values["a"] != 0)
    np.testing.assert_array_equal(trace.spikes["in"], sent()["in"] != 0)
    np.testing.assert_array_equal(trace.values["in"], sent()["in"])
    np.testing.assert_array_equal(trace.states["a"]["sigma"].reshape(6, 2), recorded[1:])
