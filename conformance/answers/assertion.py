"""`assert_conforms`: fails a test where numbers are outside the bound that every healthy algorithm keeps on that input."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from conformance.answers.own_numbers import OwnNumbers, configuration_of, of_pass
from conformance.errors import UsageError
from conformance.judging.judgement import Judgement
from conformance.precision import dtype_name
from conformance.runfile.lines import record_line, recorded_catalogue
from conformance.runfile.notes import describe
from conformance.spec.divergences import Known

_STATE = ("gamma", "beta", "moving_mean", "moving_variance")
_MOVED = ("moving_mean", "moving_variance")


def assert_conforms(  # noqa: PLR0913 - one parameter per array
    actual: ArrayLike | Mapping[str, ArrayLike],
    x: ArrayLike,
    *,
    training: bool,
    feature_axes: int | Iterable[int],
    epsilon: float,
    decay: float | None = None,
    gamma: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    moving_mean: ArrayLike | None = None,
    moving_variance: ArrayLike | None = None,
    upstream: ArrayLike | None = None,
    dialect: Mapping[str, str | int | bool] | None = None,
) -> Judgement:
    """Raise `AssertionError` where `actual` is not what batch normalization of `x` gives; else return the judgement.

    Stands where `numpy.testing.assert_allclose(actual, desired, rtol)` stood, without a tolerance and without `desired`.

    Parameters
    ----------
    actual
        The output, of the shape of `x`; or by name whatever of these is to be judged: `output`, `moving_mean` and
        `moving_variance` after the pass, `batch_mean`, `batch_variance`, `grad_input`, `grad_gamma`, `grad_beta`.
    x
        The input: float64, float32, float16 or bfloat16.
    training
        Whether the layer was called in training, and so normalized with the batch.
    feature_axes
        The axes that are kept, each index with statistics of its own; every other axis is reduced.
    epsilon
        What is added to the variance under the root.
    decay
        The weight of the old moving value, `moving = decay * moving + (1 - decay) * batch`; needed where moving values
        after a training pass are judged. PyTorch's, MLX's and ONNX's `momentum` differ from it: see the documentation.
    gamma, beta, moving_mean, moving_variance
        The state before the pass, one value per feature; omitted: 1, 0, 0 and 1.
    upstream
        The gradient of the loss with respect to the output, of the shape of `x`, where gradients are judged.
    dialect
        What your implementation documents to do otherwise, such as `{"moving_correction": 1}`.

    Raises
    ------
    AssertionError
        With the quantity, its worst element, what was expected, came and is allowed there, and the cause.
    UsageError
        Where shapes, dtypes or names do not fit one another.

    """
    outputs = actual if isinstance(actual, Mapping) else {"output": actual}
    array, given = np.asarray(x), dict(zip(_STATE, (gamma, beta, moving_mean, moving_variance), strict=True))
    state = {name: value for name, value in given.items() if value is not None}
    if training and decay is None and any(name in outputs for name in _MOVED):
        raise UsageError("moving values after a training pass depend on decay: pass it")
    if upstream is None and any(name.startswith("grad_") for name in outputs):
        raise UsageError("gradients depend on the gradient of the loss with respect to the output: pass upstream")
    configuration = configuration_of(
        array,
        feature_axes=feature_axes,
        epsilon=epsilon,
        decay=0.9 if decay is None else decay,
        parameter_dtype=_parameter_dtype([*state.values(), *(outputs[name] for name in _STATE if name in outputs)]),
    )
    inputs: dict[str, Any] = {"input": array, **state, **({} if upstream is None else {"upstream": upstream})}
    numbers = of_pass(configuration, inputs, outputs, "train" if training else "infer", dialect)
    judgement = numbers.judge()
    if not judgement.verdict.agrees:
        raise AssertionError(note(numbers, judgement))
    return judgement


def note(numbers: OwnNumbers, judgement: Judgement) -> str:
    """Return what is wrong as text: each quantity that does not conform, its worst element, and why."""
    record = record_line(numbers.cell, judgement, Known(), inputs=numbers.inputs)
    return describe(record, recorded_catalogue())


def _parameter_dtype(arrays: Iterable[Any]) -> str | None:
    """Return the dtype of the parameters, where arrays of some are given. Raises `UsageError` where they have several."""
    names = {dtype_name(np.asarray(array).dtype) for array in arrays if hasattr(array, "dtype")}
    if len(names) > 1:
        raise UsageError(f"parameters of one layer have one dtype; got {', '.join(sorted(names))}")
    return next(iter(names), None)
