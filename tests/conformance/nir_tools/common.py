"""What the scripts that write the files of this folder share: input spikes, and saving."""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nir
import numpy as np

FILES = Path(__file__).resolve().parent / "files"


def inputs(seed: int, shape: tuple[int, ...], *, samples: int = 2, steps: int = 40) -> Any:
    """Random spikes, float32 (samples, steps, *shape)."""
    draws = np.random.default_rng(seed).random((samples, steps, *shape))
    return (draws < 0.3).astype(np.float32)


def save(name: str, graph: nir.NIRGraph, spikes_in: Any, sent: Mapping[str, Any]) -> None:
    """Write NAME.nir.gz, and NAME.npz with the inputs and what every neuron node sent.

    Arrays are uint8 (samples, steps, *shape); `sent` has the names of the file's nodes.
    """
    with tempfile.TemporaryDirectory() as folder:
        nir.write(f"{folder}/{name}.nir", graph)
        content = Path(f"{folder}/{name}.nir").read_bytes()
    (FILES / f"{name}.nir.gz").write_bytes(gzip.compress(content, mtime=0))
    arrays = {key: np.asarray(array) for key, array in sent.items()}
    assert all(np.all(a == a.astype(np.uint8)) and a.any() for a in arrays.values())
    np.savez_compressed(
        FILES / f"{name}.npz",
        input=spikes_in.astype(np.uint8),
        **{key: array.astype(np.uint8) for key, array in arrays.items()},
    )
