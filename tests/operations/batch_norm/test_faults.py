"""The suite sees every planted fault, and says which it is.

The layer without one is judged in all of the spec but its longest chains. A fault that acts in few cases is looked for
in some of those that show it, the others in one short case of each of several families, since a deviating cell costs a
diagnosis; a search looks for the first in nearly all of the spec, and for the others in thirty cases.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from tests.faults.planted import PLANTED
from tests.faults.planting.layer import Fault
from tests.planted_cells import FAULTS, Record, performed
from tests.recorded import recorded

#: Where nothing is planted: a hundred steps show nothing that three do not, nor the impulses of one rank what those of
#: another do not; and the formulas as NumPy has them overflow silently, and have no largest of no features.
LONG = (
    "determinism",
    "degenerate",
    "overflow",
    "trained-10",
    "long-chain",
    "slow-decay",
    "impulses/rank-3",
    "impulses/rank-4",
)
#: As short as there are, and such that nearly every case shows a fault.
CASES = (
    "axes.rank-4/features-last/float32",
    "dyadic.half/float16",
    "epsilon.tiny/features-first",
    "gradients.inference/features-last",
    "inference.any-batch-size",
    "moving.decay/decay-0.25",
    "reloading.without-gamma-and-beta",
    "stability.ratio-2-4",
    "statistics.ramp/features-first",
)


#: Two or more of each family, for the weekly search.
MORE_CASES = (
    "affine.one-switched-off/*",
    "affine.zero-and-negative-gamma",
    "axes.rank-2/float64",
    "axes.rank-4/*/float32",
    "channels.rank-2/5",
    "dyadic.half/*",
    "dyadic.rank-2/float32",
    "dyadic.rank-4/features-first",
    "edges.empty-batch",
    "edges.one-value",
    "epsilon.inside-root",
    "epsilon.tiny/features-first",
    "freezing.gradient-step",
    "gradients.inference/features-last",
    "gradients.training/features-first",
    "inference.any-batch-size",
    "inference.ignores-the-batch",
    "memory.strided/rank-2",
    "moving.correction",
    "moving.decay/decay-0.25",
    "precision.half/float16",
    "precision.mixed/bfloat16",
    "published.columns-2017",
    "published.iris-2017",
    "published.training-mode-2017/features-first",
    "reloading.without-gamma-and-beta",
    "scales.upstream/small/rank-2",
    "stability.ratio-2-4",
    "statistics.ramp/features-first",
)


@pytest.fixture(
    name="records",
    scope="module",
    params=[pytest.param(False, id="chosen"), pytest.param(True, id="most", marks=pytest.mark.search)],
)
def _records(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Sequence[Record]]:
    """Return the records of each implementation by the name of its fault, of cases chosen for it or of most there are."""
    chosen = {f"planted.{fault.name}": fault.cases for fault in PLANTED}

    def takes(implementation: str, case: str) -> bool:
        if implementation in chosen and not request.param:
            return case in (chosen[implementation] or CASES)
        if implementation in chosen and not chosen[implementation]:
            return any(fnmatchcase(case, glob) for glob in MORE_CASES)
        return not any(word in case for word in LONG)

    records = performed("planted", takes, tmp_path_factory.mktemp("planted"))
    return {name.removeprefix("planted."): each for name, each in records.items()}


def failed(records: Iterable[Record]) -> list[Record]:
    return [record for record in records if record["status"] == "failed"]


def families(records: Iterable[Record]) -> set[str]:
    return {record["case"].partition(".")[0] for record in failed(records)}


def names(record: Record) -> list[str]:
    """What the diagnosis of a cell names: changes, alternatives by " or ", reasons; not the weights of what has no name."""
    parts = str(record["diagnosis"]).lower().split("; ")
    return [part for part in parts if part and not part.startswith("unexplained")]


def named(fault: Fault, records: Iterable[Record]) -> bool:
    """Whether the diagnoses of a fault's failed cells, where they name anything, mostly name the fault.

    Of two alternatives at most: a longer list tells nothing.
    """
    assert fault.diagnosis is not None
    wanted = fault.diagnosis.lower()
    telling = [found for found in (names(record) for record in failed(records)) if found]
    right = sum(any(wanted in part and part.count(" or ") <= 1 for part in found) for found in telling)
    return right > len(telling) / 2


def deviations(records: Iterable[Record]) -> frozenset[tuple[Any, ...]]:
    """What deviates where, and by how much."""
    return frozenset(
        (record["case"], step["number"], each["quantity"], each["verdict"], json.dumps(each.get("worst")))
        for record in failed(records)
        for step in record["steps"]
        for each in step["quantities"]
        if each["verdict"] == "deviates"
    )


def test_at_least_sixty_faults_are_planted_under_names_of_their_own() -> None:
    """Each has a name and a sentence."""
    assert len({fault.name for fault in PLANTED}) == len({fault.sentence for fault in PLANTED}) == len(PLANTED) >= 60


def test_a_run_on_the_command_line_fails_on_a_planted_fault_and_passes_without(tmp_path: Path) -> None:
    """It records what is recorded here, and exits accordingly."""
    words = [
        "--adapter",
        f"{FAULTS / 'planted.py'}:ADAPTER",
        "--case",
        CASES[0],
        "--workers",
        "1",
        "--out",
        "run.jsonl",
    ]
    for fault, code in (("nothing", 0), ("epsilon_twice", 1)):
        command = [sys.executable, "-P", "-m", "conformance", "run", *words, "--implementation", f"planted.{fault}"]
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        (record,) = recorded(tmp_path / "run.jsonl")
        assert (ended.returncode, record["status"] == "failed") == (code, bool(code)), ended.stdout
        assert not code or "epsilon twice" in str(record["diagnosis"]).lower()


def test_the_layer_without_a_fault_fails_no_cell_of_the_spec(records: Mapping[str, Sequence[Record]]) -> None:
    """What the faults are planted in is right, in every precision."""
    verdicts = Counter(record["verdict"] for record in records["nothing"])
    assert not failed(records["nothing"])
    assert verdicts["exact"] + verdicts["conforms"] >= 100


@pytest.mark.parametrize("fault", PLANTED, ids=lambda fault: fault.name)
def test_a_planted_fault_fails_a_cell(fault: Fault, records: Mapping[str, Sequence[Record]]) -> None:
    """Not one passes all the cases it is run on."""
    assert failed(records[fault.name]), fault.sentence


def test_four_in_five_faults_are_seen_by_two_families_of_cases(records: Mapping[str, Sequence[Record]]) -> None:
    """A fault that one family alone sees shows where the spec is thin."""
    thin = sorted(fault.name for fault in PLANTED if len(families(records[fault.name])) < 2)
    assert len(thin) <= len(PLANTED) / 5, thin


def test_nine_in_ten_faults_are_diagnosed(records: Mapping[str, Sequence[Record]]) -> None:
    """Of the faults that a hypothesis could name, nearly all are named."""
    expected = [fault for fault in PLANTED if fault.diagnosis is not None]
    wrong = sorted(fault.name for fault in expected if not named(fault, records[fault.name]))
    assert len(wrong) <= len(expected) / 10, wrong


def test_four_in_five_faults_without_a_hypothesis_are_mostly_given_weights(
    records: Mapping[str, Sequence[Record]],
) -> None:
    """A name that fits by chance would be worse than none."""
    nameless = [fault for fault in PLANTED if fault.diagnosis is None]
    wrong = sorted(fault.name for fault in nameless if not weighed(failed(records[fault.name])))
    assert len(wrong) <= len(nameless) / 5, wrong


def weighed(found: Sequence[Record]) -> bool:
    return sum(not names(each) and " right" in each["diagnosis"] for each in found) > len(found) / 2


def test_no_fault_is_given_another_s_name_in_a_fifth_of_its_cells(records: Mapping[str, Sequence[Record]]) -> None:
    """Alone, without an alternative: no name is a catch-all for what differs from it."""
    wrong: dict[tuple[str, str], int] = {}
    for fault in (each for each in PLANTED if each.diagnosis is not None):
        found = failed(records[fault.name])
        others = [name for record in found for name in given_to_others(fault, record)]
        wrong |= {(fault.name, name): count for name, count in Counter(others).items() if count > len(found) / 5}
    assert not wrong


def given_to_others(fault: Fault, record: Record) -> set[str]:
    """The names of other faults that the diagnosis of a cell gives alone; a second cause beside the fault is none."""
    assert fault.diagnosis is not None
    if any(fault.diagnosis.lower() in part for part in names(record)):
        return set()
    alone = [part for part in names(record) if " or " not in part and fault.diagnosis.lower() not in part]
    all_names = {each.diagnosis.lower() for each in PLANTED if each.diagnosis is not None}
    return {name for name in all_names for part in alone if name in part}


INVERTED = Fault("inverted", "A sentence.", "decay inverted")


@pytest.mark.parametrize(
    ("diagnosis", "given"),
    [
        ("epsilon outside the root", {"epsilon outside the root"}),
        (
            "Epsilon outside the root; moving values not updated",
            {"epsilon outside the root", "moving values not updated"},
        ),
        ("epsilon outside the root; decay inverted", set()),
        ("epsilon outside the root or epsilon dropped", set()),
        ("unexplained: output is 0.9·x, which is not epsilon outside the root", set()),
    ],
)
def test_another_s_name_counts_where_it_stands_alone(diagnosis: str, given: set[str]) -> None:
    """Beside the fault's own, or among alternatives, it takes nothing from it."""
    assert given_to_others(INVERTED, {"diagnosis": diagnosis}) == given


def test_no_two_faults_deviate_alike(records: Mapping[str, Sequence[Record]]) -> None:
    """Each is another fault, and none is the same under another name."""
    seen: dict[frozenset[tuple[Any, ...]], str] = {}
    for fault in PLANTED:
        other = seen.setdefault(deviations(records[fault.name]), fault.name)
        assert other == fault.name
