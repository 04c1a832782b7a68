"""What it rests on that the chip does what the simulator does, as data."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from neurodeploy.program import Neurons, Program
from neurodeploy.target import Evidence
from neurodeploy.targets.spinnaker2.models import TO_V_RESET

CODE = "nest/nestml, pynestml/codegeneration/resources_spinnaker2 @4bde5dbec"
FIELDS = "ngr-francesco/dynamic-neural-field-spinnaker2"
BRAILLE = "neuromorphs/NIR, paper/03_rnn @7232ada: s2_apply.py, s2_activity_noDelay_noBias_subtract"

EVIDENCE: Mapping[str, Evidence] = {
    "lif": Evidence(
        "lif",
        "recorded on a chip",
        "400 neurons over 400 ticks, recurrent, reset to 0: 20,722 spikes, as many as on the chip, "
        "132 of them at exactly the threshold; `>` in place of `>=` would give 19,384.",
        f"{FIELDS} @8df0e08",
    ),
    "lif_curr_exp": Evidence(
        "lif_curr_exp",
        "recorded on a chip",
        "400 neurons over 400 ticks, recurrent, reset by subtraction: 10,188 spikes, none of "
        "160,000 cells differs.",
        f"{FIELDS} @a2a00ce",
    ),
    "lif_curr_exp_no_delay": Evidence(
        "lif_curr_exp_no_delay",
        "recorded on a chip",
        "A trained recurrent layer of 40 neurons over 256 ticks, weights up to 127, reset by "
        "subtraction: 119 spikes, none of 10,200 cells differs.",
        BRAILLE,
    ),
    "lif_no_delay": Evidence(
        "lif_no_delay",
        "inferred",
        "Its two relatives are recorded, lif and lif_curr_exp_no_delay. One neuron over 1000 steps "
        "in py-spinnaker2's Brian2 backend is equal in every spike.",
        "neuromorphs/NIR, paper/01_lif @7232ada: lif_spinnaker2.csv",
    ),
    "lif_conv2d": Evidence(
        "lif_conv2d",
        "inferred",
        "Taken to be lif with exact sums of 8-bit kernels; its chip code was not readable.",
        "py-spinnaker2's s2_nir.py, in SpiNNakerManchester/sPiNNIRker @47c758b",
    ),
    "delays": Evidence(
        "delay fields 1 to 7",
        "read in chip code",
        "A spike arrives field + 1 ticks after it was sent; all recordings have field 0.",
        f"{CODE}: synapses.c, ring index (delay + t) mod 8",
    ),
    "v_reset": Evidence(
        "v_reset other than 0",
        "read in chip code",
        "The recorded reset to v_reset is one to 0.",
        f"{CODE}: the neuron model",
    ),
    "v_init": Evidence(
        "v_init other than 0",
        "read in chip code",
        "The potential before tick 0; all recordings start at 0.",
        f"{CODE}: the neuron model",
    ),
    "self-synapses": Evidence(
        "self-synapses",
        "recorded on a chip",
        "Neurons of the recorded fields excite themselves, one tick later.",
        f"{FIELDS} @a2a00ce",
    ),
    "rounding": Evidence(
        "last bit of the potential",
        "inferred",
        "Float32, each operation rounded, denormal numbers kept. Whether the chip's compiler fuses "
        "v alpha + x into one rounding is not known: the recorded fields come no closer than 0.008 "
        "to a threshold without being at it, so they cannot tell.",
        f"{CODE}: maths-util.h (REAL is float)",
    ),
    "deadline": Evidence(
        "a core that does not finish its tick",
        "read in chip code",
        "It only logs that and runs late, so spikes may then arrive in another tick. Everything "
        "said here is about runs in which every core met every tick.",
        f"{CODE}: main.c",
    ),
}
"""What is known of every model and feature."""

ALWAYS = ("rounding", "deadline")


def evidence(program: Program) -> tuple[Evidence, ...]:
    """What is known of all that `program` uses: models, then features."""
    used = {population.model for population in program.populations if population.model in EVIDENCE}
    if any(synapses.delay.any() for synapses in program.synapses):
        used.add("delays")
    if any(s.recurrent and s.kind == "one-to-one" for s in program.synapses):
        used.add("self-synapses")
    for population in program.populations:
        if _any(population, "v_init"):
            used.add("v_init")
        if _any(population, "v_reset") and np.any(population.register("reset") == TO_V_RESET):
            used.add("v_reset")
    return tuple(item for name, item in EVIDENCE.items() if name in used or name in ALWAYS)


def _any(population: Neurons, register: str) -> bool:
    return bool(np.any(population.float_register(register)))
