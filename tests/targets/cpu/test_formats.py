"""Formats as data: what is possible, how they are found, and that the documentation lists them."""

from __future__ import annotations

from dataclasses import fields, replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurodeploy import target as targets
from neurodeploy.errors import FileError
from neurodeploy.targets.cpu import Cpu, FixedPoint, cpu8
from neurodeploy.targets.cpu.format import installed_formats, read_formats
from tests.pages_of_docs import check, row

ROOT = Path(__file__).resolve().parents[3]


def test_every_format_is_registered_under_its_name() -> None:
    lines = (ROOT / "pyproject.toml").read_text("utf-8").splitlines()
    for item in installed_formats():
        assert f'{item.name} = "neurodeploy.targets.cpu:{item.name.replace("-", "_")}"' in lines
        assert targets.get_target(item.name).name == item.name


def test_third_parties_register_formats_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("mine", "tests.targets.cpu.test_formats:MINE", targets.GROUP)
    monkeypatch.setattr(targets, "entry_points", lambda group: [entry])
    found = targets.get_target("mine")
    assert (found.name, found.chip.limit("state_bits")) == ("mine", 20)
    assert found.semantics.overflow == "wrap"


MINE = Cpu(replace(cpu8.format, name="mine", state_bits=20, threshold_bits=19, overflow="wrap"))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("weight_bits", 17, "weight_bits is 17, expected a whole number in 2..16"),
        ("weight_bits", True, "weight_bits is True"),
        ("state_bits", 7, "state_bits is 7, expected a whole number in 8..32"),
        ("state_bits", 24.0, "state_bits is 24.0"),
        ("threshold_bits", 24, "threshold_bits is 24, expected a whole number in 1..23"),
        ("decay_bits", 16, "decay_bits is 16, expected a whole number in 1..15"),
        ("decay_bits", 0, "decay_bits is 0"),
        ("decay", "shift", "decay_bits is 12, expected a whole number in 0..0"),
        ("rounding", "up", "rounding is 'up', expected one of floor, nearest"),
        ("overflow", "none", "overflow is 'none', expected one of saturate, wrap"),
    ],
)
def test_impossible_formats_are_refused(field: str, value: Any, message: str) -> None:
    changed: dict[str, Any] = {field: value}
    with pytest.raises(FileError, match=f"cpu8: {message}"):
        replace(cpu8.format, **changed)


@pytest.mark.parametrize("text", ["[a", "a = 3", "[a]\nweight_bits = 8", "[a.b]\nc = 1"])
def test_what_is_not_a_file_of_formats_is_refused(text: str) -> None:
    with pytest.raises(FileError):
        read_formats(text)


@pytest.mark.parametrize("item", installed_formats(), ids=lambda item: item.name)
def test_every_decay_of_the_grid_is_found_again(item: FixedPoint) -> None:
    most = 1 << item.decay_bits if item.decay == "multiply" else item.state_bits
    registers = np.arange(most + 1)
    assert np.array_equal(item.nearest_decay(item.kept(registers)), registers)


def test_the_documentation_lists_the_formats() -> None:
    head = [field.name for field in fields(FixedPoint) if field.name != "title"]
    lines = [row(*(name.replace("_", " ") for name in head)), row(*["---"] * len(head))]
    lines += [row(*(getattr(item, name) for name in head)) for item in installed_formats()]
    check("cpu.md", "formats", "\n".join(lines))
