"""Run networks in Lava: start the worker in its own process group, watch it, check its answer."""

from __future__ import annotations

import contextlib
import importlib.resources
import json
import logging
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.arrays import load
from neurodeploy.errors import FileError, LavaError
from neurodeploy.targets.loihi.lava import environment as env
from neurodeploy.targets.loihi.lava.checks import validate
from neurodeploy.targets.loihi.lava.environment import LavaEnvironment
from neurodeploy.targets.loihi.lava.job import (
    Forget,
    Kind,
    LavaInput,
    LavaNetwork,
    LavaPopulation,
    LavaResult,
    LavaSynapse,
    expected_arrays,
    write_job,
)

__all__ = [
    "Forget",
    "Kind",
    "LavaInput",
    "LavaNetwork",
    "LavaPopulation",
    "LavaResult",
    "LavaSynapse",
    "run",
]

_GRACE_SECONDS = 3.0
_TRACKER_SECONDS = 0.1
# What Python's resource tracker says, after everything else, of processes that were ended.
_QUIET_TRACKER = "ignore::UserWarning:multiprocessing.resource_tracker"
_logger = logging.getLogger(__name__)


def run(
    networks: Sequence[LavaNetwork],
    *,
    environment: LavaEnvironment | None = None,
    timeout: float,
    log: Path | None = None,
) -> tuple[LavaResult, ...]:
    """Run networks one after another in Lava's bit-accurate fixed-point models.

    Parameters
    ----------
    networks:
        What to run; all of them in one worker process.
    environment:
        Where Lava is, or None for `environment.locate()`.
    timeout:
        Seconds after which the worker and all that it started are ended.
    log:
        File that keeps all that the worker and Lava print, or None to keep it only for the error.

    Returns
    -------
    One result per network, in the order given.

    Raises
    ------
    InputError
        A network holds values on which Lava hangs or which it changes silently.
    LavaError
        No environment, wrong version, crash, time limit exceeded, or an answer that is not one.
    """
    for network in networks:
        validate(network)
    if not networks:
        return ()
    chosen = environment if environment is not None else env.locate()
    try:
        with tempfile.TemporaryDirectory(prefix="neurodeploy-lava-") as folder:
            return _run(networks, Path(folder), chosen, timeout, log)
    except OSError as error:
        raise LavaError(f"cannot exchange files with the Lava worker: {error}") from error


def _run(
    networks: Sequence[LavaNetwork],
    job: Path,
    environment: LavaEnvironment,
    timeout: float,
    log: Path | None,
) -> tuple[LavaResult, ...]:
    write_job(networks, job)
    try:
        names = [network.name for network in networks]
        answer = run_worker("worker.py", names, job, environment, timeout)
        return read_results(networks, answer, job)
    finally:
        if log is not None and (job / "log").exists():
            _keep(job / "log", log)


def _keep(log: Path, place: Path) -> None:
    """Copy the log; where that fails, what the run itself says is not lost."""
    try:
        shutil.copyfile(log, place)
    except OSError as error:
        _logger.warning("cannot keep the worker's log in %s: %s", place, error)


def run_worker(
    worker: str, names: Sequence[str], job: Path, environment: LavaEnvironment, timeout: float
) -> dict[str, Any]:
    """Let a worker do the job in a folder; `result.json` of a run that went well.

    Parameters
    ----------
    worker: file name of a program beside this module that takes the folder and answers there.
    names: of the networks of the job, for errors.

    Raises `LavaError` as `run` does.
    """
    code = _run_program(worker, job, environment, timeout)
    answer = _read_answer(names, job, code)
    _check_versions(answer, environment)
    return answer


def _run_program(worker: str, job: Path, environment: LavaEnvironment, timeout: float) -> int:
    """Run a worker to its end and return its exit code; leave no process of it behind."""
    python, folder = environment.python, importlib.resources.files(__package__)
    names = ("shim.py", worker) if environment.shimmed else (worker,)
    with contextlib.ExitStack() as stack:
        output = stack.enter_context((job / "log").open("wb"))
        files = [stack.enter_context(importlib.resources.as_file(folder / name)) for name in names]
        # -I: neither the user's environment nor the folder of the worker shadows a module of Lava.
        command = [str(python), "-I", "-W", _QUIET_TRACKER, *map(str, files), str(job)]
        _logger.debug("starting %s", command)
        alive, inherited = os.pipe()
        try:
            process = subprocess.Popen(
                command,
                cwd=job,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(inherited,),
            )
        except OSError as error:
            os.close(alive)
            raise LavaError(f"cannot start {python}: {error}", hint=env.INSTALL_HINT) from error
        finally:
            os.close(inherited)
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise LavaError(
                f"Lava did not finish within the time limit of {timeout:g} s and was ended; its "
                f"last words: {env.tail(job / 'log')}",
                hint="A larger network or more steps need a higher limit",
            ) from None
        finally:
            _end_group(process, alive)
            os.close(alive)


