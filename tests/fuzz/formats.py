"""The formats that are read from outside: valid small files, how they are damaged, how read."""

from __future__ import annotations

import base64
import dataclasses
import json
import math
import random
import tempfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nir
import numpy as np

import neurodeploy as nd
from neurodeploy import archive
from neurodeploy.cli.files import load_inputs, load_labels, load_spikes
from neurodeploy.errors import FileError, NeurodeployError
from neurodeploy.frontends import lava_dl
from neurodeploy.frontends import nir as nir_frontend
from neurodeploy.network import Network
from neurodeploy.program import Program
from tests import builders, net_files
from tests.fuzz import mutations

TARGETS = ("cpu8", "cpu16", "cpu8-shift", "loihi1", "loihi2", "spinnaker2")
STEPS = 3
SHARE = 0.07
"""Of the inputs that can be read, those that are compiled and run as well."""
MOST = 4096
"""Neurons of an input, beyond which nothing is run: it would only take long."""


@dataclass(frozen=True)
class Format:
    """A format: `mutate` makes an input, `read` does all that reading it involves."""

    name: str
    suffix: str
    mutate: Callable[[random.Random], bytes]
    read: Callable[[Path, random.Random], None]


def _file(write: Callable[[Path], object], suffix: str = "") -> bytes:
    """What `write` writes into a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"seed{suffix}"
        write(path)
        return path.read_bytes()


def _spikes(shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    cells = math.prod(shape)
    if cells > MOST:
        raise NeurodeployError("too large to be run here")
    return (np.arange(STEPS * cells) % 3 == 0).astype(np.uint8).reshape(1, STEPS, *shape)


# ------------------------------------------------------------------------------------------ NIR


def _graphs() -> list[nir.NIRGraph]:
    dense = builders.chain(
        (3,),
        fc=nir.Affine(np.linspace(-1, 1, 12).reshape(4, 3), np.full(4, 0.1)),
        lif=builders.lif(np.full(4, 0.75), semantics=builders.SUBTRACT),
    )
    image = builders.chain(
        (1, 6, 6),
        conv=builders.conv(np.ones((2, 1, 3, 3)), padding=1, input_shape=(6, 6)),
        lif=builders.lif(np.full((2, 6, 6), 0.75)),
        pool=nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        flatten=nir.Flatten({"input": np.array([2, 3, 3])}, 0, -1),
        last=nir.Linear(np.ones((2, 18))),
        out=builders.cuba([0.5, 0.5], [0.75, 0.75]),
    )
    loop = builders.chain(
        (2,), fc=nir.Linear(np.eye(2)), neurons=builders.integrator([1.0, 2.0]),
        scale=nir.Scale(np.array([2.0, 0.5])), wait=nir.Delay(np.full(2, builders.DT)),
        last=builders.lif([0.5, 0.5]),
    )  # fmt: skip
    loop.nodes["again"] = nir.Linear(np.full((2, 2), 0.25))
    loop.edges += [("neurons", "again"), ("again", "neurons")]
    return [dense, image, loop]


def _nir() -> Format:
    seeds = [_file(lambda path, graph=graph: nir.write(path, graph)) for graph in _graphs()]

    def read(path: Path, draws: random.Random) -> None:
        network = nir_frontend.load(nir_frontend.read(path), builders.SUBTRACT)
        if draws.random() < SHARE:
            _deploy(network, draws.choice(TARGETS))

    _warm([nir_frontend.load(graph) for graph in _graphs()])
    return Format("nir", ".nir", _hdf5(seeds), read)


def _hdf5(seeds: Sequence[bytes]) -> Callable[[random.Random], bytes]:
    def mutate(draws: random.Random) -> bytes:
        data = draws.choice(seeds)
        kind = draws.random()
        if kind < 0.6:
            return mutations.damaged(draws, data)
        data = mutations.objects(draws, data)
        return mutations.damaged(draws, data) if kind > 0.9 else data

    return mutate


def _deploy(network: Network, target: str) -> None:
    """Compile, run and cost a network."""
    spikes = {port.name: _spikes(port.shape) for port in network.inputs}
    program = nd.compile(network, target=target, calibration=spikes)
    _run(program, spikes)


def _run(program: Program, spikes: Mapping[str, np.ndarray[Any, Any]]) -> None:
    trace = nd.run(program, spikes)
    if not program.target.startswith("cpu"):
        nd.energy(program, trace)


def _warm(networks: Sequence[Network]) -> None:
    """Let kernels be compiled in this process, not in each that reads."""
    for network in networks:
        for target in TARGETS:
            try:
                _deploy(network, target)
            except NeurodeployError:
                continue


# --------------------------------------------------------------------------- lava-dl's .net files


def _net() -> Format:
    from neurodeploy.targets.loihi.netx import read_program

    weight = np.arange(12).reshape(4, 3) * 2
    layers = [
        [
            net_files.dense(weight, net_files.cuba(), delay=np.array([0, 1, 2, 0])),
            net_files.dense(weight.T, net_files.cuba(), weight_rec=np.eye(3) * 2),
        ],
        [
            net_files.source(1, 4, 4, neuron=net_files.cuba()),
            net_files.conv(np.full((2, 1, 3, 3), 4), (2, 2, 2), net_files.cuba()),
            net_files.flatten(8),
            net_files.dense(np.full((2, 8), 6), net_files.cuba()),
        ],
    ]
    seeds = [_file(lambda path, own=own: net_files.write(path, *own)) for own in layers]
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "seed.net"
            path.write_bytes(seed)
            program = read_program(path)
            _run(program, {p.name: _spikes(p.shape) for p in program.inputs})

    def read(path: Path, draws: random.Random) -> None:
        if draws.random() < 0.5:
            nir_frontend.load(lava_dl.read_net(path))
            return
        program = read_program(path)
        if draws.random() < SHARE:
            _run(program, {p.name: _spikes(p.shape) for p in program.inputs})

    return Format("net", ".net", _hdf5(seeds), read)


# -------------------------------------------------------------------------------------- programs


def _programs() -> list[Program]:
    networks = [nir_frontend.load(graph) for graph in _graphs()]
    found = []
    for network, target in zip(
        (networks[0], networks[0], networks[1], networks[2], networks[0]),
        ("cpu8", "loihi2", "loihi2", "loihi2", "spinnaker2"),
        strict=True,
    ):
        spikes = {port.name: _spikes(port.shape) for port in network.inputs}
        found.append(nd.compile(network, target=target, calibration=spikes))
        _run(found[-1], spikes)
    return found


def _ndp() -> Format:
    seeds = [_file(program.save) for program in _programs()]
    trees = []
    with tempfile.TemporaryDirectory() as folder:
        for number, data in enumerate(seeds):
            path = Path(folder) / f"{number}.ndp"
            path.write_bytes(data)
            trees.append(archive.load(path)[0])

    def mutate(draws: random.Random) -> bytes:
        place, kind = draws.randrange(len(seeds)), draws.random()
        if kind < 0.15:
            return mutations.damaged(draws, seeds[place])
        if kind < 0.3:
            return _sealed(mutations.zipped(draws, seeds[place]))
        changed = mutations.tree(draws, trees[place])
        try:
            return _file(lambda path: archive.save(path, changed))
        except (NeurodeployError, RecursionError, UnicodeError, AttributeError):
            return _sealed(mutations.damaged(draws, seeds[place]))

    def read(path: Path, draws: random.Random) -> None:
        program = Program.load(path)
        kind = draws.random()
        if kind < SHARE:
            nd.network_of(program)
        elif kind < 2 * SHARE:
            _run(program, {p.name: _spikes(p.shape) for p in program.inputs})
        elif kind < 3 * SHARE:
            nd.replay(program)

    return Format("ndp", ".ndp", mutate, read)


def _sealed(data: bytes) -> bytes:
    """The same bytes with the check sum that belongs to them."""
    body = data[: -archive.SEAL]
    return body + archive.seal(body)


# ---------------------------------------------------------------------------------------- arrays


def _npz() -> Format:
    inputs = np.eye(6, dtype=np.uint8).reshape(2, 3, 6)
    seeds = [
        _file(lambda path: np.savez(path, inputs=inputs, labels=np.array([1, 0])), ".npz"),
        _file(lambda path: np.savez_compressed(path, a=inputs, b=inputs * 0.5), ".npz"),
    ]
    plain = [
        _file(lambda path: np.save(path, inputs), ".npy"),
        _file(lambda path: np.save(path, np.linspace(-1, 1, 24).reshape(2, 3, 4)), ".npy"),
    ]

    def mutate(draws: random.Random) -> bytes:
        kind = draws.random()
        if kind < 0.3:
            return mutations.zipped(draws, draws.choice(seeds))
        if kind < 0.45:
            shape = tuple(draws.choice(mutations.INTEGERS) for _ in range(draws.randrange(4)))
            kind_of = draws.choice(("|u1", "<f8", ">i8", "|O", "<U9", "|V0", "<M8[s]", "(2,)f4"))
            order = draws.choice((True, False, 3))
            size = draws.choice((shape, "(" * 200, "-" * 3000 + "1", shape))
            text = f"{{'descr': {kind_of!r}, 'fortran_order': {order!r}, 'shape': {size}, }}"
            head = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()
            return head + bytes(draws.choice((0, 1, 100)))
        return mutations.damaged(draws, draws.choice((*seeds, *plain, *plain)))

    def read(path: Path, draws: random.Random) -> None:
        draws.choice((load_inputs, load_labels, load_spikes))(str(path))

    return Format("npz", ".npz", mutate, read)


# ------------------------------------------------------------------------------- torch's .pt files


def _pt() -> Format:
    from neurodeploy.models import digits

    net = digits.build()
    seed = _file(lambda path: digits.save(net, path))

    def mutate(draws: random.Random) -> bytes:
        if draws.random() < 0.4:
            return mutations.zipped(draws, seed)
        return mutations.damaged(draws, seed)

    def read(path: Path, draws: random.Random) -> None:
        digits.load(path)

    return Format("pt", ".pt", mutate, read)


# ------------------------------------------------------------------------------------- chip files


def _toml() -> Format:
    from neurodeploy.chip import load_chip
    from neurodeploy.targets.cpu.format import installed_formats, read_formats

    record = {"unit": "J", "kind": "literature", "source": "a paper"}
    levels = {"low": 1.0, "typical": 2.0, "high": 3.0}
    chip = {
        "name": "chip", "title": "A chip", "group_registers": ["decay"], "notes": ["none"],
        "energy_model": "none",
        "limits": {"cores": {**record, "value": 128}},
        "constants": {"synapse": {**record, **levels, "without": {"a": {**levels, "source": "b"}}}},
        "anchors": {"run": {"low": 1.0, "high": 2.0, "unit": "J", "source": "a paper"}},
        "levels": {"fast": {"synapse": {**record, **levels}}},
    }  # fmt: skip
    formats = {
        own.name: {k: v for k, v in dataclasses.asdict(own).items() if k != "name"}
        for own in installed_formats()
    }

    def mutate(draws: random.Random) -> bytes:
        data = _toml_text(draws.choice((chip, chip, formats)))
        if draws.random() < 0.3:
            return mutations.damaged(draws, data)
        return _toml_text(mutations.tree(draws, draws.choice((chip, chip, formats))))

    def read(path: Path, draws: random.Random) -> None:
        found = load_chip(path) if draws.random() < 0.7 else None
        if found is not None:
            found.at_level()
            found.judged_on("a")
        else:
            read_formats(path.read_text("utf-8", errors="replace"))

    return Format("toml", ".toml", mutate, read)


def _toml_text(data: Any) -> bytes:
    """A TOML document: every table of the top as an inline table."""
    try:
        lines = [f"{_toml_value(key)} = {_toml_value(own)}" for key, own in data.items()]
    except (AttributeError, RecursionError):
        return b"nothing = "
    return "\n".join(lines).encode("utf-8", errors="replace")


def _toml_value(data: Any) -> str:
    if isinstance(data, dict):
        inner = ", ".join(f"{_toml_value(key)} = {_toml_value(own)}" for key, own in data.items())
        return f"{{{inner}}}"
    if isinstance(data, list):
        return f"[{', '.join(map(_toml_value, data))}]"
    if isinstance(data, float) and not math.isfinite(data):
        return "nan" if math.isnan(data) else "inf" if data > 0 else "-inf"
    return "" if data is None else json.dumps(data)


# ------------------------------------------------------------------------------------------- JSON


def _candidate(content: bytes) -> None:
    """A candidate of a search, as the tree of a kept result holds it."""
    from neurodeploy.exploration.candidate import Candidate

    try:
        tree = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise FileError(f"no JSON ({error})") from error
    Candidate.from_dict(tree)


def _json() -> Format:
    from neurodeploy.exploration.candidate import Candidate
    from neurodeploy.targets.spinnaker2.bundle.reading import read_report

    network = nir_frontend.load(_graphs()[0])
    spikes = {port.name: _spikes(port.shape) for port in network.inputs}
    program = nd.compile(network, target="spinnaker2", calibration=spikes)
    report = _report(program, spikes)
    candidate = Candidate({"lif": {"scale": 2.0}}, cores=1, weight_bits=8).to_dict()
    answer = {
        "schema": 1, "status": "ok", "seconds": [1.0], "network": 0, "traceback": "Error: x",
        "versions": {"lava-nc": "0.10.0", "python": "3.10.1"},
    }  # fmt: skip
    seeds = (report, report, candidate, answer)

    def mutate(draws: random.Random) -> bytes:
        which = draws.randrange(len(seeds))
        if draws.random() < 0.3:
            text = mutations.damaged(draws, json.dumps(seeds[which]).encode())
        else:
            try:
                text = json.dumps(mutations.tree(draws, seeds[which])).encode()
            except (ValueError, TypeError, RecursionError):
                text = b"[" * 100_000
        return bytes([which]) + text

    def read(path: Path, draws: random.Random) -> None:
        data = path.read_bytes()
        which, content = (data[0], data[1:]) if data else (0, b"")
        path.write_bytes(content)
        if which == 2:
            _candidate(content)
        elif which == 3:
            _lava_answer(path)
        else:
            found = read_report(path, program)
            found.run(program, spikes, timeout=1.0)
            str((found.title, found.problems, found.measured if found.real else None))

    return Format("json", ".json", mutate, read)


def _report(program: Program, spikes: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, Any]:
    """What a run on a chip would report that did what the simulator does."""
    from neurodeploy.targets.spinnaker2.bundle import reading

    trace = nd.run(program, spikes)
    ticks = STEPS + program.depth
    packed = {}
    for population in program.populations:
        rows = np.zeros((ticks, population.size), np.uint8)
        rows[population.depth :][:STEPS] = trace.spikes[population.name].reshape(STEPS, -1)
        packed[population.name] = base64.b64encode(zlib.compress(np.packbits(rows))).decode()
    entry = {
        "index": 0, "inputs": reading._digest(program, spikes, 0), "decision": 0, "seconds": 0.5,
        "spikes": packed, "potentials": {}, "energy_in_J": 1e-3, "time_done": 100,
    }  # fmt: skip
    return {
        "format": reading.FORMAT, "version": reading.VERSION, "program": program.hash,
        "backend": "chip", "versions": {"spinnaker2": "0.8.0"}, "ticks": ticks,
        "sys_tick_in_s": 1e-3, "accuracy": {"right": 1, "samples": 1}, "samples": [entry],
        "problems": [{"kind": "timing", "text": "one tick was late"}],
    }  # fmt: skip


def _lava_answer(path: Path) -> None:
    from neurodeploy.targets.loihi.lava import runner
    from neurodeploy.targets.loihi.lava.environment import LavaEnvironment
    from neurodeploy.targets.loihi.lava.job import LavaNetwork

    answer_file, arrays = path.with_name("result.json"), path.with_name("result.npz")
    answer_file.write_bytes(path.read_bytes())
    try:
        answer = runner._read_answer(["net"], path.parent, 0)
        environment = LavaEnvironment(Path("python"), {"lava-nc": "0.10.0", "python": "3.10"})
        runner._check_versions(answer, environment)
        np.savez(arrays)
        runner.read_results([LavaNetwork("net", 1, (), (), ())], answer, path.parent)
    finally:
        answer_file.unlink()
        arrays.unlink(missing_ok=True)


# ------------------------------------------------------------------------------------------ events


def _events() -> Format:
    """N-MNIST's, DVS Gesture's and SHD's files, the first of them damaged."""
    from neurodeploy.models.data import load
    from tests.models.data.test_recorded import dvsgesture, nmnist, shd

    makers = {"nmnist": nmnist, "dvsgesture": dvsgesture, "shd": shd}
    places = {
        "nmnist": "NMNIST/Train/3/00000.bin",
        "dvsgesture": "DVSGesture/ibmGestureTrain/user03_fluorescent_led/0.npy",
        "shd": "SHD/shd_train.h5",
    }
    sizes = {"nmnist": (4, 1), "dvsgesture": (2, 1), "shd": (3, 1)}
    names, files = tuple(makers), []
    for name, make in makers.items():
        with tempfile.TemporaryDirectory() as folder:
            root = make(Path(folder))
            files.append({p.relative_to(root): p.read_bytes() for p in root.rglob("*.*")})
            load(name, root, train=sizes[name][0], test=sizes[name][1])
    seeds = [own[Path(places[name])] for name, own in zip(names, files, strict=True)]
    objects = _hdf5(seeds[2:])

    def mutate(draws: random.Random) -> bytes:
        which = draws.choices(range(len(names)), (6, 5, 1))[0]  # SHD: a process each
        changed = objects(draws) if which == 2 else mutations.damaged(draws, seeds[which])
        return bytes([which]) + changed

    def read(path: Path, draws: random.Random) -> None:
        data = path.read_bytes()
        name = names[data[0]]
        with tempfile.TemporaryDirectory() as folder:
            for place, content in files[data[0]].items():
                (Path(folder) / place).parent.mkdir(parents=True, exist_ok=True)
                (Path(folder) / place).write_bytes(content)
            (Path(folder) / places[name]).write_bytes(data[1:])
            load(name, folder, train=sizes[name][0], test=sizes[name][1])

    return Format("events", ".events", mutate, read)


FORMATS: dict[str, Callable[[], Format]] = {
    "nir": _nir,
    "net": _net,
    "ndp": _ndp,
    "npz": _npz,
    "pt": _pt,
    "toml": _toml,
    "json": _json,
    "events": _events,
}
