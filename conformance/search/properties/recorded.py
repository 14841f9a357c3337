"""`conformance properties`: what was checked, as a run file like any other, so that a report shows it beside the cells.

A property is a row: a case of the family `properties`, whose record has the largest distance that any example showed.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from conformance.cause import Explanation, because
from conformance.errors import Place, UsageError, WorkerError
from conformance.execution.pool import Limits, Workers
from conformance.execution.survey import survey
from conformance.files.whole import write_whole
from conformance.judging.judgement import Judged, Judgement, StepJudgement
from conformance.operations.score import Worst
from conformance.planning.discovery import holding, keys, one_thread
from conformance.planning.plan import Offer, Selection
from conformance.run.programs import check_interpreters
from conformance.runfile import lines
from conformance.runfile.notes import describe
from conformance.runfile.structs import Record
from conformance.runfile.writing import Judges, RunWriter, check_replaceable
from conformance.search.bench import Bench
from conformance.search.finding import known_of
from conformance.search.properties.check import Checked, check
from conformance.search.written import yaml_of
from conformance.spec.case import Case
from conformance.spec.causes import catalogue
from conformance.spec.divergences import Known, Listed, load_divergences
from conformance.spec.loader import Located, load
from conformance.spec.locations import spec_folder
from conformance.verdict import Standing, Verdict

_UNSAFE = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class PropertyOptions:
    """What a person asked of a check of properties."""

    selection: Selection
    interpreters: Mapping[str, str]
    adapters: tuple[str, ...]
    examples: int
    #: None for the same examples in every run.
    seed: int | None
    out: Path
    limits: Limits
    folder: Path
    #: Seconds after which no further property is begun, divided among the processes; None for as long as it takes.
    within: float | None = None


def properties(options: PropertyOptions) -> int:
    """Check, write the run file, and return the exit code. Raises `UsageError`."""
    check_interpreters(options.interpreters, options.adapters)
    check_replaceable(options.out, Judges.CELLS, narrowed=True)
    divergences = load_divergences(spec_folder() / "divergences.yaml", [], catalogue())
    offers: list[Offer] = []
    checked: list[tuple[Checked, Record]] = []
    missed: dict[str, list[str]] = {}
    offered = keys(options.interpreters, options.adapters)
    asked = [one_thread(key) for key in holding(offered, options.selection.implementations, options.adapters)]
    end = math.inf if options.within is None else time.monotonic() + options.within
    for number, key in enumerate(asked):
        with Workers(1, options.folder, options.limits, kept=True) as workers:
            (answer,) = survey([key], [], workers)
            if isinstance(answer, WorkerError):
                if key.asked:
                    raise UsageError(str(answer))
                continue
            bench = Bench(offer=answer, selection=options.selection, workers=workers, divergences=divergences)
            share = (end - time.monotonic()) / (len(asked) - number)
            rows = list(_rows(bench, options, divergences, time.monotonic() + share, missed.setdefault(key.name, [])))
        if rows:
            offers.append(answer)
            checked += rows
    if not checked:
        raise UsageError("nothing selected: no implementation that matches has properties to check")
    _write(options.out, offers, checked, options.selection)
    left = ", ".join(f"{len(ids)} of {process}" for process, ids in missed.items() if ids)
    if left:
        print(f"properties not begun within {options.within:g} s: {left}")
    print(_told(checked, options.out))
    return 1 if any(record.standing is Standing.UNEXPECTED for _, record in checked) else 0


def _rows(
    bench: Bench, options: PropertyOptions, divergences: Sequence[Listed], until: float, missed: list[str]
) -> Iterator[tuple[Checked, Record]]:
    for checked in check(bench, options.examples, number=options.seed, until=until, missed=missed):
        record = record_of(checked, bench, divergences)
        yield checked, record
        if record.standing is Standing.UNEXPECTED:
            written = _write_broken(options.out, checked)
            print(f"{describe(record, lines.recorded_catalogue())}\n  {written}")


def record_of(checked: Checked, bench: Bench, divergences: Sequence[Listed]) -> Record:
    """Return a property of an implementation as a record.

    Where it does not hold because the results themselves deviate, it says what is wrong with those.
    """
    judgement = _judgement(checked)
    known = Known()
    if not checked.holds:
        name = checked.cell.implementation.name
        trials = [trial for case in checked.cases for trial in bench.trials(case, name)]
        why = tuple(dict.fromkeys(explanation for trial in trials for explanation in trial.judgement.diagnosis))
        judgement = replace(judgement, diagnosis=why or judgement.diagnosis)
        entries = [entry for entry in divergences if entry.divergence.concerns(name)]
        known = known_of(checked.cell, judgement, entries, bench.offer.versions)
        merged = [trial.known for trial in trials if trial.judgement.diagnosis]
        if merged:
            known = Known(
                listed=tuple(pair for one in merged for pair in one.listed),
                unlisted=tuple(alternatives for one in merged for alternatives in one.unlisted),
            )
    return lines.record_line(checked.cell, judgement, known)


def _judgement(checked: Checked) -> Judgement:
    """Return what was seen as a judgement: the last step of the first arm carries the sides."""
    exact = checked.score == 0
    verdict = Verdict.EXACT if exact else Verdict.CONFORMS if checked.holds else Verdict.DEVIATES
    cause = because("identity-broken", identity=checked.identity.title.rstrip("."))
    causes = () if checked.holds else (cause.explaining((checked.sides.quantity,)),)
    judged = Judged(
        quantity=checked.sides.quantity, verdict=verdict, score=checked.score, worst=_worst(checked), causes=causes
    )
    performed = checked.cases[0].performed
    kinds = ["start", *(step.step for step in performed)]
    steps = tuple(
        StepJudgement(
            number=number,
            kind=kind,
            verdict=verdict if number == len(performed) else Verdict.EXACT,
            expected=checked.holds,
            quantities=(judged,) if number == len(performed) else (),
            message=_example(checked) if number == len(performed) else "",
        )
        for number, kind in enumerate(kinds)
    )
    return Judgement(
        verdict=verdict,
        expected=checked.holds,
        steps=steps,
        diagnosis=tuple(Explanation(alternatives=(cause,)) for cause in causes),
    )


def _worst(checked: Checked) -> Worst | None:
    """Return the worst element, where the sides have the quantity's own shape and so a place in it."""
    sides, case = checked.sides, checked.cases[0]
    last = case.step_shape(case.performed[-1])
    features = case.configuration.feature_count
    count = 1
    for size in last:
        count *= size
    if sides.left.size != (count if sides.quantity in ("output", "grad_input") else features):
        return None
    left, right = (float(side.reshape(-1)[checked.position]) for side in (sides.left, sides.right))
    allowed = 0.0 if sides.allowed is None else float(sides.allowed.reshape(-1)[checked.position])
    return Worst(position=checked.position, expected=right, observed=left, allowed=allowed)


