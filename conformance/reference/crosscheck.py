"""The cross-check of the two references: `conformance.operations` in floating point, `conformance.operations.rational` in fractions.

Both compute every step of a case from the same states. The first must lie within a thousandth of the tightest bound
that anything is judged by: that of two passes with pairwise sums. It is held to float64's bound in extended
precision, whatever the dtype of the case, and where another float type judges the case, to the bound judged there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np

from conformance.dialect import Dialect
from conformance.errors import SuiteError
from conformance.operations import OPERATIONS, rational
from conformance.operations.moving import debiasing, moved_bound, weights
from conformance.operations.operation import Situation
from conformance.operations.rational_passes import PASSES
from conformance.precision import Precision, extended, precision, rounded, theta, working
from conformance.protocol import Configuration
from conformance.reference.expected import References, Request
from conformance.reference.inputs import inputs_of, situate, states_of
from conformance.spec.case import Case, Infer, Sgd, Train

Array = np.ndarray[Any, np.dtype[Any]]
State: TypeAlias = Mapping[str, Array]

#: How far the first reference may be from the exact numbers, in units of the tightest bound: numerics, section 1.8.
ALLOWED = 1e-3
#: Elements in a step that fractions can do in some tenths of a second.
ELEMENTS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One quantity of one step by both references."""

    case: str
    #: Counted from 1.
    step: int
    quantity: str
    #: The float type in which the first reference computed.
    arithmetic: str
    #: The precision whose bound is the unit of the ratio.
    unit: str
    #: How many were compared: those of features whose data are finite, where the bound is finite.
    numbers: int
    #: The largest |first - exact| / bound; infinite where only one of the two is a number.
    ratio: float
    #: The feature that has it.
    feature: int

    @property
    def agrees(self) -> bool:
        """Whether the first reference is as close to the exact numbers as it must be."""
        return self.ratio <= ALLOWED

    def __str__(self) -> str:
        place = f"{self.case} step {self.step} {self.quantity}, feature {self.feature}"
        return f"{self.ratio:.2g} of the {self.unit} bound in {self.arithmetic} ({place})"


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A quantity on which the two references disagree."""

    comparison: Comparison

    def __str__(self) -> str:
        return f"the references disagree by {self.comparison}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The cross-check of several cases."""

    cases: int
    #: Cases with a step of more elements than fractions can do.
    left_out: int
    comparisons: tuple[Comparison, ...]

    @property
    def worst(self) -> dict[str, Comparison]:
        """The comparison furthest off in each float type."""
        found: dict[str, Comparison] = {}
        for each in self.comparisons:
            found[each.arithmetic] = max(found.get(each.arithmetic, each), each, key=_by_ratio)
        return found

    def __str__(self) -> str:
        large = f" ({self.left_out} left out, over {ELEMENTS:,} elements in a step)" if self.left_out else ""
        quantities = len({(each.case, each.step, each.quantity) for each in self.comparisons})
        worst = "; ".join(str(each) for each in self.worst.values())
        return (
            f"references: {self.cases} cases{large}, {quantities:,} quantities, worst {worst or 'none'}; {extended()}"
        )


def check(cases: Sequence[Case]) -> Summary:
    """Return the cross-check of every case that is small enough. Raises `SuiteError` where the references disagree."""
    small = [case for case in cases if small_enough(case)]
    comparisons = tuple(each for case in small for each in compare(case))
    found = disagreements(comparisons)
    if found:
        worst = max(found, key=lambda each: each.comparison.ratio)
        raise SuiteError(f"{worst}; {len(found)} such, {ALLOWED} is allowed; {extended()}")
    return Summary(cases=len(small), left_out=len(cases) - len(small), comparisons=comparisons)


def crosscheck(case: Case, limit: int = ELEMENTS) -> list[Disagreement]:
    """Return where the references disagree. Raises `SuiteError` where a step has more elements than the limit."""
    if not small_enough(case, limit):
        raise SuiteError(f"{case.id}: more than {limit:,} elements in a step, too many for exact arithmetic")
    return disagreements(compare(case))


def small_enough(case: Case, limit: int = ELEMENTS) -> bool:
    """Return whether no step of the case has more elements than the limit."""
    return all(math.prod(case.step_shape(step)) <= limit for step in case.performed if isinstance(step, Train | Infer))


def disagreements(comparisons: Iterable[Comparison]) -> list[Disagreement]:
    """Return the comparisons beyond what is allowed."""
    return [Disagreement(each) for each in comparisons if not each.agrees]


