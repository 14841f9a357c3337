"""A dialect: the choices in which correct implementations differ, as data.

The defaults are the canonical semantics of `spec/semantics.md`. A profile's declared fields replace them;
a diagnosis replaces one more and sees whether the numbers fit.

Each field is declared here once, with all that others need of it: its values, which passes give other numbers under
another value, what it is called, and what the numbers show of it. A report reads this too, so that it imports no NumPy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from conformance.protocol import Declared

PassName = Literal["train", "infer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observable:
    """A part of a dialect that numbers show."""

    name: str
    title: str
    #: The families of cases whose numbers show it.
    families: tuple[str, ...]
    #: Whether it is of the moving values, so that it shows only where an implementation keeps them.
    kept: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DialectField:
    """What a field of `Dialect` means."""

    #: One phrase for people, with the spec's own value.
    words: str
    #: The passes whose numbers depend on it.
    changes: frozenset[PassName]
    #: The values that a profile may declare; empty where the field's type lists them.
    values: tuple[object, ...] = ()
    #: What the numbers show of it, in the order of the pages.
    observed: tuple[Observable, ...] = ()
    #: Where it shows, if that is another field's.
    observed_as: str = ""
    #: How an observation calls a value, where it does not call it by itself.
    shown: Mapping[object, str] = field(default_factory=dict)


def declares(
    default: object, words: str, *, changes: Iterable[PassName] = (), observed: Iterable[Observable] = (), **others: Any
) -> Any:
    """Return a field of `Dialect` with its meaning."""
    meaning = DialectField(words=words, changes=frozenset(changes), observed=tuple(observed), **others)
    return field(default=default, metadata={"meaning": meaning})


def _seen(name: str, title: str, *families: str, kept: bool = False) -> Observable:
    return Observable(name=name, title=title, families=families, kept=kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One consistent set of choices."""

    normalizing_correction: int = declares(
        0,
        "Bessel's correction of the variance that normalizes in training; the spec's is 0",
        values=(0, 1),
        # In inference too, where that normalizes with its own batch.
        changes=("train", "infer"),
        observed_as="normalizes_with",
    )
    normalizes_with: Literal["batch", "moving_before", "moving_after"] = declares(
        "batch",
        "what a train step normalizes with; the spec's is the batch",
        changes=["train"],
        observed=[_seen("normalizes_with", "Training normalizes with", "probe")],
        shown={
            "batch": "batch, correction {normalizing_correction}",  # noqa: RUF027 - formatted by `shown`
            "moving_before": "moving values before",
            "moving_after": "moving values after",
        },
    )
    update: Literal["exponential", "zero_debiased", "first_batch", "cumulative", "merge", "none"] = declares(
        "exponential",
        "how a train step moves the moving values; the spec's is exponential",
        changes=["train"],
        observed=[
            _seen("update", "Update", "probe", kept=True),
            _seen("later_update", "Update of later steps", "moving", "centering", kept=True),
            _seen("decay", "Decay", "probe", kept=True),
        ],
    )
    moving_correction: int = declares(
        0,
        "Bessel's correction of the variance that enters the moving variance: 0, the spec's, divides by m; "
        "1 divides by m - 1, which frameworks call unbiased",
        values=(0, 1),
        changes=["train"],
        observed=[
            _seen("moving_correction", "Moving correction", "probe", kept=True),
            _seen("averaged", "Averaged", "probe", kept=True),
        ],
    )
    single_value: Literal["zero_variance", "error", "identity"] = declares(
        "zero_variance",
        "what becomes of a feature with one value in the batch; the spec's is zero_variance",
        changes=["train"],
        observed=[_seen("single_value", "One value", "edges")],
    )
    empty_batch: Literal["keep", "error"] = declares(
        "keep",
        "what an empty batch does in training; the spec keeps the state",
        observed=[_seen("empty_batch", "Empty batch", "edges", "centering", kept=True)],
    )
    #: Which pass is performed depends on it, and so none of the numbers of that pass.
    frozen_implies_inference: bool = declares(
        False,
        "whether a frozen layer infers when it is called in training; in the spec, no",
        values=(False, True),
        observed=[_seen("frozen_implies_inference", "Frozen infers", "freezing")],
        shown={False: "no", True: "yes"},
    )
    #: None: that of the parameters.
    statistics_dtype: str | None = declares(
        None,
        "dtype of the stored moving values; the spec's is that of the parameters",
        values=("float64", "float32", "float16", "bfloat16"),
        observed=[_seen("statistics_dtype", "Dtype of moving values", "moving", "precision", "masked", kept=True)],
        shown={None: "that of the parameters"},
    )
    state: Literal["layer", "caller", "none"] = declares(
        "layer",
        "who keeps the moving values; the spec's is the layer",
        observed=[_seen("state", "Moving values kept by", "moving", "centering")],
    )
    #: Apart; averaged at every train step; or replaced by the first replica's before every pass.
    replica_moving: Literal["apart", "mean", "first"] = declares(
        "apart",
        "what becomes of the moving values of replicas with statistics of their own: apart, the spec's for batch "
        "normalization; the mean of all, the spec's for centering; or the first replica's before every pass",
        changes=("train", "infer"),
    )
    #: Added, as those of the whole loss are, or averaged.
    replica_gradients: Literal["sum", "mean"] = declares(
        "sum",
        "how the replicas' gradients of gamma and beta are joined; the spec's is their sum",
        changes=("train", "infer"),
    )


