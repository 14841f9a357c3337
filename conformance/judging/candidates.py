"""The candidates that a step's numbers are compared with: each a dialect, an arithmetic, and the verdict if they fit.

They are tried in order, and the first that fits decides: the canonical semantics, then the dialect that the
implementation declares, then both again in arithmetic narrower than the dtype calls for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from conformance.dialect import Dialect
from conformance.operations.score import Fit
from conformance.precision import HALF, Precision, precision, working
from conformance.protocol import Declared
from conformance.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Candidate:
    """A dialect and an arithmetic that the numbers may fit, and the verdict if they do."""

    dialect: Dialect
    worked: Precision
    verdict: Verdict

    def is_informative(self, fit: Fit) -> bool:
        """Return whether this candidate decides the verdict of numbers that lie within its bound.

        A bound so wide that any number lies within it proves nothing. Under the canonical semantics that is a verdict of
        its own, `not_decidable`. Under another dialect, or in float32 arithmetic, the candidate is passed over. Half
        precision arithmetic is accepted even so, because it is likely for inputs of such a dtype.
        """
        return fit.decidable or self.verdict is Verdict.CONFORMS or self.worked.name in HALF

    def may_overflow(self, worked: Precision) -> bool:
        """Return whether numbers that left the range of this arithmetic are excused, where `worked` is the right one.

        float64 computed in float32 is wrong before it overflows. Half precision is likely for inputs of such a dtype, and
        its range is that of its results.
        """
        return self.worked == worked or self.worked.name in HALF


def candidates(
    canonical: Dialect, documented: Dialect, declared: Mapping[str, Declared], dtype: str
) -> Iterator[Candidate]:
    """Yield the canonical semantics and the declared dialect, first in the arithmetic that is right for the dtype.

    Then both in narrower arithmetic, where there is one. That is a dialect where the documentation states the narrower
    dtype, and a deviation elsewhere.
    """
    sound = working(dtype)
    yield Candidate(canonical, sound, Verdict.CONFORMS)
    if documented != canonical:
        yield Candidate(documented, sound, Verdict.DIALECT)
    narrow = _narrower(dtype)
    if narrow is None:
        return
    statistics = declared.get("statistics_dtype")
    states_it = statistics is not None and statistics.value == narrow and statistics.source == "documentation"
    verdict = Verdict.DIALECT if states_it else Verdict.DEVIATES
    yield Candidate(canonical, precision(narrow), verdict)
    if documented != canonical:
        yield Candidate(documented, precision(narrow), verdict)


def _narrower(dtype: str) -> str | None:
    """Return the narrower dtype in which an implementation might compute, None where there is none to consider.

    float64 may be computed in float32. A half precision dtype should be computed in float32, and may be in itself.
    """
    return {"float64": "float32", "float32": None}.get(dtype, dtype)
