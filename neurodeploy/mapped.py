"""`Mapped`: on which core of its chip each neuron of a program is, as compilation chose it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from neurodeploy.errors import FileError
from neurodeploy.linear import Shape

Traffic = Literal["golden traces", "one spike of each neuron"]
MOST = 1 << 24
"""Coordinates, cores and chips of a file are below this; the chip says how many there are."""


@dataclass(frozen=True, eq=False)
class Mapped:
    """Where the neurons of a program go.

    Attributes
    ----------
    core: population -> core of each neuron, int64 (neurons,), C order; inputs too, where they
        occupy cores.  Cores are numbered in this order, and each holds neurons of one population.
    tiles: (x, y) of each core's router, int64 (cores, 2).
    entry: router at which spikes of inputs without a core enter.
    chips: number of chips.
    mapper: version of the method that chose it.
    seed: of the order in which that tried cores.
    traffic: the spikes for which tiles were chosen.
    """

    core: Mapping[str, NDArray[np.int64]]
    tiles: NDArray[np.int64]
    entry: tuple[int, int]
    chips: int
    mapper: int
    seed: int
    traffic: Traffic

    def to_tree(self) -> dict[str, Any]:
        """Plain data; cores counted from 0 in each population, in the fewest bytes that hold them.

        Keys of a table are kept in no order, so the populations are a list.
        """
        own = [(name, core - core.min()) for name, core in self.core.items()]
        return {
            **{name: value for name, value in vars(self).items() if name not in ("core", "tiles")},
            "core": [
                {"name": name, "core": c.astype(np.min_scalar_type(c.max()))} for name, c in own
            ],
            "tiles": self.tiles.astype(np.min_scalar_type(self.tiles.max())),
        }


def from_tree(
    tree: Mapping[str, Any], inputs: Mapping[str, Shape], populations: Mapping[str, Shape]
) -> Mapped:
    """What `Mapped.to_tree` made into `tree`.

    Parameters
    ----------
    inputs, populations: shapes of the program's, in its order.

    Raises
    ------
    FileError
        A neuron without a core, a core without neurons or without a tile, or a wrong type.
    """
    names = [str(item["name"]) for item in tree["core"]]
    shapes = {**inputs, **populations}
    _require(names in (list(shapes), list(populations)), f"it maps {', '.join(names)}", "mapped")
    core, count = {}, 0
    for name, item in zip(names, tree["core"], strict=True):
        own = item["core"]
        size = math.prod(shapes[name])
        kind, shape = getattr(own, "dtype", type(own)), getattr(own, "shape", ())
        whole = isinstance(own, np.ndarray) and own.dtype.kind == "u" and shape == (size,)
        _require(whole, f"its cores are {kind} of shape {shape}, expected {size} neurons", name)
        here = np.unique(own)
        _require(
            int(here[-1]) == len(here) - 1,
            f"its cores are up to {here[-1]}, but {len(here)} hold neurons",
            name,
        )
        core[name] = own.astype(np.int64) + count
        count += len(here)
    tiles = tree["tiles"]
    placed = isinstance(tiles, np.ndarray) and tiles.dtype.kind == "u" and tiles.shape == (count, 2)
    _require(placed and bool(tiles.max() < MOST), f"it needs the tiles of {count} cores", "mapped")
    entry, traffic = tuple(tree["entry"]), tree["traffic"]
    numbers = (*entry, tree["chips"], tree["mapper"], tree["seed"])
    fit = all(type(n) is int and 0 <= n < MOST for n in numbers) and len(entry) == 2
    _require(fit, f"its numbers are {numbers}", "mapped")
    _require(traffic in get_args(Traffic), f"its traffic is {traffic!r}", "mapped")
    return Mapped(
        core=core,
        tiles=tiles.astype(np.int64),
        entry=(entry[0], entry[1]),
        chips=tree["chips"],
        mapper=tree["mapper"],
        seed=tree["seed"],
        traffic=traffic,
    )


def _require(condition: bool, problem: str, node: str) -> None:
    if not condition:
        raise FileError(problem, node=node)
