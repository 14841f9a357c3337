"""The process that holds one library and performs one cell at a time.

Started by `execute` with two pipe ends; imports nothing of ours beyond `protocol` and `wire`, so that its
interpreter needs NumPy, ml_dtypes and the library alone. Requests and answers are frames of `wire`:

    (first), {"do": "adapter", "adapter": …}        -> offer with what importing took | failure
    {"do": "support", "configurations": [...]}     -> {implementation: [reason or None, ...]}
    {"do": "cell", "steps": [...], ...}            -> one answer per step, then {"done": true, "again": ...,
                                                      "calls": each stretch of time in the library}
    {"do": "time", "step": ..., ...}               -> as `conformance.throughput.timing` has it, or {"refused": ...}

An exception raised by a step is that step's answer. Anything that ends the process, SystemExit included, is
the end of the pipe, which the run reads as this cell's crash.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import functools
import importlib
import importlib.util
import os
import platform
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np

from conformance import wire
from conformance.protocol import Adapter, Call, Configuration, Implementation

_PR_SET_PDEATHSIG = 1
_MESSAGE_LIMIT = 2_000
_SUITE = str(Path(__file__).parents[1])
#: From when to when, and the seconds of all cores that the process used meanwhile.
Stretch = tuple[float, float, float]


def main(arguments: list[str]) -> None:
    """Serve the run whose pipe ends and adapter `arguments` name, until it closes its end."""
    parent, requests_fd, answers_fd, adapter_file, adapter_name = arguments
    _die_with(int(parent))
    faulthandler.enable()
    with os.fdopen(int(requests_fd), "rb") as requests, os.fdopen(int(answers_fd), "wb") as answers:
        for stream in (requests, answers):
            os.set_inheritable(stream.fileno(), False)
        before = _thread_names()
        while True:
            imported: list[Stretch] = []
            try:
                with _noted(imported):
                    module = load_adapter(adapter_file)
                adapter: Adapter = getattr(module, adapter_name)
                offer = describe(adapter, _pool(adapter, before), module)
                wire.send(answers, {"offer": offer, "imported": imported[0]})
            except Exception as error:  # noqa: BLE001 - whatever a library's import raises is the answer
                wire.send(answers, {"failure": _raised(error)})
                return
            following = _serve(adapter, module, requests, answers)
            if following is None:
                return
            adapter_file, adapter_name = following


def load_adapter(file: str) -> ModuleType:
    """Import the adapter file as `conformance_adapters.<stem>`, whatever `sys.path` holds.

    A file named `torch.py` must never shadow the library of that name.
    """
    package = sys.modules.setdefault("conformance_adapters", ModuleType("conformance_adapters"))
    package.__path__ = []  # pickle, as torch.compile's cache uses it, imports a module by its whole name
    name = f"conformance_adapters.{Path(file).stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def describe(adapter: Adapter, counted: Mapping[str, str], module: ModuleType) -> dict[str, Any]:
    """Return what the adapter offers, and the process that offers it with its counted settings, as JSON values."""
    names = {id(value): name for name, value in vars(module).items() if callable(value)}
    return {
        "library": adapter.library,
        "versions": {"numpy": np.__version__, **adapter.versions},
        "settings": {**adapter.settings, **counted},
        "source": Path(str(module.__file__)).read_text(encoding="utf-8"),
        "host": {
            "python": platform.python_version(),
            "system": platform.system(),
            "machine": platform.machine(),
            "cores": str(os.cpu_count()),
        },
        "implementations": [
            {
                "name": each.name,
                "op": each.op,
                "modes": list(each.modes),
                "devices": list(each.devices),
                "dtypes": list(each.dtypes),
                "steps": sorted(each.steps),
                "timed": sorted(each.timed),
                "lacks": list(each.lacks),
                "profile": [asdict(declared) for declared in each.profile],
                "documentation": each.documentation,
                "functions": {
                    kind: _named(function, names)
                    for kind, function in {"start": each.start, "state": each.state, **each.steps}.items()
                },
            }
            for each in adapter.implementations
        ],
    }


def _named(function: Any, names: Mapping[int, str]) -> str:
    """Return how the adapter's file names a function, the arguments bound to it included; empty where it cannot."""
    if not isinstance(function, functools.partial):
        return names.get(id(function), "")
    given = [("", each) for each in function.args] + [(f"{name}=", each) for name, each in function.keywords.items()]
    words = [prefix + (names.get(id(value)) or _literal(value)) for prefix, value in given]
    name = names.get(id(function.func))
    return f"{name}({', '.join(words)})" if name and all(words) else ""


