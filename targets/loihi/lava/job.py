"""What the Lava worker is asked and what it answers, as values; checked on the way out and in.

The layout on disk: `job.json` holds `{"schema": 1, "networks": [...]}` with the fields of the
classes below, every array replaced by its key in `arrays.npz`.  The answer is `result.npz` with one
array per network, population and recorded field, keyed `NETWORK.POPULATION.FIELD` by index, and
`result.json` with `{"schema": 1, "status": "ok", "versions": {...}, "seconds": [...]}`, or with
`"status": "error"` and the network's index, the error and the traceback.

`checks` looks at everything before it is sent.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neurodeploy.targets.loihi.arithmetic_synapses import SignMode
from neurodeploy.targets.loihi.models import MODELS

IntArray = NDArray[np.integer[Any]]
Kind = Literal["dense", "sparse", "conv2d", "direct"]


@dataclass(frozen=True, eq=False)
class LavaInput:
    """A source: `data` has shape (steps, *shape); step t sends data[t].

    It holds 0 or 1, or integers of 32 bits if `graded`.  A shape is (N,) or (C, H, W), here and in
    `LavaPopulation`.
    """

    name: str
    shape: tuple[int, ...]
    data: IntArray
    graded: bool = False


@dataclass(frozen=True, eq=False)
class LavaPopulation:
    """A population of one of Lava's neurons (`models.MODELS`).

    `registers` are integer arrays of size 1 or of the population's shape, in raw units of Lava.
    With `reset`, the states are initial before the update of step `start` and every `period` steps
    after it (None: only once); a reset interval counts from there minus `start`.  `record` names
    what is kept of every step: "s", what the neurons send, and the model's states after the step.
    """

    name: str
    shape: tuple[int, ...]
    registers: Mapping[str, IntArray]
    model: str = "lif"
    start: int = 0
    period: int | None = None
    reset: bool = False
    record: tuple[str, ...] = ("s",)

    def dtype(self, recorded: str) -> type[np.generic]:
        """Of a recorded array: uint8 for spikes, int32 for messages and states."""
        graded = recorded != "s" or MODELS[self.model].graded
        return np.int32 if graded else np.uint8


@dataclass(frozen=True)
class Forget:
    """When synapses drop what is on its way: in `steps` steps from `start`, again every `period`.

    In each of these, all is dropped but what arrives less than `kept` steps later.
    """

    start: int
    period: int | None
    steps: int = 1
    kept: int = 0


@dataclass(frozen=True, eq=False)
class LavaSynapse:
    """Synapses from an input or population to a population; a message arrives one step later.

    Dense and sparse weights are (out, in) on the flattened (C, H, W) order.  Conv weights are
    (Cout, Cin/groups, kH, kW), correlated with the input as torch does; Lava neither clips nor
    truncates them.  A direct connection is no process of Lava's: messages arrive at once, as they
    are.  Activations: `arithmetic.dense_activation` and `arithmetic.conv_activation`.

    Attributes
    ----------
    num_message_bits: 0 counts every message but 0 as one spike; otherwise weights multiply its
        value.
    delay: further steps, one value or one per synapse; dense and sparse only.
    port: which of the target model's inputs it reaches.
    """

    name: str
    source: str
    target: str
    kind: Kind
    weight: IntArray
    weight_exp: int = 0
    sign_mode: SignMode = "mixed"
    num_weight_bits: int = 8
    num_message_bits: int = 0
    delay: IntArray = field(default_factory=lambda: np.zeros(1, np.int64))
    port: str = "current"
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    forget: Forget | None = None


@dataclass(frozen=True, eq=False)
class LavaNetwork:
    """A network to run for `steps` steps from step 0."""

    name: str
    steps: int
    inputs: tuple[LavaInput, ...]
    populations: tuple[LavaPopulation, ...]
    synapses: tuple[LavaSynapse, ...]


@dataclass(frozen=True, eq=False)
class LavaResult:
    """What one network did.

    `recorded[population][field]` has shape (steps, *shape) and `LavaPopulation.dtype`.  `seconds`
    is the time Lava took for this network, construction included.
    """

    recorded: Mapping[str, Mapping[str, NDArray[Any]]]
    seconds: float


def write_job(networks: Sequence[LavaNetwork], job: Path, **more: bool) -> None:
    """Write `job.json`, with `more` entries, and `arrays.npz` into an existing folder."""
    arrays: dict[str, NDArray[Any]] = {}
    described = [_plain(network, f"{index}", arrays) for index, network in enumerate(networks)]
    np.savez(job / "arrays.npz", **arrays)  # type: ignore[arg-type]
    content = {"schema": 1, "networks": described, **more}
    (job / "job.json").write_text(json.dumps(content), "utf-8")


def _plain(value: Any, key: str, arrays: dict[str, NDArray[Any]]) -> Any:
    """A value of the classes above as JSON, its arrays moved to `arrays` under keys."""
    if isinstance(value, np.ndarray):
        arrays[key] = value
        return key
    if isinstance(value, tuple):
        return [_plain(item, f"{key}.{index}", arrays) for index, item in enumerate(value)]
    if hasattr(value, "__dataclass_fields__"):
        return {
            field.name: _plain(getattr(value, field.name), f"{key}.{field.name}", arrays)
            for field in fields(value)
        }
    if isinstance(value, Mapping):
        return {name: _plain(item, f"{key}.{name}", arrays) for name, item in value.items()}
    return value


def expected_arrays(
    networks: Sequence[LavaNetwork],
) -> Iterator[tuple[int, LavaPopulation, str, str]]:
    """Every array of the answer: the network's index, population, field and key."""
    for index, network in enumerate(networks):
        for i, population in enumerate(network.populations):
            for recorded in population.record:
                yield index, population, recorded, f"{index}.{i}.{recorded}"
