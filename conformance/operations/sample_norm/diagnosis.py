"""The single changes by which normalizations of each sample have been got wrong, as far as they have them in common."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from conformance.cause import UNSTABLE, Cause, because
from conformance.dialect import Dialect
from conformance.operations.batch_norm.diagnosis import epsilons, parameters
from conformance.operations.batch_norm.expectations import changed_to
from conformance.operations.batch_norm.overflow import overflows
from conformance.operations.batch_norm.whole_numbers import cut, cut_off, dtypes, loosened, squares
from conformance.operations.expected import Expected
from conformance.operations.frozen import replace
from conformance.operations.hypothesis import Hypothesis
from conformance.operations.sample_norm.expected import performed
from conformance.operations.sample_norm.groups import Kind, Members, gathered, rows, trailing
from conformance.operations.sample_norm.reference import Gradients, Numbers, computed
from conformance.operations.situation import Situation
from conformance.operations.state_changes import state_changes
from conformance.precision import rounded, working
from conformance.protocol import Configuration

Array = np.ndarray[Any, np.dtype[Any]]
Results = dict[str, Expected]

PRODUCED = frozenset({"output", "grad_input", "grad_gamma", "grad_beta"})


def hypotheses(
    kind: Kind, elsewhere: Mapping[str, Members], configuration: Configuration, dialect: Dialect
) -> Iterator[Hypothesis]:
    """Yield the hypotheses, the more telling first; `elsewhere` has other groups to normalize over, by their words."""
    base = Hypothesis(configuration=configuration, dialect=dialect)
    for overflow in overflows(base):
        yield replace(overflow, change_situation=functools.partial(_by_group, kind, overflow))
    yield from epsilons(base)
    yield from _statistics(kind, base)
    for values, members in elsewhere.items():
        other = replace(kind, members=members)
        yield giving(base, because("normalized-over-other-values", values=values), functools.partial(_other, other))
    yield from _gradients(kind, base)
    yield from parameters(base)
    if len(configuration.feature_axes) == 1 and configuration.feature_axes[0] not in (0, configuration.rank - 1):
        yield giving(base, because("parameters-along-last-axis"), functools.partial(_along_last_axis, kind))
        if kind.members is rows:
            values = "the input's last axis, along which gamma and beta lie"
            cause = because("normalized-over-other-values", values=values)
            yield giving(base, cause, functools.partial(_along_last_axis, replace(kind, members=trailing)))
    yield from cut_off(base)
    yield from _of_integers(kind, base)
    yield from _data(base)
    yield from state_changes(base, ("gamma", "beta"), {})
    if kind.centred:
        yield replace(base, cause=because(UNSTABLE), variance="one_pass", last=True)


def giving(base: Hypothesis, cause: Cause, change: Callable[[Situation, Results], Results], *only: str) -> Hypothesis:
    """Return the hypothesis that a step gives what `change` makes of its results."""
    return replace(base, cause=cause, only=frozenset(only) or PRODUCED, change_results=change)


def _other(kind: Kind, situation: Situation, results: Results) -> Results:
    """Return what a step gives that normalizes over other groups."""
    if not results or not situation.x.size:
        return {}
    others = performed(kind, situation, working(situation.configuration.dtype))
    return {name: others[name] for name in results.keys() & others.keys()}


def _by_group(kind: Kind, overflow: Hypothesis, situation: Situation) -> Situation | None:
    """Return the situation in which an intermediate of a group leaves its range; None where all stay within."""
    assert overflow.change_situation is not None
    left = overflow.change_situation(replace(situation, x=gathered(situation.x, kind.members(situation))))
    return None if left is None else replace(situation, overflows=left.overflows)


def _statistics(kind: Kind, base: Hypothesis) -> Iterator[Hypothesis]:
    if not kind.centred:
        yield giving(base, because("mean-subtracted"), functools.partial(_other, replace(kind, centred=True)))
        yield giving(
            base, because("mean-subtracted-from-variance-alone"), functools.partial(_with, kind, _deviation_alone)
        )
        yield giving(base, because("sum-of-squares-not-divided"), functools.partial(_with, kind, _undivided))
        return
    yield base.in_dialect(because("normalizing-correction", correction=1), normalizing_correction=1)
    yield giving(base, because("mean-not-subtracted"), functools.partial(_with, kind, _uncentred))
    yield giving(base, because("variance-about-zero"), functools.partial(_with, kind, _about_zero))
    yield giving(base, because("variance-not-divided-by"), functools.partial(_with, kind, _unscaled))


def _of_integers(kind: Kind, base: Hypothesis) -> Iterator[Hypothesis]:
    """Yield that statistics of whole numbers are taken in the numbers' own dtype."""
    for dtype in dtypes(base)[:1] if kind.centred else ():
        cause = because("computed-in-integers", what="mean and variance are", dtype=dtype)
        yield giving(base, cause, functools.partial(_with, kind, _divided_down), "output")
    for dtype in dtypes(base):
        if dtype != "bool":
            for least in (-math.inf, 0.0):
                cause = because("squares-wrap-around", dtype=dtype)
                yield giving(base, cause, functools.partial(_of_wrapped_squares, kind, dtype, least), "output")
    for dtype in dtypes(base)[:1]:
        cause = because("computed-in-integers", what="x̂ is", dtype=dtype)
        yield giving(base, cause, functools.partial(_normalized_cut, kind, dtype), "output")


