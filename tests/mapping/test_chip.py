"""The chip file, and what is said about a bad one."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from neurodeploy.chip import Chip, load_chip
from neurodeploy.errors import FileError
from neurodeploy.quantity import Kind

GOOD = """
name = "x"
title = "X"
group_registers = []
notes = []
[limits.cores]
value = 2
unit = "cores"
kind = "literature"
source = "somewhere"
[constants.e]
low = 0
typical = 1
high = 2.5
unit = "pJ"
kind = "derived"
source = "somewhere"
[anchors.rate]
low = 0
high = 1
unit = "1"
source = "somewhere"
"""


def test_loihi2_has_a_source_and_kind_for_every_number(chip: Chip) -> None:
    assert chip.name == "loihi2"
    assert chip.limit("neurons_per_core") == 4095
    assert chip.limit("synaptic_memory") == 12_000
    assert chip.constant("e_syn").typical == 24
    for record in (*chip.limits.values(), *chip.constants.values()):
        assert record.kind in get_args(Kind)
        assert len(record.source) > 20
    static, system = chip.constant("p_static"), chip.constant("p_management")
    assert system.low > static.high  # the difference, management, is never negative


def test_the_host_constant_follows_from_its_source(chip: Chip) -> None:
    """LANL's autoencoder: 42.6 uJ over Ethernet, 40.6 uJ preloaded, 256 inputs, 256 outputs."""
    difference = (42.6 - 40.6) * 1e3
    host = chip.constant("e_host")
    assert host.typical == pytest.approx(difference / 512, abs=0.01)
    assert host.high == pytest.approx(difference / 256, abs=0.02)


def test_reads_text_and_path(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(GOOD)
    assert load_chip(path) == load_chip(GOOD)
    assert load_chip(GOOD).to_dict()["limits"]["cores"]["value"] == 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "x"', "", "missing: name"),
        ('title = "X"', 'title = ""', "title: '' is not a text"),
        ("notes = []", "notes = [3]", "notes: 3 is not a text"),
        ("notes = []", 'notes = ""', "is not a list"),
        ("value = 2", "value = 2.5", r"limits\.cores: value is 2\.5"),
        ("value = 2", "value = true", "expected an integer"),
        ("value = 2", "", r"limits\.cores: missing: value"),
        ("value = 2", "value = 2\nextra = 1", "unknown: extra"),
        ("typical = 1", "typical = 3", "ascending"),
        ("typical = 1", "typical = nan", "finite"),
        ("low = 0\ntyp", "low = -1\ntyp", "none negative"),
        ("typical = 1", 'typical = "1"', "'1' is not a number"),
        ('kind = "derived"', 'kind = "guessed"', r"constants\.e: kind is 'guessed'"),
        ("[limits.cores]", "[limits]", "expected a record"),
        ("value = 2", "value = ", "not TOML"),
        ("notes = []", "notes = " + "[" * 20_000, "not TOML"),
    ],
)
def test_a_bad_file_is_explained(old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(FileError, match=message):
        load_chip(GOOD.replace(old, new, 1))


def test_a_missing_or_oversized_file_is_explained(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no such file"):
        load_chip(tmp_path / "none.toml")
    large = tmp_path / "large.toml"
    large.write_bytes(b"#" * (1 << 21))
    with pytest.raises(FileError, match="larger"):
        load_chip(large)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileError, match="cannot be read"):
        load_chip(tmp_path / "binary.toml")


def test_a_missing_record_is_named() -> None:
    chip = load_chip(GOOD)
    for find in (chip.limit, chip.constant, chip.anchor):
        with pytest.raises(FileError, match=r"x: its chip file has no .* 'nothing'"):
            find("nothing")
