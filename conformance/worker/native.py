"""Performing a cell: make the native call, put its state in, then perform each step and answer with its numbers."""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from conformance.protocol import Call, Configuration, Implementation
from conformance.worker.given import UnfitError, check_size, count_of, fit, quantities_of, state_of
from conformance.worker.layout import lay_out, memory_of
from conformance.worker.mistake import mistake

_MESSAGE_LIMIT = 2_000
#: Characters of a message that are looked at.
_LONGEST = 100_000
_SUITE = str(Path(__file__).parents[2])
#: From when to when, and the seconds of all cores that the process used meanwhile.
Stretch = tuple[float, float, float]


def written(call: Call) -> dict[str, Any]:
    """Return the call with its keywords as source text: what JSON has no word for, such as a tuple, survives."""
    return {**asdict(call), "keywords": {name: repr(value) for name, value in call.keywords.items()}}


def perform(
    implementation: Implementation,
    module: ModuleType,
    request: Mapping[str, Any],
    calls: list[Stretch],
) -> Iterator[dict[str, Any]]:
    """Yield an answer for the start of the cell and for each of its steps; add the library's own time to `calls`."""
    configuration, known = configuration_from(request["configuration"]), request["quantities"]
    read = functools.partial(_state, implementation, known)
    begin = functools.partial(
        implementation.start,
        configuration=configuration,
        mode=request["mode"],
        device=request["device"],
    )
    live: Any = None
    written_call: dict[str, Any] = {}
    started = time.perf_counter()
    try:
        call = implementation.call(configuration)
        written_call["call"] = written(call)
        with noted(calls):
            native = resolve(call, module)
            live = begin(native, state=dict(request["initial"]))
        yield {**_answer(implementation, live, {}, time.perf_counter() - started, read(live)), **written_call}
    except Exception as error:  # noqa: BLE001 - a refusal is data
        yield {"refused": raised(error), "seconds": time.perf_counter() - started, **written_call}
        return
    for step in request["steps"]:
        started, apart = time.perf_counter(), None
        try:
            with noted(calls):
                live, apart = _begun(functools.partial(begin, native), read, live, step, request["initial"])
            function = implementation.steps[step["kind"]]
            arguments, further = _arguments(step, configuration)
            named = zip((*_ARGUMENTS[step["kind"]], *further), (*arguments, *further.values()), strict=True)
            arrays = {name: (array, array.copy()) for name, array in named if isinstance(array, np.ndarray)}
            with noted(calls):
                started = time.perf_counter()
                result = function(live if apart is None else apart, *arguments, **further)
                seconds = time.perf_counter() - started
                live = result if step["kind"] == "reload" else live
                # The library may have put the work off until somebody looks.
                produced = fit(quantities_of, _given(result, step["kind"]), function, known)
                answer = _answer(implementation, live, produced, seconds, read(live, apart, step))
            yield {**answer, "overwritten": _overwritten(arrays)}
        except Exception as error:  # noqa: BLE001 - a refusal is data
            left = functools.partial(read, live, apart, step)
            yield _refusal(error, time.perf_counter() - started, left)


def _given(result: object, kind: str) -> object:
    """Return the quantities that a step gave: what it returned, unless its kind returns what it likes."""
    gives = kind in _GIVING or (isinstance(result, dict) and kind != "reload")
    return result if gives else None


@contextlib.contextmanager
def noted(stretches: list[Stretch]) -> Iterator[None]:
    """Add the time spent inside to `stretches`: its start and end by the system's clock, and the processor time used."""
    began, worked = time.monotonic(), time.process_time()
    try:
        yield
    finally:
        stretches.append((began, time.monotonic(), time.process_time() - worked))


def difference(first: list[dict[str, Any]], second: Iterator[dict[str, Any]]) -> str:
    """Return the first place where two performances of a cell differ in their bits; empty if they are the same."""
    for number, (first_answer, second_answer) in enumerate(zip(first, second, strict=True)):
        before, after = (
            {**answer.get("quantities", {}), **(answer.get("state") or {})} for answer in (first_answer, second_answer)
        )
        for name in before.keys() | after.keys():
            if name not in before or name not in after or before[name].tobytes() != after[name].tobytes():
                return f"{name} at step {number}"
    return ""


#: The kinds of step that give numbers.
_GIVING = ("train", "infer")
_ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "train": ("input", "upstream"),
    "infer": ("input", "upstream"),
    "reload": (),
    "freeze": (),
    "unfreeze": (),
    "sgd": ("learning_rate",),
}


def _arguments(step: Mapping[str, Any], configuration: Configuration) -> tuple[list[Any], dict[str, Any]]:
    """Return what a step is called with, laid out as the case says: in order, and by name."""
    in_order = [_lay(name, step[name], configuration) for name in _ARGUMENTS[step["kind"]]]
    return in_order, {name: _lay(name, value, configuration) for name, value in step.get("arrays", {}).items()}


