"""What the numbers of a step may be judged by, the plainest first."""

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
    """One expectation the numbers may fit, and what it means if they do."""

    dialect: Dialect
    worked: Precision
    verdict: Verdict

    def is_informative(self, fit: Fit) -> bool:
        """Return whether numbers that keep the bound of this candidate may be judged by it.

        A bound so wide that any number keeps it proves nothing. Under the canonical semantics that is a verdict of its
        own, not decidable; under another dialect or in float32 it is none. Half precision is named all the same: the
        dtype alone makes it likely.
        """
        return fit.decidable or self.verdict is Verdict.CONFORMS or self.worked.name in HALF


def candidates(
    canonical: Dialect, documented: Dialect, declared: Mapping[str, Declared], dtype: str
) -> Iterator[Candidate]:
    """Yield the canonical semantics and the declared dialect, in sound arithmetic and in narrower."""
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
    """Return the dtype narrower than it should be in which an implementation might compute."""
    return {"float64": "float32", "float32": None}.get(dtype, dtype)
