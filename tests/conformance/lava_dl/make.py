"""How the files in this folder were made: by lava-dl itself, from networks with random weights.

Each `.net` file was written by the blocks' own `export_hdf5`.  `NAME.npz` holds what the same
blocks did: `x`, the input, and `block0`, `block1`, ... , each block's output, all (samples, steps,
*shape); uint8 spikes, or float32 where a block delivers its potential.

Run with lava-dl 0.6.0 and torch 2.13.0: `python make.py FOLDER`.  The stub is for a part of lava-dl
that needs OpenCV and is not used here.
"""

import sys
import types
from pathlib import Path

import h5py
import numpy as np
import torch

sys.modules["lava.lib.dl.slayer.object_detection"] = types.ModuleType("object_detection")
from lava.lib.dl import slayer  # noqa: E402

cuba, norm = slayer.block.cuba, slayer.neuron.norm
STEPS, SAMPLES = 60, 3
NEURON = {"threshold": 1.25, "current_decay": 0.25, "voltage_decay": 0.03}
INSTANT = {**NEURON, "current_decay": 1.0, "voltage_decay": 0.125}
MEAN = {**INSTANT, "norm": norm.MeanOnlyBatchNorm}
SCALED = {**NEURON, "norm": norm.WgtScaleBatchNorm}


def networks():
    """(name, shape of the input, blocks, delays by the number of the block)."""
    yield (
        "dense",
        (20,),
        [
            cuba.Dense(NEURON, 20, 16, weight_scale=2, weight_norm=True, delay=True),
            cuba.Dense(NEURON, 16, 12, weight_scale=3, delay=True),
            cuba.Dense(NEURON, 12, 5, weight_scale=4),
        ],
        {0: 20, 1: 5},
    )
    yield (
        "conv",
        (2, 11, 9),
        [
            cuba.Conv(NEURON, 2, 4, 3, stride=(2, 1), padding=(1, 0), weight_scale=2),
            cuba.Pool({**NEURON, "threshold": 0.5}, 2, weight_scale=0.5),
            cuba.Conv(INSTANT, 4, 6, 2, dilation=(1, 2), groups=2, weight_scale=2, delay=True),
            cuba.Flatten(),
            cuba.Dense(NEURON, 6 * 2 * 2, 5, weight_scale=3),
        ],
        {2: 9},
    )
    yield (
        "pool",
        (2, 10, 8),
        [
            cuba.Pool({**NEURON, "threshold": 9}, (4, 3), weight_scale=0.5),
            cuba.Pool(INSTANT, 2, stride=(2, 1), padding=(0, 1)),
        ],
        {},
    )
    yield (
        "norm",
        (12,),
        [
            cuba.Dense(MEAN, 12, 10, weight_scale=3, delay=True),
            cuba.Dense({**MEAN, "current_decay": 0.5}, 10, 8, weight_scale=3),
            cuba.Dense(SCALED, 8, 6, weight_scale=9),
        ],
        {0: 3},
    )
    yield (
        "norm_conv",
        (2, 6, 5),
        [cuba.Conv({**MEAN, "current_decay": 0.5}, 2, 3, 3, padding=1, weight_scale=3)],
        {},
    )
    yield (
        "recurrent",
        (12,),
        [
            cuba.Recurrent(dict(NEURON), 12, 10, weight_scale=2, delay=True),
            cuba.Recurrent(dict(MEAN), 10, 8, weight_scale=3),
            cuba.Dense(NEURON, 8, 4, weight_scale=4),
        ],
        {0: 4},
    )
    each = {**NEURON, "shared_param": False, "current_decay": (0.1, 1), "voltage_decay": (0, 0.2)}
    yield (
        "each",
        (11,),
        [
            cuba.Dense(each, 11, 9, weight_scale=2),
            cuba.Dense(each, 9, 7, weight_scale=3),
        ],
        {},
    )
    yield (
        "potential",
        (12,),
        [cuba.Dense(NEURON, 12, 10, weight_scale=3), cuba.Affine(NEURON, 10, 4)],
        {},
    )
    yield (
        "current",
        (12,),
        [
            cuba.Dense(NEURON, 12, 10, weight_scale=3),
            cuba.Affine({**NEURON, "threshold": 1}, 10, 4, dynamics=False),
        ],
        {},
    )
    yield (
        "input",
        (2, 6, 5),
        [
            cuba.Input(INSTANT, weight=0.7, bias=0.06),
            cuba.Conv(NEURON, 2, 3, 3, weight_scale=3),
        ],
        {},
    )
    yield (
        "filtered_input",
        (9,),
        [cuba.Input(NEURON, weight=0.7), cuba.Dense(NEURON, 9, 6, weight_scale=3)],
        {},
    )


def outputs(blocks, x):
    found = []
    for block in blocks:
        x = block(x)
        found.append(x.detach())
    return found


def make(folder, name, shape, blocks, delays):
    inputs = (torch.rand(SAMPLES, *shape, STEPS) < 0.3).float()
    for block in blocks:
        block.train()
    for _ in range(20):  # running means of norms, and sizes of delays
        outputs(blocks, (torch.rand(SAMPLES, *shape, STEPS) < 0.3).float())
    for block in blocks:
        block.eval()
        neuron = getattr(block, "neuron", None)
        if neuron is not None and neuron.persistent_state:
            neuron.current_state = torch.zeros(1)
            neuron.voltage_state = torch.zeros(1)
    for number, longest in delays.items():
        delay = blocks[number].delay.delay
        delay.data = torch.floor(torch.rand(delay.shape) * (longest + 1))
    with torch.no_grad():
        found = outputs(blocks, inputs)
    arrays = {f"block{k}": array for k, array in enumerate(found)}
    saved = {
        key: np.moveaxis(array.numpy(), -1, 1) for key, array in {"x": inputs, **arrays}.items()
    }
    for key, array in saved.items():
        if np.array_equal(array, array != 0):
            saved[key] = array.astype(np.uint8)
    np.savez_compressed(folder / f"{name}.npz", **saved)
    with h5py.File(folder / f"{name}.net", "w") as file:
        for number, block in enumerate(blocks):
            block.export_hdf5(file.create_group(f"layer/{number}"))


if __name__ == "__main__":
    torch.manual_seed(0)
    for network in networks():
        make(Path(sys.argv[1]), *network)
