"""Lowered networks against the float64 reference with the program's numbers.

What is left between the two is the rounding of float32 states.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nir
import numpy as np
import pytest

from neurodeploy import api, reference
from neurodeploy.equivalence.compare import compare, totals
from neurodeploy.models.digits_data import Digits, encode, load_data
from neurodeploy.network import Network
from neurodeploy.program import Program
from neurodeploy.semantics import Semantics
from neurodeploy.simulator.engine import simulate
from neurodeploy.targets.spinnaker2.lowering import lower
from neurodeploy.targets.spinnaker2.machine import SpiNNaker2Machine
from neurodeploy.targets.spinnaker2.options import Options
from neurodeploy.trace import Spikes, Trace
from tests.builders import (
    AT_ONCE,
    NONE,
    SUBTRACT,
    ZERO,
    conv,
    cuba,
    integrator,
    lif,
    merged,
    network,
    recorded,
    spikes_for,
)
from tests.conformance.branches import NETWORKS, READOUTS, joined, readout
from tests.pages_of_docs import check, row
from tests.targets.spinnaker2.quantised import quantised

MACHINE = SpiNNaker2Machine()
PAGE = "spinnaker2.md"
UPSTREAM = Options(upstream=True)
DIGITS = ("dense_bias", "dense_plain", "conv_bias", "conv_plain")


def differing(net: Network, expected: Trace, actual: Trace) -> tuple[int, int]:
    """(differing cells, cells) over all populations of the model."""
    return totals(compare(expected, actual, [p.name for p in net.populations]))


def lowered(net: Network, spikes: Spikes, options: Options | None = None) -> Program:
    return lower(net, recorded(net, spikes[:1, :1]), options)


def against_quantised(
    net: Network, spikes: Spikes, options: Options | None = None
) -> tuple[int, int]:
    program = lowered(net, spikes, options)
    expected = reference.simulate(quantised(net, program), spikes)
    assert all(expected.spikes[p.name].any() for p in net.populations if p.spiking)
    return differing(net, expected, simulate(program, spikes, MACHINE))


# --- random networks: 0 differences --------------------------------------------------------------


def dense(rng: np.random.Generator, meaning: Semantics) -> Network:
    """60-40-20, with biases, and decays and thresholds of each neuron's own."""

    def neurons(n: int) -> nir.LIF:
        return lif(rng.uniform(0.5, 0.97, n), rng.uniform(0.8, 1.2, n), meaning)

    return network(
        (60,),
        fc=nir.Affine(rng.normal(0.05, 0.15, (40, 60)), rng.normal(0, 0.03, 40)), lif=neurons(40),
        fc2=nir.Affine(rng.normal(0.05, 0.3, (20, 40)), rng.normal(0, 0.03, 20)), lif2=neurons(20),
    )  # fmt: skip


def convolutional(rng: np.random.Generator, meaning: Semantics) -> Network:
    """Two convolutions, pooling, a dense layer; one decay, as snnTorch has it by default."""
    pool = nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))
    return network(
        (2, 8, 8),
        a=conv(rng.normal(0.1, 0.2, (4, 2, 3, 3)), rng.normal(0, 0.03, 4), padding=1),
        one=lif(np.full((4, 8, 8), 0.9), semantics=meaning),
        p=pool,
        b=conv(rng.normal(0.1, 0.3, (6, 4, 3, 3)), rng.normal(0, 0.03, 6), padding=1),
        two=lif(np.full((6, 4, 4), 0.9), semantics=meaning),
        flat=nir.Flatten({"input": np.array([6, 4, 4])}, 0, -1),
        c=nir.Linear(rng.normal(0, 0.2, (10, 96))),
        three=lif(np.full(10, 0.9), semantics=meaning),
    )