#: The root and the deviation from which a changed x̂ is formed.
_Changed = Callable[[Situation, Numbers], tuple[Array, Array]]


def _with(kind: Kind, change: _Changed, situation: Situation, results: Results) -> Results:
    """Return the output and the gradient of gamma of another x̂; the input gradient follows another rule each time."""
    if not results or not situation.x.size:
        return {}
    n = computed(kind, situation)
    deviation, inverse_root = change(situation, n)
    normalized = deviation * inverse_root
    values = {"output": n.in_rows(n.gamma * normalized + n.beta)}
    if situation.upstream is not None and n.gradients is not None:
        values["grad_gamma"] = (situation.upstream * n.in_rows(normalized)).sum(axis=0)
        values["grad_input"] = n.in_rows(_through(change, n, normalized, inverse_root))
    return {name: changed_to(results[name], values[name], len(n.x)) for name in results.keys() & values.keys()}


def _through(change: _Changed, n: Numbers, normalized: Array, inverse_root: Array) -> Array:
    """Return dx where x̂ = (x - c)·r is differentiated as it is formed.

    dx = r·ĝ - [c subtracted]·mean(r·ĝ) + Σ(ĝ·d)·dr/dx, with dr/dx = -r³·e/k, e = x - μ where the root is of the
    variance and x where it is of the mean square.
    """
    assert n.gradients is not None
    pull, count = n.gradients.pull, len(n.x)
    mean = n.x.mean(axis=0)
    through = inverse_root * pull
    if change in (_about_zero, _unscaled):
        through = through - through.mean(axis=0)
    spreads: dict[_Changed, float] = {
        _uncentred: 1.0,
        _deviation_alone: 1.0,
        _about_zero: 1.0,
        _undivided: float(count),
        _unscaled: 0.0,
    }
    spread = spreads[change]
    entering = n.x if change in (_about_zero, _undivided) else n.x - mean
    slope = (pull * normalized).sum(axis=0) * inverse_root**2
    return np.asarray(through - spread * entering * slope / count)


def _divided_down(situation: Situation, n: Numbers) -> tuple[Array, Array]:
    deviation = n.x - np.floor(n.x.mean(axis=0))
    return deviation, _root_of(situation, np.floor(np.square(deviation).mean(axis=0)))


