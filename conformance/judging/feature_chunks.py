"""What a step must give, and how well its numbers fit; a large step is computed and judged a few features at a time.

In an operation that is `by_feature`, every number depends on its own feature alone. So a group of features can be
judged as a small step of its own, and the score of the whole step is the largest of its groups'. This saves memory: no
reference array as large as the whole input is ever made.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from conformance.dialect import Dialect
from conformance.operations import OPERATIONS
from conformance.operations.expected import Expected
from conformance.operations.frozen import replace
from conformance.operations.hypothesis import Hypothesis
from conformance.operations.layout import flatten
from conformance.operations.operation import Operation
from conformance.operations.score import Fit, fit, joined
from conformance.precision import Precision
from conformance.protocol import Configuration
from conformance.reference.computed import Past, Request, compute, terms
from conformance.reference.expected import References, Suppositions, changes_results_alone
from conformance.reference.inputs import SMALL, StepInputs
from conformance.reference.side_by_side import Column
from conformance.reference.step_state import effect_of

Array = np.ndarray[Any, np.dtype[Any]]

#: A step with more values than this is judged in parts.
LARGE = 2**20
#: The values of a part. In float64 they stay in the processor's cache during the some fifty passes over them.
VALUES = 2**18
#: The values of the part that is diagnosed. Apart from `VALUES`, so that changing how steps are cut for judging changes
#: no diagnosis.
DIAGNOSED = 2**18


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Target:
    """The expectations of one step, and the numbers that were observed."""

    #: The step. Its dialect and arithmetic are replaced by those that a method is called with.
    request: Request
    before: Mapping[str, Array]
    gradients: Mapping[str, Array]
    references: References
    #: By quantity, as the implementation laid it out, with as many elements as the reference has.
    observed: Mapping[str, Array]
    _known: dict[Any, Mapping[str, Expected]] = field(default_factory=dict)
    _fitted: dict[Any, dict[str, Fit]] = field(default_factory=dict)
    #: What is kept of the step under hypotheses, once one was asked for.
    _supposed: list[Suppositions] = field(default_factory=list)

    @property
    def operation(self) -> Operation:
        """The operation that is asked for."""
        return OPERATIONS[self.request.configuration.op]

    @property
    def large(self) -> bool:
        """Whether the step is judged in parts."""
        batch = self.request.inputs.input
        return batch is not None and batch.size > LARGE and self.operation.by_feature

    def expected(self, dialect: Dialect, worked: Precision) -> Mapping[str, Expected]:
        """Return what the whole step must give."""
        key = (dialect, worked.name)
        known = self._known.get(key)
        if known is None:
            request = self._asked(dialect, worked)
            known = self._known[key] = self.references.expected(request, self.before, self.gradients)
        return known

    def names(self, dialect: Dialect, worked: Precision) -> list[str]:
        """Return the quantities that the step must give."""
        return list((self.part(range(1)) if self.large else self).expected(dialect, worked))

    def fit(self, name: str, dialect: Dialect, worked: Precision, others: Collection[str]) -> Fit | None:
        """Return how well an observed quantity fits; None where the step should not give it.

        `others` names the quantities that will be asked for next: a large step, whose reference is not kept, is computed
        once for all of them.
        """
        if not self.large:
            target = self.expected(dialect, worked).get(name)
            return None if target is None else fit(self.flat(name), target, worked)
        fitted = self._fitted.setdefault((dialect, worked.name), {})
        if name not in fitted:
            request = self._asked(dialect, worked)
            fitted |= self._fits(request, {name, *others})
        return fitted.get(name)

    def _asked(self, dialect: Dialect, worked: Precision) -> Request:
        """Return the request for the reference, without the earlier train step: only hypotheses need that one."""
        return replace(self.request, dialect=dialect, worked=worked, earlier=None)

    def flat(self, name: str) -> Array:
        """Return an observed quantity as (m, C) or (C,)."""
        value = self.observed[name]
        like_input = name in self.operation.shaped_like_input
        return flatten(value, self.request.configuration) if like_input else value.reshape(-1)

    def under(self, hypothesis: Hypothesis, worked: Precision, names: Collection[str]) -> Mapping[str, Expected]:
        """Return what the whole step would give if the hypothesis were true: at least the named quantities."""
        performs = effect_of(self.request.inputs.step.step, self.request.frozen, hypothesis.dialect).performs
        if (hypothesis.change_state is None) is not bool(performs):
            # It is about a step that computes a pass, and this is none, or the reverse.
            return {}
        kept = self._kept()
        operation = self.operation
        heeds = hypothesis.selects if hypothesis.change_results else operation.selects
        wanted = frozenset(names) if heeds and hypothesis.variance == "welford" else frozenset()
        differentiated = not operation.gradients.isdisjoint(names)
        key = (hypothesis, worked.name, wanted or differentiated)
        if key not in kept.supposed:
            kept.supposed[key] = self._under(hypothesis, worked, wanted, kept, differentiated=differentiated)
        return kept.supposed[key]

    def columns(
        self, hypotheses: tuple[Hypothesis, ...], name: str, feature: int, worked: Precision
    ) -> Mapping[Hypothesis, Column | None]:
        """Return what a quantity would be in one feature under those of the hypotheses that can stand side by side."""
        batch = self.request.inputs.input
        if batch is None or batch.size > SMALL:
            return {}
        kept = self._kept()
        inputs = self.request.inputs if name in self.operation.gradients else kept.forward()
        request = replace(self.request, inputs=inputs, worked=worked)
        with np.errstate(all="ignore"):
            return self.references.columns(hypotheses, name, feature, request, self.before, self.gradients, kept)

    def _kept(self) -> Suppositions:
        if not self._supposed:
            self._supposed.append(self.references.suppositions(self.request, self.before, self.gradients))
        return self._supposed[0]

    def _under(
        self,
        hypothesis: Hypothesis,
        worked: Precision,
        wanted: frozenset[str],
        kept: Suppositions,
        *,
        differentiated: bool,
    ) -> Mapping[str, Expected]:
        request = replace(
            self.request,
            configuration=hypothesis.configuration,
            dialect=hypothesis.dialect,
            worked=worked,
            variance=hypothesis.variance,
            hypothesis=hypothesis,
            wanted=wanted,
        )
        if not differentiated and not changes_results_alone(request):
            request = replace(request, inputs=kept.forward())
        with np.errstate(all="ignore"):
            return self.references.under(request, self.before, self.gradients, kept)

    def terms(self, dialect: Dialect) -> Mapping[str, Mapping[str, Array]]:
        """Return the terms that each quantity of the whole step adds up."""
        return terms(replace(self.request, dialect=dialect, earlier=None), self.before, self.gradients)

    def part_holding(self, position: int) -> Target:
        """Return the part of a large step that holds the element at `position` of a flattened quantity.

        A step that is not large is returned whole.
        """
        if not self.large:
            return self
        feature = position % self.request.configuration.feature_count
        return next(self.part(span) for span in self._spans(DIAGNOSED) if feature in span)

    def part(self, span: range) -> Target:
        """Return the step cut down to the features in `span`, which are numbered in row-major order."""
        configuration, earlier = self.request.configuration, self.request.earlier
        kept = [configuration.shape[axis] for axis in configuration.reduction_axes]
        request = replace(
            self.request,
            configuration=replace(configuration, shape=(*kept, len(span)), feature_axes=(len(kept),)),
            inputs=_inputs(self.request.inputs, configuration, span),
            earlier=None if earlier is None else _past(earlier, configuration, span),
            features=(span.start, span.stop),
        )
        return replace(
            self,
            request=request,
            before=_held(self.before, span),
            gradients=_held(self.gradients, span),
            observed={
                name: _cut(value, configuration, span)
                if name in self.operation.shaped_like_input
                else value.reshape(-1)[span.start : span.stop]
                for name, value in self.observed.items()
            },
            _known={},
            _fitted={},
            _supposed=[],
        )

    def _spans(self, values: int) -> Iterator[range]:
        """Yield the features of each part, cut so that a part has about `values` values."""
        count, batch = self.request.configuration.feature_count, self.request.inputs.input
        width = max(1, values * count // max(1, 0 if batch is None else batch.size))
        yield from (range(start, min(start + width, count)) for start in range(0, count, width))

    def _fits(self, request: Request, names: Collection[str]) -> dict[str, Fit]:
        """Return how well the quantities fit, computed part by part; the reference of a part is not kept."""
        if not any(self.operation.quantities[name].role == "gradient" for name in names):
            request = replace(request, inputs=replace(request.inputs, upstream=None))
        wanted = replace(self, request=request, observed={name: self.observed[name] for name in names})
        fits: dict[str, list[Fit]] = {}
        for span in self._spans(VALUES):
            part = wanted.part(span)
            expected = compute(part.request, part.before, part.gradients)
            for name in [name for name in names if name in expected]:
                fitted = fit(part.flat(name), expected[name], request.worked)
                fits.setdefault(name, []).append(fitted.at(self._position(fitted, span, expected[name].value.ndim)))
        return {name: joined(parts) for name, parts in fits.items()}

    def _position(self, fitted: Fit, span: range, rank: int) -> int:
        """Return where the worst element of a part lies in the whole flattened quantity."""
        position = 0 if fitted.worst is None else fitted.worst.position
        row, feature = divmod(position, len(span)) if rank == 2 else (0, position)
        return row * self.request.configuration.feature_count + span.start + feature


def _held(held: Mapping[str, Array], span: range) -> dict[str, Array]:
    """Return the features in `span` of arrays that have one value per feature."""
    return {name: value.reshape(-1)[span.start : span.stop] for name, value in held.items()}


def _inputs(inputs: StepInputs, configuration: Configuration, span: range) -> StepInputs:
    return replace(
        inputs,
        input=None if inputs.input is None else _cut(inputs.input, configuration, span),
        upstream=None if inputs.upstream is None else _cut(inputs.upstream, configuration, span),
        # A mask applies to every feature, and is not cut.
        arrays={
            name: array if array.dtype == np.bool_ else _cut(array, configuration, span)
            for name, array in inputs.arrays.items()
        },
    )


def _past(past: Past, configuration: Configuration, span: range) -> Past:
    return Past(
        inputs=_inputs(past.inputs, configuration, span),
        state=_held(past.state, span),
        gradients=_held(past.gradients, span),
    )


def _cut(array: Array, configuration: Configuration, span: range) -> Array:
    """Return the features in `span` of an array that has the input's axes, with the feature axis last.

    In memory each feature's values are adjacent. NumPy adds up adjacent values pairwise, in an order that their number
    alone decides, so a feature's sums have the same bits however many other features are in the part.
    """
    axes = configuration.feature_axes
    front = np.moveaxis(array, axes, range(len(axes)))
    if len(axes) == 1:
        features = front[span.start : span.stop]
    else:
        features = front[np.unravel_index(np.arange(span.start, span.stop), configuration.features)]
    return np.moveaxis(np.ascontiguousarray(features), 0, -1)
