"""What spikes cost in the loss: `python -m benchmarks.spike_price [--json FILE]`.

Trains a network of 16 and 32 channels, else the demo's, with a price of synaptic events and
without, on two data sets and several seeds; compiles each, and compares test accuracy on the chip's
arithmetic and energy.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import neurodeploy as nd
from benchmarks.measure import machine, write
from neurodeploy.models import digits
from neurodeploy.models.data import load
from neurodeploy.models.layerwise import reset, spikes_per_layer, time_major
from neurodeploy.models.system import Data
from neurodeploy.models.training import fit, session
from neurodeploy.torch.spike_cost import synaptic_events

TARGETS = ("loihi2", "spinnaker2")
SEEDS = (0, 1, 2)
CALIBRATION = 128


@dataclass(frozen=True)
class Task:
    """A data set, how long it is trained on, and the prices in loss per 1,000 synaptic events.

    `pool`: pixels along each axis of which the host sends the mean: the network stays small.
    """

    data: str
    pool: int
    steps: int
    train: int
    test: int
    epochs: int
    prices: tuple[float, ...]


TASKS = (
    Task("digits", 1, 16, 1347, 450, 12, (0.0, 0.002)),
    Task("glyphs28", 2, 8, 3000, 1000, 12, (0.0, 0.0009)),
)


def samples(task: Task) -> Data:
    """The task's data set, pooled."""
    data = load(task.data, train=task.train, test=task.test)

    def pooled(x: NDArray[Any]) -> NDArray[np.float32]:
        count, channels, height, width = x.shape
        blocks = (count, channels, height // task.pool, task.pool, width // task.pool, task.pool)
        return np.asarray(x.reshape(blocks).mean((3, 5)), np.float32)

    return replace(data, train_x=pooled(data.train_x), test_x=pooled(data.test_x))


def build(data: Data, recipe: digits.Recipe) -> nn.Sequential:
    """The demo's network with twice as many channels."""
    net = digits.build(recipe, data.shape, data.classes)
    layers = dict(net.named_children())
    layers["conv1"], layers["norm1"] = (
        nn.Conv2d(data.shape[0], 16, 3, padding=1),
        nn.BatchNorm2d(16),
    )
    layers["conv2"], layers["norm2"] = nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32)
    layers["fc"] = nn.Linear(2 * net.get_parameter("fc.weight").shape[1], data.classes)
    for name in ("norm1", "norm2"):
        nn.init.constant_(layers[name].weight, recipe.norm_gain)
    return nn.Sequential(OrderedDict(layers))


def train(data: Data, steps: int, price: float, recipe: digits.Recipe) -> nn.Sequential:
    """A network whose synaptic events have a price, in evaluation mode."""
    spikes = torch.from_numpy(digits.encode(data.train_x, steps))
    labels = torch.from_numpy(data.train_y)
    updates = recipe.epochs * math.ceil(len(labels) / recipe.batch_size)
    with session(recipe):
        net = build(data, recipe)
        cost = synaptic_events(net, torch.zeros(2, *data.shape))
        optimizer = torch.optim.Adam(net.parameters(), recipe.learning_rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, recipe.learning_rate, total_steps=updates
        )

        def loss(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            layers = spikes_per_layer(net, time_major(x))
            value = digits.loss(layers, y, recipe)
            if price:
                sent = {name: layer.transpose(0, 1) for name, layer in layers.items()}
                value = value + price / 1000 * cost(sent).float()
            return value, layers["lif3"].sum(0)

        fit(net, spikes, labels, recipe, loss=loss, optimizer=optimizer, schedule=schedule)
    reset(net)
    return net.eval()


def run(task: Task, price: float, seed: int) -> dict[str, Any]:
    """One training: accuracy on the test samples, and energy, on each chip."""
    data = samples(task)
    recipe = replace(digits.RECIPE, epochs=task.epochs, rate_penalty=0.0, seed=seed)
    net = train(data, task.steps, price, recipe)
    x = digits.encode(data.test_x, task.steps)
    graph = nd.from_snntorch(net, torch.zeros(2, *data.shape))
    calibration = digits.encode(data.train_x[:CALIBRATION], task.steps)
    row: dict[str, Any] = {"data": task.data, "price": price, "seed": seed}
    for target in TARGETS:
        program = nd.compile(graph, target=target, calibration=calibration)
        trace = nd.run(program, x)
        report = nd.energy(program, trace)
        right = trace.decisions(program.output) == data.test_y
        row[target] = {
            "accuracy": float(np.mean(right)),
            "line": report.lines[0].name,
            "energy": report.lines[0].total.typical,
            "events": report.counted["synaptic events"].typical,
            "spikes": report.counted["spikes"].typical,
        }
    return row


def outcomes(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each data set, target and price the means over seeds, against those without a price."""
    found = []
    for data in dict.fromkeys(row["data"] for row in rows):
        own = [row for row in rows if row["data"] == data]
        free = {row["seed"]: row for row in own if row["price"] == 0}
        for target in TARGETS:
            for price in sorted({row["price"] for row in own}):
                pairs = [
                    (row[target], free[row["seed"]][target]) for row in own if row["price"] == price
                ]
                saved = [1 - a["energy"] / b["energy"] for a, b in pairs]
                lost = [b["accuracy"] - a["accuracy"] for a, b in pairs]
                found.append(
                    {
                        "data": data,
                        "target": target,
                        "price": price,
                        "seeds": len(pairs),
                        "accuracy": statistics.fmean(a["accuracy"] for a, _ in pairs),
                        "energy": statistics.fmean(a["energy"] for a, _ in pairs),
                        "events": statistics.fmean(a["events"] for a, _ in pairs),
                        "saved": statistics.fmean(saved),
                        "saved_spread": statistics.stdev(saved),
                        "lost": statistics.fmean(lost),
                        "lost_spread": statistics.stdev(lost),
                    }
                )
    return found


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        "| data | chip | price | accuracy | energy, µJ | synaptic events | energy saved | "
        "accuracy lost, points |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row in outcomes(rows):
        change = "| – | – |"
        if row["price"]:
            change = (
                f"| {row['saved']:.0%} ± {row['saved_spread']:.0%} "
                f"| {100 * row['lost']:.1f} ± {100 * row['lost_spread']:.1f} |"
            )
        lines.append(
            f"| {row['data']} | {row['target']} | {row['price']:g} | {row['accuracy']:.1%} "
            f"| {row['energy'] * 1e6:.2f} | {row['events']:,.0f} {change}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where to write everything that was measured")
    options = parser.parse_args()
    rows = []
    for task in TASKS:
        for seed in SEEDS:
            for price in task.prices:
                rows.append(run(task, price, seed))
                print(rows[-1], flush=True)
    print(table(rows))
    if options.json is not None:
        write(options.json, {"machine": machine(), "rows": rows})


if __name__ == "__main__":
    main()
