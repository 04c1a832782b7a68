"""`neurodeploy train`: a training system on a data set, to a checkpoint, a graph and a card."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from neurodeploy.archive import write_atomically
from neurodeploy.cli.command import Command
from neurodeploy.cli.output import Output
from neurodeploy.errors import FileError
from neurodeploy.models.system import SYSTEMS

OPTIONS = ("epochs", "batch_size", "learning_rate", "seed")


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help=f"a training system: {', '.join(SYSTEMS)}")
    parser.add_argument("--data", help="a data set, such as digits; by default the system's own")
    parser.add_argument("--root", help="folder of real data: nmnist, dvsgesture or shd")
    parser.add_argument("--train-samples", type=int, metavar="N", help="fewer or more than usual")
    parser.add_argument("--test-samples", type=int, metavar="N", help="fewer or more than usual")
    parser.add_argument("--epochs", type=int, help="passes over the training samples")
    parser.add_argument("--batch-size", type=int, help="samples per update")
    parser.add_argument("--learning-rate", type=float, help="as the system's recipe says it")
    parser.add_argument("--seed", type=int, help="of the weights and the order of samples")
    parser.add_argument(
        "--checkpoint", help="file to go on from and to; by default in the output folder"
    )
    parser.add_argument("-o", "--output", required=True, help="folder for what it writes")


def _run(arguments: argparse.Namespace, output: Output) -> int:
    from neurodeploy.models.data import load
    from neurodeploy.models.system import system

    chosen = system(arguments.name)
    given = {name: getattr(arguments, name) for name in OPTIONS}
    recipe = replace(
        chosen.RECIPE, **{name: value for name, value in given.items() if value is not None}
    )
    data = load(
        arguments.data or chosen.DATA[0],
        arguments.root,
        train=arguments.train_samples,
        test=arguments.test_samples,
    )
    folder = Path(arguments.output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"cannot be made ({error.strerror})", node=str(folder)) from error
    checkpoint = Path(arguments.checkpoint or folder / "checkpoint.pt")
    if checkpoint.exists():
        output.say(f"going on from {checkpoint}")
    net = chosen.train(data, recipe, checkpoint=checkpoint)
    content = _save(folder, arguments.name, chosen, recipe, net, data)
    accuracy = content["accuracy"]
    output.say(
        f"{content['title']}, {data.name}: [bold]{100 * accuracy['typical']:.2f} %[/] of "
        f"{len(data.test_y)} test samples right "
        f"({100 * accuracy['low']:.2f} to {100 * accuracy['high']:.2f} %)"
    )
    output.say(f"{data.source}")
    output.say(f"Wrote {arguments.name}.pt, {arguments.name}.nir and the card into {folder}")
    output.result({"card": content, "folder": str(folder), "checkpoint": str(checkpoint)})
    return 0


def _save(folder: Path, name: str, chosen: Any, recipe: Any, net: Any, data: Any) -> dict[str, Any]:
    """The network's parameters, its graph, and its card, which is returned."""
    from neurodeploy import api
    from neurodeploy.frontends.snntorch import from_snntorch
    from neurodeploy.models.card import card, markdown
    from neurodeploy.torch import tensor_file

    tensor_file.write(folder / f"{name}.pt", net.state_dict())
    deployable = chosen.deploy(net, data)
    api.write(from_snntorch(deployable.module, deployable.sample), folder / f"{name}.nir")
    content = card(chosen, recipe, net, data)
    write_atomically(folder / "card.json", json.dumps(content, indent=1).encode())
    write_atomically(folder / "card.md", markdown(content).encode())
    return content


command = Command(
    "train",
    "train a reference system: a float network, its NIR graph and its model card",
    "neurodeploy train baseline --data digits --epochs 10 -o trained",
    _arguments,
    _run,
)
"""What the entry point `neurodeploy.commands` names."""
