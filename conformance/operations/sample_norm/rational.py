"""Normalization by statistics of each sample by exact rational arithmetic: clauses 28 to 31 of `spec/semantics.md`.

It shares no formula and no code with the first reference beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction

from conformance.operations.rational import (
    Beyond,
    Entry,
    Exact,
    NotFiniteError,
    Numbers,
    Rule,
    Step,
    inverse_root,
    rationals,
    summed,
)

#: The places of one group's values, each a row and a feature.
Group = list[tuple[int, int]]
Groups = Callable[[Step, Rule], list[Group]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """The exact numbers of one group, in the order of its places; None where there is no number."""

    output: Numbers | None
    normalized: Numbers | None
    grad_input: Numbers | None


def performed(groups: Groups, centred: bool) -> Callable[[Step, Rule], Exact]:
    """Return the pass that normalizes each of those groups by itself."""

    def exactly(step: Step, rule: Rule) -> Exact:
        return _Pass(step, rule, centred).of(groups(step, rule))

    return exactly


class _Pass:
    """One pass, group after group."""

    def __init__(self, step: Step, rule: Rule, centred: bool) -> None:
        self.step, self.rule, self.centred = step, rule, centred
        self.features = len(step.x)
        self.rows = len(step.x[0]) if step.x else 0

    def of(self, groups: Iterable[Group]) -> Exact:
        entries: dict[str, list[Entry]] = {name: [None] * (self.rows * self.features) for name in ("y", "n", "dx")}
        for group in groups:
            if not group:
                continue
            try:
                numbers: _Group | None = self._normalized(group)
            except NotFiniteError:
                numbers = None
            for place, (row, feature) in enumerate(group):
                position = row * self.features + feature
                if numbers is None:
                    for column in entries.values():
                        column[position] = Beyond.FRACTIONS
                    continue
                for name, values in (("y", numbers.output), ("n", numbers.normalized), ("dx", numbers.grad_input)):
                    entries[name][position] = None if values is None else values[place]
        state: Exact = {name: [_entry(value) for value in values] for name, values in self.step.state.items()}
        if self.step.upstream is None:
            return {**state, "output": entries["y"]}
        learned = {
            f"grad_{name}": [self._learned(name, feature, entries["n"]) for feature in range(self.features)]
            for name in ("gamma", "beta")
            if name in self.step.state
        }
        return {**state, "output": entries["y"], "grad_input": entries["dx"], **learned}

    def _normalized(self, group: Group) -> _Group:
        """Return y = γ·x̂ + β and dx of one group, clauses 28.2, 28.5, 29.1 and 29.4. Raises `NotFiniteError`."""
        x = rationals(self.step.x[feature][row] for row, feature in group)
        gamma, beta = (self._parameter(name, group) for name in ("gamma", "beta"))
        count = Fraction(len(x))
        center = summed(x) / count if self.centred else Fraction()
        deviation = [value - center for value in x]
        correction = self.rule.dialect.normalizing_correction if self.centred else 0
        divisor = max(count - correction, Fraction(1))
        square = summed(d * d for d in deviation) / divisor
        root, pull = self._root(square)
        if root is None:
            return _Group(output=None, normalized=None, grad_input=None)
        normalized = [d * root for d in deviation]
        output = [g * n + b for g, n, b in zip(gamma, normalized, beta, strict=True)]
        if self.step.upstream is None:
            return _Group(output=output, normalized=normalized, grad_input=None)
        upstream = rationals(self.step.upstream[feature][row] for row, feature in group)
        scaled = [g * up for g, up in zip(gamma, upstream, strict=True)]
        # dL/dq with q the mean square, and dL/dc, which meets Σ(x - c) = 0 on its way through q.
        to_square = -pull * summed(s * d for s, d in zip(scaled, deviation, strict=True))
        spread = 2 / divisor if count > correction else Fraction()
        level = root * summed(scaled) / count if self.centred else Fraction()
        grad = [root * s - level + to_square * spread * d for s, d in zip(scaled, deviation, strict=True)]
        return _Group(output=output, normalized=normalized, grad_input=grad)

    def _root(self, square: Fraction) -> tuple[Fraction | None, Fraction]:
        """Return r and -dr/dq: q the mean square, r = (q + ε)^(-1/2), or 1/(√q + ε) where the options say so."""
        if self.rule.options.get("epsilon") != "outside":
            root = inverse_root(square + self.rule.epsilon)
            return root, Fraction() if root is None else root**3 / 2
        plain = inverse_root(square)
        if plain is None:
            return None, Fraction()
        root = plain / (1 + self.rule.epsilon * plain)
        return root, root**2 * plain / 2

    def _parameter(self, name: str, group: Group) -> Numbers:
        neutral = Fraction(1 if name == "gamma" else 0)
        held = self.step.state.get(name)
        if held is None:
            return [neutral] * len(group)
        offset = Fraction(1 if name == "gamma" and self.rule.options.get("unit_offset") else 0)
        return [offset + value for value in rationals(held[feature] for _, feature in group)]

    def _learned(self, name: str, feature: int, normalized: list[Entry]) -> Entry:
        """Return Σ g·x̂ or Σ g over the feature's values."""
        assert self.step.upstream is not None
        total = Fraction()
        for row, value in enumerate(self.step.upstream[feature]):
            try:
                (upstream,) = rationals([value])
            except NotFiniteError:
                return Beyond.FRACTIONS
            factor: Entry = Fraction(1) if name == "beta" else normalized[row * self.features + feature]
            if not isinstance(factor, Fraction):
                return factor
            total += upstream * factor
        return total


def _entry(value: float) -> Entry:
    try:
        return rationals([value])[0]
    except NotFiniteError:
        return Beyond.FRACTIONS


def by_row(step: Step, rule: Rule) -> list[Group]:
    """Return all features of each row, clause 28.1."""
    del rule
    rows = len(step.x[0]) if step.x else 0
    return [[(row, feature) for feature in range(len(step.x))] for row in range(rows)]


def by_channels(step: Step, rule: Rule) -> list[Group]:
    """Return the features of each group at every position of each sample, clause 30.1; one each without `groups`."""
    rows, features = (len(step.x[0]) if step.x else 0), len(step.x)
    groups = int(rule.options.get("groups", features))
    length, size = rows // max(1, step.samples), features // max(1, groups)
    return [
        [(sample * length + place, group * size + member) for place in range(length) for member in range(size)]
        for sample in range(step.samples)
        for group in range(groups)
    ]
