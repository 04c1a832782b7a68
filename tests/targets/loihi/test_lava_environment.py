"""Building the Lava environment, with stand-ins for every interpreter."""

from __future__ import annotations

import fcntl
import importlib.metadata
import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from neurodeploy.errors import LavaError
from neurodeploy.targets.loihi.lava import environment
from neurodeploy.targets.loihi.lava.environment import LavaEnvironment
from tests.targets.loihi.interpreters import script


def installable(bare: Path, version: str) -> Path:
    """A stand-in for an interpreter on PATH whose pip writes down its calls and ends with $PIP."""
    pip = script(bare / "pip", 'echo "$@" >>"$0.calls"; echo "ERROR: no such wheel"; exit "$PIP"\n')
    path = bare / "bin" / f"python{version}"
    answer = json.dumps([[*map(int, version.split(".")), 9], str(path)])
    return script(
        path,
        f"""case "$2" in
            -c) echo '{answer}' ;;
            -m) /bin/mkdir -p "$4/bin" && /bin/cp "{pip}" "$4/bin/python" ;;
        esac
        """,
    )


@pytest.fixture
def place(bare: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where to install, on a machine with a stand-in for Python 3.10."""
    monkeypatch.setenv("NEURODEPLOY_LAVA_ENV", str(bare / "env"))
    monkeypatch.setenv("PIP", "0")
    installable(bare, "3.10")
    return bare / "env"


def install(python: str | None = None) -> tuple[LavaEnvironment, list[str]]:
    said: list[str] = []
    return environment.install(python, said.append), said


def pip_call(place: Path) -> str:
    (call,) = (place / "bin" / "python.calls").read_text().splitlines()
    return call


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
    assert not made.shimmed
    assert made.title == "lava-nc 0.10.0"
    assert "--no-deps lava-nc==0.10.0 lava-dl==0.6.0 " in pip_call(place)
    assert "numpy==1.26.4" in pip_call(place)
    assert "shim" not in " ".join(said)
    assert said[-1].endswith("is ready.")
    again, said = install()
    assert again == made
    assert said == [f"The Lava environment in {place} is complete."]


@pytest.mark.parametrize(("python", "numpy"), [("3.11", "1.26.4"), ("3.13", "2.2.6")])
def test_without_310_the_same_wheels_go_into_a_newer_python(
    place: Path, python: str, numpy: str
) -> None:
    (place.parent / "bin" / "python3.10").unlink()
    installable(place.parent, python)
    made, said = install()
    assert made.shimmed
    assert made.title == f"lava-nc 0.10.0 on Python {python} with neurodeploy's shim"
    assert "--no-deps --ignore-requires-python lava-nc==0.10.0 " in pip_call(place)
    assert f" numpy=={numpy} " in pip_call(place)
    assert f"Lava will run on Python {python} with neurodeploy's shim; 3.10 needs none." in said
    assert environment.locate() == made
    assert install()[1] == [f"The Lava environment in {place} is complete."]


def test_a_shimmed_environment_gives_way_to_310_and_never_the_reverse(place: Path) -> None:
    (place.parent / "bin" / "python3.10").rename(place.parent / "later")
    installable(place.parent, "3.13")
    assert install()[0].versions["python"] == "3.13"
    installable(place.parent, "3.11")  # preferred, but no reason to build anew
    assert install()[0].versions["python"] == "3.13"
    installable(place.parent, "3.10")
    assert install()[0].versions["python"] == "3.10"
    (place.parent / "bin" / "python3.10").unlink()
    assert install()[0].versions["python"] == "3.10"


def test_a_python_that_was_asked_for_replaces_another(place: Path) -> None:
    install()
    installable(place.parent, "3.12")
    made, _ = install("python3.12")
    assert made.versions["python"] == "3.12"
    assert install("python3.12")[1] == [f"The Lava environment in {place} is complete."]
    with pytest.raises(LavaError, match="given by --python"):
        install("python3.9")
    assert environment.locate() == made


@pytest.mark.parametrize("python", environment.PYTHONS)
def test_every_requirement_is_an_exact_pin(python: str) -> None:
    pins = environment.requirements(python)
    assert {"lava-nc", "lava-dl", "numpy", "scipy"} <= set(pins)
    assert all(re.fullmatch(r"\d+(\.\d+)+", version) for version in pins.values())
    assert pins["python"] == python


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


def test_a_marker_without_a_python_is_of_the_reference(place: Path) -> None:
    made, _ = install()
    versions = {name: version for name, version in made.versions.items() if name != "python"}
    (place / environment.MARKER).write_text(json.dumps({"schema": 1, "versions": versions}))
    assert environment.locate() == made


@pytest.mark.parametrize("changes", [{"python": "3.13"}, {"python": "3.9"}, {"numpy": "2.2.6"}])
def test_versions_that_do_not_belong_to_the_python_are_named(
    place: Path, changes: dict[str, str]
) -> None:
    made, _ = install()
    marker = {"schema": 1, "versions": {**made.versions, **changes}}
    (place / environment.MARKER).write_text(json.dumps(marker))
    with pytest.raises(LavaError, match=r"another version: (numpy|python) .* instead of "):
        environment.locate()


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


def running(monkeypatch: pytest.MonkeyPatch, python: tuple[int, int], **held: str) -> None:
    """Let the running interpreter be of some Python and hold some versions."""

    def version(name: str) -> str:
        if name not in held:
            raise importlib.metadata.PackageNotFoundError(name)
        return held[name]

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(sys, "version_info", (*python, 0))


@pytest.mark.parametrize(("version", "used"), [("0.10.0", True), ("0.9.0", False)])
def test_an_interpreter_that_holds_lava_is_used_itself(
    bare: Path, monkeypatch: pytest.MonkeyPatch, version: str, used: bool
) -> None:
    running(monkeypatch, (3, 10), **{"lava-nc": version})
    if used:
        found = environment.locate()
        assert (found.python, found.shimmed) == (bare / "running", False)
        monkeypatch.setenv("NEURODEPLOY_LAVA_ENV", str(bare / "env"))
    with pytest.raises(LavaError, match="no Lava environment in"):
        environment.locate()


def test_a_newer_interpreter_that_holds_lava_must_hold_what_was_tested(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pins = environment.requirements("3.12")
    held = {name: version for name, version in pins.items() if name != "python"}
    running(monkeypatch, (3, 12), **held)
    assert environment.locate().title.endswith("on Python 3.12 with neurodeploy's shim")
    running(monkeypatch, (3, 12), **(held | {"numpy": "2.4.0"}))
    with pytest.raises(LavaError, match="no Lava environment in"):
        environment.locate()
