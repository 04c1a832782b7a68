#!/usr/bin/env python3
"""Runs this folder's network on SpiNNaker2 and compares every spike with what is expected.

    python deploy.py --backend chip --eth-ip 192.168.1.48 --selftest
    python deploy.py --backend chip --eth-ip 192.168.1.48

The first line proves the installation: a network whose spikes were recorded on a chip.  Needed are
numpy and py-spinnaker2, nothing else.  All results go to report.json (selftest.json), which is
written again after every sample, so nothing is lost whatever happens.

Exit code: 0 every spike is equal and every tick was in time; 1 not so; 2 it could not run.
"""

from __future__ import annotations

import argparse
import base64
import datetime
import hashlib
import importlib
import importlib.metadata
import inspect
import json
import os
import platform
import sys
import time
import traceback
import zlib
from pathlib import Path
from typing import Any

import numpy as np

BUNDLE, REPORT = "neurodeploy-spinnaker2-bundle", "neurodeploy-spinnaker2-report"
VERSION = 1
ATTEMPTS = 3
PAUSE = 0.5  # seconds before the second attempt; twice that before the third
BOARDS = {"chip": "SpiNNaker2Chip", "board48": "SpiNNcloud48NodeBoard"}
BRIAN2 = (
    "Brian2 is documented to deviate: [threshold] it fires at v > threshold, a chip at v >= "
    "threshold; [lif_curr_exp] it updates synaptic currents in another order"
)


class DeployError(Exception):
    """Why nothing more can be done: a kind that stays the same, and a sentence for people."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


# ------------------------------------------------------------------------------------ the report


class Report:
    """What is known so far, on disk after every `save`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[dict[str, str]] = []
        self.samples: list[dict[str, Any]] = []
        self.data: dict[str, Any] = {
            "format": REPORT,
            "version": VERSION,
            "status": "incomplete",
            "problems": self.problems,
            "samples": self.samples,
            "started": datetime.datetime.now(datetime.timezone.utc).isoformat(),
            "versions": {"python": platform.python_version(), "numpy": np.__version__},
        }

    def problem(self, kind: str, text: str) -> None:
        self.problems.append({"kind": kind, "text": text})
        sys.stderr.write(f"{kind.upper()}: {text}\n")

    def save(self) -> None:
        """Replace the file as a whole: a reader finds the old one or the new one."""
        text = json.dumps(self.data, indent=1, sort_keys=True) + "\n"
        part = self.path.with_suffix(".part")
        part.write_text(text, "utf-8")
        os.replace(part, self.path)


# ------------------------------------------------------------------------------------ the bundle


