"""Asking two libraries how they write a layer, and letting both perform the same batches."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.answers.arguments import configured, target_candidates
from conformance.answers.libraries import Libraries, Row
from conformance.answers.translation import Performed, Side, Translation, agreements, losses
from conformance.cause import Explanation, text_of
from conformance.errors import UsageError
from conformance.execution.execute import execute
from conformance.judging.judge import judge
from conformance.judging.judgement import Judgement
from conformance.operations.layout import unflatten
from conformance.outcome import Outcome, Produced
from conformance.planning.plan import Cell, Offered
from conformance.protocol import Configuration
from conformance.reference.expected import References
from conformance.runfile.structs import NativeCall
from conformance.spec.case import Case
from conformance.spec.causes import catalogue
from conformance.spec.recipe import Normal, realize

Array = np.ndarray[Any, np.dtype[Any]]
#: How both layers are run.
MODE, DEVICE = "eager", "cpu"


def translate(
    source: Row,
    target: Row,
    given: Mapping[str, str],
    libraries: Libraries,
    *,
    rank: int = 4,
    features: int | None = None,
    state: Mapping[str, Array] | None = None,
    prove: bool = True,
) -> Translation:
    """Return the source's layer with the given arguments in the words of the target, proven on the same batches.

    `state` are the values that both start from, one for each feature. Raises `UsageError`, also where the target cannot
    express the layer.
    """
    name, ask = source.implementation.name, functools.partial(libraries.ask, source)
    learned = state.keys() & {"gamma", "beta"} if state else None
    configuration, arguments = configured(name, given, rank, ask, _features(state) or features, learned)
    (call,) = libraries.ask(source, [configuration])
    assert isinstance(call, NativeCall)
    ours = Side(implementation=source.implementation, configuration=configuration, call=call, arguments=arguments)
    theirs = target_of(target, configuration, libraries)
    made = Translation(source=ours, target=theirs, losses=tuple(losses(ours, theirs)))
    if not prove:
        return made
    one, other = performed([(source, ours.configuration), (target, theirs.configuration)], libraries, state or {})
    started = other.numbers.get(0, {})
    return replace(
        made,
        agreements=tuple(agreements(one, other)),
        shapes={name: _open_shape(value.shape) for name, value in started.items()},
    )


def _open_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape of one value per feature with -1 where these are: along the axis that is not 1, or the last."""
    open_ = tuple(-1 if size > 1 else size for size in shape)
    return open_ if -1 in open_ else (*shape[:-1], -1)


def _features(state: Mapping[str, Array] | None) -> int | None:
    """Return of how many features the values are; None where there are none."""
    return next((value.size for value in (state or {}).values()), None)


def target_of(target: Row, source: Configuration, libraries: Libraries, *, arguments: bool = True) -> Side:
    """Return how a target's user writes the layer of that configuration. Raises `UsageError` where it cannot be had.

    `arguments` asks for the argument of each field as well.
    """
    candidates = target_candidates(source)
    answers = libraries.ask(target, candidates)
    for candidate, answer in zip(candidates, answers, strict=True):
        if isinstance(answer, NativeCall):
            name, ask = target.implementation.name, functools.partial(libraries.ask, target)
            words = configured(name, {}, candidate.rank, ask)[1] if arguments else {}
            return Side(implementation=target.implementation, configuration=candidate, call=answer, arguments=words)
    raise UsageError(f"{target.implementation.name} cannot express it: {'; '.join(dict.fromkeys(map(str, answers)))}")


def performed(
    sides: Sequence[tuple[Row, Configuration]], libraries: Libraries, state: Mapping[str, Array]
) -> list[Performed]:
    """Return what each side gave on the same batches: two train steps and an inference, each with gradients."""
    steps = set.intersection(*(set(row.implementation.steps) for row, _ in sides))
    begun = _begun([configuration for _, configuration in sides], state)
    cells = [_cell(row, configuration, begun, steps) for row, configuration in sides]
    by_cell = {id(cell): outcomes for cell, outcomes in execute(cells, libraries.workers)}
    references = References()
    return [
        Performed(
            configuration=cell.case.configuration,
            judgement=judge(cell, by_cell[id(cell)], references),
            numbers=_numbers(by_cell[id(cell)]),
            words=functools.partial(_words, cell.implementation),
        )
        for cell in cells
    ]