def recurrent(rng: np.random.Generator, meaning: Semantics) -> Network:
    nodes = {
        "a": nir.Affine(rng.normal(0.05, 0.2, (30, 20)), rng.normal(0, 0.03, 30)),
        "lif1": lif(np.full(30, 0.9), semantics=meaning),
        "b": nir.Linear(rng.normal(0.05, 0.3, (10, 30))),
        "lif2": lif(np.full(10, 0.9), semantics=meaning),
        "_all": nir.Affine(rng.normal(0, 0.15, (30, 30)), rng.normal(0, 0.01, 30)),
    }
    return joined((20,), nodes, ("lif1", "_all"), ("_all", "lif1"))


def filtered(rng: np.random.Generator, meaning: Semantics) -> Network:
    """Synaptic currents, in a loop, with biases on a coarse grid."""
    nodes = {
        "a": nir.Affine(rng.normal(0.02, 0.1, (30, 20)), rng.normal(0, 0.03, 30)),
        "lif1": cuba(rng.uniform(0.3, 0.9, 30), rng.uniform(0.3, 0.9, 30), meaning),
        "_all": nir.Linear(rng.normal(0, 0.05, (30, 30))),
    }
    return joined((20,), nodes, ("lif1", "_all"), ("_all", "lif1"))


def perfect(rng: np.random.Generator, meaning: Semantics) -> Network:
    """Without leak, where a tie is likely and no difference is ever forgotten."""
    return network(
        (20,),
        a=nir.Linear(rng.normal(0, 0.3, (30, 20))), one=integrator(np.full(30, 1.0), meaning),
        b=nir.Linear(rng.integers(-2, 3, (10, 30)) / 2), two=integrator(np.full(10, 1.0), meaning),
    )  # fmt: skip


RESETS = {
    "zero": ZERO,
    "zero, one step later": replace(ZERO, reset_timing="delayed"),
    "subtract, one step later": SUBTRACT,
    "subtract, at once": AT_ONCE,
    "none": NONE,
}
KINDS = {make.__name__: make for make in (dense, convolutional, recurrent, filtered, perfect)}
LACKING = {("filtered", "subtract, one step later"), ("filtered", "none"), ("perfect", "none")}
"""Refused; and without leak and reset, a neuron that once spikes goes on."""


def test_random_networks_differ_in_no_cell() -> None:
    """Every reset in every kind of network; `>` and `>=`."""
    table = [row("", *RESETS), row(*["---"] * (1 + len(RESETS)))]
    for kind, make in KINDS.items():
        entries = []
        for name, meaning in RESETS.items():
            if (kind, name) in LACKING:
                entries.append("refused" if kind == "filtered" else "not run")
                continue
            wrong = cells = 0
            for seed, comparison in enumerate((">", ">=")):
                meant = replace(meaning, comparison=comparison)
                net = make(np.random.default_rng(seed), meant)
                spikes = spikes_for(seed, 4, 100, net.inputs[0].shape, 0.15)
                found = against_quantised(net, spikes)
                wrong, cells = wrong + found[0], cells + found[1]
            entries.append(f"{wrong} of {cells:,}")
            assert wrong == 0, (kind, name)
        table.append(row(kind, *entries))
    check(PAGE, "random networks", "\n".join(table))


@pytest.mark.parametrize("make", NETWORKS, ids=lambda make: str(make.__name__))
@pytest.mark.parametrize("options", [Options(), Options(relays=True)], ids=["synapses", "relays"])
def test_branches_loops_and_delays_mean_what_they_did(make: object, options: Options) -> None:
    """With relays all parameters lie on the grid, and the model itself is reproduced."""
    assert callable(make)
    net = make(np.random.default_rng(5))
    spikes = spikes_for(2, 4, 50, net.inputs[0].shape, 0.3)
    assert against_quantised(net, spikes, options)[0] == 0
    program = lowered(net, spikes, options)
    wrong, cells = differing(net, recorded(net, spikes), simulate(program, spikes, MACHINE))
    exact = all(x.how == "exact" for x in program.lowerings if x.subject == "quantisation")
    assert wrong == 0 if exact else wrong < 0.03 * cells
    assert exact or not options.relays


