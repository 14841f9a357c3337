"""What one implementation's page shows: all that the run says of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from conformance.report.dialects import Dialect
from conformance.report.findings import Finding
from conformance.report.frameworks import Agreement, Framework
from conformance.report.model import Environment, Report, framework_of
from conformance.report.naming import Named
from conformance.report.probes import Probed
from conformance.report.ranked import RankedFinding
from conformance.runfile.observed import Column
from conformance.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Implementation:
    """One implementation in all its modes, on all its devices."""

    name: str
    slug: str
    framework: str
    library: str
    op: str
    agreement: Agreement
    #: What it does wrong, once for each cause, what harms most people first.
    wrong: tuple[RankedFinding, ...]
    columns: tuple[Column, ...]
    #: By the name of the column.
    counts: Mapping[str, Mapping[Verdict, int]]
    environments: tuple[Environment, ...]
    dialect: Dialect | None
    probed: Probed | None
    named: Named | None
    unexpected: tuple[Finding, ...]
    stale: tuple[Finding, ...]
    known: tuple[Finding, ...]
    documented: tuple[Finding, ...]

    @property
    def ordinary(self) -> tuple[RankedFinding, ...]:
        """What it does wrong on ordinary data, which is what most people have."""
        return tuple(finding for finding in self.wrong if finding.worst.data == "ordinary")


def implementations(
    report: Report, names: Iterable[Named], libraries: Iterable[Framework]
) -> tuple[Implementation, ...]:
    """Return the implementations in the order of the matrix. `libraries` tell how much of each is right."""
    columns: dict[str, list[Column]] = {}
    for column in report.matrix.columns:
        columns.setdefault(column.implementation, []).append(column)
    counts: dict[str, Counter[Verdict]] = {column.name: Counter() for column in report.matrix.columns}
    ran: dict[str, set[str]] = {name: set() for name in columns}
    ops: dict[str, str] = {}
    for cell in report.cells:
        counts[cell.column.name][cell.verdict] += 1
        ran[cell.column.implementation].add(report.environment(cell))
        ops[cell.column.implementation] = cell.case.op
    dialects = {dialect.implementation: dialect for dialect in report.dialects}
    probed = {probe.implementation: probe for probe in report.probed}
    named = {naming.implementation: naming for naming in names}
    agreements = {
        layer.name: layer.agreement for library in libraries for group in library.layers for layer in group.all
    }
    return tuple(
        Implementation(
            name=name,
            slug=report.slugs[name],
            framework=framework_of(own_columns[0]),
            library=", ".join(dict.fromkeys(column.library for column in own_columns)),
            op=ops[name],
            agreement=agreements[name],
            wrong=tuple(finding for finding in report.ranked if finding.implementation == name),
            columns=tuple(own_columns),
            counts={column.name: counts[column.name] for column in own_columns},
            environments=tuple(environment for environment in report.environments if environment.id in ran[name]),
            dialect=dialects.get(name),
            probed=probed.get(name),
            named=named.get(name),
            unexpected=_findings_of(name, report.unexpected),
            stale=_findings_of(name, report.stale),
            known=_findings_of(name, report.known),
            documented=_findings_of(name, report.documented),
        )
        for name, own_columns in columns.items()
    )


def _findings_of(name: str, findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(finding for finding in findings if finding.implementation == name)