def _begun(configurations: Sequence[Configuration], state: Mapping[str, Array]) -> dict[str, Array]:
    """Return the state that all begin from: gamma and beta apart from 1 and 0 where all have them."""
    ramp = np.arange(configurations[0].feature_count) / 4
    scale, center = (all(getattr(one, name) for one in configurations) for name in ("scale", "center"))
    return {**({"gamma": 0.75 + ramp} if scale else {}), **({"beta": ramp - 0.5} if center else {}), **state}


def _cell(row: Row, configuration: Configuration, state: Mapping[str, Array], steps: Collection[str]) -> Cell:
    return Cell(
        case=_case(row.implementation.name, configuration, steps, state),
        implementation=row.implementation,
        mode=MODE,
        device=DEVICE,
        key=row.key,
        unsupported=None,
    )


def _case(name: str, configuration: Configuration, steps: Collection[str], state: Mapping[str, Array]) -> Case:
    """Return the case of the proof in the layout of the configuration: the same values of each feature in any."""
    width = configuration.feature_count
    rows = int(np.prod(configuration.shape)) // width

    def array(seed: int, mean: float, std: float) -> dict[str, Any]:
        recipe = Normal(kind="normal", seed=seed, mean=mean, std=std, feature_shift=0.25, feature_octaves=0)
        values = realize(recipe, (rows, width), (1,), configuration.dtype)
        return {"kind": "literal", "values": unflatten(values, configuration, configuration.shape).tolist()}

    planned = [("train", 1, 2), ("train", 3, 4), ("infer", 5, 6)]
    return Case.model_validate(
        {
            "id": f"translate.{name.replace('+', '/')}",
            "title": "The batches on which both layers are run.",
            "source": "a translation",
            "clauses": ["1.1"],
            "op": configuration.op,
            "shape": list(configuration.shape),
            "feature_axes": list(configuration.feature_axes),
            "dtype": configuration.dtype,
            "decay": configuration.decay,
            "epsilon": configuration.epsilon,
            "scale": configuration.scale,
            "center": configuration.center,
            "initial": _initial(configuration, state),
            "steps": [
                {"step": kind, "input": array(seed, 1.0, 2.0), "upstream": array(further, 0.25, 1.0)}
                for kind, seed, further in planned
                if kind in steps
            ],
        }
    )


def _initial(configuration: Configuration, state: Mapping[str, Array]) -> dict[str, Any]:
    """Return the state that both begin from; gamma and beta that only one of them has are 1 and 0."""
    names = [
        ("gamma", configuration.scale),
        ("beta", configuration.center),
        ("moving_mean", True),
        ("moving_variance", True),
    ]
    return {
        name: {"kind": "literal", "values": np.asarray(state[name], np.float64).reshape(-1).tolist()}
        for name, has in names
        if has and name in state
    }


def _numbers(outcomes: Sequence[Outcome]) -> dict[int, dict[str, Array]]:
    return {
        number: {**outcome.quantities, **outcome.state}
        for number, outcome in enumerate(outcomes)
        if isinstance(outcome, Produced)
    }


def _words(implementation: Offered, judgement: Judgement, step: int, quantity: str) -> str:
    """Return why a quantity is not the canonical one: the documented fields, or the causes; empty where it is."""
    if step >= len(judgement.steps):
        return "was not reached"
    performed = judgement.steps[step]
    if performed.message:
        return performed.message
    for judged in performed.quantities:
        if judged.quantity == quantity:
            stated = {declared.field: declared.value for declared in implementation.profile}
            fields = [f"{field} = {stated[field]}" for field in judged.fields if field in stated]
            if judged.verdict.agrees:
                return ", ".join(fields)
            explaining = list(_explaining(judgement, quantity))
            if fields and all(cause.id == "undocumented-dialect" for one in explaining for cause in one.alternatives):
                return f"{', '.join(fields)}, as no page says"
            return " and ".join(text_of(one.alternatives, catalogue()) for one in explaining) or str(judged.verdict)
    return ""


def _explaining(judgement: Judgement, quantity: str) -> Iterator[Explanation]:
    for explanation in judgement.diagnosis:
        if any(quantity in cause.quantities or not cause.quantities for cause in explanation.alternatives):
            yield explanation
