"""PilotNet, whose power was measured on Loihi 2: lava-dl's network, simulated and counted here.

lava-dl's wheel installs the network beside its tests (`netx/gts/pilotnet_lif/network.net`).  Its
published run is `tutorials/lava/lib/dl/netx/pilotnet_snn/benchmark.ipynb` @d825ac50: sixteen steps
per inference without a pause between inferences, and by its plot of activity no input that reaches
the first layer, so that biases drive the network.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from neurodeploy.chip import Chip
from neurodeploy.costs.counts import count
from neurodeploy.costs.draws import per_sample
from neurodeploy.costs.models import CORE
from neurodeploy.costs.validation import Anchor
from neurodeploy.errors import TargetError
from neurodeploy.mapping import place
from neurodeploy.quantity import Quantity
from neurodeploy.simulator.engine import simulate
from neurodeploy.targets.loihi.lava import environment
from neurodeploy.targets.loihi.machine import LoihiMachine
from neurodeploy.targets.loihi.netx import Options, read_program
from neurodeploy.targets.loihi.neurocores import Neurocores

STEPS = 16
NOTEBOOK = "lava-dl netx/pilotnet_snn/benchmark.ipynb @d825ac50"
PLACE = "lib/python3.*/site-packages/tests/lava/lib/dl/netx/gts/pilotnet_lif/network.net"
WATTS, SECONDS = 0.447, 152.85e-6
EVENTS = 2.286e6


def network_file() -> Path:
    """The network, in the Lava environment.

    Raises `TargetError` where there is none, or no network in it.
    """
    folder = environment.locate().python.parents[1]
    found = sorted(folder.glob(PLACE))
    if not found:
        raise TargetError("lava-dl's PilotNet is not there", node=str(folder / PLACE))
    return found[0]


def pilotnet(chip: Chip) -> Anchor:
    """Counts per step of one inference, and the energy that was measured for a step.

    The network runs without a pause: every step of the chip updates every neuron, and what an
    inference causes is spread over its own sixteen steps.

    Raises
    ------
    TargetError
        See `network_file`.
    """
    program = read_program(network_file(), Options(reset_interval=STEPS))
    (port,) = program.inputs
    silence = np.zeros((1, STEPS, *port.shape), np.int32)
    trace = simulate(program, {port.name: silence}, LoihiMachine())
    placement = place(program, Neurocores(chip))
    counts = count(program, trace, placement)
    steps = {"neuron updates": counts.chip_steps, "core steps": counts.chip_steps}
    totals = per_sample(counts, placement)
    names = ("synaptic events", "neuron updates", "spikes", "packets", "hops", "core steps")
    joules = WATTS * SECONDS
    return Anchor(
        name="PilotNet",
        title="PilotNet of lava-dl, simulated, counted and placed here",
        chip=chip.name,
        lines=(CORE,),
        per="step",
        measured=Quantity(joules, joules, joules, "J", "literature", NOTEBOOK),
        counts={name: float(totals[name][0] / steps.get(name, counts.steps)[0]) for name in names},
        counted_by=f"bit-accurate run of {STEPS} steps on {placement.cores} cores",
        names=(),
        cause="",
        kind="counted",
        published={
            "synaptic events": Quantity(EVENTS, EVENTS, EVENTS, "1", "literature", NOTEBOOK)
        },
        rests_on="V2",
    )
