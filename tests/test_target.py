"""How targets are found; a broken plug-in is listed with its error, never swallowed."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from neurodeploy import target
from neurodeploy.errors import TargetError


def registered(*entries: EntryPoint) -> object:
    return lambda group: list(entries) if group == target.GROUP else []


def test_loihi2_is_installed() -> None:
    found = {item.name: item for item in target.find_targets()}
    assert found["loihi2"].error is None
    assert target.get_target("loihi2").name == "loihi2"


def test_a_broken_plugin_is_listed_with_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = (
        EntryPoint("missing", "no_such_module:target", target.GROUP),
        EntryPoint("number", "math:pi", target.GROUP),
        EntryPoint("loihi2", "neurodeploy.targets.loihi:target", target.GROUP),
    )
    monkeypatch.setattr(target, "entry_points", registered(*entries))
    found = {item.name: item for item in target.find_targets()}
    assert list(found) == ["loihi2", "missing", "number"]
    assert "no_such_module" in str(found["missing"].error)
    assert "float, not a target" in str(found["number"].error)
    assert found["loihi2"].target is not None
    with pytest.raises(TargetError, match="no_such_module"):
        target.get_target("missing")


def test_an_unknown_target_names_the_installed_ones() -> None:
    with pytest.raises(TargetError, match=r"unknown target 'loihi9'. Installed: .*loihi2"):
        target.get_target("loihi9")
