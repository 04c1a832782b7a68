"""What Brevitas has trained, as plain layers with integer weights."""

from __future__ import annotations

import copy
from typing import Any

import snntorch as snn
from torch import nn


def integer_layers(net: nn.Sequential) -> dict[str, nn.Module]:
    r"""The layers by name, with Brevitas' integers as weights; what follows takes in their scale.

    The scale s of a weight moves into the batch norm after it, whose mean becomes
    :math:`\mu / s` and whose variance :math:`(\sigma^2 + \epsilon) / s^2 - \epsilon`, or into the
    neurons, whose threshold becomes :math:`\theta / s`: they spike as before.  Products of floats,
    s times an integer, would leave the grid by their rounding once a pool adds them.
    """
    layers, scale = {}, 1.0
    for name, layer in net.named_children():
        if hasattr(layer, "quant_weight"):
            layer, scale = _integers(layer)
        elif isinstance(layer, nn.BatchNorm2d) and scale != 1:
            layer, scale = _rescaled(layer, scale), 1.0
        elif isinstance(layer, snn.Leaky) and scale != 1:
            layer = copy.deepcopy(layer)
            layer.threshold, scale = layer.threshold / scale, 1.0
        layers[name] = layer
    return layers


def _integers(layer: Any) -> tuple[nn.Module, float]:
    """torch's own layer with the integers as weights, and their scale."""
    quantised = layer.quant_weight()
    plain: nn.Module
    if hasattr(layer, "kernel_size"):
        sizes = (layer.in_channels, layer.out_channels, layer.kernel_size)
        plain = nn.Conv2d(*sizes, padding=layer.padding, bias=False)
    else:
        plain = nn.Linear(layer.in_features, layer.out_features, bias=False)
    plain.weight = nn.Parameter(quantised.int().float())
    return plain, quantised.scale.item()


def _rescaled(norm: nn.BatchNorm2d, scale: float) -> nn.BatchNorm2d:
    state = norm.state_dict()
    state["running_mean"] = state["running_mean"] / scale
    state["running_var"] = (state["running_var"] + norm.eps) / scale**2 - norm.eps
    found = nn.BatchNorm2d(norm.num_features, norm.eps)
    found.load_state_dict(state)
    return found
