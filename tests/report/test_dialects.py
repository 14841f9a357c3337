"""What a profile declares beside what the cells show: agreement by the cell's own input, or why nothing is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from conformance.dialect import OBSERVED
from conformance.report.probes import ObservedField, probed
from conformance.runfile.gathering import cell_of
from conformance.runfile.observed import Column, RecordedCell
from conformance.runfile.structs import CaseLine, DeclaredField, EnvironmentLine, RecordedOffer
from tests.many_cells import decoded
from tests.run_lines import case_line, configuration, record_line

COLUMN = Column(name="x-eager-cpu", implementation="x", mode="eager", device="cpu", library="x 1")
SPEC = {"normalizes_with": "batch, correction 0", "update": "exponential"}


def declared(field: str, value: Any, **other: Any) -> dict[str, Any]:
    return {
        "field": field,
        "value": value,
        "source": "documentation",
        "where": "p",
        "error": None,
        "ranks": None,
        **other,
    }


def cell(
    observed: Mapping[str, str], *, family: str = "probe", dtype: str = "float32", rank: int = 2, op: str = "batch_norm",
    verdict: str = "conforms", message: str = "",
) -> RecordedCell:  # fmt: skip
    step = {"number": 1, "kind": "train", "verdict": verdict, "expected": True, "message": message, "quantities": []}
    record = record_line(verdict, of=f"{family}.one", observed=dict(observed), steps=[step] if message else [])
    asked = configuration(shape=[2] * rank, parameter_dtype=dtype)
    case = case_line(f"{family}.one", op=op, configuration=asked)
    line = msgspec.structs.replace(decoded("record", record), environment="x")
    return cell_of(line, msgspec.convert({"kind": "case", **case}, CaseLine), COLUMN)


def offering(profile: tuple[Any, ...] = ()) -> list[EnvironmentLine]:
    offer = RecordedOffer(
        name="x",
        op="batch_norm",
        modes=("eager",),
        devices=("cpu",),
        profile=tuple(msgspec.convert(each, DeclaredField) for each in profile),
    )
    return [EnvironmentLine(id="x", implementations=(offer,))]


def seen(
    field: str, *cells: RecordedCell, profile: tuple[Any, ...] = (), canonical: Mapping[str, Any] | None = None
) -> ObservedField:
    (found,) = probed(offering(profile), cells, canonical or {})
    return next(each for each in found.fields if each.field == field)


def test_every_field_of_a_profile_has_an_observed_value_or_a_reason() -> None:
    (found,) = probed(offering(), [cell(SPEC)], {})
    assert [each.field for each in found.fields] == list(OBSERVED)
    assert all(each.observed or each.reason for each in found.fields)


def test_what_the_numbers_show_and_nobody_declared_is_flagged() -> None:
    found = seen("update", cell(SPEC), cell({**SPEC, "update": "cumulative"}))
    assert (found.agrees, found.wrong, found.observed) == (
        False,
        {"cumulative": 1},
        {"exponential": 1, "cumulative": 1},
    )


@pytest.mark.parametrize(("rank", "agrees"), [(2, True), (3, False)])
def test_a_declaration_for_some_ranks_holds_for_them_alone(rank: int, agrees: bool) -> None:
    profile = (declared("update", "cumulative", ranks=[2]),)
    assert seen("update", cell({"update": "cumulative"}, rank=rank), profile=profile).agrees == agrees


def test_the_first_declaration_of_a_field_counts() -> None:
    profile = (declared("update", "none"), declared("update", "cumulative"))
    assert seen("update", cell({"update": "none"}), profile=profile).agrees


@pytest.mark.parametrize(
    ("types", "agrees"),
    [("ValueError", True), ("OwnError, ValueError", True), ("RuntimeError", False), ("MyValueError", False)],
)
def test_a_declared_error_is_met_by_its_own_type_and_those_derived(types: str, agrees: bool) -> None:
    profile = (declared("single_value", "error", error="ValueError"),)
    found = seen("single_value", cell({"single_value": f"error: {types}"}, family="edges"), profile=profile)
    assert (found.agrees, found.declared) == (agrees, "error: ValueError")
    assert list(found.observed) == [f"error: {types.partition(',')[0]}"]


def test_an_error_where_a_value_is_declared_is_flagged() -> None:
    assert seen("single_value", cell({"single_value": "error: ValueError"})).wrong == {"error: ValueError": 1}


@pytest.mark.parametrize(
    ("value", "parameters", "agrees", "shown"),
    [
        (None, "bfloat16", True, "that of the parameters"),
        ("float32", "bfloat16", False, "that of the parameters"),
        ("bfloat16", "bfloat16", True, "that of the parameters"),
        ("bfloat16", "float32", True, "bfloat16 for float32 parameters"),
        (None, "float32", False, "bfloat16 for float32 parameters"),
    ],
)
def test_the_dtype_of_the_moving_values_is_held_against_that_of_the_parameters(
    value: str | None, parameters: str, agrees: bool, shown: str
) -> None:
    profile = (declared("statistics_dtype", value),) if value else ()
    found = seen("statistics_dtype", cell({"statistics_dtype": "bfloat16"}, dtype=parameters), profile=profile)
    assert (found.agrees, list(found.observed)) == (agrees, [shown])


@pytest.mark.parametrize(("op", "agrees"), [("centering", True), ("batch_norm", False)])
def test_an_undeclared_field_has_the_operation_s_own_value(op: str, agrees: bool) -> None:
    canonical = {"centering": {"frozen_implies_inference": True}, "batch_norm": {"frozen_implies_inference": False}}
    found = seen("frozen_implies_inference", cell({"frozen_implies_inference": "yes"}, op=op), canonical=canonical)
    assert found.agrees == agrees


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ((), "no batch_norm case of freezing in this run"),
        ((cell({}, family="freezing", verdict="unsupported", message="has no step freeze"),), "has no step freeze"),
        ((cell({}, family="freezing"),), "no case tells"),
    ],
)
def test_what_was_not_observed_says_why(cells: tuple[RecordedCell, ...], reason: str) -> None:
    found = seen("frozen_implies_inference", cell(SPEC), *cells)
    assert (found.reason, found.agrees, found.observed) == (reason, True, {})


def test_moving_values_that_the_caller_keeps_are_not_observed() -> None:
    profile = (declared("state", "caller"),)
    assert seen("update", cell({"normalizes_with": "x"}), profile=profile).reason == "kept by the caller"


def test_a_layer_declared_to_move_nothing_is_not_taken_for_one_without_a_state() -> None:
    found = seen("state", cell({"state": "caller"}), profile=(declared("update", "none"),))
    assert (found.agrees, found.reason) == (True, "declared to move nothing")


def test_what_a_profile_leaves_out_is_told_as_the_spec_s_and_not_as_declared() -> None:
    """Of two implementations with the same numbers, one says so itself."""
    silent = seen("moving_correction", cell(SPEC))
    saying = seen("moving_correction", cell(SPEC), profile=(declared("moving_correction", 1),))
    assert (silent.says, saying.says) == (False, True)
