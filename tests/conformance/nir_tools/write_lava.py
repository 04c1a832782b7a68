"""A file of LIF neurons with the spikes that Lava 0.10.0 computes in floating point.

    python3.10 -m pip install lava-nc==0.10.0 nir==1.0.8
    python3.10 tests/conformance/nir_tools/write_lava.py

Lava writes no NIR files: the graph is ours, and is run as neuromorphs/NIR paper/nir_to_lava.py does
it (dv = dt/tau, the weights times dt/tau), with one Dense for every layer of weights.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import nir
import numpy as np
from common import inputs, save
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi1SimCfg
from lava.proc.dense.process import Dense
from lava.proc.io.sink import RingBuffer as Sink
from lava.proc.io.source import RingBuffer as Source
from lava.proc.lif.process import LIF

DT = 1e-4
SIZES = (12, 20, 6)
rng = np.random.default_rng(0)
weights = [rng.normal(0.5, 4, (n, m)) for m, n in pairwise(SIZES)]
taus = [DT * rng.uniform(3, 12, n) for n in SIZES[1:]]
recurrent = rng.normal(0, 4, (20, 20))


def run(sample: Any) -> list[Any]:
    """Spikes (steps, neurons) of both layers; the first is recurrent."""
    source = Source(data=sample.T.astype(float))
    signal, sinks, neurons = source.s_out, [], []
    for weight, tau in zip(weights, taus, strict=True):
        dense = Dense(weights=weight * (DT / tau)[:, None])
        lif = LIF(shape=tau.shape, du=1.0, dv=DT / tau, vth=1.0)
        sink = Sink(shape=tau.shape, buffer=len(sample))
        signal.connect(dense.s_in)
        dense.a_out.connect(lif.a_in)
        lif.s_out.connect(sink.a_in)
        signal = lif.s_out
        sinks.append(sink)
        neurons.append(lif)
    loop = Dense(weights=recurrent * (DT / taus[0])[:, None])
    neurons[0].s_out.connect(loop.s_in)
    loop.a_out.connect(neurons[0].a_in)
    source.run(RunSteps(num_steps=len(sample)), Loihi1SimCfg(select_tag="floating_pt"))
    found = [sink.data.get().T for sink in sinks]
    source.stop()
    return found


def neuron(tau: Any) -> nir.LIF:
    one, none = np.ones(tau.shape), np.zeros(tau.shape)
    return nir.LIF(tau=tau, r=one, v_leak=none, v_threshold=one, v_reset=none)


if __name__ == "__main__":
    spikes = inputs(7, (12,))
    both = [np.stack(layer) for layer in zip(*map(run, spikes), strict=True)]
    nodes = {
        "input": nir.Input(np.array([12])),
        "fc1": nir.Linear(weights[0]),
        "lif1": neuron(taus[0]),
        "loop": nir.Linear(recurrent),
        "fc2": nir.Linear(weights[1]),
        "lif2": neuron(taus[1]),
        "output": nir.Output(np.array([6])),
    }
    edges = [("input", "fc1"), ("fc1", "lif1"), ("lif1", "loop"), ("loop", "lif1")]
    edges += [("lif1", "fc2"), ("fc2", "lif2"), ("lif2", "output")]
    save("lava_lif", nir.NIRGraph(nodes, edges), spikes, {"lif1": both[0], "lif2": both[1]})
