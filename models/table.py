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
from neurodeploy.models.system import Data, names, system

CALIBRATION = 256
"""Training samples that choose scales."""
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
    Experiment("baseline", "gestures", 550, 275, {"epochs": 8}),
    Experiment("layernorm", "digits"),
    Experiment("deep-residual", "digits"),
    Experiment("quantised", "digits"),
    Experiment("quantised", "glyphs28", 600, 300, {"epochs": 15}),
    Experiment("ds-atgo", "digits"),
    Experiment("ds-atgo", "glyphs28", 1000, 300),
    Experiment("admm", "digits"),
)


def train(experiment: Experiment, data: Data) -> Any:
    """The network of a row."""
    return system(experiment.system).train(data, experiment.recipe())


def measure(experiment: Experiment, data: Data, net: Any) -> Row:
    """A trained network on the test samples: in float, and on each chip."""
    chosen = system(experiment.system)
    right = round(chosen.evaluate(net, data.test_x, data.test_y) * len(data.test_y))
    deployable = chosen.deploy(net, data)
    graph = from_snntorch(deployable.module, deployable.sample)
    calibration = deployable.encode(data.train_x[:CALIBRATION])
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
        {target: on_chip(graph, target, calibration, spikes, data.test_y) for target in TITLES},
    )


def on_chip(
    graph: nir.NIRGraph,
    target: str,
    calibration: NDArray[np.uint8],
    spikes: NDArray[np.uint8],
    labels: NDArray[np.int64],
) -> OnChip | str:
    """A graph on a chip; or the reason why that refuses it."""
    try:
        program = api.compile(graph, target=target, calibration=calibration)
    except NeurodeployError as error:
        return str(error)
    trace = api.run(program, spikes)
    energy = api.energy(program, trace)
    return OnChip(
        agreement(trace.decisions(program.output), labels),
        None,
        energy.counted["spikes"],
        energy.lines[0].total,
        energy.total,
        api.place(program).cores,
    )


def rebuild(chosen: Sequence[str], folder: Path, seeds: Sequence[int] = SEEDS) -> Results:
    """Compute the rows and ablations of the chosen systems; keep what the folder has of others."""
    path = folder / "results.json"
    known = Results.read(path) if path.exists() else Results((), {}, {}, {})
    rows = {(row.system, row.data): row for row in known.rows}
    ablations, titles = dict(known.ablations), dict(known.titles)
    for name in chosen:
        titles[name] = str(system(name).describe()["title"])
        for experiment in EXPERIMENTS:
            if experiment.system == name:
                logger.info("%s on %s", name, experiment.data)
                data = experiment.samples()
                row = measure(experiment, data, train(experiment, data))
                rows[name, data.name] = row
        logger.info("ablation of %s", name)
        ablations[name] = system(name).ablation(seeds)
    wanted = [(experiment.system, experiment.data) for experiment in EXPERIMENTS]
    order = [name for name in names() if name in titles]
    results = Results(
        tuple(rows[key] for key in wanted if key in rows),
        {name: titles[name] for name in order},
        {name: ablations[name] for name in order},
        {
            "neurodeploy": __version__,
            **{name: version(name) for name in ("torch", "snntorch", "numpy")},
        },
    )
    write_atomically(path, results.to_json().encode())
    write_atomically(folder / "README.md", page(results).encode())
    return results


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("systems", nargs="*", choices=[[], *names()], metavar="SYSTEM")
    parser.add_argument("--folder", type=Path, default=Path(__file__).resolve().parent)
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    rebuild(arguments.systems or names(), arguments.folder)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
