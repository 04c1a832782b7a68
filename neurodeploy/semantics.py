"""What one time step means.  Semantics is a value, compared before anything runs.

The most common silent bug in this field is a change of execution semantics on the way from the
training framework to the chip.  Here it is a frozen value: every population of a `Network` carries
one, every target declares one, NIR node metadata store it, and `diff` lists where two of them part.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from neurodeploy.errors import FileError

Integrator = Literal["euler", "exact"]
Order = Literal["decay-input-threshold"]
Reset = Literal["zero", "subtract", "none"]
ResetTiming = Literal["immediate", "delayed", "after-input", "held"]
Comparison = Literal[">", ">="]
Rounding = Literal["float64", "float32", "toward-zero", "floor", "nearest"]
Overflow = Literal["none", "wrap-current-saturate-voltage", "saturate", "wrap"]

SCHEMA = 1
METADATA_KEY = "neurodeploy"


@dataclass(frozen=True)
class Semantics:
    r"""The execution semantics of one population, or of one chip.

    With decay :math:`\beta`, threshold :math:`\theta`, input :math:`x_t` (the synaptic current
    where there is one) and :math:`H(\cdot)` the comparison, the resets are

    ===========  =============  =================================================================
    reset        timing         update
    ===========  =============  =================================================================
    `zero`       `immediate`    v = βv + x;  S = H(v);  v = 0 where S
    `zero`       `delayed`      v = β(1−S)v + x;  S = H(v)          (same spikes as `immediate`)
    `zero`       `after-input`  v = (1−S)(βv + x);  S = H(v)    (the input of that step is lost)
    `subtract`   `immediate`    v = βv + x;  S = H(v);  v = v − aθS
    `subtract`   `delayed`      v = βv + x − aθS;  S = H(v)                  (snnTorch's default)
    `subtract`   `held`         R = H(v);  v = βv + x − θR;  S = H(v);  v = v − θ(S − R)
    `none`       any            v = βv + x;  S = H(v)
    ===========  =============  =================================================================

    `held` is what snnTorch 1.0.0 computes for `reset_mechanism="subtract", reset_delay=False`: a
    neuron left above threshold needs twice the threshold to spike again.

    Attributes
    ----------
    dt: length of a time step in seconds (only relates NIR time constants to decays).
    integrator: how NIR time constants become a decay: `euler` 1−dt/τ, `exact` exp(−dt/τ).
    order: order of the operations within a step.
    reset, reset_amount, reset_timing: as above; `reset_amount` a is in thresholds.
    comparison: `>` fires strictly above the threshold, `>=` also at it.
    refractory: steps without integration after a spike.
    initial_state: membrane potential before the first step.
    edge_delay: steps between a spike and its arrival at the next population.
    spikes_per_step: most spikes that a neuron may send in one step; where it is n > 1, S is the
        largest number up to n whose Sθ the potential passes, and subtraction takes all S.
    rounding, overflow: of the state arithmetic.
    """

    dt: float = 1e-4
    integrator: Integrator = "euler"
    order: Order = "decay-input-threshold"
    reset: Reset = "zero"
    reset_amount: float = 1.0
    reset_timing: ResetTiming = "immediate"
    comparison: Comparison = ">"
    refractory: int = 0
    initial_state: float = 0.0
    edge_delay: int = 0
    spikes_per_step: int = 1
    rounding: Rounding = "float64"
    overflow: Overflow = "none"

    def to_dict(self) -> dict[str, Any]:
        """Plain data, in field order."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, node: str = "semantics") -> Semantics:
        """Read plain data back.

        Raises
        ------
        FileError
            An unknown field, or a value outside the field's vocabulary.
        """
        known = [field.name for field in fields(cls)]
        for what, wrong in (("unknown", set(data) - set(known)), ("no", set(known) - set(data))):
            if wrong:
                raise FileError(
                    f"{what} semantics field {sorted(wrong)[0]!r}",
                    node=node,
                    hint=f"The fields are {', '.join(known)}.",
                )
        for name, vocabulary in _VOCABULARY.items():
            if name in data and data[name] not in vocabulary:
                raise FileError(
                    f"semantics field {name!r} is {data[name]!r}, expected one of "
                    f"{', '.join(vocabulary)}",
                    node=node,
                )
        values: dict[str, Any] = {}
        for name, value in data.items():
            kind: type[int] | type[float] | type[str] = type(getattr(cls, name))
            if isinstance(value, bool) or not isinstance(value, (int, float, str)):
                raise FileError(f"semantics field {name!r} is {value!r}", node=node)
            try:
                values[name] = kind(value)
            except (ValueError, OverflowError) as error:
                raise FileError(f"semantics field {name!r} is {value!r}", node=node) from error
            if isinstance(values[name], int) and values[name] != value:
                raise FileError(f"semantics field {name!r} is {value!r}", node=node)
        return cls(**values).validate(node=node)

    def validate(self, *, node: str = "semantics") -> Semantics:
        """This value, if its numbers are possible; raises `FileError` otherwise."""
        if not isinstance(self.dt, (int, float)) or not 0 < self.dt < math.inf:
            raise FileError(f"dt is {self.dt}, expected a positive time in s", node=node)
        for name in ("reset_amount", "initial_state"):
            if not math.isfinite(getattr(self, name)):
                raise FileError(f"semantics field {name!r} is {getattr(self, name)}", node=node)
        for name, least in (("refractory", 0), ("edge_delay", 0), ("spikes_per_step", 1)):
            if getattr(self, name) < least:
                raise FileError(
                    f"semantics field {name!r} is {getattr(self, name)}, expected at least {least}",
                    node=node,
                )
        return self


_VOCABULARY: Mapping[str, tuple[str, ...]] = {
    "integrator": get_args(Integrator),
    "order": get_args(Order),
    "reset": get_args(Reset),
    "reset_timing": get_args(ResetTiming),
    "comparison": get_args(Comparison),
    "rounding": get_args(Rounding),
    "overflow": get_args(Overflow),
}


@dataclass(frozen=True)
class Difference:
    """One field in which a model's population and a target disagree."""

    node: str
    field: str
    model: str | float | int
    target: str | float | int

    def __str__(self) -> str:
        return f"{self.node}: {self.field} is {self.model} in the model, {self.target} on target"


def diff(model: Semantics, target: Semantics, *, node: str) -> tuple[Difference, ...]:
    """List every field in which `model` (of population `node`) and `target` differ.

    `dt` and `integrator` only relate a file's time constants to decays; once a decay is known they
    do not act, so they are not compared.
    """
    skipped = {"dt", "integrator"}
    if model.reset == "none" == target.reset:
        skipped |= {"reset_timing", "reset_amount"}
    return tuple(
        Difference(node, field.name, getattr(model, field.name), getattr(target, field.name))
        for field in fields(Semantics)
        if field.name not in skipped and getattr(model, field.name) != getattr(target, field.name)
    )


def to_metadata(**entries: Any) -> dict[str, str]:
    """NIR metadata with our entries under one namespaced key, as a JSON text.

    A JSON text survives HDF5 and other NIR tools unchanged.  Entries: `semantics` (a dict), `dtype`
    (of the model's parameters), `module` (path in the source model), and others the writer needs.
    """
    return {METADATA_KEY: json.dumps({**entries, "schema": SCHEMA}, sort_keys=True)}


def from_metadata(metadata: Mapping[str, Any], *, node: str) -> dict[str, Any] | None:
    """Our entries in NIR metadata, or None where there are none.

    Raises
    ------
    FileError
        The entry is not a JSON object, or of a newer schema.
    """
    if not isinstance(metadata, Mapping):
        raise FileError(f"its metadata are {metadata!r}, not a table", node=node)
    text = metadata.get(METADATA_KEY)
    if text is None:
        return None
    if isinstance(text, bytes):
        text = text.decode("utf8", errors="replace")
    try:
        entries = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise FileError("the neurodeploy metadata is not valid JSON", node=node) from error
    if not isinstance(entries, dict) or entries.get("schema") != SCHEMA:
        schema = entries.get("schema") if isinstance(entries, dict) else None
        raise FileError(
            f"the neurodeploy metadata has schema {schema!r}, this version reads {SCHEMA}",
            node=node,
        )
    return entries
