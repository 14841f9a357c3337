"""The cross-check of the two references of every operation, one in floating point and one in fractions.

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
from conformance.operations.expected import Expected
from conformance.operations.operation import Operation
from conformance.operations.situation import Situation
from conformance.precision import Precision, extended, precision, rounded, working
from conformance.reference.comparison import ALLOWED, ELEMENTS, Comparison, Disagreement, Summary, disagreements
from conformance.reference.computed import Request, too_narrow
from conformance.reference.expected import References
from conformance.reference.inputs import beginnings_of, inputs_of, situate
from conformance.reference.rational import rule_of, spread
from conformance.reference.step_state import StepState
from conformance.spec.case import Case, Infer, Sgd, Train, kind_of

Array = np.ndarray[Any, np.dtype[Any]]
State: TypeAlias = Mapping[str, Array]


def check(cases: Sequence[Case]) -> Summary:
    """Return the cross-check of every case that is small enough. Raises `SuiteError` where the references disagree."""
    small = [case for case in cases if small_enough(case)]
    comparisons = tuple(comparison for case in small for comparison in compare(case))
    apart = disagreements(comparisons)
    if apart:
        worst = max(apart, key=lambda disagreement: disagreement.comparison.ratio)
        raise SuiteError(f"{worst}; {len(apart)} such, {ALLOWED} is allowed; {extended()}")
    return Summary(cases=len(small), left_out=len(cases) - len(small), comparisons=comparisons)


def crosscheck(case: Case, limit: int = ELEMENTS) -> list[Disagreement]:
    """Return where the references disagree. Raises `SuiteError` where a step has more elements than the limit."""
    if not small_enough(case, limit):
        raise SuiteError(f"{case.id}: more than {limit:,} elements in a step, too many for exact arithmetic")
    return disagreements(compare(case))


def small_enough(case: Case, limit: int = ELEMENTS) -> bool:
    """Return whether no step of the case has more elements than the limit."""
    return all(math.prod(case.step_shape(step)) <= limit for step in case.performed if isinstance(step, Train | Infer))


def compare(case: Case, dialect: Dialect | None = None) -> Iterator[Comparison]:
    """Yield the comparison of every quantity of every step, in the operation's own dialect unless another is given.

    Both references start each step from the canonical state before it, rounded as it is stored.
    """
    chosen = dialect or OPERATIONS[case.op].dialect
    configuration = case.configuration
    fine = extended().sufficient or too_narrow(configuration)
    steps = StepState()
    for number, (inputs, beginning) in enumerate(zip(inputs_of(case).steps, beginnings_of(case), strict=True), start=1):
        request = Request(
            case=case,
            configuration=configuration,
            number=number,
            inputs=inputs,
            dialect=chosen,
            worked=precision("float64") if fine else working(configuration.dtype),
            frozen=steps.frozen,
            trained=steps.trained,
        )
        step = _Step(request=request, before=beginning.state, gradients=steps.gradients)
        firsts = tuple(step.firsts())
        yield from step.compared(firsts)
        size = 0 if inputs.input is None else inputs.input.size
        steps = steps.after(kind_of(inputs.step), chosen, size, step.stored_gradients(firsts[0]))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Value:
    """One quantity by the first reference: its values, the rests that complete them where rounded, and the bounds."""

    value: Array
    rest: Array | None
    bound: Array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _First:
    """The first reference's numbers in one float type, by quantity."""

    arithmetic: str
    unit: str
    numbers: Mapping[str, _Value]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Step:
    """One step of a case, and what both references start from."""

    request: Request
    before: State
    #: The gradients of the last train step, rounded as they are stored: a gradient step takes them.
    gradients: State

    @property
    def operation(self) -> Operation:
        """The operation that is asked for."""
        return OPERATIONS[self.request.configuration.op]

    def firsts(self) -> Iterator[_First]:
        """Yield the first reference's numbers in extended precision, and in the float type that judges the case.

        Where float64 is judged and no wider float type exists, yield them in two float64, as judging uses them.
        """
        request, unit = self.request, self.request.worked
        expected = References().expected(request, self.before, self.gradients)
        held = {name: _valued(quantity, quantity.bound) for name, quantity in expected.items()}
        if too_narrow(request.configuration):
            yield _First(arithmetic="two float64", unit=unit.name, numbers=held)
            return
        if not request.effect.performs:
            arithmetic = "longdouble" if extended().sufficient else "float64"
            yield _First(arithmetic=arithmetic, unit=unit.name, numbers=held)
            return
        situation = situate(request.configuration, request.dialect, request.inputs, self.before, request.trained)
        if extended().sufficient:
            yield _First(
                arithmetic="longdouble", unit=unit.name, numbers=held | self._passed(_extended(situation), unit)
            )
        if situation.x.dtype != np.longdouble:
            unit = working(request.configuration.dtype)
            yield _First(
                arithmetic=situation.x.dtype.name, unit=unit.name, numbers=held | self._passed(situation, unit)
            )

    def _passed(self, situation: Situation, worked: Precision) -> dict[str, _Value]:
        function = self.operation.train if self.request.effect.performs == "train" else self.operation.infer
        quantities = function(replace(situation, graded=True), worked)
        return {
            name: _valued(quantity, quantity.narrower.get("A", quantity.bound)) for name, quantity in quantities.items()
        }

    def stored_gradients(self, first: _First) -> dict[str, Array]:
        """Return the gradients of what is learned, rounded as they are stored."""
        configuration = self.request.configuration
        return {
            name: rounded(first.numbers[gradient].value, configuration.parameter_dtype)
            for name, gradient in self.operation.learned_gradients(configuration).items()
            if gradient in first.numbers
        }

    def compared(self, firsts: Iterable[_First]) -> Iterator[Comparison]:
        """Yield the comparison of every quantity with its exact numbers."""
        second = self._second()
        for first in firsts:
            for name in sorted(second):
                ratios = _ratios(second[name], first.numbers.get(name))
                worst = max(ratios, key=lambda place: ratios[place], default=0)
                features = max(1, self.request.configuration.feature_count)
                yield Comparison(
                    case=self.request.case.id,
                    step=self.request.number,
                    quantity=name,
                    arithmetic=first.arithmetic,
                    unit=first.unit,
                    numbers=len(ratios),
                    ratio=ratios.get(worst, 0.0),
                    feature=worst if self._is_by_sample(name) else worst % features,
                )

    def _is_by_sample(self, name: str) -> bool:
        return self.operation.quantities[name].shape == "samples"

    def _second(self) -> rational.Exact:
        """Return the exact numbers of the step."""
        request, effect = self.request, self.request.effect
        step = self._given()
        if effect.performs:
            passes = self.operation.rational
            performed = passes.train if effect.performs == "train" else passes.infer
            return performed(step, rule_of(request.configuration, request.dialect, request.trained))
        state = {name: [_fraction(value) for value in values] for name, values in step.state.items()}
        if not effect.moves_learned or not isinstance(request.inputs.step, Sgd):
            return state
        rate = Fraction(request.inputs.step.learning_rate)
        for name, gradient in self.gradients.items():
            slopes = [_fraction(value) for value in gradient.reshape(-1).astype(np.float64).tolist()]
            state[name] = [_descended(old, rate, slope) for old, slope in zip(state[name], slopes, strict=True)]
        return state

    def _given(self) -> rational.Step:
        """Return the step's inputs, cut into features by the second reference's own code, independent of the first's."""
        inputs, axes = self.request.inputs, self.request.configuration.feature_axes
        state = {name: value.reshape(-1).astype(np.float64).tolist() for name, value in self.before.items()}
        if inputs.input is None or not self.request.effect.performs:
            return rational.Step(x=[], state=state)
        columns = {name: array for name, array in inputs.arrays.items() if array.dtype != np.bool_}
        masks = [array for array in inputs.arrays.values() if array.dtype == np.bool_]
        return rational.Step(
            x=rational.columns(inputs.input, axes),
            upstream=None if inputs.upstream is None else rational.columns(inputs.upstream, axes),
            state=state,
            samples=inputs.input.shape[0],
            arrays={name: rational.columns(array, axes) for name, array in columns.items()},
            mask=masks[0].reshape(-1).tolist() if masks else None,
        )


