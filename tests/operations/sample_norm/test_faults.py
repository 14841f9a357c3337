"""The suite sees every fault planted in a normalization of each sample, and says which."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import pytest

from conformance.judging.judge import judge
from conformance.judging.judgement import Judgement
from conformance.reference.expected import References
from conformance.spec.case import Case
from conformance.spec.loader import load_clauses, load_file
from conformance.spec.locations import spec_folder
from conformance.verdict import Verdict
from tests.cells import cell
from tests.faults.by_sample import FAULTS, VARIANTS, Fault, Parts, produced
from tests.told import diagnosed

#: By operation, the files of its cases; and the ends of the ids of those that show most faults.
FILES: Mapping[str, tuple[str, ...]] = {
    "layer_norm": ("layer", "layer-stability"),
    "rms_norm": ("rms",),
    "group_norm": ("group",),
    "instance_norm": ("instance",),
}
TELLING = ("rows/rank-2/float32", "signs", "epsilon/large", "three/float32")
#: What is not written for the faults: their longest cases, and steps of another kind.
LEFT = ("half-long", "long-rows", "half-range", "empty-batch", "non-finite", "infinite", "overflow", "instance.moving")
#: Kept from fault to fault, as in a run: the references of a case are the same for all.
REFERENCES = References()
PLANTED = [(op, fault) for op, faults in FAULTS.items() for fault in faults]


@functools.cache
def cases(op: str) -> tuple[Case, ...]:
    """Return the operation's cases of passes alone."""
    clauses = load_clauses(spec_folder() / "semantics.md")
    files = [spec_folder() / "cases" / f"{name}.yaml" for name in FILES[op]]
    loaded = [located.case for file in files for located in load_file(file, clauses)]
    return tuple(case for case in loaded if all(step.step in ("train", "infer") for step in case.steps))


def judged(case: Case, parts: Parts) -> Judgement:
    return judge(cell(case, op=case.op), list(produced(case, parts)), REFERENCES)


def ending(op: str, ends: tuple[str, ...]) -> list[Case]:
    return [case for case in cases(op) if case.id.endswith(ends)]


@functools.cache
def judgements(op: str, name: str) -> tuple[Judgement, ...]:
    """Return what becomes of that fault in the cases that tell it."""
    (fault,) = [fault for fault in FAULTS[op] if fault.name == name]
    return tuple(judged(case, fault.parts) for case in ending(op, fault.cases or TELLING))


@pytest.mark.parametrize(("op", "fault"), PLANTED, ids=lambda each: getattr(each, "name", each))
def test_every_fault_is_seen(op: str, fault: Fault) -> None:
    assert any(judgement.verdict is Verdict.DEVIATES for judgement in judgements(op, fault.name))


@pytest.mark.parametrize(("op", "fault"), PLANTED, ids=lambda each: getattr(each, "name", each))
def test_the_diagnosis_names_the_fault(op: str, fault: Fault) -> None:
    """In every cell that deviates, among two alternatives at most."""
    said = [diagnosed(one).lower() for one in judgements(op, fault.name) if one.verdict is Verdict.DEVIATES]
    assert all(fault.diagnosis.lower() in text and text.count(" or ") <= 2 for text in said), said


@pytest.mark.parametrize("op", sorted(FAULTS))
def test_there_are_enough_faults(op: str) -> None:
    assert len(FAULTS[op]) >= 15


@pytest.mark.parametrize(("op", "variant"), [(op, variant) for op in VARIANTS for variant in VARIANTS[op]])
def test_a_healthy_variant_raises_no_alarm(op: str, variant: str) -> None:
    left = [case for case in cases(op) if not any(word in case.id for word in LEFT)]
    wrong = [case.id for case in left if not _agrees(judged(case, VARIANTS[op][variant]).verdict)]
    assert wrong == []


def _agrees(verdict: Verdict) -> bool:
    return verdict.agrees or verdict in (Verdict.OUTSIDE_DOMAIN, Verdict.NOT_DECIDABLE)
