"""`Trace`: what happened in a run, and how inputs of a run are checked."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from neurodeploy.errors import InputError
from neurodeploy.grid import Grid
from neurodeploy.linear import Shape

Spikes = NDArray[np.uint8]
Messages = NDArray[Any]
"""Spikes (uint8), or what a graded input or population sends (int32)."""
UINT8_MAX = 255
MAX_MAGNITUDE = 1e30
"""Of an analog value."""


@runtime_checkable
class Counting(Protocol):
    """Spikes that know a faster way to be counted than to be looked at one by one."""

    def counts(self, name: str) -> NDArray[np.int64]:
        """Spikes per sample and neuron of `name`: int64 (samples, *shape)."""


@dataclass(frozen=True, eq=False)
class Trace:
    """Spikes of every input and population, and states where asked for.

    Time is the model's: step t of a population is when it processes input step t, on whatever
    hardware step that was.

    Attributes
    ----------
    spikes: name -> uint8 (samples, steps, *shape), 0 or 1; the number of spikes where a neuron may
        send several in one step; 1 where a graded message is not 0.
    states: population -> state name -> array (samples, steps, *shape), after each step.
    values: name -> array (samples, steps, *shape), for inputs that are analog, for outputs
        that are read as membrane potential, and, int32, for what sends graded messages.
    """

    spikes: Mapping[str, Spikes]
    states: Mapping[str, Mapping[str, NDArray[Any]]] = field(default_factory=dict)
    values: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    @property
    def samples(self) -> int:
        """Number of samples."""
        return len(next(iter(self.spikes.values())))

    @property
    def steps(self) -> int:
        """Number of time steps per sample."""
        return int(next(iter(self.spikes.values())).shape[1])

    def counts(self, name: str) -> NDArray[np.int64]:
        """Spikes per sample and neuron of `name`: int64 (samples, *shape)."""
        if isinstance(self.spikes, Counting):
            return self.spikes.counts(name)
        return count_spikes(self.spikes[name])

    def first(self, samples: int) -> Trace:
        """The trace of the first samples."""
        if samples >= self.samples:
            return self
        return Trace(
            {name: self.spikes[name][:samples] for name in self.spikes},
            {
                name: {key: state[:samples] for key, state in states.items()}
                for name, states in self.states.items()
            },
            {name: array[:samples] for name, array in self.values.items()},
        )

    @classmethod
    def of_sent(cls, sent: Mapping[str, Messages]) -> Trace:
        """The trace of what inputs and populations send: the inverse of `sent`."""
        values = {name: array for name, array in sent.items() if array.dtype == np.int32}
        spikes = {name: (array != 0).view(np.uint8) for name, array in values.items()}
        return cls({**sent, **spikes}, values=values)

    def sent(self, name: str) -> Messages:
        """What `name` sends, (samples, steps, *shape): int32 where it is graded, else spikes."""
        values = self.values.get(name)
        return self.spikes[name] if values is None or values.dtype != np.int32 else values

    def decisions(self, output: str) -> NDArray[np.int64]:
        """Class per sample: the output neuron with most spikes, the first of equals.

        Where the output sends graded messages or is read as membrane potential, the one with the
        highest mean of these.
        """
        read = self.values.get(output)
        counts = self.counts(output) if read is None else read.sum(axis=1)
        return np.asarray(counts.reshape(len(counts), -1).argmax(axis=1))


def count_spikes(spikes: Spikes) -> NDArray[np.int64]:
    """Spikes per sample and neuron, int64 (samples, *shape), of uint8 (samples, steps, *shape)."""
    total = np.zeros((len(spikes), *spikes.shape[2:]), np.int64)
    for start in range(0, spikes.shape[1], UINT8_MAX):  # sums of bytes are fast
        total += spikes[:, start : start + UINT8_MAX].sum(axis=1, dtype=np.uint8)
    return total


def concatenate(traces: list[Trace]) -> Trace:
    """Join traces of consecutive samples into one."""
    first = traces[0]
    spikes = {name: np.concatenate([t.spikes[name] for t in traces]) for name in first.spikes}
    states = {
        name: {key: np.concatenate([t.states[name][key] for t in traces]) for key in keys}
        for name, keys in first.states.items()
    }
    values = {name: np.concatenate([t.values[name] for t in traces]) for name in first.values}
    return Trace(spikes, states, values)


def check_names(names: Iterable[str], known: Sequence[str]) -> None:
    """Raise `InputError` for a population that does not exist."""
    for name in names:
        if name not in known:
            raise InputError(
                f"no population is called {name!r}", hint=f"There are: {', '.join(known)}."
            )


Inputs = NDArray[Any] | Mapping[str, NDArray[Any]]
_NO_GRIDS: Mapping[str, Grid] = MappingProxyType({})


def check_inputs(
    inputs: Inputs,
    ports: Mapping[str, Shape],
    graded: Container[str] = (),
    grids: Mapping[str, Grid] = _NO_GRIDS,
) -> dict[str, Messages]:
    """Return input spikes per port as uint8 (samples, steps, *shape), and graded input as int32.

    Parameters
    ----------
    inputs:
        One array for a network with one input, else a mapping from port name to array; each
        (samples, steps, *port shape), of any numeric dtype, every value 0 or 1.
    graded:
        Ports that take any integers of 32 bits.
    grids:
        Of graded ports whose values are analog here: they become integers.

    Raises
    ------
    InputError
        A missing or unknown port, a wrong shape or dtype, a value that is not a spike or no
        integer of 32 bits, or that lies outside its grid.
    """
    found = check_currents(inputs, ports)
    for name, array in found.items():
        if name in grids:
            found[name] = grids[name].quantise(array, name)
        elif name in graded:
            with np.errstate(invalid="ignore"):  # what 32 bits cannot hold differs afterwards
                found[name] = array.astype(np.int32)
            wrong = int(np.count_nonzero(found[name] != array))
            if wrong:
                raise InputError(
                    f"{wrong} of {array.size} values are not integers of 32 bits", node=name
                )
        elif array.dtype != np.uint8:
            wrong = int(np.count_nonzero((array != 0) & (array != 1)))
            raise InputError(
                f"{wrong} of {array.size} values are neither 0 nor 1",
                node=name,
                hint="Encode analog values as spikes first (rate, latency or delta code), or "
                "compile for a chip that takes graded messages, as Loihi 2 does, with calibration "
                "data that holds such values.",
            )
    return found


def check_currents(inputs: Inputs, ports: Mapping[str, Shape]) -> dict[str, NDArray[Any]]:
    """As `check_inputs`, but ports may hold any finite values.

    These are returned as float64, and as uint8 where all are 0 or 1.
    """
    if not isinstance(inputs, Mapping):
        if len(ports) != 1:
            raise InputError(
                f"the network has {len(ports)} inputs ({', '.join(ports)})",
                hint="Give a mapping from input name to array.",
            )
        inputs = {next(iter(ports)): inputs}
    if set(inputs) != set(ports):
        raise InputError(
            f"inputs are named {', '.join(map(str, inputs))}, the network's {', '.join(ports)}"
        )
    result = {name: _check_port(name, inputs[name], shape) for name, shape in ports.items()}
    if len({array.shape[:2] for array in result.values()}) != 1:
        raise InputError("the inputs differ in their number of samples or steps")
    return result


def _check_port(name: str, values: NDArray[Any], shape: Shape) -> NDArray[Any]:
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InputError(f"not an array ({error})", node=name) from error
    expected = "(samples, steps, " + ", ".join(map(str, shape)) + ")"
    if array.dtype.kind not in "buif":
        raise InputError(f"dtype {array.dtype} is not numeric", node=name)
    if array.ndim != len(shape) + 2 or array.shape[2:] != shape:
        raise InputError(f"shape {array.shape}, expected {expected}", node=name)
    if 0 in array.shape:
        raise InputError(f"empty array of shape {array.shape}", node=name)
    if (array.dtype.kind in "bu" and array.max() <= 1) or np.all((array == 0) | (array == 1)):
        return np.ascontiguousarray(array, dtype=np.uint8)
    bad = int(np.count_nonzero(~np.isfinite(array)))
    if bad:
        raise InputError(f"{bad} of {array.size} values are not finite", node=name)
    largest = max(float(array.max()), -float(array.min()))
    if not 1 / MAX_MAGNITUDE <= largest <= MAX_MAGNITUDE:  # products overflow or vanish
        limits = f"{1 / MAX_MAGNITUDE:g} to {MAX_MAGNITUDE:g}"
        raise InputError(f"its largest value is {largest:g}, expected {limits}", node=name)
    return np.ascontiguousarray(array, dtype=np.float64)


def check_labels(labels: NDArray[Any] | None, samples: int) -> NDArray[np.int64] | None:
    """Labels as int64; raises `InputError` where they do not fit the samples."""
    if labels is None:
        return None
    array = np.asarray(labels)
    if array.shape != (samples,) or array.dtype.kind not in "iu":
        raise InputError(
            f"labels have shape {array.shape} and dtype {array.dtype}, expected ({samples},) "
            "integers"
        )
    return array.astype(np.int64)
