"""What a train step in virtual batches must give: that of batch normalization on each part, put together.

Arrays are (m, C) and (C,), as in `conformance.operations.batch_norm.reference`. A part is a set of whole samples; the
moving values that a part leaves are those that the next begins with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.operations import batch_norm
from conformance.operations.batch_norm.reference import batch_mean, training
from conformance.operations.batch_norm.terms import train_terms as whole_terms
from conformance.operations.expected import Expected
from conformance.operations.moving import moved_bound, weights
from conformance.operations.situation import Situation
from conformance.precision import Precision, theta

Array = np.ndarray[Any, np.dtype[Any]]
Results = dict[str, Expected]
#: The rows of each part, of a batch of so many rows, in so many parts.
Grouping = Callable[[int, int], Array]

MOVING = ("moving_mean", "moving_variance")
_BATCH = {"moving_mean": "batch_mean", "moving_variance": "batch_variance"}


def consecutive(rows: int, parts: int) -> Array:
    """Return the rows of each part, shape (parts, rows / parts): samples that follow one another, clause 25.1."""
    return np.arange(rows).reshape(parts, -1)


def parts_of(situation: Situation) -> int:
    """Return how many parts the step's batch has.

    Inference that a hypothesis performs as training may have a number of samples that none divide.
    """
    parts, left = divmod(situation.shape[0], int(situation.configuration.options["virtual_batch"]))
    return 1 if left else max(1, parts)


def train(situation: Situation, worked: Precision) -> Results:
    """Return what one train step must give; an empty batch changes nothing."""
    return train_in(situation, worked, consecutive)


def train_in(situation: Situation, worked: Precision, grouping: Grouping) -> Results:
    """Return what one train step gives whose parts are of those rows."""
    if not situation.x.shape[0]:
        return batch_norm.train(situation, worked)
    rows = grouping(situation.x.shape[0], parts_of(situation))
    steps = list(_steps(situation, rows))
    results = [batch_norm.train(step, worked) for step in steps]
    joined: Results = {
        name: _joined([part_results[name] for part_results in results], rows)
        for name in ("output", "grad_input")
        if name in results[0]
    }
    with np.errstate(all="ignore"):
        added = _added(steps, results, worked)
    return {**joined, **added, **{name: _followed(name, steps, results, worked) for name in MOVING}}


def train_terms(situation: Situation) -> Mapping[str, Mapping[str, Array]]:
    """Return the terms of one train step, as those of the whole batch and of its parts."""
    if not situation.x.size:
        return {}
    parts = [training(step) for step in _steps(situation, consecutive(situation.x.shape[0], parts_of(situation)))]
    first, last = parts[0][0], parts[-1][0]
    statistics = {"moving_mean": (first.mean, last.mean), "moving_variance": (first.variance, last.variance)}
    terms = {name: dict(quantity_terms) for name, quantity_terms in whole_terms(situation).items()}
    return terms | {
        name: {**terms[name], "first part": statistics[name][0], "last part": statistics[name][1]}
        for name in statistics
    }


def _steps(situation: Situation, rows: Array) -> Sequence[Situation]:
    """Return the step of each part, from the moving values that the one before it leaves."""
    result: list[Situation] = []
    state = situation.state
    for number, part in enumerate(rows):
        step = replace(
            situation,
            x=situation.x[part],
            upstream=None if situation.upstream is None else situation.upstream[part],
            state=state,
            trained=situation.trained * len(rows) + number,
            shape=(situation.shape[0] // len(rows), *situation.shape[1:]),
        )
        result.append(step)
        with np.errstate(all="ignore"):
            after = training(step)[1]
        state = {**state, **dict(zip(MOVING, after, strict=True))}
    return result


def _joined(parts: Sequence[Expected], rows: Array) -> Expected:
    """Return the parts' rows in the order of the batch, each within its own bound."""
    back = np.argsort(rows.reshape(-1), kind="stable")

    def whole(arrays: Sequence[Array]) -> Array:
        return np.asarray(np.concatenate(arrays)[back])

    return Expected(
        value=whole([part.value for part in parts]),
        bound=whole([part.bound for part in parts]),
        magnitude=whole([np.broadcast_to(part.magnitude, part.value.shape) for part in parts]),
        in_domain=whole([np.broadcast_to(part.in_domain, part.value.shape) for part in parts]),
        narrower={name: whole([part.narrower[name] for part in parts]) for name in parts[0].narrower},
    )


