"""A regression check for a person: a summary in Markdown, the same bytes for the same check, seconds apart."""

from __future__ import annotations

from collections.abc import Iterator

from packaging.utils import canonicalize_name

from conformance.compare.markdown import code, escaped, markdown
from conformance.regression.bisection import Answer
from conformance.regression.checked import Bisected, Checked, Side, failures, moved
from conformance.regression.environments import Built


def summary(checked: Checked) -> str:
    """Return what was compared, what else differs between the two, what changed, and since which version."""
    title = f"## {escaped(checked.package)}: {code(str(checked.base.at))} → {code(str(checked.head.at))}"
    blocks = [title, "\n".join(_environments(checked))]
    if checked.bisected is not None:
        blocks.append("\n".join(_bisection(checked, checked.bisected)))
    return "\n\n".join([*blocks, markdown(checked.comparison)])


def verdict_of(bisected: Bisected) -> str:
    """Return in one line where the change is."""
    found = bisected.found
    between = f" or one of {', '.join(map(str, found.untestable))}, which cannot be tested" if found.untestable else ""
    return f"first changed in {found.first}{between}; {found.last} is as the base"


def _environments(checked: Checked) -> Iterator[str]:
    for group, packages in moved(checked.base, checked.head).items():
        others = {name: pair for name, pair in packages.items() if not _same(name, checked.package)}
        told = ", ".join(f"{name} {was or 'none'} → {now or 'none'}" for name, (was, now) in others.items())
        yield f"- {code(group)}: " + (f"also moved: {code(told)}" if told else "nothing else differs")
    for side in (checked.base, checked.head):
        for each in side.environments:
            if isinstance(each, Built) and each.kept != "as pinned":
                yield f"- {code(f'{checked.package} {side.at}')} in {code(each.group)}: other pins kept {each.kept}"
        yield from (f"- {code(f'{checked.package} {side.at}')}: {code(each)}" for each in failures(side))


def _bisection(checked: Checked, bisected: Bisected) -> Iterator[str]:
    yield f"**{escaped(verdict_of(bisected)).capitalize()}.**"
    yield ""
    yield "| version | | |"
    yield "| --- | --- | --- |"
    for step in bisected.steps:
        yield f"| {code(str(step.side.at))} | {step.answer} | {escaped(step.said)} |"
    first, last = (_side(checked, bisected, at) for at in (str(bisected.found.first), str(bisected.found.last)))
    for group, packages in moved(last, first).items():
        others = [f"{name} {was or 'none'} → {now or 'none'}" for name, (was, now) in packages.items()]
        yield f"\nBetween the two, {code(group)} differs in {code(', '.join(others))}."
    if bisected.comparison is not None:
        yield f"\n<details><summary>What changed there, in the cases that were followed</summary>\n\n{markdown(bisected.comparison)}\n</details>"


def _side(checked: Checked, bisected: Bisected, at: str) -> Side:
    sides = [
        checked.base,
        checked.head,
        *(step.side for step in bisected.steps if step.answer is not Answer.UNTESTABLE),
    ]
    return next(each for each in sides if str(each.at) == at)


def _same(name: str, other: str) -> bool:
    return canonicalize_name(name) == canonicalize_name(other)