def _valued(expected: Expected, bound: Array) -> _Value:
    return _Value(value=expected.value, rest=expected.rest, bound=np.broadcast_to(bound, expected.value.shape))


def _fraction(value: float) -> rational.Entry:
    return Fraction(value) if math.isfinite(value) else rational.Beyond.FRACTIONS


def _descended(old: rational.Entry, rate: Fraction, slope: rational.Entry) -> rational.Entry:
    if isinstance(old, Fraction) and isinstance(slope, Fraction):
        return rational.descended(old, rate, slope)
    return rational.Beyond.FRACTIONS


def _extended(situation: Situation) -> Situation:
    """Return the situation in extended precision, which holds every number of it."""
    return replace(
        situation,
        x=situation.x.astype(np.longdouble),
        upstream=None if situation.upstream is None else situation.upstream.astype(np.longdouble),
        state={name: value.astype(np.longdouble) for name, value in situation.state.items()},
    )


def _ratios(exact: Sequence[rational.Entry], first: _Value | None) -> dict[int, float]:
    """Return |first - exact| / bound of every number that can be compared, by its position.

    Left out are numbers whose data are not all finite, and those whose bound is infinite: a bound that is no number
    admits none.
    """
    if first is None:
        compared = (place for place, entry in enumerate(exact) if not isinstance(entry, rational.Beyond))
        return dict.fromkeys(compared, math.inf)
    entries = spread(list(exact), first.value.size)
    if entries is None:
        return {0: math.inf}
    rest = np.zeros(first.value.shape) if first.rest is None else first.rest
    numbers = zip(first.value.flat, rest.flat, first.bound.flat, strict=True)
    finite = np.isfinite(first.value).reshape(-1).tolist()
    unbounded, no_bound = (test(first.bound).reshape(-1).tolist() for test in (np.isinf, np.isnan))
    ratios: dict[int, float] = {}
    for place, (entry, (value, remainder, bound)) in enumerate(zip(entries, numbers, strict=True)):
        if entry is None:
            # Where mathematics gives no number, the first reference must give none either.
            ratios[place] = math.inf if finite[place] else 0.0
        elif isinstance(entry, Fraction) and not unbounded[place]:
            comparable = finite[place] and not no_bound[place]
            ratios[place] = _ratio(value, remainder, entry, bound) if comparable else math.inf
    return ratios


def _ratio(first: Any, rest: Any, right: Fraction, allowed: Any) -> float:
    # In whole numbers, without the common divisor that Fraction looks for at every operation.
    value, scale = first.as_integer_ratio()
    left, left_scale = rest.as_integer_ratio()
    bound, bound_scale = allowed.as_integer_ratio()
    scales = scale * left_scale
    error = abs((value * left_scale + left * scale) * right.denominator - right.numerator * scales)
    if not error:
        return 0.0
    try:
        return float(error * bound_scale / (scales * right.denominator * bound))
    except (OverflowError, ZeroDivisionError):
        return math.inf
