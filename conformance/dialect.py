"""A dialect: the choices in which correct implementations differ, as data.

The defaults are the canonical semantics of `spec/semantics.md`. A profile's declared fields replace them;
a diagnosis replaces one more and sees whether the numbers fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

from conformance.protocol import Declared


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One consistent set of choices."""

    #: Bessel's correction (0 or 1) of the variance that normalizes in training.
    normalizing_correction: int = 0
    #: Bessel's correction (0 or 1) of the variance that enters the moving variance.
    moving_correction: int = 0
    update: Literal["exponential", "zero_debiased", "first_batch", "cumulative", "merge", "none"] = "exponential"
    normalizes_with: Literal["batch", "moving_before", "moving_after"] = "batch"
    single_value: Literal["zero_variance", "error", "identity"] = "zero_variance"
    empty_batch: Literal["keep", "error"] = "keep"
    frozen_implies_inference: bool = False
    #: Dtype of the stored moving values; None: that of the parameters.
    statistics_dtype: str | None = None
    state: Literal["layer", "caller", "none"] = "layer"
    #: Of replicas with statistics of their own: whether their moving values stay apart, are averaged at every train
    #: step, or are replaced by the first replica's before every pass.
    replica_moving: Literal["apart", "mean", "first"] = "apart"
    #: Whether the replicas' gradients of gamma and beta are added, as those of the whole loss are, or averaged.
    replica_gradients: Literal["sum", "mean"] = "sum"


CANONICAL = Dialect()
FIELDS = tuple(field.name for field in fields(Dialect))


def allows(field: str, value: object) -> bool:
    """Return whether a profile may declare that value of that field."""
    hint = get_type_hints(Dialect).get(field)
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    match field:
        case "normalizing_correction" | "moving_correction":
            return value in (0, 1) and not isinstance(value, bool)
        case "frozen_implies_inference":
            return isinstance(value, bool)
        case "statistics_dtype":
            return value in ("float64", "float32", "float16", "bfloat16")
        case _:
            return False


def declared_at(profile: Iterable[Declared], rank: int) -> dict[str, Declared]:
    """Return the profile's declarations for inputs of that rank, by field; the first of a field counts."""
    found: dict[str, Declared] = {}
    for declared in profile:
        if declared.ranks is None or rank in declared.ranks:
            found.setdefault(declared.field, declared)
    return found


def apply(base: Dialect, declared: Mapping[str, Declared]) -> Dialect:
    """Return `base` with every declared field in place."""
    values: dict[str, Any] = {name: each.value for name, each in declared.items()}
    return replace(base, **values)