def _of_wrapped_squares(kind: Kind, dtype: str, least: float, situation: Situation, results: Results) -> Results:
    """Return the output by the mean of squares of that dtype, with room for the digits that are lost."""
    with np.errstate(all="ignore"):  # a variance of squares that wrapped around may be negative
        changed = _with(kind, functools.partial(_wrapped, kind, dtype, least), situation, results)
        if "output" not in changed:
            return changed
        n = computed(kind, situation)
        mean = n.center if kind.centred else np.zeros_like(n.center)
        root = _wrapped(kind, dtype, least, situation, n)[1]
    values = (squares(n.x, dtype).mean(axis=0), mean, root, n.inverse_root)
    of_squares, mean, root, right = (n.in_rows(np.broadcast_to(value, n.x.shape)) for value in values)
    return {**changed, "output": loosened(changed["output"], results["output"], of_squares, mean, (root, right))}


def _wrapped(kind: Kind, dtype: str, least: float, situation: Situation, n: Numbers) -> tuple[Array, Array]:
    """Return E[x²] - E[x]² of squares of that dtype, as it is or raised to the least that a variance is."""
    mean = n.x.mean(axis=0) if kind.centred else n.x.dtype.type(0)
    return n.x - mean, _root_of(situation, np.maximum(squares(n.x, dtype).mean(axis=0) - np.square(mean), least))


def _normalized_cut(kind: Kind, dtype: str, situation: Situation, results: Results) -> Results:
    """Return the output of an x̂ that is cut off to whole numbers."""
    if not results or not situation.x.size:
        return {}
    n = computed(kind, situation)
    normalized, unfixed = cut(n.normalized, dtype)
    changed = changed_to(results["output"], n.in_rows(n.gamma * normalized + n.beta), len(n.x))
    bound = changed.bound + n.in_rows(np.abs(n.gamma) * unfixed)
    return {"output": replace(changed, bound=bound.astype(np.float64), magnitude=np.full(bound.shape, np.inf))}


def _uncentred(situation: Situation, n: Numbers) -> tuple[Array, Array]:
    return n.x, n.inverse_root


def _deviation_alone(situation: Situation, n: Numbers) -> tuple[Array, Array]:
    return n.x, _root_of(situation, n.x.var(axis=0))


def _about_zero(situation: Situation, n: Numbers) -> tuple[Array, Array]:
    return n.x - n.center, _root_of(situation, np.square(n.x).mean(axis=0))


def _undivided(situation: Situation, n: Numbers) -> tuple[Array, Array]:
    return n.x, _root_of(situation, np.square(n.x).sum(axis=0))


def _unscaled(situation: Situation, n: Numbers) -> tuple[Array, Array]:
    return n.x - n.center, np.ones_like(n.inverse_root)


def _root_of(situation: Situation, variance: Array) -> Array:
    return np.asarray(1 / np.sqrt(variance + situation.x.dtype.type(situation.configuration.epsilon)))


def _gradients(kind: Kind, base: Hypothesis) -> Iterator[Hypothesis]:
    """Yield what the backward pass may lack."""

    def hypothesis(id_: str, quantity: str, change: Callable[[Situation, Numbers, Gradients], Array]) -> Hypothesis:
        return giving(base, because(id_), functools.partial(_backward, kind, quantity, change), quantity)

    def level(n: Numbers, g: Gradients) -> Array:
        return np.asarray(n.inverse_root * g.level / len(n.x))

    def slope(n: Numbers, g: Gradients) -> Array:
        return np.asarray(n.inverse_root * n.normalized * n.bessel * n.share * g.slope / len(n.x))

    yield hypothesis("statistics-taken-for-constants", "grad_input", lambda s, n, g: n.in_rows(n.inverse_root * g.pull))
    if kind.centred:
        yield hypothesis("mean-term-missing", "grad_input", lambda s, n, g: n.in_rows(g.input + level(n, g)))
    yield hypothesis("variance-term-missing", "grad_input", lambda s, n, g: n.in_rows(g.input + slope(n, g)))
    for id_, last in (("gamma-missing-from-input-gradient", False), ("gamma-applied-after-gradient", True)):
        yield giving(base, because(id_), functools.partial(_ungained, kind, last), "grad_input")
    yield hypothesis(
        "gamma-gradient-not-normalized",
        "grad_gamma",
        lambda s, n, g: (_given(s) * n.in_rows(n.x - n.center)).sum(axis=0),
    )
    yield hypothesis("gamma-gradient-of-x", "grad_gamma", lambda s, n, g: (_given(s) * s.x).sum(axis=0))
    yield hypothesis("gamma-gradient-averaged", "grad_gamma", lambda s, n, g: g.gamma / len(s.x))
    yield hypothesis("beta-gradient-averaged", "grad_beta", lambda s, n, g: g.beta / len(s.x))
    for learned, names in (
        ("gamma", ["grad_gamma"]),
        ("beta", ["grad_beta"]),
        ("gamma and beta", ["grad_gamma", "grad_beta"]),
    ):
        yield giving(base, because("learned-gradient-missing", learned=learned), _nothing, *names)