def _literal(value: Any) -> str:
    plain = value is None or isinstance(value, bool | int | float | str | tuple)
    return repr(value) if plain else ""


def written(call: Call) -> dict[str, Any]:
    """Return the call with its keywords as source text: what JSON has no word for, such as a tuple, survives."""
    return {**asdict(call), "keywords": {name: repr(value) for name, value in call.keywords.items()}}


def perform(
    implementation: Implementation,
    module: ModuleType,
    request: Mapping[str, Any],
    calls: list[Stretch],
) -> Iterator[dict[str, Any]]:
    """Yield one answer per step of the cell in `request`, the first of the start; note the library's own time."""
    configuration = configuration_from(request["configuration"])
    begin = functools.partial(
        implementation.start,
        configuration=configuration,
        mode=request["mode"],
        device=request["device"],
    )
    live: Any = None
    said: dict[str, Any] = {}
    started = time.perf_counter()
    try:
        call = implementation.call(configuration)
        said["call"] = written(call)
        with _noted(calls):
            native = resolve(call, module)
            live = begin(native, state=dict(request["initial"]))
        yield {**_answer(implementation, live, {}, time.perf_counter() - started), **said}
    except Exception as error:  # noqa: BLE001 - a refusal is data
        yield {"refused": _raised(error), "seconds": time.perf_counter() - started, **said}
        return
    for step in request["steps"]:
        started = time.perf_counter()
        try:
            if "state" in step:
                with _noted(calls):
                    live = begin(native, state=dict(step["state"]))
            function = implementation.steps[step["kind"]]
            arguments, further = _arguments(step, configuration)
            named = zip((*_ARGUMENTS[step["kind"]], *further), (*arguments, *further.values()), strict=True)
            given = {name: (each, each.copy()) for name, each in named if isinstance(each, np.ndarray)}
            with _noted(calls):
                started = time.perf_counter()
                result = function(live, *arguments, **further)
                seconds = time.perf_counter() - started
                live = result if step["kind"] == "reload" else live
                produced = result if isinstance(result, dict) and step["kind"] != "reload" else {}
                # The library may have put the work off until somebody looks.
                answer = _answer(implementation, live, produced, seconds)
            yield {**answer, "overwritten": _overwritten(given)}
        except Exception as error:  # noqa: BLE001 - a refusal is data
            seconds = time.perf_counter() - started
            yield {"refused": _raised(error), "state": implementation.state(live), "seconds": seconds}


@contextlib.contextmanager
def _noted(stretches: list[Stretch]) -> Iterator[None]:
    """Note from when to when, by the clock that the run reads as well, and what this process computed meanwhile."""
    began, worked = time.monotonic(), time.process_time()
    try:
        yield
    finally:
        stretches.append((began, time.monotonic(), time.process_time() - worked))


