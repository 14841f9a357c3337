"""The catalogue says everything of every cause that the code can give, and of no other; text is made from it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.cause import Cause, Explanation, Term, because, diagnosis_text, text_of
from conformance.errors import SpecErrors
from conformance.operations import OPERATIONS
from conformance.spec.causes import CatalogueEntry, catalogue, load_causes
from tests import shipped

PACKAGE = Path(__file__).resolve().parents[2] / "conformance"
CLAUSES = {"4.1": "Correction 0", "4.3": "Large mean"}
ENTRY = """one-pass:
  words: one pass
  instead: The variance is taken in one pass.
  seen: The variance loses its digits.
  clause: "4.3"
"""


def hypothesized() -> frozenset[Cause]:
    """Return the causes of the hypotheses about every case of the spec."""
    configurations = {repr(each.case.configuration): each.case.configuration for each in shipped.spec().cases}
    return frozenset(
        hypothesis.cause
        for configuration in configurations.values()
        for dialect in (OPERATIONS[configuration.op].dialect,)
        for hypothesis in OPERATIONS[configuration.op].hypotheses(configuration, dialect)
    )


def given_by_judging() -> Iterator[tuple[str, frozenset[str]]]:
    """Yield the ids, with the names of their parameters, of the causes that judging makes of plain literals."""
    folders = (PACKAGE / "judging", PACKAGE / "search" / "properties")
    files = [*(file for folder in folders for file in sorted(folder.glob("*.py"))), PACKAGE / "operations" / "score.py"]
    constants = {
        "UNEXPLAINED": "unexplained",
        "RAISES": "raises",
        "MISTAKEN": "adapter-mistaken",
        "CRASHES": "crashes",
        "TIMES_OUT": "times-out",
    }
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.Call(func=ast.Name("because"), args=[argument], keywords=keywords):
                    id_ = argument.value if isinstance(argument, ast.Constant) else constants[ast.unparse(argument)]
                    yield str(id_), frozenset(keyword.arg for keyword in keywords if keyword.arg)
                case _:
                    pass


def test_every_cause_that_the_code_gives_is_in_the_catalogue_and_no_other() -> None:
    given = {cause.id for cause in hypothesized()} | {id_ for id_, _ in given_by_judging()}
    # Of these the dialect of no operation, as it is, gives an occasion.
    of_other_dialects = {
        "replica-gradients-added",
        "frozen-trains",
        "steps-counted-from-one",
        "debiased-with-initial",
        "empty-batch-counted",
    }
    assert given | of_other_dialects == set(catalogue())


def test_the_words_leave_open_what_the_cause_says_and_nothing_else() -> None:
    for cause in hypothesized():
        assert catalogue()[cause.id].parameters == {name for name, _ in cause.parameters}, cause
        assert "{" not in text_of([cause], catalogue())
    for id_, parameters in given_by_judging():
        if id_ not in ("unexplained", "narrower-arithmetic", "narrower-arithmetic-admits-anything"):
            assert catalogue()[id_].parameters == parameters, id_


def test_no_two_causes_of_an_operation_have_the_same_words() -> None:
    texts: dict[str, Cause] = {}
    for cause in hypothesized():
        assert texts.setdefault(text_of([cause], catalogue()), cause) == cause


def complaints(folder: Path, text: str) -> list[str]:
    file = folder / "causes.yaml"
    file.write_text(text)
    with pytest.raises(SpecErrors) as caught:
        load_causes(file, CLAUSES, "causes.yaml")
    return [str(error) for error in caught.value.errors]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('clause: "4.3"', 'clause: "4.4"'), "causes.yaml:5:3: one-pass.clause: no clause '4.4'; did you mean '4.3'?"),
        (("  seen: The variance loses its digits.\n", ""), "causes.yaml:1:1: seen: is missing"),
        (("instead:", "insted:"), "causes.yaml:3:3: insted: unknown key; did you mean instead?"),
        (("words: one pass", "words: one {pass"), "causes.yaml:2:3: one-pass.words: braces do not match"),
        (("  seen:", "  varies: [count]\n  seen:"), "causes.yaml:4:3: one-pass.varies: the words have no {count}"),
        (("in one pass.", "in one {pass}."), "causes.yaml:3:3: one-pass.instead: the words have no {pass}"),
    ],
)
def test_an_entry_that_cannot_be_meant_is_refused_at_its_place(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    errors = complaints(tmp_path, ENTRY.replace(*change))
    assert any(error.startswith(message) for error in errors), errors


def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    assert complaints(tmp_path, "[]\n") == ["causes.yaml:1:1: expected a mapping of causes by id"]


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecErrors, match="cannot be read"):
        load_causes(tmp_path / "absent.yaml", CLAUSES)


WORDS = {
    id_: CatalogueEntry(
        words=words, one=one, instead="It is done so.", seen="It is seen so.", clause="4.3", symptom=False
    )
    for id_, words, one in (
        *((name, f"cause {name}", None) for name in "abcde"),
        ("tail", "the last {count} values", "the last value"),
        ("unexplained", "unexplained", None),
    )
}


@pytest.mark.parametrize(
    ("ids", "text"),
    [
        ("", ""),
        ("a", "cause a"),
        ("ab", "cause a or cause b"),
        ("abc", "cause a or cause b or cause c"),
        ("abcd", "cause a or cause b or cause c or 1 other"),
        ("abcde", "cause a or cause b or cause c or 2 others"),
    ],
)
def test_of_many_alternatives_three_are_named(ids: str, text: str) -> None:
    assert text_of([Cause(id=id_) for id_ in ids], WORDS) == text


@pytest.mark.parametrize(("count", "text"), [(1, "the last value"), (3, "the last 3 values")])
def test_parameters_stand_in_the_words(count: int, text: str) -> None:
    assert text_of([because("tail", count=count)], WORDS) == text


def test_explanations_of_the_same_text_are_told_once() -> None:
    explanations = [
        Explanation(alternatives=tuple(Cause(id=id_, quantities=(quantity,)) for id_ in ids))
        for ids, quantity in (("ab", "output"), ("c", "gamma"), ("ab", "moving_mean"))
    ]
    assert diagnosis_text(explanations, WORDS) == "cause a or cause b; cause c"


def test_what_nothing_explains_tells_its_weights_where_it_has_some() -> None:
    terms = (Term(name="old", observed=0.5, right=1.0, digits=3), Term(name="1", observed=-2.0, right=0.0, digits=3))
    weighed = because("unexplained", quantity="moving_mean", terms=terms, left=64.0, off=9.0)
    assert text_of([because("unexplained")], WORDS) == "unexplained"
    assert (
        text_of([weighed], WORDS)
        == "unexplained: moving_mean is 0.5·old - 2, to within 64 bounds, where 1·old + 0 is right"
    )
