"""Checking properties: arms become cases, run by the implementations of a bench, and their sides are compared."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings, target

from conformance.dialect import Dialect, apply, declared_at
from conformance.operations import OPERATIONS
from conformance.operations.layout import flattened
from conformance.outcome import Outcome, Produced
from conformance.planning.plan import Cell
from conformance.precision import dtype_name, storage_rounding, working
from conformance.reference.inputs import inputs_of, situate
from conformance.search.bench import Bench
from conformance.search.properties import PROPERTIES
from conformance.search.properties.arm_cases import case_of
from conformance.search.properties.drawing import Drawn, grounds
from conformance.search.properties.identity import Array, Property, Seen, Sides
from conformance.spec.case import Case

DTYPES = ("float32", "float64")
#: Scores are climbed only as far as this.
_HIGHEST = 10.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checked:
    """The worst that examples of a property showed of one implementation."""

    identity: Property
    cell: Cell
    #: By arm.
    cases: tuple[Case, ...]
    sides: Sides
    #: The distance in what is allowed; where nothing is, 0 or infinite.
    score: float
    #: Position of the worst element, flat.
    position: int
    #: How many examples spoke of the implementation.
    examples: int = 1

    @property
    def holds(self) -> bool:
        """Whether the identity holds."""
        return self.score <= 1


def check(
    bench: Bench, examples: int, *, number: int | None = None, until: float = math.inf, missed: list[str] | None = None
) -> Iterator[Checked]:
    """Yield, for each property and implementation that can express it, the worst of so many examples.

    They are the same in every run unless there is a seed, `number`. At the time `until`, of `time.monotonic`, no further
    property is begun; the ids of those that are left join `missed`.
    """
    for operation in (operation for operation in bench.operations if operation in PROPERTIES):
        for identity in PROPERTIES[operation].properties:
            if time.monotonic() < until:
                yield from check_one(bench, operation, identity, examples, number=number)
            elif missed is not None:
                missed.append(identity.id)


def check_one(
    bench: Bench, operation: str, identity: Property, examples: int, *, number: int | None = None
) -> Iterator[Checked]:
    """Yield the same of one property."""
    dtypes = tuple(dtype for dtype in DTYPES if dtype in bench.dtypes)
    if dtypes:
        yield from _Check(bench=bench, operation=operation, identity=identity).run(examples, dtypes, number)


@dataclass(slots=True, kw_only=True)
class _Check:
    """One property on one bench."""

    bench: Bench
    operation: str
    identity: Property
    worst: dict[str, Checked] = field(default_factory=dict)
    examples: dict[str, int] = field(default_factory=dict)

    def run(self, examples: int, dtypes: Sequence[str], number: int | None) -> Iterator[Checked]:
        configured = settings(
            max_examples=examples,
            database=None,
            deadline=None,
            derandomize=number is None,
            phases=(Phase.generate, Phase.target) if examples >= 50 else (Phase.generate,),
            suppress_health_check=list(HealthCheck),
            verbosity=Verbosity.quiet,
        )

        @configured
        @given(grounds(self.identity.dyadic, dtypes, PROPERTIES[self.operation].layouts))
        def search(drawn: Drawn) -> None:
            self._example(drawn)

        (search if number is None else seed(number)(search))()
        for name, checked in self.worst.items():
            yield Checked(
                identity=checked.identity,
                cell=checked.cell,
                cases=checked.cases,
                sides=checked.sides,
                score=checked.score,
                position=checked.position,
                examples=self.examples[name],
            )

    def _example(self, drawn: Drawn) -> None:
        arms = self.identity.arms(drawn.ground)
        cases = tuple(case_of(arm, drawn, self.operation, self.identity) for arm in arms)
        by_name: dict[str, list[tuple[Cell, Sequence[Outcome]]]] = {}
        for case in cases:
            for cell, outcomes in self.bench.performed(case):
                by_name.setdefault(cell.implementation.name, []).append((cell, outcomes))
        for name, performed in by_name.items():
            if len(performed) == len(cases):
                self._compare(name, drawn, cases, performed)

    def _compare(
        self,
        name: str,
        drawn: Drawn,
        cases: tuple[Case, ...],
        performed: Sequence[tuple[Cell, Sequence[Outcome]]],
    ) -> None:
        cell = performed[0][0]
        dialect = dialect_of(cell)
        if not self.identity.holds(dialect):
            return
        evidence = [seen_in(cell, outcomes, dialect) for cell, outcomes in performed]
        complete = (seen for arm in evidence for seen in arm if seen is not None)
        needed = set(self.identity.needs)
        if any(None in arm for arm in evidence) or not any(needed <= seen.got.keys() for seen in complete):
            return
        with np.errstate(all="ignore"):
            sides = self.identity.sides(drawn.ground, [[seen for seen in arm if seen is not None] for arm in evidence])
            score, position = distance(sides)
        self.examples[name] = self.examples.get(name, 0) + 1
        if name not in self.worst or score > self.worst[name].score:
            self.worst[name] = Checked(
                identity=self.identity, cell=cell, cases=cases, sides=sides, score=score, position=position
            )
        if sides.allowed is not None:
            target(min(score, _HIGHEST), label=name)


def dialect_of(cell: Cell) -> Dialect:
    """Return the dialect that the implementation declares for the cell."""
    canonical = OPERATIONS[cell.case.op].dialect
    return apply(canonical, declared_at(cell.implementation.profile, cell.case.configuration.rank))


def distance(sides: Sides) -> tuple[float, int]:
    """Return how far apart the sides are, in what is allowed, and the flat position of the largest distance."""
    left, right = np.asarray(sides.left, np.longdouble), np.asarray(sides.right, np.longdouble)
    off = np.abs(left - right).reshape(-1)
    if not off.size:
        return 0.0, 0
    if sides.allowed is None:
        alike = (left == right) | (np.isnan(left) & np.isnan(right))
        scores = np.where(alike, 0.0, np.inf).reshape(-1)
    else:
        allowed = np.broadcast_to(np.asarray(sides.allowed, np.longdouble), left.shape).reshape(-1)
        scores = np.where(off == 0, 0.0, off / np.maximum(allowed, np.finfo(np.float64).tiny)).astype(np.float64)
    scores = np.where(np.isnan(scores), np.inf, scores)
    position = int(scores.argmax())
    return float(scores[position]), position


def seen_in(cell: Cell, outcomes: Sequence[Outcome], dialect: Dialect) -> list[Seen | None]:
    """Return what each step gave, beside what is right from the state that the implementation reported before it.

    None for a step that gave nothing.
    """
    case, operation = cell.case, OPERATIONS[cell.case.op]
    configuration, inputs = case.configuration, inputs_of(case)
    worked = working(configuration.dtype)
    state: Mapping[str, Array] = inputs.initial
    result: list[Seen | None] = []
    for number, step in enumerate(inputs.steps, 1):
        outcome = outcomes[number] if number < len(outcomes) else None
        if not isinstance(outcome, Produced):
            result.append(None)
            continue
        situation = situate(configuration, dialect, step, state, trained=number - 1)
        function = operation.train if step.step.step == "train" else operation.infer
        expected = function(situation, worked)
        observed = {**outcome.quantities, **outcome.state}
        got, right, bound = {}, {}, {}
        for name, value in expected.items():
            if name not in observed or observed[name].size != value.value.size:
                continue
            flat = flattened(observed[name], operation.quantities[name].shape, configuration)
            got[name], right[name] = flat.astype(np.longdouble), value.value
            bound[name] = storage_rounding(value.bound, value.value, dtype_name(observed[name].dtype), worked)
        result.append(Seen(got=got, right=right, bound=bound))
        if cell.implementation.keeps_state:
            state = {**state, **{name: outcome.state[name] for name in state if name in outcome.state}}
    return result
