"""What is explained: a case of the spec, or a person's own data as a case, with what they did not say left open."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from conformance.answers.typed_numbers import Typed
from conformance.errors import UsageError
from conformance.operations import OPERATIONS
from conformance.operations.operation import Operation
from conformance.spec.budgets import INPUT_BYTES
from conformance.spec.case import Case
from conformance.spec.complaint import hint
from conformance.spec.loader import load_clauses, load_file
from conformance.spec.locations import spec_folder

Array = np.ndarray[Any, np.dtype[Any]]

#: Operations that data and settings alone describe.
OWN = tuple(
    name
    for name, operation in OPERATIONS.items()
    if operation.options is None and not operation.needs and not operation.whole
)
DTYPES = ("float64", "float32", "float16", "bfloat16")
MODES = ("train", "infer")
#: As PyTorch's layers, Flax' and many others have it; nothing depends on the choice where it is left open.
_EPSILON, _DECAY = 1e-3, 0.99


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Settings:
    """What a person said of their own data; None and an absent name: nothing."""

    data: Array
    op: str = "batch_norm"
    feature_axes: tuple[int, ...] | None = None
    epsilon: float | None = None
    decay: float | None = None
    dtype: str = "float32"
    mode: str | None = None
    #: Train steps on these data before the inference.
    trained: int | None = None
    scale: bool = True
    center: bool = True
    #: Gamma, beta and moving values, by name.
    state: Mapping[str, Typed] = field(default_factory=dict)
    upstream: Typed | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Subject:
    """What is explained."""

    case: Case
    #: What was said, by the name of the option; everything of a case of the spec.
    given: frozenset[str]
    #: What was not said, and what is taken instead.
    assumed: tuple[str, ...] = ()
    #: Train steps on the data before the inference that is last, where the data are a person's own.
    trained: int = 0
    #: Whether it is a case of the spec.
    shipped: bool = False

    @property
    def operation(self) -> Operation:
        """The operation of the case."""
        return OPERATIONS[self.case.op]


def of_case(id_: str) -> Subject:
    """Return the case of the spec with that id. Raises `UsageError`."""
    folder = spec_folder()
    files = {file.stem: file for file in sorted((folder / "cases").glob("*.yaml"))}
    family = id_.partition(".")[0]
    if family not in files:
        raise UsageError(f"{id_}: no family of cases is called {family!r}{hint(family, files)}")
    cases = {entry.case.id: entry.case for entry in load_file(files[family], load_clauses(folder / "semantics.md"))}
    if id_ not in cases:
        variants = [name for name in cases if name.startswith(f"{id_}/")]
        near = variants or difflib.get_close_matches(id_, cases, n=3)
        raise UsageError(f"{id_}: no such case" + (f"; did you mean {', '.join(near[:4])}?" if near else ""))
    case = cases[id_]
    given = {"feature_axes", "epsilon", "decay", "mode", "trained", *OPERATIONS[case.op].state(case.configuration)}
    return Subject(case=case, given=frozenset(given), shipped=True)


def of_settings(settings: Settings) -> Subject:
    """Return a person's own data as a case. Raises `UsageError`, one line that names the option."""
    operation = _checked(settings)
    axes = (settings.data.ndim - 1,) if settings.feature_axes is None else settings.feature_axes
    values: dict[str, Any] = {
        "id": "yours.data",
        "title": "Numbers from the command line.",
        "source": "the command line",
        "clauses": ["1.1"],
        "op": settings.op,
        "shape": settings.data.shape,
        "feature_axes": axes,
        "dtype": settings.dtype,
        "epsilon": _EPSILON if settings.epsilon is None else settings.epsilon,
        "decay": _DECAY if settings.decay is None else settings.decay,
        "scale": settings.scale,
        "center": settings.center,
        "steps": _steps(settings),
    }
    case = Case.model_validate(values)
    _check_axes(settings, axes)
    initial = _initial(settings, case, operation)
    case = case.model_copy(update={"initial": Case.model_validate({**values, "initial": initial}).initial})
    return Subject(
        case=case,
        given=_given(settings),
        assumed=_assumed(settings, case, operation),
        trained=settings.trained or 0,
    )


