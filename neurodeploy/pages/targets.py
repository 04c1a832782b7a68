"""`compare_targets`: one model on several targets, side by side on one self-contained HTML page."""

from __future__ import annotations

import importlib.resources
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from string import Template

from neurodeploy._version import __version__
from neurodeploy.archive import write_atomically
from neurodeploy.costs.estimate import EnergyReport
from neurodeploy.equivalence.verdict import Verdict
from neurodeploy.errors import InputError
from neurodeploy.mapping.placement import Placement
from neurodeploy.pages import evidence, rasters, why
from neurodeploy.pages.answers import badge
from neurodeploy.pages.html import as_json
from neurodeploy.pages.markup import NONE, Html, element, escape, join, section, table
from neurodeploy.pages.page import choose_samples
from neurodeploy.pages.values import kind, percent, quantity, rate
from neurodeploy.program import Program

SAMPLES = 1


@dataclass(frozen=True, eq=False)
class Deployed:
    """A model on one target.

    Attributes
    ----------
    name: unique on the page, such as the program's file.
    energy, placement: None where nothing is known of the target's energies, or it has no cores.
    """

    name: str
    program: Program
    verdict: Verdict
    energy: EnergyReport | None
    placement: Placement | None


def compare_targets(
    path: str | Path, deployed: Sequence[Deployed], *, title: str, samples: int = SAMPLES
) -> None:
    """Write one HTML page that needs no network, script or font.

    Parameters
    ----------
    deployed: of the same model, verified on the same inputs.
    samples: how many samples' spikes are drawn.

    Raises
    ------
    InputError
        Nothing, equal names, or runs of different populations or inputs.
    FileError
        The file cannot be written.
    """
    _check(deployed)
    files = importlib.resources.files(__package__)
    sections = (
        _summary(deployed),
        _firsts(deployed),
        _causes(deployed),
        _spikes(deployed, samples),
        _energy(deployed),
        _resources(deployed),
    )
    data = {
        "title": title,
        "targets": [
            {
                "name": one.name,
                "verdict": one.verdict.to_dict(),
                "energy": None if one.energy is None else one.energy.to_dict(),
                "resources": None if one.placement is None else one.placement.to_dict(),
            }
            for one in deployed
        ],
    }
    page = Template(files.joinpath("targets.html").read_text("utf-8")).substitute(
        title=escape(title),
        style=files.joinpath("style.css").read_text("utf-8"),
        version=escape(__version__),
        count=len(deployed),
        kinds=evidence.kinds(),
        sections="\n".join(sections),
        data=as_json(data),
    )
    write_atomically(Path(path), page.encode())


def _check(deployed: Sequence[Deployed]) -> None:
    if not deployed:
        raise InputError("there is no program to report on")
    names = [one.name for one in deployed]
    if len(set(names)) != len(names):
        raise InputError(f"programs are named alike: {', '.join(names)}")
    first = deployed[0].verdict.reference.spikes
    shapes = {name: first[name].shape for name in first}
    for one in deployed[1:]:
        other = one.verdict.reference.spikes
        if {name: other[name].shape for name in other} != shapes:
            raise InputError(
                f"it is of another model, or of other inputs, than {names[0]}", node=one.name
            )


def _by_target(
    deployed: Sequence[Deployed], rows: Sequence[tuple[str, Callable[[Deployed], object]]]
) -> Html:
    heads = ("figure", *(one.name for one in deployed))
    cells = [(name, *(value(one) for one in deployed)) for name, value in rows]
    return table(heads, cells, cls="beside")


def _summary(deployed: Sequence[Deployed]) -> Html:
    stages = list(dict.fromkeys(s.name for one in deployed for s in one.verdict.stages))
    reference = deployed[0].verdict.reference_accuracy
    rows: list[tuple[str, Callable[[Deployed], object]]] = [
        ("target", lambda one: one.program.target),
        ("program", lambda one: element("code", one.program.hash[:16])),
        ("verdict", lambda one: badge(one.verdict.status)),
        *((f"stage {name}", _stage(name)) for name in stages),
        ("accuracy", _accuracy),
        ("equal decisions", lambda one: percent(one.verdict.agreement.value)),
        ("differing cells", _mismatches),
        ("trains that are equal", lambda one: _distance(one, "equal")),
        ("spike count error per train", lambda one: _distance(one, "count_error")),
        ("van Rossum², mean per train", lambda one: _distance(one, "van_rossum")),
        ("Victor-Purpura, mean per train", lambda one: _distance(one, "victor_purpura")),
    ]
    text = "no labels were given" if reference is None else percent(reference.value)
    return section(
        "summary",
        "1  Side by side",
        element(
            "p", f"All against one float64 reference; its accuracy: {text} ", kind("simulated")
        ),
        _by_target(deployed, rows),
    )


