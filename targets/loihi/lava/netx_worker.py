"""The stand-alone program that runs `.net` files in NetX: `python netx_worker.py JOB_DIR`.

It needs Python 3.10, numpy, h5py, lava-nc and lava-dl, and nothing of neurodeploy or torch.  It
reads `JOB_DIR/job.json` and `JOB_DIR/arrays.npz` (layout: see `netx.py`, which writes them) and
answers as `worker.py` does.  NetX builds the network from the file, one for each sample, because
nothing but a new network forgets the spikes that are still on their way; the subclasses here only
record.

Source: lava-nc/lava-dl 0.6.0, `src/lava/lib/dl/netx/hdf5.py` (`Network`).
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
import traceback
import types
from pathlib import Path
from typing import Any

import numpy as np


def sibling(name: str) -> types.ModuleType:
    """A module that lies beside this file, without its folder on the path."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


worker: Any = sibling("worker")


def neuron_params(device: Any) -> dict[str, float]:
    r"""What NetX asks of `lava.lib.dl.slayer.neuron.rf.neuron_params`, whose module needs torch.

    With :math:`s, c` = sinDecay, cosDecay over 2^12: decay = 1 - sqrt(s^2 + c^2), period =
    2 pi / arctan2(s, c), in the order of operations of that file, which decides the last bit.
    """
    sine, cosine = device["sinDecay"] / (1 << 12), device["cosDecay"] / (1 << 12)
    decay = 1 - np.sqrt(sine**2 + cosine**2)
    frequency = np.arctan2(sine, cosine) / 2 / np.pi
    return {"threshold": device["vThMant"] / (1 << 6), "period": 1 / frequency, "decay": decay}


def without_torch() -> None:
    """Put empty modules where NetX would import torch for what is not used here.

    Lava looks for process models beside the file of every module of NetX's package.
    """
    package = importlib.util.find_spec("lava.lib.dl.netx")
    assert package is not None
    for name in ("slayer", "slayer.neuron", "slayer.neuron.rf", "netx.sequential_modules"):
        module = sys.modules[f"lava.lib.dl.{name}"] = types.ModuleType(f"lava.lib.dl.{name}")
        module.__file__ = package.origin
    sys.modules["lava.lib.dl.slayer.neuron.rf"].neuron_params = neuron_params  # type: ignore[attr-defined]


without_torch()

from lava.lib.dl.netx.hdf5 import Network  # noqa: E402
from lava.magma.core.run_configs import Loihi2SimCfg  # noqa: E402
from lava.proc.conv.models import PyConvModelFixed  # noqa: E402
from lava.proc.conv.process import Conv  # noqa: E402
from lava.proc.dense.models import PyDelayDenseModelBitAcc, PyDenseModelBitAcc  # noqa: E402
from lava.proc.dense.process import DelayDense, Dense  # noqa: E402
from lava.proc.io.source import PySendModelFixed, RingBuffer  # noqa: E402
from lava.proc.lif.models import PyLifModelBitAcc, PyLifResetModelBitAcc  # noqa: E402
from lava.proc.lif.process import LIF, LIFReset  # noqa: E402
from lava.proc.rf.models import PyRFModelFixed  # noqa: E402
from lava.proc.rf.process import RF  # noqa: E402
from lava.proc.rf_iz.models import PyRF_IZModelFixed  # noqa: E402
from lava.proc.rf_iz.process import RF_IZ  # noqa: E402
from lava.proc.sdn.models import (  # noqa: E402
    PyDeltaModelFixed,
    PySigmaDeltaModelFixed,
    PySigmaModelFixed,
)
from lava.proc.sdn.process import Delta, Sigma, SigmaDelta  # noqa: E402

NEURONS = {
    LIF: PyLifModelBitAcc,
    LIFReset: PyLifResetModelBitAcc,
    Delta: PyDeltaModelFixed,
    SigmaDelta: PySigmaDeltaModelFixed,
    Sigma: PySigmaModelFixed,
    RF: PyRFModelFixed,
    RF_IZ: PyRF_IZModelFixed,
}
OTHERS = {
    Dense: PyDenseModelBitAcc,
    DelayDense: PyDelayDenseModelBitAcc,
    Conv: PyConvModelFixed,
    RingBuffer: PySendModelFixed,
}


