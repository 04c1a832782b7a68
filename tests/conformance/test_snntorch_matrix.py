"""Every neuron class of snnTorch with every reset, parameter shape, drive and way to hold state.

Each supported cell must reproduce snnTorch's own spikes, all of them, through a file: in float64
with random weights, and in float32 with weights that are multiples of 1/16, whose sums are exact.
Each unsupported cell must be refused with its reason.  The table in docs/snntorch.md is made from
the outcomes; `NEURODEPLOY_WRITE_DOCS=1` writes it anew.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nir
import numpy as np
import pytest
import snntorch as snn
import torch
from torch import nn

from neurodeploy import api
from neurodeploy.errors import ModelError
from neurodeploy.frontends._snntorch_classes import REFUSALS
from neurodeploy.frontends.snntorch import from_snntorch, reference_spikes
from neurodeploy.reference import simulate
from tests.pages_of_docs import check, row

BATCH, STEPS = 16, 50
INPUTS, SIZE = 24, 40
IMAGE, CHANNELS = (3, 4, 3), 6
RATES = (0.02, 0.6)
NEURON_STEPS = 10_000_000


@dataclass(frozen=True)
class Cell:
    """One cell of the matrix, for all three ways to hold state.

    `recurrence` is empty and `delay` None where the class has no such option.
    """

    neuron: str
    recurrence: str
    reset: str
    delay: bool | None
    drive: str
    vector: bool

    def __str__(self) -> str:
        delay = {None: "", True: "delayed", False: "at once"}[self.delay]
        parameters = "vector" if self.vector else "scalar"
        parts = (self.neuron, self.recurrence, self.reset, delay, self.drive, parameters)
        return " ".join(part for part in parts if part)


# Recurrences of each class, and whether it has reset_delay.
CLASSES: Mapping[str, tuple[tuple[str, ...], bool]] = {
    "Leaky": (("",), True),
    "Synaptic": (("",), True),
    "Lapicque": (("",), False),
    "RLeaky": (("all-to-all", "one-to-one", "conv"), True),
    "RSynaptic": (("all-to-all", "one-to-one", "conv"), True),
    "Alpha": (("",), False),
}
RESETS, DRIVES, STYLES = (
    ("subtract", "zero", "none"),
    ("Linear", "Conv2d"),
    ("init_hidden", "explicit state", "time loop"),
)
CELLS = tuple(
    Cell(neuron, recurrence, reset, delay, drive, vector)
    for neuron, (recurrences, delays) in CLASSES.items()
    for recurrence, reset, delay, drive, vector in itertools.product(
        recurrences, RESETS, (True, False) if delays else (None,), DRIVES, (False, True)
    )
)


def expected_refusal(cell: Cell) -> str | None:
    """Why a cell has no exact form; None where it has."""
    if cell.neuron == "RSynaptic" and not cell.delay:
        return "with reset_delay=False it does not reset in snnTorch 1.0.0, or fails"
    if (cell.recurrence, cell.drive) == ("conv", "Linear"):
        return "forward failed with RuntimeError"  # snnTorch itself fails
    if cell.neuron == "Alpha" and cell.reset != "none":
        return "its reset changes two currents after they took the input of the step"
    return None


# The models


class Hidden(nn.Module):
    """One step; the neuron keeps its state."""

    def __init__(self, layer: Any, neuron: Any) -> None:
        super().__init__()
        self.fc, self.lif = layer, neuron
        neuron.init_hidden = type(self) is Hidden

    def forward(self, x: Any) -> Any:
        return self.lif(self.fc(x))


class One(Hidden):
    """One step; the state comes and goes as arguments."""

    def forward(self, x: Any, mem: Any) -> Any:
        return self.lif(self.fc(x), mem)


class Two(Hidden):
    def forward(self, x: Any, first: Any, mem: Any) -> Any:
        return self.lif(self.fc(x), first, mem)


class Three(Hidden):
    def forward(self, x: Any, first: Any, second: Any, mem: Any) -> Any:
        return self.lif(self.fc(x), first, second, mem)


class Loop(Hidden):
    """All steps, batch first."""

    def forward(self, x: Any) -> Any:
        state, out = self.lif.reset_mem(), []
        state = state if isinstance(state, tuple) else (state,)
        for entry in x.unbind(1):
            spikes, *rest = self.lif(self.fc(entry), *state)
            state = (spikes, *rest)[-len(state) :]
            out.append(spikes)
        return torch.stack(out, 1)


EXPLICIT = {
    "Leaky": One,
    "Synaptic": Two,
    "Lapicque": One,
    "RLeaky": Two,
    "RSynaptic": Three,
    "Alpha": Three,
}


def styled(style: str, cell: Cell, layer: Any, neuron: Any) -> Any:
    holders = {"init_hidden": Hidden, "explicit state": EXPLICIT[cell.neuron], "time loop": Loop}
    return holders[style](layer, neuron)


def spread(cell: Cell, low: float, high: float) -> Any:
    """One value, or one per neuron or channel."""
    if not cell.vector:
        return (low + high) / 2
    shape = (SIZE,) if cell.drive == "Linear" else (CHANNELS, 1, 1)
    return torch.rand(shape) * (high - low) + low


def neuron_of(cell: Cell) -> Any:
    options: dict[str, Any] = {"reset_mechanism": cell.reset}
    if cell.delay is not None:
        options["reset_delay"] = cell.delay
    threshold = spread(cell, 0.8, 1.2)
    if cell.neuron == "Lapicque":
        neuron = snn.Lapicque(R=2.0, C=2.5, threshold=threshold, **options)
        neuron.C = neuron.C * spread(cell, 0.6, 1.4)
        return neuron
    decays = {"beta": spread(cell, 0.5, 0.95)}
    if cell.neuron in ("Synaptic", "RSynaptic"):
        decays["alpha"] = spread(cell, -0.1, 0.9)  # snnTorch takes less than 0 for 0
    elif cell.neuron == "Alpha":
        decays = {"alpha": spread(cell, 0.7, 0.95), "beta": spread(cell, 0.0, 0.6)}
    if cell.recurrence == "all-to-all":
        options["linear_features"] = SIZE if cell.drive == "Linear" else IMAGE[-1]
    elif cell.recurrence == "conv":
        options |= {"conv2d_channels": CHANNELS, "kernel_size": 3}
    elif cell.recurrence:
        options |= {"all_to_all": False, "V": spread(cell, -1.0, 1.5)}
    return getattr(snn, cell.neuron)(**decays, threshold=threshold, **options)


def layer_of(cell: Cell) -> Any:
    if cell.drive == "Linear":
        return nn.Linear(INPUTS, SIZE)
    return nn.Conv2d(IMAGE[0], CHANNELS, 3, padding=1)


def to_double(module: Any, args: Any) -> Any:
    return tuple(x.double() for x in args)


def unchanged(module: Any, args: Any) -> None:
    pass


def weighted(cell: Cell, layer: Any, neuron: Any, dtype: str) -> None:
    """Give all weights random values, in float64 any, in float32 multiples of 1/16."""
    width = {"Synaptic": 0.2, "RSynaptic": 0.2, "Lapicque": 1.0}.get(cell.neuron, 0.45)
    width = width * (1.0 if cell.drive == "Linear" else 1.2)
    recurrent = getattr(neuron, "recurrent", nn.Identity())
    recurrent.register_forward_pre_hook(to_double if dtype == "float64" else unchanged)
    for part, scale in ((layer, width), (recurrent, width / 2)):
        for name, parameter in part.named_parameters():
            values = parameter.data.double()
            if name == "weight":  # balanced, so that rates are alike
                values = torch.randn_like(values)
                values = scale * (
                    values - values.flatten(1).mean(1).view(-1, *[1] * (values.dim() - 1))
                )
            elif name == "bias":
                values = 0.3 * scale * torch.randn_like(values)
            parameter.data = values if dtype == "float64" else (16 * values).round().float() / 16
    if dtype == "float64":
        neuron.double()


def drive_of(cell: Cell, dtype: str) -> Any:
    shape = (INPUTS,) if cell.drive == "Linear" else IMAGE
    return (torch.rand(BATCH, STEPS, *shape) < 0.4).to(getattr(torch, dtype))


# The outcomes


@dataclass(frozen=True)
class Outcome:
    """Of one cell in one style: differing spikes of so many, and their rate; or a refusal."""

    mismatches: int = 0
    cells: int = 0
    rate: float = 0.0
    refusal: ModelError | None = None


@cache
def outcomes(cell: Cell, dtype: str) -> dict[str, Outcome]:
    """What becomes of one net, in every style."""
    torch.set_num_threads(1)
    torch.manual_seed(CELLS.index(cell))
    layer, neuron = layer_of(cell), neuron_of(cell)
    weighted(cell, layer, neuron, dtype)
    inputs = drive_of(cell, dtype)
    return {
        style: outcome(styled(style, cell, layer, neuron), inputs, loop=style == "time loop")
        for style in STYLES
    }


def outcome(net: Any, inputs: Any, *, loop: bool) -> Outcome:
    try:
        graph = from_snntorch(net, inputs[:, :3] if loop else inputs[:, 0])
    except ModelError as error:
        return Outcome(refusal=error)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "net.nir"
        nir.write(path, graph)
        network = api.load(path)
    expected = reference_spikes(net, inputs.numpy(), graph)["lif"]
    rounded = inputs.dtype == torch.float32
    found = simulate(network, inputs.numpy(), rounded=rounded).spikes["lif"]
    differing = int(np.count_nonzero(found != expected))
    return Outcome(differing, expected.size, float(expected.mean()))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_every_spike_or_a_refusal(cell: Cell, dtype: str) -> None:
    reason = expected_refusal(cell)
    for style, found in outcomes(cell, dtype).items():
        if reason is None:
            assert found.refusal is None, style
            assert found.mismatches == 0, style
            assert RATES[0] < found.rate < RATES[1], style
        else:
            assert found.refusal is not None, style
            assert reason in found.refusal.message, style
            assert (found.refusal.node or "").startswith("lif"), style
            assert found.refusal.hint, style


def converted(dtype: str) -> list[Outcome]:
    found = [found for cell in CELLS for found in outcomes(cell, dtype).values()]
    return [found for found in found if found.refusal is None]


def test_enough_neuron_steps() -> None:
    assert sum(found.cells for found in converted("float64")) >= NEURON_STEPS


# The documentation


def matrix() -> str:
    """The table of cells, from their outcomes."""
    notes: dict[str, int] = {}
    columns = list(itertools.product(DRIVES, (False, True)))
    heads = [f"{drive}, {'per neuron' if vector else 'one value'}" for drive, vector in columns]
    lines = [row("class", "reset", "delay", *heads), row(*["---"] * (3 + len(columns)))]
    kinds = {(c.neuron, c.recurrence, c.reset, c.delay): c for c in CELLS}
    for (neuron, recurrence, reset, delay), cell in kinds.items():
        name = f"`{neuron}` {recurrence}".strip()
        when = {None: "", True: "yes", False: "no"}[delay]
        entries = [entry(replace(cell, drive=d, vector=v), notes) for d, v in columns]
        lines.append(row(name, reset, when, *entries))
    lines += ["", *(f"{number}. {text}" for text, number in notes.items()), ""]
    for dtype in ("float64", "float32"):
        found = converted(dtype)
        differing, steps = sum(f.mismatches for f in found), sum(f.cells for f in found)
        lines.append(
            f"- {dtype}: {differing} of {steps:,} neuron-steps of {len(found)} models differ."
        )
    return "\n".join(lines)


def entry(cell: Cell, notes: dict[str, int]) -> str:
    """`exact`, or the number of the note that says why not; by style where they differ."""
    texts = {}
    for style in STYLES:
        found = [outcomes(cell, dtype)[style] for dtype in ("float64", "float32")]
        refused = next((f.refusal for f in found if f.refusal), None)
        if refused is not None:
            message = refused.message
            if message.startswith("forward failed"):
                message = f"{message.partition(':')[0]}, in snnTorch itself"
            texts[style] = f"no ({notes.setdefault(message, len(notes) + 1)})"
        else:
            texts[style] = f"{sum(f.mismatches for f in found)} differ"
    if set(texts.values()) == {"0 differ"}:
        return "exact"
    same = len(set(texts.values())) == 1
    return texts[STYLES[0]] if same else "; ".join(f"{s}: {text}" for s, text in texts.items())


def refusals() -> str:
    """The classes and options that are refused, with reason and way out."""
    lines = [row("class or option", "why", "instead"), row("---", "---", "---")]
    lines += [row(f"`{name}`", f.reason, f.hint) for name, f in REFUSALS.items()]
    return "\n".join(lines)


@pytest.mark.parametrize("part", [matrix, refusals])
def test_the_docs_say_so(part: Callable[[], str]) -> None:
    check("snntorch.md", part.__name__, part())
