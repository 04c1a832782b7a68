"""Run NIR graphs in Norse or SpikingJelly; the interpreter is the one of `.venv-nir`.

    python worker.py TOOL FOLDER

FOLDER/jobs.json maps names to the length of a step in s.  NAME.nir is run on NAME.npy, spikes
(samples, steps, *shape), and NAME.npz gets what every spiking node sent: uint8, of the same axes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import nir
import numpy as np
import torch

SPIKING = (nir.IF, nir.LIF, nir.CubaLIF)


def model_of(tool: str, graph: nir.NIRGraph, dt: float) -> Any:
    if tool == "norse":
        from norse.torch.utils.import_nir import from_nir

        return from_nir(graph, ignore_warnings=True, dt=dt)
    from spikingjelly.activation_based.nir_exchange import import_from_nir

    return import_from_nir(graph, dt=dt)


def run(tool: str, graph: nir.NIRGraph, dt: float, inputs: Any) -> dict[str, Any]:
    model = model_of(tool, graph, dt)
    modules = dict(model.named_modules())
    sent: dict[str, list[Any]] = {}
    for name, node in graph.nodes.items():
        if isinstance(node, SPIKING):
            stored = sent.setdefault(name, [])
            modules[name.replace(".", "_")].register_forward_hook(
                lambda _module, _inputs, output, stored=stored: stored.append(output[0].numpy())
            )
    # Norse flattens as if there were no batch, so samples go through it one by one.
    samples = inputs[None] if tool == "spikingjelly" else inputs[:, None]
    with torch.no_grad():
        for batch in samples:
            state = None
            for t in range(inputs.shape[1]):
                x = batch[:, t]
                _, state = model(x if tool == "spikingjelly" else x[0], state)
    found = {}
    for name, arrays in sent.items():
        stacked = np.stack(arrays).astype(np.uint8)
        if tool == "spikingjelly":
            found[name] = stacked.swapaxes(0, 1)
        else:
            found[name] = stacked.reshape(*inputs.shape[:2], *stacked.shape[1:])
    return found


def main(tool: str, path: str) -> None:
    folder = Path(path)
    for name, dt in json.loads((folder / "jobs.json").read_text("utf-8")).items():
        inputs = torch.from_numpy(np.load(folder / f"{name}.npy")).float()
        graph = nir.read(str(folder / f"{name}.nir"))
        np.savez(folder / f"{name}.npz", **run(tool, graph, dt, inputs))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
