"""`.net` files as lava-dl writes them: the fields, dtypes and shapes of its `export_hdf5` methods.

Source: lava-nc/lava-dl 0.6.0, `src/lava/lib/dl/slayer/block/base.py` and `slayer/neuron/cuba.py`;
tests/conformance/lava_dl holds files that lava-dl wrote itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Layer = dict[str, Any]
"""Field -> value; the values of the field `neuron` are a mapping again."""


def cuba(v_th: Any = 80, i_decay: Any = 1024, v_decay: Any = 123, **changes: Any) -> Layer:
    """CUBA neurons; the numbers are those of threshold 1.25, decays 0.25 and 0.03."""
    values = {"type": "CUBA", "iDecay": i_decay, "vDecay": v_decay, "vThMant": v_th}
    return {**values, "refDelay": 1, "gradedSpike": False, **changes}


def source(*shape: int, **fields: Any) -> Layer:
    """An Input block."""
    return {"type": "input", "shape": np.array(shape), **fields}


def dense(weight: Any, neuron: Layer | None, **fields: Any) -> Layer:
    """A Dense block; weight is (out, in).  With `weight_rec`, a Recurrent block."""
    weight = np.asarray(weight)
    out, inputs = weight.shape
    return {
        "type": "dense_rec" if "weight_rec" in fields else "dense",
        "shape": np.array([out]),
        "inFeatures": inputs,
        "outFeatures": out,
        "weight": weight.astype(np.float32),
        **({} if neuron is None else {"neuron": neuron}),
        **fields,
    }


def conv(weight: Any, shape: tuple[int, ...], neuron: Layer, **fields: Any) -> Layer:
    """A Conv block that makes `shape`; weight is (out, in / groups, height, width)."""
    weight = np.asarray(weight)
    groups = int(fields.get("groups", 1))
    options = {name: np.array([n, n]) for name, n in OPTIONS.items()}
    return {
        "type": "conv",
        "shape": np.array(shape),
        "inChannels": weight.shape[1] * groups,
        "outChannels": len(weight),
        "kernelSize": np.array(weight.shape[2:]),
        **options,
        "groups": groups,
        "weight": weight.astype(np.float32),
        "neuron": neuron,
        **fields,
    }


def pool(kernel: tuple[int, int], shape: tuple[int, ...], neuron: Layer, **fields: Any) -> Layer:
    """A Pool block that makes `shape`."""
    return {
        "type": "pool",
        "shape": np.array(shape),
        "kernelSize": np.array(kernel),
        "stride": np.array(kernel),
        "padding": np.zeros(2, int),
        "dilation": np.ones(2, int),
        "weight": np.full((1, 1, *kernel), 64, np.float32),
        "neuron": neuron,
        **fields,
    }


def flatten(size: int) -> Layer:
    """A Flatten block."""
    return {"type": "flatten", "shape": np.array([size, 1, 1])}


OPTIONS = {"stride": 1, "padding": 0, "dilation": 1}


def write(path: Path, *layers: Mapping[str, Any]) -> Path:
    """Write the layers, numbered from 0."""
    with h5py.File(path, "w") as file:
        for number, layer in enumerate(layers):
            _write(file.create_group(f"layer/{number}"), layer)
    return path


def _write(group: h5py.Group, fields: Mapping[str, Any]) -> None:
    for name, value in fields.items():
        if isinstance(value, Mapping):
            _write(group.create_group(name), value)
        elif name == "type" and group.name.count("/") == 2:
            group.create_dataset("type", (1,), "S10", [str(value).encode("ascii")])
        else:
            group.create_dataset(name, data=value)
