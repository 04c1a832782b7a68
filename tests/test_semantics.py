"""The contract: its differences, and its way through plain data and NIR metadata."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy import semantics as module
from neurodeploy.errors import FileError
from neurodeploy.semantics import Semantics, diff, from_metadata, to_metadata

SEMANTICS = st.builds(
    Semantics,
    dt=st.floats(1e-9, 1e3),
    integrator=st.sampled_from(get_args(module.Integrator)),
    order=st.sampled_from(get_args(module.Order)),
    reset=st.sampled_from(get_args(module.Reset)),
    reset_amount=st.floats(0, 10),
    reset_timing=st.sampled_from(get_args(module.ResetTiming)),
    comparison=st.sampled_from(get_args(module.Comparison)),
    refractory=st.integers(0, 9),
    initial_state=st.floats(-10, 10),
    edge_delay=st.integers(0, 9),
    spikes_per_step=st.integers(1, 9),
    rounding=st.sampled_from(get_args(module.Rounding)),
    overflow=st.sampled_from(get_args(module.Overflow)),
)


@given(SEMANTICS)
def test_plain_data_round_trip(value: Semantics) -> None:
    assert Semantics.from_dict(json.loads(json.dumps(value.to_dict()))) == value


@given(SEMANTICS)
def test_metadata_round_trip(value: Semantics) -> None:
    metadata = to_metadata(semantics=value.to_dict(), dtype="float32")
    for text in (metadata[module.METADATA_KEY], metadata[module.METADATA_KEY].encode()):
        entries = from_metadata({module.METADATA_KEY: text}, node="lif")
        assert entries is not None
        assert Semantics.from_dict(entries["semantics"]) == value
        assert entries["dtype"] == "float32"


@given(SEMANTICS, SEMANTICS)
def test_difference_lists_exactly_the_unequal_fields(a: Semantics, b: Semantics) -> None:
    ignored = {"dt", "integrator"}
    if a.reset == b.reset == "none":
        ignored |= {"reset_timing", "reset_amount"}
    expected = {
        f.name
        for f in fields(Semantics)
        if f.name not in ignored and getattr(a, f.name) != getattr(b, f.name)
    }
    found = diff(a, b, node="lif1")
    assert {d.field for d in found} == expected
    for d in found:
        assert (d.node, d.model, d.target) == ("lif1", getattr(a, d.field), getattr(b, d.field))


def test_difference_reads_as_a_sentence() -> None:
    (found,) = diff(Semantics(comparison=">="), Semantics(), node="lif1")
    assert str(found) == "lif1: comparison is >= in the model, > on target"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rest": "zero"}, "unknown semantics field 'rest'"),
        ({"reset": "soft"}, "'soft', expected one of zero, subtract, none"),
        ({"reset": None}, "None"),
        ({"reset": ["zero"]}, "zero"),
        ({"comparison": ">>"}, "expected one of >, >="),
        ({"dt": 0}, "positive"),
        ({"dt": -1e-4}, "positive"),
        ({"dt": float("nan")}, "positive"),
        ({"dt": float("inf")}, "positive"),
        ({"dt": "soon"}, "soon"),
        ({"dt": True}, "True"),
        ({"refractory": None}, "refractory"),
        ({"refractory": 1.5}, "refractory"),
        ({"refractory": -1}, "refractory"),
        ({"refractory": float("inf")}, "refractory"),
        ({"edge_delay": -1}, "edge_delay"),
        ({"spikes_per_step": 0}, "spikes_per_step"),
        ({"initial_state": float("nan")}, "initial_state"),
        ({"initial_state": float("inf")}, "initial_state"),
        ({"reset_amount": float("nan")}, "reset_amount"),
        ({"reset_amount": [1.0]}, "reset_amount"),
    ],
)
def test_impossible_values_are_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(FileError) as caught:
        Semantics.from_dict({**Semantics().to_dict(), **change}, node="lif1")
    assert caught.value.node == "lif1"
    assert words in str(caught.value)


@pytest.mark.parametrize("missing", ["reset", "reset_timing", "comparison", "dt"])
def test_a_field_that_is_not_said_is_not_guessed(missing: str) -> None:
    data = replace(Semantics(), reset="subtract", reset_timing="delayed").to_dict()
    del data[missing]
    with pytest.raises(FileError, match=missing):
        Semantics.from_dict(data)


def test_metadata_of_others_is_not_ours() -> None:
    assert from_metadata({}, node="lif") is None
    assert from_metadata({"snntorch": "{}"}, node="lif") is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "{}", '{"schema": 2}', '{"schema": "1"}', b"\xff{", 7, None]
)
def test_broken_metadata_is_refused(text: Any) -> None:
    if text is None:
        assert from_metadata({module.METADATA_KEY: None}, node="lif") is None
        return
    with pytest.raises(FileError) as caught:
        from_metadata({module.METADATA_KEY: text}, node="lif")
    assert caught.value.node == "lif"
