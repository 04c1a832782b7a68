"""Upstream's formulas, restated from the fields of NIR nodes, on random graphs.

Of the tutorial's network (2312-4096-4096-512-256-10) and of spikes that a chip recorded:
tests/conformance/test_spinnaker2_published.py.
"""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import pytest

from neurodeploy.errors import ModelError
from neurodeploy.frontends.nir import load
from neurodeploy.network import Network
from neurodeploy.program import Program
from neurodeploy.semantics import Integrator, Semantics
from neurodeploy.targets.spinnaker2.lowering import lower
from neurodeploy.targets.spinnaker2.options import Options
from tests.builders import chain, conv, lif, merged, network, recorded, spikes_for

UPSTREAM = Options(upstream=True)
DT = 1e-3


def lowered(net: Network, options: Options = UPSTREAM) -> Program:
    return lower(net, recorded(net, spikes_for(0, 1, 2, net.inputs[0].shape)), options)


def share(tau: np.ndarray, integrator: Integrator) -> np.ndarray:
    """a: dt/tau (FORWARD) or 1 - exp(-dt/tau) (EXPONENTIAL)."""
    return DT / tau if integrator == "euler" else 1 - np.exp(-DT / tau)


def floats(program: Program, name: str, register: str, size: int) -> np.ndarray:
    values = program.population(name).float_register(register)
    return np.broadcast_to(values.reshape(-1), (size,)).astype(np.float64)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


@pytest.mark.parametrize("integrator", ["euler", "exact"])
@pytest.mark.parametrize("reset", ["zero", "subtract"])
def test_leaky_neurons(rng: np.random.Generator, integrator: Integrator, reset: Any) -> None:
    """threshold v_th w/(a r); i_offset a v_leak w/(a r) + bias w; alpha_decay 1 - a."""
    weight, bias = rng.normal(0, 0.4, (6, 9)), rng.normal(0, 0.1, 6)
    tau, r = rng.uniform(2e-3, 2e-2, 6), rng.uniform(0.5, 30, 6)
    leak, theta = rng.normal(0, 0.2, 6), rng.uniform(0.5, 2, 6)
    node = nir.LIF(tau, r, leak, theta, np.zeros(6))
    meaning = Semantics(dt=DT, integrator=integrator, reset=reset)
    program = lowered(merged(load(chain((9,), fc=nir.Affine(weight, bias), lif=node), meaning)))
    a, w_scale = share(tau, integrator), 127 / np.abs(weight).max()
    expected = {
        "alpha_decay": 1 - a,
        "threshold": theta * w_scale / (a * r),
        "i_offset": a * leak * w_scale / (a * r) + bias * w_scale,
        "v_init": np.zeros(6),
        "v_reset": np.zeros(6),
    }
    for register, values in expected.items():
        np.testing.assert_allclose(floats(program, "lif", register, 6), values, rtol=1e-6)
    assert program.population("lif").model == "lif_no_delay"
    assert program.population("lif").register("reset").tolist() == [int(reset == "zero")]
    (synapses,) = program.synapses
    scaled = weight * w_scale
    differs = synapses.weight != np.trunc(scaled)
    assert not np.any(differs & (np.abs(scaled - np.rint(scaled)) > 1e-9))


@pytest.mark.parametrize("integrator", ["euler", "exact"])
def test_neurons_with_synaptic_currents(rng: np.random.Generator, integrator: Integrator) -> None:
    """Scale w/((a_mem r)(a_syn w_in)); the bias enters past the current, w_in cancels."""
    weight, bias = rng.normal(0, 0.4, (6, 9)), rng.normal(0, 0.1, 6)
    tau_syn, tau_mem = rng.uniform(2e-3, 2e-2, 6), rng.uniform(2e-3, 2e-2, 6)
    r, w_in = rng.uniform(0.5, 30, 6), rng.uniform(0.5, 20, 6)
    leak, theta = rng.normal(0, 0.2, 6), rng.uniform(5, 9, 6)
    node = nir.CubaLIF(tau_syn, tau_mem, r, leak, theta, np.zeros(6), w_in)
    meaning = Semantics(dt=DT, integrator=integrator, reset="subtract")
    program = lowered(merged(load(chain((9,), fc=nir.Affine(weight, bias), n=node), meaning)))
    a_syn, a_mem = share(tau_syn, integrator), share(tau_mem, integrator)
    w_scale = 127 / np.abs(weight).max()
    scale = w_scale / ((a_mem * r) * (a_syn * w_in))
    expected = {
        "alpha_decay": 1 - a_mem,
        "exc_decay": 1 - a_syn,
        "inh_decay": 1 - a_syn,
        "threshold": theta * scale,
        "i_offset": a_mem * leak * scale + bias * w_in * w_scale / (a_syn * w_in),
    }
    for register, values in expected.items():
        np.testing.assert_allclose(floats(program, "n", register, 6), values, rtol=1e-6)
    assert program.population("n").model == "lif_curr_exp_no_delay"
    assert program.population("n").register("t_refrac").tolist() == [0]


def test_integrators_and_convolutions(rng: np.random.Generator) -> None:
    """alpha 1, threshold v_th w/r; int8 kernels, truncated."""
    weight, theta = rng.normal(0, 0.4, (3, 2, 3, 3)), rng.uniform(0.5, 2, (3, 4, 4))
    node = nir.IF(np.full((3, 4, 4), 1 / DT), theta, np.zeros((3, 4, 4)))
    net = merged(load(chain((2, 6, 6), a=conv(weight), n=node), Semantics(dt=DT)))
    program = lowered(net)
    w_scale = 127 / np.abs(weight).max()
    np.testing.assert_allclose(
        floats(program, "n", "threshold", 48), theta.ravel() * w_scale, rtol=1e-6
    )
    assert floats(program, "n", "alpha_decay", 1).tolist() == [1]
    assert program.population("n").model == "lif_conv2d"
    (synapses,) = program.synapses
    kept = np.abs(weight) < np.abs(weight).max()
    assert np.array_equal(synapses.weight[kept], np.trunc(weight * w_scale)[kept])


def test_a_percentile_wraps_kernels_around_and_refuses_synapses() -> None:
    """128, 130 and 300 become -128, -126 and 44; of dense weights beyond 127 nothing is known."""
    sizes = np.append(np.full(97, 1.0), [128.5 / 127, 130.5 / 127, 300.5 / 127])
    kernel = sizes.reshape(4, 1, 5, 5)
    net = network((1, 5, 5), a=conv(kernel), n=lif(np.full((4, 1, 1), 0.5)))
    options = Options(upstream=True, percentile=90)
    (synapses,) = lowered(net, options).synapses
    assert synapses.weight.ravel()[-3:].tolist() == [-128, -126, 44]
    ours = lowered(net, Options(percentile=90)).synapses[0]
    assert ours.weight.ravel()[-3:].tolist() == [127, 127, 127]
    net = network((25,), a=nir.Linear(sizes.reshape(4, 25)), n=lif(np.full(4, 0.5)))
    with pytest.raises(ModelError, match=r"beyond 127.*not known"):
        lowered(net, options)


def test_neurons_that_are_no_nodes_of_their_graph_are_refused() -> None:
    net = network((4,), a=nir.Linear(np.ones((3, 4))), n=lif(np.full(3, 0.5)))
    del net.graph.nodes["n"]
    with pytest.raises(ModelError, match="no node of its NIR graph"):
        lower(net, recorded(net, spikes_for(0, 1, 2, (4,))), UPSTREAM)
