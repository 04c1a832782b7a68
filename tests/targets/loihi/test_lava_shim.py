"""The shim without Lava: what it lets pass, where, and what is left of it when the worker runs.

That Lava computes the same with it is for the tests of Lava to say, run on such an environment.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from neurodeploy.targets.loihi.lava import shim

UNHASHABLE = """
import dataclasses

@dataclasses.dataclass
class Part:
    number: int = 0

@dataclasses.dataclass
class Whole:
    count: int
    one: Part = Part()
    two: Part = dataclasses.field(default_factory=Part)

@dataclasses.dataclass(frozen=True)
class Fixed:
    one: Part = Whole(1).one
"""
WORKER = """
import dataclasses, json, sys
from lava.magma.compiler.var_model import Fixed, Part, Whole
a, b = Whole(1), Whole(2, Part(3))
try:
    dataclasses.make_dataclass("Own", [("part", Part, Part())])
    refused = False
except ValueError:
    refused = True
print(json.dumps({
    "argv": sys.argv, "name": __name__, "own": dataclasses.dataclass.__module__, "refused": refused,
    "shared": Whole(5).one is a.one is Fixed().one, "values": [b.one.number, b.two is a.two],
}))
"""


# As the runner starts it, but for a Lava of ours.
START = """
import runpy, sys
sys.path.insert(0, sys.argv.pop(1))
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(folder: Path, module: str) -> subprocess.CompletedProcess[str]:
    """The shim with a worker of ours and a Lava that is nothing but `module`."""
    path = folder.joinpath(*shim.MODULE.split(".")).with_suffix(".py")
    path.parent.mkdir(parents=True)
    path.write_text(module)
    (folder / "own.py").write_text(WORKER)
    command = [sys.executable, "-I", "-c", START, str(folder), shim.__file__]
    command += [str(folder / "own.py"), "JOB"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_defaults_are_what_python_310_makes_of_them(tmp_path: Path) -> None:
    done = run(tmp_path, UNHASHABLE)
    assert not done.stderr
    said = json.loads(done.stdout)
    assert said["shared"]
    assert said["values"] == [3, False]
    assert said["argv"] == [str(tmp_path / "own.py"), "JOB"]
    assert said["name"] == "__main__"
    assert said["own"] == "dataclasses"
    assert said["refused"] == (sys.version_info >= (3, 11))


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 lets them pass everywhere")
def test_no_other_module_is_let_pass(tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text(UNHASHABLE)
    assert "mutable default <class 'other.Part'>" in run(tmp_path, "import other").stderr