@pytest.mark.parametrize("name", sorted(READOUTS.keys() - {"reset to zero"}))
def test_potentials_that_are_read_are_the_models(name: str) -> None:
    net = readout(READOUTS[name][0])
    spikes = spikes_for(2, 4, 50, (6,), 0.3)
    found, expected = simulate(lowered(net, spikes), spikes, MACHINE), recorded(net, spikes)
    assert differing(net, expected, found)[0] == 0
    np.testing.assert_allclose(found.values["out"], expected.values["out"], atol=1e-5)


# --- what is left: float32 -----------------------------------------------------------------------


def test_float32_states_flip_no_spike_of_long_runs() -> None:
    """Decays that float32 holds exactly, and one that it does not; 300 steps."""
    decays = (0.5, 0.75, 0.9)
    table = [row("reset", *(f"β = {beta}" for beta in decays)), row(*["---"] * 4)]
    for name in ("zero", "subtract, one step later", "subtract, at once"):
        entries = []
        for beta in decays:
            wrong = cells = 0
            for seed in range(4):
                rng = np.random.default_rng(seed)
                net = network(
                    (60,),
                    fc=nir.Linear(rng.normal(0.05, 0.15, (40, 60))),
                    lif=lif(np.full(40, beta), semantics=RESETS[name]),
                )
                found = against_quantised(net, spikes_for(seed, 8, 300, (60,), 0.1))
                wrong, cells = wrong + found[0], cells + found[1]
            entries.append(f"{wrong} of {cells:,}")
        table.append(row(name, *entries))
    check(PAGE, "float32", "\n".join(table))


def test_a_potential_at_the_threshold_can_flip() -> None:
    """127 + 1 + 96 / 2^25 is more than the threshold 128, by less than float32 can tell."""
    weight = np.array([[96.0, 127.0, 1.0]])
    net = network((3,), fc=nir.Linear(weight), n=lif(np.array([0.5]), np.array([128.0])))
    spikes = np.zeros((1, 26, 3), np.uint8)
    spikes[0, 0, 0] = spikes[0, 25, 1] = spikes[0, 25, 2] = 1
    program = lowered(net, spikes)
    assert np.array_equal(program.synapses[0].weight, weight)
    expected = reference.simulate(quantised(net, program), spikes).spikes["n"]
    found = simulate(program, spikes, MACHINE).spikes["n"]
    assert (expected.sum(), found.sum()) == (1, 0)
    spikes[0, 24, 0] = 1
    assert simulate(program, spikes, MACHINE).spikes["n"].sum() == 1


# --- snnTorch's default neuron, trained ----------------------------------------------------------


@pytest.fixture(scope="module")
def data() -> Digits:
    return load_data()


def test_trained_digits_with_snntorchs_default_reset(data: Digits) -> None:
    """The exact lowering; the nearest self-synapse at full weight scale; upstream's conversion."""
    spikes, labels = encode(data.test_images), data.test_labels
    ways = {"exact": Options(), "nearest": Options(nearest_reset=True), "upstream": UPSTREAM}
    heads = ("network", "cells", "lowered", "differ from the quantised model",
             "differ from the model", "correct: model", "quantised", "chip")  # fmt: skip
    table = [row(*heads), row(*["---"] * len(heads))]
    for name in DIGITS:
        net = merged(api.load(Path(__file__).with_name("digits") / f"{name}.nir"))
        model = reference.simulate(net, spikes)
        for way, options in ways.items():
            program = lowered(net, spikes, options)
            rounded = reference.simulate(quantised(net, program), spikes)
            chip = simulate(program, spikes, MACHINE)
            wrong, cells = differing(net, rounded, chip)
            off = differing(net, model, chip)[0]
            correct = [
                int((t.decisions(program.output) == labels).sum()) for t in (model, rounded, chip)
            ]
            assert correct[0] > 0.9 * len(labels)
            if way == "exact":
                assert wrong == 0
                assert correct[1] == correct[2]
                assert correct[0] - correct[2] <= 0.01 * len(labels)
            shares = (f"{wrong:,} ({wrong / cells:.2%})", f"{off / cells:.2%}")
            table.append(row(name.replace("_", ", "), f"{cells:,}", way, *shares, *correct))
    check(PAGE, "digits", "\n".join(table))
