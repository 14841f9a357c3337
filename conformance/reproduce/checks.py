"""What a script asserts of a recorded cell: numbers at their worst elements, and facts beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from conformance.reproduce.text import written
from conformance.runfile.cause_text import Catalogue, reason_text
from conformance.runfile.numbers import number_from
from conformance.runfile.structs import QuantityRecord, Record, StepRecord
from conformance.verdict import Verdict

#: Up to so many steps every one of them is checked; beyond, the worst of each quantity and what deviates.
FEW_STEPS = 12
_MOST = 40
#: The verdicts of quantities whose numbers say nothing either way.
_NOT_JUDGED = (Verdict.NOT_DECIDABLE, Verdict.OUTSIDE_DOMAIN)
#: The id of the cause that a step wrote to an array of its caller's.
WROTE_TO_CALLER = "caller-array-overwritten"


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


def first_deviating(record: Record) -> int | None:
    """Return the number of the first step that must not be as it is."""
    return next((step.number for step in record.steps if step.verdict is Verdict.DEVIATES or not step.expected), None)


def elements(record: Record, last: int) -> list[Element]:
    """Return the worst elements to check up to the step `last`, in the order of the steps."""
    candidates = [
        Element(
            step=step.number,
            quantity=quantity.quantity,
            index=quantity.worst.index,
            expected=number_from(quantity.worst.expected),
            allowed=number_from(quantity.worst.allowed),
            observed=number_from(quantity.worst.observed),
            score=number_from(quantity.score),
            fields=quantity.fields,
        )
        for step in record.steps
        if step.number <= last
        for quantity in step.quantities
        if quantity.worst is not None and quantity.score is not None and quantity.verdict not in _NOT_JUDGED
    ]
    if last <= FEW_STEPS:
        return candidates
    kept: dict[str, Element] = {}
    for element in candidates:
        if element.quantity not in kept or element.score > kept[element.quantity].score:
            kept[element.quantity] = element
    outside = [element for element in candidates if element.score > 1][:_MOST]
    return [element for element in candidates if element in outside or element is kept[element.quantity]]


def unjudged(record: Record, last: int) -> list[str]:
    """Return the quantities whose numbers are not judged, up to the step `last`."""
    return [
        f"{quantity.quantity} at step {step.number} ({quantity.verdict.replace('_', ' ')})"
        for step in record.steps
        if step.number <= last
        for quantity in step.quantities
        if quantity.verdict in _NOT_JUDGED
    ]


def refusals(record: Record) -> frozenset[int]:
    """Return the numbers of the steps that raised an exception."""
    return frozenset(step.number for step in record.steps if step.raised)


def facts(record: Record, last: int, inputs: Mapping[int, Mapping[str, str]], causes: Catalogue) -> list[Fact]:
    """Return what the record says of the steps up to `last` beside the numbers: exceptions, and what went wrong.

    `inputs` names each step's arrays by step and argument.
    """
    denied: list[Fact] = []
    for step in (step for step in record.steps if step.number <= last):
        if step.raised:
            denied.append(_raised(step))
        arrays = inputs.get(step.number, {})
        denied.extend(
            _denied(step.number, quantity, arrays, causes) for quantity in step.quantities if _denies(quantity)
        )
    return denied


def kept_state(record: Record, last: int) -> list[Fact]:
    """Return that the steps up to `last` left alone what they did leave alone, and must."""
    put_in = "all(equal(seen[0][name], initial[name]) for name in seen[0])"
    first = Fact(sentence="the state put in is the state read back", expression=put_in)
    state = {quantity.quantity for quantity in record.steps[0].quantities}
    unchanged: dict[tuple[str, ...], list[int]] = {}
    for step in (step for step in record.steps if step.number <= last):
        unchanged.setdefault(_unchanged(step, state), []).append(step.number)
    return [first, *(_kept(steps[:FEW_STEPS], names) for names, steps in unchanged.items() if names)]


def has_cause(quantity: QuantityRecord, id_: str) -> bool:
    """Return whether a quantity names that cause, among alternatives too."""
    return any(cause.id == id_ for cause in quantity.causes)


def _raised(step: StepRecord) -> Fact:
    number, kind = step.number, step.raised
    if step.expected:
        due = "as documented" if step.verdict is Verdict.REFUSED else "as it must"
        return Fact(
            sentence=f"step {number} raises {kind}, {due}",
            expression=f'{written(kind)} in [each.__name__ for each in type(seen[{number}].get("raised")).__mro__]',
        )
    return Fact(sentence=f"step {number} runs without an exception", expression=f'"raised" not in seen[{number}]')


def _unchanged(step: StepRecord, state: set[str]) -> tuple[str, ...]:
    """Return the state that the step left alone as it must: what agrees exactly and has no allowance."""
    return tuple(
        quantity.quantity
        for quantity in step.quantities
        if step.number and quantity.quantity in state and quantity.verdict is Verdict.EXACT and quantity.worst is None
    )


def _kept(steps: Sequence[int], names: Sequence[str]) -> Fact:
    where = f"step{'s' if len(steps) > 1 else ''} {', '.join(map(str, steps))}"
    verb = "leave" if len(steps) > 1 else "leaves"
    return Fact(
        sentence=f"{where} {verb} {', '.join(names)} as before",
        expression=f"kept({list(steps)}, {', '.join(map(written, names))})",
    )


def _denies(quantity: QuantityRecord) -> bool:
    """Return whether a quantity deviates in something beside its numbers."""
    return quantity.verdict is Verdict.DEVIATES and quantity.worst is None and bool(quantity.causes)


def _denied(number: int, quantity: QuantityRecord, inputs: Mapping[str, str], causes: Catalogue) -> Fact:
    """Return the fact that the cause of a deviating quantity denies."""
    name, cause = quantity.quantity, quantity.causes[0]
    value = f"seen[{number}][{written(name)}]"
    # Inside of the double quotes of an f-string.
    single = f"seen[{number}][{name!r}]"
    match cause.id, cause.parameters:
        case "wrong-dtype", {"expected": str(expected)}:
            return Fact(
                sentence=f"step {number} gives {name} as {expected}",
                expression=f"{value}.dtype.name in {tuple(expected.split(' or '))}",
                observed=f"{single}.dtype.name",
            )
        case "wrong-shape", {"expected": str(expected)}:
            return Fact(
                sentence=f"step {number} gives {name} in the shape {expected}",
                expression=f"np.squeeze({value}).shape == np.squeeze(np.empty({expected})).shape",
                observed=f"{single}.shape",
            )
        case "initial-state-changed", _:
            return Fact(
                sentence=f"the {name} put in is the one read back",
                expression=f"equal(seen[0][{written(name)}], initial[{written(name)}])",
                observed=f"np.ravel({single})[:4]",
            )
        case "not-given", _:
            return Fact(sentence=f"step {number} gives {name}", expression=f"{written(name)} in seen[{number}]")
        case "differs-from-step", {"step": int(other)}:
            same = f"{value}.tobytes() == seen[{other}][{written(name)}].tobytes()"
            return Fact(sentence=f"step {number} gives the bits of step {other}", expression=same)
        case id_, _ if id_ == WROTE_TO_CALLER and name in inputs:
            array = inputs[name]
            return Fact(
                sentence=f"step {number} leaves its caller's {name} alone",
                expression=f"{array}.tobytes() == given[{written(array)}]",
            )
        case "wrong-size-taken", {"shape": str(shape)}:
            return Fact(
                sentence=f"step {number} refuses an input of shape {shape}",
                expression=f'"raised" in seen[{number}]',
            )
        case "wrong-parameter-taken", {"parameter": str(parameter), "shape": str(shape)}:
            return Fact(
                sentence=f"step {number} refuses {parameter} of shape {shape}",
                expression=f'"raised" in seen[{number}]',
            )
        case "changed-by-refused-step", _:
            return _kept([number], [name])
        case _:
            reason = reason_text(quantity, causes)
            return Fact(sentence=f"step {number}: {name} {reason}", expression="False")
