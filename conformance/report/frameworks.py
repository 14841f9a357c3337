"""What the front page says of each framework, and what its own page begins with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from conformance.report.links import slugs
from conformance.report.ranked import RankedFinding
from conformance.report.searched import FAMILIES
from conformance.report.throughput import Shares
from conformance.runfile.ladder import Graded
from conformance.runfile.observed import Column, RecordedCell
from conformance.verdict import Standing

#: From the most stable to what is none of them.
_LETTERS = "ADWOF"
#: What stands between a layer and a variant of it, as `torch.nn.BatchNorm+checkpoint`.
_VARIANT = "+"


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How many judged cells there are, and how many of them are right."""

    judged: int
    #: Exact, within the bound, or as documented.
    right: int
    #: Of these, those that differ as their documentation says.
    documented: int

    @property
    def percent(self) -> str:
        """The share that is right; 100 % where all are, and never where one is not."""
        share = 100 * self.right / self.judged if self.judged else 0.0
        return "100" if self.right == self.judged else f"{min(share, 99.9):.1f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One implementation with the variants of it, as plain names begin theirs."""

    name: str
    agreement: Agreement
    #: Grades of stability in float32, one for each mode and device, without repetition.
    grades: str
    variants: tuple[Layer, ...] = ()

    @property
    def all(self) -> tuple[Layer, ...]:
        """The layer itself and its variants."""
        return (self, *self.variants)


@dataclass(frozen=True, slots=True, kw_only=True)
class Framework:
    """One library."""

    name: str
    slug: str
    #: With the version.
    library: str
    agreement: Agreement
    layers: tuple[Layer, ...]
    implementations: int
    #: The worst grade of its layers in float32; empty where none was graded.
    grade: str
    #: The median fraction of the memory's bandwidth that its scored inference reaches; None where none was timed.
    speed: float | None
    #: What harms most people first.
    findings: tuple[RankedFinding, ...]

    @property
    def new(self) -> int:
        """The number of its findings that are not known."""
        return sum(finding.new for finding in self.findings)


def frameworks(
    columns: Sequence[Column],
    cells: Iterable[RecordedCell],
    grades: Iterable[Graded],
    shares: Iterable[Shares],
    findings: Iterable[RankedFinding],
    dtypes: Sequence[str],
) -> tuple[Framework, ...]:
    """Return the frameworks in the order of the columns."""
    cells_by_name: dict[str, list[RecordedCell]] = {column.implementation: [] for column in columns}
    for cell in cells:
        cells_by_name[cell.column.implementation].append(cell)
    letters: dict[str, set[str]] = {}
    position = dtypes.index("float32") if "float32" in dtypes else None
    for graded in grades:
        grade = graded.grades[position] if position is not None else None
        letters.setdefault(graded.column.implementation, set()).update(grade.letter if grade else "")
    names: dict[str, list[Column]] = {}
    for column in columns:
        names.setdefault(column.library.partition(" ")[0], []).append(column)
    slug_by_name = slugs(list(names))
    shares, findings = list(shares), list(findings)
    return tuple(
        _framework(
            name,
            slug_by_name[name],
            own,
            {implementation: cells_by_name[implementation] for implementation in _implementations(own)},
            letters,
            [share for share in shares if share.implementation in _implementations(own)],
            tuple(finding for finding in findings if finding.implementation in _implementations(own)),
        )
        for name, own in names.items()
    )


def agreement(cells: Sequence[RecordedCell]) -> Agreement:
    """Return how many of those cells are right; a refusal that the documentation announces is.

    Counted are the written cases, where there are any: how many identities are checked beside them depends on the time.
    """
    everything = [cell for cell in cells if cell.verdict.judged]
    judged = [cell for cell in everything if cell.case.family not in FAMILIES] or everything
    documented = sum(cell.verdict == "dialect" or cell.standing is Standing.DOCUMENTED for cell in judged)
    right = sum(cell.verdict.agrees or cell.standing is Standing.DOCUMENTED for cell in judged)
    return Agreement(judged=len(judged), right=right, documented=documented)


def _implementations(columns: Iterable[Column]) -> dict[str, None]:
    return dict.fromkeys(column.implementation for column in columns)


def _framework(
    name: str,
    slug: str,
    columns: Sequence[Column],
    cells_by_name: dict[str, list[RecordedCell]],
    letters: dict[str, set[str]],
    shares: Sequence[Shares],
    findings: tuple[RankedFinding, ...],
) -> Framework:
    inference = [share.fractions["infer"][0] for share in shares if "infer" in share.fractions]
    reached = {letter for implementation in cells_by_name for letter in letters.get(implementation, ())}
    return Framework(
        name=name,
        slug=slug,
        library=", ".join(dict.fromkeys(column.library for column in columns)),
        agreement=agreement([cell for cells in cells_by_name.values() for cell in cells]),
        layers=tuple(_layers(cells_by_name, letters)),
        implementations=len(cells_by_name),
        grade=max(reached, key=_LETTERS.index, default=""),
        speed=median(inference) if inference else None,
        findings=findings,
    )


def _layers(cells_by_name: dict[str, list[RecordedCell]], letters: dict[str, set[str]]) -> Iterable[Layer]:
    """Yield the plain implementations, each with its variants; a variant whose plain one is absent stands alone."""
    groups: dict[str, list[str]] = {}
    for name in cells_by_name:
        groups.setdefault(name.partition(_VARIANT)[0], []).append(name)
    for plain, names in groups.items():
        first, *variants = sorted(names, key=lambda name: (name != plain, name.count(_VARIANT)))
        yield Layer(
            name=first,
            agreement=agreement(cells_by_name[first]),
            grades=_worst_last(letters.get(first, set())),
            variants=tuple(
                Layer(name=name, agreement=agreement(cells_by_name[name]), grades=_worst_last(letters.get(name, set())))
                for name in variants
            ),
        )


def _worst_last(letters: Iterable[str]) -> str:
    return "".join(sorted(letters, key=_LETTERS.index))
