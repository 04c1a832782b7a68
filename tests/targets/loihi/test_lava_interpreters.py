"""Finding a Python for Lava, with stand-ins for every interpreter."""

from __future__ import annotations

from pathlib import Path

import pytest

from neurodeploy.errors import LavaError
from neurodeploy.targets.loihi.lava.interpreters import find_python
from tests.targets.loihi.interpreters import fake_python, script


def pyenv(root: Path, version: tuple[int, ...]) -> Path:
    name = ".".join(map(str, version))
    return fake_python(root / "versions" / name / "bin" / "python", version)


def test_interpreters_are_looked_for_in_order(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running = fake_python(bare / "running", (3, 10, 1))
    assert find_python(None) == (running, "3.10")
    by_uv = fake_python(bare / "uv-310", (3, 10, 2))
    script(bare / "bin" / "uv", f'[ "$*" = "python find 3.10" ] && echo {by_uv}\n')
    assert find_python(None) == (by_uv, "3.10")
    by_pyenv = pyenv(bare / ".pyenv", (3, 10, 3))
    assert find_python(None) == (by_pyenv, "3.10")
    rooted = pyenv(bare / "root", (3, 10, 4))
    monkeypatch.setenv("PYENV_ROOT", str(bare / "root"))
    assert find_python(None) == (rooted, "3.10")
    on_path = fake_python(bare / "bin" / "python3.10", (3, 10, 5))
    assert find_python(None) == (on_path, "3.10")
    by_variable = fake_python(bare / "chosen" / "python", (3, 12, 6))
    monkeypatch.setenv("NEURODEPLOY_LAVA_PYTHON", str(by_variable))
    assert find_python(None) == (by_variable, "3.12")
    by_option = fake_python(bare / "given" / "python", (3, 10, 7))
    assert find_python(str(by_option)) == (by_option, "3.10")
    assert find_python("python3.10") == (on_path, "3.10")  # a command is as good as a path


def test_310_is_preferred_wherever_it_is_then_the_lowest(bare: Path) -> None:
    on_path = fake_python(bare / "bin" / "python3.13", (3, 13, 0))
    assert find_python(None) == (on_path, "3.13")
    by_uv = fake_python(bare / "uv-312", (3, 12, 2))
    script(bare / "bin" / "uv", f'[ "$*" = "python find 3.12" ] && echo {by_uv}\n')
    assert find_python(None) == (by_uv, "3.12")
    running = fake_python(bare / "running", (3, 11, 9))
    assert find_python(None) == (running, "3.11")
    by_pyenv = pyenv(bare / ".pyenv", (3, 10, 3))
    assert find_python(None) == (by_pyenv, "3.10")


@pytest.mark.parametrize("version", [None, (3, 11, 7)], ids=["inactive shim", "another version"])
def test_a_candidate_counts_only_if_it_runs_and_is_what_it_is_called(
    bare: Path, version: tuple[int, ...] | None
) -> None:
    fake_python(bare / "bin" / "python3.10", version)
    by_pyenv = pyenv(bare / ".pyenv", (3, 10, 3))
    assert find_python(None) == (by_pyenv, "3.10")


@pytest.mark.parametrize("version", [None, (3, 9, 7), (3, 1, 4)], ids=["broken", "3.9", "3.1"])
def test_an_interpreter_that_was_asked_for_is_never_skipped(
    bare: Path, monkeypatch: pytest.MonkeyPatch, version: tuple[int, ...] | None
) -> None:
    fake_python(bare / "bin" / "python3.10", (3, 10, 5))
    wrong = fake_python(bare / "wrong", version)
    said = "not a working interpreter"
    if version is not None:
        said = f"is Python {'.'.join(map(str, version))}; Lava needs Python 3.10 to 3.13"
    with pytest.raises(LavaError, match=f"{wrong}, given by --python, .*{said}"):
        find_python(str(wrong))
    monkeypatch.setenv("NEURODEPLOY_LAVA_PYTHON", str(wrong))
    with pytest.raises(LavaError, match=f"given by NEURODEPLOY_LAVA_PYTHON, .*{said}"):
        find_python(None)


def test_no_python_names_what_was_tried_and_what_to_do(bare: Path) -> None:
    inactive = fake_python(bare / "bin" / "python3.10", None)
    with pytest.raises(LavaError) as caught:
        find_python(None)
    said = str(caught.value)
    for part in (
        f"PATH: {inactive} is not a working interpreter",
        f"pyenv in {bare / '.pyenv'}: none",
        "uv: none",
        f"the running interpreter: {bare / 'running'} is Python 3.14.1",
        "pyenv install 3.10",
        "uv python install 3.10",
        "neurodeploy lava install --python PATH",
    ):
        assert said.count(part) == 1
    assert "\n" not in said
