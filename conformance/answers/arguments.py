"""The configuration behind a native call: found from the arguments that a user gives, in the library's own words.

A library is asked for its call under configurations that differ in one setting, so that it shows which argument has it.
"""

from __future__ import annotations

import ast
import itertools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from conformance.errors import UsageError
from conformance.protocol import Configuration
from conformance.runfile.structs import NativeCall

#: The native call of a configuration, or why there is none.
Answer: TypeAlias = NativeCall | str
Ask: TypeAlias = Callable[[Sequence[Configuration]], list[Answer]]


def base_of(features: int, rank: int, axis: int) -> Configuration:
    """Return the configuration from which arguments are found."""
    # The same others in whatever layout, so that the rows of a feature are the same too.
    sizes = [6, *range(2, rank)]
    sizes.insert(axis % rank, features)
    return Configuration(
        op="batch_norm",
        shape=tuple(sizes),
        feature_axes=(axis % rank,),
        dtype="float32",
        parameter_dtype="float32",
        decay=0.9,
        epsilon=1e-3,
        scale=True,
        center=True,
    )


def configured(
    name: str,
    given: Mapping[str, str],
    rank: int,
    ask: Ask,
    features: int | None = None,
    learned: Collection[str] | None = None,
) -> tuple[Configuration, Mapping[str, str]]:
    """Return the configuration whose native call has the given arguments, and the argument for each of its fields.

    Where no argument says so, it is of so many `features`, and has gamma and beta as `learned` names them. Raises
    `UsageError` where an argument is none of the implementation's, or no configuration gives its value.
    """
    base = first_supported(name, rank, ask)
    by_field = _sensitive(base, ask)
    known = {keyword for keywords in by_field.values() for keyword in keywords}
    (plain,) = ask([base])
    assert isinstance(plain, NativeCall)
    for argument, text in given.items():
        # What the row always has may be said, as long as it is what it has.
        if argument not in known and not _has(plain, {argument: text}):
            fixed = sorted(plain.keywords.keys() - known)
            also = f" (it always has {', '.join(fixed)} as the row of the report has)" if argument in fixed else ""
            raise UsageError(f"--{argument}: {name} is configured by {', '.join(sorted(known))}{also}")
    for setting in ("feature_axes", "features", "decay", "epsilon"):
        base = _solved(setting, base, {key: given[key] for key in by_field.get(setting, ()) if key in given}, ask)
    if features is not None and not by_field.get("features", set()) & given.keys():
        base = _of_features(base, features)
    if features not in (None, base.feature_count):
        raise UsageError(f"{name}: of {features} features, and by its arguments of {base.feature_count}")
    switches = {key: given[key] for key in by_field.get("affine", ()) if key in given}
    base = _learning(base, learned, ask) if learned is not None and not switches else _switched(base, switches, ask)
    _verify(name, base, given, ask)
    return base, {setting: ", ".join(sorted(keywords)) for setting, keywords in by_field.items()}


def first_supported(
    name: str, rank: int, ask: Ask, settings: Callable[[Configuration], Configuration] = lambda base: base
) -> Configuration:
    """Return the base, its features last or at axis 1, that the implementation supports. Raises `UsageError`."""
    candidates = [settings(base_of(5, rank, axis)) for axis in dict.fromkeys((rank - 1, 1))]
    answers = ask(candidates)
    for candidate, answer in zip(candidates, answers, strict=True):
        if isinstance(answer, NativeCall):
            return candidate
    raise UsageError(f"{name}: {answers[0]}")


def _variants(base: Configuration) -> dict[str, list[Configuration]]:
    """Return configurations that differ from the base in one field, by that field."""
    (axis,) = base.feature_axes
    return {
        "decay": [replace(base, decay=0.75), replace(base, decay=0.5)],
        "epsilon": [replace(base, epsilon=0.25), replace(base, epsilon=0.125)],
        "features": [_of_features(base, 7), _of_features(base, 9)],
        "feature_axes": [_with_axis(base, other) for other in dict.fromkeys((base.rank - 1, 1)) if other != axis],
        "affine": [
            replace(base, scale=scale, center=center)
            for scale, center in itertools.product((False, True), repeat=2)
            if not (scale and center)
        ],
    }


def _of_features(base: Configuration, features: int) -> Configuration:
    (axis,) = base.feature_axes
    return replace(base, shape=(*base.shape[:axis], features, *base.shape[axis + 1 :]))


def _with_axis(base: Configuration, axis: int) -> Configuration:
    return base_like(base, base_of(base.feature_count, base.rank, axis))


