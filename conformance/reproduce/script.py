"""The script itself: data, the adapter's own functions, the steps, and what must come of them."""

from __future__ import annotations

import ast
import hashlib
import itertools
import math
import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

from conformance.case import Freeze, Infer, Reload, Repeat, Sgd, Step, Train, Unfreeze
from conformance.errors import UsageError
from conformance.inputs import inputs_of, states_of
from conformance.process import CACHES
from conformance.protocol import Configuration
from conformance.reproduce.arrays import Arrays, mapping
from conformance.reproduce.checks import (
    FEW_STEPS,
    Element,
    elements,
    facts,
    first_deviating,
    kept_state,
    refusals,
    unjudged,
)
from conformance.reproduce.evidence import Evidence
from conformance.reproduce.fold import BFLOAT16, Fields, Known, NotNone, Value, written
from conformance.reproduce.program import Program, defined, specialize

_PROPERTIES = ("rank", "features", "feature_count", "reduction_axes")
_WRITTEN_CALL = re.compile(r"(?P<path>[\w.]+)\((?P<function>…, )?(?P<keywords>.*)\)", re.DOTALL)
_WIDTH = 110

_CHECK = """
outside = 0
for step, quantity, index, expected, allowed, recorded in ELEMENTS:
    value = np.asarray(seen[step][quantity])
    observed = float((value if quantity in ("output", "grad_input") else value.reshape(FEATURES))[index])
    score = abs(observed - expected) / max(allowed, 5e-324)
    outside += not score <= 1
    again = "as recorded" if repr(observed) == repr(recorded) else f"recorded {recorded!r}"
    print(f"{'ok' if score <= 1 else 'NO'} step {step} {quantity}{list(index)}: {observed!r}, {again};")
    print(f"   expected {expected!r}, off by {score:.3g} times the allowed {allowed:.3g}")
"""
_FACTS = """
for sentence, holds in FACTS:
    outside += not holds
    print(f"{'ok' if holds else 'NO'} {sentence}")
"""
_WIDE = """
    allowed += np.spacing(abs(expected)) / 2  # the reference is wider than float64"""
_NOT_FINITE = """
    if not np.isfinite(expected):  # NaN and infinity are one class
        score = np.inf if np.isfinite(observed) else 0.0"""
_EQUAL = """
def equal(one, other):
    return np.array_equal(np.ravel(one).astype(float), np.ravel(other).astype(float), equal_nan=True)
"""
_KEPT = """

def kept(steps, *names):
    return all(equal(seen[step][name], seen[step - 1][name]) for step in steps for name in names)
"""


def script(evidence: Evidence, *, whole: bool = False) -> str:
    """Return the script of a cell. Raises `UsageError` where there is nothing to run or no source for it.

    It ends with the first step that deviates unless the `whole` of the cell is asked for.
    """
    if evidence.record["verdict"] == "unsupported":
        raise UsageError(f"{evidence.record['cell']}: unsupported: {evidence.record['steps'][0]['message']}")
    return _Script(evidence, whole).text()


