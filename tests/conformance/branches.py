"""Networks with branches, loops, delays and readouts, with parameters that grids keep."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from neurodeploy.frontends.nir import load
from neurodeploy.linear import FloatArray
from neurodeploy.network import Network
from neurodeploy.semantics import Semantics, to_metadata
from tests.builders import DT, NONE, SUBTRACT, ZERO, conv, cuba, lif, merged, network


def joined(
    shape: tuple[int, ...], nodes: dict[str, nir.NIRNode], *more: tuple[str, str]
) -> Network:
    """A chain of `nodes` from input to output, with `more` edges; loose nodes are named `_...`."""
    chain = ["input", *(name for name in nodes if not name.startswith("_")), "output"]
    last = next(n for n in reversed(nodes.values()) if hasattr(n, "r"))
    ends = {"input": nir.Input(np.array(shape)), "output": nir.Output(np.array(last.r.shape))}
    graph = nir.NIRGraph({**ends, **nodes}, [*pairwise(chain), *more], type_check=False)
    return merged(load(graph))


def weights(rng: np.random.Generator, *shape: int) -> FloatArray:
    """On the grid of a threshold of 1, mostly excitatory."""
    return rng.integers(-20, 40, shape) / 64


def neurons(*shape: int, meaning: Semantics = SUBTRACT) -> nir.LIF:
    return lif(np.full(shape, 0.75), semantics=meaning)


def residual_dense(rng: np.random.Generator) -> Network:
    """Two layers and none, one, or a layer of its own beside them."""
    nodes = {
        "a": nir.Linear(weights(rng, 8, 6)), "lif1": neurons(8),
        "b": nir.Linear(weights(rng, 8, 8)), "lif2": neurons(8, meaning=ZERO),
        "c": nir.Linear(weights(rng, 8, 8)), "lif3": neurons(8),
        "_skip": nir.Linear(weights(rng, 8, 6)),
    }  # fmt: skip
    edges = ("lif1", "lif3"), ("input", "_skip"), ("_skip", "lif3")
    return joined((6,), nodes, *edges)


def residual_conv(rng: np.random.Generator) -> Network:
    """As ResNet: the same image beside two convolutions, and the input through one of its own."""
    nodes = {
        "a": conv(weights(rng, 2, 1, 3, 3), padding=1), "lif1": neurons(2, 5, 6),
        "b": conv(weights(rng, 3, 2, 3, 3), padding=1), "lif2": neurons(3, 5, 6),
        "c": conv(weights(rng, 2, 3, 3, 3), padding=1), "lif3": neurons(2, 5, 6),
        "_skip": conv(weights(rng, 2, 1, 1, 1)),
    }  # fmt: skip
    edges = ("lif1", "lif3"), ("input", "_skip"), ("_skip", "lif3")
    return joined((1, 5, 6), nodes, *edges)


def recurrent(rng: np.random.Generator) -> Network:
    """All to all and one to one, with snnTorch's reset, before a layer without a loop."""
    nodes = {
        "a": nir.Linear(weights(rng, 8, 6)), "lif1": neurons(8),
        "b": nir.Linear(weights(rng, 4, 8)), "lif2": neurons(4),
        "_all": nir.Linear(weights(rng, 8, 8) / 2),
        "_one": nir.Scale(np.array([0.5, -0.25, 0.125, -0.5])),
    }  # fmt: skip
    edges = ("lif1", "_all"), ("_all", "lif1"), ("lif2", "_one"), ("_one", "lif2")
    return joined((6,), nodes, *edges)


def recurrent_conv(rng: np.random.Generator) -> Network:
    nodes = {
        "a": conv(weights(rng, 2, 1, 3, 3), padding=1), "lif1": neurons(2, 4, 4),
        "_back": conv(weights(rng, 2, 2, 3, 3) / 2, padding=1),
    }  # fmt: skip
    return joined((1, 4, 4), nodes, ("lif1", "_back"), ("_back", "lif1"))


def filtered(rng: np.random.Generator) -> Network:
    """Synaptic currents in a loop, as CubaLIF with recurrent weights."""
    nodes = {
        "a": nir.Affine(weights(rng, 8, 6) / 2, np.full(8, 1 / 64)),
        "lif1": cuba(np.full(8, 0.5), np.full(8, 0.75)),
        "_all": nir.Linear(weights(rng, 8, 8) / 4),
    }
    return joined((6,), nodes, ("lif1", "_all"), ("_all", "lif1"))


def loop_of_two(rng: np.random.Generator) -> Network:
    """Two synapses and two steps of delay."""
    nodes = {
        "a": nir.Linear(weights(rng, 6, 6)), "lif1": neurons(6),
        "b": nir.Linear(weights(rng, 4, 6)), "lif2": neurons(4),
        "_back": nir.Linear(weights(rng, 6, 4)), "_late": wait(np.full(6, 2)),
    }  # fmt: skip
    return joined((6,), nodes, ("lif2", "_back"), ("_back", "_late"), ("_late", "lif1"))


def delays(rng: np.random.Generator) -> Network:
    """One per neuron, and one for a whole image."""
    nodes = {
        "a": conv(weights(rng, 2, 1, 3, 3), padding=1), "late": wait(np.full((2, 4, 4), 2)),
        "lif1": neurons(2, 4, 4),
        "flat": nir.Flatten({"input": np.array([2, 4, 4])}, 0, -1),
        "each": wait(rng.integers(0, 9, 32)),
        "b": nir.Linear(weights(rng, 5, 32) / 2), "lif2": neurons(5),
    }  # fmt: skip
    return joined((1, 4, 4), nodes)


def wait(steps: NDArray[Any]) -> nir.Delay:
    return nir.Delay(steps * DT)


NETWORKS = (
    residual_dense, residual_conv, recurrent, recurrent_conv, filtered, loop_of_two, delays,
)  # fmt: skip


def leaky_integrator(n: int) -> nir.LI:
    beta = np.full(n, 0.875)
    entries = to_metadata(semantics=NONE.to_dict())
    return nir.LI(DT / (1 - beta), 1 / (1 - beta), np.zeros(n), metadata=entries)


def filtered_integrator(n: int) -> nir.CubaLI:
    alpha, beta = np.full(n, 0.5), np.full(n, 0.875)
    entries = to_metadata(semantics=NONE.to_dict())
    return nir.CubaLI(
        tau_syn=DT / (1 - alpha), tau_mem=DT / (1 - beta), r=1 / (1 - beta), v_leak=np.zeros(n),
        w_in=1 / (1 - alpha), metadata=entries,
    )  # fmt: skip


def without_leak(n: int) -> nir.I:
    return nir.I(np.full(n, 1 / DT), metadata=to_metadata(semantics=NONE.to_dict()))


def read(meaning: Semantics) -> Callable[[int], nir.LIF]:
    """Neurons that spike, of which the potential is read."""
    entries = to_metadata(semantics=meaning.to_dict(), readout="membrane")
    return lambda n: lif(np.full(n, 0.875), semantics=meaning, metadata=entries)


READOUTS = {
    "leaky": (leaky_integrator, True),
    "with a synaptic current": (filtered_integrator, True),
    "without leak": (without_leak, False),
    "reset to zero": (read(ZERO), True),
    "subtracting": (read(SUBTRACT), True),
}


def readout(make: Callable[[int], nir.NIRNode]) -> Network:
    rng = np.random.default_rng(3)
    return network(
        (6,),
        a=nir.Linear(weights(rng, 12, 6)),
        hidden=neurons(12),
        b=nir.Affine(weights(rng, 5, 12), np.arange(-2, 3) / 64),
        out=make(5),
    )
