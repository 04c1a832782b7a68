"""The layers of a `.net` file as a chain: what each delivers to the next, checked."""

from __future__ import annotations

import math

from neurodeploy.errors import InputError, ModelError
from neurodeploy.frontends.lava_dl_fields import MAX_SIZE, Fields, IntArray
from neurodeploy.frontends.lava_dl_synapses import Geometry, convolution, kernel, pooling
from neurodeploy.linear import Conv2d, Shape

UNSUPPORTED = {
    "convT": ("a transposed convolution", "Train with Conv blocks."),
    "unpool": ("an unpooling", "Train with Conv blocks."),
    "average": (
        "an average over neurons or over time, which lava-dl would write alike",
        "Leave the block out and average the output.",
    ),
    "concat": ("a concatenation, which no block of lava-dl writes", "Train one chain of blocks."),
    "dense_comp": ("complex weights", "Train with slayer.block.cuba.Dense."),
}


class Chain:
    """Shapes along a chain of layers, which its methods take in the order of the file.

    Every method raises `FileError` for a field that is missing or impossible, and `ModelError` for
    layers that do not fit each other.

    Attributes
    ----------
    first: what the first layer takes; empty before there is one.
    shape: what the last layer delivers: (channels, height, width) or (n,).
    """

    def __init__(self, given: Shape | None) -> None:
        self._given = _checked(given)
        self.first: Shape = ()
        self.shape: Shape = ()

    def kind(self, fields: Fields, known: tuple[str, ...]) -> str:
        """The type of a layer; raises `ModelError` for those that are not `known`."""
        kind = fields.text("type")
        if kind not in known:
            what, hint = UNSUPPORTED.get(
                kind, ("no block of lava-dl writes it", f"The types are {', '.join(known)}.")
            )
            message = f"layers of type {kind!r} are not supported: {what}"
            raise ModelError(message, node=fields.node, hint=hint)
        return kind

    def input(self, fields: Fields) -> None:
        """A layer that says the shape of the input."""
        if self.first:
            raise ModelError("an input after other layers", node=fields.node)
        self._start(fields.shape("shape"))

    def dense(self, fields: Fields, weight: IntArray) -> Shape:
        """A dense layer with weights (out, in); returns the shape of what it takes, flattened."""
        size, inputs = weight.shape
        fields.agree("inFeatures", inputs)
        fields.agree("outFeatures", size)
        if not self.first:
            self._start(self._given or (inputs,))
        if math.prod(self.shape) != inputs or math.prod(self.shape[1:]) != 1:
            raise ModelError(
                f"weights for {inputs} inputs meet an input of shape {self.shape}",
                node=fields.node,
                hint="A flatten layer belongs between images and dense layers.",
            )
        taken, self.shape = self.shape, (size,)
        return taken

    def conv(self, fields: Fields) -> Conv2d:
        """A convolution."""
        weight, geometry = kernel(fields), Geometry.read(fields)
        groups = fields.integer("groups", 1, MAX_SIZE)
        channels = weight.shape[1] * groups
        fields.agree("inChannels", channels)
        fields.agree("outChannels", len(weight))
        if not self.first:
            out = fields.shape("shape")
            sizes = geometry.input_sizes(weight.shape[2:], out[1:]) if len(out) == 3 else None
            self._start(self._given or _stated(sizes and (channels, *sizes), fields))
        op = convolution(fields, weight, self.shape, geometry, groups)
        self.shape = op.out_shape
        return op

    def pool(self, fields: Fields) -> Conv2d:
        """A pooling, as the depthwise convolution that it is."""
        if not self.first:
            self._start(_stated(self._given, fields))
        op = pooling(fields, self.shape, Geometry.read(fields))
        self.shape = op.out_shape
        return op

    def flatten(self, fields: Fields) -> Shape:
        """A layer that makes a vector of an image; returns the shape of what it takes."""
        size = math.prod(fields.shape("shape"))
        if not self.first:
            self._start(self._given or (size,))
        if size != math.prod(self.shape):
            raise fields.error("shape", f"has {size} elements, the input is {self.shape}")
        taken, self.shape = self.shape, (size,)
        return taken

    def _start(self, shape: Shape) -> None:
        if self._given not in (None, shape):
            raise InputError(f"input_shape is {self._given}, the file says {shape}")
        self.first = self.shape = shape


def _checked(shape: Shape | None) -> Shape | None:
    if shape is None:
        return None
    sizes = tuple(int(n) for n in shape)
    if not sizes or min(sizes) < 1 or math.prod(sizes) > MAX_SIZE:
        raise InputError(f"input_shape is {shape}, expected positive sizes of at most {MAX_SIZE}")
    return sizes


def _stated(shape: Shape | None, fields: Fields) -> Shape:
    if shape is None:
        raise ModelError(
            "no layer tells the shape of its input",
            node=fields.node,
            hint="Read it with neurodeploy.frontends.lava_dl.read_net(path, input_shape=(channels, "
            "height, width)).",
        )
    return shape
