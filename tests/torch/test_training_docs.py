"""The tables of docs/training.md are those of the measurements kept in docs/measured."""

from __future__ import annotations

import json
from typing import Any

from benchmarks import finetuning, spike_price
from tests.pages_of_docs import FOLDER, check


def rows(name: str) -> list[dict[str, Any]]:
    tree: dict[str, Any] = json.loads((FOLDER / "measured" / f"{name}.json").read_text("utf-8"))
    found: list[dict[str, Any]] = tree["rows"]
    return found


def test_fine_tuning_recovers_what_few_bits_lose() -> None:
    found = rows("finetuning")
    check("training.md", "finetuning", finetuning.table(found))
    assert {(row["target"], row["bits"]) for row in found} >= {
        (target, bits) for target in finetuning.TARGETS for bits in (3, 4, 8)
    }
    for row in found:
        lost = row["reference"]["value"] - row["after"]["value"]
        assert row["after"]["trials"] == 450
        if row["bits"] in (4, 8):
            assert lost <= 0.005, row
        if row["bits"] == 3:
            assert lost <= 0.02, row


def test_spikes_with_a_price_save_energy() -> None:
    found = rows("spike_price")
    check("training.md", "price", spike_price.table(found))
    tuned = [row for row in spike_price.outcomes(found) if row["price"]]
    assert {row["data"] for row in tuned} == {"digits", "glyphs28"}
    for row in tuned:
        assert row["seeds"] == len(spike_price.SEEDS)
        if row["target"] == "loihi2":
            assert row["saved"] >= 0.4
            assert row["lost"] <= 0.005


def test_one_row_is_measured_again() -> None:
    """Three bits on SpiNNaker2, one epoch of the recorded ones."""
    (recorded,) = (
        row for row in rows("finetuning") if (row["target"], row["bits"]) == ("spinnaker2", 3)
    )
    again = finetuning.run("spinnaker2", 3, epochs=1)
    assert again["reference"] == recorded["reference"]
    assert (again["compiled"], again["before"]) == (recorded["compiled"], recorded["before"])
    lost = again["reference"]["value"] - again["after"]["value"]
    assert lost <= 0.02
