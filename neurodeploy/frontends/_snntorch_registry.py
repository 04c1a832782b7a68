"""Which modules and functions of torch are stateless layers that NIR can say, and their rules."""

from __future__ import annotations

from ast import literal_eval
from collections.abc import Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

from torch import nn

from neurodeploy.errors import ModelError
from neurodeploy.frontends import _snntorch_brevitas as brevitas
from neurodeploy.frontends import _snntorch_layers as layers

_transposed = partial(layers.convolution, transposed=True)

MODULES: Mapping[type[nn.Module], layers.Rule] = {
    **dict.fromkeys(
        (
            nn.Identity,
            nn.Dropout,
            nn.Dropout1d,
            nn.Dropout2d,
            nn.Dropout3d,
            nn.AlphaDropout,
            nn.FeatureAlphaDropout,
        ),
        layers.bypass,
    ),
    nn.Flatten: layers.flatten,
    nn.Linear: layers.linear,
    nn.Conv1d: layers.convolution,
    nn.Conv2d: layers.convolution,
    nn.ConvTranspose1d: _transposed,
    nn.ConvTranspose2d: _transposed,
    nn.BatchNorm1d: partial(layers.batch_norm, axes=(2, 3)),
    nn.BatchNorm2d: partial(layers.batch_norm, axes=(4,)),
    nn.AvgPool1d: partial(layers.average, axes=1),
    nn.AvgPool2d: partial(layers.average, axes=2),
    nn.AdaptiveAvgPool1d: partial(layers.adaptive, axes=1),
    nn.AdaptiveAvgPool2d: partial(layers.adaptive, axes=2),
    nn.LPPool1d: partial(layers.power, axes=1),
    nn.LPPool2d: partial(layers.power, axes=2),
    nn.MaxPool1d: partial(layers.maximum, axes=1),
    nn.MaxPool2d: partial(layers.maximum, axes=2),
}


def rule_of(cls: type[nn.Module]) -> layers.Rule | None:
    """The rule of a class of stateless layers; None where there is none."""
    return MODULES.get(cls) or brevitas.rule_of(cls)


_DROPOUT = "input p=0.5 training={} inplace=False"
_CONV = "input weight bias=None stride=1 padding=0 dilation=1 groups=1"
_TRANSPOSED = "input weight bias=None stride=1 padding=0 output_padding=0 groups=1 dilation=1"
_NORM = "input running_mean running_var weight=None bias=None training=False momentum=0.1 eps=1e-5"
_AVERAGE = "input kernel_size stride=None padding=0 ceil_mode=False count_include_pad=True"
_POWER = "input norm_type kernel_size stride=None ceil_mode=False"
_MAX = "input kernel_size stride=None padding=0 dilation=1 ceil_mode=False return_indices=False"

# Rule and signature (torch.nn.functional's documentation) of each function.
FUNCTIONS: Mapping[str, tuple[layers.Rule, str]] = {
    "dropout": (layers.bypass, _DROPOUT.format(True)),
    "dropout1d": (layers.bypass, _DROPOUT.format(True)),
    "dropout2d": (layers.bypass, _DROPOUT.format(True)),
    "dropout3d": (layers.bypass, _DROPOUT.format(True)),
    "alpha_dropout": (layers.bypass, _DROPOUT.format(False)),
    "feature_alpha_dropout": (layers.bypass, _DROPOUT.format(False)),
    "linear": (layers.linear, "input weight bias=None"),
    "conv1d": (layers.convolution, _CONV),
    "conv2d": (layers.convolution, _CONV),
    "conv_transpose1d": (_transposed, _TRANSPOSED),
    "conv_transpose2d": (_transposed, _TRANSPOSED),
    "batch_norm": (partial(layers.batch_norm, axes=(2, 3, 4)), _NORM),
    "avg_pool1d": (partial(layers.average, axes=1), _AVERAGE),
    "avg_pool2d": (partial(layers.average, axes=2), f"{_AVERAGE} divisor_override=None"),
    "adaptive_avg_pool1d": (partial(layers.adaptive, axes=1), "input output_size"),
    "adaptive_avg_pool2d": (partial(layers.adaptive, axes=2), "input output_size"),
    "lp_pool1d": (partial(layers.power, axes=1), _POWER),
    "lp_pool2d": (partial(layers.power, axes=2), _POWER),
    "max_pool1d": (partial(layers.maximum, axes=1), _MAX),
    "max_pool2d": (partial(layers.maximum, axes=2), _MAX),
}


def arguments(function: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> SimpleNamespace:
    """The arguments of a call of one of `FUNCTIONS`, by name.

    Raises
    ------
    ModelError
        They do not fit its signature.
    """
    fields = [field.partition("=") for field in FUNCTIONS[function][1].split()]
    names = [name for name, _, _ in fields]
    values = {name: literal_eval(default) for name, _, default in fields if default}
    values |= {**dict(zip(names, args, strict=False)), **kwargs}
    if len(args) > len(names) or set(values) != set(names):
        raise ModelError(
            f"{function} is called with {len(args)} arguments and {sorted(kwargs)}, expected "
            f"{', '.join(names)}",
            hint=f"Call torch.nn.functional.{function} by its documented arguments.",
        )
    return SimpleNamespace(**values)