class _Script:
    """One script in the making."""

    def __init__(self, evidence: Evidence, whole: bool) -> None:
        self.evidence, self.record, self.case = evidence, evidence.record, evidence.case
        self.configuration = self.case.configuration
        self.inputs = inputs_of(self.case)
        self.source = str(evidence.environment["source"])
        taken = defined(ast.parse(self.source))
        self.arrays = Arrays(self.configuration, taken)
        for name in ("configuration", "initial", "native", "live", "seen", "given"):
            if name in taken:
                raise UsageError(f"{evidence.environment['adapter']}: the name {name!r} belongs to the script")
        self.refused = refusals(self.record)
        #: The last step of the script.
        self.last = len(self.inputs.steps)
        if self.record["verdict"] in ("crashed", "timed_out"):
            self.last = self.record["steps"][-1]["number"]
        elif not whole:
            self.last = first_deviating(self.record) or self.last
        #: Step -> its arrays by argument.
        self.given: dict[int, dict[str, str]] = {}

    def text(self) -> str:
        """Return the whole text."""
        main = "\n".join(self._main()) + "\n"
        program = specialize(Program(definitions=self.source, main=main), self._known())
        head, body = _split(program.definitions)
        data = self.arrays.program()
        more, functions = _split(data.definitions)
        sections = [
            "# The data.\n\n" + _parts(functions),
            _parts(data.main, self._checksum(), f"initial = {mapping(self.inputs.initial)}"),
            "# The native calls.\n\n" + _parts(body),
            _parts(self._described(program), self._kept_bits(), program.main),
            *self._expectations(),
        ]
        text = "\n\n".join(each.strip("\n") for each in sections if each.strip())
        environment = self._environment()
        imports = {*head, *more, *self._imports(program, text)} - ({"import os"} if environment else set())
        inside = [each for each in imports if each.split(" ")[1].partition(".")[0] in sys.stdlib_module_names]
        outside = imports - set(inside)
        groups = [
            "\n".join(sorted(each, key=lambda line: (line.startswith("from"), line))) for each in (inside, outside)
        ]
        whole = "\n\n".join(each for each in [self._docstring(), environment, *groups, text] if each) + "\n"
        return _spaced(whole)

    # What is known

    def _known(self) -> dict[str, Known]:
        configuration = self.configuration
        values = {each: getattr(configuration, each) for each in (*_fields(), *_PROPERTIES)}
        arrays = {name: NotNone() for names in self.given.values() for name in names.values()}
        known: dict[str, Known] = {"configuration": Fields(tuple(values.items())), **arrays}
        dtypes = {each["dtype"] for step in self.record["steps"] for each in step["quantities"]}
        if "bfloat16" not in {configuration.dtype, configuration.parameter_dtype, *dtypes}:
            known[BFLOAT16] = Value(value=False)
        return known

    def _described(self, program: Program) -> str:
        """Return the configuration, with the fields that the functions read, where they need it whole."""
        if "configuration" not in _words(program.main):
            return ""
        used = _words(program.definitions)
        lines = [
            f"    {each}: object = {written(getattr(self.configuration, each))}"
            for each in (*_fields(), *_PROPERTIES)
            if each in used
        ]
        head = "@dataclass(frozen=True)\nclass Configuration:\n"
        return head + "\n".join(lines or ["    pass"]) + "\n\n\nconfiguration = Configuration()"

    # Data

    def _kept_bits(self) -> str:
        """Return the statement that keeps what the caller gave, where a step wrote to it."""
        wrote = any(
            "wrote to" in each.get("reason", "") for step in self.record["steps"] for each in step["quantities"]
        )
        names = dict.fromkeys(name for each in self.given.values() for name in each.values())
        return f"given = {{{', '.join(f'{written(name)}: {name}.tobytes()' for name in names)}}}" if wrote else ""

    def _checksum(self) -> str:
        if not self.arrays.made:
            return ""
        digest = hashlib.sha256(b"".join(each.tobytes() for each in self.arrays.made.values())).hexdigest()[:16]
        joined = " + ".join(f"{name}.tobytes()" for name in self.arrays.made)
        return f'assert hashlib.sha256({joined}).hexdigest()[:16] == "{digest}", "other data than recorded"'

    # Steps

    def _main(self) -> Iterator[str]:
        limit = re.match(r"no answer within (\S+) s", str(self.record["steps"][-1].get("message", "")))
        if limit is not None:
            yield f"faulthandler.dump_traceback_later({limit[1]}, exit=True)"
        call, function = self._call()
        yield f"native = functools.partial({call})" if function else f"native = {call}"
        yield self._start("dict(initial)")
        if self.record["steps"][0]["verdict"] in ("refused", "crashed", "timed_out"):
            return
        yield f"seen = [{self._function('state', 'live')}]"
        yield from self._steps(self.case.steps, 1)

    def _start(self, state: str) -> str:
        mode, device = written(self.record["mode"]), written(self.record["device"])
        rest = f"configuration=configuration, state={state}, mode={mode}, device={device}"
        return f"live = {self._function('start', 'native', rest)}"

    def _steps(self, steps: Sequence[Step | Repeat], number: int) -> Iterator[str]:
        for step in steps:
            match step:
                case Repeat(times=times, steps=inner):
                    yield from self._repeated(times, inner, number)
                    number += times * len(inner)
                case _:
                    yield from self._step(step, number)
                    number += 1

    def _repeated(self, times: int, steps: Sequence[Step], number: int) -> Iterator[str]:
        """Yield a loop, or every step where they differ in their data."""
        rounds = [
            list(self._steps(steps, number + index * len(steps)))
            for index in range(times)
            if number + index * len(steps) <= self.last
        ]
        plain = [[line for line in each if not line.startswith("# ")] for each in rounds]
        if len(plain) > 1 and all(each == plain[0] for each in plain):
            yield f"# Steps {number} to {number + len(plain) * len(steps) - 1}."
            yield f"for _ in range({len(plain)}):\n" + textwrap.indent("\n".join(plain[0]), "    ")
            return
        for each in rounds:
            yield from each

    def _step(self, step: Step, number: int) -> Iterator[str]:
        if number > self.last:
            return
        if self.last <= FEW_STEPS:
            yield f"# Step {number}: {step.step}."
        if not self.evidence.keeps_state and isinstance(step, Infer):
            state = mapping(states_of(self.case)[number - 1])
            yield self._start(state)
        lines = list(self._performed(step, number))
        if number not in self.refused:
            yield from lines
            return
        yield "try:"
        yield textwrap.indent("\n".join(lines), "    ")
        yield "except Exception as error:"
        yield "    traceback.print_exc()"
        yield f'    seen.append({{"raised": error, **{self._function("state", "live")}}})'

    def _performed(self, step: Step, number: int) -> Iterator[str]:
        state = self._function("state", "live")
        match step:
            case Train() | Infer():
                inputs = self.inputs.steps[number - 1]
                assert inputs.input is not None
                names = {"input": self.arrays.name("x", inputs.input, step.input)}
                if inputs.upstream is not None and step.upstream is not None:
                    names["upstream"] = self.arrays.name("upstream", inputs.upstream, step.upstream)
                self.given[number] = names
                arguments = f"live, {names['input']}, {names.get('upstream')}"
                yield f"seen.append({{**{self._function(step.step, arguments)}, **{state}}})"
            case Reload():
                yield f"live = {self._function('reload', 'live')}"
                yield f"seen.append({state})"
            case Freeze() | Unfreeze():
                yield self._function(step.step, "live")
                yield f"seen.append({state})"
            case Sgd(learning_rate=rate):
                yield self._function("sgd", f"live, {rate}")
                yield f"seen.append({state})"

    def _function(self, kind: str, *arguments: str) -> str:
        """Return the call of the adapter's function of that kind, with what is bound to it."""
        named = str(self.evidence.implementation["functions"].get(kind, ""))
        if not named:
            where = f"{self.evidence.environment['adapter']}: {self.record['implementation']}"
            raise UsageError(f"{where}: its function for {kind} is not one at the top level of the file")
        tree = ast.parse(named, mode="eval").body
        if not isinstance(tree, ast.Call):
            return f"{named}({', '.join(arguments)})"
        bound = [ast.unparse(each) for each in tree.args]
        keywords = [f"{each.arg}={ast.unparse(each.value)}" for each in tree.keywords]
        return f"{ast.unparse(tree.func)}({', '.join([*bound, *arguments, *keywords])})"

    def _call(self) -> tuple[str, bool]:
        """Return the native call, and whether its arrays are still to come."""
        found = _WRITTEN_CALL.fullmatch(str(self.record["call"]))
        if found is None:
            raise UsageError(f"{self.record['cell']}: has no native call: {self._ending()}")
        path, keywords = self._importable(found["path"]), found["keywords"]
        return (f"{path}, {keywords}".rstrip(", "), True) if found["function"] else (f"{path}({keywords})", False)

    def _importable(self, path: str) -> str:
        """Return the path by the name under which the adapter's file imports its package."""
        head, dot, rest = path.partition(".")
        for statement in ast.parse(self.source).body:
            for alias in statement.names if isinstance(statement, ast.Import) else []:
                if alias.name == head and alias.asname and dot:
                    return f"{alias.asname}.{rest}"
        return path

    def _imports(self, program: Program, text: str) -> Iterator[str]:
        """Yield the imports of what is written beside the adapter's functions."""
        call, _ = self._call()
        head = call.partition("(")[0].partition(",")[0].partition(".")[0]
        if head not in defined(ast.parse(program.definitions)):
            yield f"import {head}"
        yield "import numpy as np"
        words = _words(text)
        yield from (
            f"import {each}"
            for each in ("faulthandler", "functools", "hashlib", "ml_dtypes", "traceback")
            if each in words
        )
        if "class Configuration" in text:
            yield "from dataclasses import dataclass"
        if "SimpleNamespace" in words:
            yield "from types import SimpleNamespace"

    # Expectations

    def _expectations(self) -> Iterator[str]:
        if self.record["steps"][0]["verdict"] in ("refused", "crashed", "timed_out"):
            yield f'raise SystemExit("the start ends no more: recorded was {self.record["verdict"]}")'
            return
        found, said = elements(self.record, self.last), facts(self.record, self.last, self.given)
        if self.last == len(self.inputs.steps):
            said += kept_state(self.record, self.last)
        if found:
            yield "# What must come of them: step, quantity, index, expected, allowed, recorded."
            rows = "".join(f"    {self._row(each)},\n" for each in found)
            yield f"ELEMENTS = [\n{rows}]"
        if said:
            rows = "".join(f"    ({written(each.sentence)}, {each.expression}),\n" for each in said)
            kept = _KEPT if "kept(" in rows else ""
            yield (_EQUAL if kept or "equal(" in rows else "") + kept
            yield f"FACTS = [\n{rows}]"
        yield ((self._check(found) if found else "outside = 0\n") + (_FACTS if said else "")).strip()
        yield 'if outside:\n    raise SystemExit(f"{outside} of these do not hold")'

    def _check(self, found: Sequence[Element]) -> str:
        """Return the loop over the elements, with the lines that only some of them need."""
        check = _CHECK.replace("FEATURES", repr(self.configuration.features))
        before, score, after = check.partition("\n    score = ")
        line, newline, rest = after.partition("\n")
        wide = "float64" in (self.configuration.dtype, self.configuration.parameter_dtype)
        finite = all(math.isfinite(each.expected) for each in found)
        return before + (_WIDE if wide else "") + score + line + ("" if finite else _NOT_FINITE) + newline + rest

    def _row(self, each: Element) -> str:
        numbers = ", ".join(_float(value) for value in (each.expected, each.allowed, each.observed))
        return f"({each.step}, {written(each.quantity)}, {each.index}, {numbers})"

    # Words

    def _docstring(self) -> str:
        environment = self.evidence.environment
        versions = ", ".join(f"{name} {version}" for name, version in environment["versions"].items())
        host = environment["host"]
        settings = ", ".join(f"{name} {value}" for name, value in environment["settings"].items() if value)
        where = f"Python {host['python']}, {host['system']} {host['machine']}, {host['cores']} cores"
        paragraphs = [
            f"{self.case.title} ({self.case.source})",
            self._ending(),
            f"{'Recorded' if self.evidence.file else 'Performed'} with {versions}; {where}{'; ' if settings else ''}{settings}.",
        ]
        parts = [self.record["cell"], *(_filled(each) for each in paragraphs)]
        text = "\n\n".join(parts).replace("\\", "\\\\").replace('"""', "'''")
        return f'"""{text}\n"""'

    def _ending(self) -> str:
        """Return what was recorded, and how the script ends."""
        record, last = self.record, self.last
        verdict = str(record["verdict"]).replace("_", " ")
        said = [str(step["message"]).partition("\n")[0] for step in record["steps"] if step.get("message")]
        message = f" ({said[-1]})" if said else ""
        if record["verdict"] in ("crashed", "timed_out"):
            return f"Recorded: {verdict} at step {last}{message}. So does the script, as long as nothing changes."
        end = "exits 0" if record["expected"] else "exits 1 as long as that is so"
        short = f" It ends with step {last}, the first that deviates." if last < len(self.inputs.steps) else ""
        why = "".join(f" {each['reason']} {each['diagnosis']}" for each in record["divergence"])
        why = why or (f" Diagnosis: {record['diagnosis']}." if record["diagnosis"] else "")
        return f"Recorded: {verdict}{message}. The script {end}.{short}{why}{self._remarks()}"

    def _remarks(self) -> str:
        dialect = sorted({field for each in elements(self.record, self.last) for field in each.fields})
        open_ = unjudged(self.record, self.last)
        return (f" Expected is the documented dialect of {', '.join(dialect)}." if dialect else "") + (
            f" Not asserted: {', '.join(open_[:6])}{' and others' if len(open_) > 6 else ''}." if open_ else ""
        )

    def _environment(self) -> str:
        process = {n: v for n, v in self.evidence.environment["process"].items() if CACHES not in v}
        lines = [f"os.environ[{written(name)}] = {written(value)}" for name, value in process.items()]
        return "\n".join(["import os", "", "# Before anything is imported.", *lines]) if lines else ""


