"""`inspect`: what a file holds, where a target differs, and whether and where it fits."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.markup import escape

from neurodeploy.cli import checks, tables
from neurodeploy.cli.files import load_inputs
from neurodeploy.cli.output import Output
from neurodeploy.cli.semantics import chosen_semantics, semantics_arguments
from neurodeploy.errors import FileError, NeurodeployError

if TYPE_CHECKING:
    from neurodeploy.network import Network
    from neurodeploy.program import Program
    from neurodeploy.trace import Inputs

STEPS, RATE = 32, 0.1
"""Of the random spikes that a graph is compiled with where no others are given."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Of `inspect`."""
    parser.add_argument("file", help="a .nir graph, a .net file of lava-dl or a .ndp program")
    parser.add_argument(
        "--target", help="list where a graph and this target differ, and what it would use of it"
    )
    parser.add_argument(
        "--calibration",
        help=f".npy or .npz with spikes (samples, steps, *shape), for --target; otherwise {STEPS} "
        "steps of random ones, a tenth of all",
    )
    parser.add_argument("--map", help="write the core map with its traffic, an .svg picture")
    semantics_arguments(parser)


def run(options: argparse.Namespace, output: Output) -> int:
    """`inspect`; see the module's docstring."""
    from neurodeploy import api
    from neurodeploy.program import Program
    from neurodeploy.semantics import diff
    from neurodeploy.target import get_target

    if Path(options.file).suffix == ".ndp":
        program = Program.load(options.file)
        tables.program(output, program)
        data = {**tables.program_data(program), **checks.certificate(program, output)}
        output.result({**data, **_placed(program, options.map, output)})
        return 0
    target = get_target(options.target) if options.target else None
    network = api.load(options.file, chosen_semantics(options))
    tables.network(output, network)
    differences = [
        difference
        for population in network.populations
        if target is not None
        for difference in diff(population.semantics, target.semantics, node=population.name)
    ]
    data = tables.network_data(network, differences)
    if target is not None:
        tables.differences(output, differences, target.name)
        data |= _fits(network, target.name, options, output)
    elif options.map:
        raise FileError("a core map needs a target", node=options.map, hint="Name one: --target.")
    output.result(data)
    return 0


def _fits(
    network: Network, target: str, options: argparse.Namespace, output: Output
) -> dict[str, Any]:
    """What the network uses of the target, or everything that keeps it from being compiled."""
    from neurodeploy import api

    given = options.calibration
    calibration = load_inputs(given) if given else _random(network)
    try:
        program = api.compile(
            options.file,
            target=target,
            calibration=calibration,
            semantics=chosen_semantics(options),
        )
    except NeurodeployError as error:
        output.say(f"\nit does not compile for {target}:")
        for reason in getattr(error, "violations", (error,)):
            output.say(f"  {escape(str(reason))}")
        return {"fits": False, "reasons": error.to_dict()}
    if not given:
        output.say(f"rates below are those of random input spikes, {RATE:.0%} of all")
    return {"fits": True, **_placed(program, options.map, output)}


def _random(network: Network) -> Inputs:
    rng = np.random.default_rng(0)
    return {
        port.name: (rng.random((1, STEPS, *port.shape)) < RATE).astype(np.uint8)
        for port in network.inputs
    }


def _placed(program: Program, picture: str | None, output: Output) -> dict[str, Any]:
    """Resources, what the target proposes, and the core map, of chips that have cores."""
    from neurodeploy import api
    from neurodeploy.archive import write_atomically
    from neurodeploy.target import Places, Proposes, get_target

    target = get_target(program.target)
    if not isinstance(target, Places):
        return {}
    placement = api.place(program)
    tables.resources(output, placement)
    data: dict[str, Any] = {"resources": placement.to_dict()}
    if isinstance(target, Proposes) and program.golden is not None:
        proposals = target.proposals(program, placement)
        tables.proposals(output, proposals)
        data["proposals"] = [
            {"node": p.node, "what": p.what, **p.value.to_dict()} for p in proposals
        ]
    if picture:
        from neurodeploy.pages.core_map import core_map, standalone

        write_atomically(Path(picture), standalone(core_map(placement)).encode())
        output.say(f"wrote {picture}")
        data["map"] = picture
    return data
