"""Asserting that a function computes what a case asks for, in the process of the test itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from conformance.cause import Explanation, diagnosis_text
from conformance.errors import UsageError
from conformance.judging.judge import judge
from conformance.outcome import Outcome, Produced, Refused
from conformance.planning.discovery import WorkerKey
from conformance.planning.plan import Cell, Offered
from conformance.protocol import Configuration, Declared
from conformance.reference.expected import References
from conformance.reference.inputs import inputs_of
from conformance.spec.case import Case, Infer, Train, handed, unfit
from conformance.spec.causes import catalogue

Array = np.ndarray[Any, np.dtype[Any]]
#: Takes the configuration, the kind of step ("train" or "infer"), the state before it by name, the input, and the upstream
#: gradient or None; gives every result by name, and the state after the step.
Function: TypeAlias = Callable[
    [Configuration, str, Mapping[str, Array], Array, Array | None], tuple[Mapping[str, Array], Mapping[str, Array]]
]

_HERE = WorkerKey(
    name="here", group=None, adapter="", attribute="", interpreter="", environment=(), dtypes=None, asked=True
)


class Unlike(AssertionError):  # noqa: N818 - pytest shows the name: what was given is unlike what is right
    """The function deviates; the message is a lab note."""


def assert_conforms(
    function: Function, case: Case, *, profile: Sequence[Declared] = (), lacks: Sequence[str] = ()
) -> None:
    """Perform the train and infer steps of a case by a function, and judge every result. Raises `Unlike`.

    `profile` is what the function's documentation states of its dialect, `lacks` are results that it does not give.
    Raises `UsageError` where the case has other steps, which a function without a layer has no meaning for.
    """
    inputs = inputs_of(case)
    other = [step.step.step for step in inputs.steps if not isinstance(step.step, Train | Infer)]
    if other:
        raise UsageError(f"{case.id}: a function has no step {other[0]}: draw cases(steps=('train', 'infer'))")
    state = {name: value.copy() for name, value in inputs.initial.items()}
    outcomes: list[Outcome] = [Produced(quantities={}, state=dict(state), seconds=0.0)]
    for step in inputs.steps:
        assert step.input is not None
        began = time.perf_counter()
        upstream = None if step.upstream is None else step.upstream.copy()
        given = {**state, **{name: np.resize(state[name], shape) for name, shape in handed(step.step).items()}}
        arguments = (case.configuration, step.step.step, given, step.input.copy(), upstream)
        try:
            quantities, after = function(*arguments)
        except Exception as error:
            if not unfit(step.step):
                raise
            outcomes.append(_refused(error, state, time.perf_counter() - began))
            continue
        if not handed(step.step):
            state = {**state, **{name: np.array(value) for name, value in after.items()}}
        found = {name: np.asarray(value) for name, value in quantities.items()}
        outcomes.append(Produced(quantities=found, state=dict(state), seconds=time.perf_counter() - began))
    judgement = judge(_cell(case, profile, lacks), outcomes, References())
    if not judgement.expected:
        raise Unlike(_note(case, judgement.steps, judgement.diagnosis))


def _refused(error: Exception, state: Mapping[str, Array], seconds: float) -> Refused:
    types = tuple(ancestor.__name__ for ancestor in type(error).__mro__ if ancestor not in (object, BaseException))
    return Refused(types=types, message=str(error), trace="", state=dict(state), seconds=seconds)


def _cell(case: Case, profile: Sequence[Declared], lacks: Sequence[str]) -> Cell:
    implementation = Offered(
        name="function",
        op=case.op,
        modes=("eager",),
        devices=("cpu",),
        dtypes=(case.dtype,),
        steps=("train", "infer"),
        lacks=tuple(lacks),
        profile=tuple(profile),
        documentation="",
    )
    return Cell(case=case, implementation=implementation, mode="eager", device="cpu", key=_HERE, unsupported=None)


def _note(case: Case, steps: Sequence[Any], diagnosis: Sequence[Explanation]) -> str:
    """Return what deviates where, what was expected and allowed, and why."""
    notes = [f"{case.op}, {case.dtype}, shape {case.shape}, feature axes {case.feature_axes}"]
    for step in steps:
        for judged in step.quantities:
            if judged.verdict.agrees or judged.worst is None:
                continue
            worst = judged.worst
            notes.append(
                f"  step {step.number} ({step.kind}) {judged.quantity}: score {judged.score:.3g}: expected "
                f"{worst.expected:.9g}, got {worst.observed:.9g}, allowed ±{worst.allowed:.2g}"
            )
    notes.append(f"  {diagnosis_text(diagnosis, catalogue())}" if diagnosis else "  nothing explains it")
    return "\n".join(notes)
