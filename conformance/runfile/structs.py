"""The lines of a run file as typed values; `reading` and `writing` turn them from and into JSON Lines.

    Header             what was run: spec, selection, clauses, the number of cells planned
    EnvironmentLine    one per worker: versions, settings, host; or why it did not start
    CaseLine           one per case, with its formulas, so that a report needs no spec
    Record             one per cell, as it ends
    ThroughputLine     one per pass that was timed, in a run of throughput, which has no record
    Footer             how many were recorded; without it the run did not end

The values hold no reference back to what holds them, so that the garbage collector has nothing to look for in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from msgspec import UNSET, UnsetType, field

from conformance.runfile.line import Dtype, Line, Part
from conformance.runfile.numbers import Number
from conformance.runfile.throughput_structs import ThroughputLine, ThroughputPlan
from conformance.runfile.timeline_structs import RecordedTimeline
from conformance.verdict import Standing, Verdict

FORMAT = 2

#: A grade of stability, from best to worst; empty where a cell is not graded.
Letter: TypeAlias = Literal["", "A", "D", "W", "O", "F"]
#: A recipe of data or a step, as the spec writes it.
SpecMapping: TypeAlias = dict[str, Any]


class CatalogueEntry(Part, frozen=True, kw_only=True):
    """A cause in words, as the catalogue had it when the run was made."""

    #: A template over the cause's parameters.
    words: str
    #: The template where `count` is 1; empty where `words` serves for that too.
    one: str = ""
    #: The parameters that differ from cell to cell of one fault.
    varies: tuple[str, ...] = ()
    #: What is done instead of what is right.
    instead: str = ""
    #: What a user of it will see.
    seen: str = ""
    #: The clause that it breaks.
    clause: str = ""
    #: Whether it says only that something is wrong, not what is done instead.
    symptom: bool = False


class RecordedSelection(Part, frozen=True, kw_only=True, omit_defaults=False):
    """What a person narrowed the run to, by option; `pytest` has the arguments that pytest was given."""

    implementations: tuple[str, ...] = ()
    cases: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    pytest: tuple[str, ...] = ()


class ReferenceArithmetic(Part, frozen=True, kw_only=True):
    """The arithmetic of the reference."""

    bits: int
    kind: str


class RecordedShard(Part, frozen=True, kw_only=True, omit_defaults=False):
    """Which share of a run a file holds, counted from 1, and whether the whole was narrowed."""

    number: int
    count: int
    narrowed: bool


class Header(Line, frozen=True, kw_only=True, tag="header"):
    """What was run."""

    format: int
    suite: str
    spec: str
    planned: int
    narrowed: bool
    #: Empty where the suite had no tiers.
    tier: str = ""
    selection: RecordedSelection = field(default_factory=RecordedSelection)
    clauses: dict[str, str] = field(default_factory=dict)
    sections: dict[str, str] = field(default_factory=dict)
    host: dict[str, str | int | None] = field(default_factory=dict)
    #: Each operation's own dialect, by field.
    dialects: dict[str, dict[str, str | int | bool | None]] = field(default_factory=dict)
    reference: ReferenceArithmetic | None = None
    #: In a run of throughput alone.
    throughput: ThroughputPlan | None = None
    #: The words of the causes that the records name.
    causes: dict[str, CatalogueEntry] = field(default_factory=dict)
    #: Globs over the ids of cases, in the order in which they are asked -> what the data are: ordinary, demanding, edges.
    data_kinds: dict[str, str] = field(default_factory=dict)
    #: Local time with its offset; empty where it is not known.
    started: str = ""
    shard: RecordedShard | UnsetType = UNSET


class DeclaredField(Part, frozen=True, kw_only=True, omit_defaults=False):
    """One field of a profile, as `conformance.protocol.Declared` has it."""

    field: str
    value: str | int | bool
    source: str
    where: str
    error: str | None = None
    ranks: tuple[int, ...] | None = None


class RecordedOffer(Part, frozen=True, kw_only=True, omit_defaults=False):
    """One implementation as its worker described it."""

    name: str
    op: str
    modes: tuple[str, ...]
    devices: tuple[str, ...]
    dtypes: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    #: State that each call is handed as an argument.
    given: tuple[str, ...] = ()
    profile: tuple[DeclaredField, ...] = ()
    documentation: str = ""
    timed: tuple[str, ...] = ()
    #: Kind of step -> its function, as the adapter's file names it.
    functions: dict[str, str] = field(default_factory=dict)
    #: State -> what the library saves it as, with `*` for the layer's own place.
    names: dict[str, str] = field(default_factory=dict)

    @property
    def keeps_state(self) -> bool:
        """Whether it keeps the moving values itself; else its caller does."""
        return all(declared.value == "layer" for declared in self.profile if declared.field == "state")


class EnvironmentLine(Line, frozen=True, kw_only=True, tag="environment", omit_defaults=True):
    """One process that ran an adapter, or why there is none."""

    id: str
    group: str | None = None
    #: File name of the adapter; None where it never got that far.
    adapter: str | None = None
    process: dict[str, str] = field(default_factory=dict)
    #: The number of threads that its cases ask for; None where they ask for none.
    threads: int | None = None
    library: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    host: dict[str, str] = field(default_factory=dict)
    #: The texts of all files of ours that the adapter reaches, by module, each after what it imports.
    sources: dict[str, str] = field(default_factory=dict)
    implementations: tuple[RecordedOffer, ...] = ()
    #: The last lines of what failed; None where nothing did.
    failed: str | None = None


class RecordedConfiguration(Part, frozen=True, kw_only=True, omit_defaults=False):
    """What a case asks of an implementation, as `conformance.protocol.Configuration` has it."""

    op: str
    shape: tuple[int, ...]
    feature_axes: tuple[int, ...]
    dtype: Dtype
    parameter_dtype: Dtype
    decay: float
    epsilon: float
    scale: bool
    center: bool
    memory: str | UnsetType = UNSET
    upstream_memory: str | UnsetType | None = UNSET
    input_dtype: str | UnsetType | None = UNSET
    options: SpecMapping | UnsetType = UNSET

    @property
    def reduction_axes(self) -> list[int]:
        """The axes that collapse."""
        return [axis for axis in range(len(self.shape)) if axis not in self.feature_axes]

    @property
    def feature_sizes(self) -> list[int]:
        """The size of each feature axis that the shape has."""
        return [self.shape[axis] for axis in self.feature_axes if axis < len(self.shape)]


class CaseLine(Line, frozen=True, kw_only=True, tag="case"):
    """One case of the spec. Its initial state and its steps are the spec's own words."""

    id: str
    family: str
    title: str
    source: str
    clauses: tuple[str, ...]
    op: str
    configuration: RecordedConfiguration
    initial: dict[str, SpecMapping]
    steps: tuple[SpecMapping, ...]
    formulas: dict[str, str]
    published: tuple[SpecMapping, ...]
    threads: int | UnsetType = UNSET

    @property
    def ratio(self) -> float:
        """The largest |mean|/std that the recipes of its inputs name; 0 where none does."""
        recipes = [step.get("input") for step in self.steps]
        ratios = [recipe.get("ratio") for recipe in recipes if isinstance(recipe, Mapping)]
        return max((abs(ratio) for ratio in ratios if isinstance(ratio, float | int)), default=0.0)