def base_like(settings: Configuration, shaped: Configuration) -> Configuration:
    """Return the settings of one configuration in the layout of another."""
    return replace(settings, shape=shaped.shape, feature_axes=shaped.feature_axes)


def _sensitive(base: Configuration, ask: Ask) -> dict[str, set[str]]:
    """Return the keywords that change with each field."""
    variants = _variants(base)
    asked = [base, *(one for group in variants.values() for one in group)]
    answers = dict(zip(map(id, asked), ask(asked), strict=True))
    start = answers[id(base)]
    assert isinstance(start, NativeCall)
    changed: dict[str, set[str]] = {}
    for setting, group in variants.items():
        for one in group:
            answer = answers[id(one)]
            if isinstance(answer, NativeCall):
                names = start.keywords.keys() | answer.keywords.keys()
                changed.setdefault(setting, set()).update(
                    name for name in names if start.keywords.get(name) != answer.keywords.get(name)
                )
    return changed


def _solved(setting: str, base: Configuration, wanted: Mapping[str, str], ask: Ask) -> Configuration:
    """Return the configuration with the value of the field that gives the wanted arguments, if any are wanted."""
    if not wanted:
        return base
    if setting == "feature_axes":
        candidates = [base, *(_with_axis(base, axis) for axis in range(1, base.rank))]
        fitting = [one for one, answer in zip(candidates, ask(candidates), strict=True) if _has(answer, wanted)]
        return fitting[0] if fitting else base
    ((keyword, text), *_) = wanted.items()
    value = _literal(text)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UsageError(f"--{keyword}: expected a number, got {text!r}")
    # Every library has the value itself or what it lacks to one: no rounding comes in between.
    possible = [
        one
        for one in (_with(setting, base, number) for number in (float(value), float(f"{1 - value:.15g}")))
        if one is not None
    ]
    fitting = [one for one, answer in zip(possible, ask(possible), strict=True) if _has(answer, {keyword: text})]
    if not possible:
        raise UsageError(f"--{keyword}: {text}: there is no such {setting}")
    return fitting[0] if fitting else base


def _with(setting: str, base: Configuration, value: float) -> Configuration | None:
    """Return the base with that value of a setting; None where it cannot be."""
    match setting:
        case "features":
            return _of_features(base, int(value)) if value >= 1 and value == int(value) else None
        case "decay":
            return replace(base, decay=value) if 0 <= value <= 1 else None
        case _:
            return replace(base, epsilon=value) if value >= 0 else None


def _switched(base: Configuration, wanted: Mapping[str, str], ask: Ask) -> Configuration:
    """Return the configuration with scale and center as the wanted arguments have them."""
    candidates = [base, *_variants(base)["affine"]]
    fitting = [one for one, answer in zip(candidates, ask(candidates), strict=True) if _has(answer, wanted)]
    return fitting[0] if fitting else base


def _learning(base: Configuration, learned: Collection[str], ask: Ask) -> Configuration:
    """Return the configuration with gamma and beta as they are named, if the implementation can be without the other."""
    wanted = replace(base, scale="gamma" in learned, center="beta" in learned)
    (answer,) = ask([wanted])
    return wanted if isinstance(answer, NativeCall) else base


def _verify(name: str, configuration: Configuration, given: Mapping[str, str], ask: Ask) -> None:
    """Raise `UsageError` unless the native call of the configuration has the given arguments."""
    (answer,) = ask([configuration])
    if isinstance(answer, str):
        raise UsageError(f"{name}: {answer}")
    for keyword, text in given.items():
        if not _has(answer, {keyword: text}):
            raise UsageError(f"--{keyword}: {text}: cannot be with the other arguments; the nearest is {answer.text}")


def _has(answer: Answer, wanted: Mapping[str, str]) -> bool:
    return isinstance(answer, NativeCall) and all(
        keyword in answer.keywords and same(answer.keywords[keyword], text) for keyword, text in wanted.items()
    )


def same(one: str, other: str) -> bool:
    """Return whether two arguments are the same value, however they are written."""
    values = _literal(one), _literal(other)
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return math.isclose(*values, rel_tol=1e-12, abs_tol=1e-300) if numbers else bool(values[0] == values[1])


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return {"true": True, "false": False}.get(text.lower(), text)


def target_candidates(source: Configuration) -> list[Configuration]:
    """Return what a target may be asked for, the nearest first: another layout, and gamma and beta it has no switch for."""
    layouts = [source, *(_with_axis(source, axis) for axis in dict.fromkeys((1, source.rank - 1)))]
    whole = [replace(layout, scale=True, center=True) for layout in layouts]
    return list(dict.fromkeys([*layouts, *whole]))