CANONICAL = Dialect()


def meanings(kind: type[Dialect] = Dialect) -> Mapping[str, DialectField]:
    """Return what each field means, by its name."""
    return {dialect_field.name: dialect_field.metadata["meaning"] for dialect_field in fields(kind)}


FIELDS = tuple(meanings())
#: What numbers show of a dialect, by the name under which it is recorded.
OBSERVED = {observable.name: observable for meaning in meanings().values() for observable in meaning.observed}


def values_of(name: str) -> tuple[object, ...]:
    """Return the values that a profile may declare of that field; none of a field that there is not."""
    if name not in FIELDS:
        return ()
    hint = get_type_hints(Dialect)[name]
    return get_args(hint) if get_origin(hint) is Literal else meanings()[name].values


def shown(name: str, values: Mapping[str, Any]) -> str:
    """Return the value of that field as an observation would call it, given those of all fields."""
    meaning, value = meanings().get(name), values[name]
    return str(value) if meaning is None else meaning.shown.get(value, str(value)).format(**values)


def allows(field: str, value: object) -> bool:
    """Return whether a profile may declare that value of that field."""
    # 1 is no True, though Python has them equal.
    return any(value == allowed and type(value) is type(allowed) for allowed in values_of(field))


def numeric(dialect: Dialect, canonical: Dialect, performs: PassName) -> Dialect:
    """Return the dialect with the canonical value of every field on which no number of that pass depends.

    Two dialects of which this is the same give the same numbers there.
    """
    indifferent = [name for name, meaning in meanings(type(dialect)).items() if performs not in meaning.changes]
    return replace(dialect, **{name: getattr(canonical, name) for name in indifferent})


def declared_at(profile: Iterable[Declared], rank: int) -> dict[str, Declared]:
    """Return the profile's declarations for inputs of that rank, by field; the first of a field counts."""
    by_field: dict[str, Declared] = {}
    for declared in profile:
        if declared.ranks is None or rank in declared.ranks:
            by_field.setdefault(declared.field, declared)
    return by_field


def apply(base: Dialect, declared: Mapping[str, Declared]) -> Dialect:
    """Return `base` with every declared field in place."""
    values: dict[str, Any] = {name: declaration.value for name, declaration in declared.items()}
    return replace(base, **values)
