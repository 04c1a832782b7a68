"""The source model's own spikes against the network that was made from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy import reference
from neurodeploy.equivalence.compare import (
    Cell,
    Layer,
    compare,
    differing,
    earliest,
    joined,
    totals,
)
from neurodeploy.errors import FileError
from neurodeploy.network import Network
from neurodeploy.trace import Trace

ROUNDING_MARGIN = 1e-5


@dataclass(frozen=True)
class Parting:
    """The first cell in which source and network differ, and the network's potential there."""

    cell: Cell
    expected_spike: bool
    potential: float
    threshold: float

    @property
    def margin(self) -> float:
        """Potential minus threshold, of the network."""
        return self.potential - self.threshold

    def __str__(self) -> str:
        cell = self.cell
        what = "spikes" if self.expected_spike else "stays silent"
        return (
            f"{cell.population}[{','.join(map(str, cell.neuron))}], sample {cell.sample}, step "
            f"{cell.step}: the source {what}, the network is at {self.potential:.9g}, "
            f"{self.margin:+.2g} from its threshold"
        )


@dataclass(frozen=True)
class Comparison:
    """How equal a network is to the model that it was made from, on given inputs.

    Source models compute in float32 and sum in another order, so a potential that ties with its
    threshold to within rounding may fall either way, and everything downstream with it.

    Attributes
    ----------
    layers: populations whose spikes were compared, end to end.
    samples, steps: of the inputs.
    ties: neurons, over all samples, that part where |v - threshold| <= 1e-5 thresholds.  Each
        answers to the source's own spikes here, so nothing is inherited from other neurons.
    unexplained: neurons that part elsewhere.
    first: the first difference end to end.
    """

    layers: tuple[Layer, ...]
    samples: int
    steps: int
    ties: int
    unexplained: int
    first: Parting | None

    @property
    def passed(self) -> bool:
        """Whether rounding ties explain every difference."""
        return self.unexplained == 0

    def __str__(self) -> str:
        different, cells = totals(self.layers)
        silent = [layer.population for layer in self.layers if not layer.expected_spikes]
        text = f"every spike of {cells:,} cells is equal"
        if self.unexplained:
            text = (
                f"{different:,} of {cells:,} cells differ, and {self.unexplained:,} neurons part "
                "away from any tie"
            )
        elif different:
            text = (
                f"{different:,} of {cells:,} cells differ, all downstream of {self.ties:,} "
                f"rounding tie{'s' * (self.ties != 1)}"
            )
        return f"{text}; no spike in {', '.join(silent)}" if silent else text

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Comparison:
        """Read plain data back; raises `FileError` where it is none of ours."""
        try:
            layers = [Layer.from_dict(entry) for entry in data["layers"]]
            first = data["first"]
            if first is not None:
                first = Parting(**{**first, "cell": _cell(first["cell"])})
            return cls(**{**data, "layers": tuple(layers), "first": first})
        except (KeyError, TypeError, ValueError) as error:
            raise FileError(f"the comparison with its source cannot be read ({error})") from error


def _cell(data: Mapping[str, Any]) -> Cell:
    return Cell(**{**data, "neuron": tuple(data["neuron"])})


def compare_import(
    network: Network, inputs: Mapping[str, NDArray[Any]], source: Trace
) -> Comparison:
    """Run `network` on `inputs` and compare the spikes of each population with those of `source`.

    Parameters
    ----------
    inputs: spikes or currents (samples, steps, *shape) by input, as the source got them.
    source: its spikes, of every population that has thresholds.

    Raises
    ------
    InputError
        A population is missing, or shapes do not fit.
    """
    return comparison(network, inputs, import_parts(network, inputs, source))


