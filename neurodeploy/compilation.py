"""The stages of compilation: a network with its reference trace, lowered, checked and completed."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from neurodeploy import reference
from neurodeploy._version import __version__
from neurodeploy.choices import Settings
from neurodeploy.errors import DesignRuleError, InputError
from neurodeploy.frontends.nir import means
from neurodeploy.network import Network
from neurodeploy.passes import MergeLinear, rewrites, run_passes
from neurodeploy.program import Golden, Program
from neurodeploy.simulator.engine import simulate
from neurodeploy.target import Explores, Places, TakesAnalog, Target
from neurodeploy.trace import Inputs, Messages, Trace, check_currents, check_inputs

GOLDEN_SAMPLES = 4
PASSES = (MergeLinear(),)


def calibrated(
    network: Network, chip: Target, calibration: Inputs
) -> tuple[Network, dict[str, NDArray[Any]], Trace]:
    """The network to lower, its checked inputs, and its reference trace on them.

    Raises `InputError`.
    """
    network = run_passes(network, PASSES)
    shapes = {port.name: port.shape for port in network.inputs}
    graded = {port.name for port in network.inputs if port.graded}
    if isinstance(chip, TakesAnalog) and chip.analog:
        given = check_currents(calibration, shapes)
    else:
        given = check_inputs(calibration, shapes, graded)
    record = tuple(population.name for population in network.populations)
    return network, given, reference.simulate(network, given, record=record)


def carried(program: Program) -> tuple[Network, dict[str, Network]]:
    """The reference network of a program, as it was compiled, and as it was before each pass.

    Raises `InputError` where it carries none, as one that was read from integers may.
    """
    if not program.graph:
        raise InputError(
            "the program carries no reference network: it was read from integers",
            hint="Run it in a backend of its target instead, with run --backend.",
        )
    network, before = of_plain(program.graph), {}
    for name, after in rewrites(network, PASSES):
        before[name], network = network, after
    return network, before


def of_plain(graph: Mapping[str, Any]) -> Network:
    """The network of a graph that `frontends.nir.plain` made plain; raises `InputError`."""
    try:
        # NIR removes entries from the dictionaries that it reads, hence the copy.
        found = nir.dict2NIRNode({**copy.deepcopy(dict(graph)), "type_check": False})
    except Exception as error:  # NIR raises whatever its parsing meets
        raise InputError(f"the program's NIR graph cannot be read: {error}") from error
    return means(found)


def lowered(chip: Target, network: Network, trace: Trace, settings: Settings | None) -> Program:
    """`network` on the chip, as the target does it or with settings."""
    if settings is None:
        return chip.lower(network, trace)
    if not isinstance(chip, Explores):
        raise InputError("it has nothing to choose", node=f"target {chip.name}")
    choices = {choice.name: choice.values for choice in chip.choices}
    names = {population.name for population in network.populations}
    own = [(name, value) for chosen in settings.values() for name, value in chosen.items()]
    if not names.issuperset(settings) or any(v not in choices.get(name, ()) for name, v in own):
        known = (f"{name} ({', '.join(f'{v:g}' for v in choices[name])})" for name in choices)
        raise InputError(
            "settings of unknown populations, or unknown choices or values",
            hint=f"Populations: {', '.join(sorted(names))}; for each: {', '.join(known)}.",
        )
    return chip.lower_with(network, trace, settings)


def completed(
    program: Program,
    chip: Target,
    spikes: Mapping[str, Messages],
    neurons_per_core: Mapping[str, int] | None = None,
) -> Program:
    """A lowered program, checked, with golden traces, where it comes from and where it goes."""
    violations = chip.check(program)
    if violations:
        raise DesignRuleError(violations)
    golden_inputs = {name: array[:GOLDEN_SAMPLES] for name, array in spikes.items()}
    trace = simulate(program, golden_inputs, chip.machine)
    sent = {population.name: trace.sent(population.name) for population in program.populations}
    golden = Golden(golden_inputs, sent)
    program = replace(
        program,
        golden=golden,
        provenance={**program.provenance, **_provenance(spikes)},
        semantics=chip.semantics.to_dict(),
        chip=chip.chip.to_dict(),
    )
    if isinstance(chip, Places):
        from neurodeploy.mapping import choose

        mapped = choose(program, chip.cores(program), neurons_per_core=neurons_per_core)
        program = replace(program, mapped=mapped)
    elif neurons_per_core:
        raise InputError("it has no neurocores to place neurons on", node=chip.chip.title)
    violations = chip.check(program)  # rates and recordings, which the golden traces say
    if violations:
        raise DesignRuleError(violations)
    return program


def _provenance(calibration: Mapping[str, Messages]) -> dict[str, str]:
    digest = hashlib.sha256()
    for name in sorted(calibration):
        digest.update(name.encode())
        digest.update(str(calibration[name].shape).encode())
        digest.update(calibration[name].tobytes())
    return {
        "neurodeploy": __version__,
        "nir": nir.version,
        "numpy": np.__version__,
        "calibration": digest.hexdigest(),
    }
