"""Values as tables for people and as plain data for machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.markup import escape

from neurodeploy.bounds import UNBOUNDED
from neurodeploy.cli.output import Output
from neurodeploy.linear import describe
from neurodeploy.network import Connection, Network, Population
from neurodeploy.program import Program
from neurodeploy.quantity import engineering
from neurodeploy.semantics import Difference, from_metadata
from neurodeploy.target import evidence_of

if TYPE_CHECKING:
    from neurodeploy.costs.estimate import EnergyReport
    from neurodeploy.equivalence.certificate import Certificate, Overflow
    from neurodeploy.equivalence.distances import Distances
    from neurodeploy.equivalence.stage import Stage
    from neurodeploy.equivalence.statistics import Proportion
    from neurodeploy.equivalence.verdict import Verdict
    from neurodeploy.frontends.nir_write import Written
    from neurodeploy.mapping.placement import Placement
    from neurodeploy.quantity import Quantity
    from neurodeploy.target import Proposal

BADGES = {
    "passed": "[bold green]PASSED[/]",
    "failed": "[bold red]FAILED[/]",
    "not run": "[bold yellow]NOT RUN[/]",
    "not applicable": "[dim]NOT APPLICABLE[/]",
    "incomplete": "[bold yellow]INCOMPLETE[/]",
}


def network(output: Output, net: Network) -> None:
    """Populations with their semantics, and connections."""
    rows = [
        (
            p.name,
            "x".join(map(str, p.shape)),
            _span(p.current_decay),
            _span(p.decay),
            _span(p.threshold) if p.spiking else "none",
            p.semantics.reset
            if p.semantics.reset == "none"
            else f"{p.semantics.reset}, {p.semantics.reset_timing}",
            _fires(p),
            f"{p.semantics.dt:g}",
            _said_by(net, p.name),
        )
        for p in net.populations
    ]
    titles = ("name", "shape", "α", "β", "θ", "reset", "fires at v", "dt in s", "said by")
    output.table("populations", titles, rows)
    output.table(
        "connections",
        ("from", "to", "maps"),
        [(c.source, c.target, _maps(c)) for c in net.connections],
    )
    from neurodeploy.frontends.comparisons import comparisons

    for kind, comparison in comparisons(net.graph).items():
        output.say(f"compared with its source on {kind}: {comparison}")


def _fires(population: Population) -> str:
    several = ", several a step" if population.semantics.spikes_per_step > 1 else ""
    return population.semantics.comparison + several if population.spiking else "never"


def _said_by(net: Network, name: str) -> str:
    """Who said what a time step means: the file, a preset, or the caller."""
    node = net.graph.nodes[name]
    entries = from_metadata(node.metadata, node=name) or {}
    return str(entries.get("semantics_from", "file" if "semantics" in entries else ""))


def _maps(connection: Connection) -> str:
    """What a connection applies, and how many steps later it arrives."""
    maps = [describe(op) for op in connection.ops]
    return " → ".join(maps + [f"delay {connection.delay}"] * bool(connection.delay))


def network_data(net: Network, differences: Sequence[Difference]) -> dict[str, Any]:
    """A network as plain data."""
    from neurodeploy.frontends.comparisons import comparisons

    return {
        "inputs": {port.name: port.shape for port in net.inputs},
        "outputs": net.outputs,
        "populations": [
            {
                "name": p.name,
                "shape": p.shape,
                "semantics": p.semantics.to_dict(),
                "semantics_from": _said_by(net, p.name),
                "readout": p.readout,
            }
            for p in net.populations
        ],
        "connections": [
            {
                "source": c.source,
                "target": c.target,
                "maps": [describe(op) for op in c.ops],
                "delay": c.delay,
            }
            for c in net.connections
        ],
        "comparisons": {kind: c.to_dict() for kind, c in comparisons(net.graph).items()},
        "differences": [vars(difference) for difference in differences],
    }


def differences(output: Output, found: Sequence[Difference], target: str) -> None:
    """Where the semantics of model and target part."""
    rows = [(d.node, d.field, d.model, d.target) for d in found]
    output.table(f"semantics: model against {target}", ("node", "field", "model", target), rows)


def written(output: Output, file: Written) -> None:
    """How a written graph says its semantics, and what a literal importer makes of it."""
    rows = [
        (
            s.population,
            " → ".join(s.nodes),
            s.reset,
            f"only in metadata: {', '.join(s.only_in_metadata)}"
            if s.only_in_metadata
            else "in the graph",
        )
        for s in file.statements
    ]
    output.table(f"{file.profile} profile", ("population", "nodes", "reset", "said"), rows)
    if file.deviation:
        output.table(
            "deviation of an importer that takes the neurons literally (simulated)",
            ("population", "cells", "differing", "rate", "spikes, model", "spikes, literal"),
            [
                (x.population, x.cells, x.mismatches, f"{x.rate:.3%}", x.expected_spikes, x.spikes)
                for x in file.deviation
            ],
        )
    if file.objection is not None:
        output.say(
            f"note: the type check of nir.read does not accept it ({escape(file.objection)}); "
            "with type_check=False it is read"
        )


def written_data(file: Written) -> dict[str, Any]:
    """A written graph as plain data."""
    return {
        "file": str(file.path),
        "profile": file.profile,
        "sha256": file.digest,
        "populations": [vars(statement) for statement in file.statements],
        "deviation": [layer.to_dict() for layer in file.deviation],
        "objection": file.objection,
    }


def _varied(output: Output, title: str, rows: Sequence[Mapping[str, object]]) -> None:
    """A table without the columns that say nothing in any row."""
    heads = [head for head in (rows[0] if rows else ()) if any(row[head] != "" for row in rows)]
    output.table(title, heads, [tuple(row[head] for head in heads) for row in rows])


def _span(values: np.ndarray[Any, Any]) -> str:
    low, high = float(values.min()), float(values.max())
    return f"{low:g}" if low == high else f"{low:g} … {high:g}"


REGISTERS = ("du", "dv", "vth", "decay", "current_decay", "threshold")
"""Those that a table of populations shows, where they have them."""


def program(output: Output, compiled: Program) -> None:
    """Populations, synapses, how semantics were lowered, what is proven and how sure that is."""
    other = any(p.model != "lif" for p in compiled.populations)
    _varied(
        output,
        f"program for {compiled.target}",
        [
            {
                "population": p.name,
                "shape": "x".join(map(str, p.shape)),
                "depth": p.depth,
                "model": p.model if other else "",
                **{r: _span(p.parameters[r]) if r in p.parameters else "" for r in REGISTERS},
            }
            for p in compiled.populations
        ],
    )
    _varied(
        output,
        "synapses",
        [
            {
                "name": s.name,
                "kind": s.kind,
                "weights": "x".join(map(str, s.weight.shape)),
                "range": _span(s.weight),
                "exponent": s.exponent,
                "delay": _span(s.delay) if s.delay.any() else "",
                "port": "" if s.port == "current" else s.port,
                "takes": "messages" if s.graded else "",
            }
            for s in compiled.synapses
        ],
    )
    output.table(
        "lowering",
        ("population", "subject", "", "how"),
        [(x.node, x.subject, x.how, x.text) for x in compiled.lowerings],
    )
    output.table(
        "register ranges",
        ("population", "register", "low", "high", "used", ""),
        [
            (
                r.node,
                r.register,
                f"{r.low:,.0f}",
                f"{r.high:,.0f}",
                f"{max(0.0, r.low / r.limit_low, r.high / r.limit_high):.0%}",
                "proven for every input" if r.proven else "seen on the calibration data",
            )
            for r in compiled.ranges
        ],
    )
    known = evidence_of(compiled)
    if known:
        output.table(
            f"how sure it is that {compiled.target} does this",
            ("", "basis", "what is known"),
            [(item.subject, item.basis, item.text) for item in known],
        )


def certificate(output: Output, found: Certificate) -> None:
    """What is proven over all inputs, register by register, and what was only tested or neither."""
    output.table(
        f"certificate over all inputs: {found.status}",
        ("node", "register", "low", "high", "holds", "more", "verdict"),
        [
            (
                b.node,
                b.register,
                *(f"{x:,.0f}" if abs(x) < UNBOUNDED else "no bound" for x in (b.low, b.high)),
                " … ".join(f"{x:,.0f}" if abs(x) < UNBOUNDED else f"{x:.3g}" for x in b.limits),
                b.beyond,
                b.status if b.overflow is None else f"refuted: {_overflow(b.overflow)}",
            )
            for b in found.bounds
        ],
    )
    for name in found.unknown:
        output.say(f"  neither: of the registers of {name} no bounds are known")
    for text in found.tested:
        output.say(f"  tested, not proven: {text}")


def _overflow(found: Overflow) -> str:
    neuron = ",".join(map(str, found.neuron))
    return f"neuron {neuron} was to hold {found.value:,} at step {found.step} (simulated)"


def program_data(compiled: Program) -> dict[str, Any]:
    """A program as plain data, without its arrays."""
    return {
        "target": compiled.target,
        "hash": compiled.hash,
        "inputs": compiled.input_shapes,
        "grids": {name: vars(grid) for name, grid in compiled.grids.items()},
        "outputs": compiled.outputs,
        "populations": [
            {"name": p.name, "shape": p.shape, "depth": p.depth, "model": p.model}
            for p in compiled.populations
        ],
        "synapses": [
            {
                "name": s.name,
                "kind": s.kind,
                "shape": s.weight.shape,
                "exponent": s.exponent,
                "delay": int(s.delay.max()),
                "port": s.port,
                "graded": s.graded,
            }
            for s in compiled.synapses
        ],
        "lowerings": [vars(item) for item in compiled.lowerings],
        "ranges": [vars(item) for item in compiled.ranges],
        "evidence": [vars(item) for item in evidence_of(compiled)],
        "provenance": dict(compiled.provenance),
    }


def stage(output: Output, one: Stage) -> None:
    """One comparison in a line."""
    output.say(f"  {BADGES[one.status]} {one.title}: {one.text}")


def verdict(output: Output, result: Verdict) -> None:
    """Accuracy, the stages, and mismatches per layer of the lossy one."""
    output.say(f"\n[bold]Does it work on the chip?[/] {BADGES[result.status]}")
    if result.accuracy is not None and result.reference_accuracy is not None:
        output.say(f"  accuracy, reference  {_proportion(result.reference_accuracy)}  (simulated)")
        output.say(f"  accuracy, program    {_proportion(result.accuracy)}  (simulated)")
    output.say(f"  equal decisions      {_proportion(result.agreement)}  (simulated)")
    if result.paired is not None:
        output.say(
            f"  right only in the reference {result.paired.lost:,}, only in the program "
            f"{result.paired.gained:,}: McNemar's exact p = {result.paired.p_value:.3g}"
        )
    output.say(
        f"  an interval of ±1 % around the equal decisions needs {result.samples_needed:,} samples"
    )
    output.say("\n[bold]How equal is it?[/]")
    for one in result.stages:
        stage(output, one)
    lowering = result.stage("lowering")
    output.table(
        "reference against program (simulated)",
        ("population", "cells", "differing", "rate", "spikes, reference", "spikes, program"),
        [
            (x.population, x.cells, x.mismatches, f"{x.rate:.3%}", x.expected_spikes, x.spikes)
            for x in lowering.layers
        ],
    )
    distances(output, result.distances)
    if lowering.first is not None:
        output.say(f"  first difference: {lowering.first}")
    if result.causes.first is not None:
        output.say(f"    {result.causes.first}")
    if str(result.causes):
        output.say("\n[bold]Why is it different?[/]  (each differing cell by itself, simulated)")
    for line in str(result.causes).splitlines():
        output.say(f"  {escape(line)}")


def distances(output: Output, found: Sequence[Distances]) -> None:
    """Spike trains, per neuron and sample."""
    if found:
        output.table(
            f"spike trains, mean per neuron and sample; τ = {found[0].time_constant:g} steps, "
            "q = 1/τ (simulated)",
            ("population", "equal", "count error", "count bias", "van Rossum²", "Victor-Purpura"),
            [
                (
                    x.population,
                    f"{x.equal:.3%}",
                    f"{x.count_error:.4g}",
                    f"{x.count_bias:+.4g}",
                    f"{x.van_rossum:.4g}",
                    f"{x.victor_purpura:.4g}",
                )
                for x in found
            ],
        )


def _proportion(value: Proportion) -> str:
    low, high = value.interval
    return (
        f"{value.value:7.2%}  [{low:.2%}, {high:.2%}]  {value.successes} of {value.trials}".replace(
            "[", "\\["
        )
    )


def resources(output: Output, placement: Placement) -> None:
    """What a program uses of its chip."""
    rows = [
        (
            name,
            item.name,
            item.used,
            "" if item.available is None else f"{item.available:,}",
            "" if item.available is None else f"{item.used / item.available:.1%}",
            item.kind,
        )
        for name, items in (*placement.resources.items(), ("total", placement.total))
        for item in items
    ]
    output.table("resources", ("population", "resource", "used", "available", "", "kind"), rows)
    crossed = placement.links
    output.say(
        f"golden inputs: {crossed.hops:,} hops between routers, at most {crossed.busiest:,} "
        "packets on one link"
    )


def proposals(output: Output, settings: Sequence[Proposal]) -> None:
    """What the one who runs a program should set."""
    rows = [(p.node, p.what, *interval(p.value)) for p in settings]
    output.table("proposed", ("node", "what", "value", "interval", "kind"), rows)


def energy(output: Output, report: EnergyReport) -> None:
    """Lines with their intervals, the total, what is measured or compared, what was counted."""
    output.say("\n[bold]What does one inference cost?[/]  median, 5 to 95 %")
    rows: list[tuple[str, ...]] = []

    def add(name: str, value: Quantity, nominal: Quantity | None = None) -> None:
        rows.append((name, *interval(value), "" if nominal is None else interval(nominal)[0]))

    for line in report.lines:
        add(line.name, line.total, line.nominal)
        for name, part in line.parts.items():
            add(f"  {name}", part, line.nominal_parts[name])
    add("total", report.total, report.nominal)
    add("latency", report.latency)
    add("power", report.power)
    for name, value in report.measured.items():
        add(f"measured: {name}", value)
    columns = ("", "per inference", "interval", "kind", "at typical constants")
    output.table(report.chip, columns, rows)
    largest = report.dominant
    output.say(f"  largest part: {largest.part} ({largest.line}), {largest.share.typical:.0%}")
    output.table(
        "for comparison only",
        ("", "per inference", "interval", "kind"),
        [(name, *interval(value)) for name, value in report.comparisons.items()],
    )
    counted = [
        (name, f"{q.typical:,.1f}", f"{q.low:,.0f} … {q.high:,.0f}", q.kind)
        for name, q in report.counted.items()
    ]
    title = f"counts per inference, over {report.samples} samples"
    output.table(title, ("", "mean", "range", "kind"), counted)
    if report.metrics is not None:
        output.table(
            "NeuroBench's metrics",
            ("", "value", "kind"),
            [
                (
                    name.replace("_", " "),
                    f"{q.typical:,.4g} {q.unit if q.unit != '1' else ''}",
                    q.kind,
                )
                for name, q in vars(report.metrics).items()
            ],
        )
    for note in report.notes:
        output.say(f"  note: {note}")


def interval(value: Quantity) -> tuple[str, str, str]:
    return (
        engineering(value.typical, value.unit),
        f"{engineering(value.low, value.unit)} … {engineering(value.high, value.unit)}",
        value.kind,
    )
