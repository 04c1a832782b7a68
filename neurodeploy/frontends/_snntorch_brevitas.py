"""Layers of Brevitas, by their own methods and without importing it.

In evaluation mode such a layer is torch's with other weights: integers times a scale, which its
`quant_weight()` computes (`brevitas.nn.quant_layer` of Brevitas 0.13.4).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from neurodeploy.frontends._snntorch_classes import Refusal
from neurodeploy.frontends._snntorch_layers import Call, Rule, bypass, convolution, linear
from neurodeploy.frontends._snntorch_maps import Quantisation
from neurodeploy.frontends._snntorch_values import Constant, Operand


def rule_of(cls: type[nn.Module]) -> Rule | None:
    """The rule of a class of Brevitas; None where there is none, or for another's class."""
    return _RULES.get(cls.__name__) if cls.__module__.startswith("brevitas.nn.") else None


def refusal(module: Any) -> Refusal | None:
    """Why a layer of a supported class of Brevitas is refused; None where nothing is against it."""
    if rule_of(type(module)) is None:
        return None
    for name in ("input_quant", "act_quant", "output_quant"):
        if _is_enabled(module, name):
            return Refusal(
                f"its {name} rounds activations, which no NIR node does",
                f"Use {name}=None: spikes need no rounding.",
            )
    if module.return_quant_tensor:
        return Refusal("it returns more than a tensor", "Use return_quant_tensor=False.")
    if _is_enabled(module, "weight_quant") and module.weight_quant.requires_quant_input:
        return _scaled_by_input("weight_quant", "Int8WeightPerTensorFloat")
    if _is_enabled(module, "bias_quant") and module.bias_quant.requires_input_scale:
        return _scaled_by_input("bias_quant", "Int8BiasPerTensorFloatInternalScaling")
    if getattr(module, "is_same_padded_strided", False):
        return Refusal(
            "padding='same' with a stride pads by the size of its input",
            "Give the padding as numbers.",
        )
    return None


def _is_enabled(module: Any, name: str) -> bool:
    return hasattr(module, name) and bool(getattr(module, name).is_quant_enabled)


def _scaled_by_input(name: str, instead: str) -> Refusal:
    return Refusal(
        f"its {name} takes the scale of a quantised input, and spikes have none",
        f"Use {name}={instead}.",
    )


def _quantised(call: Call, rule: Rule) -> Operand:
    """What `rule` makes of the layer with the weights and bias that it computes with."""
    module = call.options
    weight, bias = module.quant_weight(), module.quant_bias()
    quantisation = None if isinstance(weight, torch.Tensor) else _quantisation(call, weight)
    tensors = {"weight": _value(weight), "bias": _value(bias)}
    names = {id(x): call.keep(f"quant_{n}", x) for n, x in tensors.items() if x is not None}
    options = SimpleNamespace(**{**vars(module), **tensors})
    return rule(replace(call, options=options, names=names, quantisation=quantisation))


def _value(tensor: Any) -> Any:
    """The numbers of a quantised tensor; a tensor, or None, as it is."""
    return getattr(tensor, "value", tensor)


def _quantisation(call: Call, weight: Any) -> Quantisation:
    """How a quantised tensor's values are integers times a scale.

    The integers of binary weights, -1 and 1, take two bits.
    """
    if type(weight).__name__ != "IntQuantTensor":
        raise call.refuse(
            f"has weights of type {type(weight).__name__}",
            "Use integers with one scale, or one per output channel: Int8WeightPerTensorFloat, "
            "Int8WeightPerChannelFloat.",
        )
    if bool(weight.zero_point.any()):
        raise call.refuse(
            "has weights with a zero point", "Use a symmetric quantiser: Int8WeightPerTensorFloat."
        )
    value, scale, signed = weight.value, weight.scale, bool(weight.signed)
    channels = (len(value), *(1 for _ in value.shape[1:]))
    if scale.numel() > 1 and tuple(scale.shape) != channels:
        raise call.refuse(
            f"has weights of shape {tuple(value.shape)} with scales of shape {tuple(scale.shape)}",
            "Use one scale, or one per output channel.",
        )
    integers = (value / scale).round_()
    low, high = (bound.item() for bound in torch.aminmax(integers))
    largest = max(high, -low - 1)
    # Rounding moves weight / scale by up to largest * eps / 2: rounded, it is the integer again.
    known = largest * torch.finfo(value.dtype).eps < 1 / 2 and (signed or low >= 0)
    if not known or not torch.equal(integers * scale, value):
        raise call.refuse(
            f"has weights that are not {weight.bit_width.max():g}-bit integers times a scale, or "
            f"too long for {value.dtype}",
            "Use 2 to 23 bits, or SignedBinaryWeightPerTensorConst for 1.",
        )
    bits = max(int(weight.bit_width.max()), int(largest).bit_length() + signed)
    return Quantisation(bits, signed, Constant.of(scale.reshape(-1).squeeze().cpu().numpy()))


_RULES: Mapping[str, Rule] = {
    "QuantIdentity": bypass,
    "QuantLinear": partial(_quantised, rule=linear),
    "QuantConv1d": partial(_quantised, rule=convolution),
    "QuantConv2d": partial(_quantised, rule=convolution),
}
