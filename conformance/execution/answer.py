"""A worker's answers to a cell as typed values: what is none of them is told, and ends the worker that sent it.

An adapter runs in the worker, and may send what it likes.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from conformance.outcome import Produced, Refused


class AnswerError(ValueError):
    """What a worker sent is no answer to what it was asked."""


def outcome_of(answer: Mapping[str, Any], known: Collection[str]) -> Produced | Refused:
    """Return the outcome that the answer to one step tells; `known` are the names it may use. Raises `AnswerError`."""
    match answer:
        case {"refused": {"types": [str(), *_] as types, "message": str(message), "trace": str(trace)} as refused}:
            return Refused(
                types=_texts(types),
                message=message,
                trace=trace,
                state=None if answer.get("state") is None else _arrays(answer["state"], known),
                seconds=_seconds(answer.get("seconds")),
                mistake=_text(refused.get("mistake", "")),
                call=_call(answer.get("call")),
            )
        case {"quantities": dict(quantities), "state": dict(state)}:
            compilations = answer.get("compilations")
            if compilations is not None and type(compilations) is not int:
                raise AnswerError("its number of compilations is none")
            return Produced(
                quantities=_arrays(quantities, known),
                state=_arrays(state, known),
                seconds=_seconds(answer.get("seconds")),
                compilations=compilations,
                overwritten=_texts(answer.get("overwritten", [])),
                call=_call(answer.get("call")),
            )
        case _:
            raise AnswerError("neither numbers nor a refusal")


def stretches_of(listed: object) -> list[tuple[float, float, float]]:
    """Return the stretches of time that a worker tells. Raises `AnswerError`."""
    if not isinstance(listed, list):
        raise AnswerError("its stretches of time are none")
    return [_stretch(stretch) for stretch in listed]


def compiling_of(answer: Mapping[str, Any]) -> float | None:
    """Return the seconds of tracing and compiling that a worker tells of a cell; None for none. Raises `AnswerError`."""
    told = answer.get("compiling")
    return None if told is None else _seconds(told)


def _stretch(stretch: object) -> tuple[float, float, float]:
    match stretch:
        case [began, ended, used]:
            return _seconds(began), _seconds(ended), _seconds(used)
        case _:
            raise AnswerError("its stretches of time are none")


def _arrays(given: object, known: Collection[str]) -> dict[str, np.ndarray[Any, Any]]:
    if not isinstance(given, dict):
        raise AnswerError("its state is no mapping")
    for name, value in given.items():
        if name not in known or not isinstance(value, np.ndarray):
            raise AnswerError(f"{name[:40]!r} is no array of a quantity")
    return given


def _seconds(value: object) -> float:
    # Compared, since a whole number of 400 digits is no float.
    if isinstance(value, int | float) and abs(value) <= sys.float_info.max:
        return float(value)
    raise AnswerError("its time is no number")


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise AnswerError("a part of it is no text")


def _texts(values: object) -> tuple[str, ...]:
    if isinstance(values, list):
        return tuple(_text(value) for value in values)
    raise AnswerError("a part of it is no list of texts")


def _call(value: object) -> Mapping[str, Any] | None:
    match value:
        case None:
            return None
        case {"path": str(path), "keywords": dict(keywords), "function": bool(function)}:
            _texts(list(keywords.values()))
            return {"path": path, "keywords": keywords, "function": function}
        case _:
            raise AnswerError("its call is none")
