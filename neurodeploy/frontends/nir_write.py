"""NIR out: one deterministic file, checked by reading it back."""

from __future__ import annotations

import hashlib
import io
import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import nir
import numpy as np

from neurodeploy.archive import write_atomically
from neurodeploy.equivalence.compare import Layer
from neurodeploy.errors import FileError, InputError, ModelError
from neurodeploy.frontends.nir import loader, means, read
from neurodeploy.frontends.nir_nodes import POPULATIONS, real_array
from neurodeploy.frontends.nir_profiles import (
    DENSITY,
    SAMPLES,
    SEED,
    STEPS,
    Statement,
    deviation,
    portable,
    statements,
)
from neurodeploy.frontends.nir_split import split
from neurodeploy.frontends.presets import Preset
from neurodeploy.linear import Shape
from neurodeploy.network import Network
from neurodeploy.semantics import Semantics, from_metadata, to_metadata
from neurodeploy.trace import Inputs

logger = logging.getLogger(__name__)

Profile = Literal["exact", "portable"]


@dataclass(frozen=True)
class Written:
    """A file that was written.

    Attributes
    ----------
    digest: SHA-256 of its bytes.
    statements: how it says the semantics of every population.
    deviation: of a portable file, per population, how many spikes differ for an importer that takes
        the neurons literally.
    objection: what the type check of NIR's own `nir.read` has against it, or None.
    """

    path: Path
    profile: Profile
    digest: str
    statements: tuple[Statement, ...]
    deviation: tuple[Layer, ...]
    objection: str | None


def write(
    graph: nir.NIRGraph,
    path: str | Path,
    *,
    profile: Profile = "exact",
    semantics: Semantics | Preset | str | None = None,
    inputs: Inputs | None = None,
) -> Written:
    """Write a graph with its semantics to a `.nir` file.

    Reading the file back gives the network of `graph` bit for bit (`portable`: where all input
    gains are 1; else one that spikes the same).  The same graph gives the same bytes, with the same
    versions of nir and h5py.  Subgraphs are written flat, neuron parameters in float64 and for
    every neuron.

    Parameters
    ----------
    profile:
        `exact`: plain nodes say what they can (`nir_split.split`), metadata the rest.  `portable`:
        neurons as common importers take them (`nir_profiles.portable`), semantics in metadata, and
        how many spikes differ for an importer that takes the neurons literally.
    semantics:
        For neurons of a graph that does not say what a step means, as in `frontends.nir.load`.
    inputs:
        Of the portable profile: spikes or currents (samples, steps, *shape) by which the deviation
        is measured; if None, seeded random spikes.

    Raises
    ------
    ModelError, SemanticsError
        As `frontends.nir.load`; or a node's name that a file cannot hold.
    InputError
        An unknown profile, or inputs that do not fit.
    FileError
        The file cannot be written.
    """
    if profile not in get_args(Profile):
        raise InputError(f"the profile is {profile!r}, expected {' or '.join(get_args(Profile))}")
    if profile == "exact" and inputs is not None:
        raise InputError("inputs measure the deviation of the portable profile, not of the exact")
    reader = loader(graph, semantics)
    network = reader.network()
    full = _full(network.graph, reader.shapes)
    layers: tuple[Layer, ...] = ()
    if profile == "exact":
        written = _sorted(split(full), {"profile": profile})
    else:
        written = portable(full)
        layers = deviation(network, written, inputs)
        network = means(written)  # thresholds may be scaled
        measured = _measured(layers, given=inputs is not None)
        written = _sorted(written, {"profile": profile, "deviation": measured})
    data = _bytes(written)
    objection = _checked(data, network, Path(path))
    write_atomically(Path(path), data)
    digest = hashlib.sha256(data).hexdigest()
    return Written(Path(path), profile, digest, statements(written), layers, objection)


