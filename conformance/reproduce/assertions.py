"""The end of a script: the numbers and facts to hold, the loop that holds them, and the exit."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from conformance.operations import OPERATIONS
from conformance.protocol import Configuration
from conformance.reproduce.checks import Element, Fact, elements, facts, kept_state
from conformance.reproduce.evidence import Evidence
from conformance.reproduce.extent import Extent
from conformance.reproduce.text import parsed, unparsed, written

_CHECK = """
outside = 0
for step, name, index, expected, allowed, recorded in ELEMENTS:
    value = VALUE
    observed = float(value[index])
    score = abs(observed - expected) / max(allowed, 5e-324)
    outside += not score <= 1
    again = "as recorded" if repr(observed) == repr(recorded) else f"recorded {recorded!r}"
    print(f"{'ok' if score <= 1 else 'NO'} step {step} {name}{list(index)}: {observed!r}, {again};")
    print(f"   expected {expected!r}, off by {score:.3g} times the allowed {allowed:.3g}")
"""
_FACTS = """
for sentence, holds in FACTS:
    outside += not holds
    print(f"{'ok' if holds else 'NO'} {sentence}")
"""
_WIDE = """
    allowed += np.spacing(abs(expected)) / 2  # the reference is wider than float64"""
_NOT_FINITE = """
    if not np.isfinite(expected):  # NaN and infinity are one class
        score = np.inf if np.isfinite(observed) else 0.0"""
_EQUAL = """
def equal(one, other):
    return np.array_equal(np.ravel(one).astype(float), np.ravel(other).astype(float), equal_nan=True)
"""
_KEPT = """

def kept(steps, *names):
    return all(equal(seen[step][name], seen[step - 1][name]) for step in steps for name in names)
"""


def assertions(
    evidence: Evidence, extent: Extent, arrays: Mapping[int, Mapping[str, str]], *, whole: bool
) -> Iterator[str]:
    """Yield the parts that assert what must come of the steps that the script shows.

    `arrays` names each step's arrays by step and argument.
    """
    if extent.raises is not None:
        return
    if not extent.begins:
        yield f'raise SystemExit("the start ends no more: recorded was {evidence.record.verdict}")'
        return
    numbers, statements = elements(extent.shown, extent.last), facts(extent.shown, extent.last, arrays, evidence.causes)
    if whole and extent.last == len(evidence.case.performed):
        statements += kept_state(evidence.record, extent.last)
    if numbers:
        rows = _short(f"ELEMENTS = [{', '.join(_row(element) for element in numbers)},]")
        yield f"# What must come of them: step, quantity, index, expected, allowed, recorded.\n{rows}"
    if statements:
        rows = "".join(f"({_sentence(fact)}, {fact.expression})," for fact in statements)
        kept = _KEPT if "kept(" in rows else ""
        yield _short((_EQUAL if kept or "equal(" in rows else "") + kept)
        yield _short(f"FACTS = [{rows}]")
    loops = [_check(evidence.case.configuration, numbers) if numbers else "outside = 0", _FACTS if statements else ""]
    end = 'raise SystemExit(f"{outside} of these do not hold" if outside else 0)'
    yield "\n".join([*(loop.strip() for loop in loops if loop), end])


def _sentence(fact: Fact) -> str:
    """Return the sentence as source text, with what was observed instead where that can be shown."""
    return f'f{written(fact.sentence + ": ")[:-1]}{{{fact.observed}}}"' if fact.observed else written(fact.sentence)


def _short(text: str) -> str:
    return unparsed(parsed(text).body).strip("\n")


def _check(configuration: Configuration, shown: Sequence[Element]) -> str:
    """Return the loop over the elements, with the lines that only some of them need."""
    quantities = {element.quantity for element in shown}
    shaped = tuple(sorted(quantities & OPERATIONS[configuration.op].shaped_like_input))
    value, per_feature = "np.asarray(seen[step][name])", f".reshape({configuration.features})"
    if not shaped:
        value += per_feature
    elif len(shaped) < len(quantities):
        value += f"\n    if name not in {written(shaped)}:\n        value = value{per_feature}"
    check = _short(_CHECK.replace("VALUE", value))
    before, score, after = check.partition("\n    score = ")
    line, newline, rest = after.partition("\n")
    wide = "float64" in (configuration.dtype, configuration.parameter_dtype)
    finite = all(math.isfinite(element.expected) for element in shown)
    return before + (_WIDE if wide else "") + score + line + ("" if finite else _NOT_FINITE) + newline + rest


def _row(element: Element) -> str:
    numbers = ", ".join(_float(value) for value in (element.expected, _rounded(element), element.observed))
    return f"({element.step}, {written(element.quantity)}, {element.index}, {numbers})"


def _rounded(element: Element) -> float:
    """Return the allowance in six digits, where that leaves the number as far inside or outside as it was."""
    few = float(f"{element.allowed:.5e}")
    off = abs(element.observed - element.expected)
    return few if (off <= few) == (off <= element.allowed) and few else element.allowed


def _float(value: float) -> str:
    return repr(value) if math.isfinite(value) else f"np.{value}" if value >= 0 or math.isnan(value) else "-np.inf"
