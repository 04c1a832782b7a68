"""Rewrites `Network -> Network` that keep the meaning, each verified before and after.

A pass is a frozen dataclass whose fields are its options; its meaning stands in its docstring.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from neurodeploy.errors import ModelError
from neurodeploy.network import Network
from neurodeploy.passes.merge_linear import MergeLinear

__all__ = ["TOLERANCE", "MergeLinear", "Pass", "rewrites", "run_passes"]

TOLERANCE = 1e-9
PROBES = 4


class Pass(Protocol):
    """A named rewrite."""

    @property
    def name(self) -> str:
        """For people and logs."""

    def run(self, network: Network) -> Network:
        """The rewritten network."""


def run_passes(network: Network, passes: Sequence[Pass]) -> Network:
    """Run `passes` in order; a result that does not mean the same is an error, not a result.

    Raises
    ------
    ModelError
        A pass changed a population or a connection's currents by more than 1e-9 relative.
    """
    for _, after in rewrites(network, passes):
        network = after
    return network


def rewrites(network: Network, passes: Sequence[Pass]) -> Iterator[tuple[str, Network]]:
    """Name and result of each pass; raises as `run_passes`."""
    for step in passes:
        after = step.run(network)
        _check_same(network, after, step.name)
        yield step.name, after
        network = after


def _check_same(before: Network, after: Network, name: str) -> None:
    """Compare the currents of every population for random spikes, and its parameters."""
    rng = np.random.default_rng(0)
    spikes = {
        node: (rng.random((PROBES, *shape)) < 0.5).astype(np.float64)
        for node, shape in before.shapes.items()
    }
    if before.shapes != after.shapes or before.outputs != after.outputs:
        raise ModelError("changed the populations or outputs", node=f"pass {name}")
    for old, new in zip(before.populations, after.populations, strict=True):
        unchanged = old.semantics == new.semantics and all(
            np.array_equal(getattr(old, key), getattr(new, key))
            for key in ("current_decay", "decay", "threshold", "bias", "leak")
        )
        currents = [
            sum((c.apply(spikes[c.source]) for c in net.incoming(old.name)), np.zeros(1))
            for net in (before, after)
        ]
        scale = max(float(np.abs(currents[0]).max()), 1e-300)
        if not unchanged or np.abs(currents[0] - currents[1]).max() > TOLERANCE * scale:
            raise ModelError(f"changed what reaches {old.name}", node=f"pass {name}")
