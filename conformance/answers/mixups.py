"""What a person's numbers are: every reading of what they did that fits the digits they give, the plainest first.

First every combination of settings is tried (feature axes, pass, epsilon, learned parameters, corrections, train steps
before), then every change of the formula that the operation knows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from conformance.answers.explain_subject import Subject
from conformance.answers.explanation import Diagnosed, Difference, Printed
from conformance.answers.mixup_choices import (
    Choice,
    axes_choices,
    epsilon_choices,
    ignored_choices,
    moved_choices,
)
from conformance.answers.mixup_hypotheses import PRICE, by_hypotheses
from conformance.answers.mixup_line import line_text
from conformance.answers.mixup_reading import Found, Performs, fitting, mode_choice, nearest, told
from conformance.answers.mixup_states import misread, normalized
from conformance.answers.mixup_variants import Scene, Variants, scene_of
from conformance.answers.typed_numbers import Typed, typed
from conformance.dialect import Dialect
from conformance.errors import UsageError
from conformance.reference.inputs import StepInputs, beginnings_of, inputs_of
from conformance.spec.case import Infer, Train

Array = np.ndarray[Any, np.dtype[Any]]

PASSES: tuple[Performs, ...] = ("infer", "train")
#: The dearest choices are left out where the variants of the data would have more values than this together.
_LARGEST = 1_000_000
_CORRECTED = Difference(id="normalizing-correction", words="the variance that normalizes divided by m - 1")
_MOVING_CORRECTED = Difference(
    id="moving-correction", words="the variance that enters the moving variance divided by m - 1"
)


def diagnosed(subject: Subject, kind: Literal["got", "expected"], asked: Mapping[str, Typed]) -> Diagnosed:
    """Return the readings of the numbers that fit, or those that come nearest.

    Whole numbers are taken at their word, and only where nothing fits for rounded ones.
    """
    start, inputs = _start(subject)
    readings = _sought(subject, start, inputs, asked)
    fits = fitting(readings)
    if not fits and any((one.slack == 0).any() for one in asked.values()):
        readings = _sought(subject, start, inputs, {name: one.as_rounded for name, one in asked.items()})
        fits = fitting(readings)
    return Diagnosed(
        asked=kind,
        numbers=tuple(Printed(quantity=name, texts=one.texts) for name, one in asked.items()),
        fits=bool(fits),
        readings=tuple(told(subject, one) for one in fits or nearest(readings)),
        note="" if fits else line_text(subject, start, inputs, asked),
    )


def asked_of(
    subject: Subject, texts: Mapping[Literal["got", "expected"], Sequence[str]]
) -> dict[Literal["got", "expected"], dict[str, Typed]]:
    """Return the numbers of `QUANTITY=NUMBERS` and `NUMBERS`, which are of the output. Raises `UsageError`."""
    asked: dict[Literal["got", "expected"], dict[str, Typed]] = {}
    for kind, given in texts.items():
        for text in given:
            name, equals, rest = text.partition("=")
            quantity, numbers = (name.strip(), rest) if equals and name.strip().isidentifier() else ("output", text)
            if quantity in asked.get(kind, {}):
                raise UsageError(f"--{kind}: numbers of the {quantity} are given twice")
            asked.setdefault(kind, {})[quantity] = typed(f"--{kind}", numbers)
        if kind in asked:
            _check(subject, kind, asked[kind], _start(subject)[1])
    return asked


def _start(subject: Subject) -> tuple[Mapping[str, Array], StepInputs]:
    """Return the state from which readings start, and the step whose numbers are asked about: the last pass."""
    case, inputs = subject.case, inputs_of(subject.case)
    number = max(index for index, step in enumerate(case.performed) if isinstance(step, Train | Infer))
    if subject.shipped:
        return beginnings_of(case, subject.operation.dialect)[number].state, inputs.steps[number]
    return inputs.initial, inputs.steps[number]


def _check(subject: Subject, kind: str, asked: Mapping[str, Typed], inputs: StepInputs) -> None:
    roles = ("output", "statistic", "state")
    known = [name for name, one in subject.operation.quantities.items() if one.role in roles]
    assert inputs.input is not None
    if subject.operation.options or subject.operation.needs or subject.operation.whole or inputs.arrays:
        raise UsageError(f"--{kind}: numbers of {subject.case.op} are not compared with readings of them")
    for name, numbers in asked.items():
        if name not in known:
            raise UsageError(f"--{kind}: expected numbers of {', '.join(known)}, got {name}=")
        if not numbers.values.size:
            raise UsageError(f"--{kind}: expected numbers")
        like_input = subject.operation.quantities[name].shape == "input"
        if like_input and numbers.values.size != inputs.input.size:
            count = inputs.input.size
            raise UsageError(
                f"--{kind}: expected {count} numbers of the {name}, as the data has, got {numbers.values.size}"
            )


def _sought(
    subject: Subject, start: Mapping[str, Array], inputs: StepInputs, asked: Mapping[str, Typed]
) -> list[Found]:
    """Return readings by settings, and where none of them is as plain as that, by changes of the formula."""
    assert inputs.input is not None
    scenes = [scene_of(subject, axes, start, inputs.input, asked) for axes in axes_choices(subject)]
    readings = [reading for scene in scenes if scene is not None for reading in _by_settings(subject, scene)]
    plainest = min((one.price for one in readings if one.off <= 1), default=np.inf)
    if plainest >= PRICE and scenes[0] is not None:
        readings += _by_states(subject, scenes[0])
        readings += by_hypotheses(subject, scenes[0], start, inputs)
    return readings


def _by_states(subject: Subject, scene: Scene) -> Iterator[Found]:
    """Yield the readings by which another state was loaded, or the data were normalized before."""
    if "output" not in scene.asked:
        return
    dialect = subject.operation.dialect
    for other in misread(subject, scene):
        for performs in PASSES:
            yield from _varied(subject, other, dialect, performs)
    for performs in PASSES:
        twice = normalized(subject, scene, performs)
        if twice is not None:
            yield from _varied(subject, twice, dialect, performs)


def _by_settings(subject: Subject, scene: Scene) -> Iterator[Found]:
    """Yield the readings of every combination of settings that fit, and of each the one that comes nearest."""
    for correction in (0, 1):
        dialect = replace(subject.operation.dialect, moving_correction=correction)
        for performs in PASSES:
            yield from _varied(subject, scene, dialect, performs)


def _varied(subject: Subject, scene: Scene, dialect: Dialect, performs: Performs) -> Iterator[Found]:
    """Yield the readings of one pass, over epsilons and corrections, and over every variant of the state at once."""
    # Of what a batch measures and what is kept of it, nothing depends on epsilon or on a learned parameter.
    transforms = any(subject.operation.quantities[name].role == "output" for name in scene.asked)
    if performs == "infer" and not transforms:
        return
    of_output = slice(None) if transforms else slice(1)
    ignored = list(ignored_choices(subject, scene.state))[of_output]
    moves = [one for one in moved_choices(subject) if not dialect.moving_correction or one.trained]
    state = set(subject.operation.named(scene.configuration, "state"))
    if performs == "train" and not state & scene.asked.keys():
        # What a train step gives of its batch depends on no moving value.
        moves = [] if dialect.moving_correction else moves[:1]
    room = _LARGEST // max(1, scene.x.size * len(ignored))
    moves = sorted(moves, key=lambda one: one.price)[: max(1, room)]
    if not moves:
        return
    variants = Variants(subject, scene, dialect, ignored, moves)
    divides = performs == "train" and "moving_variance" in subject.operation.quantities
    corrections = [0, 1] if divides and transforms else [0]
    entering = Choice(price=0.2, differences=(_MOVING_CORRECTED,)) if dialect.moving_correction else Choice()
    for epsilon in list(epsilon_choices(subject))[of_output]:
        for correction in corrections:
            off, gives = variants.judged(performs, epsilon, replace(dialect, normalizing_correction=correction))
            corrected = Choice(price=1.0, differences=(_CORRECTED,)) if correction else Choice()
            settings = (mode_choice(subject, performs), scene.axes, scene.taken, epsilon, corrected, entering)
            for index in variants.promising(off):
                yield Found(
                    performs=performs,
                    axes=scene.axes.axes,
                    epsilon=epsilon.value,
                    choices=(*settings, *variants.choices(index)),
                    off=float(off[index]),
                    gives={name: array[..., index, :] for name, array in gives.items()},
                )
