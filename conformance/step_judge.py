"""Judging one step that gave numbers: each quantity, from the state that was reported before it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from conformance.case import Freeze, Infer, Reload, Sgd, Train, Unfreeze
from conformance.diagnosis import Evidence, explained
from conformance.dialect import Dialect, apply, declared_at
from conformance.errors import SuiteError
from conformance.fit import Fit, fit
from conformance.inputs import StepInputs, states_of
from conformance.judgement import Judged, StepJudgement
from conformance.operation import Expected, Hypothesis, flatten
from conformance.operations import OPERATIONS
from conformance.outcome import Produced
from conformance.plan import Cell
from conformance.precision import HALF, Precision, precision, working
from conformance.protocol import Configuration
from conformance.reference import Past, References, Request, terms
from conformance.verdict import Verdict, worst

Array = np.ndarray[Any, np.dtype[Any]]

_STATISTICS = ("batch_mean", "batch_variance")
_LEARNED = ("gamma", "beta")


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
        self.observed: Mapping[str, Array] = {}
        self.known: dict[Any, Mapping[str, Expected]] = {}
        #: The quantities that only narrower arithmetic explains so far.
        self.narrowed: set[str] = set()
        #: The quantities that are not finite where they must be, or the reverse.
        self.patterned: set[str] = set()
        self.before = dict(walk.state) if self.keeps_state else dict(states_of(cell.case)[number - 1])

    def judge(self, outcome: Produced) -> StepJudgement:
        """Return the judgement of the step, and let the walk go on from it."""
        observed = {**outcome.quantities, **(outcome.state if self.keeps_state else {})}
        self.observed = observed
        expected = self._expected(self.operation.dialect, working(self.configuration.dtype))
        unknown = set(observed) - set(expected) - set(_STATISTICS) - {"grad_gamma", "grad_beta", "grad_input"}
        if unknown:
            raise SuiteError(f"{self.cell.id}: step {self.number} gave unknown quantities {sorted(unknown)}")
        names = [name for name in expected if name in observed or name in self._required()]
        quantities = [self._quantity(name, observed.get(name)) for name in names]
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
        """Return what the step says for and against a hypothesis; `quantities` are as they were judged."""
        return Evidence(
            observed={
                name: self._flat(name, value) for name, value in self.observed.items() if self._is_shaped(name, value)
            },
            narrowed=frozenset(self.narrowed),
            agreeing=frozenset(each.quantity for each in quantities if each.verdict.agrees),
            worked=working(self.configuration.dtype),
            hypotheses=tuple(self.operation.hypotheses(self.configuration, self.dialect)),
            under=self._under,
            expected=self._expected(self.dialect, working(self.configuration.dtype)),
            terms=self._terms,
        )

    def _is_open(self, judged: Judged) -> bool:
        mended = judged.quantity in self.narrowed or judged.quantity in self.patterned
        return judged.verdict is Verdict.DEVIATES and (not judged.reason or mended)

    def _under(self, hypothesis: Hypothesis) -> Mapping[str, Expected]:
        with np.errstate(all="ignore"):
            request = self._request(hypothesis.dialect, working(self.configuration.dtype), hypothesis.configuration)
            request = replace(request, variance=hypothesis.variance, hypothesis=hypothesis, earlier=self.earlier)
            return self.references.expected(request, self.before, self.gradients)

    def _terms(self) -> Mapping[str, Mapping[str, Array]]:
        request = self._request(self.dialect, working(self.configuration.dtype), self.configuration)
        return terms(request, self.before, self.gradients)

    def _is_shaped(self, name: str, observed: Array) -> bool:
        """Return whether the quantity has the shape of its reference."""
        return name not in self.operation.shaped_like_input or (
            self.inputs.input is not None and observed.shape == self.inputs.input.shape
        )

    def _flat(self, name: str, observed: Array) -> Array:
        return (
            flatten(observed, self.configuration) if name in self.operation.shaped_like_input else observed.reshape(-1)
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

    def _expected(self, dialect: Dialect, worked: Precision) -> Mapping[str, Expected]:
        key = (dialect, worked.name)
        if key not in self.known:
            request = self._request(dialect, worked, self.configuration)
            self.known[key] = self.references.expected(request, self.before, self.gradients)
        return self.known[key]

    def _request(self, dialect: Dialect, worked: Precision, configuration: Configuration) -> Request:
        return Request(
            case=self.cell.case,
            configuration=configuration,
            number=self.number,
            inputs=self.inputs,
            dialect=dialect,
            worked=worked,
            frozen=self.frozen,
            trained=self.trained,
        )

    def _candidates(self) -> Iterator[_Candidate]:
        worked = working(self.configuration.dtype)
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

    def _quantity(self, name: str, observed: Array | None) -> Judged:
        """Judge presence, dtype, shape, finiteness and values, in that order."""
        if observed is None:
            return Judged(quantity=name, verdict=Verdict.DEVIATES, reason="was not given")
        expected = self._expected(self.operation.dialect, working(self.configuration.dtype))[name]
        described = Judged(
            quantity=name, verdict=Verdict.DEVIATES, dtype=observed.dtype.name, shape=tuple(observed.shape)
        )
        complaint = self._form(name, observed, expected)
        if complaint:
            return replace(described, reason=complaint)
        flat = self._flat(name, observed)
        first: Fit | None = None
        for candidate in self._candidates():
            target = self._expected(candidate.dialect, candidate.worked).get(name)
            if target is None:
                continue
            found = fit(flat, target, candidate.worked)
            first = first or found
            if found.within and self._tells(found, candidate):
                accepted = self._accepted(described, name, flat, found, candidate)
                # What only narrower arithmetic or an undocumented dialect explains is scored by the bound that it broke.
                said = (
                    candidate.worked == working(self.configuration.dtype) and accepted.verdict is not Verdict.DEVIATES
                )
                return self._scored(accepted, found if said else first)
        assert first is not None
        verdict = Verdict.OUTSIDE_DOMAIN if first.outside_domain or self._half_overflows(name) else Verdict.DEVIATES
        if first.reason:
            self.patterned.add(name)
        return self._scored(replace(described, verdict=verdict, reason=first.reason), first)

    def _tells(self, found: Fit, candidate: _Candidate) -> bool:
        """Return whether a fit within the bound says something of the candidate.

        A bound that admits anything makes the canonical reference undecided, never another one right; half
        precision, which is known from the dtype, is named all the same.
        """
        return found.decidable or candidate.verdict is Verdict.CONFORMS or candidate.worked.name in HALF

    def _accepted(self, described: Judged, name: str, flat: Array, found: Fit, candidate: _Candidate) -> Judged:
        verdict, reason = candidate.verdict, ""
        fields: tuple[str, ...] = ()
        if candidate.dialect != self.operation.dialect:
            fields = self._needed(name, flat, candidate)
            undocumented = [each for each in fields if self.declared[each].source != "documentation"]
            if undocumented:
                verdict = Verdict.DEVIATES
                reason = f"fits its dialect in {', '.join(undocumented)}, which no documentation states"
        worked = working(self.configuration.dtype)
        if candidate.worked != worked:
            self.narrowed.add(name)
            reason = reason or f"computed in {candidate.worked.name}: outside the bound of {worked.name} arithmetic"
            if not found.decidable:
                verdict = Verdict.DEVIATES
                reason = (
                    f"outside the bound of {worked.name} arithmetic; that of {candidate.worked.name} admits anything"
                )
        if verdict is Verdict.CONFORMS:
            verdict = Verdict.EXACT if found.exact else verdict if found.decidable else Verdict.NOT_DECIDABLE
        return replace(described, verdict=verdict, fields=fields, reason=reason)

    def _needed(self, name: str, flat: Array, candidate: _Candidate) -> tuple[str, ...]:
        """Return the declared fields without which the numbers would not fit."""
        canonical = self.operation.dialect
        differing = [each for each in self.declared if getattr(candidate.dialect, each) != getattr(canonical, each)]
        if len(differing) == 1:
            return tuple(differing)
        needed = []
        for each in differing:
            without = replace(candidate.dialect, **{each: getattr(canonical, each)})
            if not fit(flat, self._expected(without, candidate.worked)[name], candidate.worked).within:
                needed.append(each)
        return tuple(needed or differing)

    def _half_overflows(self, name: str) -> bool:
        """Return whether sums of squares leave float16's range, where none but float32 arithmetic can work."""
        if self.configuration.dtype != "float16" or self.inputs.input is None:
            return False
        x = flatten(self.inputs.input, self.configuration).astype(np.float64)
        overflows = (x**2).sum(axis=0) > precision("float16").largest
        return bool(overflows.any()) and name not in ("gamma", "beta")

    def _form(self, name: str, observed: Array, expected: Expected) -> str:
        """Return what is wrong with dtype or shape; nothing where they are right."""
        dtypes = self._dtypes(name)
        if observed.dtype.name not in dtypes:
            return f"has dtype {observed.dtype.name}, expected {' or '.join(dtypes)}"
        if name in self.operation.shaped_like_input:
            assert self.inputs.input is not None
            shape = self.inputs.input.shape
            return "" if observed.shape == shape else f"has shape {observed.shape}, expected {shape}"
        same = observed.size == expected.value.size and _squeezed(observed.shape) == _squeezed(
            self.configuration.features
        )
        return "" if same else f"has shape {observed.shape}, expected {self.configuration.features}"

    def _dtypes(self, name: str) -> tuple[str, ...]:
        configuration = self.configuration
        if name in self.operation.shaped_like_input:
            return (configuration.dtype,)
        if name in _STATISTICS:
            return tuple(dict.fromkeys((configuration.dtype, working(configuration.dtype).name)))
        if self.dialect.statistics_dtype and name in self.before and name not in _LEARNED:
            return (self.dialect.statistics_dtype,)
        return (configuration.parameter_dtype,)

    def _scored(self, judged: Judged, found: Fit) -> Judged:
        return replace(judged, score=found.score, narrower=found.narrower, worst=found.worst)

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
                reason=f"differs from step {number}, which had the same input and state",
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
        yield Judged(quantity=name, verdict=Verdict.DEVIATES, reason=f"the step wrote to its caller's {name}")


def _squeezed(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)
