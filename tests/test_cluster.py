"""The same work on a Dask cluster of two processes: results, lost workers, errors."""

from __future__ import annotations

import json
import os
import pickle
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
from distributed import Client, LocalCluster

import neurodeploy as nd
from neurodeploy import chunks
from neurodeploy.chunks import Tree, Where, map_chunks
from neurodeploy.errors import (
    DesignRuleError,
    InputError,
    LavaError,
    NeurodeployError,
    TargetError,
    Violation,
)
from tests.exploration.test_explore import GRAPH, INPUTS

pytestmark = pytest.mark.filterwarnings("default")  # Dask's own


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    options: dict[str, Any] = {"dashboard_address": None, "threads_per_worker": 1}
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        LocalCluster(n_workers=2, **options) as started,
    ):
        yield started


@pytest.fixture
def address(cluster: LocalCluster) -> str:
    return str(cluster.scheduler_address)


@dataclass(frozen=True)
class Pids:
    """Says which process it ran in; ends that process once, or raises, if told so."""

    folder: str

    def run(self, chunk: Tree) -> Tree:
        if chunk["what"] == "raise":
            raise LavaError("it hung", node="n", hint="Wait.")
        if chunk["what"] == "die":
            ended = Path(self.folder, "ended")
            if not ended.exists():
                ended.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        if chunk["what"] == "always":
            os.kill(os.getpid(), signal.SIGKILL)
        with Path(self.folder, str(chunk["x"])).open("a") as file:
            file.write("x")
        return {"x": chunk["x"], "pid": os.getpid()}

    def to_tree(self) -> Tree:
        return {"folder": self.folder}

    @classmethod
    def from_tree(cls, tree: Tree) -> Pids:
        return cls(tree["folder"])


def test_what_a_cluster_finds_is_what_is_found_here(address: str, tmp_path: Path) -> None:
    program = nd.compile(GRAPH, target="loihi2", calibration=INPUTS)
    inputs = np.concatenate([INPUTS, 1 - INPUTS] * 8)
    options: dict[str, Any] = {"vendor_samples": None}
    here = nd.verify(program, inputs, **options)
    told: list[tuple[str, int, int]] = []
    there = nd.verify(
        program, inputs, **options, scheduler=address, state=tmp_path,
        progress=lambda *step: told.append(step),
    )  # fmt: skip
    assert json.dumps(there.to_dict()) == json.dumps(here.to_dict())
    for name in here.trace.spikes:
        assert np.array_equal(here.trace.spikes[name], there.trace.spikes[name])
    assert told[-1][1:] == (len(inputs), len(inputs))
    assert nd.energy(program, inputs, scheduler=address) == nd.energy(program, inputs)
    assert nd.verify(program, inputs, **options, state=tmp_path).to_dict() == here.to_dict()


def test_a_search_on_a_cluster_tries_the_same(address: str) -> None:
    options: dict[str, Any] = {"target": "loihi2", "inputs": INPUTS, "budget": 12}
    assert nd.explore(GRAPH, **options, scheduler=address) == nd.explore(GRAPH, **options)


def test_a_lost_worker_costs_its_chunk(address: str, tmp_path: Path) -> None:
    """Of twelve chunks one ends its worker: no more are done again than it may have held."""
    folder = tmp_path / "done"
    folder.mkdir()
    parts = [{"x": x, "what": "die" if x == 5 else "run"} for x in range(12)]
    where = Where(address, tmp_path / "state")
    found = map_chunks(Pids(str(folder)), parts, where)
    assert [tree["x"] for tree in found] == list(range(12))
    assert (folder / "ended").exists()
    assert os.getpid() not in {tree["pid"] for tree in found}
    times = [(folder / str(x)).read_text() for x in range(12)]
    assert set(times) <= {"x", "xx"}
    assert times.count("xx") <= 2 * chunks.IN_FLIGHT
    assert len(list((tmp_path / "state").iterdir())) == 12


def test_what_ends_every_worker_is_an_error(address: str, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="every worker that got this chunk was lost"):
        map_chunks(Pids(str(tmp_path)), [{"x": 0, "what": "always"}], Where(address))


def test_an_error_of_a_worker_is_the_same_here(address: str, tmp_path: Path) -> None:
    with pytest.raises(LavaError) as caught:
        map_chunks(Pids(str(tmp_path)), [{"x": 0, "what": "raise"}], Where(address))
    assert str(caught.value) == "n: it hung. Wait."


def test_a_worker_of_another_version(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "__version__", "0.0.0")
    with pytest.raises(TargetError, match=r"the worker has neurodeploy .*, this is 0\.0\.0"):
        map_chunks(Pids(str(tmp_path)), [{"x": 0, "what": "run"}], Where(address))


def test_no_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    part = [{"x": 0, "what": "run"}]
    monkeypatch.setattr(chunks, "CONNECT_SECONDS", 0.5)
    with pytest.raises(TargetError, match="no Dask scheduler answers"):
        map_chunks(Pids(""), part, Where("tcp://127.0.0.1:9"))
    with pytest.raises(InputError, match="no address"):
        map_chunks(Pids(""), part, Where("carrier-pigeon://x"))
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(TargetError, match=r"pip install \"neurodeploy-snn\[scale\]\""):
        map_chunks(Pids(""), part, Where("tcp://127.0.0.1:9"))


def test_every_error_survives_the_way() -> None:
    violation = Violation("r", "n", 2.0, 1.0, "u", "s", "Do.")
    for error in (DesignRuleError((violation,)), NeurodeployError("m", node="n", hint="h")):
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error)
        assert (str(again), again.to_dict()) == (str(error), error.to_dict())


def test_clients_are_gone(cluster: LocalCluster) -> None:
    with Client(cluster, set_as_default=False) as client:
        assert len(client.scheduler_info()["workers"]) == 2
        assert len(cluster.scheduler.clients) <= 2
