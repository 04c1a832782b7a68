"""Processors as baselines, from batch curves that were measured on one network."""

from __future__ import annotations

import importlib.resources
import sys
from dataclasses import dataclass

from neurodeploy.costs.metrics import Metrics
from neurodeploy.quantity import Quantity

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True)
class Processor:
    """Dynamic energy and rate of inference of one network, by batch size.

    Attributes
    ----------
    operations: multiply-accumulates of that network.
    curve: batch size -> (J per inference, inferences per s).
    """

    title: str
    operations: int
    curve: dict[int, tuple[float, float]]
    source: str

    def energy(self, operations: float, batch: int) -> Quantity:
        """J per inference of `operations` multiply-accumulates at a measured batch size.

        E = P(batch) max(t(batch), operations / throughput), with the measured power P and time t
        per inference and the highest throughput of the curve: a smaller network costs as much as
        the measured one.  High: E grows in proportion to operations from the measured point on.
        Low: E at the lowest energy per operation of the curve, if that is less.

        Raises `KeyError` for a batch size that was not measured.
        """
        joules, rate = self.curve[batch]
        throughput = self.operations * max(rate for _, rate in self.curve.values())
        typical = joules * rate * max(1 / rate, operations / throughput)
        high = joules * max(1.0, operations / self.operations)
        best = min(joules for joules, _ in self.curve.values()) / self.operations
        low = min(typical, best * operations)
        source = f"{operations:,.0f} multiply-accumulates at batch size {batch}; {self.source}"
        return Quantity(low, typical, max(typical, high), "J", "derived", source)


def processors() -> tuple[Processor, ...]:
    """All processors with a measured curve."""
    file = importlib.resources.files("neurodeploy.costs.chips").joinpath("processors.toml")
    return tuple(
        Processor(
            item["title"],
            item["operations"],
            {
                batch: (1e-3 * joules, rate)
                for batch, joules, rate in zip(
                    item["batch"], item["millijoules"], item["per_second"], strict=True
                )
            },
            item["source"],
        )
        for item in tomllib.loads(file.read_text("utf-8")).values()
    )


def baselines(found: Metrics) -> dict[str, Quantity]:
    """Every processor at its smallest and largest batch size, by title.

    Operations are those of the same network run densely, step by step.
    """
    return {
        f"{processor.title}, batch {batch}, dynamic": processor.energy(found.dense.typical, batch)
        for processor in processors()
        for batch in (min(processor.curve), max(processor.curve))
    }
