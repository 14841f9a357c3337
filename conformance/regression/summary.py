"""A regression check for a person: a summary in Markdown, the same bytes for the same check, seconds apart."""

from __future__ import annotations

from collections.abc import Iterator

from packaging.utils import canonicalize_name

from conformance.compare.markdown import code, escaped, markdown
from conformance.regression.bisection import Answer
from conformance.regression.checked import Bisected, Checked, CheckedVersion, failures, moved
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
    change = bisected.found
    between = (
        f" or one of {', '.join(map(str, change.untestable))}, which cannot be tested" if change.untestable else ""
    )
    return f"first changed in {change.first}{between}; {change.last} is as the base"


def _environments(checked: Checked) -> Iterator[str]:
    for group, packages in moved(checked.base, checked.head).items():
        others = {name: pair for name, pair in packages.items() if not _same(name, checked.package)}
        moved_packages = ", ".join(f"{name} {was or 'none'} → {now or 'none'}" for name, (was, now) in others.items())
        yield f"- {code(group)}: " + (
            f"also moved: {code(moved_packages)}" if moved_packages else "nothing else differs"
        )
    for side in (checked.base, checked.head):
        for environment in side.environments:
            if isinstance(environment, Built) and environment.kept != "as pinned":
                yield f"- {code(f'{checked.package} {side.at}')} in {code(environment.group)}: other pins kept {environment.kept}"
        yield from (f"- {code(f'{checked.package} {side.at}')}: {code(failure)}" for failure in failures(side))


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


def _side(checked: Checked, bisected: Bisected, at: str) -> CheckedVersion:
    sides = [
        checked.base,
        checked.head,
        *(step.side for step in bisected.steps if step.answer is not Answer.UNTESTABLE),
    ]
    return next(side for side in sides if str(side.at) == at)


def _same(name: str, other: str) -> bool:
    return canonicalize_name(name) == canonicalize_name(other)
