"""A case file for every key of the format and every value that is wrong there, by the schema of case files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import jsonschema
import yaml

from conformance.spec import loader
from conformance.spec.locations import spec_folder
from tests.bad_inputs.bad_input import BadInput

#: As YAML has them. Whether one is wrong at a key says the schema, which the loader does not read.
_VALUES = (
    "null", "true", "''", "[]", "{}", "-1", "0", "0.5", ".nan", "x", "'0'", "[[]]", "2026-11-30", "{a: b}", "[1, x]", "[null]",
    "1_0.00", "٣", "float99", str(2**63), "!!binary eA==", "[-1]", "[1.5]", "0x10", "1:30",
)  # fmt: skip
#: Of those, texts here, where YAML 1.1 reads a date and numbers.
_TEXTS = ("2026-11-30", "1_0.00", "1:30")
_WITHOUT_POINT = re.compile(r"(?<=[ \[-])\d+(?=e[-+]?\d)")
#: Wrong wherever they stand.
_NOWHERE = (
    "*nowhere",
    "!!python/object:os.system x",
    "{a: 1, a: 2}",
    "9" * 400,
    "1.0e+400",
    "1.0e-400",
    "[",
    "}",
    "'",
)


def case_files() -> Iterator[BadInput]:
    """Yield a case file for every key of the format and every value that may be wrong there; `is_wrong` says whether it is."""
    for key, (case, path) in _bearers().items():
        for value in (*_VALUES, *_NOWHERE):
            yield BadInput(kind=("case file", key), value=value, text=_with(case, path, value))
    whole, _ = _bearers()["case: decay"]
    for text in ("", "x", "{}", "null", "- x", "[[]]", "- {}", "\x00", "\t- id", "- id: a.b\n- id: a.b"):
        yield BadInput(kind=("case file", "the whole"), value=text, text=text)
    for key in whole:
        left = {name: value for name, value in whole.items() if name != key}
        yield BadInput(kind=("case file", "a key that is missing"), value=key, text=json.dumps([left], indent=1))
        misspelt = {name[1:] if name == key else name: value for name, value in whole.items()}
        yield BadInput(kind=("case file", "a misspelt key"), value=key, text=json.dumps([misspelt], indent=1))


def is_wrong(bad: BadInput) -> bool:
    """Return whether the input is wrong: of a case file that YAML can be read from, its schema says so."""
    if not bad.is_file or bad.value in _NOWHERE:
        return True
    try:
        text = bad.text.replace(bad.value, json.dumps(bad.value)) if bad.value in _TEXTS else bad.text
        # YAML 1.1 takes 1e-06 for a text, and 1.0e-06 for a number.
        value = yaml.safe_load(_WITHOUT_POINT.sub(r"\g<0>.0", text))
    except (yaml.YAMLError, ValueError):
        return True
    return not _schema().is_valid(value)


@cache
def _schema() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(loader.file_schema())


@cache
def _bearers() -> dict[str, tuple[dict[str, Any], tuple[str | int, ...]]]:
    """Return, for every key of the format, the first shipped case that has it, and where."""
    first: dict[str, tuple[dict[str, Any], tuple[str | int, ...]]] = {}
    for located in shipped().cases:
        case = located.case.model_dump(mode="json", exclude_unset=True)
        case["id"] = f"own.{located.case.id.partition('.')[2]}"
        for key, path in _keys(case, "case", ()):
            first.setdefault(key, (case, path))
    return first


def _keys(value: Any, of: str, path: tuple[str | int, ...]) -> Iterator[tuple[str, tuple[str | int, ...]]]:
    if isinstance(value, dict):
        of = str(value.get("step", value.get("kind", of)))
        for name, item in value.items():
            yield f"{of}: {name}", (*path, name)
            inner = f"options of {value['op']}" if name == "options" else name
            yield from _keys(item, inner, (*path, name))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            if isinstance(item, dict):
                yield from _keys(item, of, (*path, position))


def _with(case: dict[str, Any], path: tuple[str | int, ...], value: str) -> str:
    """Return the text of a file with that case, in which that value stands there."""
    place = "@here@"
    copied = json.loads(json.dumps(case))
    inner = copied
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = place
    return json.dumps([copied], indent=1, ensure_ascii=False).replace(json.dumps(place), value)


@cache
def shipped() -> loader.Spec:
    return loader.load(spec_folder())