def compare(case: Case, dialect: Dialect | None = None) -> Iterator[Comparison]:
    """Yield the comparison of every quantity of every step, in the operation's own dialect unless another is given.

    Both references start each step from the canonical state before it, rounded as it is stored.
    """
    chosen = dialect or OPERATIONS[case.op].dialect
    frozen, trained = False, 0
    gradients: State = {}
    for number, (inputs, before) in enumerate(zip(inputs_of(case).steps, states_of(case), strict=True), start=1):
        request = Request(
            case=case,
            configuration=case.configuration,
            number=number,
            inputs=inputs,
            dialect=chosen,
            worked=precision("float64"),
            frozen=frozen,
            trained=trained,
        )
        step = _Step(request=request, before=before, gradients=gradients)
        firsts = tuple(step.firsts())
        yield from step.compared(firsts)
        if step.trains:
            gradients = _gradients(firsts[0], before, case.configuration)
            trained += int(inputs.input is not None and inputs.input.size > 0)
        frozen = inputs.step.step == "freeze" or (frozen and inputs.step.step != "unfreeze")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _First:
    """The first reference's numbers in one float type: by quantity, the values and their bounds."""

    arithmetic: str
    unit: str
    numbers: Mapping[str, tuple[Array, Array]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Step:
    """One step of a case, and what both references start from."""

    request: Request
    before: State
    #: Of the last train step, as they are stored: what a gradient step takes.
    gradients: State

    @property
    def trains(self) -> bool:
        """Whether the step learns from a batch."""
        infers = self.request.frozen and self.request.dialect.frozen_implies_inference
        return isinstance(self.request.inputs.step, Train) and not infers

    def firsts(self) -> Iterator[_First]:
        """Yield the first reference's numbers in extended precision, and in the float type that judges the case."""
        request, unit = self.request, self.request.worked
        expected = References().expected(request, self.before, self.gradients)
        held = {name: (each.value, each.bound) for name, each in expected.items()}
        if request.inputs.input is None:
            yield _First(arithmetic="longdouble", unit=unit.name, numbers=held)
            return
        given = situate(request.configuration, request.dialect, request.inputs, self.before, request.trained)
        yield _First(arithmetic="longdouble", unit=unit.name, numbers=held | self._passed(_extended(given), unit))
        if given.x.dtype != np.longdouble:
            unit = working(request.configuration.dtype)
            yield _First(arithmetic=given.x.dtype.name, unit=unit.name, numbers=held | self._passed(given, unit))

    def _passed(self, situation: Situation, worked: Precision) -> dict[str, tuple[Array, Array]]:
        operation = OPERATIONS[self.request.configuration.op]
        function = operation.train if self.trains else operation.infer
        found = function(replace(situation, graded=True), worked)
        bounds = {name: each.narrower.get("A", each.bound) for name, each in found.items()}
        batch = self.trains and situation.x.shape[0] and situation.dialect.normalizes_with == "batch"
        if operation.name == "centering" and batch:
            # It is not graded, and so brings the bound of sequential sums alone.
            with np.errstate(all="ignore"):
                bounds |= _pairwise_centering(situation, worked)
        return {name: (each.value, np.broadcast_to(bounds[name], each.value.shape)) for name, each in found.items()}

    def compared(self, firsts: Iterable[_First]) -> Iterator[Comparison]:
        """Yield the comparison of every quantity with its exact numbers."""
        second = self._second()
        for first in firsts:
            for name in sorted({name for each in second.values() for name in each}):
                columns = {feature: quantities[name] for feature, quantities in second.items()}
                numbers, ratio, feature = _furthest(columns, first.numbers.get(name))
                yield Comparison(
                    case=self.request.case.id,
                    step=self.request.number,
                    quantity=name,
                    arithmetic=first.arithmetic,
                    unit=first.unit,
                    numbers=numbers,
                    ratio=ratio,
                    feature=feature,
                )

    def _second(self) -> dict[int, rational.Quantities]:
        """Return the exact numbers of each feature whose data are all finite."""
        inputs, axes = self.request.inputs, self.request.configuration.feature_axes
        features = range(self.request.configuration.feature_count)
        x, upstream = (
            [None for _ in features] if array is None else rational.columns(array, axes)
            for array in (inputs.input, inputs.upstream)
        )
        shaped = {name: each for name, each in inputs.arrays.items() if each.dtype != np.bool_}
        further = {name: rational.columns(array, axes) for name, array in shaped.items()}
        found = {}
        for feature in features:
            arrays = {name: rational.rationals(columns[feature]) for name, columns in further.items()}
            try:
                found[feature] = self._exactly(feature, x[feature], upstream[feature], arrays)
            except rational.NotFiniteError:
                continue
        return found

    def _exactly(
        self,
        feature: int,
        x: list[float] | None,
        upstream: list[float] | None,
        arrays: Mapping[str, rational.Numbers],
    ) -> rational.Quantities:
        request, input_ = self.request, self.request.inputs.input
        state, gradients = _numbers(self.before, feature), _numbers(self.gradients, feature)
        held: rational.Quantities = {name: [value] for name, value in state.items()}
        match request.inputs.step:
            case Train() | Infer():
                assert x is not None
                assert input_ is not None
                passes, mask = PASSES[request.configuration.op], request.inputs.arrays.get("mask")
                given = rational.Feature(
                    x=rational.rationals(x),
                    upstream=None if upstream is None else rational.rationals(upstream),
                    gamma=state.get("gamma"),
                    beta=state.get("beta"),
                    moving=rational.Moments(mean=state.get("moving_mean"), variance=state.get("moving_variance")),
                    state=state,
                    samples=input_.shape[0],
                    arrays=arrays,
                    mask=None if mask is None else mask.reshape(-1).tolist(),
                )
                return held | (passes.train if self.trains else passes.infer)(given, _rule(request))
            case Sgd(learning_rate=rate) if not request.frozen:
                moved = {
                    name: rational.descended(state[name], Fraction(rate), each) for name, each in gradients.items()
                }
                return held | {name: [value] for name, value in moved.items()}
            case _:
                return held


def _rule(request: Request) -> rational.Rule:
    return rational.Rule(
        dialect=request.dialect,
        decay=Fraction(request.configuration.decay),
        epsilon=Fraction(request.configuration.epsilon),
        trained=request.trained,
        options=request.configuration.options,
    )


def _numbers(state: State, feature: int) -> dict[str, Fraction]:
    return {name: rational.rationals([float(value.reshape(-1)[feature])])[0] for name, value in state.items()}


def _extended(situation: Situation) -> Situation:
    """Return the situation in extended precision, which holds every number of it."""
    return replace(
        situation,
        x=situation.x.astype(np.longdouble),
        upstream=None if situation.upstream is None else situation.upstream.astype(np.longdouble),
        state={name: value.astype(np.longdouble) for name, value in situation.state.items()},
    )


def _gradients(first: _First, before: State, configuration: Configuration) -> State:
    """Return the gradients of gamma and beta, rounded as they are stored."""
    learned = [name for name in ("gamma", "beta") if name in before and f"grad_{name}" in first.numbers]
    return {name: rounded(first.numbers[f"grad_{name}"][0], configuration.parameter_dtype) for name in learned}


def _pairwise_centering(situation: Situation, worked: Precision) -> dict[str, Array]:
    """Return the bounds of a centering whose sums are pairwise: `docs/tolerances.md`, section 10, with that height."""
    x, u = situation.x, worked.unit
    level = theta((len(x) - 1).bit_length() + 2, u)
    rule = situation.dialect, situation.configuration.decay, situation.trained
    mean, bound = x.mean(axis=0), level * np.abs(x).mean(axis=0) + 2 * worked.tiny
    old, weight, debiased = situation.state["moving_mean"], weights(*rule, x.dtype.type), debiasing(*rule)
    found = {
        "batch_mean": bound,
        "moving_mean": moved_bound(old, mean, bound, weight, worked, debiased),
        "output": bound + u * (np.abs(x - mean) + bound) + worked.tiny,
    }
    if situation.upstream is not None:
        g = situation.upstream
        pull = level * np.abs(g).mean(axis=0) + 2 * worked.tiny
        found["grad_input"] = pull + u * (np.abs(g - g.mean(axis=0)) + pull) + worked.tiny
    return found


def _furthest(
    columns: Mapping[int, rational.Numbers | None], first: tuple[Array, Array] | None
) -> tuple[int, float, int]:
    """Return how many numbers were compared, the largest ratio, and the feature that has it."""
    count, worst, place = 0, 0.0, min(columns)
    for feature, second in columns.items():
        ratios = [math.inf] if first is None else list(_ratios(feature, second, *first))
        count += len(ratios)
        if max(ratios, default=0.0) > worst:
            worst, place = max(ratios), feature
    return count, worst, place


def _ratios(feature: int, second: rational.Numbers | None, value: Array, bound: Array) -> Iterator[float]:
    """Yield |first - exact| / bound of each number of the feature whose bound is finite."""
    values, bounds = (_column(each, feature) for each in (value, bound))
    if second is None:
        # Where mathematics gives no number, the first reference must give none either.
        yield from (math.inf if np.isfinite(each) else 0.0 for each in values)
    elif len(values) != len(second):
        yield math.inf
    else:
        for found, right, allowed in zip(values, second, bounds, strict=True):
            if np.isfinite(allowed):
                yield _ratio(found, right, allowed)


def _column(array: Array, feature: int) -> Array:
    """Return the numbers of one feature of a quantity of shape (C,) or (m, C)."""
    return array[..., feature].reshape(-1)


def _ratio(first: Any, right: Fraction, allowed: Any) -> float:
    if not np.isfinite(first):
        return math.inf
    error = abs(Fraction(*first.as_integer_ratio()) - right)
    if not error:
        return 0.0
    try:
        return float(error / Fraction(*allowed.as_integer_ratio()))
    except (OverflowError, ZeroDivisionError):
        return math.inf


def _by_ratio(comparison: Comparison) -> float:
    return comparison.ratio
