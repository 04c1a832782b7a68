"""`neurodeploy demo`: the main job on real data, from a trained snnTorch model to joules."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from neurodeploy.cli import tables
from neurodeploy.cli.command import Command
from neurodeploy.cli.output import Output
from neurodeploy.errors import FileError, ModelError

if TYPE_CHECKING:
    from torch import nn

CALIBRATION_SAMPLES = 256


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--train", action="store_true", help="train it again (under 2 min)")
    parser.add_argument("--target", default="loihi2", help="see `neurodeploy targets`")
    parser.add_argument("--out", default="neurodeploy-demo", help="folder for what it writes")
    parser.add_argument(
        "--vendor-samples", type=int, default=100, help="test images to run in the vendor's runtime"
    )


def _run(arguments: argparse.Namespace, output: Output) -> int:
    try:
        import torch

        from neurodeploy.models.digits_data import encode, load_data
    except ImportError as error:
        raise ModelError(
            f"the demo needs {error.name}", hint="pip install 'neurodeploy-snn[models]'"
        ) from error

    from neurodeploy import api
    from neurodeploy.frontends.snntorch import from_snntorch, reference_spikes
    from neurodeploy.pages.html import report
    from neurodeploy.target import Bundles, get_target

    folder = _folder(arguments.out)
    clock = _Clock(output)
    data = load_data()
    net = _model(arguments.train, folder)
    clock.lap("trained" if arguments.train else "loaded the trained snnTorch network")
    inputs = encode(data.test_images)
    graph = from_snntorch(net, torch.from_numpy(inputs[:1, 0].astype(np.float32)))
    api.write(graph, folder / "digits.nir")
    clock.lap("converted it to NIR")
    program = api.compile(
        graph,
        target=arguments.target,
        calibration=encode(data.train_images[:CALIBRATION_SAMPLES]),
    )
    program.save(folder / "digits.ndp")
    clock.lap(f"compiled it for {arguments.target}")
    source = reference_spikes(net, inputs.astype(np.float32), graph)
    clock.lap(f"ran {len(inputs)} test images in snnTorch")
    with output.phases() as progress:
        verdict = api.verify(
            program,
            inputs,
            labels=data.test_labels,
            source=source,
            vendor_samples=arguments.vendor_samples,
            progress=progress,
        )
    clock.lap("verified it, spike by spike")
    energy = api.energy(program, inputs)
    page = folder / "digits.html"
    report(page, program, verdict, energy, title="Handwritten digits", labels=data.test_labels)
    clock.lap("counted what an inference costs")
    written = [page, folder / "digits.nir", folder / "digits.ndp"]
    if isinstance(get_target(arguments.target), Bundles):
        count = arguments.vendor_samples
        bundle = folder / "bundle"
        api.bundle(program, bundle, inputs[:count], labels=data.test_labels[:count])
        written.append(bundle)
        clock.lap("wrote a bundle that runs it on a board")
    placement = api.place(program)
    tables.verdict(output, verdict)
    tables.resources(output, placement)
    tables.energy(output, energy)
    output.say(f"\nWrote {', '.join(map(str, written))}")
    output.result(
        {
            "verdict": verdict.to_dict(),
            "resources": placement.to_dict(),
            "energy": energy.to_dict(),
            "folder": str(folder),
        }
    )
    # Without Lava the demo completes, and has said NOT RUN; a difference is a failure.
    return 1 if verdict.status == "failed" else 0


def _model(train: bool, folder: Path) -> nn.Module:
    from neurodeploy.models import digits
    from neurodeploy.models.data import load

    if not train:
        return digits.load()
    net = digits.train(load("digits"))
    digits.save(net, folder / "digits.pt")
    return net


def _folder(name: str) -> Path:
    folder = Path(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"cannot be made ({error.strerror})", node=name) from error
    return folder


class _Clock:
    """Says after each stage how long it took."""

    def __init__(self, output: Output) -> None:
        self.output = output
        self.last = time.perf_counter()

    def lap(self, text: str) -> None:
        now = time.perf_counter()
        self.output.say(f"[dim]{now - self.last:6.1f} s[/]  {text}")
        self.last = now


command = Command(
    "demo",
    "the main job on real data: handwritten digits, from snnTorch to a verified chip program",
    "neurodeploy demo --out digits-demo",
    _arguments,
    _run,
)
"""What the entry point `neurodeploy.commands` names."""
