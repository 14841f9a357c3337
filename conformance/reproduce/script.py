"""The script itself: data, the adapter's own functions, the steps, and what must come of them."""

from __future__ import annotations

import ast
import re
import textwrap
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

from conformance.errors import UsageError
from conformance.execution.process import CACHES
from conformance.protocol import Configuration
from conformance.reference.inputs import inputs_of
from conformance.reproduce.arrays import Arrays, mapping
from conformance.reproduce.assertions import assertions
from conformance.reproduce.checks import WROTE_TO_CALLER, elements, has_cause, unjudged
from conformance.reproduce.evaluation import BFLOAT16, UPSTREAM, Fields, Known, NotNone, Value
from conformance.reproduce.evidence import Evidence
from conformance.reproduce.extent import extent
from conformance.reproduce.imports import import_lines
from conformance.reproduce.names import defined, words
from conformance.reproduce.program import Program, specialize
from conformance.reproduce.sources import chained, foreign
from conformance.reproduce.steps import Steps
from conformance.reproduce.text import parsed, unparsed, written
from conformance.reproduce.wrap import WIDTH
from conformance.runfile.cause_text import diagnosis_text
from conformance.verdict import Verdict

#: By verdict: why the script ends where it does.
_WHY = {
    "deviates": "the first that deviates",
    "refused": "the first that is refused",
    "dialect": "the first in the dialect",
    "conforms": "where the score is largest",
    "exact": "where the score is largest",
}
#: Variables of the process that no number depends on: what is kept for later processes, logged, and shared with others.
_HOUSEKEEPING = re.compile("_CACHE_|LOG_?LEVEL|_PREALLOCATE|_ALLOW_GROWTH|_COMPILE_THREADS", re.IGNORECASE)
#: How libraries say that a setting has not been set.
_UNSET = ("", "None", "automatic", "default")
_PROPERTIES = ("rank", "features", "feature_count", "reduction_axes")


def script(evidence: Evidence, *, whole: bool = False) -> str:
    """Return the script of a cell. Raises `UsageError` where there is nothing to run or no source for it.

    It ends with the first step that deviates unless the `whole` of the cell is asked for.
    """
    if evidence.record.verdict is Verdict.UNSUPPORTED:
        raise UsageError(f"{evidence.record.cell}: unsupported: {evidence.record.steps[0].message}")
    return _Script(evidence, whole).text()


