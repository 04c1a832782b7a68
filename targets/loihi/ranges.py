"""What a program says of u and v of its populations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from numpy.typing import NDArray

from neurodeploy.bounds import ranges
from neurodeploy.linear import FloatArray
from neurodeploy.program import Neurons, Range, Synapses
from neurodeploy.targets.loihi import bounds
from neurodeploy.targets.loihi.arithmetic import bias_current
from neurodeploy.targets.loihi.machine import LoihiMachine
from neurodeploy.targets.loihi.reach import STATE_UNIT, VTH_LIMIT, Mode


def certify(
    neurons: Neurons,
    synapses: Iterable[Synapses],
    states: Mapping[str, FloatArray],
    mode: Mode,
    *,
    spiking: bool = True,
    messages: Mapping[str, tuple[int, int]] = MappingProxyType({}),
) -> tuple[Range, ...]:
    """Ranges of u and v from the integer parameters: `bounds.registers`.

    Where some input may lead beyond, the extremes of the reference run on the calibration data, in
    chip units, marked as not proven.

    Parameters
    ----------
    synapses: all that end at the population.
    states: reference potentials `v` and input currents `x` on the calibration data.
    mode: which register is the membrane.
    spiking: False where the threshold register is as high as it can be, and v may not pass it.
    messages: by source, the least and the greatest that it sends; else spikes.
    """
    seen = _seen(neurons, states, "v" if mode == "current" else "x") if states else {}
    found = ranges(neurons, synapses, LoihiMachine(), bounds, seen, messages)
    return found if spiking else tuple(_below_threshold(item, seen) for item in found)


def _below_threshold(item: Range, seen: Mapping[str, tuple[float, float]]) -> Range:
    most = VTH_LIMIT * STATE_UNIT
    if item.register != "v":
        return item
    if item.high <= most:
        return replace(item, limit_high=most)
    low, high = seen.get("v", (item.low, item.high))
    return replace(item, low=low, high=high, limit_high=most, proven=False)


def _seen(
    neurons: Neurons, states: Mapping[str, FloatArray], drive: str
) -> dict[str, tuple[float, float]]:
    """Extremes of the reference run on the calibration data, in chip units.

    `drive` names the state that u holds; u lacks the bias, which v adds.
    """
    bias = bias_current(neurons.parameters["bias_mant"], neurons.parameters["bias_exp"])

    def each(values: NDArray[Any]) -> NDArray[Any]:
        return values if values.size == 1 else values.reshape(neurons.shape)

    unit = each(neurons.unit.reshape(-1))
    u, v = states[drive] * unit - each(bias), states["v"] * unit
    return {"u": (float(u.min()), float(u.max())), "v": (float(v.min()), float(v.max()))}