def _example(checked: Checked) -> str:
    case = checked.cases[0]
    place = checked.position
    left, right = (float(side.reshape(-1)[place]) for side in (checked.sides.left, checked.sides.right))
    within = "the same bits" if checked.sides.allowed is None else f"within {checked.score:.2g} of what is allowed"
    return (
        f"the worst of {checked.examples} examples, {case.dtype}, shape {'×'.join(map(str, case.shape))}: "
        f"{left:.9g} and {right:.9g}, {within if checked.holds else f'{checked.score:.3g} times what is allowed'}"
    )


def _write(
    path: Path, offers: Sequence[Offer], checked: Sequence[tuple[Checked, Record]], selection: Selection
) -> None:
    cases: dict[str, Case] = {}
    for one, _ in checked:
        cases.setdefault(one.cases[0].id, one.cases[0])
    with RunWriter(path, narrowed=True) as writer:
        header = lines.header_line(load(spec_folder()), selection, (), len(checked), True)
        writer.add(msgspec.structs.replace(header, started=time.strftime("%Y-%m-%dT%H:%M:%S%z")))
        for offer in offers:
            writer.add(lines.environment_line(offer))
        for case in cases.values():
            writer.add(lines.case_line(Located(case=case, file=Path("properties"), place=Place(file="properties"))))
        for _, record in checked:
            writer.add(record)
        writer.close_run(ended=True, finished=time.strftime("%Y-%m-%dT%H:%M:%S%z"))


def _write_broken(out: Path, checked: Checked) -> Path:
    """Write the related cases of an identity that does not hold, ready to be run."""
    name = _UNSAFE.sub("-", f"broken-{checked.identity.id}-{checked.cell.implementation.name}".lower()).strip("-")
    arms = [
        case.model_copy(update={"id": f"{name}.{number}", "title": f"{checked.identity.title} (case {number})"})
        for number, case in enumerate(checked.cases, 1)
    ]
    path = out.parent / f"{name}.yaml"
    write_whole(path, yaml_of(*arms).encode())
    return path


def _told(checked: Sequence[tuple[Checked, Record]], out: Path) -> str:
    identities = {one.identity.id for one, _ in checked}
    names = {one.cell.implementation.name for one, _ in checked}
    broken = sum(record.standing is Standing.UNEXPECTED for _, record in checked)
    known = sum(record.standing is Standing.KNOWN for _, record in checked)
    return (
        f"{len(checked)} rows: {len(identities)} properties of {len(names)} implementations; "
        f"{broken} broken, {known} where what is known deviates\n{out}"
    )