def difference(first: list[dict[str, Any]], second: Iterator[dict[str, Any]]) -> str:
    """Return where a second performance gives other bits than the first; empty where it nowhere does."""
    for number, (one, other) in enumerate(zip(first, second, strict=True)):
        before, after = ({**each.get("quantities", {}), **(each.get("state") or {})} for each in (one, other))
        for name in before.keys() | after.keys():
            if name not in before or name not in after or before[name].tobytes() != after[name].tobytes():
                return f"{name} at step {number}"
    return ""


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
    in_order = [_lay(step[name], configuration) for name in _ARGUMENTS[step["kind"]]]
    return in_order, {name: _lay(each, configuration) for name, each in step.get("arrays", {}).items()}


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
    """Return the value with tuples for the lists that they became on their way."""
    if isinstance(value, Mapping):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def lay_out(array: np.ndarray[Any, Any], memory: str, feature_axes: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Return the same values laid out in memory as the case says.

    "strided": every second element of a buffer twice as long in the last axis. "channels_last": the feature
    axes innermost, as a channels-last tensor keeps them under a features-first shape.
    """
    match memory:
        case "strided":
            wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
            view = wide[..., ::2]
            view[...] = array
            return view
        case "channels_last":
            last = tuple(range(-len(feature_axes), 0))
            inner = np.ascontiguousarray(np.moveaxis(array, feature_axes, last))
            return np.moveaxis(inner, last, feature_axes)
        case _:
            return array


def _lay(value: Any, configuration: Configuration) -> Any:
    # An array of another rank, such as a mask, has no memory layout of its own to be told.
    if isinstance(value, np.ndarray) and value.ndim == configuration.rank:
        return lay_out(value, configuration.memory, configuration.feature_axes)
    return value


def _overwritten(given: Mapping[str, tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]) -> list[str]:
    """Return the names of the arrays, given with what they were, that the step wrote to: they are its caller's."""
    return [name for name, (after, before) in given.items() if after.tobytes() != before.tobytes()]


def _answer(implementation: Implementation, live: Any, produced: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    answer = {
        "quantities": {name: np.asarray(value) for name, value in produced.items()},
        "state": implementation.state(live),
        "seconds": seconds,
    }
    if implementation.compilations is not None:
        answer["compilations"] = implementation.compilations(live)
    return answer


def _thread_names() -> Counter[str]:
    """Return the names of this process's threads as Linux has them, its own among them; empty elsewhere."""
    found: Counter[str] = Counter()
    for file in Path("/proc/self/task").glob("*/comm"):
        with contextlib.suppress(OSError):  # it may end meanwhile
            found[file.read_text().strip()] += 1
    return found


def _pool(adapter: Adapter, before: Counter[str]) -> dict[str, str]:
    """Return the setting of threads as counted, where the library does not tell."""
    if adapter.pool is None:
        return {}
    time.sleep(0.1)  # a thread takes its name a moment after its start
    started = _thread_names() - before
    # A thread that was given no name has that of the process's first.
    own = Path("/proc/self/comm").read_text().strip() if started else ""
    count = sum(many for name, many in started.items() if name.startswith(adapter.pool or own))
    return {"threads": str(count or "unknown")}


def _raised(error: BaseException) -> dict[str, Any]:
    names = [each.__name__ for each in type(error).__mro__ if each not in (object, BaseException)]
    return {
        "types": names,
        "message": _without_places(str(error))[:_MESSAGE_LIMIT],
        "missing": error.name if isinstance(error, ModuleNotFoundError) else None,
        "trace": "".join(traceback.format_exception(error))[-_MESSAGE_LIMIT:],
    }


def _without_places(text: str) -> str:
    """Return the text with words for the folders in which this machine keeps the library and the suite."""
    return text.replace(sys.prefix, "<environment>").replace(_SUITE, "<suite>")


def _serve(adapter: Adapter, module: ModuleType, requests: BinaryIO, answers: BinaryIO) -> tuple[str, str] | None:
    """Answer until another adapter is asked for, and return its file and name; None at the end of the requests."""
    implementations = {each.name: each for each in adapter.implementations}
    bench: Any = None
    while True:
        try:
            request = wire.receive(requests)
        except EOFError:
            return None
        match request["do"]:
            case "adapter":
                return request["adapter"], request["attribute"]
            case "support":
                asked = [configuration_from(each) for each in request["configurations"]]
                wire.send(answers, _support(adapter, asked))
            case "cell":
                implementation = implementations[request["implementation"]]
                given = []
                calls: list[Stretch] = []
                for answer in perform(implementation, module, request, calls):
                    wire.send(answers, answer)
                    given.append(answer)
                second = perform(implementation, module, request, calls) if request["again"] else None
                again = {} if second is None else {"again": difference(given, second)}
                wire.send(answers, {"done": True, "calls": calls, **again})
            case "time":
                try:
                    # Late: of all that a worker does this alone needs pytest.
                    timing = importlib.import_module("conformance.throughput.timing")
                    bench = bench or timing.Bench(adapter, module)
                    answer = bench.answer(request)
                except Exception as error:  # noqa: BLE001 - a refusal is data
                    answer = {"refused": _raised(error)}
                wire.send(answers, answer)
            case unknown:
                raise ValueError(f"unknown request {unknown!r}")


def _support(adapter: Adapter, asked: list[Configuration]) -> dict[str, list[str | None]]:
    return {
        each.name: [each.supports(one) if one.op == each.op else None for one in asked]
        for each in adapter.implementations
    }


def _die_with(parent: int) -> None:
    """Ask Linux to kill this process when the run dies, and leave at once if it already has."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)
