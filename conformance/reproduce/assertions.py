"""The end of a script: the numbers and facts to hold, the loop that holds them, and the exit."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from conformance.operations import OPERATIONS
from conformance.protocol import Configuration
from conformance.reproduce.checks import Element, elements, facts, kept_state
from conformance.reproduce.evidence import Evidence
from conformance.reproduce.fold import written
from conformance.verdict import Verdict

_CHECK = """
outside = 0
for step, quantity, index, expected, allowed, recorded in ELEMENTS:
    value = np.asarray(seen[step][quantity])
    observed = float((value if quantity in SHAPED else value.reshape(FEATURES))[index])
    score = abs(observed - expected) / max(allowed, 5e-324)
    outside += not score <= 1
    again = "as recorded" if repr(observed) == repr(recorded) else f"recorded {recorded!r}"
    print(f"{'ok' if score <= 1 else 'NO'} step {step} {quantity}{list(index)}: {observed!r}, {again};")
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


def assertions(evidence: Evidence, last: int, given: Mapping[int, Mapping[str, str]]) -> Iterator[str]:
    """Yield the parts that assert what must come of the steps up to `last`.

    `given` names each step's arrays by step and argument.
    """
    record, configuration = evidence.record, evidence.case.configuration
    if record.steps[0].verdict in (Verdict.REFUSED, Verdict.CRASHED, Verdict.TIMED_OUT):
        yield f'raise SystemExit("the start ends no more: recorded was {record.verdict}")'
        return
    found, said = elements(record, last), facts(record, last, given, evidence.causes)
    if last == len(evidence.case.performed):
        said += kept_state(record, last)
    if found:
        yield "# What must come of them: step, quantity, index, expected, allowed, recorded."
        rows = "".join(f"    {_row(each)},\n" for each in found)
        yield f"ELEMENTS = [\n{rows}]"
    if said:
        rows = "".join(f"    ({written(each.sentence)}, {each.expression}),\n" for each in said)
        kept = _KEPT if "kept(" in rows else ""
        yield (_EQUAL if kept or "equal(" in rows else "") + kept
        yield f"FACTS = [\n{rows}]"
    yield ((_check(configuration, found) if found else "outside = 0\n") + (_FACTS if said else "")).strip()
    yield 'if outside:\n    raise SystemExit(f"{outside} of these do not hold")'


def _check(configuration: Configuration, found: Sequence[Element]) -> str:
    """Return the loop over the elements, with the lines that only some of them need."""
    shaped = tuple(sorted({each.quantity for each in found} & OPERATIONS[configuration.op].shaped_like_input))
    check = _CHECK.replace("FEATURES", repr(configuration.features)).replace("SHAPED", repr(shaped))
    before, score, after = check.partition("\n    score = ")
    line, newline, rest = after.partition("\n")
    wide = "float64" in (configuration.dtype, configuration.parameter_dtype)
    finite = all(math.isfinite(each.expected) for each in found)
    return before + (_WIDE if wide else "") + score + line + ("" if finite else _NOT_FINITE) + newline + rest


def _row(each: Element) -> str:
    numbers = ", ".join(_float(value) for value in (each.expected, each.allowed, each.observed))
    return f"({each.step}, {written(each.quantity)}, {each.index}, {numbers})"


def _float(value: float) -> str:
    return repr(value) if math.isfinite(value) else f"np.{value}" if value >= 0 or math.isnan(value) else "-np.inf"