def _end_group(process: subprocess.Popen[bytes], alive: int) -> None:
    """End the worker and every process that it forked, on whatever way out of a run.

    `alive` is the reading end of a pipe whose writing end they all inherited: it reports the end of
    file when the last of them is gone.  SIGTERM comes first because Python's resource tracker,
    which inherits nothing, ignores it and then removes the shared memory of the others.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGTERM)
        select.select([alive], [], [], _GRACE_SECONDS)
        time.sleep(_TRACKER_SECONDS)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _read_answer(names: Sequence[str], job: Path, code: int) -> dict[str, Any]:
    """`result.json` of a run that went well; an error with the reason for any other."""
    ended = f"signal {-code}" if code < 0 else f"exit code {code}"

    def words() -> str:
        return f"its last words: {env.tail(job / 'log')}"

    try:
        answer = json.loads((job / "result.json").read_text("utf-8"))
        status = answer["status"] if answer["schema"] == 1 else None
    except FileNotFoundError:
        raise LavaError(
            f"the Lava worker ended with {ended} and left no result; {words()}"
        ) from None
    except (ValueError, KeyError, TypeError, RecursionError):
        status = None
    if status == "error":
        lines = str(answer.get("traceback")).strip().splitlines() or ["no reason given"]
        nodes = {str(index): name for index, name in enumerate(names)}
        raise LavaError(f"Lava failed: {lines[-1]}", node=nodes.get(str(answer.get("network"))))
    if status != "ok":
        raise LavaError(f"the Lava worker answered garbage: result.json, {ended}; {words()}")
    if code != 0:
        raise LavaError(f"the Lava worker ended with {ended} after it left a result; {words()}")
    return dict(answer)


def _check_versions(answer: Mapping[str, Any], environment: LavaEnvironment) -> None:
    """The versions that really ran must be those that the environment claims."""
    reported = answer.get("versions")
    if not isinstance(reported, dict):
        raise LavaError("the Lava worker answered garbage: result.json names no versions")
    found = {**reported, "python": str(reported.get("python")).rpartition(".")[0]}
    expected = {name: version for name, version in environment.versions.items() if name in reported}
    expected |= {"lava-nc": env.requirements()["lava-nc"]}
    difference = env.describe_difference(found, expected)
    if difference:
        raise LavaError(
            f"{environment.python} ran another version of Lava than expected: {difference}",
            hint=env.INSTALL_HINT,
        )


def read_results(
    networks: Sequence[LavaNetwork], answer: Mapping[str, Any], job: Path
) -> tuple[LavaResult, ...]:
    """What a worker recorded, checked; raises `LavaError` where that is not what was asked."""
    seconds = answer.get("seconds")
    numbers = isinstance(seconds, list) and all(isinstance(value, float) for value in seconds)
    if not numbers or len(answer["seconds"]) != len(networks):
        raise LavaError("the Lava worker answered garbage: result.json names no seconds")
    recorded: list[dict[str, dict[str, NDArray[Any]]]] = [
        {population.name: {} for population in network.populations} for network in networks
    ]
    arrays = load_arrays(job / "result.npz")
    for index, population, field, key in expected_arrays(networks):
        shape = (networks[index].steps, *population.shape)
        node = f"{networks[index].name}.{population.name}.{field}"
        array = checked(arrays, key, population.dtype(field), shape, node)
        recorded[index][population.name][field] = array
    return tuple(
        LavaResult(done, duration)
        for done, duration in zip(recorded, answer["seconds"], strict=True)
    )


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays that a worker left; raises `LavaError` where that is no archive of them."""
    try:
        arrays = load(path)
    except FileError as error:
        raise LavaError(
            f"the Lava worker answered garbage: {path.name}: {error.message}"
        ) from error
    if not isinstance(arrays, dict):
        raise LavaError(f"the Lava worker answered garbage: {path.name} is one array")
    return arrays


def checked(
    arrays: Mapping[str, NDArray[Any]],
    key: str,
    dtype: type[np.generic],
    shape: tuple[int, ...],
    node: str,
) -> NDArray[Any]:
    """One array of the answer, with the shape, dtype and range that it must have."""
    array = arrays.get(key)
    if array is None:
        raise LavaError("the Lava worker answered garbage: the array is missing", node=node)
    if array.shape != shape or array.dtype != dtype:
        raise LavaError(
            f"the Lava worker answered garbage: {array.dtype} {array.shape} instead of "
            f"{np.dtype(dtype)} {shape}",
            node=node,
        )
    if dtype == np.uint8 and array.max() > 1:
        raise LavaError("the Lava worker answered garbage: spikes other than 0 and 1", node=node)
    return array
