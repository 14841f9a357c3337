"""What a script asserts of a recorded cell: numbers at their worst elements, and facts beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from conformance.reproduce.text import written
from conformance.runfile.run_file import Line, number_from

#: Up to so many steps every one of them is checked; beyond, the worst of each quantity and what deviates.
FEW_STEPS = 12
_MOST = 40
#: The verdicts of quantities whose numbers say nothing either way.
_NOT_JUDGED = ("not_decidable", "outside_domain")


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    """One number of one quantity at one step: what it must be, how far off it may be, and what it was."""

    step: int
    quantity: str
    index: tuple[int, ...]
    expected: float
    allowed: float
    observed: float
    score: float
    #: The fields of the documented dialect in which the number is expected.
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A sentence that must hold of the values the script has `seen`, and the expression that says so."""

    sentence: str
    expression: str
    #: An expression of what was observed, where the sentence does not say it all.
    observed: str = ""


def first_deviating(record: Line) -> int | None:
    """Return the number of the first step that must not be as it is."""
    return next(
        (each["number"] for each in record["steps"] if each["verdict"] == "deviates" or not each["expected"]), None
    )


def elements(record: Line, last: int) -> list[Element]:
    """Return the worst elements to check up to the step `last`, in the order of the steps."""
    found = [
        Element(
            step=step["number"],
            quantity=each["quantity"],
            index=tuple(each["worst"]["index"]),
            expected=_number(each["worst"]["expected"]),
            allowed=_number(each["worst"]["allowed"]),
            observed=_number(each["worst"]["observed"]),
            score=_number(each["score"]),
            fields=tuple(each.get("fields", ())),
        )
        for step in record["steps"]
        if step["number"] <= last
        for each in step["quantities"]
        if "worst" in each and each["verdict"] not in _NOT_JUDGED
    ]
    if last <= FEW_STEPS:
        return found
    kept: dict[str, Element] = {}
    for each in found:
        if each.quantity not in kept or each.score > kept[each.quantity].score:
            kept[each.quantity] = each
    outside = [each for each in found if each.score > 1][:_MOST]
    return [each for each in found if each in outside or each is kept[each.quantity]]


def unjudged(record: Line, last: int) -> list[str]:
    """Return the quantities whose numbers are not judged, up to the step `last`."""
    return [
        f"{each['quantity']} at step {step['number']} ({each['verdict'].replace('_', ' ')})"
        for step in record["steps"]
        if step["number"] <= last
        for each in step["quantities"]
        if each["verdict"] in _NOT_JUDGED
    ]


def refusals(record: Line) -> dict[int, Line]:
    """Return the steps that raised an exception, by number."""
    return {
        step["number"]: step
        for step in record["steps"]
        if step["verdict"] == "refused"
        or any(each.get("reason") == "changed by a step that was refused" for each in step["quantities"])
    }


def facts(record: Line, last: int, inputs: Mapping[int, Mapping[str, str]]) -> list[Fact]:
    """Return what the record says of the steps up to `last` beside the numbers: exceptions, and what went wrong.

    `inputs` names each step's arrays by step and argument.
    """
    raised = refusals(record)
    found: list[Fact] = []
    for step in (each for each in record["steps"] if each["number"] <= last):
        number = step["number"]
        if number in raised:
            found.append(_raised(step))
        found.extend(_said(number, each, inputs.get(number, {})) for each in step["quantities"] if _says(each))
    return found


def kept_state(record: Line, last: int) -> list[Fact]:
    """Return that the steps up to `last` left alone what they did leave alone, and must."""
    put_in = "all(equal(seen[0][name], initial[name]) for name in seen[0])"
    found = [Fact(sentence="the state put in is the state read back", expression=put_in)]
    state = {each["quantity"] for each in record["steps"][0]["quantities"]}
    unchanged: dict[tuple[str, ...], list[int]] = {}
    for step in (each for each in record["steps"] if each["number"] <= last):
        unchanged.setdefault(_unchanged(step, state), []).append(step["number"])
    return found + [_kept(steps[:FEW_STEPS], names) for names, steps in unchanged.items() if names]


def _raised(step: Line) -> Fact:
    number, kind = step["number"], str(step["message"]).partition(":")[0]
    if step["expected"]:
        return Fact(
            sentence=f"step {number} raises {kind}, as documented",
            expression=f'"{kind}" in [each.__name__ for each in type(seen[{number}].get("raised")).__mro__]',
        )
    return Fact(sentence=f"step {number} runs without an exception", expression=f'"raised" not in seen[{number}]')


def _unchanged(step: Line, state: set[str]) -> tuple[str, ...]:
    """Return the state that the step left alone as it must: what agrees exactly and has no allowance."""
    return tuple(
        each["quantity"]
        for each in step["quantities"]
        if step["number"] and each["quantity"] in state and each["verdict"] == "exact" and "worst" not in each
    )


def _kept(steps: Sequence[int], names: Sequence[str]) -> Fact:
    where = f"step{'s' if len(steps) > 1 else ''} {', '.join(map(str, steps))}"
    verb = "leave" if len(steps) > 1 else "leaves"
    return Fact(
        sentence=f"{where} {verb} {', '.join(names)} as before",
        expression=f"kept({list(steps)}, {', '.join(map(written, names))})",
    )


def _says(quantity: Line) -> bool:
    return quantity["verdict"] == "deviates" and "worst" not in quantity and bool(quantity.get("reason"))


def _said(number: int, quantity: Line, inputs: Mapping[str, str]) -> Fact:
    """Return the fact that the reason of a deviating quantity denies."""
    name, reason = quantity["quantity"], str(quantity["reason"])
    value = f'seen[{number}]["{name}"]'
    # Inside of the double quotes of an f-string.
    single = f"seen[{number}]['{name}']"
    expected = reason.partition(", expected ")[2]
    match reason.split(" "):
        case ["has", "dtype", *_]:
            return Fact(
                sentence=f"step {number} gives {name} as {expected}",
                expression=f"{value}.dtype.name in {tuple(expected.split(' or '))}",
                observed=f"{single}.dtype.name",
            )
        case ["has", "shape", *_]:
            return Fact(
                sentence=f"step {number} gives {name} in the shape {expected}",
                expression=f"np.squeeze({value}).shape == np.squeeze(np.empty({expected})).shape",
                observed=f"{single}.shape",
            )
        case ["the", "initial", *_]:
            return Fact(
                sentence=f"the {name} put in is the one read back",
                expression=f'equal(seen[0]["{name}"], initial["{name}"])',
                observed=f"np.ravel({single})[:4]",
            )
        case ["was", "not", "given"]:
            return Fact(sentence=f"step {number} gives {name}", expression=f'"{name}" in seen[{number}]')
        case ["differs", "from", "step", other, *_]:
            same = f'{value}.tobytes() == seen[{other.rstrip(",")}]["{name}"].tobytes()'
            return Fact(sentence=f"step {number} gives the bits of step {other.rstrip(',')}", expression=same)
        case ["the", "step", "wrote", *_]:
            array = inputs[name]
            return Fact(
                sentence=f"step {number} leaves its caller's {name} alone",
                expression=f'{array}.tobytes() == given["{array}"]',
            )
        case ["changed", "by", *_]:
            return _kept([number], [name])
        case _:
            return Fact(sentence=f"step {number}: {name} {reason}", expression="False")


def _number(value: Any) -> float:
    found = number_from(value)
    assert found is not None
    return found