def _backward(
    kind: Kind,
    quantity: str,
    change: Callable[[Situation, Numbers, Gradients], Array],
    situation: Situation,
    results: Results,
) -> Results:
    if quantity not in results or situation.upstream is None or not situation.x.size:
        return {}
    n = computed(kind, situation)
    assert n.gradients is not None
    return {quantity: changed_to(results[quantity], change(situation, n, n.gradients), len(n.x))}


def _ungained(kind: Kind, last: bool, situation: Situation, results: Results) -> Results:
    """Return dx of an upstream gradient that gamma has not met.

    With `last`, gamma meets it after the means were taken off, as is right where it is the same for a whole group.
    """
    if "grad_input" not in results or "gamma" not in situation.state or not situation.x.size:
        return {}
    neutral = 0 if situation.configuration.options.get("unit_offset") else 1
    gamma = situation.state["gamma"]
    plain = replace(situation, state={**situation.state, "gamma": np.full_like(gamma, neutral)})
    without = performed(kind, plain, working(situation.configuration.dtype))["grad_input"]
    if not last:
        return {"grad_input": without}
    gained = gamma + (1 - neutral)
    bound = np.abs(gained) * without.bound + 2.0**-23 * np.abs(gained * without.value)
    return {"grad_input": replace(without, value=gained * without.value, bound=bound.astype(np.float64))}


def _given(situation: Situation) -> Array:
    assert situation.upstream is not None
    return situation.upstream


def _nothing(situation: Situation, results: Results) -> Results:
    del situation
    return {name: replace(one, value=0 * one.value) for name, one in results.items() if name != "output"}


def _along_last_axis(kind: Kind, situation: Situation, results: Results) -> Results:
    """Return what gamma and beta give that meet the last axis, which is as long as the feature axis is."""
    features = situation.configuration.feature_count
    if not results or not situation.x.size or not situation.shape or situation.shape[-1] != features:
        return {}
    # Of the rows of other axes, the last one varies fastest.
    place = np.arange(len(situation.x)) % features
    state = {
        name: np.broadcast_to(value[place][:, np.newaxis], situation.x.shape) for name, value in situation.state.items()
    }
    others = performed(kind, replace(situation, state=state), working(situation.configuration.dtype))
    if situation.upstream is not None:
        n = computed(kind, situation)
        gained = {"grad_gamma": _given(situation) * n.in_rows(n.normalized), "grad_beta": _given(situation)}
        for name, terms in gained.items():
            by_place = terms.sum(axis=1).reshape(-1, features).sum(axis=0)
            others[name] = changed_to(others[name], by_place, len(terms))
    return {name: others[name] for name in results.keys() & others.keys()}


def _data(base: Hypothesis) -> Iterator[Hypothesis]:
    for dtype in {"float64": ("float32",), "float32": ("bfloat16", "float16")}.get(base.configuration.dtype, ()):
        yield replace(
            base, cause=because("input-rounded", dtype=dtype), change_situation=functools.partial(_input_in, dtype)
        )


def _input_in(dtype: str, situation: Situation) -> Situation | None:
    """Return the step with its input rounded; None where that would make an infinity of a finite value."""
    x = rounded(situation.x, dtype).astype(situation.x.dtype)
    return replace(situation, x=x) if np.array_equal(np.isfinite(x), np.isfinite(situation.x)) else None
