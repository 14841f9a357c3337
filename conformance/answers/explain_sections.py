"""An explanation as sections of sentences and tables, which the terminal and the page of HTML show alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from conformance.answers.explanation import Diagnosed, ExplainedStep, Explanation, NativeCall, Reading, Values
from conformance.operations.written import short

#: Of a quantity, how many values are shown in a line.
_SHOWN = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under a header."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A title with sentences and tables, in that order."""

    title: str
    sentences: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()


def sections(explanation: Explanation) -> Iterator[Section]:
    """Yield the sections: what the person asked first."""
    for diagnosed in explanation.diagnosed:
        yield _of_numbers(diagnosed)
    yield _of_axes(explanation)
    for index, step in enumerate(explanation.steps):
        if explanation.omitted and index == len(explanation.steps) // 2:
            yield Section(title=f"… {explanation.omitted} steps more …")
        yield _of_step(step)
    if explanation.calls:
        yield _of_calls(explanation.calls)


def heading(explanation: Explanation) -> str:
    """Return the title of the whole."""
    return explanation.subject or f"{explanation.op} of your data"


def _of_numbers(diagnosed: Diagnosed) -> Section:
    """Return what the person's numbers are."""
    verb = {"got": "What you got", "expected": "What you expected"}[diagnosed.asked]
    numbers = "; ".join(f"{one.quantity} {_listed(one.texts)}" for one in diagnosed.numbers)
    best, *others = [_told(one) for one in diagnosed.readings] or [""]
    if diagnosed.fits:
        sentences = [f"{verb}, {numbers}, is {best}.", *(f"It would also fit {one}." for one in others)]
    else:
        sentences = [f"{verb}, {numbers}, fits nothing that is known here."]
        near = zip(diagnosed.readings, [best, *others], strict=False)
        sentences += [f"Nearest, off by {_times(one.off)} what is left open: {told}." for one, told in near]
    sentences += [f"By feature it is a straight line of x: {diagnosed.note}."] if diagnosed.note else []
    return Section(title=verb, sentences=tuple(sentences))


def _told(reading: Reading) -> str:
    gives = "; ".join(f"{one.quantity} {_listed(one.texts)}" for one in reading.gives)
    return f"{reading.words} ({gives})"


def _times(off: float | str) -> str:
    return f"{off:.3g} times" if isinstance(off, float) else "infinitely many times"


def _of_axes(explanation: Explanation) -> Section:
    """Return which axes collapse, and what was taken for granted."""
    kept, reduced = list(explanation.feature_axes), list(explanation.reduction_axes)
    features = f"{' × '.join(map(str, explanation.features))} feature{'' if explanation.features == (1,) else 's'}"
    axes = f"Axis {kept[0]} is kept" if len(kept) == 1 else f"Axes {kept} are kept"
    sentences = [
        *([f"{explanation.title} ({explanation.source})"] if explanation.title else []),
        f"The data have shape {list(explanation.shape)}. {axes}: {features}.",
        f"Axes {reduced} are reduced: each statistic is over {explanation.reduced} values, and has shape"
        f" {list(explanation.features)}."
        if reduced
        else "No axis is reduced: each statistic is over 1 value.",
    ]
    if explanation.assumed:
        sentences.append(f"You did not say, so {'; '.join(explanation.assumed)}.")
    return Section(title="Axes", sentences=tuple(sentences))


def _of_step(step: ExplainedStep) -> Section:
    """Return one step: what it starts from, its equations, what it gives and what one may have expected."""
    name = {"train": "training", "infer": "inference"}.get(step.performs, "nothing is computed")
    title = f"Step {step.number}, {step.kind}: {name}" if step.performs != step.kind else f"Step {step.number}, {name}"
    tables = [_state_table(step)] if step.before else []
    if step.equations:
        rows = tuple(
            (f"{list(one.feature)}", one.symbol, f"{one.numbers} = {_short(one.value)}") for one in step.equations
        )
        tables.append(Table(header=("feature", "equation", "with its numbers"), rows=rows))
    if step.gives:
        tables.append(Table(header=("gives", "shape", "values"), rows=tuple(_shaped(one) for one in step.gives)))
    if step.printed:
        printed = tuple((one.quantity, _listed(one.texts)) for one in step.printed)
        tables.append(Table(header=("as its source printed it", "values"), rows=printed))
    if step.instead:
        rows = tuple((one.words, *_row(value)) for one in step.instead for value in one.gives)
        tables.append(Table(header=("if instead", "quantity", "gives"), rows=rows))
    sentences = ((step.formula,) if step.formula else ()) + step.unshown
    return Section(title=title, sentences=sentences, tables=tuple(tables))


def _state_table(step: ExplainedStep) -> Table:
    after = {one.quantity: one for one in step.after}
    rows = tuple(
        (one.quantity, _listed(one.texts), _listed(after[one.quantity].texts) if one.quantity in after else "")
        for one in step.before
    )
    return Table(header=("state", "before", "after"), rows=rows)


def _of_calls(calls: Sequence[NativeCall]) -> Section:
    """Return how each implementation is told the same."""
    told = [one for one in calls if one.call]
    rows = tuple((one.implementation, one.call, "; ".join(one.conventions)) for one in told)
    refused = tuple((one.implementation, one.reason) for one in calls if not one.call)
    tables = [Table(header=("implementation", "call", "its own conventions"), rows=rows)] if rows else []
    if refused:
        tables.append(Table(header=("cannot be told", "why"), rows=refused))
    return Section(title="In each library's own words", tables=tuple(tables))


def _row(values: Values) -> tuple[str, str]:
    return values.quantity, _listed(values.texts)


def _shaped(values: Values) -> tuple[str, str, str]:
    return values.quantity, str(list(values.shape)), _listed(values.texts)


def _listed(texts: Sequence[str]) -> str:
    """Return the first values in a line."""
    more = ", …" if len(texts) > _SHOWN else ""
    return ", ".join(texts[:_SHOWN]) + more


def _short(value: float | str) -> str:
    return short(value) if isinstance(value, float) else value
