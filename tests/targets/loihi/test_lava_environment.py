"""Finding Python 3.10 and building the Lava environment, with stand-ins for every interpreter."""

from __future__ import annotations

import fcntl
import importlib.metadata
import importlib.util
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from neurodeploy.errors import LavaError
from neurodeploy.targets.loihi.lava import environment
from neurodeploy.targets.loihi.lava.environment import LavaEnvironment


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


def fake_python(path: Path, version: tuple[int, ...] | None) -> Path:
    """An interpreter that says which version it is, or, like an inactive shim, fails."""
    if version is None:
        return script(path, "exit 127\n")
    return script(path, f"echo '{json.dumps([version, str(path)])}'\n")


# --- finding Python 3.10 -------------------------------------------------------------------------


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine on which no Python 3.10 can be found: an empty home, PATH and pyenv."""
    for name in ("NEURODEPLOY_LAVA_PYTHON", "NEURODEPLOY_LAVA_ENV", "XDG_DATA_HOME", "PYENV_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    running = fake_python(tmp_path / "running", (3, 12, 1))
    monkeypatch.setattr(environment.sys, "executable", str(running))
    return tmp_path


def test_interpreters_are_looked_for_in_order(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running = fake_python(bare / "running", (3, 10, 1))
    assert environment.find_python(None) == running
    by_uv = fake_python(bare / "uv-310", (3, 10, 2))
    script(bare / "bin" / "uv", f'[ "$*" = "python find 3.10" ] && echo {by_uv}\n')
    assert environment.find_python(None) == by_uv
    by_pyenv = fake_python(bare / ".pyenv" / "versions" / "3.10.3" / "bin" / "python", (3, 10, 3))
    assert environment.find_python(None) == by_pyenv
    rooted = fake_python(bare / "root" / "versions" / "3.10.4" / "bin" / "python", (3, 10, 4))
    monkeypatch.setenv("PYENV_ROOT", str(bare / "root"))
    assert environment.find_python(None) == rooted
    on_path = fake_python(bare / "bin" / "python3.10", (3, 10, 5))
    assert environment.find_python(None) == on_path
    by_variable = fake_python(bare / "chosen" / "python", (3, 10, 6))
    monkeypatch.setenv("NEURODEPLOY_LAVA_PYTHON", str(by_variable))
    assert environment.find_python(None) == by_variable
    by_option = fake_python(bare / "given" / "python", (3, 10, 7))
    assert environment.find_python(str(by_option)) == by_option
    assert environment.find_python("python3.10") == on_path  # a command is as good as a path


@pytest.mark.parametrize("version", [None, (3, 11, 7)], ids=["inactive shim", "another version"])
def test_a_candidate_counts_only_if_it_runs_and_is_310(
    bare: Path, version: tuple[int, ...] | None
) -> None:
    fake_python(bare / "bin" / "python3.10", version)
    by_pyenv = fake_python(bare / ".pyenv" / "versions" / "3.10.3" / "bin" / "python", (3, 10, 3))
    assert environment.find_python(None) == by_pyenv


@pytest.mark.parametrize("version", [None, (3, 11, 7)], ids=["broken", "another version"])
def test_an_interpreter_that_was_asked_for_is_never_skipped(
    bare: Path, monkeypatch: pytest.MonkeyPatch, version: tuple[int, ...] | None
) -> None:
    fake_python(bare / "bin" / "python3.10", (3, 10, 5))
    wrong = fake_python(bare / "wrong", version)
    said = "not a working interpreter" if version is None else "is Python 3.11.7"
    with pytest.raises(LavaError, match=f"{wrong}, given by --python, .*{said}"):
        environment.find_python(str(wrong))
    monkeypatch.setenv("NEURODEPLOY_LAVA_PYTHON", str(wrong))
    with pytest.raises(LavaError, match=f"given by NEURODEPLOY_LAVA_PYTHON, .*{said}"):
        environment.find_python(None)


def test_no_python_310_names_what_was_tried_and_what_to_do(bare: Path) -> None:
    shim = fake_python(bare / "bin" / "python3.10", None)
    with pytest.raises(LavaError) as caught:
        environment.find_python(None)
    said = str(caught.value)
    for part in (
        f"PATH: {shim} is not a working interpreter",
        f"pyenv in {bare / '.pyenv'}: none",
        "uv: none",
        f"the running interpreter: {bare / 'running'} is Python 3.12.1",
        "pyenv install 3.10",
        "uv python install 3.10",
        "neurodeploy lava install --python PATH",
    ):
        assert part in said
    assert "\n" not in said


# --- installing ----------------------------------------------------------------------------------


@pytest.fixture
def place(bare: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where to install, on a machine with a stand-in for Python 3.10 whose pip ends with $PIP."""
    monkeypatch.setenv("PATH", os.pathsep.join((str(bare / "bin"), "/usr/bin", "/bin")))
    monkeypatch.setenv("NEURODEPLOY_LAVA_ENV", str(bare / "env"))
    monkeypatch.setenv("PIP", "0")
    pip = script(bare / "pip", 'echo "$@" >>"$0.calls"; echo "ERROR: no such wheel"; exit "$PIP"\n')
    answer = json.dumps([[3, 10, 9], str(bare / "bin" / "python3.10")])
    script(
        bare / "bin" / "python3.10",
        f"""case "$2" in
            -c) echo '{answer}' ;;
            -m) mkdir -p "$4/bin" && cp "{pip}" "$4/bin/python" ;;
        esac
        """,
    )
    return bare / "env"


