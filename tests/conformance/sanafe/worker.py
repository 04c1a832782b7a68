"""Run mapped networks in SANA-FE on its own Loihi; the interpreter is the one of `.venv-nir`.

    python worker.py JOB.json FOUND.json

The job: `steps`; `inputs` with the spike train of each neuron; `populations` with size and
threshold; for both the (tile, core) of every neuron; `synapses` as (source, target, weight).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import sanafe


def build(job: dict[str, Any], architecture: Any) -> Any:
    network = sanafe.Network()
    groups = {}
    soma = 0
    for name, item in job["inputs"].items():
        group = network.create_neuron_group(name, len(item["spikes"]))
        for index, train in enumerate(item["spikes"]):
            group[index].set_attributes(
                soma_hw_name=f"loihi_inputs[{soma}]", model_attributes={"spikes": train}
            )
            soma += 1
        groups[name] = group
    for name, item in job["populations"].items():
        groups[name] = network.create_neuron_group(
            name,
            item["size"],
            model_attributes={
                "threshold": item["threshold"],
                "leak_decay": 1.0,
                "input_decay": 0.0,
                "reset_mode": "hard",
                "force_update": True,
            },
            default_synapse_hw_name="loihi_dense_synapse",
            default_dendrite_hw_name="loihi_dendrites",
            soma_hw_name="loihi_lif",
        )
    for source, target, triples in job["synapses"]:
        for i, j, weight in triples:
            groups[source][i].connect_to_neuron(groups[target][j], {"weight": weight})
    for name, item in {**job["inputs"], **job["populations"]}.items():
        for index, (tile, core) in enumerate(item["cores"]):
            groups[name][index].map_to_core(architecture.tiles[tile].cores[core])
    return network


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    architecture = sanafe.load_loihi()
    chip = sanafe.SpikingChip(architecture)
    chip.load(build(job, architecture))
    found = chip.sim(job["steps"], timing_model="simple", perf_trace=True)
    result = {"energy": dict(found["energy"]), "spikes": found["spikes"]}
    for name in ("packets_sent", "neurons_fired", "neurons_updated"):
        result[name] = found.get(name)
    Path(sys.argv[2]).write_text(json.dumps(result, default=str), "utf-8")


if __name__ == "__main__":
    main()
