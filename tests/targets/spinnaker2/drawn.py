"""Random populations and programs for SpiNNaker2."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.linear import Conv2d
from neurodeploy.network import InputPort
from neurodeploy.program import Neurons, Program, Synapses
from neurodeploy.targets.spinnaker2.models import MODELS


def neurons(name: str, shape: tuple[int, ...], model: str, depth: int = 1, **changes: Any) -> Any:
    """A population with plain registers; `changes` replace some."""
    values: dict[str, Any] = {
        "alpha_decay": 0.9, "i_offset": 0.0, "threshold": 8.0, "v_init": 0.0, "v_reset": 0.0,
        "exc_decay": 0.5, "inh_decay": 0.25,
    }  # fmt: skip
    registers: dict[str, NDArray[Any]] = {
        key: np.array([values[key]], np.float32) for key in MODELS[model].registers
    }
    registers["reset"] = np.array([0])
    if MODELS[model].filtered:
        registers["t_refrac"] = np.array([0])
    for key, value in changes.items():
        dtype = np.int64 if key in ("reset", "t_refrac") else np.float32
        registers[key] = np.atleast_1d(np.asarray(value, dtype))
    return Neurons(name, shape, depth, registers, np.ones(1), model)


def random_neurons(rng: np.random.Generator, name: str, shape: tuple[int, ...], model: str,
                   depth: int) -> Neurons:  # fmt: skip
    """Decays, thresholds and resets of many kinds, for one or for every neuron."""

    def some(low: float, high: float) -> Any:
        return rng.uniform(low, high, shape if rng.random() < 0.5 else 1)

    return neurons(
        name, shape, model, depth,
        alpha_decay=some(0, 1), i_offset=some(-0.5, 0.5), threshold=some(3, 12),
        v_init=some(-2, 0.5), v_reset=some(-1, 1), reset=rng.integers(2),
        **({"exc_decay": some(0, 1), "inh_decay": some(0, 1)} if MODELS[model].filtered else {}),
    )  # fmt: skip


def connect(
    rng: np.random.Generator,
    source: tuple[str, tuple[int, ...]],
    target: Neurons,
    kind: Any,
    wait: int = 0,
) -> list[Synapses]:
    """Synapses onto all ports of a population, with delays of at least `wait` if it has any."""
    model, (name, shape) = MODELS[target.model], source
    made = []
    for port in model.ports:
        low, high = model.weights if port == "current" else (0, model.weights[1])
        delay, geometry = np.array([wait]), {}
        if kind == "conv2d":
            weight = rng.integers(low, high + 1, (target.shape[0], shape[0], 3, 3))
            geometry = {"padding": (1, 1)}
            assert Conv2d(weight.astype(float), shape, **geometry).out_shape == target.shape
        elif kind == "dense":
            weight = rng.integers(low, high + 1, (target.size, int(np.prod(shape))))
            if model.delays:
                delay = rng.integers(wait, model.delays + 1, weight.shape)
        else:
            weight = rng.integers(low, high + 1, target.size)
        made.append(
            Synapses(
                f"{name}->{target.name}, {port}", name, target.name, kind, weight, 0, shape,
                target.shape, delay=delay, port=port, **geometry,
            )
        )  # fmt: skip
    return made


def random_program(seed: int) -> Program:
    """Two or three layers of any models, with recurrence, delays and a connection that skips."""
    rng = np.random.default_rng(seed)
    dense = [name for name in MODELS if name != "lif_conv2d"]
    image, found = (2, 5, 5), []
    if rng.random() < 0.5:
        first = random_neurons(rng, "a", (3, 5, 5), "lif_conv2d", 1)
        found += connect(rng, ("input", image), first, "conv2d")
    else:
        first = random_neurons(rng, "a", (2, 5, 5), str(rng.choice(dense)), 1)
        kind = str(rng.choice(["dense", "one-to-one"]))
        found += connect(rng, ("input", image), first, kind)
        found += connect(rng, ("a", first.shape), first, str(rng.choice(["dense", "one-to-one"])))
    second = random_neurons(rng, "b", (150,), str(rng.choice(dense)), 2)
    found += connect(rng, ("a", first.shape), second, "dense")
    if MODELS[second.model].delays:
        found += connect(rng, ("input", image), second, "dense", wait=1)
    if MODELS[first.model].delays:
        found += connect(rng, ("b", second.shape), first, "dense")
    found += connect(rng, ("b", second.shape), second, "one-to-one")
    return Program("spinnaker2", (InputPort("input", image),), (first, second), tuple(found),
                   ("b",), {})  # fmt: skip
