"""What can be told of outputs that no reading fits: the straight line of the data that they are, and what it implies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from conformance.answers.explain_subject import Subject
from conformance.answers.typed_numbers import Typed
from conformance.operations.layout import flatten
from conformance.operations.written import short
from conformance.reference.inputs import StepInputs, situate

Array = np.ndarray[Any, np.dtype[Any]]

#: Of how many features the line is told.
_FEATURES = 3


def line_text(subject: Subject, start: Mapping[str, Array], inputs: StepInputs, asked: Mapping[str, Typed]) -> str:
    """Return the lines that the outputs of the first features are, and the state that inference would need for them.

    Empty where no output was given, or a feature has too few different values to tell a line from anything.
    """
    if "output" not in asked or inputs.input is None:
        return ""
    configuration = subject.case.configuration
    x = flatten(inputs.input, configuration).astype(np.float64)
    y = flatten(asked["output"].values.reshape(inputs.input.shape), configuration)
    slack = flatten(asked["output"].slack.reshape(inputs.input.shape), configuration)
    sentences = []
    for feature in range(min(_FEATURES, configuration.feature_count)):
        line = _line(x[:, feature], y[:, feature], slack[:, feature])
        if line is None:
            continue
        slope, offset = line
        sentence = f"feature {feature}: {short(slope)}·x {'-' if offset < 0 else '+'} {short(abs(offset))}"
        if subject.operation.implied is not None:
            situation = situate(configuration, subject.operation.dialect, inputs, start, 0)
            needed = subject.operation.implied(situation, feature, slope, offset)
            values = ", ".join(f"{name} {short(value)}" for name, value in needed.items())
            sentence += f", which inference gives with {values}"
        sentences.append(sentence)
    return "; ".join(sentences)


def _line(x: Array, y: Array, slack: Array) -> tuple[float, float] | None:
    """Return slope and offset of the line through the points, None where they are on none or there are fewer than two."""
    if not (np.isfinite(x).all() and np.isfinite(y).all()) or len(np.unique(x)) < 2:
        return None
    slope, offset = np.polynomial.Polynomial.fit(x, y, 1).convert().coef[::-1]
    off = np.abs(slope * x + offset - y)
    # Rounding of float32 arithmetic beside that of the digits.
    return (float(slope), float(offset)) if (off <= 2 * slack + 1e-5 * np.abs(y).max()).all() else None
