"""The fields of a `.net` file, one by one: present, of a number or text type, and within limits."""

from __future__ import annotations

from collections.abc import Iterator

import h5py
import numpy as np
from numpy.typing import NDArray

from neurodeploy.errors import FileError, ModelError

IntArray = NDArray[np.int64]
MAX_SIZE = 1 << 22
"""Neurons of a layer: four times those of a Loihi 2 chip."""
MAX_VALUES = 1 << 26
"""Values of a field."""


class Fields:
    """The fields of one HDF5 group, each checked as it is read.

    Every method raises `FileError`, with the group and the field, where the field is missing, is no
    dataset, cannot be read, or holds something that it cannot mean.
    """

    def __init__(self, group: h5py.Group, node: str) -> None:
        self._group = group
        self._left = set(group)
        self.node = node

    def __contains__(self, name: str) -> bool:
        return name in self._group

    @property
    def name(self) -> str:
        """What the layer's population is called, such as `layer3`."""
        return self.node.replace("/", "")

    def error(self, name: str, message: str, hint: str | None = None) -> FileError:
        """What is wrong with the field `name`."""
        return FileError(f"{name} {message}", node=self.node, hint=hint)

    def is_group(self, name: str) -> bool:
        """Whether a field is a group of fields."""
        return name in self and isinstance(self._group[name], h5py.Group)

    def kind(self, name: str) -> str:
        """numpy's letter for the kind of a dataset's values, such as `i` for signed integers."""
        return str(self._dataset(name).dtype.kind)

    def dimensions(self, name: str) -> int:
        """Number of dimensions of a dataset."""
        return int(self._dataset(name).ndim)

    def group(self, name: str) -> Fields:
        """The fields of a group within this one."""
        item = self._item(name)
        if not isinstance(item, h5py.Group):
            raise self.error(name, "is a dataset, expected a group")
        return Fields(item, f"{self.node}/{name}")

    def text(self, name: str) -> str:
        """An ASCII string: one value, of fixed or variable length."""
        values = np.asarray(self._values(name)).reshape(-1)
        value = values[0] if values.size == 1 else None
        if isinstance(value, bytes):
            value = value.decode("ascii", errors="replace")
        if not isinstance(value, str):
            raise self.error(name, f"is {values.dtype} of {values.size} values, expected one text")
        return str(value)

    def integers(self, name: str, low: int, high: int, hint: str | None = None) -> IntArray:
        """Whole numbers from `low` to `high` (inclusive), of any number type, not empty."""
        values = self._values(name)
        if values.dtype.kind not in "biuf":
            raise self.error(name, f"is {values.dtype}, expected whole numbers")
        if not values.size:
            raise self.error(name, "is empty")
        if values.dtype.kind == "f":
            with np.errstate(invalid="ignore"):
                wrong = values[~np.isfinite(values) | (values != np.rint(values))]
            if wrong.size:
                raise self.error(name, f"holds {wrong.flat[0]:g}, expected whole numbers", hint)
        for value in (int(values.min()), int(values.max())):
            if not low <= value <= high:
                raise self.error(name, f"holds {value}, expected {low} to {high}")
        return values.astype(np.int64)

    def per_channel(
        self, name: str, channels: int, low: int, high: int, default: int | None = None
    ) -> IntArray:
        """One whole number, or one for each channel (row of the weights): (1,) or (channels,)."""
        if default is not None and name not in self:
            return np.array([default], np.int64)
        values = self.integers(name, low, high).reshape(-1)
        if values.size not in (1, channels):
            raise self.error(name, f"has {values.size} values for {channels} channels")
        return values

    def integer(self, name: str, low: int, high: int, default: int | None = None) -> int:
        """One whole number; `default`, if there is one, where the field is missing."""
        return int(self.per_channel(name, 1, low, high, default).item())

    def number(self, name: str, low: float, high: float) -> float:
        """One finite number, whole or not."""
        values = np.asarray(self._values(name)).reshape(-1)
        if values.dtype.kind not in "iuf" or values.size != 1:
            raise self.error(name, f"is {values.dtype} of {values.size} values, expected a number")
        value = float(values[0])
        if not low <= value <= high:
            raise self.error(name, f"is {value:g}, expected {low:g} to {high:g}")
        return value

    def pair(self, name: str, low: int) -> tuple[int, int]:
        """(height, width); one value stands for both."""
        values = self.integers(name, low, MAX_SIZE).reshape(-1)
        if values.size not in (1, 2):
            raise self.error(name, f"has {values.size} values, expected (height, width)")
        return (int(values[0]), int(values[-1]))

    def shape(self, name: str) -> tuple[int, ...]:
        """Positive sizes whose product is bounded."""
        values = self.integers(name, 1, MAX_SIZE).reshape(-1)
        if values.size > 8 or np.prod(values, dtype=object) > MAX_SIZE:
            raise self.error(name, f"has more than {MAX_SIZE} elements")
        return tuple(int(value) for value in values)

    def agree(self, name: str, *expected: int) -> None:
        """An optional field that repeats what is known from others."""
        if name in self:
            found = self.integers(name, 0, MAX_SIZE).reshape(-1)
            if found.size > len(expected):
                raise self.error(name, f"has {found.size} values, expected {len(expected)}")
            values = found.tolist()
            if values != list(expected) and values * len(expected) != list(expected):
                raise self.error(name, f"is {values}, the weights say {list(expected)}")

    def ignore(self, *names: str) -> None:
        """Fields that mean nothing outside training."""
        self._left -= set(names)

    def finish(self) -> None:
        """Raises `ModelError` for a field that nobody has read: it may mean anything."""
        for name in sorted(self._left):
            raise ModelError(
                f"has the field {name!r}, which this reader does not know",
                node=self.node,
                hint="Remove it if the network means the same without it.",
            )

    def _item(self, name: str) -> h5py.Group | h5py.Dataset:
        if name not in self._group:
            raise self.error(name, "is missing")
        self._left.discard(name)
        return self._group[name]

    def _dataset(self, name: str) -> h5py.Dataset:
        item = self._item(name)
        if not isinstance(item, h5py.Dataset) or item.shape is None:
            raise self.error(name, "is no array")
        return item

    def _values(self, name: str) -> NDArray[np.generic]:
        item = self._dataset(name)
        if item.size > MAX_VALUES:
            raise self.error(name, f"has {item.size} values, more than {MAX_VALUES}")
        try:
            return np.asarray(item[()])
        except Exception as error:  # h5py raises whatever its conversion meets
            raise self.error(name, f"cannot be read ({error})") from error


def layers(file: h5py.File, path: str) -> Iterator[Fields]:
    """The groups `layer/0`, `layer/1`, ... in the order of their numbers.

    Raises
    ------
    FileError
        There is no group `layer`, or its members are not groups numbered from 0 without a gap.
    """
    group = file.get("layer")
    if not isinstance(group, h5py.Group) or not len(group):
        raise FileError(
            "has no group `layer` with layers in it",
            node=path,
            hint="Export each block with block.export_hdf5(file.create_group(f'layer/{i}')).",
        )
    for number in range(len(group)):
        item = group.get(str(number))
        if not isinstance(item, h5py.Group):
            raise FileError(
                f"layer/{number} is not a group among the {len(group)} layers", node=path
            )
        yield Fields(item, f"layer/{number}")
