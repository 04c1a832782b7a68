"""The exported C program, compiled and run on this machine: what verification compares with."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from neurodeploy.errors import TargetError
from neurodeploy.program import Program
from neurodeploy.targets.cpu.export import HOST_MACRO, RESET_BYTE, STEP_BYTE, to_c
from neurodeploy.trace import Spikes, Trace

COMPILERS = ("cc", "gcc", "clang")
FLAGS = ("-std=c99", "-O2")


def compiler() -> str:
    """Path of the C compiler: `$CC`, or the first of cc, gcc and clang.

    Raises
    ------
    TargetError
        There is none.
    """
    chosen = os.environ.get("CC")
    for name in (chosen,) if chosen else COMPILERS:
        found = shutil.which(name)
        if found:
            return found
    raise TargetError(
        f"no C compiler ({chosen or ', '.join(COMPILERS)})",
        hint="Install gcc or clang, or name one in the environment variable CC.",
    )


def run_in_c(
    program: Program,
    inputs: Mapping[str, Spikes],
    *,
    timeout: float,
    flags: tuple[str, ...] = FLAGS,
) -> Trace:
    """Export, compile and run; each sample from the initial state.

    Parameters
    ----------
    inputs: uint8 (samples, steps, *shape) per input.
    timeout: seconds for compiling and running together.

    Raises
    ------
    TargetError
        No C compiler, or it or the program failed, hung or answered garbage.
    """
    command, deadline = compiler(), time.monotonic() + timeout
    with tempfile.TemporaryDirectory(prefix="neurodeploy-c-") as folder:
        source, binary = Path(folder, "network.c"), Path(folder, "network")
        source.write_text(to_c(program), encoding="ascii")
        build = [command, *flags, f"-D{HOST_MACRO}", "-o", str(binary), str(source)]
        _run(build, b"", deadline, "the C compiler")
        answer = _run([str(binary)], _stream(inputs), deadline, "the compiled program")
    return _trace(program, inputs, answer)


def _run(command: list[str], data: bytes, deadline: float, what: str) -> bytes:
    left = max(deadline - time.monotonic(), 0.001)
    try:
        done = subprocess.run(command, input=data, capture_output=True, timeout=left, check=False)
    except subprocess.TimeoutExpired as error:
        raise TargetError(f"{what} took more than its time") from error
    except OSError as error:
        raise TargetError(f"{what} cannot be started ({error})") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()[-500:]
        raise TargetError(f"{what} failed with code {done.returncode}: {said}")
    return done.stdout


def _stream(inputs: Mapping[str, Spikes]) -> bytes:
    """What the host program reads; see `export`."""
    samples, steps = next(iter(inputs.values())).shape[:2]
    step = np.full((samples, steps, 1), STEP_BYTE[0], np.uint8)
    rows = np.concatenate(
        [step, *(array.reshape(samples, steps, -1) for array in inputs.values())], axis=2
    )
    return b"".join(RESET_BYTE + sample.tobytes() for sample in rows)


def _trace(program: Program, inputs: Mapping[str, Spikes], answer: bytes) -> Trace:
    samples, steps = next(iter(inputs.values())).shape[:2]
    sizes = [population.size for population in program.populations]
    if len(answer) != samples * steps * sum(sizes):
        raise TargetError(
            f"the compiled program answered {len(answer)} bytes, expected "
            f"{samples * steps * sum(sizes)}"
        )
    rows = np.frombuffer(answer, np.uint8).reshape(samples, steps, -1)
    parts = np.split(rows, np.cumsum(sizes)[:-1], axis=2)
    spikes = dict(inputs)
    for population, part in zip(program.populations, parts, strict=True):
        spikes[population.name] = part.reshape(samples, steps, *population.shape)
    return Trace(spikes)
