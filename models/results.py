"""What came of the training systems: rows of figures with their kinds, as JSON and as a page."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from neurodeploy.equivalence.statistics import Proportion
from neurodeploy.models.system import Ablation, Arm
from neurodeploy.quantity import Quantity, engineering

TITLES = {"loihi2": "Loihi 2", "spinnaker2": "SpiNNaker2"}
"""The chips of the tables, by target."""


@dataclass(frozen=True)
class OnChip:
    """A network on a chip, run on the test samples in the bit-accurate simulator.

    Attributes
    ----------
    accuracy: simulated.
    tuned: after fine-tuning in the chip's arithmetic, simulated; None where that was not done.
    spikes: of all populations, per inference: minimum, mean, maximum, counted.
    core: energy of the cores' work per inference, in J; derived.
    total: with static power, management and host, in J; derived.
    cores: counted.
    """

    accuracy: Proportion
    tuned: Proportion | None
    spikes: Quantity
    core: Quantity
    total: Quantity
    cores: int

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "accuracy": self.accuracy.to_dict(),
            "tuned": None if self.tuned is None else self.tuned.to_dict(),
            "spikes": self.spikes.to_dict(),
            "core": self.core.to_dict(),
            "total": self.total.to_dict(),
            "cores": self.cores,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> OnChip:
        """The inverse of `to_dict`."""
        tuned = data["tuned"]
        return cls(
            _share(data["accuracy"]),
            None if tuned is None else _share(tuned),
            Quantity(**data["spikes"]),
            Quantity(**data["core"]),
            Quantity(**data["total"]),
            data["cores"],
        )


@dataclass(frozen=True)
class Row:
    """One system on one data set.

    Attributes
    ----------
    recipe: what it was trained with, as plain data.
    training_samples: number of them.
    floating: accuracy of the trained network as it is, float32; measured.
    deployed: of the part that goes onto chips, float64, behind the host's part; simulated.
    chips: by target; a text where the chip refuses the network, saying why.
    """

    system: str
    data: str
    synthetic: bool
    recipe: Mapping[str, Any]
    training_samples: int
    floating: Proportion
    deployed: Proportion
    chips: Mapping[str, OnChip | str]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "system": self.system,
            "data": self.data,
            "synthetic": self.synthetic,
            "recipe": dict(self.recipe),
            "training_samples": self.training_samples,
            "floating": self.floating.to_dict(),
            "deployed": self.deployed.to_dict(),
            "chips": {
                name: found if isinstance(found, str) else found.to_dict()
                for name, found in self.chips.items()
            },
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Row:
        """The inverse of `to_dict`."""
        chips = {
            name: found if isinstance(found, str) else OnChip.from_dict(found)
            for name, found in data["chips"].items()
        }
        shares = {name: _share(data[name]) for name in ("floating", "deployed")}
        return cls(**{**data, **shares, "chips": chips})


@dataclass(frozen=True)
class Results:
    """Everything that the page shows: rows, and by system its title and its ablations.

    `missing` names what was not computed yet, as after a rebuild that was interrupted.
    """

    rows: tuple[Row, ...]
    titles: Mapping[str, str]
    ablations: Mapping[str, tuple[Ablation, ...]]
    versions: Mapping[str, str]
    missing: tuple[str, ...] = ()

    def to_json(self) -> str:
        """One document."""
        tree = {
            "versions": dict(self.versions),
            "missing": list(self.missing),
            "titles": dict(self.titles),
            "rows": [row.to_dict() for row in self.rows],
            "ablations": {
                name: [asdict(one) for one in found] for name, found in self.ablations.items()
            },
        }
        return json.dumps(tree, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def read(cls, path: Path) -> Results:
        """The inverse of `to_json`, from a file."""
        tree = json.loads(path.read_text("utf-8"))
        ablations = {
            name: tuple(
                Ablation(
                    **{
                        **one,
                        "seeds": tuple(one["seeds"]),
                        "arms": tuple(
                            Arm(arm["name"], tuple(arm["values"])) for arm in one["arms"]
                        ),
                    }
                )
                for one in found
            )
            for name, found in tree["ablations"].items()
        }
        rows = tuple(Row.from_dict(row) for row in tree["rows"])
        return cls(rows, tree["titles"], ablations, tree["versions"], tuple(tree["missing"]))


def _share(data: Mapping[str, Any]) -> Proportion:
    return Proportion(data["successes"], data["trials"])


def page(results: Results) -> str:
    """The page in Markdown."""
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    lines = [
        *("# The training systems, and what each costs on a chip", ""),
        "Generated by `python -m neurodeploy.models.table` from `results.json`; tests check that "
        "the two agree, and recompute some of the rows.  A system that follows a paper is no "
        "reproduction of it: the networks and the data are small, data marked † is a synthetic "
        "stand-in that is rendered here, and what was not known of the paper is said in the "
        "system's model card (`neurodeploy train NAME -o FOLDER`).",
        *("", f"Made with {versions}.", ""),
        *((f"**Not computed yet**: {'; '.join(results.missing)}.", "") if results.missing else ()),
        *("## Accuracy", ""),
        "Per cent of test samples, with a Wilson interval of 95 %.  *Float*: the trained network "
        "as it is (measured).  *Deployed*: the part for chips in float64, behind what the host "
        "does, decided by most output spikes or the highest mean potential, which need not be the "
        "training's own way (simulated).  *Chip*: in the chip's integers, bit for bit (simulated), "
        "before and after two epochs of fine-tuning in its arithmetic, on at most 512 training "
        "samples.",
        "",
        *_table(
            [
                *("system", "data", "float", "deployed"),
                *(part for chip in TITLES.values() for part in (chip, "fine-tuned")),
            ],
            (_accuracies(row) for row in results.rows),
        ),
        *("", "## Cost of one inference", ""),
        "Spikes of all neurons (counted), energy of the cores' work and with everything else "
        "(derived from counts and cited constants, with interval), cores (counted); before "
        "fine-tuning.",
        "",
        *_table(
            [
                *("system", "data"),
                *(
                    f"{chip}: {what}"
                    for chip in TITLES.values()
                    for what in ("spikes", "core energy", "all energy", "cores")
                ),
            ],
            (_costs(row) for row in results.rows),
        ),
        *("", "## What the papers claim, at this scale", ""),
        "Mean ± standard deviation over seeds; every network was trained anew (measured).",
        "",
    ]
    for name, found in results.ablations.items():
        lines += [f"### {results.titles[name]}", ""]
        for one in found:
            seeds = ", ".join(map(str, one.seeds))
            lines += [
                f"**{one.measure}**, {one.data}, seeds {seeds}.  Claimed: {one.claim}.",
                *("", f"*{one.outcome}*", ""),
                *_table(
                    [arm.name for arm in one.arms],
                    [[_spread(arm, one.unit) for arm in one.arms]],
                ),
                "",
            ]
    return "\n".join(lines).rstrip() + "\n"


def _accuracies(row: Row) -> Iterator[str]:
    yield from (f"`{row.system}`", row.data + "†" * row.synthetic)
    yield from (_percent(row.floating), _percent(row.deployed))
    for target in TITLES:
        found = row.chips[target]
        if isinstance(found, str):
            yield from (f"refused: {found}", "")
        else:
            yield _percent(found.accuracy)
            yield "not done" if found.tuned is None else _percent(found.tuned)


def _costs(row: Row) -> Iterator[str]:
    yield from (f"`{row.system}`", row.data + "†" * row.synthetic)
    for target in TITLES:
        found = row.chips[target]
        if isinstance(found, str):
            yield from ("refused", "", "", "")
        else:
            yield f"{found.spikes.typical:,.0f}"
            yield from (_interval(found.core), _interval(found.total))
            yield f"{found.cores}"


def _percent(share: Proportion) -> str:
    low, high = share.interval
    return f"{100 * share.value:.1f} ({100 * low:.1f}–{100 * high:.1f})"


def _interval(value: Quantity) -> str:
    low, typical, high = (
        engineering(v, value.unit) for v in (value.low, value.typical, value.high)
    )
    return f"{typical} ({low} to {high})"


def _spread(arm: Arm, unit: str) -> str:
    if unit == "1":
        return f"{100 * arm.mean:.1f} ± {100 * arm.spread:.1f} %"
    return f"{arm.mean:.3g} ± {arm.spread:.2g} {unit}"


def _table(columns: list[str], rows: Any) -> list[str]:
    return [
        f"| {' | '.join(columns)} |",
        f"|{'---|' * len(columns)}",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