class Recording(worker.Outspoken):  # type: ignore[misc]
    """Keeps what a neuron sends, and states after each step."""

    def run_spk(self) -> None:
        files, steps = self.proc_params["files"], self.proc_params["steps"]
        if self.time_step == 1:
            self.kept: dict[str, list[np.ndarray]] = {field: [] for field in files}
            send = self.s_out.send

            def keep(values: np.ndarray) -> None:
                self.kept["s"].append(np.array(values, np.int32))
                send(values)

            self.s_out.send = keep
        super().run_spk()
        for field in files.keys() - {"s"}:
            self.kept[field].append(np.array(getattr(self, field), np.int32))
        if self.time_step == steps:
            for field, values in self.kept.items():
                np.save(files[field], np.stack(values))


MODELS = {
    process: type(model.__name__, (base, model), {})
    for models, base in ((NEURONS, Recording), (OTHERS, worker.Outspoken))
    for process, model in models.items()
}


def feed(net: Network, how: str, values: np.ndarray) -> None:
    """Give a network its input (steps, *shape): its own port, or into the neurons of a block."""
    neuron = net.in_layer.neuron
    if how == "bias":
        neuron.bias_mant.init = worker.to_lava(values[0]).astype(np.int32)
        return
    data = np.moveaxis(values.astype(np.int32), 0, -1)
    source = RingBuffer(data=worker.to_lava(data) if data.ndim == 4 else data)
    source.s_out.connect(neuron.a_in if how == "neurons" else net.inp)


def run_sample(
    network: dict[str, Any], values: np.ndarray, job: Path, prefix: str
) -> dict[str, np.ndarray]:
    """Build the network, run one sample, and return what its blocks did, by key."""
    options = network["options"]
    shape = options["input_shape"]
    net = Network(
        str(job / network["file"]),
        **{**options, "input_shape": None if shape is None else tuple(shape[::-1])},
    )
    if len(net.layers) != len(network["record"]):
        raise ValueError(f"NetX made {len(net.layers)} blocks, not {len(network['record'])}")
    saved = []
    for block, (layer, fields) in enumerate(zip(net.layers, network["record"], strict=True)):
        files = {field: str(job / f"{prefix}.{block}.{field}.npy") for field in fields}
        layer.neuron.proc_params["files"] = files
        layer.neuron.proc_params["steps"] = len(values)
        saved.append(files)
    feed(net, network["feed"], values)
    config = Loihi2SimCfg(select_tag="fixed_pt", exception_proc_model_map=MODELS)
    worker.run_connected(net, len(values), config)
    return {
        f"{prefix}.{block}.{field}": worker.from_lava(np.load(file, allow_pickle=False))
        for block, files in enumerate(saved)
        for field, file in files.items()
    }


def main(job: Path) -> int:
    """Run every network of the job; 0 if all ran."""
    networks = json.loads((job / "job.json").read_text("utf-8"))["networks"]
    arrays = np.load(job / "arrays.npz", allow_pickle=False)
    recorded: dict[str, np.ndarray] = {}
    seconds = []
    for index, network in enumerate(networks):
        started = time.perf_counter()
        try:
            for sample, values in enumerate(arrays[f"{index}"]):
                recorded |= run_sample(network, values, job, f"{index}.{sample}")
        except Exception:
            text = traceback.format_exc()
            worker.write_result(job, {"status": "error", "network": index, "traceback": text})
            return 1
        seconds.append(time.perf_counter() - started)
    with (job / "result.npz.tmp").open("wb") as file:
        np.savez(file, **recorded)  # type: ignore[arg-type]
    os.replace(job / "result.npz.tmp", job / "result.npz")
    worker.write_result(job, {"status": "ok", "seconds": seconds})
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
