"""The chip, and small random programs with random traces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from neurodeploy.chip import Chip, load_chip
from neurodeploy.mapping import Placement, place
from neurodeploy.network import InputPort
from neurodeploy.program import IntArray, Neurons, Program, Synapses
from neurodeploy.targets.loihi.neurocores import Neurocores
from neurodeploy.trace import Trace

CHIP_FILE = Path(__file__).parents[2] / "targets" / "loihi" / "loihi2.toml"


class Case(NamedTuple):
    """A program, where it goes, and a run of it."""

    program: Program
    placement: Placement
    trace: Trace


@pytest.fixture(scope="session")
def chip() -> Chip:
    """Loihi 2."""
    return load_chip(CHIP_FILE)


@pytest.fixture(scope="session")
def case(chip: Chip) -> Callable[[int, float], Case]:
    """A random program by seed: image -> conv (resets itself) -> dense -> dense, and conv -> last.

    Small cores on small tiles, so that every population is on several, in rows and columns.  Its
    trace spikes at the given rate.
    """
    values = {"neurons_per_core": 7, "cores_per_tile": 1, "mesh_columns": 3}
    few = {name: replace(chip.limits[name], value=value) for name, value in values.items()}
    small = replace(chip, limits={**chip.limits, **few})

    def build(seed: int, rate: float = 0.2) -> Case:
        rng = np.random.default_rng(seed)
        program = _program(rng)
        steps, samples = int(rng.integers(1, 6)), int(rng.integers(1, 4))
        spikes = {
            name: (rng.random((samples, steps, *shape)) < rate).astype(np.uint8)
            for name, shape in program.shapes.items()
        }
        return Case(program, place(program, Neurocores(small)), Trace(spikes))

    return build


def _program(rng: np.random.Generator) -> Program:
    def weight(*shape: int) -> IntArray:
        return rng.choice(np.array([0, -2, 2]), shape)

    image, features = (2, 5, 4), (3, 3, 2)
    kernel = weight(3, 2, 3, 3)
    return Program(
        target="loihi2",
        inputs=(InputPort("in", image),),
        populations=(_neurons("conv", features, 1), _neurons("a", (5,), 2), _neurons("b", (9,), 3)),
        synapses=(
            Synapses("in->conv", "in", "conv", "conv2d", kernel, 0, image, features),
            Synapses("conv->conv", "conv", "conv", "one-to-one", weight(18), 0, features, features),
            Synapses("conv->a", "conv", "a", "dense", weight(5, 18), 0, features, (5,)),
            Synapses("a->b", "a", "b", "dense", weight(9, 5), 0, (5,), (9,)),
            Synapses("conv->b", "conv", "b", "dense", weight(9, 18), 0, features, (9,)),
        ),
        outputs=("b",),
        graph={},
    )


def _neurons(name: str, shape: tuple[int, ...], depth: int) -> Neurons:
    parameters = {key: np.array([100]) for key in ("du", "dv", "vth")}
    return Neurons(name, shape, depth, parameters, np.ones(1))
