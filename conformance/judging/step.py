"""Judging one step that gave numbers: each quantity, from the state that was reported before it."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from conformance.cause import Cause, because
from conformance.dialect import Dialect, apply, declared_at
from conformance.errors import SuiteError
from conformance.judging.diagnosis import Evidence, explained
from conformance.judging.feature_chunks import Target
from conformance.judging.judgement import Judged, StepJudgement
from conformance.operations import OPERATIONS
from conformance.operations.operation import Hypothesis, flatten
from conformance.operations.score import Fit
from conformance.outcome import Produced
from conformance.planning.plan import Cell
from conformance.precision import HALF, Precision, dtype_name, precision, working
from conformance.reference.expected import Past, References, Request, hypotheses, numbers
from conformance.reference.inputs import StepInputs, states_of
from conformance.spec.case import Freeze, Infer, Reload, Sgd, Train, Unfreeze
from conformance.verdict import Verdict, worst

Array = np.ndarray[Any, np.dtype[Any]]

_STATISTICS = ("batch_mean", "batch_variance")
_LEARNED = ("gamma", "beta")
#: What a pass may give without its being judged, where the operation fixes nothing of it.
_PRODUCED = frozenset({"output", "grad_input", "grad_gamma", "grad_beta"})


@dataclass(slots=True, kw_only=True)
class Walk:
    """What the steps so far have left behind."""

    state: dict[str, Array]
    trained: int = 0
    seen: int = 0
    frozen: bool = False
    gradients: dict[str, Array] = field(default_factory=dict)
    outputs: dict[tuple[str, bytes], tuple[int, bytes]] = field(default_factory=dict)
    #: The last train step.
    earlier: Past | None = None
    #: By kind of step, what explained one: by the quantities that it explained.
    fitted: dict[str, dict[frozenset[str], tuple[Hypothesis, ...]]] = field(default_factory=dict)

    def follow(self, reported: Mapping[str, Array]) -> None:
        """Go on from the state that was reported; what is missing or misshapen, and judged so, stays as it was."""
        for name, value in self.state.items():
            if name in reported and reported[name].size == value.size:
                self.state[name] = reported[name]


@dataclass(frozen=True, slots=True)
class _Candidate:
    """One expectation the numbers may fit, and what it means if they do."""

    dialect: Dialect
    worked: Precision
    verdict: Verdict


class StepJudge:
    """One step that gave numbers."""

    def __init__(self, cell: Cell, number: int, inputs: StepInputs, walk: Walk, references: References) -> None:
        self.cell, self.number, self.inputs, self.walk, self.references = cell, number, inputs, walk, references
        self.configuration = cell.case.configuration
        self.operation = OPERATIONS[self.configuration.op]
        self.declared = declared_at(cell.implementation.profile, self.configuration.rank)
        self.dialect = apply(self.operation.dialect, self.declared)
        self.keeps_state = cell.implementation.keeps_state
        # The walk goes on; these are as they were before the step.
        self.frozen, self.trained, self.gradients, self.earlier = (
            walk.frozen,
            walk.trained,
            walk.gradients,
            walk.earlier,
        )
        self.before = dict(walk.state) if self.keeps_state else dict(states_of(cell.case)[number - 1])
        self.worked = working(self.configuration.dtype)
        self.target = self._target()
        #: The quantities of the right dtype and shape.
        self.formed: frozenset[str] = frozenset()
        #: The quantities that only narrower arithmetic explains so far.
        self.narrowed: set[str] = set()
        #: The quantities that are not finite where they must be, or the reverse.
        self.patterned: set[str] = set()

    def judge(self, outcome: Produced) -> StepJudgement:
        """Return the judgement of the step, and let the walk go on from it."""
        observed = {**outcome.quantities, **(outcome.state if self.keeps_state else {})}
        shaped = {name: value for name, value in observed.items() if self._is_shaped(name, value)}
        self.target = replace(self.target, observed=shaped)
        expected = self.target.names(self.operation.dialect, self.worked)
        unknown = set(observed) - set(expected) - set(_STATISTICS) - _PRODUCED
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
        self._advance(outcome)
        verdict = worst(each.verdict for each in quantities)
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

    def _explained(self, quantities: Sequence[Judged]) -> list[Judged]:
        """Return the quantities with what explains those that deviate by their values."""
        open_ = frozenset(each.quantity for each in quantities if self._is_open(each))
        return explained(quantities, open_, self.evidence(quantities)) if open_ else list(quantities)

    def evidence(self, quantities: Iterable[Judged]) -> Evidence:
        """Return what the step says for and against a hypothesis; `quantities` are as they were judged.

        Of a step judged in parts, what the part with the worst element says.
        """
        scored = [(each.score or 0.0, each.worst.position) for each in quantities if each.worst is not None]
        target = self.target.around(max(scored, default=(0.0, 0))[1])
        return Evidence(
            observed={name: target.flat(name) for name in target.observed},
            narrowed=frozenset(self.narrowed),
            agreeing=frozenset(each.quantity for each in quantities if each.verdict.agrees),
            worked=self.worked,
            hypotheses=hypotheses(target.request.configuration, self.dialect),
            under=lambda hypothesis: target.under(hypothesis, self.worked),
            expected=target.expected(self.dialect, self.worked),
            terms=lambda: target.terms(self.dialect),
            fitted=self.walk.fitted.setdefault(self.inputs.step.step, {}),
        )

    def _is_open(self, judged: Judged) -> bool:
        mended = judged.quantity in self.narrowed or judged.quantity in self.patterned
        return judged.verdict is Verdict.DEVIATES and (not judged.causes or mended)

    def _is_shaped(self, name: str, observed: Array) -> bool:
        """Return whether the quantity has the shape of its reference."""
        return name not in self.operation.shaped_like_input or (
            self.inputs.input is not None and observed.shape == self.inputs.input.shape
        )

    def _required(self) -> set[str]:
        required = set(self.operation.state(self.configuration)) if self.keeps_state else set()
        match self.inputs.step:
            case Train() | Infer():
                required.add("output")
                if self.inputs.upstream is not None:
                    required.add("grad_input")
                    if not self.frozen:
                        learned = {"gamma", "beta"} & set(self.operation.state(self.configuration))
                        required |= {f"grad_{name}" for name in learned}
                        required |= self.operation.required
            case _:
                pass
        return required - set(self.cell.implementation.lacks)

    def _target(self) -> Target:
        request = Request(
            case=self.cell.case,
            configuration=self.configuration,
            number=self.number,
            inputs=self.inputs,
            dialect=self.dialect,
            worked=self.worked,
            frozen=self.frozen,
            trained=self.trained,
            earlier=self.earlier,
        )
        return Target(
            request=request, before=self.before, gradients=self.gradients, references=self.references, observed={}
        )

    def _candidates(self) -> Iterator[_Candidate]:
        worked = self.worked
        canonical = self.operation.dialect
        yield _Candidate(canonical, worked, Verdict.CONFORMS)
        if self.dialect != canonical:
            yield _Candidate(self.dialect, worked, Verdict.DIALECT)
        declared = self.declared.get("statistics_dtype")
        narrow = self._narrower()
        if narrow is not None:
            half = precision(narrow)
            documented = declared is not None and declared.value == narrow and declared.source == "documentation"
            verdict = Verdict.DIALECT if documented else Verdict.DEVIATES
            yield _Candidate(canonical, half, verdict)
            if self.dialect != canonical:
                yield _Candidate(self.dialect, half, verdict)

    def _narrower(self) -> str | None:
        """Return the dtype narrower than it should be in which an implementation might compute."""
        return {"float64": "float32", "float32": None}.get(self.configuration.dtype, self.configuration.dtype)

    def _quantity(self, name: str, observed: Array | None, complaint: Cause | None) -> Judged:
        """Judge presence, dtype, shape, finiteness and values, in that order."""
        if observed is None:
            return Judged(quantity=name, verdict=Verdict.DEVIATES, causes=(because("not-given"),))
        judged = functools.partial(Judged, quantity=name, dtype=dtype_name(observed.dtype), shape=tuple(observed.shape))
        if complaint is not None:
            return judged(verdict=Verdict.DEVIATES, causes=(complaint,))
        first: Fit | None = None
        for candidate in self._candidates():
            found = self._fit(name, candidate.dialect, candidate.worked)
            if found is None:
                continue
            first = first or found
            if found.within and self._tells(found, candidate):
                verdict, fields, causes = self._accepted(name, found, candidate)
                # What only narrower arithmetic or an undocumented dialect explains is scored by the bound that it broke.
                said = candidate.worked == self.worked and verdict is not Verdict.DEVIATES
                return judged(verdict=verdict, fields=fields, causes=causes, **_scored(found if said else first))
        assert first is not None
        verdict = Verdict.OUTSIDE_DOMAIN if first.outside_domain or self._half_overflows(name) else Verdict.DEVIATES
        pattern = first.pattern
        if pattern is not None:
            self.patterned.add(name)
        return judged(verdict=verdict, causes=() if pattern is None else (pattern,), **_scored(first))

    def _fit(self, name: str, dialect: Dialect, worked: Precision) -> Fit | None:
        """Return how well the quantity fits; every quantity is asked how it fits the canonical semantics."""
        first = dialect == self.operation.dialect and worked == self.worked
        return self.target.fit(name, dialect, worked, self.formed if first else ())

    def _tells(self, found: Fit, candidate: _Candidate) -> bool:
        """Return whether a fit within the bound says something of the candidate.

        A bound that admits anything makes the canonical reference undecided, never another one right; half
        precision, which is known from the dtype, is named all the same.
        """
        return found.decidable or candidate.verdict is Verdict.CONFORMS or candidate.worked.name in HALF

    def _accepted(
        self, name: str, found: Fit, candidate: _Candidate
    ) -> tuple[Verdict, tuple[str, ...], tuple[Cause, ...]]:
        """Return what a fit means: the verdict, the dialect's fields that it needs, and what is wrong all the same."""
        verdict, cause = candidate.verdict, None
        fields: tuple[str, ...] = ()
        if candidate.dialect != self.operation.dialect:
            fields = self._needed(name, candidate)
            undocumented = [each for each in fields if self.declared[each].source != "documentation"]
            if undocumented:
                verdict = Verdict.DEVIATES
                cause = because("undocumented-dialect", fields=", ".join(undocumented))
        worked = self.worked
        if candidate.worked != worked:
            self.narrowed.add(name)
            names = {"narrower": candidate.worked.name, "wider": worked.name}
            cause = cause or because("narrower-arithmetic", **names)
            if not found.decidable:
                verdict, cause = Verdict.DEVIATES, because("narrower-arithmetic-admits-anything", **names)
        if verdict is Verdict.CONFORMS:
            verdict = Verdict.EXACT if found.exact else verdict if found.decidable else Verdict.NOT_DECIDABLE
        return verdict, fields, () if cause is None else (cause,)

    def _needed(self, name: str, candidate: _Candidate) -> tuple[str, ...]:
        """Return the declared fields without which the numbers would not fit."""
        canonical = self.operation.dialect
        differing = [each for each in self.declared if getattr(candidate.dialect, each) != getattr(canonical, each)]
        if len(differing) == 1:
            return tuple(differing)
        request = self.target.request
        same = numbers(replace(request, dialect=candidate.dialect))
        needed = []
        for each in differing:
            without = replace(candidate.dialect, **{each: getattr(canonical, each)})
            if numbers(replace(request, dialect=without)) == same:
                continue
            found = self._fit(name, without, candidate.worked)
            if found is None or not found.within:
                needed.append(each)
        return tuple(needed or differing)

    def _half_overflows(self, name: str) -> bool:
        """Return whether sums of squares leave float16's range, where none but float32 arithmetic can work."""
        if self.configuration.dtype != "float16" or self.inputs.input is None:
            return False
        x = flatten(self.inputs.input, self.configuration).astype(np.float64)
        overflows = (x**2).sum(axis=0) > precision("float16").largest
        return bool(overflows.any()) and name not in ("gamma", "beta")

    def _form(self, name: str, observed: Array) -> Cause | None:
        """Return what is wrong with dtype or shape; None where they are right."""
        dtypes = self._dtypes(name)
        if dtype_name(observed.dtype) not in dtypes:
            return because("wrong-dtype", dtype=dtype_name(observed.dtype), expected=" or ".join(dtypes))
        if name in self.operation.shaped_like_input:
            assert self.inputs.input is not None
            shape = self.inputs.input.shape
            same = observed.shape == shape
        else:
            shape = self.configuration.features
            same = _squeezed(observed.shape) == _squeezed(shape)
        return None if same else because("wrong-shape", shape=str(observed.shape), expected=str(shape))

    def _dtypes(self, name: str) -> tuple[str, ...]:
        configuration = self.configuration
        if name in self.operation.shaped_like_input:
            return (configuration.dtype,)
        if name in _STATISTICS:
            return tuple(dict.fromkeys((configuration.dtype, self.worked.name)))
        if self.dialect.statistics_dtype and name in self.before and name not in _LEARNED:
            return (self.dialect.statistics_dtype,)
        return (configuration.parameter_dtype,)

    def _repeated(self, observed: Mapping[str, Array]) -> Iterator[Judged]:
        """Judge that inference on the same bits from the same state gives the same bits."""
        if not isinstance(self.inputs.step, Infer) or "output" not in observed:
            return
        state = b"".join(value.tobytes() for _, value in sorted(self.before.items()))
        output = observed["output"]
        key = (self.inputs.checksum, state)
        number, bits = self.walk.outputs.setdefault(key, (self.number, output.tobytes()))
        if bits != output.tobytes():
            yield Judged(
                quantity="output",
                verdict=Verdict.DEVIATES,
                causes=(because("differs-from-step", step=number),),
                dtype=output.dtype.name,
                shape=output.shape,
            )

    def _advance(self, outcome: Produced) -> None:
        walk = self.walk
        walk.follow(outcome.state)
        match self.inputs.step:
            case Train() if not (walk.frozen and self.dialect.frozen_implies_inference):
                walk.trained += int(self.inputs.input is not None and self.inputs.input.size > 0)
            case Freeze():
                walk.frozen = True
            case Unfreeze():
                walk.frozen = False
            case Infer() | Reload() | Sgd() | Train():
                pass
        if isinstance(self.inputs.step, Train):
            walk.gradients = {
                name: outcome.quantities[f"grad_{name}"]
                for name in ("gamma", "beta")
                if f"grad_{name}" in outcome.quantities
            }
            walk.earlier = Past(inputs=self.inputs, state=self.before, gradients=walk.gradients)


def _overwritten(outcome: Produced) -> Iterator[Judged]:
    """Judge that the step left its caller's arrays alone."""
    for name in outcome.overwritten:
        yield Judged(quantity=name, verdict=Verdict.DEVIATES, causes=(because("caller-array-overwritten", array=name),))


def _scored(found: Fit) -> dict[str, Any]:
    return {"score": found.score, "narrower": found.narrower, "worst": found.worst}


def _squeezed(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)