class NativeCall(Part, frozen=True, kw_only=True):
    """How a user writes it: the dotted path, the keywords as source text, and whether the arrays are still to come."""

    path: str
    keywords: dict[str, str] = field(default_factory=dict)
    function: bool = False

    @property
    def text(self) -> str:
        """The call on one line."""
        keywords = ", ".join(f"{name}={value}" for name, value in self.keywords.items())
        return f"{self.path}({'…, ' if self.function else ''}{keywords})"


class RecordedTerm(Part, frozen=True, kw_only=True):
    """One term of numbers that nothing explains, as `conformance.cause.Term` has it."""

    name: str
    observed: float
    right: float
    digits: int


class RecordedCause(Part, frozen=True, kw_only=True):
    """Why numbers are as they are: the id of a catalogue entry, and what its words leave open."""

    id: str
    parameters: dict[str, str | int | float | bool | tuple[RecordedTerm, ...]] = field(default_factory=dict)
    #: The quantities that it explains; empty where the cause is one quantity's own.
    quantities: tuple[str, ...] = ()


#: Causes that fit equally well, the plainest first.
Alternatives: TypeAlias = tuple[RecordedCause, ...]


class ListedDivergence(Part, frozen=True, kw_only=True):
    """An entry of the known divergences that lists a cell."""

    reason: str
    diagnosis: str
    upstream: str | None = None
    #: Id of the cause that it lists; empty where it lists cells.
    cause: str = ""


