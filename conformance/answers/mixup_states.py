"""Scenes in which the state, or the data, is another than was said: what was loaded, or fed in, by mistake."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.answers.explain_subject import Subject
from conformance.answers.explanation import Difference
from conformance.answers.mixup_choices import Choice, EpsilonChoice, IgnoredChoice, MovedChoice
from conformance.answers.mixup_reading import Performs
from conformance.answers.mixup_variants import Scene, Variants

Array = np.ndarray[Any, np.dtype[Any]]

#: Dearer than one thing said otherwise, and cheaper than two.
_PRICE = 1.1


def misread(subject: Subject, scene: Scene) -> Iterator[Scene]:
    """Yield the scene with the state that a person may have put in the place of the one they say."""
    for id_, words, state in _states(scene, _measured(subject, scene)):
        if any(not np.array_equal(value, scene.state[name]) for name, value in state.items()):
            yield replace(scene, state={**scene.state, **state}, taken=_taken(id_, words))


def normalized(subject: Subject, scene: Scene, performs: Performs) -> Scene | None:
    """Return the scene whose data went through that pass before; None where it gives something else than the data's shape."""
    output = _performed(subject, scene, performs).get("output")
    if output is None or output.shape != scene.x.shape:
        return None
    return replace(scene, x=output, taken=_taken("normalized-twice", "the data normalized twice"))


def _states(scene: Scene, batch: Mapping[str, Array]) -> Iterator[tuple[str, str, dict[str, Array]]]:
    state = scene.state
    if {"moving_mean", "moving_variance"} <= state.keys():
        mean, variance = state["moving_mean"], state["moving_variance"]
        with np.errstate(all="ignore"):
            root, square = np.sqrt(variance), variance**2
        yield (
            "deviation-for-variance",
            "a moving standard deviation, the root, where the variance belongs",
            {"moving_variance": root},
        )
        yield (
            "variance-squared",
            "the square of the moving variance where the variance belongs",
            {"moving_variance": square},
        )
        yield (
            "moving-values-swapped",
            "moving mean and moving variance swapped",
            {
                "moving_mean": variance,
                "moving_variance": mean,
            },
        )
    for ours in ("mean", "variance"):
        if {f"batch_{ours}"} <= batch.keys() and f"moving_{ours}" in state:
            yield (
                f"batch-{ours}-mixed-in",
                f"the batch's own {ours} beside the other moving value",
                {f"moving_{ours}": batch[f"batch_{ours}"]},
            )
    if "gamma" in state:
        yield "gamma-from-one", "1 + gamma in place of gamma", {"gamma": 1 + state["gamma"]}
        yield "gamma-from-one", "gamma - 1 in place of gamma", {"gamma": state["gamma"] - 1}


def _measured(subject: Subject, scene: Scene) -> Mapping[str, Array]:
    """Return what a train step measures of the data."""
    return _performed(subject, scene, "train") if scene.x.size else {}


def _performed(subject: Subject, scene: Scene, performs: Performs) -> Mapping[str, Array]:
    variants = Variants(subject, scene, subject.operation.dialect, [IgnoredChoice()], [MovedChoice()])
    epsilon = EpsilonChoice(value=subject.case.epsilon)
    return {name: one.value for name, one in variants.performed(performs, epsilon, subject.operation.dialect).items()}


def _taken(id_: str, words: str) -> Choice:
    return Choice(price=_PRICE, differences=(Difference(id=id_, words=words),))
