"""Sums of integer weights over spikes: exact, chip-independent, event-driven.

Each kernel adds, for every sample and step, the weights of the synapses that the spikes of that
step reach.  Sums are exact in int64 (the engine checks that they cannot overflow int32, see
`engine`), so the order of additions does not matter.
"""

from __future__ import annotations

from typing import Any

from numba import prange

from neurodeploy.simulator.jit import kernel


@kernel
def add_dense(spikes: Any, weight: Any, total: Any) -> None:
    """total[b, t, o] += sum over i of weight[i, o] spikes[b, t, i].

    Parameters
    ----------
    spikes: uint8 (samples, steps, inputs).
    weight: int32 (inputs, outputs).
    total: int32 (samples, steps, outputs), changed.
    """
    samples, steps, inputs = spikes.shape
    for b in prange(samples):
        for t in range(steps):
            row = total[b, t]
            for i in range(inputs):
                if spikes[b, t, i]:
                    row += weight[i]


@kernel
def add_conv2d(
    spikes: Any, weight: Any, stride: Any, padding: Any, dilation: Any, groups: Any, total: Any
) -> None:
    """total[b, t, y, x, o] += sum over c, k, l of weight[c, k, l, o] spikes[b, t, c, y', x'].

    y' = y stride - padding + k dilation, likewise x'; o runs over the output channels of c's group.

    Parameters
    ----------
    spikes: uint8 (samples, steps, channels, height, width).
    weight: int32 (channels, kernel height, kernel width, output channels / groups).
    stride, padding, dilation: pairs (height, width).
    total: int32 (samples, steps, height, width, output channels), changed.
    """
    samples, steps, channels, height, width = spikes.shape
    _, rows, columns, per_group = weight.shape
    _, _, out_height, out_width, _ = total.shape
    for b in prange(samples):
        for t in range(steps):
            for c in range(channels):
                first = c // (channels // groups) * per_group
                for y in range(height):
                    for x in range(width):
                        if not spikes[b, t, c, y, x]:
                            continue
                        for k in range(rows):
                            top = y + padding[0] - k * dilation[0]
                            if top < 0 or top % stride[0]:
                                continue
                            top //= stride[0]
                            if top >= out_height:
                                continue
                            for m in range(columns):
                                left = x + padding[1] - m * dilation[1]
                                if left < 0 or left % stride[1]:
                                    continue
                                left //= stride[1]
                                if left >= out_width:
                                    continue
                                for o in range(per_group):
                                    total[b, t, top, left, first + o] += weight[c, k, m, o]
