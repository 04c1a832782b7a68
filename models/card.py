"""The model card of one training: what was trained, on what, and what is known of the method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from neurodeploy._version import __version__
from neurodeploy.equivalence.statistics import Proportion
from neurodeploy.models.system import Data, System
from neurodeploy.quantity import Quantity


def card(system: System, recipe: Any, net: Any, data: Data) -> dict[str, Any]:
    """Plain data: the system's own card, the training's recipe, data and result."""
    right = round(system.evaluate(net, data.test_x, data.test_y) * len(data.test_y))
    share = Proportion(right, len(data.test_y))
    low, high = share.interval
    versions = {name: version(name) for name in ("torch", "snntorch", "numpy")}
    source = (
        f"{right} of {len(data.test_y)} test samples, float32, torch {versions['torch']}, "
        f"snnTorch {versions['snntorch']}; interval: Wilson, 95 %"
    )
    return {
        **{key: value for key, value in system.describe().items() if key not in OF_SHIPPED},
        "parameters": sum(parameter.numel() for parameter in net.parameters()),
        "recipe": asdict(recipe),
        "data": {
            "name": data.name,
            "source": data.source,
            "synthetic": data.synthetic,
            "training samples": len(data.train_y),
            "test samples": len(data.test_y),
            "shape": [*data.train_x.shape[1:]],
            "classes": data.classes,
        },
        "accuracy": Quantity(low, share.value, high, "1", "measured", source).to_dict(),
        "versions": {"neurodeploy": __version__, **versions},
    }


OF_SHIPPED = ("split", "selection", "correct", "accuracy", "layers", "task")
"""What a system's own card may say of a network that it ships."""


def markdown(content: Mapping[str, Any]) -> str:
    """The same card for people."""
    data, accuracy = content["data"], content["accuracy"]
    lines = [
        f"# {content['title']}",
        "",
        f"`neurodeploy train {content['name']} --data {data['name']}`",
        "",
        f"- **Accuracy of the float network**: {100 * accuracy['typical']:.2f} % "
        f"({100 * accuracy['low']:.2f} to {100 * accuracy['high']:.2f} %); {accuracy['source']} "
        f"({accuracy['kind']})",
        f"- **Data**: {data['source']}; {data['training samples']} training and "
        f"{data['test samples']} test samples of {' x '.join(map(str, data['shape']))}, "
        f"{data['classes']} classes",
        f"- **Paper**: {content['paper']}",
        *(
            f"- **{key.capitalize()}**: {content[key]}"
            for key in ("neuron", "encoding", "decision", "parameters")
        ),
        "",
        *(part for key in ("known", "ours") for part in _list(key, content[key])),
        "## Recipe",
        "",
        *(f"- {key}: {value}" for key, value in content["recipe"].items()),
        "",
        "Versions: " + ", ".join(f"{k} {v}" for k, v in content["versions"].items()) + ".",
    ]
    return "\n".join(lines) + "\n"


def _list(key: str, sentences: list[str]) -> list[str]:
    title = {"known": "Known of the paper", "ours": "Ours"}[key]
    return [f"## {title}", "", *(f"- {sentence}" for sentence in sentences), ""]
