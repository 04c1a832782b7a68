"""Program files: the same bytes from every build, and checked by numpy alone wherever they go."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from neurodeploy import archive
from neurodeploy.cli import main
from neurodeploy.equivalence.golden import replay
from neurodeploy.errors import DesignRuleError, FileError, InputError
from neurodeploy.program import Golden, Program
from neurodeploy.simulator import engine, plain
from neurodeploy.target import get_target
from tests.builders import small_program, spikes_for

TARGETS = ("cpu8", "loihi2", "spinnaker2")
ROOT = Path(__file__).parents[2]

BUILD = """
import sys, time
now = float(sys.argv[1])
time.time = lambda: now
time.time_ns = lambda: int(now * 1e9)
sys.path.append(sys.argv[2])
import neurodeploy as nd
from tests.builders import small_program
network, _, spikes = small_program()
for target in sys.argv[3:]:
    nd.compile(network, target=target, calibration=spikes).save(f"{target}.ndp")
"""

ALONE = """
import sys

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {allowed}:
            return None
        raise ImportError(f"{name} is not installed here")

sys.meta_path.insert(0, Nothing())
"""


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same programs, compiled by two processes that share nothing but the code."""
    folders = []
    for seed, clock, threads, zone in (
        ("1", "1e9", "1", "UTC"),
        ("77", "1.8e9", "3", "Asia/Tokyo"),
    ):
        folder = tmp_path_factory.mktemp(f"build{seed}")
        environment = {
            **os.environ,
            "PYTHONHASHSEED": seed,
            "OMP_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads,
            "NUMBA_NUM_THREADS": threads,
            "TZ": zone,
        }
        command = [sys.executable, "-c", BUILD, clock, str(ROOT), *TARGETS]
        subprocess.run(command, cwd=folder, env=environment, check=True, timeout=300)
        folders.append(folder)
    return folders[0], folders[1]


@pytest.mark.parametrize("target", TARGETS)
def test_two_builds_are_byte_identical(builds: tuple[Path, Path], target: str) -> None:
    first, second = ((folder / f"{target}.ndp").read_bytes() for folder in builds)
    assert first == second


@pytest.mark.parametrize("target", TARGETS)
def test_a_file_holds_all_that_it_was_made_with(builds: tuple[Path, Path], target: str) -> None:
    program, chip = Program.load(builds[0] / f"{target}.ndp"), get_target(target)
    assert program.graph["nodes"]
    assert program.semantics == chip.semantics.to_dict()
    assert program.chip["name"] == chip.chip.name
    limits = {name: limit.value for name, limit in chip.chip.limits.items()}
    assert {name: limit["value"] for name, limit in program.chip["limits"].items()} == limits
    assert {"neurodeploy", "nir", "numpy", "calibration"} <= set(program.provenance)
    assert program.golden is not None
    assert program.hash == archive.load(builds[0] / f"{target}.ndp")[1]


def test_one_flipped_byte_anywhere_is_detected(builds: tuple[Path, Path], tmp_path: Path) -> None:
    """Exhaustive over a whole program file."""
    content, path = (builds[0] / "cpu8.ndp").read_bytes(), tmp_path / "flipped.ndp"
    for position in range(len(content)):
        path.write_bytes(
            content[:position] + bytes([content[position] ^ 0x10]) + content[position + 1 :]
        )
        with pytest.raises(FileError):
            archive.load(path)


@pytest.mark.parametrize("target", TARGETS)
def test_golden_traces_come_out_again_with_numpy_alone(
    builds: tuple[Path, Path], target: str
) -> None:
    """Everything but numpy and the standard library is kept from being imported."""
    allowed = {*sys.stdlib_module_names, "neurodeploy", "numpy", "tomli", "__editable___finder"}
    script = ALONE.replace("{allowed}", repr(allowed)) + (
        "from neurodeploy.program import Program\n"
        "from neurodeploy.equivalence.golden import replay\n"
        f"stage = replay(Program.load({str(builds[0] / f'{target}.ndp')!r}))\n"
        "print(stage.status, stage.cells, stage.mismatches)\n"
        "print(sorted({'numba', 'torch', 'nir', 'h5py', 'scipy'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120
    )
    cells = 4 * 12 * (2 * 36 + 8 + 3)
    assert done.stdout.splitlines() == [f"passed {cells} 0", "[]"], done.stderr


def test_the_command_without_inputs(
    builds: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(builds[0] / "loihi2.ndp"), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["stage"]["status"], answer["stage"]["mismatches"]) == ("passed", 0)
    program = Program.load(builds[0] / "loihi2.ndp")
    assert program.golden is not None
    wrong = {name: sent.copy() for name, sent in program.golden.spikes.items()}
    wrong["lif3"][3, -1, 2] ^= 1
    other = tmp_path / "other.ndp"
    replace(program, golden=Golden(program.golden.inputs, wrong)).save(other)
    assert main(["verify", str(other)]) == 1
    assert "1 of 3,984 messages differ" in " ".join(capsys.readouterr().out.split())
    assert main(["verify", str(other), "--labels", "x.npy"]) == 2
    assert "--inputs: needed for" in capsys.readouterr().err


def test_what_cannot_be_replayed_is_refused() -> None:
    _, program, _ = small_program()
    with pytest.raises(InputError, match="no golden traces"):
        replay(program)
    first, *others = program.populations
    broken = {**first.parameters, "dv": np.array([5000])}
    with pytest.raises(DesignRuleError, match="decay-bits"):
        replay(replace(program, populations=(replace(first, parameters=broken), *others)))


@pytest.mark.parametrize("target", TARGETS)
def test_plain_numpy_equals_the_compiled_simulator(builds: tuple[Path, Path], target: str) -> None:
    """On other inputs than the golden ones, dense enough to spike much."""
    program, machine = Program.load(builds[0] / f"{target}.ndp"), get_target(target).machine
    spikes = spikes_for(9, 5, 40, (1, 6, 6), 0.6)
    slow, fast = plain.simulate(program, spikes, machine), engine.simulate(program, spikes, machine)
    for name in program.shapes:
        assert np.array_equal(slow.sent(name), fast.sent(name))
    assert fast.counts("lif3").any()