def _added(steps: Sequence[Situation], results: Sequence[Results], worked: Precision) -> Results:
    """Return the gradients of gamma and beta, which the parts' add up to.

    Σ B_j + θ(m) Σ|t| + u|Σt|, with t the products that are summed and m the values of all parts: the sum may run over
    the whole batch at once, which is longer than a part's by no more than m, or over the sums of the parts.
    """
    if steps[0].upstream is None:
        return {}
    sizes = {"grad_beta": np.zeros(()), "grad_gamma": np.zeros(())}
    for step in steps:
        assert step.upstream is not None
        pull, normalized = np.abs(step.upstream), np.abs(training(step)[2].normalized)
        sizes["grad_beta"] = sizes["grad_beta"] + pull.sum(axis=0)
        sizes["grad_gamma"] = sizes["grad_gamma"] + (pull * normalized).sum(axis=0)
    count = sum(len(step.x) for step in steps)
    return {
        name: _sum([part_results[name] for part_results in results], size, count, worked)
        for name, size in sizes.items()
    }


def _sum(parts: Sequence[Expected], size: Array, count: int, worked: Precision) -> Expected:
    value = np.add.reduce([part.value for part in parts])
    extra = (theta(count, worked.unit) * size + worked.unit * np.abs(value)).astype(np.float64)
    return Expected(
        value=value,
        bound=np.add.reduce([part.bound for part in parts]) + extra,
        magnitude=np.add.reduce([part.magnitude for part in parts]),
        in_domain=np.logical_and.reduce([part.in_domain for part in parts]),
        narrower={name: np.add.reduce([part.narrower[name] for part in parts]) + extra for name in parts[0].narrower},
    )


def _followed(name: str, steps: Sequence[Situation], results: Sequence[Results], worked: Precision) -> Expected:
    """Return a moving value after the last part: the bound of each update, and w(1 + 9u) of the bound before it.

    w is the weight of the old value; 9u covers what the roundings of the update, `conformance.operations.moving.moved_bound`,
    take of an M that is off.
    """
    parts = [part_results[name] for part_results in results]
    carried = [_old_weight(step) * (1 + 9 * worked.unit) for step in steps]

    def followed(bounds: Sequence[Array]) -> Array:
        bound = bounds[0]
        for own, factor in zip(bounds[1:], carried[1:], strict=True):
            bound = own + factor * bound
        return np.asarray(bound)

    return Expected(
        value=parts[-1].value,
        bound=followed([part.bound for part in parts]),
        magnitude=np.maximum.reduce([part.magnitude for part in parts]),
        in_domain=np.logical_and.reduce([part.in_domain for part in parts]),
        narrower={grade: followed([part.narrower[grade] for part in parts]) for grade in parts[0].narrower},
    )


def _old_weight(step: Situation) -> float:
    return float(weights(step.dialect, step.configuration.decay, step.trained, step.x.dtype.type)[0])


def averaged(situation: Situation, results: Results, grouping: Grouping, worked: Precision) -> Results:
    """Return the moving values of one update by the mean of the parts' statistics, in place of one update per part."""
    if not situation.x.shape[0]:
        return results
    steps = _steps(situation, grouping(situation.x.shape[0], parts_of(situation)))
    own = [batch_norm.train(replace(step, state=situation.state), worked) for step in steps]
    weight = weights(situation.dialect, situation.configuration.decay, situation.trained, situation.x.dtype.type)
    moved = {}
    for name in MOVING:
        parts = [part_results[_BATCH[name]] for part_results in own]
        values = np.stack([part.value for part in parts])
        size, entering = np.abs(values).mean(axis=0), batch_mean(values)
        limit = np.mean([part.bound for part in parts], axis=0) + theta(len(parts) + 1, worked.unit) * size
        old = situation.state[name]
        moved[name] = replace(
            results[name],
            value=weight[0] * old + weight[1] * entering,
            bound=moved_bound(old, entering, limit, weight, worked),
            narrower={},
        )
    return {**results, **moved}
