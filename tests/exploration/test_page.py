"""The example of docs/exploring.md: the demo's network, searched on training images."""

from __future__ import annotations

import numpy as np
import torch

import neurodeploy as nd
from neurodeploy.cli.exploring import described
from neurodeploy.models import digits
from neurodeploy.models.digits_data import encode, load_data
from neurodeploy.quantity import engineering
from tests.pages_of_docs import check, row

SAMPLES = 256


def test_the_pages_table_and_pick() -> None:
    data, net = load_data(), digits.load()
    inputs, labels = encode(data.train_images[:SAMPLES]), data.train_labels[:SAMPLES]
    unseen = encode(data.test_images)
    graph = nd.from_snntorch(net, torch.from_numpy(unseen[:1, 0].astype(np.float32)))
    found = nd.explore(graph, target="loihi2", inputs=inputs, labels=labels, budget=32)
    assert found.pick is not None
    lines = [
        row("number", "right (95 %)", "core dynamic", "cores", "bits of weights", "settings"),
        row(*["---"] * 6),
    ]
    for index in found.front:
        candidate = found.candidates[index]
        assert candidate.energy is not None
        low, high = candidate.correct.interval
        lines.append(
            row(
                f"**{index}**" if index == found.pick else index,
                f"{candidate.correct.value:.1%} ({low:.1%} to {high:.1%})",
                engineering(candidate.energy.typical, "J"),
                candidate.cores,
                f"{candidate.weight_bits:,}",
                described(candidate),
            )
        )
    pick = found.candidates[found.pick]
    right = []
    for settings in ({}, pick.settings):
        program = nd.compile(graph, target="loihi2", calibration=inputs, settings=settings)
        decided = nd.run(program, unseen).decisions(program.output)
        right.append(f"{np.mean(decided == data.test_labels):.1%}")
    lines += [
        "",
        f"The reference is right in {found.reference.value:.1%} of {SAMPLES}. Pick: "
        f"{found.reason}.",
        "",
        f"On {len(unseen)} images that neither the training nor the search has seen, the target's "
        f"own settings are right in {right[0]}, the pick in {right[1]}.",
    ]
    check("exploring.md", "digits", "\n".join(lines))
