"""The stand-alone program that runs `.net` files in NetX: `python netx_worker.py JOB_DIR`.

It needs what `worker.py` needs, which lies beside it, and h5py and lava-dl, but not torch.  It
reads `JOB_DIR/job.json` and `JOB_DIR/arrays.npz` (layout: see `netx.running`, which writes them)
and answers as `worker.py` does.  NetX itself builds the network from the file, anew for each
sample: nothing else forgets what is still on its way.  Processes are Lava's own; their models are
those of `worker_models`, which only record.

Source: lava-nc/lava-dl 0.6.0, `src/lava/lib/dl/netx/hdf5.py` (`Network`).
"""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent))  # at the end: it hides no module of Lava's
import worker  # type: ignore[import-not-found]
from worker_models import MODELS  # type: ignore[import-not-found]

SYNAPSES = ("synapse", "synapse_rec", "real_synapse", "imag_synapse")
DISTRIBUTIONS = (*worker.DISTRIBUTIONS, "lava-dl", "h5py")
NEVER = {"reset": False, "start": 0, "period": None}


def neuron_params(device: Any) -> dict[str, float]:
    r"""What NetX asks of `lava.lib.dl.slayer.neuron.rf.neuron_params`, whose module needs torch.

    With :math:`s, c` = sinDecay, cosDecay over 2^12: decay = 1 - sqrt(s^2 + c^2), period =
    2 pi / arctan2(s, c), in the order of operations of that file, which decides the last bit.
    """
    sine, cosine = device["sinDecay"] / (1 << 12), device["cosDecay"] / (1 << 12)
    decay = 1 - np.sqrt(sine**2 + cosine**2)
    frequency = np.arctan2(sine, cosine) / 2 / np.pi
    return {"threshold": device["vThMant"] / (1 << 6), "period": 1 / frequency, "decay": decay}


def netx() -> Any:
    """The module `lava.lib.dl.netx.hdf5`, with empty modules where it would import torch.

    Lava looks for process models beside the file of every module of NetX's package.
    """
    package = importlib.util.find_spec("lava.lib.dl.netx")
    if package is None:
        raise ImportError("lava-dl is not installed")
    for name in ("slayer", "slayer.neuron", "slayer.neuron.rf", "netx.sequential_modules"):
        module = sys.modules[f"lava.lib.dl.{name}"] = types.ModuleType(f"lava.lib.dl.{name}")
        module.__file__ = package.origin
    sys.modules["lava.lib.dl.slayer.neuron.rf"].neuron_params = neuron_params  # type: ignore[attr-defined]
    return importlib.import_module("lava.lib.dl.netx.hdf5")


def feed(net: Any, how: str, values: np.ndarray) -> None:
    """Give a network its input (steps, *shape): an image as bias, or step by step."""
    neuron = net.in_layer.neuron
    if how == "bias":
        neuron.bias_mant.init = worker.to_lava(values[0]).astype(np.int32)
        return
    data = np.moveaxis(values.astype(np.int32), 0, -1)
    source = worker.RingBuffer(data=worker.to_lava(data) if data.ndim == 4 else data)
    source.s_out.connect(neuron.a_in if how == "neurons" else net.inp)


def watch(layer: Any, steps: int, files: dict[str, str], graded: bool) -> None:
    """Tell the models of a block what to record."""
    told = layer.neuron.proc_params
    told["schedule"], told["initial"], told["steps"], told["files"] = NEVER, {}, steps, files
    told["dtypes"] = {
        field: np.uint8 if field == "s" and not graded else np.int32 for field in files
    }
    for name in SYNAPSES:
        if hasattr(layer, name):
            getattr(layer, name).proc_params["forget"] = None


def run_sample(
    network: dict[str, Any], values: np.ndarray, job: Path, prefix: str
) -> dict[str, np.ndarray]:
    """Build the network, run one sample, and return what its blocks did, by key."""
    net = netx().Network(str(job / network["file"]), **network["options"])
    blocks = network["blocks"]
    if len(net.layers) != len(blocks):
        raise ValueError(f"NetX made {len(net.layers)} blocks, not {len(blocks)}")
    saved = []
    for index, (layer, block) in enumerate(zip(net.layers, blocks, strict=True)):
        files = {field: str(job / f"{prefix}.{index}.{field}.npy") for field in block["record"]}
        watch(layer, len(values), files, block["graded"])
        saved.append(files)
    feed(net, network["feed"], values)
    config = worker.Loihi2SimCfg(select_tag="fixed_pt", exception_proc_model_map=MODELS)
    worker.run_connected(net, len(values), config)
    return {
        f"{prefix}.{index}.{field}": worker.from_lava(np.load(file, allow_pickle=False))
        for index, files in enumerate(saved)
        for field, file in files.items()
    }


def run_network(index: int, network: dict[str, Any], arrays: Any, job: Path) -> dict[str, Any]:
    """Run all samples of one network; the recorded arrays by key."""
    recorded: dict[str, Any] = {}
    for sample, values in enumerate(arrays[f"{index}"]):
        recorded |= run_sample(network, values, job, f"{index}.{sample}")
    return recorded


if __name__ == "__main__":
    sys.exit(worker.main(Path(sys.argv[1]), run_network, DISTRIBUTIONS))