def _full(graph: nir.NIRGraph, shapes: Mapping[str, Shape]) -> nir.NIRGraph:
    """The graph with vectors for scalars, and with the input shapes that NIR wants to be told."""
    source = {b: a for a, b in graph.edges}
    nodes: dict[str, nir.NIRNode] = {}
    for name, node in graph.nodes.items():
        shape = shapes[source.get(name, name)]
        changes: dict[str, Any] = {}
        if isinstance(node, (*POPULATIONS, nir.Scale, nir.Delay)):
            values = {f.name: getattr(node, f.name) for f in fields(node) if f.name not in _TYPES}
            changes = {
                key: real_array(0.0 if value is None else value, shape, key)  # no v_reset: zero
                for key, value in values.items()
            }
        elif isinstance(node, nir.Conv2d):
            changes = {"input_shape": shape[1:]}
        elif isinstance(node, nir.Conv1d):
            changes = {"input_shape": shape[1]}
        elif isinstance(node, nir.Flatten):
            changes = {"input_type": {"input": np.array(shape)}}
        nodes[name] = replace(node, **changes)
    return nir.NIRGraph(nodes, list(graph.edges), dict(graph.metadata), type_check=False)


_TYPES = ("input_type", "output_type", "metadata")


def _measured(layers: tuple[Layer, ...], *, given: bool) -> dict[str, Any]:
    """The deviation as plain data."""
    random = {"seed": SEED, "samples": SAMPLES, "steps": STEPS, "density": DENSITY}
    return {
        "inputs": {"kind": "given"} if given else {"kind": "random", **random},
        "populations": {
            layer.population: {
                "cells": layer.cells,
                "mismatches": layer.mismatches,
                "spikes": layer.expected_spikes,
                "literal_spikes": layer.spikes,
            }
            for layer in layers
        },
    }


def _sorted(graph: nir.NIRGraph, entries: Mapping[str, Any]) -> nir.NIRGraph:
    """The graph in one order, with our entries about this file in its metadata."""
    own = from_metadata(graph.metadata, node="graph") or {}
    kept = {key: own[key] for key in own if key not in ("profile", "deviation")}
    nodes = {}
    for name in sorted(graph.nodes):
        if not name or name == "." or "/" in name or "\0" in name:
            raise ModelError(
                "a NIR file cannot hold this name of a node",
                node=repr(name),
                hint="Use a name without slashes.",
            )
        node = graph.nodes[name]
        nodes[name] = replace(node, metadata=_kept(node.metadata, name))
    metadata = _kept({**graph.metadata, **to_metadata(**kept, **entries)}, "graph")
    return nir.NIRGraph(nodes, sorted(graph.edges), metadata, type_check=False)


def _kept(metadata: Mapping[Any, Any], name: str) -> dict[str, Any]:
    """Metadata in one order, without what a file cannot hold."""
    kept = {}
    for key in sorted(metadata, key=str):
        if _holdable(key, metadata[key]):
            kept[key] = metadata[key]
        else:
            logger.warning("%s: a NIR file cannot hold the metadata entry %r", name, key)
    return kept


def _holdable(key: Any, value: Any) -> bool:
    if not isinstance(key, str) or not key or key == "." or "/" in key or "\0" in key:
        return False
    if isinstance(value, Mapping):
        return all(_holdable(k, v) for k, v in value.items())
    if isinstance(value, str):
        return "\0" not in value
    try:
        return np.asarray(value).dtype.kind in "biufcS"
    except ValueError:
        return False


def _bytes(graph: nir.NIRGraph) -> bytes:
    """The file; uncompressed, so that its bytes do not depend on the version of zlib."""
    buffer = io.BytesIO()
    nir.write(buffer, graph, compression=None)
    return buffer.getvalue()


def _checked(data: bytes, network: Network, path: Path) -> str | None:
    """Read the file back before it is put in place; returns NIR's own objection to it."""
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
            draft = Path(folder) / "draft.nir"
            draft.write_bytes(data)
            again, objection = means(read(draft)), _objection(draft)
    except OSError as error:
        raise FileError(f"cannot be written ({error.strerror})", node=str(path)) from error
    if not _same(again, network):
        raise FileError("means something else when it is read back", node=str(path))
    return objection


def _objection(path: Path) -> str | None:
    try:
        nir.read(str(path))
    except Exception as error:  # NIR raises whatever its checks meet
        return " ".join(str(error).split())
    return None


def _same(a: Any, b: Any) -> bool:
    """Whether two networks, or parts of them, are equal bit for bit, apart from their graphs."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    if is_dataclass(a):
        names = [field.name for field in fields(a) if field.name != "graph"]
        return all(_same(getattr(a, name), getattr(b, name)) for name in names)
    return bool(a == b)
