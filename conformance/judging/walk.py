"""What the steps of a cell have left behind, from the first to the one that is judged next."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from conformance.dialect import Dialect
from conformance.operations.operation import Hypothesis, Operation
from conformance.outcome import Produced
from conformance.protocol import Configuration
from conformance.reference.expected import Past
from conformance.reference.inputs import StepInputs
from conformance.reference.step_state import StepState
from conformance.spec.case import Train

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(slots=True, kw_only=True)
class Walk:
    """The state as it was last reported, and what else the next step is judged by."""

    state: dict[str, Array]
    steps: StepState = field(default_factory=StepState)
    #: Of each inference, by a digest of its arrays and state: its number, and a digest of its output.
    outputs: dict[bytes, tuple[int, bytes]] = field(default_factory=dict)
    #: The last train step.
    earlier: Past | None = None
    #: By kind of step, what explained one: by the quantities that it explained.
    fitted: dict[str, dict[frozenset[str], tuple[Hypothesis, ...]]] = field(default_factory=dict)

    def follow(self, reported: Mapping[str, Array]) -> None:
        """Go on from the state that was reported; what is missing or misshapen, and judged so, stays as it was."""
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
        """Go on from a step that ran, which began with the state `before`."""
        self.follow(outcome.state)
        gradients = {
            name: outcome.quantities[gradient]
            for name, gradient in operation.learned_gradients(configuration).items()
            if gradient in outcome.quantities
        }
        size = 0 if inputs.input is None else inputs.input.size
        self.steps = self.steps.after(inputs.step.step, dialect, size, gradients)
        if isinstance(inputs.step, Train):
            self.earlier = Past(inputs=inputs, state=before, gradients=gradients)

    def first_with(self, checksum: str, state: Mapping[str, Array], output: Array, number: int) -> int:
        """Return the first inference on those arrays from that state whose output was another; else `number` itself."""
        start = _digest(checksum.encode(), *(value.tobytes() for _, value in sorted(state.items())))
        bits = _digest(output.tobytes())
        first, first_bits = self.outputs.setdefault(start, (number, bits))
        return number if bits == first_bits else first


def _digest(*parts: bytes) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(part)
    return digest.digest()
