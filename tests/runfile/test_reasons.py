"""What stands behind a verdict, as the cells of one fault share it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from conformance.runfile.reasons import DialectField
from conformance.runfile.results import results_of
from conformance.runfile.structs import RecordedCause
from tests.run_lines import record_line
from tests.runs_with_reasons import named, run_with


def words(*causes: RecordedCause) -> list[str]:
    """Return what the causes of a cell with that diagnosis are called."""
    results = results_of([run_with((record_line("deviates", 5.0), causes, ()))])
    return [cause.words for reason in results.reasons for cause in reason.causes]


@pytest.mark.parametrize(
    ("cause", "called"),
    [
        (named("epsilon-outside-root"), "epsilon outside the root"),
        (named("moving-correction", correction=1), "moving correction 1"),
        (named("not-finite", count=7), "n values are NaN or infinite that must be finite"),
        (named("tail-dropped", lacking="mean", count=1), "tail dropped from the mean: the last n values"),
        (named("unexplained", "grad_input"), "grad_input unexplained"),
        (named("unexplained"), "unexplained"),
    ],
)
def test_a_cause_is_called_alike_in_all_cells_of_one_fault(cause: RecordedCause, called: str) -> None:
    assert words(cause) == [called]


def test_numbers_that_nothing_explains_are_told_apart_by_quantity_alone() -> None:
    assert words(named("unexplained", "output", "grad_input")) == ["output unexplained", "grad_input unexplained"]


@pytest.mark.parametrize(
    ("fields", "declared", "told"),
    [
        (["update"], {"update": "zero_debiased", "moving_correction": 1}, [("update", "zero_debiased")]),
        (["update", "moving_correction"], {"moving_correction": 1}, [("moving_correction", "1"), ("update", "")]),
    ],
)
def test_a_dialect_is_the_fields_that_its_numbers_need_with_their_declared_values(
    fields: Sequence[str], declared: dict[str, str | int | bool], told: list[tuple[str, str]]
) -> None:
    run = run_with((record_line("dialect"), (), fields), profile=declared)
    (_, reason) = results_of([run]).reasons
    assert reason.fields == tuple(DialectField(field=field, value=value) for field, value in told)


def test_cells_that_are_right_have_no_reason() -> None:
    results = results_of([run_with((record_line("conforms"), (), ()))])
    assert [(reason.causes, reason.fields) for reason in results.reasons] == [((), ())]
