"""Run files of format 1, which told causes in sentences and the native call as a user writes it.

Reading turns them into the typed lines of the present format. A sentence that a program acts on becomes a cause of its
own; every cause keeps the sentence as its only words.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable, Iterator
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import field
from msgspec.structs import replace as replaced

from conformance.runfile.line import Dtype
from conformance.runfile.numbers import Number
from conformance.runfile.sentences import CATALOGUE, alternatives, deadline, explanations, raised
from conformance.runfile.structs import (
    Alternatives,
    AnyLine,
    CaseLine,
    EnvironmentLine,
    Footer,
    Header,
    Letter,
    ListedDivergence,
    NativeCall,
    QuantityRecord,
    Record,
    StepRecord,
    WorstElement,
)
from conformance.runfile.throughput_structs import (
    BatchStatistics,
    BatchTimes,
    Measurement,
    PassName,
    Shares,
    ThroughputLine,
    TimingStanding,
    WarmUp,
)
from conformance.verdict import Verdict, standing


class _Part(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    pass


class _Quantity(_Part, frozen=True, kw_only=True):
    quantity: str
    verdict: Verdict
    score: Number | None = None
    by_grade: dict[str, Number] = {}
    worst: WorstElement | None = None
    fields: tuple[str, ...] = ()
    reason: str = ""
    bits: str = ""
    dtype: str = ""
    shape: tuple[int, ...] = ()


class _Step(_Part, frozen=True, kw_only=True):
    number: int
    kind: str
    verdict: Verdict
    expected: bool
    quantities: tuple[_Quantity, ...]
    seconds: float | None = None
    message: str = ""
    inputs: str = ""


class _Record(_Part, frozen=True, kw_only=True, tag_field="kind", tag="record"):
    cell: str
    case: str
    implementation: str
    mode: str
    device: str
    environment: str
    verdict: Verdict
    #: The outcome that was reported to pytest.
    status: Literal["passed", "failed", "xfailed", "skipped"]
    steps: tuple[_Step, ...]
    call: str = ""
    diagnosis: str = ""
    grade: Letter = ""
    observed: dict[str, str] = {}
    again: str | None = None
    divergence: tuple[ListedDivergence, ...] = ()
    score: Number | None = None
    judging: float | None = None


class _Timing(_Part, frozen=True, kw_only=True, tag_field="kind", tag="throughput"):
    timed: str
    case: str
    implementation: str
    mode: str
    device: str
    environment: str
    pass_: PassName = field(name="pass")
    op: str
    dtype: Dtype
    shape: tuple[int, ...]
    standing: TimingStanding
    feature_axes: tuple[int, ...] = ()
    why: str = ""
    seconds: float | None = None
    batches: tuple[BatchTimes, ...] = ()
    statistics: tuple[BatchStatistics, ...] = ()
    warmed: WarmUp | None = None
    tensor_bytes: int | None = None
    traffic: Shares | None = None
    fractions: Shares | None = None
    verdict: Verdict | None = None
    score: Number | None = None


class _Environment(EnvironmentLine, frozen=True, kw_only=True, tag="environment"):
    #: The adapter's only file.
    source: str = ""


_AnyLine: TypeAlias = Header | _Environment | CaseLine | _Record | _Timing | Footer
_LINE: msgspec.json.Decoder[Any] = msgspec.json.Decoder(_AnyLine)


def decode(line: bytes) -> AnyLine:
    """Return the line. Raises `msgspec.DecodeError`."""
    match _LINE.decode(line):
        case _Record() as record:
            return _record(record)
        case _Timing() as timing:
            return _timing(timing)
        case Header() as header:
            return replaced(header, causes=dict(CATALOGUE))
        case _Environment() as environment:
            return _environment(environment)
        case CaseLine() | Footer() as same:
            return same
        case unknown:
            raise TypeError(f"a decoder of lines gave {unknown!r}")


@functools.cache
def call_from(text: str) -> NativeCall | None:
    """Return the native call that a text writes; None where it is empty. Raises `msgspec.ValidationError`.

    A call whose arrays are still to come begins with an ellipsis: `torch.nn.functional.batch_norm(…, eps=0.001)`.
    """
    if not text:
        return None
    path, parenthesis, rest = text.partition("(")
    function = rest.startswith("…, ")
    arguments = rest.removeprefix("…, ")
    source = f"f({arguments}"
    try:
        parsed = ast.parse(source, mode="eval").body
        keywords = dict(_keywords(parsed, source))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise msgspec.ValidationError(f"{text!r} is no call") from error
    call = NativeCall(path=path, keywords=keywords, function=function)
    if not parenthesis or call.text != text:
        raise msgspec.ValidationError(f"{text!r} is no call with keywords alone")
    return call


def _keywords(parsed: ast.expr, source: str) -> Iterator[tuple[str, str]]:
    if isinstance(parsed, ast.Call):
        for keyword in parsed.keywords:
            yield keyword.arg or "", ast.get_source_segment(source, keyword.value) or ""


def _environment(environment: _Environment) -> EnvironmentLine:
    fields = {name: getattr(environment, name) for name in EnvironmentLine.__struct_fields__}
    if environment.source:
        fields["sources"] = {environment.adapter or "": environment.source}
    return EnvironmentLine(**fields)


def _record(record: _Record) -> Record:
    reasons: dict[str, list[str]] = {}
    for step in record.steps:
        for quantity in step.quantities:
            if quantity.reason and quantity.verdict is Verdict.DEVIATES:
                reasons.setdefault(quantity.reason, []).append(quantity.quantity)
    return Record(
        cell=record.cell,
        case=record.case,
        implementation=record.implementation,
        mode=record.mode,
        device=record.device,
        environment=record.environment,
        verdict=record.verdict,
        standing=standing(record.status, record.verdict),
        steps=tuple(_steps(record.steps)),
        call=call_from(record.call),
        diagnosis=explanations(record.diagnosis, reasons) if record.diagnosis else (),
        grade=record.grade,
        observed=record.observed,
        again=record.again,
        divergence=record.divergence,
        score=record.score,
        judging=record.judging,
    )


def _steps(steps: Iterable[_Step]) -> Iterator[StepRecord]:
    for step in steps:
        yield StepRecord(
            number=step.number,
            kind=step.kind,
            verdict=step.verdict,
            expected=step.expected,
            quantities=tuple(
                QuantityRecord(
                    quantity=quantity.quantity,
                    verdict=quantity.verdict,
                    score=quantity.score,
                    by_grade=quantity.by_grade,
                    worst=quantity.worst,
                    fields=quantity.fields,
                    causes=_causes(quantity.reason) if quantity.reason else (),
                    bits=quantity.bits,
                    dtype=quantity.dtype,
                    shape=quantity.shape,
                )
                for quantity in step.quantities
            ),
            seconds=step.seconds,
            message=step.message,
            raised=raised(step.verdict, step.message, [quantity.reason for quantity in step.quantities]),
            deadline=deadline(step.verdict, step.message),
            inputs=step.inputs,
        )


@functools.lru_cache(maxsize=10_000)
def _causes(reason: str) -> Alternatives:
    return alternatives(reason)


def _timing(timing: _Timing) -> ThroughputLine:
    measurement = None
    if timing.standing != "unmeasured":
        if timing.seconds is None or timing.fractions is None or timing.warmed is None or timing.verdict is None:
            raise msgspec.ValidationError(f"the timing {timing.timed} is {timing.standing} and lacks its numbers")
        measurement = Measurement(
            seconds=timing.seconds,
            fractions=timing.fractions,
            warmed=timing.warmed,
            verdict=timing.verdict,
            score=timing.score,
            batches=timing.batches,
            statistics=timing.statistics,
            tensor_bytes=timing.tensor_bytes,
            traffic=timing.traffic,
        )
    return ThroughputLine(
        timed=timing.timed,
        case=timing.case,
        implementation=timing.implementation,
        mode=timing.mode,
        device=timing.device,
        environment=timing.environment,
        pass_=timing.pass_,
        op=timing.op,
        dtype=timing.dtype,
        shape=timing.shape,
        standing=timing.standing,
        feature_axes=timing.feature_axes,
        why=timing.why,
        measurement=measurement,
    )