def _checked(settings: Settings) -> Operation:
    """Return the operation of settings that can be meant, before anything depends on them."""
    data = settings.data
    if settings.op not in OWN:
        raise UsageError(f"--op: expected one of {', '.join(OWN)}, got {settings.op!r}{hint(settings.op, OWN)}")
    if settings.mode not in (None, *MODES):
        raise UsageError(f"--mode: expected train or infer, got {settings.mode!r}{hint(str(settings.mode), MODES)}")
    if settings.dtype not in DTYPES:
        raise UsageError(
            f"--dtype: expected one of {', '.join(DTYPES)}, got {settings.dtype!r}{hint(settings.dtype, DTYPES)}"
        )
    if not 1 <= data.ndim <= 8:
        raise UsageError(f"--data: expected 1 to 8 axes, such as '[[1], [5]]', got {data.ndim}")
    if data.nbytes > INPUT_BYTES:
        raise UsageError(f"--data: {data.size} values, of at most {INPUT_BYTES // 8}")
    if settings.trained and settings.mode == "train":
        raise UsageError("--trained: counts the train steps before an inference, so not with --mode train")
    if settings.upstream is not None and settings.upstream.values.size != data.size:
        counts = f"{data.size} numbers, as --data has, got {settings.upstream.values.size}"
        raise UsageError(f"--upstream: expected {counts}")
    return OPERATIONS[settings.op]


def _check_axes(settings: Settings, axes: tuple[int, ...]) -> None:
    rank = settings.data.ndim
    for axis in axes:
        if not -rank <= axis < rank:
            shape = f"data of shape {list(settings.data.shape)}"
            raise UsageError(f"--feature-axes: {shape} have the axes {-rank} to {rank - 1}, got {axis}")
    if len({axis % rank for axis in axes}) < len(axes):
        raise UsageError(f"--feature-axes: names an axis twice: {', '.join(map(str, axes))}")


def _steps(settings: Settings) -> list[dict[str, Any]]:
    data = {"kind": "literal", "values": settings.data.tolist()}
    upstream: dict[str, Any] = {}
    if settings.upstream is not None:
        upstream = {
            "upstream": {"kind": "literal", "values": settings.upstream.values.reshape(settings.data.shape).tolist()}
        }
    infer, train = {"step": "infer", "input": data, **upstream}, {"step": "train", "input": data, **upstream}
    match settings.mode, settings.trained:
        case "train", _:
            return [train]
        case _, int(trained) if trained:
            return [{"step": "repeat", "times": trained, "steps": [{"step": "train", "input": data}]}, infer]
        case "infer", _:
            return [infer]
        case _:
            # Inference first: it leaves the state as the train step should find it.
            return [infer, train]


def _initial(settings: Settings, case: Case, operation: Operation) -> dict[str, Any]:
    """Return the recipes of the state that was given, one value of it for each feature."""
    configuration, recipes = case.configuration, {}
    present = operation.state(configuration)
    for name, numbers in settings.state.items():
        option = f"--{name.replace('_', '-')}"
        if name not in present:
            why = {"gamma": " with --no-scale", "beta": " with --no-center"}.get(name, "")
            raise UsageError(f"{option}: {settings.op}{why if settings.op == 'batch_norm' else ''} has none")
        if numbers.values.size not in (1, configuration.feature_count):
            count = configuration.feature_count
            raise UsageError(f"{option}: expected 1 number or {count}, one a feature, got {numbers.values.size}")
        if name == "moving_variance" and (numbers.values < 0).any():
            raise UsageError(f"{option}: a variance is not negative, got {numbers.values.min():g}")
        spread = np.broadcast_to(numbers.values.reshape(-1), configuration.feature_count)
        recipes[name] = {"kind": "literal", "values": spread.reshape(configuration.features).tolist()}
    return recipes


def _given(settings: Settings) -> frozenset[str]:
    said = {
        "feature_axes": settings.feature_axes is not None,
        "epsilon": settings.epsilon is not None,
        "decay": settings.decay is not None,
        "mode": settings.mode is not None or bool(settings.trained),
        "trained": settings.trained is not None,
    }
    return frozenset({name for name, is_said in said.items() if is_said} | settings.state.keys())


def _assumed(settings: Settings, case: Case, operation: Operation) -> tuple[str, ...]:
    """Return what was not said, in the order of the options."""
    given, sentences = _given(settings), []
    if "feature_axes" not in given:
        sentences.append("the features are the last axis (--feature-axes)")
    if "epsilon" not in given and "moving_variance" in operation.quantities:
        sentences.append(f"epsilon is {case.epsilon:g} (--epsilon)")
    if "decay" not in given and settings.mode != "infer":
        sentences.append(f"decay is {case.decay:g} (--decay)")
    if "mode" not in given:
        sentences.append("both modes are shown (--mode)")
    neutral = [name for name in operation.state(case.configuration) if name not in given]
    if neutral:
        values = ", ".join(f"{name} is {operation.initial[name]:g}" for name in neutral)
        sentences.append(f"{values} (--{neutral[0].replace('_', '-')} and the like)")
    return tuple(sentences)
