"""A program on a Loihi 2 chip, through Lava's `Loihi2HwCfg` and Intel's lava-loihi.

Never run on a chip by us: there was none.  What can be tested without one is: that the worker finds
out what is missing, and that the processes and the order in which the host sets their states and
biases (`lava.loihi_worker`) do in Lava's simulation what they should.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from neurodeploy.errors import LavaError, TargetError
from neurodeploy.program import Program
from neurodeploy.targets.loihi.lava import environment as env
from neurodeploy.targets.loihi.lava.checks import validate
from neurodeploy.targets.loihi.lava.job import write_job
from neurodeploy.targets.loihi.lava.runner import read_results, run_worker
from neurodeploy.targets.loihi.vendor import from_lava, to_lava
from neurodeploy.trace import Messages, Trace, concatenate

WORKER = "loihi_worker.py"
MODELS = ("lif", "graded")
_HINTS = {
    "lava-loihi": "Intel gives it to members of its neuromorphic research community (INRC); "
    "without it, --backend lava runs the same integers in Lava's models.",
    "host": "Run it where SLURM manages the boards, as in Intel's research cloud, or set NXSDKHOST "
    "to the address of the board's host.",
}


def run_on_loihi2(
    program: Program, inputs: Mapping[str, Messages], *, timeout: float, board: bool = True
) -> Trace:
    """Run all samples on a chip, each as a network of its own.

    Parameters
    ----------
    inputs: uint8 (samples, steps, *shape) per input, int32 for graded ones.
    timeout: seconds for the whole run.
    board: False runs the same processes in Lava's simulation, with the same steps of the host.

    Raises
    ------
    TargetError
        Neurons or outputs that this way does not serve, or lava-loihi or a host is missing.
    LavaError
        No environment, another version, a crash, a hang or garbage output.
    """
    _check(program)
    given = [
        {name: array[i : i + 1] for name, array in inputs.items()}
        for i in range(len(next(iter(inputs.values()))))
    ]
    networks = [to_lava(program, sample, states=False) for sample in given]
    for network in networks:
        validate(network)
    found = env.locate()
    try:
        with tempfile.TemporaryDirectory(prefix="neurodeploy-loihi-") as folder:
            job = Path(folder)
            write_job(networks, job, board=board)
            names = [f"sample {i}" for i in range(len(networks))]
            answer = run_worker(WORKER, names, job, found, timeout)
            lacks = answer.get("missing")
            if lacks == "lava-loihi":
                text = f"running on Loihi 2 needs lava-loihi, which {found.python} does not have"
                raise TargetError(text, hint=_HINTS[lacks])
            if lacks == "host":
                raise TargetError(
                    "no host of a Loihi 2 board can be reached: there is no SLURM controller "
                    "(sinfo), and no NXSDKHOST that answers a ping",
                    hint=_HINTS[lacks],
                )
            results = read_results(networks, answer, job)
    except OSError as error:
        raise LavaError(f"cannot exchange files with the Lava worker: {error}") from error
    return concatenate([from_lava(program, *pair) for pair in zip(given, results, strict=True)])


def _check(program: Program) -> None:
    """Refuse what the worker does not do between the steps of a chip."""
    for population in program.populations:
        if population.model not in MODELS or "reset_interval" in population.parameters:
            raise TargetError(
                f"{population.model} neurons, or neurons that reset at intervals, are not sent to "
                "a chip from here",
                node=population.name,
                hint="--backend lava runs them.",
            )
        if population.readout == "membrane":
            raise TargetError(
                "its potential is read, for which the host would have to stop the chip in every "
                "step",
                node=population.name,
                hint="Let the network return spikes, or use --backend lava.",
            )
    ports = set(program.input_shapes)
    for synapses in program.synapses:
        if synapses.port == "bias" and (synapses.source not in ports or synapses.delay.size > 1):
            raise TargetError(
                "only an input can be a bias on a chip: the host sets it", node=synapses.name
            )