class _Script:
    """One script in the making."""

    def __init__(self, evidence: Evidence, whole: bool) -> None:
        self.evidence, self.record, self.case = evidence, evidence.record, evidence.case
        self.configuration = self.case.configuration
        self.inputs = inputs_of(self.case)
        self.source = chained(evidence.environment)
        reserved = defined(ast.parse(self.source))
        self.arrays = Arrays(self.configuration, reserved)
        for name in ("configuration", "initial", "native", "live", "owner", "seen", "given"):
            if name in reserved:
                raise UsageError(f"{evidence.environment.adapter}: the name {name!r} belongs to the script")
        self.whole = whole
        self.extent = extent(evidence, whole=whole)
        self.steps = Steps(evidence, self.source, self.extent, self.arrays)

    def text(self) -> str:
        """Return the whole text."""
        main = "\n".join(self.steps.statements()) + "\n"
        program = specialize(Program(definitions=self.source, main=main), self._known(), self._constants())
        head, body = _split(program.definitions)
        asserted = list(assertions(self.evidence, self.extent, self.steps.given, whole=self.whole))
        steps = _parts(self._described(program), self._kept_bits(), program.main)
        data = self.arrays.program(_words("\n".join([body, steps, *asserted])))
        more, functions = _split(data.definitions)
        sections = [
            *_headed("# The data.", functions, self._data(data.main, self._initial(program.main, asserted))),
            *_headed("# The native calls.", body, steps),
            *asserted,
        ]
        text = "\n\n".join(sections)
        environment = self._environment()
        imports = {*head, *more, *self._imports(program, text)} - ({"import os"} if environment else set())
        groups = import_lines(imports, text)
        return "\n\n".join(part for part in [self._docstring(), environment, *groups, text] if part) + "\n"

    def _data(self, arrays: str, initial: str) -> str:
        return "\n".join(part.strip("\n") for part in (arrays, self._checksum(), initial) if part)

    def _initial(self, main: str, asserted: Sequence[str]) -> str:
        """Return the statement of the state that is put in, where something reads it."""
        read = "initial" in "\n".join([main, *asserted])
        return _short(f"initial = {mapping(self.inputs.initial)}") if read else ""

    # What is known

    def _known(self) -> dict[str, Known]:
        configuration = self.configuration
        values = {field: getattr(configuration, field) for field in (*_fields(), *_PROPERTIES)}
        arrays = {name: NotNone() for names in self.steps.given.values() for name in names.values()}
        facts: dict[str, Known] = {"configuration": Fields(tuple(values.items())), **arrays}
        dtypes = {quantity.dtype for step in self.record.steps for quantity in step.quantities}
        if "bfloat16" not in {configuration.dtype, configuration.parameter_dtype, *dtypes}:
            facts[BFLOAT16] = Value(value=False)
        if all("upstream" in names for names in self.steps.given.values()):
            facts[UPSTREAM] = NotNone()
        return facts

    def _constants(self) -> dict[str, Known]:
        """Return the constants of the adapter's files that are a recorded setting of that name."""
        settings = {name.upper(): value for name, value in self.evidence.environment.settings.items()}
        return {
            target.id: Value(settings[target.id])
            for statement in ast.parse(self.source).body
            if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Call) and not statement.value.args
            for target in statement.targets
            if isinstance(target, ast.Name) and target.id in settings
        }

    def _described(self, program: Program) -> str:
        """Return the configuration, with the fields that the functions read, where they need it whole."""
        if "configuration" not in _words(program.main):
            return ""
        used = _words(program.definitions) | _words(program.main)
        values = {field: getattr(self.configuration, field) for field in (*_fields(), *_PROPERTIES) if field in used}
        # A dataclass takes no dict for a default: without a type it is the class's own, which `replace` keeps as well.
        lines = [
            f"    {field}{'' if isinstance(value, dict) else ': object'} = {written(value)}"
            for field, value in values.items()
        ]
        head = "@dataclass(frozen=True)\nclass Configuration:\n"
        return head + "\n".join(lines or ["    pass"]) + "\n\n\nconfiguration = Configuration()"

    # Data

    def _kept_bits(self) -> str:
        """Return the statement that keeps what the caller gave, where a step wrote to it."""
        wrote = any(has_cause(quantity, WROTE_TO_CALLER) for step in self.record.steps for quantity in step.quantities)
        names = dict.fromkeys(name for arrays in self.steps.given.values() for name in arrays.values())
        return f"given = {{{', '.join(f'{written(name)}: {name}.tobytes()' for name in names)}}}" if wrote else ""

    def _checksum(self) -> str:
        if not self.arrays.made:
            return ""
        checksum = zlib.crc32(b"".join(array.tobytes() for array in self.arrays.made.values()))
        joined = " + ".join(f"{name}.tobytes()" for name in self.arrays.made)
        return _short(f'assert zlib.crc32({joined}) == {checksum}, "other data than recorded"')

    def _imports(self, program: Program, text: str) -> Iterator[str]:
        """Yield the imports of what is written beside the adapter's functions."""
        call, _ = self.steps.call()
        head = call.partition("(")[0].partition(",")[0].partition(".")[0]
        if head not in defined(ast.parse(program.definitions)):
            yield f"import {head}"
        yield "import numpy as np"
        words = _words(text)
        yield from (
            f"import {module}"
            for module in ("faulthandler", "functools", "ml_dtypes", "traceback", "zlib")
            if module in words
        )
        if "class Configuration" in text:
            yield "from dataclasses import dataclass"
        if "SimpleNamespace" in words:
            yield "from types import SimpleNamespace"

    # Words

    def _docstring(self) -> str:
        environment = self.evidence.environment
        versions = ", ".join(f"{name} {version}" for name, version in environment.versions.items())
        host = environment.host
        settings = ", ".join(f"{name} {value}" for name, value in environment.settings.items() if value not in _UNSET)
        python, system, machine, cores = (
            host.get(name, "unknown") for name in ("python", "system", "machine", "cores")
        )
        where = f"Python {python}, {system} {machine}, {cores} cores"
        performed = "Recorded" if self.evidence.file else "Performed"
        paragraphs = [
            f"{self.case.title} ({self.case.source})",
            self._ending(),
            f"{performed} with {versions}; {where}{'; ' if settings else ''}{settings}.{self._origin()}",
        ]
        first, *others = (_filled(paragraph) for paragraph in paragraphs)
        text = "\n\n".join([f"{self.record.cell}\n{first}", *others]).replace("\\", "\\\\").replace('"""', "'''")
        return f'"""{text}\n"""'

    def _ending(self) -> str:
        """Return what was recorded, and how the script ends."""
        record, last = self.record, self.extent.last
        verdict = record.verdict.replace("_", " ")
        messages = [step.message.partition("\n")[0] for step in record.steps if step.message]
        message = f" ({messages[-1]})" if messages else ""
        if record.verdict in (Verdict.CRASHED, Verdict.TIMED_OUT):
            return f"Recorded: {verdict} at step {last}{message}. So does the script, as long as nothing changes."
        end = "exits 0" if record.expected else "exits 1 as long as that is so"
        reason = _WHY.get(record.verdict, "the last")
        short = f", and ends with step {last}, {reason}" if last < len(self.inputs.steps) else ""
        why = "".join(f" {entry.reason} {entry.diagnosis}" for entry in record.divergence)
        if not why and record.diagnosis:
            why = f" Diagnosis: {diagnosis_text(record.diagnosis, self.evidence.causes)}."
        return f"Recorded: {verdict}{message}. The script {end}{short}.{why}{self._remarks()}"

    def _remarks(self) -> str:
        shown, last = self.extent.shown, self.extent.last
        dialect = sorted({field for element in elements(shown, last) for field in element.fields})
        open_ = unjudged(shown, last)
        return (f" Expected is the documented dialect of {', '.join(dialect)}." if dialect else "") + (
            f" Not asserted: {', '.join(open_[:6])}{' and others' if len(open_) > 6 else ''}." if open_ else ""
        )

    def _origin(self) -> str:
        """Return whose code the script holds, where it is not that of the suite."""
        others = foreign(self.evidence.environment) if self.evidence.file else ()
        if not others:
            return ""
        return (
            f" The native calls are the code that {self.evidence.file} holds ({', '.join(others)}), and not what this suite"
            " ships: read it before you run it, unless you trust who made that file."
        )

    def _environment(self) -> str:
        process = self.evidence.environment.process.items()
        entries = [f"{written(n)}: {written(v)}" for n, v in process if not (_HOUSEKEEPING.search(n) or CACHES in v)]
        settings = _short(f"os.environ |= {{{', '.join(entries)}}}")
        return f"import os\n\n# Before anything is imported.\n{settings}" if entries else ""


def _fields() -> tuple[str, ...]:
    return tuple(field.name for field in fields(Configuration))


def _words(text: str) -> set[str]:
    return words(ast.parse(text).body)


def _split(definitions: str) -> tuple[list[str], str]:
    """Return the imports of a text, one a line, and the rest of it."""
    body = parsed(definitions).body
    imports = [statement for statement in body if isinstance(statement, ast.Import | ast.ImportFrom)]
    return [ast.unparse(statement) for statement in imports], unparsed(
        [other for other in body if other not in imports]
    )


def _headed(heading: str, *parts: str) -> list[str]:
    """Return the parts that are not empty, the first of them under the heading."""
    written_parts = [part.strip("\n") for part in parts if part.strip()]
    return [f"{heading}\n{written_parts[0]}", *written_parts[1:]] if written_parts else []


def _parts(*parts: str) -> str:
    return "\n\n".join(part.strip("\n") for part in parts if part.strip())


def _short(text: str) -> str:
    """Return statements in short lines."""
    return unparsed(parsed(text).body).strip("\n")


def _filled(text: Any) -> str:
    return textwrap.fill(" ".join(str(text).split()), WIDTH, break_on_hyphens=False, break_long_words=False)
