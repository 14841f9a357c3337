"""Which adapters there are, and in which processes they run; no adapter is imported to find out.

An adapter file's `PROCESSES` is read as a literal (of a dotted module name, Python imports the parent packages): a
list, or the name of a family in `processes.yaml`. Adapters are files found beside the package (or inside the wheel),
named by `--adapter`, or announced by installed packages under the entry point group `conformance.adapters`; `sys.path`
is never consulted for ours, since a file or folder named after a library must not shadow it.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeAlias, get_args

from conformance.errors import UsageError
from conformance.planning.families import family, name_of
from conformance.planning.known_names import may_hold
from conformance.spec.locations import adapter_files
from conformance.spec.recipe import DtypeName
from conformance.worker.adapter_file import library_of

ENTRY_POINTS = "conformance.adapters"
#: What every entry of `PROCESSES` has, and what may stand beside it.
_KEYS = {"name", "group", "environment"}
_OPTIONAL = {"dtypes", "threads", "shared"}
#: Stands for the number of threads in the variables of `threads`.
_NUMBER = "{threads}"
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_LONGEST = 80
DTYPES: tuple[str, ...] = get_args(DtypeName)


#: The name of a process, its interpreter, and the variables it starts with.
ProcessIdentity: TypeAlias = tuple[str, str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerKey:
    """One adapter in one process: the interpreter, and the settings it starts with."""

    name: str
    group: str | None
    adapter: str
    attribute: str
    interpreter: str
    #: Set before anything is imported; sorted pairs.
    environment: tuple[tuple[str, str], ...]
    #: The dtypes this process serves; None for all.
    dtypes: tuple[str, ...] | None
    #: Whether a person asked for it, so that its absence is an error.
    asked: bool
    #: Variables that limit the threads, sorted pairs with `{threads}` for the number.
    limits: tuple[tuple[str, str], ...] = ()
    #: Where there are none, why.
    unlimited: str = "its PROCESSES name no variable that limits the threads"
    #: The number of threads it is limited to; None: as many as the library takes.
    threads: int | None = None
    #: Adapters with the same word here may follow one another in one process; empty: alone.
    shared: str = ""

    @property
    def file_name(self) -> str:
        """The name of the adapter's file, with that of the library whose folder it is in."""
        file = Path(self.adapter)
        library = library_of(file)
        return f"{library}/{file.name}" if library else file.name

    @property
    def process(self) -> ProcessIdentity:
        """What adapters have in common that may run in one process; the first is its name."""
        return (self.shared or self.name, self.interpreter, self.environment)

    @property
    def is_single(self) -> bool:
        """Whether its threads are limited to one, and not because a case names that number."""
        return bool(self.limits) and self.threads is None and self == one_thread(self)


def limited(key: WorkerKey, threads: int) -> WorkerKey:
    """Return the process of that key with so many threads."""
    variables = {name: text.replace(_NUMBER, str(threads)) for name, text in key.limits}
    return replace(
        key,
        name=f"{key.name}-threads-{threads}",
        shared=key.shared and f"{key.shared}-threads-{threads}",
        environment=tuple(sorted({**dict(key.environment), **variables}.items())),
        threads=threads,
    )


def one_thread(key: WorkerKey) -> WorkerKey:
    """Return the process of that key with a single thread, where its threads can be limited, under its own name.

    To divide a small array among threads takes a library many times as long as its arithmetic.
    """
    return replace(key, environment=limited(key, 1).environment)


def keys(
    interpreters: Mapping[str, str], adapters: Iterable[str] = (), *, grouped: bool = False
) -> tuple[WorkerKey, ...]:
    """Return the processes of every adapter, or of the named ones alone. Raises `UsageError`.

    `interpreters` maps a group to its interpreter; a group it does not name runs in this one, unless some
    are named: then only adapters of named groups, and of no group, take part. `grouped`: of named groups alone.
    """
    named = list(dict.fromkeys(_named(text) for text in adapters))
    offered = named or [*((str(file), "ADAPTER") for file in adapter_files()), *_installed()]
    result: list[WorkerKey] = []
    for file, attribute in offered:
        for process in processes(Path(file)):
            group = process["group"]
            if grouped and group not in interpreters:
                continue
            if interpreters and group is not None and group not in interpreters and not named:
                continue
            result.append(
                WorkerKey(
                    name=process["name"],
                    group=group,
                    adapter=file,
                    attribute=attribute,
                    interpreter=interpreters.get(group or "", sys.executable),
                    environment=tuple(sorted(process["environment"].items())),
                    dtypes=tuple(process["dtypes"]) if "dtypes" in process else None,
                    asked=bool(named) or group in interpreters,
                    shared=process.get("shared", ""),
                    **_threads(process.get("threads", {})),
                )
            )
    _check_names(result)
    return tuple(result)


