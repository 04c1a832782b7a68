"""The core map: every core drawn where it stands, and every packet on a link."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import numpy as np

from neurodeploy import api
from neurodeploy.mapping import Placement
from neurodeploy.mapping.traffic import links
from neurodeploy.pages.core_map import core_map, standalone
from tests.builders import small_program


def placed() -> Placement:
    """Five cores at three routers."""
    placement = api.place(small_program()[1])
    tiles = np.array([[0, 0], [0, 0], [0, 0], [2, 0], [2, 1]])
    packets = np.zeros((6, 5), np.int64)
    packets[0, 3], packets[3, 4], packets[5, 0] = 1_000, 250, 99
    core = {"first <b>": np.arange(4), "$second$": np.array([4, 4])}
    mapped = replace(placement.mapped, core=core, tiles=tiles)
    return replace(placement, mapped=mapped, links=links(packets, tiles, (0, 0)))


def test_cores_and_links_are_drawn() -> None:
    text = standalone(core_map(placed()))
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    said = " ".join("".join(e.itertext()) for e in root.iter())
    assert "first <b>" in said
    assert "$second$" in said
    assert "darkest link: 1,000 packets" in said
    colours = text.count("fill: #0072b2"), text.count("fill: #e69f00")
    assert colours == (4 + 1, 1 + 1)  # cores and legend
    assert text == standalone(core_map(placed()))


def test_silence_is_said() -> None:
    placement = placed()
    silent = links(np.zeros((6, 5), np.int64), placement.tiles, (0, 0))
    assert "no packets between routers" in core_map(replace(placement, links=silent))
