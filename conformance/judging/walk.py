"""What the steps of a cell judged so far have left for the step that is judged next."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from conformance.dialect import Dialect
from conformance.operations.hypothesis import Hypothesis
from conformance.operations.operation import Operation
from conformance.outcome import Produced
from conformance.protocol import Configuration
from conformance.reference.computed import Past
from conformance.reference.inputs import StepInputs
from conformance.reference.step_state import StepState
from conformance.spec.case import Train, kind_of

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(slots=True, kw_only=True)
class Walk:
    """The state that was last reported, and whatever else the next step is judged by."""

    state: dict[str, Array]
    steps: StepState = field(default_factory=StepState)
    #: The first inference on the same arrays from the same state, by a digest of both: its number, and a digest of its
    #: output.
    outputs: dict[bytes, tuple[int, bytes]] = field(default_factory=dict)
    #: The kinds of step that gave numbers in this cell of an input that fits: a refusal of what does not proves something.
    computed: frozenset[str] = frozenset()
    #: The last train step.
    earlier: Past | None = None
    #: The hypotheses that explained an earlier step, by kind of step and the configuration of the part of it that was looked
    #: at, and then by the quantities that they explained.
    fitted: dict[tuple[str, Configuration], dict[frozenset[str], tuple[Hypothesis, ...]]] = field(default_factory=dict)

    def follow(self, reported: Mapping[str, Array]) -> None:
        """Take over the reported state; an array that is missing or of a wrong size, and judged so, stays as it was."""
        self.state |= {
            name: reported[name]
            for name, value in self.state.items()
            if name in reported and reported[name].size == value.size
        }

    def advance(
        self,
        inputs: StepInputs,
        outcome: Produced,
        before: Mapping[str, Array],
        operation: Operation,
        configuration: Configuration,
        dialect: Dialect,
    ) -> None:
        """Take over what a step left that ran and started from the state `before`."""
        self.follow(outcome.state)
        gradients = {
            name: outcome.quantities[gradient]
            for name, gradient in operation.learned_gradients(configuration).items()
            if gradient in outcome.quantities
        }
        size = 0 if inputs.input is None else inputs.input.size
        self.steps = self.steps.after(kind_of(inputs.step), dialect, size, gradients)
        if isinstance(inputs.step, Train):
            self.earlier = Past(inputs=inputs, state=before, gradients=gradients)

    def first_with(self, checksum: str, state: Mapping[str, Array], output: Array, number: int) -> int:
        """Return the number of the first inference on the same arrays from the same state, if its output was another.

        Otherwise return `number` itself.
        """
        start = _digest(checksum.encode(), *(value.tobytes() for _, value in sorted(state.items())))
        bits = _digest(output.tobytes())
        first, first_bits = self.outputs.setdefault(start, (number, bits))
        return number if bits == first_bits else first


def _digest(*parts: bytes) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(part)
    return digest.digest()
