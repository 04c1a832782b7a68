"""Where a model's execution semantics and SpiNNaker2's part, and how each difference is lowered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.errors import SemanticsError
from neurodeploy.linear import FloatArray
from neurodeploy.network import Network, Population
from neurodeploy.program import IntArray, Lowering
from neurodeploy.targets.spinnaker2.options import Options

ADVICE = 'Use reset_mechanism="zero" with reset_delay=False.'


def filtered(population: Population) -> bool:
    """Whether the neurons have synaptic currents that decay."""
    return bool(np.any(population.current_decay))


def single(values: NDArray[Any]) -> FloatArray:
    """The values that float32 registers hold, in float64."""
    return values.astype(np.float32).astype(np.float64)


def owed(population: Population) -> FloatArray | None:
    r"""What the chip subtracts too much by the next step, per neuron, or None for nothing.

    The chip subtracts :math:`\theta` at once, so :math:`\alpha\theta` is missing one step later.
    In the model :math:`d\theta` is, with :math:`d = a` for delayed subtraction of :math:`a\theta`,
    :math:`d = a\alpha` for immediate subtraction, :math:`d = 0` for none.  A self-synapse of weight
    :math:`(\alpha - d)\theta` supplies the difference: this is its negative
    :math:`(d - \alpha)\theta`, in units of the model.
    """
    semantics, decay = population.semantics, single(population.decay)
    if semantics.reset == "zero" or not population.spiking:
        return None
    if semantics.reset == "none":
        kept = np.zeros(population.shape)
    elif semantics.reset_timing == "immediate":
        kept = semantics.reset_amount * decay
    else:
        kept = np.full(population.shape, semantics.reset_amount)
    amount = (kept - decay) * population.threshold
    return amount if np.any(amount) else None


def refused(network: Network, population: Population, options: Options) -> Iterator[SemanticsError]:
    """What of a population cannot be lowered, all of it."""
    semantics, name = population.semantics, population.name
    timing = semantics.reset_timing
    if (semantics.reset, timing) in (("zero", "after-input"), ("subtract", "held")):
        known = "reset_delay=False" if semantics.reset == "zero" else "reset_delay=True"
        yield SemanticsError(
            f"cannot run on SpiNNaker2: reset {semantics.reset}, {timing}",
            node=name,
            hint=f"Train or export with {known}.",
        )
    elif semantics.reset == "subtract" and timing not in ("immediate", "delayed"):
        yield SemanticsError(f"subtraction with timing {timing!r} is not defined", node=name)
    elif filtered(population) and owed(population) is not None:
        text = (
            "its reset is none that the chip has, and a self-synapse that makes up for it would "
            "pass the synaptic current"
        )
        if not (options.nearest_reset or options.upstream):
            yield SemanticsError(text, node=name, hint=f"{ADVICE} Or lower it with nearest_reset.")
    for field, value in (("refractory", 0), ("edge_delay", 0), ("spikes_per_step", 1)):
        found = getattr(semantics, field)
        if found != value:
            yield SemanticsError(
                f"cannot run on SpiNNaker2: {field} is {found} (chip: {value})", node=name
            )
    if not population.spiking and any(c.source == name for c in network.connections):
        yield SemanticsError(
            "its membrane potential is sent to other neurons, which take spikes",
            node=name,
            hint="Give it a threshold, or let it be an output only.",
        )
    if population.readout == "membrane" and population.spiking and semantics.reset == "zero":
        yield SemanticsError(
            "its potential is read, but the chip keeps none from before a reset to zero",
            node=name,
            hint='Use reset_mechanism="none" or "subtract" for the output.',
        )


def graded(network: Network) -> Iterator[SemanticsError]:
    """Inputs that send integers."""
    for port in network.inputs:
        if port.graded:
            yield SemanticsError(
                "sends integers, SpiNNaker2's synapses take spikes", node=port.name
            )


def resolve(population: Population, options: Options, own: IntArray) -> Iterator[Lowering]:
    """How each difference in semantics is lowered; none may be `refused`.

    `own`: weights of the self-synapses.
    """
    semantics, name = population.semantics, population.name
    if population.spiking:
        yield _reset(population, options, own)
        if semantics.comparison == ">" and not options.upstream:
            text = "the chip fires at the threshold too: no float32 lies between it and the model's"
            yield Lowering(name, "comparison", "exact", text)
        elif semantics.comparison == ">":
            text = "the chip fires at the threshold too"
            yield Lowering(name, "comparison", "approximate", text)
    else:
        text = "the threshold is the largest float32, which no potential reaches"
        yield Lowering(name, "reset", "exact", text)
    if population.readout == "membrane":
        text = "the potential is recorded after each tick"
        if population.spiking:
            text += ", and the threshold added where there is a spike"
        yield Lowering(name, "readout", "exact", text)
    text = "a synapse takes one tick: each population runs a tick behind the one before it"
    yield Lowering(name, "edge_delay", "exact", text)
    yield Lowering(name, "rounding", "approximate", "states are float32, each operation rounded")


def _reset(population: Population, options: Options, own: IntArray) -> Lowering:
    semantics, name = population.semantics, population.name
    if semantics.reset == "zero":
        text = "to v_reset = 0"
        if semantics.reset_timing == "delayed":
            text += "; now or at the next step gives the same spikes"
        return Lowering(name, "reset", "exact", text)
    amount = owed(population)
    if amount is None:
        return Lowering(name, "reset", "exact", "by subtraction of the threshold, at once")
    if options.upstream or filtered(population):
        missing = float(np.abs(amount / population.threshold).max())
        text = f"the threshold is subtracted at once, which leaves {missing:.2g} of it out"
        return Lowering(name, "reset", "approximate", text)
    text = (
        f"the chip subtracts at once, and a self-synapse of weight {_span(own)} makes up the "
        "difference one step later"
    )
    return Lowering(name, "reset", "approximate" if options.nearest_reset else "exact", text)


def _span(values: IntArray) -> str:
    low, high = f"{values.min():g}", f"{values.max():g}"
    return low if low == high else f"{low} to {high}"