def _fields() -> tuple[str, ...]:
    return tuple(each.name for each in fields(Configuration))


def _words(text: str) -> set[str]:
    """Return every name, attribute and keyword in the text."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.keyword(arg=str(name)):
                found.add(name)
            case _:
                pass
    return found


def _split(definitions: str) -> tuple[list[str], str]:
    """Return the imports of a text, one a line, and the rest of it."""
    tree = ast.parse(definitions)
    imports = [each for each in tree.body if isinstance(each, ast.Import | ast.ImportFrom)]
    lines = definitions.splitlines(keepends=True)
    places = {line for each in imports for line in range(each.lineno - 1, each.end_lineno or each.lineno)}
    rest = "".join(line for index, line in enumerate(lines) if index not in places)
    return [ast.unparse(each) for each in imports], rest


def _parts(*parts: str) -> str:
    return "\n\n".join(each.strip("\n") for each in parts if each.strip())


def _spaced(text: str) -> str:
    """Return the text with two blank lines around every definition."""
    lines, body = text.splitlines(), ast.parse(text).body
    parts = lines[: body[0].end_lineno]
    for before, each in itertools.pairwise(body):
        first = min([each.lineno, *(other.lineno for other in getattr(each, "decorator_list", []))]) - 1
        between = lines[before.end_lineno : first]
        if isinstance(each, ast.FunctionDef | ast.ClassDef) or isinstance(before, ast.FunctionDef | ast.ClassDef):
            between = ["", "", *itertools.dropwhile(lambda line: not line, between)]
        parts += [*between, *lines[first : each.end_lineno]]
    return "\n".join([*parts, ""])


def _float(value: float) -> str:
    return repr(value) if math.isfinite(value) else f"np.{value}" if value >= 0 or math.isnan(value) else "-np.inf"


def _filled(text: Any) -> str:
    return textwrap.fill(" ".join(str(text).split()), _WIDTH, break_on_hyphens=False, break_long_words=False)
