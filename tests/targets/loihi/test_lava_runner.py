"""The Lava runner: its protocol and every way in which a run can fail.

The failures are produced by stand-ins for the worker, so that nothing here needs Lava.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from neurodeploy.errors import InputError, LavaError
from neurodeploy.targets.loihi.lava import runner
from neurodeploy.targets.loihi.lava.environment import LavaEnvironment
from neurodeploy.targets.loihi.lava.runner import (
    Forget,
    LavaInput,
    LavaNetwork,
    LavaPopulation,
    LavaSynapse,
)


def ints(values: Any) -> NDArray[np.int64]:
    return np.asarray(values, dtype=np.int64)


def population(shape: tuple[int, ...], record: tuple[Any, ...] = ("s",)) -> LavaPopulation:
    names = ("du", "dv", "vth", "bias_mant", "bias_exp", "u0", "v0")
    values = (4095, 4096, 100, 0, 0, 0, 0)
    registers = {name: ints(value) for name, value in zip(names, values, strict=True)}
    return LavaPopulation("out", shape, registers, record=record)


def small_network() -> LavaNetwork:
    """Four inputs onto three neurons for five steps."""
    rng = np.random.default_rng(0)
    return LavaNetwork(
        "small",
        5,
        (LavaInput("in", (4,), rng.integers(0, 2, (5, 4))),),
        (population((3,), ("s", "v")),),
        (LavaSynapse("w", "in", "out", "dense", 2 * rng.integers(-128, 128, (3, 4))),),
    )


def conv_network() -> LavaNetwork:
    rng = np.random.default_rng(0)
    return LavaNetwork(
        "conv",
        5,
        (LavaInput("in", (2, 4, 5), rng.integers(0, 2, (5, 2, 4, 5))),),
        (population((3, 3, 4)),),
        (LavaSynapse("w", "in", "out", "conv2d", 2 * rng.integers(-128, 128, (3, 2, 2, 2))),),
    )


# --- stand-ins for the worker --------------------------------------------------------------------


GOOD = """
import json, sys
from pathlib import Path
import numpy as np
job = Path(sys.argv[1])
network = json.loads((job / "job.json").read_text())["networks"][0]
dtypes = {"s": "uint8", "u": "int32", "v": "int32"}
arrays = {
    f"0.{i}.{field}": np.zeros((network["steps"], *population["shape"]), dtypes[field])
    for i, population in enumerate(network["populations"])
    for field in population["record"]
}
result = {"schema": 1, "status": "ok", "seconds": [0.5]}
result["versions"] = {"lava-nc": "0.10.0", "numpy": "1.26.4"}
CHANGE
np.savez(job / "result.npz", **arrays)
AFTER
(job / "result.json").write_text(json.dumps(result))
"""


@pytest.fixture
def worker(tmp_path: Path) -> Callable[[str], LavaEnvironment]:
    """Make an environment whose "interpreter" runs the given program instead of the worker."""

    def make(program: str) -> LavaEnvironment:
        (tmp_path / "fake.py").write_text(program)
        # The runner calls: python -I -W FILTER worker.py JOB
        text = f'[ "$1" = -I ] && exec "{sys.executable}" "{tmp_path}/fake.py" "$5"\n'
        python = tmp_path / "python"
        python.write_text("#!/bin/sh\n" + text)
        python.chmod(0o755)
        return LavaEnvironment(python, {"lava-nc": "0.10.0", "numpy": "1.26.4"})

    return make


def good(change: str = "", after: str = "") -> str:
    return GOOD.replace("CHANGE", change).replace("AFTER", after)


def error_of(worker_environment: LavaEnvironment, timeout: float = 30.0) -> str:
    with pytest.raises(LavaError) as caught:
        runner.run([small_network()], environment=worker_environment, timeout=timeout)
    text = str(caught.value)
    assert "\n" not in text
    return text


def is_running(pid: int) -> bool:
    """Whether a process exists and is not merely waiting to be buried."""
    state = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.strip()
    return bool(state) and not state.startswith("Z")


def wait_until_ended(pids: list[int]) -> None:
    deadline = time.monotonic() + 5
    while any(map(is_running, pids)):
        assert time.monotonic() < deadline, "a process of the worker is still there"
        time.sleep(0.05)


# --- what comes back -----------------------------------------------------------------------------


def test_a_good_answer_is_accepted(
    worker: Callable[[str], LavaEnvironment], tmp_path: Path
) -> None:
    log = tmp_path / "kept.log"
    program = good("print('said something', flush=True)")
    (result,) = runner.run([small_network()], environment=worker(program), timeout=30, log=log)
    assert set(result.recorded["out"]) == {"s", "v"}
    assert result.recorded["out"]["s"].shape == (5, 3)
    assert result.seconds == 0.5
    assert log.read_text() == "said something\n"


def test_no_networks_need_no_lava() -> None:
    assert runner.run([], timeout=1) == ()


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import sys; print('boom', file=sys.stderr); sys.exit(3)", "exit code 3.*boom"),
        ("import os; os.kill(os.getpid(), 9)", "signal 9.*no output"),
        (good(after="sys.exit(0)"), "exit code 0 and left no result"),
        (good("result = {'schema': 1, 'status': 'error', 'network': 0, "
              "'traceback': 'Traceback\\nValueError: bad value\\n'}"),
         "small: Lava failed: ValueError: bad value"),
        (good(after="(job/'result.json').write_text('{\"schema\": 1, '); sys.exit(0)"), "garbage"),
        (good(after="(job/'result.json').write_text('[' * 10**6); sys.exit(0)"), "garbage"),
        (good(after="(job/'result.json').write_bytes(bytes([255])); sys.exit(0)"), "garbage"),
        (good("result = [1]"), "garbage: result.json"),
        (good("result['schema'] = 2"), "garbage: result.json"),
        (good("result['status'] = 'fine'"), "garbage: result.json"),
        (good(after="import atexit, os; atexit.register(os._exit, 4)"), "exit code 4"),
        (good("del result['seconds']"), "names no seconds"),
        (good("result['seconds'] = [1.0, 2.0]"), "names no seconds"),
        (good("del result['versions']"), "names no versions"),
        (good("result['versions']['lava-nc'] = '0.9.0'"),
         "lava-nc 0.9.0 instead of 0.10.0.*neurodeploy lava install"),
        (good("del result['versions']['lava-nc']"), "lava-nc missing instead of 0.10.0"),
        (good("result['versions']['numpy'] = '2.0.0'"), "numpy 2.0.0 instead of 1.26.4"),
        (good(after="(job/'result.npz').unlink()"), "result.npz: no such file"),
        (good(after="p = job/'result.npz'; p.write_bytes(p.read_bytes()[:200])"), "result.npz: "),
        (good(after="(job/'result.npz').write_text('nothing')"), "result.npz: "),
        (good(after="(job/'result.npz').write_bytes(b'')"), "result.npz: "),
        (good(after="p = job/'result.npz'; b = bytearray(p.read_bytes()); "
              "b[b.rindex(b'PK\\x01\\x02') + 8] |= 1; p.write_bytes(b)"), "result.npz.*encrypted"),
        (good("arrays['0.0.v'] = np.array([{}], dtype=object)"), "result.npz: "),
        (good("del arrays['0.0.v']"), "small.out.v: .*missing"),
        (good("arrays['0.0.v'] = arrays['0.0.v'][1:]"), r"small.out.v: .*int32 \(4, 3\)"),
        (good("arrays['0.0.v'] = arrays['0.0.v'] * 1.0"), "small.out.v: .*float64"),
        (good("arrays['0.0.s'] += 2"), "small.out.s: .*spikes other than 0 and 1"),
    ],
)  # fmt: skip
def test_a_bad_answer_is_one_clear_error(
    worker: Callable[[str], LavaEnvironment], program: str, said: str
) -> None:
    assert re.search(said, error_of(worker(program)))


def test_a_newer_python_is_started_through_the_shim(
    worker: Callable[[str], LavaEnvironment], tmp_path: Path
) -> None:
    made = worker("")
    made.python.write_text('#!/bin/sh\necho "$@"; exit 1\n')
    assert re.search(r"words: -I -W \S+ \S+/worker\.py \S+$", error_of(made))
    newer = replace(made, versions={**made.versions, "python": "3.12"})
    assert re.search(r"words: -I -W \S+ \S+/shim\.py \S+/worker\.py \S+$", error_of(newer))


def test_another_python_than_expected_is_named(worker: Callable[[str], LavaEnvironment]) -> None:
    made = worker(good("result['versions']['python'] = '3.11.7'"))
    expected = replace(made, versions={**made.versions, "python": "3.10"})
    assert "python 3.11 instead of 3.10" in error_of(expected)


def test_an_interpreter_that_is_gone_is_one_clear_error(tmp_path: Path) -> None:
    gone = LavaEnvironment(tmp_path / "nowhere" / "python", {})
    assert "cannot start" in error_of(gone)


# A worker that forks a child, as Lava does, and hangs together with it.
HANG = """
import os, signal, sys, time
from pathlib import Path
BEFORE
child = os.fork()
if child:
    pids = Path(PIDS)
    pids.with_suffix(".tmp").write_text(f"{os.getpid()} {child}")
    pids.with_suffix(".tmp").rename(pids)
    print("about to hang", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(
    "before", ["", "signal.signal(signal.SIGTERM, signal.SIG_IGN)"], ids=["polite", "stubborn"]
)
def test_a_hang_ends_at_the_time_limit_with_every_process(
    worker: Callable[[str], LavaEnvironment],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    before: str,
) -> None:
    monkeypatch.setattr(runner, "_GRACE_SECONDS", 0.5)
    pids = tmp_path / "pids"
    program = HANG.replace("BEFORE", before).replace("PIDS", repr(str(pids)))
    said = error_of(worker(program), timeout=1.5)
    assert "time limit of 1.5 s" in said
    assert "about to hang" in said
    wait_until_ended([int(pid) for pid in pids.read_text().split()])


def test_a_crash_ends_the_children_too(
    worker: Callable[[str], LavaEnvironment], tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    program = HANG.replace("BEFORE", "").replace("PIDS", repr(str(pids)))
    program = program.replace("about to hang", "crash").replace(
        "time.sleep(60)", "sys.exit(5) if child else time.sleep(60)"
    )
    assert "exit code 5" in error_of(worker(program))
    wait_until_ended([int(pid) for pid in pids.read_text().split()])


def test_an_interrupt_ends_the_worker_and_goes_on(
    worker: Callable[[str], LavaEnvironment], tmp_path: Path
) -> None:
    pids = tmp_path / "pids"

    def interrupt(signum: int, frame: FrameType | None) -> None:
        if not pids.exists():  # not yet at work: look again
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            return
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    program = HANG.replace("BEFORE", "").replace("PIDS", repr(str(pids)))
    try:
        with pytest.raises(KeyboardInterrupt):
            runner.run([small_network()], environment=worker(program), timeout=30)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    wait_until_ended([int(pid) for pid in pids.read_text().split()])


# --- what is sent --------------------------------------------------------------------------------


FIELDS = {"name", "shape", "registers", "model", "start", "period", "reset", "record"}
DELTA = {name: ints(value) for name, value in
         {"vth": 1, "spike_exp": 6, "state_exp": 6, "cum_error": 0}.items()}  # fmt: skip
TERNARY = {name: ints(0) for name in ("du", "dv", "bias_mant", "bias_exp", "u0", "v0", "vth_hi")}


def with_population(**changes: Any) -> LavaNetwork:
    """The network whose population has other registers or fields."""
    network = small_network()
    out = network.populations[0]
    fields = {key: changes.pop(key) for key in FIELDS & set(changes)}
    registers = fields.pop("registers", {**out.registers, **changes})
    out = replace(out, registers=registers, **fields)
    return replace(network, populations=(out,))


def joined(**changes: Any) -> LavaNetwork:
    """Sigma neurons, one of two populations of which feeds the other directly."""
    sigma = LavaPopulation("a", (3,), {}, "sigma")
    direct = LavaSynapse("d", "a", "b", "direct", ints([1]))
    return LavaNetwork(
        "joined",
        5,
        (),
        (sigma, replace(sigma, name="b")),
        (replace(direct, **changes),),
    )


def with_synapse(network: LavaNetwork, **changes: Any) -> LavaNetwork:
    return replace(network, synapses=(replace(network.synapses[0], **changes),))


def with_input(**changes: Any) -> LavaNetwork:
    network = small_network()
    return replace(network, inputs=(replace(network.inputs[0], **changes),))


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (with_population(vth=np.array(1.5)), "out: vth must be an integer array"),
        (with_population(vth=ints(131072)), "out: vth holds 131072, outside 0 to 131071"),
        (with_population(vth=ints([5, -1, 6])), "vth holds -1"),
        (with_population(du=ints(4096)), "du holds 4096"),
        (with_population(du=ints(-2)), "du holds -2"),
        (with_population(dv=ints(4097)), "dv holds 4097"),
        (with_population(bias_mant=ints(4096)), "bias_mant holds 4096"),
        (with_population(bias_mant=ints(-4097)), "bias_mant holds -4097"),
        (with_population(bias_exp=ints(8)), "bias_exp holds 8"),
        (with_population(u0=ints(2**23 + 1)), "u0 holds 8388609"),
        (with_population(v0=ints(2**23)), "v0 holds 8388608"),
        (with_population(du=ints([1, 2])), r"du has shape \(2,\)"),
        (with_population(dv=ints([])), "dv is empty"),
        (with_population(start=-1), "start is -1"),
        (with_population(period=0), "period is 0"),
        (with_population(record=("s", "w")), "record is"),
        (with_population(shape=(1, 3)), r"the shape is \(1, 3\)"),
        (with_population(name="in"), "in: the name stands for more than one element"),
        (with_input(data=np.full((5, 4), 2)), "data holds 2, outside 0 to 1"),
        (with_input(data=np.zeros((5, 4))), "data must be an integer array"),
        (with_input(data=np.zeros((4, 4), dtype=int)), r"data has shape \(4, 4\)"),
        (replace(small_network(), steps=0), "steps is 0"),
        (replace(small_network(), populations=()), "at least one population"),
        (with_synapse(small_network(), source="nobody"), "w: no source named nobody"),
        (with_synapse(small_network(), target="in"), "w: no population named in"),
        (with_synapse(small_network(), kind="pool"), "unknown kind pool"),
        (with_synapse(small_network(), sign_mode="null"), "unknown sign mode null"),
        (with_synapse(small_network(), weight=ints(np.full((3, 4), -258))), "weight holds -258"),
        (with_synapse(small_network(), weight=ints(np.full((3, 4), 3))), "multiples of 2"),
        (with_synapse(small_network(), weight=ints(np.full((3, 4), 6)), num_weight_bits=7),
         "multiples of 4"),
        (with_synapse(small_network(), weight=ints(np.full((3, 4), -2)), sign_mode="excitatory"),
         "weight holds -2, outside 0 to 255"),
        (with_synapse(small_network(), weight=np.zeros((3, 4))), "weight must be an integer"),
        (with_synapse(small_network(), weight=ints(np.zeros((4, 3)))), r"not \(3, 4\)"),
        (with_synapse(small_network(), weight_exp=17), "weight_exp is 17"),
        (with_synapse(small_network(), num_weight_bits=10), "num_weight_bits is 10"),
        (with_synapse(small_network(), num_weight_bits=9, sign_mode="excitatory",
                      weight=ints(np.zeros((3, 4)))), "num_weight_bits is 9"),
        (with_synapse(small_network(), num_message_bits=32), "num_message_bits is 32"),
        (with_synapse(small_network(), delay=ints([64])), "delay holds 64, outside 0 to 63"),
        (with_synapse(small_network(), delay=np.array([1.0])), "delay must be an integer array"),
        (with_synapse(small_network(), delay=ints([1, 2])), r"delay has shape \(2,\)"),
        (with_synapse(conv_network(), delay=ints([1])), "delay holds 1, outside 0 to 0"),
        (with_synapse(small_network(), port="real"), "w: lif has no input real"),
        (with_synapse(small_network(), forget=Forget(0, 1, steps=0)), "less than one step"),
        (with_population(model="alif"), "unknown model alif"),
        (with_population(registers={}), "registers are missing: bias_exp"),
        (with_population(alpha=ints(1)), "lif has no registers alpha"),
        (with_population(reset_offset=ints(3)), "there is a reset_offset, but no reset_interval"),
        (with_population(reset_interval=ints([1, 2, 3]), reset_offset=ints(0)), "needs one value"),
        (with_population(model="delta", registers={**DELTA, "vth": ints(2**19)}),
         "vth << 12 holds 524288"),
        (with_population(model="ternary-lif", registers={**TERNARY, "vth_lo": ints(1)}),
         "vth_lo is 1, above vth_hi, which is 0"),
        (joined(source="b", target="a", weight=ints([2])), "has the one weight 1"),
        (joined(target="a"), "a: direct connections form a loop"),

        (with_synapse(conv_network(), weight_exp=-1), "weight_exp is -1, outside 0"),
        (with_synapse(conv_network(), stride=(1, 2)), r"makes \(3, 3, 2\)"),
        (with_synapse(conv_network(), groups=2), "do not fit 2 channels"),
        (with_synapse(conv_network(), padding=(128, 0)), "holds at most 127"),
        (with_synapse(conv_network(), dilation=(0, 1)), "must be at least 1"),
        (with_synapse(small_network(), kind="conv2d"), r"instead of \(Cout, Cin, kH, kW\)"),
    ],
)  # fmt: skip
def test_what_lava_would_hang_on_or_change_is_refused(network: LavaNetwork, said: str) -> None:
    with pytest.raises(InputError, match=said):
        runner.run([network], environment=LavaEnvironment(Path("/nowhere"), {}), timeout=1)