def holding(wanted: Iterable[WorkerKey], globs: Sequence[str], adapters: Sequence[str] = ()) -> tuple[WorkerKey, ...]:
    """Return the processes in which an implementation may be that one of the globs matches.

    All of them where there is no glob, or where `adapters` are a person's own, whose names no text tells.
    """
    shipped = set() if adapters else {str(file) for file in adapter_files()}
    return tuple(key for key in wanted if key.adapter not in shipped or may_hold(Path(key.adapter), globs))


def _check_names(listed: Iterable[WorkerKey]) -> None:
    """Raise `UsageError` where two processes have one name: their cells would be recorded as those of one."""
    owners: dict[str, WorkerKey] = {}
    for key in listed:
        other = owners.setdefault(key.name, key)
        if other is not key:
            files = " and ".join(dict.fromkeys((other.adapter, key.adapter)))
            raise UsageError(f"{files}: two processes are named {key.name}")


def processes(file: Path) -> list[dict[str, Any]]:
    """Return the `PROCESSES` of an adapter file, read without importing it. Raises `UsageError`."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError) as error:
        raise UsageError(f"{file}: not an adapter: {error}") from error
    for node in tree.body:
        match node:
            case (
                ast.Assign(targets=[ast.Name(id="PROCESSES")], value=ast.expr() as value)
                | ast.AnnAssign(target=ast.Name(id="PROCESSES"), value=ast.expr() as value)
            ):
                return _literal(value, file)
            case _:
                pass
    return [{"name": name_of(file), "group": None, "environment": {}}]


def _literal(value: ast.expr, file: Path) -> list[dict[str, Any]]:
    try:
        literal = ast.literal_eval(value)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{file}:{value.lineno}: PROCESSES must be a literal") from error
    if isinstance(literal, str):
        return _checked(family(literal, file), f"{file}:{value.lineno}")
    return _checked(literal, f"{file}:{value.lineno}")


def _checked(listed: object, place: str) -> list[dict[str, Any]]:
    for process in listed if isinstance(listed, list) and listed else [None]:
        if not isinstance(process, dict) or not _KEYS <= set(process) <= _KEYS | _OPTIONAL:
            message = "expected PROCESSES to be a list of name, group, environment, dtypes, threads and shared"
            raise UsageError(f"{place}: {message}, or the name of a family")
        for key, value in process.items():
            fits, expected = _FITTING[key]
            if not fits(value):
                shown = repr(value) if len(repr(value)) <= 60 else f"{repr(value)[:57]}..."
                raise UsageError(f"{place}: expected {key} to be {expected}, got {shown}")
    assert isinstance(listed, list)
    return listed


def _is_word(value: object) -> bool:
    """Return whether a value may be a part of a file's name, which is what becomes of processes' names."""
    return isinstance(value, str) and len(value) <= _LONGEST and _WORD.fullmatch(value) is not None


def _are_dtypes(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(dtype in DTYPES for dtype in value)


def _are_variables(value: object) -> bool:
    """Return whether these are environment variables as a system takes them."""
    return isinstance(value, dict) and all(
        isinstance(name, str) and isinstance(text, str) and name and not set("=\0") & set(name) and "\0" not in text
        for name, text in value.items()
    )


def _limits_threads(value: object) -> bool:
    """Return whether this may stand under `threads`: variables, one with the number in it, or a reason."""
    match value:
        case str():
            return bool(value)
        case dict():
            texts = [*value, *value.values()]
            return all(isinstance(text, str) for text in texts) and any(_NUMBER in text for text in value.values())
        case _:
            return False


#: Key of a process -> whether a value may stand there, and what is expected.
_FITTING: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "name": (_is_word, "a word of A-Z a-z 0-9 _ . + -"),
    "group": (lambda value: value is None or _is_word(value), "a word or None"),
    "environment": (_are_variables, "{variable: text}"),
    "dtypes": (_are_dtypes, f"a list of {', '.join(DTYPES)}"),
    "threads": (_limits_threads, '{variable: text with "{threads}"}, or why nothing limits them'),
    "shared": (lambda value: value == "" or _is_word(value), "a word"),
}


def _threads(value: Mapping[str, str] | str) -> dict[str, Any]:
    """Return the fields of a key that say how its threads are limited, or why not."""
    match value:
        case str():
            return {"unlimited": value}
        case _:
            return {"limits": tuple(sorted(value.items()))}


def _named(text: str) -> tuple[str, str]:
    """Return file and attribute of `path/file.py:NAME` or `package.module:NAME`."""
    where, _, attribute = text.partition(":")
    if where.endswith(".py"):
        path = Path(where)
        if not path.is_file():
            raise UsageError(f"--adapter {text}: no such file: {where}")
        return str(path.resolve()), attribute or "ADAPTER"
    try:
        spec = importlib.util.find_spec(where)
    except (ImportError, ValueError) as error:
        raise UsageError(f"--adapter {text}: cannot find {where}: {error}") from error
    if spec is None or spec.origin is None:
        raise UsageError(f"--adapter {text}: expected path/file.py:NAME or package.module:NAME")
    return spec.origin, attribute or "ADAPTER"


def _installed() -> list[tuple[str, str]]:
    return [_named(entry.value) for entry in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name)]
