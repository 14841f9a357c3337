"""The middle of a script: the native call and the steps, as statements that use the adapter's functions."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator, Sequence

from conformance.errors import UsageError
from conformance.reference.inputs import inputs_of, states_of
from conformance.reproduce.arrays import Arrays, mapping
from conformance.reproduce.checks import FEW_STEPS, refusals
from conformance.reproduce.evidence import Evidence
from conformance.reproduce.fold import written
from conformance.spec.case import Freeze, Infer, Reload, Repeat, Sgd, Step, Train, Unfreeze
from conformance.verdict import Verdict


class Steps:
    """The steps up to `last`, by the functions of the adapter's `source`."""

    def __init__(self, evidence: Evidence, source: str, last: int, arrays: Arrays) -> None:
        self.evidence, self.record, self.last, self.arrays = evidence, evidence.record, last, arrays
        self.source = source
        self.inputs = inputs_of(evidence.case).steps
        self.refused = refusals(self.record)
        #: Step -> its arrays by argument.
        self.given: dict[int, dict[str, str]] = {}

    def statements(self) -> Iterator[str]:
        """Yield the native call, the start and the steps, noting the arrays they need."""
        deadline = self.record.steps[-1].deadline
        if deadline is not None:
            yield f"faulthandler.dump_traceback_later({deadline:g}, exit=True)"
        call, function = self.call()
        yield f"native = functools.partial({call})" if function else f"native = {call}"
        yield self._start("dict(initial)")
        if self.record.steps[0].verdict in (Verdict.REFUSED, Verdict.CRASHED, Verdict.TIMED_OUT):
            return
        yield f"seen = [{self._function('state', 'live')}]"
        yield from self._steps(self.evidence.case.steps, 1)

    def _start(self, state: str) -> str:
        mode, device = written(self.record.mode), written(self.record.device)
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
        if not self.evidence.implementation.keeps_state and isinstance(step, Infer):
            state = mapping(states_of(self.evidence.case)[number - 1])
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
                inputs = self.inputs[number - 1]
                assert inputs.input is not None
                names = {"input": self.arrays.name("x", inputs.input, step.input)}
                if inputs.upstream is not None and step.upstream is not None:
                    names["upstream"] = self.arrays.name("upstream", inputs.upstream, step.upstream)
                further = {
                    name: self.arrays.name(name, inputs.arrays[name], recipe) for name, recipe in step.arrays.items()
                }
                self.given[number] = names | further
                given = [f"{name}={variable}" for name, variable in further.items()]
                arguments = ", ".join(["live", names["input"], str(names.get("upstream")), *given])
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
        named = self.evidence.implementation.functions.get(kind, "")
        if not named:
            where = f"{self.evidence.environment.adapter}: {self.record.implementation}"
            raise UsageError(f"{where}: its function for {kind} is not one at the top level of its files")
        try:
            tree = ast.parse(named, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise UsageError(f"{self.record.cell}: its function for {kind} is no Python: {error}") from error
        if not isinstance(tree, ast.Call):
            return f"{named}({', '.join(arguments)})"
        bound = [ast.unparse(each) for each in tree.args]
        keywords = [f"{each.arg}={ast.unparse(each.value)}" for each in tree.keywords]
        return f"{ast.unparse(tree.func)}({', '.join([*bound, *arguments, *keywords])})"

    def call(self) -> tuple[str, bool]:
        """Return the native call, and whether its arrays are still to come."""
        call = self.record.call
        if call is None:
            raise UsageError(f"{self.record.cell}: its native call was not recorded")
        path = self._importable(call.path)
        keywords = ", ".join(f"{name}={value}" for name, value in call.keywords.items())
        return (f"{path}, {keywords}".rstrip(", "), True) if call.function else (f"{path}({keywords})", False)

    def _importable(self, path: str) -> str:
        """Return the path by the name under which the adapter's file imports its package."""
        head, dot, rest = path.partition(".")
        for statement in ast.parse(self.source).body:
            for alias in statement.names if isinstance(statement, ast.Import) else []:
                if alias.name == head and alias.asname and dot:
                    return f"{alias.asname}.{rest}"
        return path
