"""Run NeuroBench on networks of arrays; the interpreter is the one of `.venv-nir`.

    python worker.py FOLDER

FOLDER/jobs.json maps names to {"kind": "benchmark" | "layer" | "stored", "layers": [...]}, NAME.npz
holds the arrays.  FOLDER/found.json gets what NeuroBench says.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import snntorch as snn
import torch
from torch import nn


def network(layers: list[dict[str, Any]], arrays: Mapping[str, Any]) -> nn.Sequential:
    """Linear and convolutional layers without biases, and leaky neurons that reset to zero."""
    modules: list[nn.Module] = []
    for index, layer in enumerate(layers):
        if layer["kind"] == "flatten":
            modules.append(nn.Flatten())
            continue
        if layer["kind"] == "leaky":
            last = index == len(layers) - 1
            modules.append(
                snn.Leaky(
                    layer["beta"],
                    threshold=layer["threshold"],
                    init_hidden=True,
                    reset_mechanism="zero",
                    output=last,
                )
            )
            continue
        weight = torch.from_numpy(np.asarray(arrays[layer["weight"]], np.float32))
        modules.append(connection(layer, weight))
    return nn.Sequential(*modules)


def connection(layer: dict[str, Any], weight: torch.Tensor) -> nn.Module:
    module: nn.Linear | nn.Conv2d
    if layer["kind"] == "linear":
        module = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    else:
        channels = weight.shape[1] * layer.get("groups", 1)
        options = {key: layer[key] for key in ("stride", "padding", "groups") if key in layer}
        module = nn.Conv2d(channels, weight.shape[0], weight.shape[2:], bias=False, **options)
    module.weight.data = weight
    return module


def benchmark(layers: list[dict[str, Any]], arrays: Mapping[str, Any]) -> dict[str, Any]:
    """All metrics of a network on `x`, (samples, steps, *shape)."""
    from neurobench.benchmarks import Benchmark
    from neurobench.metrics.static import ConnectionSparsity
    from neurobench.metrics.workload import ActivationSparsity, SynapticOperations
    from neurobench.models import SNNTorchModel
    from torch.utils.data import DataLoader, TensorDataset

    x = torch.from_numpy(np.asarray(arrays["x"], np.float32))
    loader = DataLoader(TensorDataset(x, torch.zeros(len(x))), batch_size=len(x))
    model = SNNTorchModel(network(layers, arrays))
    metrics: list[list[Any]] = [[ConnectionSparsity], [ActivationSparsity, SynapticOperations]]
    with torch.no_grad():
        return dict(Benchmark(model, loader, [], [], metrics).run(quiet=True))


def layer(layers: list[dict[str, Any]], arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Operations of one connection, step by step, of all samples at once."""
    from neurobench.metrics.utils.layers import single_layer_MACs

    module = connection(layers[0], torch.from_numpy(np.asarray(arrays["w"], np.float32)))
    found = {"Effective_MACs": 0, "Effective_ACs": 0, "Dense": 0}
    with torch.no_grad():
        for step in np.moveaxis(np.asarray(arrays["x"], np.float32), 1, 0):
            inputs = torch.from_numpy(np.ascontiguousarray(step))
            operations, spiking = single_layer_MACs(inputs, module)
            found["Effective_ACs" if spiking else "Effective_MACs"] += operations
            found["Dense"] += single_layer_MACs(inputs, module, total=True)[0]
    return found


def stored(_: list[dict[str, Any]], arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Footprint and number of parameters of arrays as they are."""
    from neurobench.metrics.static import Footprint, ParameterCount
    from neurobench.models import TorchModel

    net = nn.Module()
    for name, array in arrays.items():
        values = nn.Parameter(torch.from_numpy(np.asarray(array)), requires_grad=False)
        net.register_parameter(name.replace(".", "_"), values)
    model = TorchModel(net)
    return {"footprint": Footprint()(model), "parameter_count": ParameterCount()(model)}


def main() -> None:
    folder = Path(sys.argv[1])
    kinds = {"benchmark": benchmark, "layer": layer, "stored": stored}
    found = {
        name: kinds[job["kind"]](job["layers"], dict(np.load(folder / f"{name}.npz")))
        for name, job in json.loads((folder / "jobs.json").read_text("utf-8")).items()
    }
    (folder / "found.json").write_text(json.dumps(found), "utf-8")


if __name__ == "__main__":
    main()