def install() -> tuple[LavaEnvironment, list[str]]:
    said: list[str] = []
    return environment.install(None, said.append), said


def test_the_default_place(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment.environment_path() == bare / ".local/share/neurodeploy/lava-0.10.0"
    monkeypatch.setenv("XDG_DATA_HOME", str(bare / "data"))
    assert environment.environment_path() == bare / "data" / "neurodeploy" / "lava-0.10.0"
    monkeypatch.setenv("NEURODEPLOY_LAVA_ENV", str(bare / "mine"))
    assert environment.environment_path() == bare / "mine"


def test_an_installation_is_complete_and_done_once(place: Path) -> None:
    made, said = install()
    assert made.python == place / "bin" / "python"
    assert made.versions["lava-nc"] == "0.10.0"
    assert environment.locate() == made
    calls = (place / "bin" / "python.calls").read_text().splitlines()
    assert len(calls) == 2
    assert "--requirement" in calls[0]
    assert "--no-deps lava-dl==0.6.0" in calls[1]
    assert said[-1].endswith("is ready.")
    again, said = install()
    assert again == made
    assert said == [f"The Lava environment in {place} is complete."]


def test_every_requirement_is_an_exact_pin() -> None:
    pins = environment.requirements()
    assert {"lava-nc", "lava-dl", "numpy", "scipy"} <= set(pins)
    assert all(re.fullmatch(r"\d+(\.\d+)+", version) for version in pins.values())


def test_a_failed_installation_shows_pips_last_words_and_is_redone(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP", "1")
    with pytest.raises(LavaError, match=r"exit code 1: .*ERROR: no such wheel.*install.log"):
        install()
    with pytest.raises(LavaError, match=r"interrupted. Run `neurodeploy lava install`"):
        environment.locate()
    monkeypatch.setenv("PIP", "0")
    made, _ = install()
    assert environment.locate() == made


def test_an_interrupted_installation_is_recognised_and_redone(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(environment, "_build", interrupted)
        with pytest.raises(KeyboardInterrupt):
            install()
    (place / "left over").touch()
    with pytest.raises(LavaError, match="interrupted"):
        environment.locate()
    install()
    assert environment.locate().python.exists()
    assert not (place / "left over").exists()


@pytest.mark.parametrize("marker", ["", "{", "[]", '{"versions": 3}'])
def test_an_unreadable_marker_is_an_interrupted_installation(place: Path, marker: str) -> None:
    install()
    (place / environment.MARKER).write_text(marker)
    with pytest.raises(LavaError, match="interrupted"):
        environment.locate()


def test_another_version_is_named_and_replaced(place: Path) -> None:
    install()
    versions = environment.requirements() | {"lava-nc": "0.9.0"}
    (place / environment.MARKER).write_text(json.dumps({"schema": 1, "versions": versions}))
    with pytest.raises(LavaError, match=r"another version: lava-nc 0\.9\.0 instead of 0\.10\.0"):
        environment.locate()
    install()
    assert environment.locate().versions["lava-nc"] == "0.10.0"


def test_a_python_that_was_removed_is_noticed(place: Path) -> None:
    install()
    (place / "bin" / "python").unlink()
    with pytest.raises(LavaError, match=r"Python of the Lava environment .* is gone"):
        environment.locate()


def test_a_folder_of_somebody_else_is_left_alone(place: Path) -> None:
    place.mkdir()
    (place / "thesis.tex").touch()
    with pytest.raises(LavaError, match="not a Lava environment made by"):
        install()
    assert (place / "thesis.tex").exists()


def test_no_environment_says_what_to_do(place: Path) -> None:
    with pytest.raises(LavaError, match=r"no Lava environment in .*`neurodeploy lava install`"):
        environment.locate()


def test_two_installers_wait_for_each_other(place: Path) -> None:
    said: list[str] = []
    with place.with_name("env.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)

        def progress(line: str) -> None:
            said.append(line)
            if line.startswith("Waiting for another installation"):
                assert not place.exists()
                fcntl.flock(held, fcntl.LOCK_UN)

        environment.install(None, progress)
    assert said[0].startswith("Waiting for another installation")
    assert said[-1].endswith("is ready.")


def test_a_place_that_cannot_be_written_is_one_clear_error(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bare / "file").touch()
    monkeypatch.setenv("NEURODEPLOY_LAVA_ENV", str(bare / "file" / "env"))
    with pytest.raises(LavaError, match="cannot install Lava into"):
        install()


@pytest.mark.parametrize(("version", "used"), [("0.10.0", True), ("0.9.0", False)])
def test_an_interpreter_that_holds_lava_is_used_itself(
    bare: Path, monkeypatch: pytest.MonkeyPatch, version: str, used: bool
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(importlib.metadata, "version", {"lava-nc": version}.get)
    if used:
        assert environment.locate().python == bare / "running"
        monkeypatch.setenv("NEURODEPLOY_LAVA_ENV", str(bare / "env"))
    with pytest.raises(LavaError, match="no Lava environment in"):
        environment.locate()
