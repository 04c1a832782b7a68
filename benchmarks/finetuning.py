"""The demo's network at few bits: `python -m benchmarks.finetuning [--json FILE]`.

At 2, 3, 4 and 8 bits on both chips: right decisions on the test images as it compiles, with the
percentile that decides most training images right, and fine-tuned.  Test images take no part in
anything but the last count.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch

import neurodeploy as nd
from benchmarks.measure import machine, write
from neurodeploy.models import digits
from neurodeploy.models.digits_data import encode, load_data
from neurodeploy.torch import Recipe, finetune

TARGETS = ("loihi2", "spinnaker2")
EPOCHS = {2: 4, 3: 4, 4: 2, 8: 1}
"""By bits."""


def run(target: str, bits: int, epochs: int) -> dict[str, Any]:
    """One chip and width: right decisions of 450 test images."""
    recipe = Recipe(epochs=epochs)
    data, net = load_data(), digits.load()
    x, test = encode(data.train_images), encode(data.test_images)
    graph = nd.from_snntorch(net, torch.from_numpy(x[:2, 0].astype(np.float32)))
    names = [population.name for population in nd.load(graph).populations]
    settings = {name: {"weight_bits": float(bits)} for name in names}
    plain = nd.compile(graph, target=target, calibration=x, settings=settings)
    decided = nd.run(plain, test).decisions(plain.output)
    found = finetune(
        graph,
        target=target,
        inputs=x,
        labels=data.train_labels,
        bits=bits,
        recipe=recipe,
        test=(test, data.test_labels),
    )
    return {
        "target": target,
        "bits": bits,
        "reference": found.reference.to_dict(),
        "compiled": int(np.count_nonzero(decided == data.test_labels)),
        "percentile": found.percentile,
        "before": found.before.to_dict(),
        "after": found.after.to_dict(),
        "epochs": recipe.epochs,
        "epoch": found.epoch,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        "| chip | bits | float | compiled | clipped at the best percentile | fine-tuned (95 %) |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        after, trials = row["after"], row["after"]["trials"]
        lines.append(
            f"| {row['target']} | {row['bits']} | {row['reference']['value']:.1%} "
            f"| {row['compiled'] / trials:.1%} "
            f"| {row['before']['value']:.1%} ({row['percentile']:g}) "
            f"| {after['value']:.1%} ({after['low']:.1%} to {after['high']:.1%}) |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where to write everything that was measured")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for target in TARGETS:
        for bits, epochs in EPOCHS.items():
            rows.append(run(target, bits, epochs))
            print(rows[-1], flush=True)
    print(table(rows))
    if options.json is not None:
        write(options.json, {"machine": machine(), "rows": rows})


if __name__ == "__main__":
    main()
