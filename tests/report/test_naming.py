"""What an API calls what is configured, from calls written here by hand."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.report.naming import Named, literals, named
from conformance.runfile.format_1 import call_from
from conformance.runfile.gathering import observed
from tests.report_lines import case, record, run

CONFIGURED = {
    "op": "batch_norm", "shape": [8, 3], "feature_axes": [1], "dtype": "float32", "parameter_dtype": "float32",
    "decay": 0.9, "epsilon": 0.001, "scale": True, "center": True,
}  # fmt: skip


def names_of(*calls: tuple[str, dict[str, Any]]) -> Named:
    """The names that these calls with these changes of the configuration settle."""
    cases = [case(f"a.{number}", configuration={**CONFIGURED, **changed}) for number, (_, changed) in enumerate(calls)]
    records = [record("exact", of=f"a.{number}", call=call) for number, (call, _) in enumerate(calls)]
    made = run(*records, cases=tuple(cases))
    seen = observed([made])
    (found,) = named(seen.columns, seen.cells)
    return found


def shown(found: Named, thing: str) -> list[str]:
    return [f"{each.keyword} = {each.meaning}" for each in found.names[thing]]


@pytest.mark.parametrize(
    ("calls", "thing", "expected"),
    [
        ([("f(momentum=0.9)", {}), ("f(momentum=0.75)", {"decay": 0.75})], "decay", ["momentum = decay"]),
        ([("f(momentum=0.09999999999999998)", {}), ("f(momentum=0.25)", {"decay": 0.75})], "decay", ["momentum = 1 − decay"]),
        ([("f(eps=0.001)", {}), ("f(eps=1e-12)", {"epsilon": 1e-12})], "epsilon", ["eps = epsilon"]),
        ([("f(axis=1)", {}), ("f(axis=[0, 1])", {"feature_axes": [0, 1]})], "features", ["axis = the feature axes"]),
        ([("f(axes=[0])", {}), ("f(axes=[1])", {"feature_axes": [0]})], "features", ["axes = the reduction axes"]),
        ([("f(n=3)", {}), ("f(n=8)", {"feature_axes": [0]})], "features", ["n = how many features"]),
        ([("f(affine=True)", {}), ("f(affine=False)", {"scale": False, "center": False})], "gamma", ["affine = on or off"]),
    ],
)  # fmt: skip
def test_a_keyword_is_what_it_was_in_every_call(
    calls: list[tuple[str, dict[str, Any]]], thing: str, expected: list[str]
) -> None:
    assert shown(names_of(*calls), thing) == expected


@pytest.mark.parametrize(
    "calls",
    [
        [("f(momentum=0.9)", {}), ("f(momentum=0.9)", {})],
        [("f(momentum=0.9)", {}), ("f(momentum=0.75)", {"decay": 0.5})],
        [("f(momentum=0.5)", {"decay": 0.5})],
    ],
    ids=["never varied", "something else once", "its own complement"],
)
def test_what_the_calls_do_not_settle_has_no_name(calls: list[tuple[str, dict[str, Any]]]) -> None:
    """A value that was the same throughout may be a constant; one that was off once is not it."""
    assert names_of(*calls).names["decay"] == ()


def test_one_and_true_are_not_the_same() -> None:
    """A switch is no number of features."""
    found = names_of(("f(n=1)", {"shape": [8, 1]}), ("f(n=0)", {"shape": [8, 1], "scale": False}))
    assert found.names["gamma"] == ()


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("torch.nn.functional.batch_norm(…, eps=0.001)", {"eps": 0.001}),
        ("f(a=g(), b=[1, 2], c='x')", {"b": [1, 2], "c": "x"}),
        ("f(a=nan, b=1)", {"b": 1}),
    ],
)
def test_keywords_are_read_and_never_run(call: str, expected: dict[str, Any]) -> None:
    made = call_from(call)
    assert made is not None
    assert literals(made) == expected
