"""Reports of `deploy.py`, read back: what a run elsewhere recorded, and what it measured."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import logging
import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.errors import FileError, TargetError
from neurodeploy.program import Neurons, Program
from neurodeploy.quantity import Quantity
from neurodeploy.simulator.engine import in_model_units
from neurodeploy.trace import Messages, Trace

logger = logging.getLogger(__name__)

FORMAT = "neurodeploy-spinnaker2-report"
VERSION = 1
MAX_BYTES = 1 << 30
BOARDS = {"chip": "a SpiNNaker2 chip", "board48": "a board of 48 SpiNNaker2 chips"}
STAND_IN = "stand-in"
"""Part of the version of packages that only stand in for py-spinnaker2: they measure nothing."""


@dataclass(frozen=True, eq=False)
class Report:
    """One `report.json` of a run of `program`; the `Report` of `neurodeploy.target`."""

    program: Program
    path: Path
    data: Mapping[str, Any]

    @property
    def samples(self) -> int:
        """Samples that ran to the end, from the first on."""
        return len(self._entries)

    @property
    def real(self) -> bool:
        """Whether it ran on a chip: not in Brian2, and not in a stand-in."""
        return self.data["backend"] in BOARDS and STAND_IN not in self._version

    @property
    def title(self) -> str:
        """Where it ran, with the version of py-spinnaker2."""
        version = f"py-spinnaker2 {self._version}"
        if self.data["backend"] in BOARDS:
            place = BOARDS[self.data["backend"]]
            return f"{place}, measured with {version}" if self.real else f"{version} for {place}"
        return f"Brian2 in {version}, which fires at v > threshold and filters in another order"

    @property
    def problems(self) -> tuple[str, ...]:
        """What the run itself complained of."""
        return tuple(f"{p['kind']}: {p['text']}" for p in self.data["problems"])

    @functools.cached_property
    def _entries(self) -> list[Mapping[str, Any]]:
        """Complete entries; they are written in the order of the samples."""
        populations = self.program.populations
        names = {population.name for population in populations}
        read = {population.name for population in populations if population.readout == "membrane"}
        good = [
            entry
            for entry in self.data["samples"]
            if "decision" in entry
            and set(entry["spikes"]) == names
            and set(entry["potentials"]) == read
        ]
        return [entry for index, entry in enumerate(good) if entry["index"] == index]

    @property
    def _version(self) -> str:
        return str(self.data["versions"]["spinnaker2"])

    def run(
        self,
        program: Program,
        inputs: Mapping[str, Messages],
        *,
        timeout: float,
        states: bool = False,
    ) -> Trace:
        """What was recorded for `inputs`, in time of the model; nothing is run.

        Raises
        ------
        TargetError
            The report is of other inputs or of fewer samples, it has no states, or what it holds
            does not fit the program.
        """
        if program.hash != self.program.hash or states:
            raise TargetError("a report has spikes of its own program only", node=str(self.path))
        samples, steps = next(iter(inputs.values())).shape[:2]
        if samples > self.samples:
            raise TargetError(
                f"{samples} samples are asked for, {self.samples} were run", node=str(self.path)
            )
        entries = self._entries[:samples]
        for index, entry in enumerate(entries):
            if entry["inputs"] != _digest(program, inputs, index):
                raise TargetError(
                    f"sample {index} was run on other inputs",
                    node=str(self.path),
                    hint="Give the inputs.npz of the bundle.",
                )
        spikes = {
            population.name: self._spikes(population, entries, steps)
            for population in program.populations
        }
        values = {
            name: self._potentials(program.population(name), entries, steps)
            for name in program.outputs
            if program.population(name).readout == "membrane"
        }
        return Trace({**inputs, **spikes}, values=values)

    def _spikes(
        self, population: Neurons, entries: list[Mapping[str, Any]], steps: int
    ) -> NDArray[np.uint8]:
        """uint8 (samples, steps, *shape)."""
        ticks, size = self._ticks(steps), population.size
        rows = []
        for entry in entries:
            data = self._unpacked(entry["spikes"][population.name], -(-ticks * size // 8))
            bits = np.unpackbits(np.frombuffer(data, np.uint8), count=ticks * size)
            rows.append(bits.reshape(ticks, size)[population.depth : population.depth + steps])
        return np.stack(rows).reshape(len(rows), steps, *population.shape)

    def _potentials(
        self, population: Neurons, entries: list[Mapping[str, Any]], steps: int
    ) -> NDArray[np.float64]:
        """float64 (samples, steps, *shape), in units of the model."""
        rows = []
        for entry in entries:
            text = entry["potentials"][population.name]["values"]
            data = self._unpacked(text, 4 * steps * population.size)
            rows.append(np.frombuffer(data, "<f4").reshape(steps, *population.shape))
        return in_model_units({"v": np.stack(rows)}, population)["v"]

    def _ticks(self, steps: int) -> int:
        ticks = self.data["ticks"]
        if ticks != steps + self.program.depth:
            raise TargetError(
                f"it is of {ticks} ticks, {steps} steps are asked for", node=str(self.path)
            )
        return int(ticks)

    def _unpacked(self, text: Any, size: int) -> bytes:
        """Exactly `size` bytes: base 64 and deflate undone, without growing beyond them."""
        try:
            inflate = zlib.decompressobj()
            data = inflate.decompress(base64.b64decode(text, validate=True), size + 1)
        except (TypeError, ValueError, zlib.error) as error:
            raise TargetError(
                f"its recordings cannot be read ({error})", node=str(self.path)
            ) from error
        if len(data) != size:
            raise TargetError("its recordings have another size", node=str(self.path))
        return data

    @property
    def measured(self) -> Mapping[str, Quantity]:
        """What the run measured, per inference: least, mean and most over its samples.

        Raises
        ------
        TargetError
            Nothing was: it ran in Brian2 or a stand-in.
        """
        if not self.real:
            raise TargetError(
                f"nothing in it was measured: it ran in {self.title}", node=str(self.path)
            )
        return dict(self._quantities())

    def _quantities(self) -> Iterator[tuple[str, Quantity]]:
        source = f"{self.title}, {self.samples} samples"
        accuracy = self.data.get("accuracy")
        if accuracy is not None:
            share = accuracy["right"] / accuracy["samples"]
            yield "accuracy", Quantity(share, share, share, "1", "measured", source)
        for name, key, factor, unit, how in (
            ("energy per inference", "energy_in_J", 1.0, "J", "the rails that py-spinnaker2 reads"),
            (
                "slowest core in a tick",
                "time_done",
                float(self.data["sys_tick_in_s"]),
                "s",
                "time_done",
            ),
            ("wall time", "seconds", 1.0, "s", "with loading and reading back"),
        ):
            values = [entry[key] * factor for entry in self._entries if entry.get(key) is not None]
            if values and len(values) == self.samples:
                mean = math.fsum(values) / len(values)
                text = f"{source}; {how}"
                yield name, Quantity(min(values), mean, max(values), unit, "measured", text)


def _digest(program: Program, inputs: Mapping[str, Messages], sample: int) -> str:
    """SHA-256 of the input spikes of a sample, as `deploy.py` has it."""
    digest = hashlib.sha256()
    for port in program.inputs:
        digest.update(np.ascontiguousarray(inputs[port.name][sample]).tobytes())
    return digest.hexdigest()


def read_report(path: str | Path, program: Program) -> Report:
    """A `report.json` of a run of `program`.

    Raises
    ------
    FileError
        Missing, no report, or of another program.
    """
    file = Path(path)
    try:
        if file.stat().st_size > MAX_BYTES:
            raise FileError(f"larger than {MAX_BYTES} bytes", node=str(path))
        data = json.loads(file.read_text("utf-8"))
        found = (data["format"], data["version"])
        if found != (FORMAT, VERSION):
            raise FileError(f"not a report of version {VERSION}", node=str(path))
        if data.get("program") != program.hash:
            raise FileError(
                "the report is of another program",
                node=str(path),
                hint="Give the program.ndp of its bundle.",
            )
        report = Report(program, file, data)
        _check(report)
    except OSError as error:
        raise FileError(f"cannot be read ({error.strerror})", node=str(path)) from error
    except (
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise FileError(
            f"not a report ({type(error).__name__}: {error})", node=str(path)
        ) from error
    return report


def _check(report: Report) -> None:
    """Raises `FileError` where nothing ran, else what reading a wrong field raises.

    Afterwards no field that `Report` reads is missing or of another type.
    """
    if type(report.data["ticks"]) is not int:
        raise TypeError("its ticks are no whole number")
    if "spinnaker2" not in report.data["versions"] or not report.samples:
        said = "; ".join(report.problems) or "it says nothing more"
        raise FileError(f"no sample ran to the end: {said}", node=str(report.path))
    logger.info("%s: %d samples, %d problems", report.title, report.samples, len(report.problems))
    for entry in report._entries:
        texts = [*entry["spikes"].values(), *(p["values"] for p in entry["potentials"].values())]
        if not all(isinstance(text, str) for text in (entry["inputs"], *texts)):
            raise TypeError("a recording is no text")
    measured = report.measured if report.real else {}
    if not all(math.isfinite(q.low) and math.isfinite(q.high) for q in measured.values()):
        raise ValueError("a measured value is not finite")
