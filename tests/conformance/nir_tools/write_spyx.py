"""Files that Spyx 1.0.0 writes, with the spikes that Spyx computes.

    pip install spyx==1.0.0 nir==1.0.8
    python tests/conformance/nir_tools/write_spyx.py

`spyx_dense`: LIF, CuBaLIF and IF.  `spyx_conv`: convolution, IF, sum pooling, LIF.  `spyx_rlif`: a
recurrent layer, whose input Spyx 1.0.0 writes as passing the recurrent weights.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import spyx.nn as snn
from common import inputs, save
from flax import nnx
from spyx.nir import to_nir

rngs = nnx.Rngs(0)


def channels_first(array: Any) -> Any:
    """(samples, steps, H, W, C) as (samples, steps, C, H, W); others as they are."""
    return np.moveaxis(array, -1, 2) if array.ndim == 5 else array


def write(name: str, layers: list[Any], shape: tuple[int, ...], gain: float, neuron: str) -> None:
    for layer in layers:
        if isinstance(layer, (nnx.Linear, nnx.Conv)):
            layer.kernel[...] = jnp.round(layer.kernel[...] * gain * 8) / 8
            if layer.bias is not None:
                layer.bias[...] = jnp.round(jnp.linspace(-2, 3, layer.bias.size)) / 8
    net = snn.Sequential(*layers)
    spikes = inputs(4, shape)
    x = np.moveaxis(spikes, 2, -1) if len(shape) == 3 else spikes
    state = net.initial_state(len(x))
    sent: dict[str, list[Any]] = {}
    for t in range(x.shape[1]):
        signal = jnp.asarray(x[:, t])
        for n, layer in enumerate(layers):
            if state[n] is None:
                signal = layer(signal)
            else:
                signal, state[n] = layer(signal, state[n])
                sent.setdefault(f"layer_{n}{neuron}", []).append(np.asarray(signal))
    found = {key: channels_first(np.stack(arrays, 1)) for key, arrays in sent.items()}
    size = {"output": np.array([found[list(found)[-1]].shape[-1]])}
    save(name, to_nir(net, {"input": np.array(shape)}, size), spikes, found)


write(
    "spyx_dense",
    [
        nnx.Linear(12, 20, rngs=rngs),
        snn.LIF((20,), rngs=rngs),
        nnx.Linear(20, 10, use_bias=False, rngs=rngs),
        snn.CuBaLIF((10,), rngs=rngs),
        nnx.Linear(10, 5, rngs=rngs),
        snn.IF((5,)),
    ],
    (12,),
    1.5,
    "",
)
write(
    "spyx_conv",
    [
        nnx.Conv(1, 3, (3, 3), rngs=rngs),
        snn.IF((6, 6, 3)),
        snn.SumPool((2, 2), (2, 2), "VALID", channel_axis=-1),
        snn.Flatten(),
        nnx.Linear(27, 5, rngs=rngs),
        snn.LIF((5,), rngs=rngs),
    ],
    (1, 6, 6),
    1.5,
    "",
)
write(
    "spyx_rlif",
    [nnx.Linear(12, 8, rngs=rngs), snn.RLIF((8,), rngs=rngs)],
    (12,),
    1.0,
    ".layer_1.lif",
)
