"""`neurodeploy finetune`: a network trained further in the arithmetic of its chip."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from neurodeploy.cli.command import Command
from neurodeploy.cli.files import load_inputs, load_labels
from neurodeploy.cli.output import Output
from neurodeploy.cli.semantics import chosen_semantics, semantics_arguments
from neurodeploy.errors import InputError

if TYPE_CHECKING:
    from neurodeploy.equivalence.statistics import Proportion
    from neurodeploy.torch.finetuning import Tuned


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="a .nir graph, a .net file of lava-dl, or a .ndp program")
    parser.add_argument("--target", help="see `neurodeploy targets`; by default the program's")
    parser.add_argument("--inputs", required=True, help=".npy or .npz, as for compile")
    parser.add_argument("--labels", required=True, help=".npy, or .npz with a member `labels`")
    parser.add_argument("--bits", type=int, help="of a weight, its sign included")
    parser.add_argument(
        "--percentile",
        type=float,
        help="of weights' magnitudes, beyond which they are clipped; by default the best one",
    )
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument(
        "--learning-rate",
        type=float,
        default=0.01,
        help="of Adam, as a share of a tensor's largest value",
    )
    parser.add_argument(
        "--price", type=float, default=0.0, help="of 1,000 synaptic events, in the loss"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="of torch, such as cuda")
    parser.add_argument("--test-inputs", help="samples that take no part, for the accuracies")
    parser.add_argument("--test-labels", help="their labels")
    parser.add_argument("--checkpoint", help="a file with which training can go on later")
    parser.add_argument("-o", "--output", required=True, help="the .ndp program to write")
    semantics_arguments(parser)


def _run(arguments: argparse.Namespace, output: Output) -> int:
    from neurodeploy.program import Program
    from neurodeploy.torch import Recipe, finetune

    program = arguments.model.endswith(".ndp")
    given = arguments.test_inputs, arguments.test_labels
    if (given[0] is None) != (given[1] is None):
        raise InputError("--test-inputs and --test-labels belong together")
    with output.progress("fine-tuning") as progress:
        found = finetune(
            Program.load(arguments.model) if program else arguments.model,
            target=arguments.target,
            inputs=load_inputs(arguments.inputs),
            labels=load_labels(arguments.labels),
            bits=arguments.bits,
            percentile=arguments.percentile,
            recipe=Recipe(
                epochs=arguments.epochs,
                batch_size=arguments.batch_size,
                learning_rate=arguments.learning_rate,
                price=arguments.price,
                seed=arguments.seed,
            ),
            test=None if given[0] is None else (load_inputs(given[0]), load_labels(given[1])),
            semantics=chosen_semantics(arguments),
            device=arguments.device,
            checkpoint=arguments.checkpoint,
            progress=progress,
        )
    digest = found.program.save(arguments.output)
    table(output, found)
    output.say(f"wrote {arguments.output}  sha256 {digest[:16]}…")
    output.result({**found.to_dict(), "file": arguments.output})
    return 0


def table(output: Output, found: Tuned) -> None:
    """The accuracies, and from which epoch the weights are."""
    rows = [
        ("reference, in floating point", _share(found.reference)),
        ("program before", _share(found.before)),
        ("program after", _share(found.after)),
    ]
    output.table(f"{found.program.target}: right decisions", ("of", "share (95 %)"), rows)
    on = "samples that took no part" if found.held_out else "samples that chose the epoch"
    output.say(f"{found.after.trials} {on}; weights of epoch {found.epoch}")


def _share(found: Proportion) -> str:
    low, high = found.interval
    return f"{found.value:.1%} ({low:.1%} to {high:.1%})"


finetune = Command(
    "finetune",
    "train a network further in the arithmetic of its chip",
    "neurodeploy finetune model.nir --target loihi2 --bits 4 --inputs spikes.npy "
    "--labels labels.npy --checkpoint tuning.pt -o model.ndp",
    _arguments,
    _run,
)
