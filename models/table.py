"""`python -m neurodeploy.models.table [SYSTEM …]`: train, deploy, run and write the page of models.

Trains every system anew on its data sets, puts it onto both chips, repeats its paper's ablation,
and writes `results.json` and `README.md` beside this file; of named systems only theirs.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from neurodeploy import api, reference
from neurodeploy._version import __version__
from neurodeploy.archive import write_atomically
from neurodeploy.equivalence.statistics import Proportion, agreement
from neurodeploy.errors import NeurodeployError
from neurodeploy.frontends.snntorch import from_snntorch
from neurodeploy.models.data import load
from neurodeploy.models.results import TITLES, OnChip, Results, Row, page
from neurodeploy.models.system import SYSTEMS, Ablation, Data, system
from neurodeploy.models.training import one_thread
from neurodeploy.torch.finetuning import Recipe as FineTuning
from neurodeploy.torch.finetuning import finetune

CALIBRATION = 256
"""Training samples that choose scales."""
TUNED_ON = 512
"""Training samples for fine-tuning."""
TUNING = FineTuning(epochs=2)
Samples = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""Spikes (samples, steps, *shape) and labels (samples,)."""
SEEDS = (0, 1, 2)
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Experiment:
    """A row to be: a system, a data set of so many samples, and what its recipe has otherwise."""

    system: str
    data: str
    train: int | None = None
    test: int | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)

    def samples(self) -> Data:
        """The data set."""
        return load(self.data, train=self.train, test=self.test)

    def recipe(self) -> Any:
        """The recipe."""
        return replace(system(self.system).RECIPE, **self.changes)


EXPERIMENTS = (
    Experiment("baseline", "digits"),
    Experiment("baseline", "glyphs28", 800, 300, {"epochs": 8}),
    Experiment("baseline", "saccades", 600, 300, {"epochs": 8}),
    Experiment("baseline", "gestures", 550, 275, {"epochs": 8, "rate_penalty": 6.0}),
    Experiment("layernorm", "digits"),
    Experiment("deep-residual", "digits"),
    Experiment("quantised", "digits"),
    Experiment("quantised", "glyphs28", 600, 300, {"epochs": 15, "learning_rate": 5e-3}),
    Experiment("quantised", "gestures", 330, 275, {"epochs": 5, "learning_rate": 1e-2}),
    Experiment("ds-atgo", "digits"),
    Experiment("ds-atgo", "glyphs28", 1000, 300),
    Experiment("admm", "digits"),
)


def train(experiment: Experiment, data: Data, checkpoints: Path | None = None) -> Any:
    """The network of a row; with a folder of checkpoints it goes on from there."""
    file = None if checkpoints is None else checkpoints / f"{experiment.system}-{data.name}.pt"
    return system(experiment.system).train(data, experiment.recipe(), checkpoint=file)


def measure(
    experiment: Experiment, data: Data, net: Any, tuning: FineTuning | None = TUNING
) -> Row:
    """A trained network on the test samples: in float, and on each chip.

    `tuning` of None leaves fine-tuning out.
    """
    chosen = system(experiment.system)
    right = round(chosen.evaluate(net, data.test_x, data.test_y) * len(data.test_y))
    deployable = chosen.deploy(net, data)
    graph = from_snntorch(deployable.module, deployable.sample)
    known = deployable.encode(data.train_x[:TUNED_ON])
    spikes = deployable.encode(data.test_x)
    network = api.load(graph)
    decided = reference.simulate(network, spikes).decisions(network.outputs[0])
    return Row(
        experiment.system,
        data.name,
        data.synthetic,
        asdict(experiment.recipe()),
        len(data.train_y),
        Proportion(right, len(data.test_y)),
        agreement(decided, data.test_y),
        {
            target: on_chip(
                graph, target, (known, data.train_y[:TUNED_ON]), (spikes, data.test_y), tuning
            )
            for target in TITLES
        },
    )


def on_chip(
    graph: nir.NIRGraph,
    target: str,
    known: Samples,
    test: Samples,
    tuning: FineTuning | None = TUNING,
) -> OnChip | str:
    """A graph on a chip, before and after fine-tuning on known samples; or why it is refused."""
    try:
        program = api.compile(graph, target=target, calibration=known[0][:CALIBRATION])
    except NeurodeployError as error:
        return str(error)
    trace = api.run(program, test[0])
    energy = api.energy(program, trace)
    tuned = None
    if tuning is not None:
        with one_thread():
            tuned = finetune(
                graph, target=target, inputs=known[0], labels=known[1], recipe=tuning, test=test
            ).after
    return OnChip(
        agreement(trace.decisions(program.output), test[1]),
        tuned,
        energy.counted["spikes"],
        energy.lines[0].total,
        energy.total,
        api.place(program).cores,
    )


def rebuild(
    chosen: Sequence[str],
    folder: Path,
    *,
    ablate: bool = True,
    checkpoints: Path | None = None,
) -> Results:
    """Compute the rows and ablations of the chosen systems; keep what the folder has of others.

    The files are written after each row, so that a rebuild that is interrupted has done something.
    """
    path = folder / "results.json"
    known = Results.read(path) if path.exists() else Results((), {}, {}, {})
    rows = {(row.system, row.data): row for row in known.rows}
    ablations, titles = dict(known.ablations), dict(known.titles)
    found = known
    for name in chosen:
        titles[name] = str(system(name).describe()["title"])
        for experiment in EXPERIMENTS:
            if experiment.system == name:
                logger.info("%s on %s", name, experiment.data)
                data = experiment.samples()
                row = measure(experiment, data, train(experiment, data, checkpoints))
                rows[name, data.name] = row
                found = write(folder, rows, titles, ablations)
        if ablate:
            logger.info("ablation of %s", name)
            ablations[name] = system(name).ablation(SEEDS)
            found = write(folder, rows, titles, ablations)
    return found


def write(
    folder: Path,
    rows: Mapping[tuple[str, str], Row],
    titles: Mapping[str, str],
    ablations: Mapping[str, tuple[Ablation, ...]],
) -> Results:
    """Write `results.json` and `README.md`, in the order of the experiments and systems."""
    versions = {name: version(name) for name in ("torch", "snntorch", "numpy")}
    wanted = [(experiment.system, experiment.data) for experiment in EXPERIMENTS]
    missing = [
        *(f"{name} on {data}" for name, data in wanted if (name, data) not in rows),
        *(f"the ablation of {name}" for name in SYSTEMS if name not in ablations),
    ]
    results = Results(
        tuple(rows[key] for key in wanted if key in rows),
        {name: titles[name] for name in SYSTEMS if name in titles},
        {name: ablations[name] for name in SYSTEMS if name in ablations},
        {"neurodeploy": __version__, **versions},
        tuple(missing),
    )
    write_atomically(folder / "results.json", results.to_json().encode())
    write_atomically(folder / "README.md", page(results).encode())
    return results


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("systems", nargs="*", choices=[[], *SYSTEMS], metavar="SYSTEM")
    parser.add_argument("--folder", type=Path, default=Path(__file__).resolve().parent)
    parser.add_argument("--checkpoints", type=Path, help="folder of networks to go on from")
    parser.add_argument("--rows", action="store_true", help="leave the ablations as they are")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if arguments.checkpoints is not None:
        arguments.checkpoints.mkdir(parents=True, exist_ok=True)
    rebuild(
        arguments.systems or [*SYSTEMS],
        arguments.folder,
        ablate=not arguments.rows,
        checkpoints=arguments.checkpoints,
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