def resolve(call: Call, module: ModuleType) -> Any:
    """Return what the call makes: the constructed layer, or the function with its keywords bound."""
    *packages, name = call.path.split(".")
    target = functools.reduce(getattr, packages[1:], importlib.import_module(packages[0])) if packages else module
    native = getattr(target, name)
    return functools.partial(native, **call.keywords) if call.function else native(**call.keywords)


def configuration_from(values: Mapping[str, Any]) -> Configuration:
    """Return the configuration whose fields came as JSON values."""
    fields: dict[str, Any] = {key: _tuples(item) for key, item in values.items()}
    return Configuration(**fields)


def _tuples(value: Any) -> Any:
    """Return the value with every list turned back into the tuple that it was before it went through JSON."""
    if isinstance(value, Mapping):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _lay(name: str, value: Any, configuration: Configuration) -> Any:
    # An array of another rank, such as a mask, has no memory layout of its own to be told.
    if isinstance(value, np.ndarray) and value.ndim == configuration.rank:
        return lay_out(value, memory_of(name, configuration), configuration.feature_axes)
    return value


def _overwritten(arrays: Mapping[str, tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]) -> list[str]:
    """Return the names of the input arrays that the step wrote to, though they belong to its caller.

    `arrays` has each array after the step, with a copy from before it.
    """
    return [name for name, (after, before) in arrays.items() if after.tobytes() != before.tobytes()]


def _begun(
    begin: Callable[..., Any],
    read: Callable[..., Mapping[str, Any]],
    live: Any,
    step: Mapping[str, Any],
    initial: Mapping[str, Any],
) -> tuple[Any, Any]:
    """Return what the step goes on with, begun anew where its caller keeps the state, and what it is performed on apart.

    That is begun where its call is handed a part of the state in a wrong size, which nothing may go on with; else None.
    """
    live = begin(state=dict(step["state"])) if "state" in step else live
    return live, begin(state=_handed(read(live), initial, step["handed"])) if step.get("handed") else None


def _handed(
    state: Mapping[str, Any], initial: Mapping[str, Any], shapes: Mapping[str, Sequence[int]]
) -> dict[str, Any]:
    """Return the state as a start gets it, with the values of some of it repeated, or cut off, to another shape."""
    return {name: np.resize(state[name], tuple(shapes.get(name, given.shape))) for name, given in initial.items()}


def _state(
    implementation: Implementation, known: Sequence[str], live: Any, apart: Any = None, step: Any = None
) -> dict[str, Any]:
    """Return the state after a step; where its call was made `apart`, what that left of all that had the right size."""
    state = fit(state_of, implementation.state(live), implementation.state, known)
    if apart is None:
        return state
    left = fit(state_of, implementation.state(apart), implementation.state, known)
    return {**state, **{name: value for name, value in left.items() if name not in step["handed"]}}


def _answer(
    implementation: Implementation, live: Any, produced: Mapping[str, Any], seconds: float, state: Mapping[str, Any]
) -> dict[str, Any]:
    check_size(produced, state)
    answer = {"quantities": produced, "state": state, "seconds": seconds}
    if implementation.compilations is not None:
        answer["compilations"] = fit(count_of, implementation.compilations(live), implementation.compilations)
    return answer


def _refusal(error: Exception, seconds: float, read: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the answer of a step that raised, with the state it left, or why the state cannot be read."""
    refused = raised(error)
    state = None
    try:
        state = read()
        check_size(state)
    except Exception as unread:  # noqa: BLE001 - the step's own exception is the answer
        refused["message"] += (
            f"; then its state could not be read: {type(unread).__name__}: {raised(unread)['message']}"
        )
    return {"refused": refused, "state": state, "seconds": seconds}


def raised(error: BaseException) -> dict[str, Any]:
    """Return the exception as JSON values: its types, its message, the end of its trace, and where it is the adapter's."""
    ancestors = [ancestor for ancestor in type(error).__mro__ if ancestor not in (object, BaseException)]
    name = getattr(error, "name", None)
    return {
        "types": [str(ancestor.__name__) for ancestor in ancestors],
        "message": _without_places(_text_of(error))[:_MESSAGE_LIMIT],
        "mistake": mistake(error),
        "missing": name if isinstance(error, ModuleNotFoundError) and isinstance(name, str) else None,
        "trace": _trace_of(error)[-_MESSAGE_LIMIT:],
    }


def _text_of(error: BaseException) -> str:
    """Return an exception's text; where it has none, why: a library may say what it says in code of its own."""
    try:
        text = str(error)
    except Exception as unsaid:  # noqa: BLE001 - it stays the library's refusal
        return f"(its text raised {type(unsaid).__name__})"
    # A class derived from text may do otherwise with what is done to it.
    return str.__str__(text)


def _trace_of(error: BaseException) -> str:
    if isinstance(error, UnfitError):
        return str(error)  # the frames are of this package alone
    try:
        return "".join(traceback.format_exception(error))
    except Exception as unsaid:  # noqa: BLE001 - as above
        return f"(its trace raised {type(unsaid).__name__})"


def _without_places(text: str) -> str:
    """Return the text with words for the folders in which this machine keeps the library and the suite."""
    return text[:_LONGEST].replace(sys.prefix, "<environment>").replace(_SUITE, "<suite>")
