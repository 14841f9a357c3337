"""What is wrong with the steps of a case: their order, what they need, their shapes, and recipes that cannot be made."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np

from conformance.errors import SpecError
from conformance.operations import OPERATIONS
from conformance.operations.layout import shape_of
from conformance.precision import dtype_named
from conformance.spec.budgets import INPUT_BYTES, WHOLE_BYTES, mebibytes
from conformance.spec.case import Case, Infer, Repeat, Sgd, Step, Train, handed, unfit
from conformance.spec.complaint import hint
from conformance.spec.recipe import misfit, realize

#: Makes an error of a message and the path of a key in the case.
Error: TypeAlias = Callable[..., SpecError]


def step_checks(case: Case, error: Error) -> Iterator[SpecError]:
    """Yield what is wrong with the steps of a case and with its initial state; `error` makes one at a place in the case."""
    operation = OPERATIONS[case.op]
    configuration = case.configuration
    trained = differentiated = False
    for place, step, _ in written(case):
        if step.step not in operation.formulas:
            yield error(f"{case.op} has no step {step.step}", *place)
        match step:
            case Train() | Infer():
                given = {*step.arrays, *(["upstream"] if step.upstream is not None else [])}
                unknown = [name for name in step.arrays if name not in operation.arrays]
                yield from (error(f"{case.op} takes no {name}", *place, name) for name in unknown)
                missing = sorted(operation.needs - given)
                yield from (error(f"{name}: is missing, which {case.op} needs", *place) for name in missing)
                if unknown or missing:
                    continue
            case Sgd() if not trained:
                yield error("needs a train step before it", *place)
            case Sgd() if not differentiated:
                yield error("needs gradients: the train step before it has no upstream", *place)
            case _:
                pass
        if isinstance(step, Train) and not unfit(step):
            trained, differentiated = True, step.upstream is not None
        if isinstance(step, Train | Infer):
            yield from _shape_checks(case, step, error, place)
    taking = ((step, times) for _, step, times in written(case) if isinstance(step, Train | Infer))
    whole = sum(times * _bytes(case, case.step_shape(step)) for step, times in taking)
    if whole > WHOLE_BYTES:
        yield error(f"take {mebibytes(whole)} together, over the budget of {mebibytes(WHOLE_BYTES)}", "steps")
    names = operation.state(configuration)
    for name, recipe in case.initial.items():
        if name not in names:
            yield error(f"this configuration of {case.op} has no {name}{hint(name, names)}", "initial", name)
            continue
        shape = shape_of(operation.quantities[name].shape, configuration, case.shape)
        yield from _recipe_checks(recipe, shape, tuple(range(len(shape))), error, ("initial", name))


def written(case: Case) -> Iterator[tuple[tuple[str | int, ...], Step, int]]:
    """Yield each step as it is written, once, with its path in the case and how often it is performed."""
    for index, step in enumerate(case.steps):
        match step:
            case Repeat(steps=repeated, times=times):
                for inner, repeated_step in enumerate(repeated):
                    yield ("steps", index, "steps", inner), repeated_step, times
            case _:
                yield ("steps", index), step, 1


def _shape_checks(case: Case, step: Train | Infer, error: Error, place: tuple[str | int, ...]) -> Iterator[SpecError]:
    shape, axes = case.step_shape(step), case.step_axes(step)
    fits = len(shape) == len(case.shape) and all(shape[axis] == case.shape[axis] for axis in axes)
    if step.refused is not None or step.handed:
        checks = _handed_checks if step.handed else _unfit_checks
        complaints = [
            *checks(case, step, fits=fits, error=error, place=place),
            *_proof_checks(case, step, error, place),
        ]
        yield from complaints
        if complaints:
            return
    elif not fits:
        yield error(f"must have the rank and the feature sizes of {case.shape}", *place, "shape")
        return
    misfit = OPERATIONS[case.op].misfit(case.configuration, step.step, shape)
    if misfit and step.refused is None:
        yield error(misfit, *((*place, "shape") if step.shape is not None else ("options",)))
        return
    size = _bytes(case, shape)
    if size > INPUT_BYTES:
        key = (*place, "shape") if step.shape is not None else ("shape",)
        yield error(f"{list(shape)} takes {mebibytes(size)}, over the budget of {mebibytes(INPUT_BYTES)}", *key)
        return
    for name in ("input", "upstream"):
        recipe = getattr(step, name)
        if recipe is not None:
            yield from _recipe_checks(recipe, shape, axes, error, (*place, name))
    yield from _whole_checks(case, step, error, place)
    for name, recipe in step.arrays.items():
        if OPERATIONS[case.op].arrays[name] == "mask":
            reduced = tuple(shape[axis] for axis in case.configuration.reduction_axes)
            yield from _mask_checks(step, recipe, reduced, error, (*place, name))
        else:
            yield from _recipe_checks(recipe, shape, axes, error, (*place, name))


def _unfit_checks(
    case: Case, step: Train | Infer, *, fits: bool, error: Error, place: tuple[str | int, ...]
) -> Iterator[SpecError]:
    """Yield why an input that must be refused is of no wrong size or rank, or needs what cannot be made for it."""
    shape, lacks = case.step_shape(step), len(case.step_axes(step)) < len(case.configuration.feature_axes)
    if fits:
        yield error(
            f"the shape {list(shape)} fits {list(case.shape)}, so that nothing must be refused", *place, "refused"
        )
    elif lacks is not (step.refused == "wrong rank"):
        right = "wrong rank, without a feature axis" if lacks else "wrong size"
        yield error(f"expected {right}, which the shape {list(shape)} is of", *place, "refused")
    elif len(shape) != len(case.shape) and not lacks:
        yield error("of another rank must lack a feature axis: some layers take any rank that has it", *place, "shape")
    elif lacks and step.arrays:
        yield error(f"an input of a wrong rank has no {' and no '.join(step.arrays)}", *place, "refused")
    elif step.upstream is not None and step.upstream.kind == "mean_squared_error":
        yield error("a step that must be refused has no output for a mean_squared_error", *place, "upstream")


def _proof_checks(case: Case, step: Train | Infer, error: Error, place: tuple[str | int, ...]) -> Iterator[SpecError]:
    if all(unfit(other) for other in case.performed if other.step == step.step):
        yield error(f"proves nothing where no {step.step} step of the case fits", *place, "refused")


def _handed_checks(
    case: Case, step: Train | Infer, *, fits: bool, error: Error, place: tuple[str | int, ...]
) -> Iterator[SpecError]:
    """Yield why what a call is handed is nothing that it must refuse for its size."""
    operation, names = OPERATIONS[case.op], OPERATIONS[case.op].state(case.configuration)
    for name, shape in handed(step).items():
        place_of_name = (*place, "handed", name)
        if name not in names:
            yield error(f"this configuration of {case.op} has no {name}{hint(name, names)}", *place_of_name)
        elif shape == shape_of(operation.quantities[name].shape, case.configuration, case.shape):
            yield error(f"the shape {list(shape)} fits, so that nothing must be refused", *place_of_name)
        elif len(shape) != len(case.configuration.features):
            yield error(f"must have {len(case.configuration.features)} axes, as {name} has", *place_of_name)
    if step.refused != "wrong size":
        yield error(
            "is missing: what is handed is of a wrong size" if step.refused is None else "expected wrong size",
            *place,
            "refused",
        )
    elif not fits:
        yield error("must be the input's own: what is handed does not fit it", *place, "shape")
    elif step.upstream is not None and step.upstream.kind == "mean_squared_error":
        yield error("a step that must be refused has no output for a mean_squared_error", *place, "upstream")


def _whole_checks(case: Case, step: Train | Infer, error: Error, place: tuple[str | int, ...]) -> Iterator[SpecError]:
    """Yield why the input cannot be handed over as whole numbers."""
    dtype, shape, axes = case.input_dtype, case.step_shape(step), case.step_axes(step)
    if dtype is None or misfit(step.input, shape, axes):
        return
    if step.upstream is not None:
        yield error("an input of whole numbers is not differentiated", *place, "upstream")
    values = realize(step.input, shape, axes, case.dtype).astype(np.float64)
    with np.errstate(invalid="ignore"):
        held = values.astype(dtype).astype(np.float64)
    if not np.array_equal(values, held):
        wrong = values[values != held].reshape(-1)[0]
        yield error(f"{wrong:g} is no {dtype}, which the input is handed over as", *place, "input")


def _mask_checks(
    step: Train | Infer, mask: Any, reduced: tuple[int, ...], error: Error, place: tuple[str | int, ...]
) -> Iterator[SpecError]:
    wrong = list(_recipe_checks(mask, reduced, (), error, place))
    yield from wrong
    # Where nothing counts, the output is not determined.
    follows = step.upstream is not None and step.upstream.kind == "mean_squared_error"
    if not wrong and follows and not np.any(realize(mask, reduced, (), "float32")):
        yield error("no position counts, so that there is no output for a mean_squared_error", *place)


def _bytes(case: Case, shape: tuple[int, ...]) -> int:
    """Return how large an input of that shape is; an empty one counts what its statistics or its rows would be of."""
    return math.prod(max(1, size) for size in shape) * dtype_named(case.dtype).itemsize


def _recipe_checks(
    recipe: Any, shape: tuple[int, ...], axes: tuple[int, ...], error: Error, place: tuple[str | int, ...]
) -> Iterator[SpecError]:
    if recipe.kind == "mean_squared_error" and place[-1] != "upstream":
        yield error("mean_squared_error is a gradient with respect to the output, and stands under upstream", *place)
        return
    complaint = misfit(recipe, shape, axes)
    if complaint is not None:
        yield error(complaint, *place)