def _stage(name: str) -> Callable[[Deployed], object]:
    def cell(one: Deployed) -> object:
        found = [stage for stage in one.verdict.stages if stage.name == name]
        if not found:
            return NONE
        return join((badge(found[0].status), element("small", found[0].text)), " ")

    return cell


def _accuracy(one: Deployed) -> object:
    verdict = one.verdict
    if verdict.accuracy is None or verdict.paired is None:
        return "unknown: no labels"
    return f"{percent(verdict.accuracy.value)}, McNemar p = {verdict.paired.p_value:.3g}"


def _mismatches(one: Deployed) -> object:
    stage = one.verdict.stage("lowering")
    return f"{rate(stage.mismatches, stage.cells)}, {stage.mismatches:,} of {stage.cells:,}"


def _distance(one: Deployed, key: str) -> object:
    found = [float(getattr(item, key)) for item in one.verdict.distances]
    mean = sum(found) / len(found)
    return percent(mean) if key == "equal" else f"{mean:.4g}"


def _firsts(deployed: Sequence[Deployed]) -> Html:
    return section("first", "2  Where they first part", *(_first(one) for one in deployed))


def _first(one: Deployed) -> Html:
    shown = why.first(one.verdict, f"membrane-{_anchor(one)}")
    return join((element("h3", one.name), shown))


def _anchor(one: Deployed) -> str:
    """Names come from files; ids must not hold what they may."""
    return one.name.encode().hex()


def _causes(deployed: Sequence[Deployed]) -> Html:
    rows = [
        ((one.name, layer.population), layer)
        for one in deployed
        for layer in one.verdict.causes.layers
    ]
    found = why.layers(rows, ("program", "layer"))
    return section("causes", "3  Why they differ", why.meaning(), found)


def _spikes(deployed: Sequence[Deployed], samples: int) -> Html:
    worst = max(deployed, key=lambda one: one.verdict.stage("lowering").mismatches)
    shown = choose_samples(worst.verdict, worst.program.output, samples)
    drawn = (figure for sample in shown for figure in _rasters(deployed, sample))
    return section("spikes", "4  Spikes", rasters.key("chip"), *drawn)


def _rasters(deployed: Sequence[Deployed], sample: int) -> Iterator[Html]:
    for one in deployed:
        runs = [(one.name, one.verdict.trace)]
        if one.verdict.vendor is not None:
            title = one.verdict.stage("vendor").title.removeprefix(
                "program in this simulator against "
            )
            runs.append((f"{one.name} in {title}", one.verdict.vendor))
        for number, (title, trace) in enumerate(runs):
            heading = element("h3", f"{title}, sample {sample}")
            names = [name for name in one.program.shapes if name in trace.spikes]
            if sample >= trace.samples:
                yield join((heading, element("p", "did not run this sample")))
                continue
            shown = rasters.raster(
                replace(one.verdict, trace=trace),
                sample,
                rasters.panels(names),
                f"raster-{_anchor(one)}-{number}",
            )
            yield element("figure", heading, shown)


def _energy(deployed: Sequence[Deployed]) -> Html:
    lines = list(
        dict.fromkeys(
            line.name for one in deployed if one.energy is not None for line in one.energy.lines
        )
    )

    def line(name: str) -> Callable[[Deployed], object]:
        def cell(one: Deployed) -> object:
            found = [] if one.energy is None else one.energy.lines
            return next((quantity(x.total) for x in found if x.name == name), NONE)

        return cell

    rows: list[tuple[str, Callable[[Deployed], object]]] = [
        *((name, line(name)) for name in lines),
        ("total", lambda one: "unknown" if one.energy is None else quantity(one.energy.total)),
        ("latency", lambda one: NONE if one.energy is None else quantity(one.energy.latency)),
    ]
    return section("energy", "5  Energy per inference", _by_target(deployed, rows))


def _resources(deployed: Sequence[Deployed]) -> Html:
    rows = [
        (
            one.name,
            item.name,
            f"{item.used:,}",
            NONE if item.available is None else f"{item.available:,}",
            item.unit,
            kind(item.kind),
        )
        for one in deployed
        if one.placement is not None
        for item in one.placement.total
    ]
    without = [one.name for one in deployed if one.placement is None]
    heads = ("program", "resource", "used", "available", "unit", "kind")
    note = f"No cores to place neurons on: {', '.join(without)}." if without else ""
    return section(
        "resources", "6  Resources", table(heads, rows, numeric=(2, 3)), element("p", note)
    )
