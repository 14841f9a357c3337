"""A dialect's field is one declaration: values, the passes it changes, words, and what shows of it."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import pytest

from conformance.dialect import FIELDS, Dialect, allows, declares, meanings, numeric, shown, values_of
from conformance.operations import OPERATIONS
from conformance.operations.expected import Expected
from conformance.operations.situation import Situation
from conformance.precision import Precision, working
from conformance.protocol import Declared
from conformance.reference.computed import Request
from conformance.reference.expected import References
from conformance.reference.inputs import inputs_of, states_of
from conformance.spec.locations import spec_folder
from tests.cells import INFER, case

DOCUMENT = (spec_folder().parent / "docs" / "adding-an-adapter.md").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wider(Dialect):
    """A dialect with a choice more."""

    shifts: Literal["no", "by_one"] = declares("no", "whether inference adds one; the spec's is no", changes=["infer"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Silent(Dialect):
    """A dialect with a field that nobody can read of or choose."""

    nothing: int = declares(0, "")


def speechless(kind: type[Dialect]) -> set[str]:
    """The fields without words or, where the type does not list them, values."""
    literal = {each.name for each in fields(kind) if str(each.type).startswith("Literal[")}
    return {
        name for name, meaning in meanings(kind).items() if not meaning.words or not (meaning.values or name in literal)
    }


def test_every_field_has_words_and_values() -> None:
    assert speechless(Dialect) == set()
    assert speechless(Wider) == set()


def test_a_field_without_words_or_values_would_be_seen() -> None:
    assert speechless(Silent) == {"nothing"}


def test_a_field_without_a_meaning_is_an_error() -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Bare(Dialect):
        bare: int = 0

    with pytest.raises(KeyError, match="meaning"):
        meanings(Bare)


@pytest.mark.parametrize("field", FIELDS)
def test_the_default_is_a_value_that_may_be_declared(field: str) -> None:
    default = getattr(Dialect(), field)
    assert default is None or allows(field, default)


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("normalizing_correction", 1, True),
        ("normalizing_correction", True, False),
        ("moving_correction", 2, False),
        ("frozen_implies_inference", True, True),
        ("frozen_implies_inference", 1, False),
        ("statistics_dtype", "float16", True),
        ("statistics_dtype", None, False),
        ("update", "merge", True),
        ("update", "sometimes", False),
        ("momentum", 0, False),
    ],
)
def test_only_values_of_the_field_may_be_declared(field: str, value: object, allowed: bool) -> None:
    assert allows(field, value) is allowed


@pytest.mark.parametrize("field", FIELDS)
def test_the_documentation_names_every_field_with_its_values(field: str) -> None:
    """The table of the guide, and what an adapter's author reads."""
    values = [value for value in values_of(field) if field != "statistics_dtype" and isinstance(value, str)]
    assert f"`{field}`" in str(Declared.__doc__)
    (row,) = [line for line in DOCUMENT.splitlines() if line.startswith("|") and f"`{field}`" in line.split("|")[1]]
    for value in values:
        assert f"`{value}`" in row
        assert str(value) in str(Declared.__doc__)


def test_an_observation_calls_a_value_by_its_words() -> None:
    values: dict[str, Any] = {"normalizes_with": "batch", "normalizing_correction": 1, "update": "merge"}
    assert shown("normalizes_with", values) == "batch, correction 1"
    assert shown("update", values) == "merge"


@pytest.mark.parametrize(("performs", "same"), [("infer", False), ("train", True)])
def test_a_field_makes_two_dialects_of_one_in_the_passes_that_it_changes(performs: Any, same: bool) -> None:
    one, other = Wider(), Wider(shifts="by_one")
    assert (numeric(one, Wider(), performs) == numeric(other, Wider(), performs)) is same


def test_a_field_that_changes_inference_has_a_reference_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are asked of one memory: the second must not be given what the first left there."""
    operation = OPERATIONS["batch_norm"]

    def infer(situation: Situation, worked: Precision) -> dict[str, Expected]:
        quantities = operation.infer(situation, worked)
        shift = int(isinstance(situation.dialect, Wider) and situation.dialect.shifts == "by_one")
        return {**quantities, "output": replace(quantities["output"], value=quantities["output"].value + shift)}

    monkeypatch.setitem(OPERATIONS, "batch_norm", replace(operation, dialect=Wider(), infer=infer))
    made, references = case({**INFER}), References()
    outputs = [
        references.expected(
            Request(
                case=made,
                configuration=made.configuration,
                number=1,
                inputs=inputs_of(made).steps[0],
                dialect=dialect,
                worked=working(made.dtype),
                frozen=False,
                trained=0,
            ),
            states_of(made)[0],
            {},
        )["output"].value
        for dialect in (Wider(), Wider(shifts="by_one"))
    ]
    assert (outputs[1] == outputs[0] + 1).all()
