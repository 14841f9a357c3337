"""Judges one step that gave numbers: every quantity, starting from the state that the implementation itself reported.

Because each step starts from the reported state, an error in one step does not make the steps after it deviate too.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from conformance.cause import Cause, because
from conformance.dialect import FIELDS, Dialect, apply, declared_at
from conformance.errors import SuiteError
from conformance.judging.candidates import Candidate, candidates
from conformance.judging.evidence import StepEvidence
from conformance.judging.explaining import explained
from conformance.judging.feature_chunks import Target
from conformance.judging.judgement import Judged, StepJudgement
from conformance.judging.walk import Walk
from conformance.operations import OPERATIONS
from conformance.operations.frozen import replace
from conformance.operations.layout import shape_of
from conformance.operations.score import Fit, may_be_infinite
from conformance.outcome import Produced
from conformance.planning.plan import Cell
from conformance.precision import HALF, Precision, dtype_name, working
from conformance.reference.computed import Request, numbers
from conformance.reference.expected import References, hypotheses, unchanged
from conformance.reference.inputs import StepInputs, states_of
from conformance.spec.case import Infer, Train
from conformance.verdict import Verdict, worst

Array = np.ndarray[Any, np.dtype[Any]]


class StepJudge:
    """The judge of one step that gave numbers: what the step started from, and what it is compared with."""

    def __init__(self, cell: Cell, number: int, inputs: StepInputs, walk: Walk, references: References) -> None:
        self.cell, self.number, self.inputs, self.walk, self.references = cell, number, inputs, walk, references
        self.configuration = cell.case.configuration
        self.operation = OPERATIONS[self.configuration.op]
        self.declared = declared_at(cell.implementation.profile, self.configuration.rank)
        self.dialect = apply(self.operation.dialect, self.declared)
        self.keeps_state = cell.implementation.keeps_state
        # `judge` moves the walk past this step; these stay as they were before it.
        self.steps, self.earlier = walk.steps, walk.earlier
        self.before = dict(walk.state) if self.keeps_state else dict(states_of(cell.case)[number - 1])
        self.worked = working(self.configuration.dtype)
        self.candidates = tuple(
            candidates(self.operation.dialect, self.dialect, self.declared, self.configuration.dtype)
        )
        self.target = self._target()
        #: The fields that the documentation states, and the dialect that it states by these alone.
        self.stated = {field: entry for field, entry in self.declared.items() if entry.source == "documentation"}
        self.documented = apply(self.operation.dialect, self.stated)
        #: The quantities that have the right dtype and shape.
        self.formed: frozenset[str] = frozenset()
        #: The quantities that fit only if the implementation computed in a narrower dtype than it should.
        self.narrowed: set[str] = set()
        #: The quantities that have an infinity or a NaN where the reference is finite, or the reverse.
        self.patterned: set[str] = set()

    def judge(self, outcome: Produced) -> StepJudgement:
        """Return the judgement of the step, and move the walk on to the next one."""
        observed = {**outcome.quantities, **(outcome.state if self.keeps_state else {})}
        shaped = {name: value for name, value in observed.items() if self._is_shaped(name, value)}
        self.target = replace(self.target, observed=shaped)
        expected = self.target.names(self.operation.dialect, self.worked)
        unknown = set(observed) - self.operation.quantities.keys()
        if unknown:
            raise SuiteError(f"{self.cell.id}: step {self.number} gave unknown quantities {sorted(unknown)}")
        required = self._required()
        names = [name for name in expected if name in observed or name in required]
        complaints = {name: self._form(name, observed[name]) for name in names if name in observed}
        self.formed = frozenset(name for name, complaint in complaints.items() if complaint is None)
        quantities = [self._quantity(name, observed.get(name), complaints.get(name)) for name in names]
        quantities.extend(self._repeated(observed))
        quantities.extend(_overwritten(outcome))
        quantities = self._explained(quantities)
        self.walk.advance(self.inputs, outcome, self.before, self.operation, self.configuration, self.dialect)
        verdict = worst(judged.verdict for judged in quantities)
        message = ""
        if not outcome.compilations and self.cell.mode != "eager" and isinstance(self.inputs.step, Train | Infer):
            verdict = worst([verdict, Verdict.NOT_DECIDABLE])
            message = f"mode {self.cell.mode} was asked for, and nothing proves that anything was compiled"
        return StepJudgement(
            number=self.number,
            kind=self.inputs.step.step,
            verdict=verdict,
            expected=verdict.agrees or not verdict.judged,
            seconds=outcome.seconds,
            quantities=tuple(quantities),
            message=message,
        )

    def may_overflow(self) -> bool:
        """Return whether an intermediate, or a result, could leave its range in an arithmetic in which that is excused."""
        excused = (candidate for candidate in self.candidates if candidate.may_overflow(self.worked))
        return any(
            not quantity.in_domain.all() or may_be_infinite(quantity, self._dtypes(name)[0]).any()
            for candidate in excused
            for name, quantity in self.target.expected(candidate.dialect, candidate.worked).items()
        )

    def _explained(self, quantities: Sequence[Judged]) -> list[Judged]:
        """Return the quantities, those whose values deviate with the causes that explain them."""
        open_ = frozenset(judged.quantity for judged in quantities if self._is_open(judged))
        if not open_:
            return list(quantities)
        return explained(quantities, self.evidence(quantities, open_))

    def evidence(self, quantities: Iterable[Judged], deviating: frozenset[str] = frozenset()) -> StepEvidence:
        """Return what the step's numbers, judged as `quantities`, say for and against a hypothesis.

        Of a step that is judged in parts, only the part with the worst element is looked at: that of the quantities to be
        explained.
        """
        scored = [
            (judged.score or 0.0, judged.worst.position)
            for judged in quantities
            if judged.worst is not None and (judged.quantity in deviating or not deviating)
        ]
        target = self.target.part_holding(max(scored, default=(0.0, 0))[1])
        return StepEvidence(
            observed={name: target.flat(name) for name in target.observed},
            deviating=deviating,
            narrowed=frozenset(self.narrowed),
            agreeing=frozenset(judged.quantity for judged in quantities if judged.verdict.agrees),
            worked=self.worked,
            narrow=next((one.worked for one in self.candidates if one.worked != self.worked), None),
            base=unchanged(target.request.configuration, self.dialect),
            hypotheses=hypotheses(target.request.configuration, self.dialect),
            under=target.under,
            columns=target.columns,
            costs=self.operation.costs,
            expected=target.expected(self.dialect, self.worked),
            terms=lambda: target.terms(self.dialect),
            # A hypothesis is about the part of a large step that it was made for, and a later step may look at another.
            fitted=self.walk.fitted.setdefault((self.inputs.step.step, target.request.configuration), {}),
        )

    def _is_open(self, judged: Judged) -> bool:
        """Return whether a cause is still looked for: the values deviate, and no cause or only a vague one is known."""
        mended = judged.quantity in self.narrowed or judged.quantity in self.patterned
        return judged.verdict is Verdict.DEVIATES and (not judged.causes or mended)

    def _is_shaped(self, name: str, observed: Array) -> bool:
        """Return whether the observed array can be compared with its reference.

        One that should have the input's shape must have it; any other quantity is flattened anyway.
        """
        return name not in self.operation.shaped_like_input or (
            self.inputs.input is not None and observed.shape == self.inputs.input.shape
        )

    def _required(self) -> set[str]:
        """Return the quantities that the implementation must give: leaving one out is a deviation."""
        named = functools.partial(self.operation.named, self.configuration)
        effect = self.target.request.effect
        required = {*self.operation.state(self.configuration)} if self.keeps_state else set()
        if effect.performs:
            required |= {*named("output")}
            if self.inputs.upstream is not None:
                required |= {
                    name
                    for name in named("gradient")
                    if effect.differentiates_learned or self.operation.quantities[name].by == "input"
                }
        return required - set(self.cell.implementation.lacks)

    def _target(self) -> Target:
        request = Request(
            case=self.cell.case,
            configuration=self.configuration,
            number=self.number,
            inputs=self.inputs,
            dialect=self.dialect,
            worked=self.worked,
            frozen=self.steps.frozen,
            trained=self.steps.trained,
            empties=self.steps.empties,
            earlier=self.earlier,
        )
        return Target(
            request=request,
            before=self.before,
            gradients=self.steps.gradients,
            references=self.references,
            observed={},
        )

    def _quantity(self, name: str, observed: Array | None, complaint: Cause | None) -> Judged:
        """Judge presence, dtype, shape, finiteness and values, in that order."""
        if observed is None:
            return Judged(quantity=name, verdict=Verdict.DEVIATES, causes=(because("not-given"),))
        judged = functools.partial(Judged, quantity=name, dtype=dtype_name(observed.dtype), shape=tuple(observed.shape))
        if complaint is not None:
            return judged(verdict=Verdict.DEVIATES, causes=(complaint,))
        first: Fit | None = None
        overflowing: Candidate | None = None
        for candidate in self.candidates:
            fit = self._fit(name, candidate.dialect, candidate.worked)
            if fit is None:
                continue
            first = first or fit
            if fit.outside_domain:
                overflowing = overflowing or candidate
            if fit.within and candidate.is_informative(fit):
                verdict, fields, causes = self._accepted(name, fit, candidate)
                # What only narrower arithmetic or an undocumented dialect explains is scored by the bound that it broke.
                accepted = candidate.worked == self.worked and verdict is not Verdict.DEVIATES
                refuted = verdict is Verdict.DEVIATES and candidate.verdict is Verdict.CONFORMS
                broken = self._fit(name, self.documented, self.worked) if refuted else first
                return judged(
                    verdict=verdict, fields=fields, causes=causes, **_scored(fit if accepted else broken or first)
                )
        assert first is not None
        pattern = first.pattern
        if overflowing is not None:
            if overflowing.may_overflow(self.worked):
                return judged(verdict=Verdict.OUTSIDE_DOMAIN, **_scored(first))
            pattern = because("narrower-arithmetic", narrower=overflowing.worked.name, wider=self.worked.name)
        elif pattern is not None:
            self.patterned.add(name)
        causes = () if pattern is None else (pattern,)
        return judged(verdict=Verdict.DEVIATES, causes=causes, **_scored(first))

    def _fit(self, name: str, dialect: Dialect, worked: Precision) -> Fit | None:
        """Return how well the quantity fits the dialect and arithmetic; None where the step should not give it."""
        # The canonical semantics are tried for every quantity, so a large step computes them for all at once.
        first = dialect == self.operation.dialect and worked == self.worked
        return self.target.fit(name, dialect, worked, self.formed if first else ())

    def _accepted(
        self, name: str, fit: Fit, candidate: Candidate
    ) -> tuple[Verdict, tuple[str, ...], tuple[Cause, ...]]:
        """Return the verdict on numbers that fit the candidate, the dialect fields they depend on, and the cause if any.

        There is a cause where the fit needs an undocumented dialect or arithmetic narrower than the dtype calls for.
        """
        verdict, cause = candidate.verdict, None
        fields: tuple[str, ...] = ()
        if candidate.dialect != self.operation.dialect:
            fields = self._needed(name, candidate)
            undocumented = [field for field in fields if self.declared[field].source != "documentation"]
            if undocumented:
                verdict = Verdict.DEVIATES
                cause = because("undocumented-dialect", fields=", ".join(undocumented))
        worked = self.worked
        if candidate.worked != worked:
            self.narrowed.add(name)
            names = {"narrower": candidate.worked.name, "wider": worked.name}
            cause = cause or because("narrower-arithmetic", **names)
            if not fit.decidable:
                verdict, cause = Verdict.DEVIATES, because("narrower-arithmetic-admits-anything", **names)
        if verdict is Verdict.CONFORMS:
            cause = self._contradicted(name)
            verdict = Verdict.EXACT if fit.exact else verdict if fit.decidable else Verdict.NOT_DECIDABLE
            verdict = verdict if cause is None else Verdict.DEVIATES
        return verdict, fields, () if cause is None else (cause,)

    def _contradicted(self, name: str) -> Cause | None:
        """Return which field of the documentation the numbers refute that fit the canonical semantics; None where none is.

        Who relies on the page is misled, although the canonical value would be welcome.
        """
        canonical, documented = self.operation.dialect, self.documented
        if documented == canonical or any(self._admits(name, documented, worked) for worked in self._likely()):
            return None
        stated = self.stated.items()
        refuted = [field for field, entry in stated if not self._admits(name, apply(canonical, {field: entry}))]
        return self._contradiction(refuted[0], getattr(canonical, refuted[0])) if refuted else None

    def _likely(self) -> Iterator[Precision]:
        """Yield the arithmetic that is right, and half precision, which is likely for inputs of such a dtype.

        What half precision leaves of a number fits another convention by accident, which refutes nothing.
        """
        yield self.worked
        yield from {one.worked for one in self.candidates if one.worked.name in HALF and one.worked != self.worked}

    def _admits(self, name: str, dialect: Dialect, worked: Precision | None = None) -> bool:
        """Return whether the quantity fits the dialect, or the step says nothing about it.

        Where one has a NaN and the other none, the numbers say that something was lost, and not by which convention.
        """
        request = self.target.request
        if numbers(replace(request, dialect=dialect)) == numbers(replace(request, dialect=self.operation.dialect)):
            return True
        fit = self._fit(name, dialect, worked or self.worked)
        return fit is None or fit.within or fit.pattern is not None

    def _contradiction(self, field: str, value: object) -> Cause:
        entry = self.declared[field]
        return because(
            "contradicts-documentation", field=field, fits=str(value), stated=str(entry.value), page=entry.where
        )

    def against_documentation(self, judged: Judged) -> Judged:
        """Return the quantity with the contradiction besides, where what explains it is another value of a stated field."""
        if not self.stated or not judged.explanations or len(judged.causes) != 1:
            return judged
        tried = hypotheses(self.configuration, self.dialect)
        for hypothesis in (one for one in tried if one.cause in judged.causes):
            differing = [
                field for field in FIELDS if getattr(hypothesis.dialect, field) != getattr(self.dialect, field)
            ]
            if len(differing) == 1 and differing[0] in self.stated:
                cause = self._contradiction(differing[0], getattr(hypothesis.dialect, differing[0]))
                return replace(judged, also=(*judged.also, cause))
        return judged

    def _needed(self, name: str, candidate: Candidate) -> tuple[str, ...]:
        """Return the declared dialect fields that the fit depends on: with the canonical value of one, it would be lost."""
        canonical = self.operation.dialect
        differing = [field for field in self.declared if getattr(candidate.dialect, field) != getattr(canonical, field)]
        if len(differing) == 1:
            return tuple(differing)
        request = self.target.request
        same = numbers(replace(request, dialect=candidate.dialect))
        needed = []
        for field in differing:
            without = replace(candidate.dialect, **{field: getattr(canonical, field)})
            if numbers(replace(request, dialect=without)) == same:
                continue
            fit = self._fit(name, without, candidate.worked)
            if fit is None or not fit.within:
                needed.append(field)
        return tuple(needed or differing)

    def _form(self, name: str, observed: Array) -> Cause | None:
        """Return what is wrong with the dtype or shape of an observed array; None where both are right."""
        dtypes = self._dtypes(name)
        if dtype_name(observed.dtype) not in dtypes:
            return because("wrong-dtype", dtype=dtype_name(observed.dtype), expected=" or ".join(dtypes))
        kind = self.operation.quantities[name].shape
        input_shape = self.cell.case.shape if self.inputs.input is None else self.inputs.input.shape
        shape = shape_of(kind, self.configuration, input_shape)
        same = observed.shape == shape or (kind != "input" and _squeezed(observed.shape) == _squeezed(shape))
        return None if same else because("wrong-shape", shape=str(observed.shape), expected=str(shape))

    def _dtypes(self, name: str) -> tuple[str, ...]:
        """Return the dtypes that a quantity may have."""
        configuration, quantity = self.configuration, self.operation.quantities[name]
        if quantity.shape == "input":
            return (configuration.dtype,)
        if quantity.role == "statistic":
            return tuple(dict.fromkeys((configuration.dtype, self.worked.name)))
        if self.dialect.statistics_dtype and quantity.role == "state":
            return (self.dialect.statistics_dtype,)
        return (configuration.parameter_dtype,)

    def _repeated(self, observed: Mapping[str, Array]) -> Iterator[Judged]:
        """Yield a deviation where an earlier inference, on the same bits from the same state, gave other bits."""
        if not isinstance(self.inputs.step, Infer) or "output" not in observed:
            return
        output = observed["output"]
        number = self.walk.first_with(self.inputs.checksum, self.before, output, self.number)
        if number != self.number:
            yield Judged(
                quantity="output",
                verdict=Verdict.DEVIATES,
                causes=(because("differs-from-step", step=number),),
                dtype=output.dtype.name,
                shape=output.shape,
            )


def _overwritten(outcome: Produced) -> Iterator[Judged]:
    """Yield a deviation for each array of the caller that the step overwrote."""
    for name in outcome.overwritten:
        yield Judged(quantity=name, verdict=Verdict.DEVIATES, causes=(because("caller-array-overwritten", array=name),))


def _scored(fit: Fit) -> dict[str, Any]:
    return {"score": fit.score, "narrower": fit.narrower, "worst": fit.worst}


def _squeezed(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)
