"""Work in chunks: here or on a Dask cluster, and never twice where its results are kept.

A task does the same to one chunk after another.  Task, chunks and results are trees of plain data
and arrays, as `archive` keeps them; so what travels to another process, and what is kept in a
folder, is an archive and never pickled.  Results come in the order of the chunks, whoever made
them and whenever.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from neurodeploy import archive
from neurodeploy._version import __version__
from neurodeploy.errors import FileError, InputError, TargetError

logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    from distributed import Future

Tree = dict[str, Any]
Progress = Callable[[int, int], None]

IN_FLIGHT = 2
"""Chunks that are with the cluster at a time, for each thread of its workers."""
CONNECT_SECONDS = 10.0
SUFFIX = ".part"


class Task(Protocol):
    """What is done to chunks: a class of this package, so that any of its installations has it."""

    def run(self, chunk: Tree) -> Tree:
        """The result of one chunk, which depends on nothing else."""

    def to_tree(self) -> Tree:
        """All that the results depend on beside the chunks."""

    @classmethod
    def from_tree(cls, tree: Tree) -> Task:
        """The inverse of `to_tree`."""


@dataclass(frozen=True)
class Where:
    """Where chunks are worked on, and where their results are kept.

    Attributes
    ----------
    scheduler: address of a Dask scheduler, such as `tcp://127.0.0.1:8786`; None for this process.
    state: a folder that gets every result as soon as it is there, under a digest of all that it
        depends on; with the same folder the same work goes on where it stopped.  Any number of
        commands may share one.
    """

    scheduler: str | None = None
    state: Path | None = None


HERE = Where()


def map_chunks(
    task: Task, chunks: Sequence[Tree], where: Where = HERE, progress: Progress | None = None
) -> list[Tree]:
    """The results of `task` for each of `chunks`, in their order.

    Parameters
    ----------
    progress: called with (chunks done, chunks), what was done before included.

    Raises
    ------
    FileError
        The folder cannot be written, or holds a result that was altered.
    InputError
        The scheduler's address is none.
    TargetError
        `dask.distributed` is not installed, no scheduler answers, or its workers were lost, time
        and again, or are of another version.
    NeurodeployError
        Whatever the task raises, wherever it ran.
    """
    if where.scheduler is None and where.state is None:
        results: list[Tree] = []
        for chunk in chunks:
            results.append(task.run(chunk))
            if progress is not None:
                progress(len(results), len(chunks))
        return results
    data, digest = archive.to_bytes(
        {"kind": _named(type(task)), "version": __version__, "task": task.to_tree()}, "task"
    )
    keys = [archive.content_hash({"task": digest, "chunk": chunk}) for chunk in chunks]
    found: dict[str, Tree] = {}
    if where.state is not None:
        found = {key: kept for key in keys if (kept := _kept(where.state, key)) is not None}
    missing = {key: chunk for key, chunk in zip(keys, chunks, strict=True) if key not in found}
    worked = (
        _here(task, missing)
        if where.scheduler is None
        else _there(where.scheduler, type(task), data, missing)
    )
    if progress is not None and found:
        progress(sum(key in found for key in keys), len(keys))
    for key, result in worked:
        if where.state is not None:
            _keep(where.state, key, result)
        found[key] = result
        if progress is not None:
            progress(sum(key in found for key in keys), len(keys))
    return [found[key] for key in keys]


def once(what: Tree, function: Callable[[], Tree], state: Path | None) -> Tree:
    """What `function` gives, which depends on nothing but `what`; kept in `state`, if there is one.

    Raises as `map_chunks`.
    """
    if state is None:
        return function()
    key = archive.content_hash({"version": __version__, **what})
    found = _kept(state, key)
    if found is None:
        found = function()
        _keep(state, key, found)
    return found


def _named(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _kept(folder: Path, key: str) -> Tree | None:
    path = folder / f"{key}{SUFFIX}"
    if not path.exists():
        return None
    tree, _ = archive.load(path)
    if tree.get("key") != key or not isinstance(tree.get("result"), dict):
        raise FileError("is the result of something else", node=str(path), hint="Delete it.")
    result: Tree = tree["result"]
    return result


def _keep(folder: Path, key: str, result: Tree) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"cannot be made ({error.strerror})", node=str(folder)) from error
    archive.save(folder / f"{key}{SUFFIX}", {"key": key, "result": result})


def _here(task: Task, missing: dict[str, Tree]) -> Iterator[tuple[str, Tree]]:
    for key, chunk in missing.items():
        yield key, task.run(chunk)


def _there(
    address: str, kind: type[Task], data: bytes, missing: dict[str, Tree]
) -> Iterator[tuple[str, Tree]]:
    """Results as they come; a bounded number of chunks is with the cluster at a time."""
    if not missing:
        return
    try:
        from distributed import Client, as_completed
    except ImportError as error:
        raise TargetError(
            "dask.distributed is not installed",
            node="--scheduler",
            hint='pip install "neurodeploy-snn[scale]"',
        ) from error
    try:
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except ValueError as error:
        raise InputError(f"{address!r} is no address ({error})", node="--scheduler") from error
    except (OSError, TimeoutError) as error:
        raise TargetError(
            f"no Dask scheduler answers at {address} ({error})",
            node="--scheduler",
            hint="Start one with `dask scheduler`, and workers with `dask worker ADDRESS`.",
        ) from error
    with client:
        if not client.nthreads():
            logger.warning("%s has no workers yet", address)
        waiting = iter(missing.items())
        shared = client.submit(bytes, data, pure=False)  # made again if its worker is lost
        keys: dict[Future, str] = {}

        def submit() -> list[Future]:
            threads = sum(client.nthreads().values())
            new = []
            for key, chunk in waiting:
                chunk_data, _ = archive.to_bytes({"chunk": chunk}, "chunk")
                future = client.submit(work, kind, shared, chunk_data, pure=False)
                keys[future] = key
                new.append(future)
                if len(keys) >= max(1, IN_FLIGHT * threads):
                    break
            return new

        coming = as_completed(submit(), loop=client.loop)
        for future in coming:
            result = _result(future)
            yield keys.pop(future), result
            for new in submit():
                coming.add(new)


def _result(future: Future) -> Tree:
    from distributed import KilledWorker

    try:
        data = future.result()
    except KilledWorker as error:
        raise TargetError(
            f"every worker that got this chunk was lost ({error})",
            node="--scheduler",
            hint="They may have run out of memory.",
        ) from error
    except (CancelledError, OSError) as error:
        raise TargetError(f"the scheduler was lost ({error})", node="--scheduler") from error
    tree, _ = archive.from_bytes(data, "result of a worker")
    result: Tree = tree["result"]
    return result


def work(kind: type[Task], task: bytes, chunk: bytes) -> bytes:
    """One chunk, in a worker: archives in, an archive out.

    Raises
    ------
    TargetError
        The task is of another version of this package than the worker.
    """
    tree, _ = archive.from_bytes(chunk, "chunk")
    return archive.to_bytes({"result": _made(kind, task).run(tree["chunk"])}, "result")[0]


@functools.lru_cache(maxsize=2)
def _made(kind: type[Task], data: bytes) -> Task:
    """The task, once for all chunks that a worker gets of it."""
    tree, _ = archive.from_bytes(data, "task")
    if tree["version"] != __version__:
        raise TargetError(
            f"the worker has neurodeploy {__version__}, this is {tree['version']}",
            node="--scheduler",
            hint="Install the same version on every worker.",
        )
    return kind.from_tree(tree["task"])