class WorstElement(Part, frozen=True, kw_only=True):
    """The element farthest from what it must be, in units of its bound."""

    index: tuple[int, ...]
    expected: Number
    observed: Number
    allowed: Number


class QuantityRecord(Part, frozen=True, kw_only=True):
    """One quantity at one step."""

    quantity: str
    verdict: Verdict
    score: Number | None = None
    #: Grade -> the score by the bound of that class, on cases that grade.
    by_grade: dict[str, Number] = field(default_factory=dict)
    worst: WorstElement | None = None
    #: Fields of the documented dialect without which the numbers would not fit.
    fields: tuple[str, ...] = ()
    causes: Alternatives = ()
    #: What acts on it besides: neither this nor `causes` explains the numbers alone.
    also: tuple[RecordedCause, ...] = ()
    #: A digest of its bits, on cases that are performed twice.
    bits: str = ""
    #: Empty where it was not given.
    dtype: str = ""
    shape: tuple[int, ...] = ()


class StepRecord(Part, frozen=True, kw_only=True):
    """One step; number 0 is the start."""

    number: int
    kind: str
    verdict: Verdict
    #: Whether the semantics or the implementation's documentation foresee the verdict, or the verdict says nothing.
    expected: bool
    quantities: tuple[QuantityRecord, ...]
    seconds: float | None = None
    message: str = ""
    #: The type of the exception that it raised, by name.
    raised: str = ""
    #: The seconds within which it gave no answer.
    deadline: float | None = None
    #: Checksum of its inputs.
    inputs: str = ""


class FirstTry(Part, frozen=True, kw_only=True):
    """What a cell gave in a process that other cells had run in, where it gave something else in a fresh one."""

    verdict: Verdict
    #: What was unexpected of it, in short.
    why: str = ""
    #: The cells that ran before it in that process, the last ones, where that is known.
    before: tuple[str, ...] = ()


class Record(Line, frozen=True, kw_only=True, tag="record", omit_defaults=True):
    """One judged cell."""

    cell: str
    case: str
    implementation: str
    mode: str
    device: str
    environment: str
    verdict: Verdict
    standing: Standing
    steps: tuple[StepRecord, ...]
    call: NativeCall | None = None
    #: Why quantities deviate: explanations, each a choice between causes that fit equally well.
    diagnosis: tuple[Alternatives, ...] = ()
    #: Of the stability ladder alone.
    grade: Letter = ""
    #: The dialect that the numbers show, by field.
    observed: dict[str, str] = field(default_factory=dict)
    #: Where a second performance gave other bits; empty where it gave the same, None where there was none.
    again: str | None = None
    divergence: tuple[ListedDivergence, ...] = ()
    #: Where a first try was disturbed: what it gave. The verdict is that of the second.
    first: FirstTry | None = None
    score: Number | None = None
    #: Seconds that judging took.
    judging: float | None = None
    #: The machine that performed it, where the run was one of several.
    machine: str = ""

    @property
    def column(self) -> str:
        """Implementation, mode and device."""
        return f"{self.implementation}-{self.mode}-{self.device}"

    @property
    def known(self) -> bool:
        """Whether it deviates as a listed divergence says."""
        return self.standing is Standing.KNOWN

    @property
    def expected(self) -> bool:
        """Whether the semantics or the documentation have every step so; a listed divergence is not expected."""
        return all(step.expected for step in self.steps)


class Footer(Line, frozen=True, kw_only=True, tag="footer", omit_defaults=True):
    """What was recorded, when the run ended."""

    recorded: int
    ended: bool
    verdicts: dict[str, int] = field(default_factory=dict)
    timed: int | None = None
    #: Local time with its offset.
    finished: str = ""
    timeline: RecordedTimeline | None = None


AnyLine: TypeAlias = Header | EnvironmentLine | CaseLine | Record | ThroughputLine | Footer