@dataclass(frozen=True)
class Parts:
    """Two runs compared: populations, and the neurons that part, as `Comparison` counts them."""

    layers: tuple[Layer, ...]
    ties: int
    unexplained: int

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Parts:
        """The inverse of `to_dict`."""
        layers = tuple(Layer.from_dict(layer) for layer in data["layers"])
        return cls(layers, data["ties"], data["unexplained"])

    @classmethod
    def joined(cls, parts: Iterable[tuple[int, Parts]]) -> Parts:
        """As `compare.joined`."""
        found = list(parts)
        return cls(
            joined([(start, part.layers) for start, part in found]),
            sum(part.ties for _, part in found),
            sum(part.unexplained for _, part in found),
        )


def parts_of(
    network: Network,
    inputs: Mapping[str, NDArray[Any]],
    runs: tuple[Trace, Trace],
    margin: float,
    *,
    rounded: bool,
) -> Parts:
    """Compare two runs; in samples that differ, how the neurons of `network` part from the first.

    Parameters
    ----------
    runs: of populations that spike; the second is that of `network` on `inputs`.
    margin, rounded: see `partings`.
    """
    names = [population.name for population in network.populations if population.spiking]
    layers = compare(*runs, names)
    ties = unexplained = 0
    if totals(layers)[0]:
        some = differing(*runs, names)
        signals = {**inputs, **runs[0].spikes}
        for part in reference.chunks(network, {name: a[some] for name, a in signals.items()}):
            a, b = partings(network, part, margin, rounded=rounded)
            ties, unexplained = ties + a, unexplained + b
    return Parts(layers, ties, unexplained)


def import_parts(network: Network, inputs: Mapping[str, NDArray[Any]], source: Trace) -> Parts:
    """What `compare_import` counts."""
    found = reference.simulate(network, inputs, rounded=True)
    return parts_of(network, inputs, (source, found), ROUNDING_MARGIN, rounded=True)


def comparison(network: Network, inputs: Mapping[str, NDArray[Any]], parts: Parts) -> Comparison:
    """The comparison that counts on all of `inputs` make."""
    samples, steps = next(iter(inputs.values())).shape[:2]
    first = _first(network, inputs, parts.layers)
    return Comparison(parts.layers, samples, steps, parts.ties, parts.unexplained, first)


def partings(
    network: Network, signals: dict[str, NDArray[Any]], margin: float, *, rounded: bool
) -> tuple[int, int]:
    """How many neurons, over all samples, part at a rounding tie, and how many elsewhere.

    Parameters
    ----------
    signals: what inputs and spiking populations sent elsewhere, (samples, steps, *shape).
    margin: a tie is a potential within so many thresholds of the threshold.
    rounded: as for `reference.simulate`.
    """
    ties = unexplained = 0
    for population in network.populations:
        current = reference.currents(network, population, signals)
        response = reference.neurons(current, population, rounded=rounded)
        if not population.spiking:
            signals[population.name] = response.potential
            continue
        differs = response.spikes != signals[population.name]
        first = differs.argmax(axis=1)[:, None]
        distance = np.abs(response.potential - population.threshold) / population.threshold
        parts = differs.any(axis=1)
        tied = np.take_along_axis(distance, first, axis=1)[:, 0] <= margin
        ties += int(np.count_nonzero(parts & tied))
        unexplained += int(np.count_nonzero(parts & ~tied))
    return ties, unexplained


def _first(
    network: Network, inputs: Mapping[str, NDArray[Any]], layers: tuple[Layer, ...]
) -> Parting | None:
    """The earliest difference, and the network's potential there."""
    cell = earliest(layers)
    if cell is None:
        return None
    one = {name: array[cell.sample : cell.sample + 1] for name, array in inputs.items()}
    trace = reference.simulate(network, one, record=[cell.population], rounded=True)
    at = (0, cell.step, *cell.neuron)
    (population,) = (p for p in network.populations if p.name == cell.population)
    return Parting(
        cell,
        not trace.spikes[cell.population][at],
        float(trace.states[cell.population]["v"][at]),
        float(population.threshold[cell.neuron]),
    )
