"""How each implementation is told a configuration in its own words, without importing it: forms learned from runs.

`spec/calls.json` holds them. A form is a native call whose keywords are literals or ways to say what is configured; it
holds for the ranks, feature axes, scale and center for which such calls were made.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from conformance.errors import SuiteError
from conformance.protocol import Configuration
from conformance.spec.locations import spec_folder

FILE = "calls.json"
#: Reasons are those of the epsilons that were asked about: what has none may well be told of one that is next to nothing.
_ORDINARY = 1e-6


def _one_or_all(configuration: Configuration) -> Any:
    axes = configuration.feature_axes
    return axes[0] if len(axes) == 1 else axes


#: By the name under which the file has it: how a keyword's value follows from a configuration.
WAYS: Mapping[str, Callable[[Configuration], Any]] = {
    "epsilon": lambda configuration: configuration.epsilon,
    "decay": lambda configuration: configuration.decay,
    "1 - decay": lambda configuration: 1 - configuration.decay,
    "the feature axis": lambda configuration: configuration.feature_axes[-1],
    "the feature axis, or all": _one_or_all,
    "the feature axis, or the list of all": lambda configuration: (
        configuration.feature_axes[0] if len(configuration.feature_axes) == 1 else list(configuration.feature_axes)
    ),
    "the feature axes": lambda configuration: configuration.feature_axes,
    "the list of feature axes": lambda configuration: list(configuration.feature_axes),
    "the reduction axes": lambda configuration: configuration.reduction_axes,
    "the list of reduction axes": lambda configuration: list(configuration.reduction_axes),
    "the features": lambda configuration: configuration.features,
    "the list of features": lambda configuration: list(configuration.features),
    "the last feature size": lambda configuration: configuration.features[-1],
    "the number of features": lambda configuration: configuration.feature_count,
    "the dtype": lambda configuration: configuration.dtype,
    "the parameters' dtype": lambda configuration: configuration.parameter_dtype,
    "scale": lambda configuration: configuration.scale,
    "center": lambda configuration: configuration.center,
}


class Where(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """For which configurations a form was seen."""

    rank: int
    feature_axes: tuple[int, ...]
    scale: bool
    center: bool


class Form(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A native call, or why there is none."""

    path: str = ""
    function: bool = False
    #: Keyword -> the way in which it follows from the configuration, or its source.
    follows: dict[str, str] = {}
    literals: dict[str, str] = {}
    #: The keywords in the order in which they are written.
    order: tuple[str, ...] = ()
    reason: str = ""
    where: tuple[Where, ...] = ()


class Convention(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One field in which its own documentation or source code declares another dialect than the spec's."""

    field: str
    value: str | int | bool
    source: str
    ranks: tuple[int, ...] | None = None


class Told(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What is known of one implementation."""

    name: str
    op: str
    dtypes: tuple[str, ...]
    conventions: tuple[Convention, ...] = ()
    forms: tuple[Form, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A native call as Python, or why there is none."""

    text: str = ""
    reason: str = ""


@functools.cache
def implementations(path: Path | None = None) -> tuple[Told, ...]:
    """Return what is known of every implementation, by name."""
    file = path or spec_folder() / FILE
    try:
        return tuple(msgspec.json.decode(file.read_bytes(), type=list[Told]))
    except (OSError, msgspec.DecodeError) as error:
        raise SuiteError(f"{file}: cannot be used: {error}") from error


def where_of(configuration: Configuration) -> Where:
    """Return what of a configuration a form depends on."""
    return Where(
        rank=configuration.rank,
        feature_axes=configuration.feature_axes,
        scale=configuration.scale,
        center=configuration.center,
    )


def call_of(told: Told, configuration: Configuration) -> Call:
    """Return how that implementation is told the configuration."""
    if configuration.dtype not in told.dtypes:
        return Call(reason=f"does not take {configuration.dtype}")
    if configuration.parameter_dtype != configuration.dtype:
        return Call(
            reason="its words for parameters of another dtype are not held here; `conformance reproduce` writes them"
        )
    form = form_of(told, configuration)
    if form is None or (form.reason and configuration.epsilon < _ORDINARY):
        return Call(reason="no such call is held here; `conformance run` asks the library itself")
    if form.reason:
        return Call(reason=form.reason)
    return Call(text=text_of(form, configuration))


def form_of(told: Told, configuration: Configuration) -> Form | None:
    """Return the form that holds for the configuration; None where none was seen."""
    where = where_of(configuration)
    return next((form for form in told.forms if where in form.where), None)


def text_of(form: Form, configuration: Configuration) -> str:
    """Return the call of a form as Python."""
    values = {keyword: said(WAYS[way](configuration)) for keyword, way in form.follows.items()}
    sources = {**values, **form.literals}
    keywords = ", ".join(f"{keyword}={sources[keyword]}" for keyword in form.order)
    return f"{form.path}({'…, ' if form.function else ''}{keywords})"


def said(value: Any) -> str:
    """Return a value as a person writes it: without the digits that a subtraction leaves behind."""
    return repr(float(f"{value:.12g}")) if isinstance(value, float) else repr(value)
