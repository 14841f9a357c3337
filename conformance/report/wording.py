"""What the page calls things: verdicts with their symbols, and the fields of a dialect."""

from __future__ import annotations

from dataclasses import dataclass

from conformance.runfile.observed import RecordedCell
from conformance.verdict import Standing, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """How a cell stands to what was expected of it: what stands beside its verdict, and in words."""

    sign: str
    word: str
    meaning: str


#: From best to worst; those without a word need none.
STANDS = {
    "agrees": Sign(sign="", word="", meaning="as the spec has it"),
    "apart": Sign(sign="", word="", meaning="says nothing about the implementation"),
    "documented": Sign(sign="°", word="documented", meaning="a refusal that the documentation announces"),
    "known": Sign(sign="†", word="known divergence", meaning="listed with its reason in divergences.yaml"),
    "stale": Sign(sign="‡", word="stale", meaning="agrees, and is still listed as diverging: fails the run"),
    "unexpected": Sign(sign="", word="unexpected", meaning="fails the run"),
}
ORDER = {name: position for position, name in enumerate(STANDS)}


def stand(cell: RecordedCell) -> str:
    """Return how a cell stands, a key of `STANDS`: what is unexpected because it agrees is stale."""
    if cell.standing is Standing.UNEXPECTED and cell.verdict.agrees and cell.record.divergence:
        return "stale"
    return cell.standing.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """A verdict in words."""

    symbol: str
    word: str
    meaning: str


VERDICTS = {
    Verdict.EXACT: Words(
        symbol="=", word="exact", meaning="equal to the reference in every bit: rounding cost nothing on these data"
    ),
    Verdict.CONFORMS: Words(symbol="✓", word="conforms", meaning="within the derived error bound"),
    Verdict.DIALECT: Words(symbol="≈", word="dialect", meaning="differs, exactly as its documentation says"),
    Verdict.REFUSED: Words(symbol="⊘", word="refused", meaning="raised an error"),
    Verdict.DEVIATES: Words(symbol="≠", word="deviates", meaning="outside every bound and documented dialect"),
    Verdict.TIMED_OUT: Words(symbol="◔", word="timed out", meaning="gave no answer before its deadline"),
    Verdict.CRASHED: Words(symbol="✕", word="crashed", meaning="took its process down"),
    Verdict.UNSUPPORTED: Words(symbol="\N{EN DASH}", word="unsupported", meaning="the API cannot express the case"),
    Verdict.NOT_DECIDABLE: Words(symbol="?", word="not decidable", meaning="the bound says nothing here"),
    Verdict.OUTSIDE_DOMAIN: Words(
        symbol="∉", word="outside domain", meaning="an intermediate may leave the range of the dtype"
    ),
}

FIELDS = {
    "normalizing_correction": "Bessel's correction of the variance that normalizes in training; the spec's is 0",
    "moving_correction": (
        "Bessel's correction of the variance that enters the moving variance: 0, the spec's, divides by m; "
        "1 divides by m - 1, which frameworks call unbiased"
    ),
    "update": "how a train step moves the moving values; the spec's is exponential",
    "normalizes_with": "what a train step normalizes with; the spec's is the batch",
    "single_value": "what becomes of a feature with one value in the batch; the spec's is zero_variance",
    "empty_batch": "what an empty batch does in training; the spec keeps the state",
    "frozen_implies_inference": "whether a layer made untrainable infers when called in training; in the spec, no",
    "statistics_dtype": "dtype of the stored moving values; the spec's is that of the parameters",
    "state": "who keeps the moving values; the spec's is the layer",
    "replica_moving": (
        "what becomes of the moving values of replicas with statistics of their own: apart, the spec's for batch "
        "normalization; the mean of all, the spec's for centering; or the first replica's before every pass"
    ),
    "replica_gradients": "how the replicas' gradients of gamma and beta are joined; the spec's is their sum",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Observable:
    """A part of a dialect that numbers show."""

    title: str
    #: The families of cases whose numbers show it.
    families: tuple[str, ...]
    #: Whether it is of the moving values, so that it shows only where an implementation keeps them.
    kept: bool = False


OBSERVED = {
    "normalizes_with": Observable(title="Training normalizes with", families=("probe",)),
    "update": Observable(title="Update", families=("probe",), kept=True),
    "later_update": Observable(title="Update of later steps", families=("moving", "centering"), kept=True),
    "decay": Observable(title="Decay", families=("probe",), kept=True),
    "moving_correction": Observable(title="Moving correction", families=("probe",), kept=True),
    "averaged": Observable(title="Averaged", families=("probe",), kept=True),
    "single_value": Observable(title="One value", families=("edges",)),
    "empty_batch": Observable(title="Empty batch", families=("edges", "centering"), kept=True),
    "frozen_implies_inference": Observable(title="Frozen infers", families=("freezing",)),
    "statistics_dtype": Observable(
        title="Dtype of moving values", families=("moving", "precision", "masked"), kept=True
    ),
    "state": Observable(title="Moving values kept by", families=("moving", "centering")),
}
