"""Models as the tutorials write them convert without edits, and spike as their graphs do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
snn = pytest.importorskip("snntorch")

from torch import nn  # noqa: E402

from neurodeploy import reference  # noqa: E402
from neurodeploy.equivalence.compare import totals  # noqa: E402
from neurodeploy.equivalence.imported import Comparison, compare_import  # noqa: E402
from neurodeploy.errors import ModelError  # noqa: E402
from neurodeploy.frontends.comparisons import comparisons  # noqa: E402
from neurodeploy.frontends.nir import load, read  # noqa: E402
from neurodeploy.frontends.nir_write import write  # noqa: E402
from neurodeploy.frontends.snntorch import from_snntorch, reference_spikes  # noqa: E402
from neurodeploy.network import Network  # noqa: E402
from neurodeploy.trace import Trace  # noqa: E402
from tests.conformance.exhibits import EXHIBITS, Exhibit  # noqa: E402
from tests.conformance.gallery import num_steps  # noqa: E402
from tests.conformance.refused import REFUSED  # noqa: E402
from tests.pages_of_docs import check, part_of, row  # noqa: E402

WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


@dataclass(frozen=True, eq=False)
class Converted:
    """What a model and its graph did on the same inputs.

    Attributes
    ----------
    exact: whether all sums are exact in float32, and so the same in any order, and products are
        formed as snnTorch does.
    before, after: the model's state, around the conversion and the runs for comparison.
    imported: the comparisons that the graph came with, read from its file.
    comparison: the model's spikes on `inputs` against those of the network.
    returned: what the model returned, each (batch, steps, ...).
    trace: the network's run, with states.
    """

    exact: bool
    before: Any
    after: Any
    imported: dict[str, Comparison]
    comparison: Comparison
    network: Network
    returned: list[np.ndarray]
    trace: Trace


def built(exhibit: Exhibit) -> Any:
    """The model with weights in multiples of 1/32 and norms as if trained; dropout is on."""
    torch.manual_seed(0)
    net = exhibit.build()
    for part in net.modules():
        if isinstance(part, WEIGHTED):
            for parameter in part.parameters():
                parameter.data = (parameter.data * exhibit.scale * 32).round() / 32
        elif isinstance(part, NORMS):
            part.running_mean.uniform_(-0.2, 0.2)
            part.running_var.uniform_(0.3, 0.7)
            nn.init.uniform_(part.weight, 0.8, 1.2)
            nn.init.uniform_(part.bias, -0.1, 0.1)
        elif hasattr(part, "V"):
            part.V.data = (part.V.data * 32).round() / 32
    return net.train()


def state(value: Any) -> Any:
    """Attributes, in any nesting, as something that stays and can be compared."""
    if isinstance(value, torch.Tensor):
        return value.dtype, value.shape, value.detach().numpy().tobytes()
    if isinstance(value, dict):
        return {key: state(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [state(entry) for entry in value]
    return value


def whole_state(net: Any) -> Any:
    """All that modules hold: parameters, statistics, hidden states, training flags, hooks."""
    return {path: state(vars(part)) for path, part in net.named_modules()}


def flat(data: Any) -> Iterator[Any]:
    if isinstance(data, torch.Tensor):
        yield data
    else:
        for item in data.values() if isinstance(data, dict) else data:
            yield from flat(item)


def called(exhibit: Exhibit, net: Any, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """What the model returns where it is called as its tutorial does; it keeps its last states."""
    given = [x.given(array) for x, array in zip(exhibit.inputs, arrays, strict=True)]
    with torch.no_grad():
        returned = [y.numpy() for y in flat(exhibit.run(net.eval(), *given))]
    net.train()
    time = int(any(x.form == "batch first" for x in exhibit.inputs))
    return [np.moveaxis(y, time, 1) for y in returned]


@cache
def converted(name: str) -> Converted:
    """Convert a model without edits, write and read its graph, and run both on random inputs."""
    torch.set_num_threads(1)
    exhibit = EXHIBITS[name]
    net = built(exhibit)
    dtype = next(net.parameters()).detach().numpy().dtype
    rng = np.random.default_rng(1)
    arrays, others = ([x.drawn(rng).astype(dtype) for x in exhibit.inputs] for _ in range(2))
    returned = called(exhibit, net, arrays)
    called(exhibit, net, others)
    samples = [x.given(array) for x, array in zip(exhibit.inputs, arrays, strict=True)]
    samples = [
        data[0] if x.form == "steps" else data
        for x, data in zip(exhibit.inputs, samples, strict=True)
    ]
    inputs = {x.name: array for x, array in zip(exhibit.inputs, arrays, strict=True)}
    before = whole_state(net)
    graph = from_snntorch(net, samples[0] if len(samples) == 1 else samples)
    spikes = reference_spikes(net, inputs, graph)
    after = whole_state(net)
    with TemporaryDirectory() as folder:
        write(graph, Path(folder) / "model.nir")
        graph = read(Path(folder) / "model.nir")
    network = load(graph)
    names = [population.name for population in network.populations]
    return Converted(
        exact=not any(isinstance(part, (*NORMS, snn.Lapicque)) for part in net.modules()),
        before=before,
        after=after,
        imported=comparisons(graph),
        comparison=compare_import(network, inputs, Trace(spikes)),
        network=network,
        returned=returned,
        trace=reference.simulate(network, inputs, record=names, rounded=True),
    )


@pytest.mark.parametrize("name", EXHIBITS)
def test_every_spike_is_equal(name: str) -> None:
    """But for rounding ties, where batch norms are folded or the input of a Lapicque is scaled."""
    run = converted(name)
    different, _ = totals(run.comparison.layers)
    assert run.comparison.passed
    assert different == 0 or not run.exact
    read_as_membrane = {p.name for p in run.network.populations if p.readout == "membrane"}
    for layer in run.comparison.layers:
        assert layer.expected_spikes < layer.cells
        if layer.population not in read_as_membrane:
            assert layer.expected_spikes > 0.01 * layer.cells, layer
    assert list(run.imported) == ["random spikes"]
    assert run.imported["random spikes"].passed


@pytest.mark.parametrize("name", EXHIBITS)
def test_what_forward_returns_is_what_the_network_has(name: str) -> None:
    """Spikes, potentials, currents and values, bit for bit where the arithmetic is exact."""
    run, exhibit = converted(name), EXHIBITS[name]
    assert len(run.returned) == len(exhibit.returns)
    nodes = set()
    for returned, what in zip(run.returned, exhibit.returns, strict=True):
        node, _, kind = what.rpartition(".")
        nodes.add(node or what)
        if kind == "spk":
            found = run.trace.spikes[node]
        elif kind in ("mem", "syn"):
            found = run.trace.states[node]["v" if kind == "mem" else "x"]
        else:
            found = run.trace.values[what]
        assert returned.any()
        if run.exact:
            np.testing.assert_array_equal(found, returned, err_msg=what)
        else:
            np.testing.assert_allclose(found, returned, rtol=1e-5, atol=1e-5, err_msg=what)
    assert set(run.network.outputs) == nodes


@pytest.mark.parametrize("name", EXHIBITS)
def test_the_model_is_left_as_it_was(name: str) -> None:
    run = converted(name)
    assert run.after == run.before


@cache
def refusal(name: str) -> ModelError:
    """What converting a model that is refused says; it is left as it was."""
    case = REFUSED[name]
    torch.manual_seed(0)
    net = case.build()
    before = whole_state(net)
    with pytest.raises(ModelError) as caught:
        from_snntorch(net, tuple(torch.rand(shape) for shape in case.shapes))
    assert whole_state(net) == before
    return caught.value


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_exact_form_is_refused(name: str) -> None:
    error, case = refusal(name), REFUSED[name]
    assert case.words in str(error)
    assert error.node == case.node
    assert error.hint


# The documentation

PAGE = "snntorch.md"


def gallery(written: str) -> str:
    """The table of models, from what was measured.

    Where the arithmetic is rounded, rounding ties depend on the machine: a figure that is `written`
    stays if it is near.
    """
    lines = [
        row("model", "written as", "shows", "layers", "steps", "cells", "differ", "returned"),
        row(*["---"] * 8),
    ]
    said = {line.split("`")[1]: int(line.split(" | ")[-2]) for line in written.splitlines()[3:-1]}
    for name, exhibit in EXHIBITS.items():
        run = converted(name)
        different, cells = totals(run.comparison.layers)
        near = said.get(name, different)
        if not run.exact and run.comparison.passed and abs(near - different) <= 1e-4 * cells:
            different = near
        figures = (len(run.comparison.layers), num_steps, f"{cells:,}", different)
        returned = "equal" if run.exact else "within 1e-5"
        lines.append(row(f"`{name}`", exhibit.after, exhibit.shows, *figures, returned))
    return "\n".join(lines)


def tutorials(written: str) -> str:
    """What is refused, with reason and way out."""
    lines = [row("written as", "refused because", "instead"), row("---", "---", "---")]
    lines += [row(name, refusal(name).message, refusal(name).hint) for name in REFUSED]
    return "\n".join(lines)


@pytest.mark.parametrize("part", [gallery, tutorials])
def test_the_docs_say_so(part: Callable[[str], str]) -> None:
    name = part.__name__
    check(PAGE, name, part(part_of(PAGE, name)))