class Bundle:
    """The folder's data, each file checked against its hash."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.about = self._description()
        for name, digest in self.about["files"].items():
            self._check(name, digest)
        self.arrays = self._arrays("arrays.npz")
        self.inputs = self._arrays("inputs.npz")
        self.expected = self._arrays("expected_spikes.npz")

    def _description(self) -> dict[str, Any]:
        path = self.folder / "program.json"
        try:
            about = json.loads(path.read_text("utf-8"))
            digest = about.pop("sha256")
            plain = json.dumps(about, sort_keys=True, separators=(",", ":"), allow_nan=False)
            known = (about["format"], about["version"]) == (BUNDLE, VERSION)
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            raise DeployError("corrupted file", f"{path} cannot be read ({error})") from error
        if not known:
            raise DeployError("corrupted file", f"{path} is not a bundle of version {VERSION}")
        if hashlib.sha256(plain.encode()).hexdigest() != digest:
            raise DeployError("wrong hash", f"{path} was altered: it does not have its own SHA-256")
        self.digest = digest
        return dict(about)

    def _check(self, name: str, digest: str) -> None:
        path = self.folder / name
        try:
            found = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise DeployError("corrupted file", f"{path} cannot be read ({error})") from error
        if found != digest:
            raise DeployError(
                "corrupted file",
                f"{path} has SHA-256 {found[:16]}…, expected {digest[:16]}…: copy the bundle again",
            )

    def _arrays(self, name: str) -> dict[str, np.ndarray[Any, Any]]:
        with np.load(self.folder / name, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}

    def expected_spikes(self, population: dict[str, Any], sample: int) -> np.ndarray[Any, Any]:
        """bool (steps, neurons)."""
        packed = self.expected[population["name"]][sample]
        return np.unpackbits(packed, axis=-1)[:, : population["size"]].astype(bool)

    def input_digest(self, sample: int) -> str:
        """SHA-256 of the input spikes of a sample, uint8 (steps, *shape), input by input."""
        digest = hashlib.sha256()
        for item in self.about["inputs"]:
            digest.update(np.ascontiguousarray(self.inputs[item["name"]][sample]).tobytes())
        return digest.hexdigest()


# -------------------------------------------------------------------------------- py-spinnaker2


def takes(function: Any, name: str) -> bool:
    """Whether a function can be given a parameter of this name."""
    parameters = inspect.signature(function).parameters
    return name in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


class Stack:
    """The installed py-spinnaker2: what it is, what it can do, and networks built with it."""

    def __init__(self, options: argparse.Namespace, about: dict[str, Any]) -> None:
        self.options = options
        self.package = self._module("spinnaker2")
        self.snn = self._module("spinnaker2.snn")
        self.version = self._version()
        self.lacking: list[str] = []
        if options.backend == "brian2":
            self.board = self._part(self._module("spinnaker2.brian2_sim"), "Brian2Backend")
        else:
            hardware = self._module("spinnaker2.hardware")
            self.board = self._part(hardware, BOARDS[options.backend])
        self.arguments: dict[str, Any] = {}
        self.power: str | None = None
        self._probe(about)
        if self.lacking:
            raise DeployError(
                "wrong version",
                f"py-spinnaker2 {self.version} lacks what this needs: {', '.join(self.lacking)}",
            )

    def _module(self, name: str) -> Any:
        try:
            return importlib.import_module(name)
        except ImportError as error:
            raise DeployError(
                "missing package",
                f"{name} cannot be imported ({error}): pip install -r requirements.txt, and for "
                "boards the chip binaries as py-spinnaker2's README says",
            ) from error

    def _version(self) -> str:
        own = getattr(self.package, "__version__", None)
        try:
            return str(own or importlib.metadata.version("spinnaker2"))
        except importlib.metadata.PackageNotFoundError:
            return "of unknown version"

    def _part(self, owner: Any, name: str) -> Any:
        part = getattr(owner, name, None)
        if part is None:
            self.lacking.append(f"{owner.__name__}.{name}")
        return part

    def _probe(self, about: dict[str, Any]) -> None:
        """Look for all that will be called, and put together the arguments of `run`."""
        options, chip = self.options, self.options.backend != "brian2"
        for name in ("Population", "Projection", "Network"):
            self._part(self.snn, name)
        if any(item["kind"] == "conv2d" for item in about["projections"]):
            self._part(self.snn, "Conv2DProjection")
        wanted = ["set_max_atoms_per_core", "get_spikes"]
        wanted += ["get_time_done_times"] if chip else []
        wanted += ["get_voltages"] if any("v" in p["record"] for p in about["populations"]) else []
        for name in wanted if hasattr(self.snn, "Population") else ():
            self._part(self.snn.Population, name)
        run = self._part(self.board, "run") if self.board is not None else None
        if run is None or not chip:
            return
        self._argument("sys_tick_in_s", options.sys_tick or about["sys_tick"])
        if options.mapping_only:
            self._argument("mapping_only", True)
        routing = options.routing or ("c2c" if options.backend == "board48" else None)
        if routing is not None:
            settings = self._module("spinnaker2.experiment_backends.backend_settings")
            chosen = settings.BackendSettings()
            chosen.routing_type = getattr(settings.ROUTING, routing.upper())
            self._argument("experiment_backend_settings", chosen)
        if options.record_power:
            names = [name for name in ("record_power", "measure_power") if takes(run, name)]
            self.power = names[0] if names else "record_power"
            self._argument(self.power, True)
        for name in self._addresses():
            if not takes(self.board, name):
                self.lacking.append(f"{self.board.__name__}({name}=…)")

    def _argument(self, name: str, value: Any) -> None:
        if takes(self.board.run, name):
            self.arguments[name] = value
        else:
            self.lacking.append(f"{self.board.__name__}.run({name}=…)")

    def _addresses(self) -> dict[str, str]:
        given = {"eth_ip": self.options.eth_ip, "stm_ip": self.options.stm_ip}
        return {name: address for name, address in given.items() if address is not None}

    def run(self, network: Any, ticks: int) -> float | None:
        """One run on a fresh hardware object, as py-spinnaker2 needs it; J where it says them."""
        network.reset()
        addresses = {} if self.options.backend == "brian2" else self._addresses()
        board = self.board(**addresses)
        board.run(network, ticks, **self.arguments)
        energy = getattr(board, "energy", None) if self.power is not None else None
        return None if energy is None else float(energy)

    def build(self, bundle: Bundle) -> tuple[Any, dict[str, Any]]:
        """The network and its populations by name."""
        about, arrays = bundle.about, bundle.arrays
        timing = [] if self.options.backend == "brian2" else ["time_done"]
        made: dict[str, Any] = {}
        for item in about["inputs"]:
            made[item["name"]] = self.snn.Population(
                item["size"], "spike_list", {}, name=item["name"], record=list(timing)
            )
        for item in about["populations"]:
            parameters = {
                name: arrays[value["array"]].astype(float) if isinstance(value, dict) else value
                for name, value in item["parameters"].items()
            }
            made[item["name"]] = self._population(item, parameters, item["record"] + timing)
        for item in about["inputs"] + about["populations"]:
            made[item["name"]].set_max_atoms_per_core(item["atoms"])
        network = self.snn.Network("neurodeploy")
        network.add(
            *made.values(), *(self._projection(p, made, arrays) for p in about["projections"])
        )
        return network, made

    def _population(self, item: dict[str, Any], parameters: Any, record: list[str]) -> Any:
        """Most versions write `t_refrac`, some `t_refract`; it is 0 in every bundle."""
        size, model, name = item["size"], item["model"], item["name"]
        try:
            return self.snn.Population(size, model, parameters, name=name, record=record)
        except Exception as error:
            if "t_refrac" not in parameters or "t_refrac" not in str(error):
                raise
            parameters["t_refract"] = parameters.pop("t_refrac")
            return self.snn.Population(size, model, parameters, name=name, record=record)

    def _projection(self, item: dict[str, Any], made: dict[str, Any], arrays: Any) -> Any:
        ends, place = (made[item["source"]], made[item["target"]]), item["array"]
        if item["kind"] == "conv2d":
            return self.snn.Conv2DProjection(*ends, arrays[f"{place}/kernel"], item["parameters"])
        columns = [arrays[f"{place}/{name}"] for name in ("pre", "post", "weight", "delay")]
        return self.snn.Projection(*ends, np.stack(columns, axis=1).astype(int).tolist())


# ------------------------------------------------------------------------------------- one sample


def raster(population: Any, size: int, ticks: int) -> np.ndarray[Any, Any]:
    """Recorded spikes, bool (ticks, neurons)."""
    spikes = np.zeros((ticks, size), bool)
    for neuron, times in population.get_spikes().items():
        for tick in np.asarray(times, dtype=float):
            if not (0 <= int(neuron) < size and 0 <= tick < ticks and tick == int(tick)):
                raise DeployError(
                    "impossible spikes",
                    f"{population.name}: neuron {neuron} at tick {tick:g}, of {size} neurons and "
                    f"{ticks} ticks",
                )
            spikes[int(tick), int(neuron)] = True
    return spikes


def difference(
    spikes: np.ndarray[Any, Any], expected: np.ndarray[Any, Any], depth: int
) -> dict[str, Any]:
    """Recorded against expected spikes; a population `depth` layers in runs that many ticks late.

    Before these ticks have passed nothing may spike.
    """
    steps, size = expected.shape
    wanted = np.zeros((depth + steps, size), bool)
    wanted[depth:] = expected
    found = spikes[: depth + steps]
    wrong = np.argwhere(found != wanted)
    result: dict[str, Any] = {
        "cells": int(expected.size),
        "missing": int(np.count_nonzero(wanted & ~found)),
        "extra": int(np.count_nonzero(found & ~wanted)),
    }
    if len(wrong):
        tick, neuron = (int(n) for n in wrong[0])
        result["first"] = {"tick": tick, "step": tick - depth, "neuron": neuron}
    return result


def slowest(population: Any, ticks: int) -> tuple[float, int, str] | None:
    """Largest share of a tick that a core needed, with the tick and the core; None if unknown.

    Recorded is when a core was done, from the start of the tick, in ticks.
    """
    worst = (0.0, 0, "")
    times = population.get_time_done_times() or {}
    for core, shares in times.items():
        shares = np.asarray(shares, dtype=float).reshape(-1)
        if len(shares) < ticks or not np.all(np.isfinite(shares)):
            return None
        tick = int(shares.argmax())
        worst = max(worst, (float(shares[tick]), tick, str(core)))
    return worst if times else None


def pack(spikes: np.ndarray[Any, Any]) -> str:
    """Spikes (ticks, neurons) as text: bits, deflated, base 64."""
    return base64.b64encode(zlib.compress(np.packbits(spikes).tobytes(), 9)).decode()


class Runner:
    """Runs samples one by one and says in the report what happened."""

    def __init__(self, bundle: Bundle, stack: Stack, report: Report) -> None:
        self.bundle, self.stack, self.report = bundle, stack, report
        self.ticks = int(bundle.about["ticks"])
        self.network, self.made = stack.build(bundle)

    def sample(self, index: int) -> dict[str, Any]:
        """Run one sample; the entry of the report, which is complete before it is judged."""
        for item in self.bundle.about["inputs"]:
            sent = self.bundle.inputs[item["name"]][index].reshape(-1, item["size"])
            times = {n: np.flatnonzero(sent[:, n]).tolist() for n in range(item["size"])}
            self.made[item["name"]].params = times
        started = time.monotonic()
        entry: dict[str, Any] = {"index": index, "inputs": self.bundle.input_digest(index)}
        energy, entry["failed_starts"] = self._start(index)
        entry["seconds"] = time.monotonic() - started
        if energy is not None:
            entry["energy_in_J"] = energy
        self.report.samples.append(entry)
        if self.stack.options.mapping_only:
            return entry
        entry["spikes"], entry["differences"], entry["potentials"] = {}, {}, {}
        for item in self.bundle.about["populations"]:
            self._population(item, index, entry)
        if self.stack.options.backend != "brian2":
            self._deadlines(index, entry)
        return entry

    def _start(self, index: int) -> tuple[float | None, list[str]]:
        failed: list[str] = []
        while len(failed) < ATTEMPTS:
            time.sleep(PAUSE * len(failed))
            try:
                return self.stack.run(self.network, self.ticks), failed
            except (Exception, SystemExit) as error:  # whatever the stack below raises
                failed.append(f"{type(error).__name__}: {error}")
                sys.stderr.write(f"sample {index}, attempt {len(failed)}: {failed[-1]}\n")
        raise DeployError(
            "failed start", f"sample {index}: {ATTEMPTS} attempts failed: {' | '.join(failed)}"
        )

    def _population(self, item: dict[str, Any], index: int, entry: dict[str, Any]) -> None:
        name, depth = item["name"], item["depth"]
        spikes = raster(self.made[name], item["size"], self.ticks)
        entry["spikes"][name] = pack(spikes)
        found = difference(spikes, self.bundle.expected_spikes(item, index), depth)
        entry["differences"][name] = found
        self._recorded(name, spikes, entry)
        if found["missing"] or found["extra"]:
            first, kind = found["first"], "different spikes" if found["extra"] else "lost spikes"
            text = (
                f"sample {index}, {name}: {found['missing']} spikes are missing and "
                f"{found['extra']} are extra, of {found['cells']} cells; first at tick "
                f"{first['tick']}, neuron {first['neuron']}"
            )
            brian2 = self.stack.options.backend == "brian2"
            self.report.problem(kind, f"{text}. {BRIAN2}" if brian2 else text)
        if "v" in item["record"]:
            self._potentials(item, index, entry)

    def _recorded(self, name: str, spikes: np.ndarray[Any, Any], entry: dict[str, Any]) -> None:
        """The hash of what a chip once sent, where the bundle knows one."""
        recorded = self.bundle.about["recorded"]
        if recorded is None or recorded["population"] != name:
            return
        found = hashlib.sha256(np.packbits(spikes[: recorded["ticks"]]).tobytes()).hexdigest()
        entry["recorded"] = found
        if found != recorded["sha256"]:
            self.report.problem(
                "selftest",
                f"{name} sent spikes of SHA-256 {found[:16]}…, a chip sent "
                f"{recorded['sha256'][:16]}…",
            )

    def _potentials(self, item: dict[str, Any], index: int, entry: dict[str, Any]) -> None:
        """Recorded potentials of an output; a chip that fuses v alpha + x may round otherwise."""
        name, depth = item["name"], item["depth"]
        expected = self.bundle.expected[f"v/{name}"][index]
        recorded = self.made[name].get_voltages()
        shape = (item["size"], self.ticks)
        v = np.array([recorded[n] for n in range(item["size"]) if n in recorded], np.float32)
        if v.shape != shape:
            raise DeployError(
                "lost potentials", f"{name}: {v.shape} were recorded, expected {shape}"
            )
        v = v.T[depth : depth + len(expected)]
        worst = float(np.abs(v - expected).max())
        entry["potentials"][name] = {
            "values": base64.b64encode(zlib.compress(v.astype("<f4").tobytes(), 9)).decode(),
            "largest_difference": worst,
            "equal": bool(np.array_equal(v, expected)),
        }
        if not worst <= 1e-4 * max(1.0, float(np.abs(expected).max())):
            self.report.problem(
                "different potentials", f"sample {index}, {name}: they differ by up to {worst:g}"
            )

    def _deadlines(self, index: int, entry: dict[str, Any]) -> None:
        """Spikes are what they should be only while every core finishes every tick in time."""
        found = {name: slowest(population, self.ticks) for name, population in self.made.items()}
        unknown = [name for name, value in found.items() if value is None]
        if unknown:
            self.report.problem(
                "unknown deadlines",
                f"sample {index}: no times of all {self.ticks} ticks for {', '.join(unknown)}",
            )
        known = {name: value for name, value in found.items() if value is not None}
        entry["time_done"] = max((value[0] for value in known.values()), default=None)
        for name, (share, tick, core) in known.items():
            if share >= 1:
                self.report.problem(
                    "late tick",
                    f"sample {index}, {name}: core {core} needed {share:.0%} of tick {tick}; "
                    "choose a longer --sys-tick",
                )

    def decision(self, entry: dict[str, Any], index: int) -> int | None:
        """Class of a sample: most spikes, or the highest mean potential; the first of equals."""
        outputs = self.bundle.about["outputs"]
        if len(outputs) != 1:
            return None
        item = next(p for p in self.bundle.about["populations"] if p["name"] == outputs[0])
        steps, depth = self.bundle.about["steps"], item["depth"]
        if "v" in item["record"]:
            data = zlib.decompress(base64.b64decode(entry["potentials"][outputs[0]]["values"]))
            values = np.frombuffer(data, "<f4").reshape(steps, -1).astype(float)
        else:
            values = raster(self.made[outputs[0]], item["size"], self.ticks)[depth : depth + steps]
        return int(values.sum(axis=0).argmax())


# ------------------------------------------------------------------------------------------- main


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backend", choices=(*BOARDS, "brian2"), default="chip")
    parser.add_argument("--eth-ip", help="of the chip or board, unless py-spinnaker2 knows it")
    parser.add_argument("--stm-ip", help="of a 48-chip board's controller")
    parser.add_argument("--routing", choices=("mc", "c2c"), help="c2c on a 48-chip board")
    parser.add_argument("--sys-tick", type=float, help="length of a tick in s, if not the bundle's")
    parser.add_argument("--record-power", action="store_true", help="where this version can")
    parser.add_argument("--mapping-only", action="store_true", help="map the network, do not run")
    parser.add_argument("--samples", type=int, help="how many of the first samples to run")
    parser.add_argument("--selftest", action="store_true", help="a network recorded on a chip")
    options = parser.parse_args()
    if options.samples is not None and options.samples < 1:
        parser.error("--samples must be at least 1")
    if options.sys_tick is not None and not options.sys_tick > 0:
        parser.error("--sys-tick must be positive")
    return options


def run(folder: Path, options: argparse.Namespace, report: Report) -> None:
    bundle = Bundle(folder)
    about = bundle.about
    report.data.update(program=about["program"], bundle=bundle.digest, backend=options.backend)
    report.data["sys_tick_in_s"] = options.sys_tick or about["sys_tick"]
    report.data["ticks"], report.data["selftest"] = about["ticks"], options.selftest
    stack = Stack(options, about)
    report.data["versions"]["spinnaker2"] = stack.version
    report.data["power"] = stack.power
    sys.stdout.write(f"py-spinnaker2 {stack.version}, {options.backend}\n")
    runner = Runner(bundle, stack, report)
    sent = {item["name"] for item in about["inputs"]}
    labels = None if "labels" in sent else bundle.inputs.get("labels")
    count = (
        1 if options.mapping_only else min(options.samples or about["samples"], about["samples"])
    )
    right = 0
    for index in range(count):
        before = len(report.problems)
        entry = runner.sample(index)
        if options.mapping_only:
            break
        entry["decision"] = runner.decision(entry, index)
        said = "equal" if len(report.problems) == before else "NOT as expected"
        if entry.get("time_done") is not None:
            said += f", slowest tick {entry['time_done']:.0%}"
        if labels is not None and entry["decision"] is not None:
            right += int(entry["decision"] == labels[index])
            report.data["accuracy"] = {"right": right, "samples": index + 1}
            said += f", {right} of {index + 1} right"
        sys.stdout.write(f"sample {index + 1} of {count}: {said} ({entry['seconds']:.1f} s)\n")
        report.save()
    passed = "mapped" if options.mapping_only else "passed"
    report.data["status"] = "failed" if report.problems else passed


def main() -> int:
    options = arguments()
    here = Path(__file__).resolve().parent
    folder = here / "selftest" if options.selftest else here
    report = Report(here / ("selftest.json" if options.selftest else "report.json"))
    try:
        run(folder, options, report)
    except DeployError as error:
        report.problem(error.kind, str(error))
    except KeyboardInterrupt:
        report.problem("interrupted", f"after {len(report.samples)} samples")
    except Exception as error:
        report.data["traceback"] = traceback.format_exc()
        report.problem("error", f"{type(error).__name__}: {error}")
    finally:
        report.save()
    status = report.data["status"]
    sys.stdout.write(f"{status}: {report.path}\n")
    return {"passed": 0, "mapped": 0, "failed": 1}.get(status, 2)


if __name__ == "__main__":
    sys.exit(main())
