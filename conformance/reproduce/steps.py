"""The middle of a script: the native call and the steps, as statements that use the adapter's functions."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from conformance.errors import UsageError
from conformance.reference.inputs import inputs_of, states_of
from conformance.reproduce.arrays import Array, Arrays, mapping
from conformance.reproduce.checks import FEW_STEPS, refusals
from conformance.reproduce.evidence import Evidence
from conformance.reproduce.extent import Extent
from conformance.reproduce.text import written
from conformance.spec.case import Freeze, Infer, Reload, Repeat, Sgd, Step, Train, Unfreeze, handed, unfit


class Steps:
    """The steps from where the script begins up to `last`, by the functions of the adapter's `source`."""

    def __init__(self, evidence: Evidence, source: str, extent: Extent, arrays: Arrays) -> None:
        self.evidence, self.record, self.extent, self.arrays = evidence, evidence.record, extent, arrays
        self.source = source
        self.inputs = inputs_of(evidence.case).steps
        #: The steps that raised, and those that must: a script goes on after them.
        self.refused = refusals(self.record) | {
            number for number, step in enumerate(evidence.case.performed, 1) if unfit(step)
        }
        #: Step -> its arrays by argument.
        self.given: dict[int, dict[str, str]] = {}
        #: The state that the next step starts from, where it is known to its last bit.
        self._known: Mapping[str, Array] | None = None

    def statements(self) -> Iterator[str]:
        """Yield the native call, the start and the steps, noting the arrays they need."""
        deadline = self.record.steps[-1].deadline
        if deadline is not None:
            yield f"faulthandler.dump_traceback_later({deadline:g}, exit=True)"
        call, function = self.call()
        yield f"native = functools.partial({call})" if function else f"native = {call}"
        if self.extent.first <= 1:
            yield self._start("initial" if self.evidence.implementation.keeps_state else "dict(initial)")
            self._known = inputs_of(self.evidence.case).initial
        if not self.extent.begins:
            return
        if self.extent.kept and not self._sole:
            yield "seen = {}"
        if 0 in self.extent.reads:
            yield f"seen[0] = {self._function('state', 'live')}"
        yield from self._steps(self.evidence.case.steps, 1)

    @property
    def _sole(self) -> bool:
        """Whether what one pass gives is all that is kept."""
        passes = [self.evidence.case.performed[number - 1] for number in self.extent.kept if number]
        only = len(self.extent.kept) == len(passes) == 1 and 0 not in self.extent.reads
        return only and isinstance(passes[0], Train | Infer) and not self.extent.kept & self.refused

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
            if number + index * len(steps) <= self.extent.last
        ]
        plain = [[line for line in statements if not line.startswith("# ")] for statements in rounds]
        if len(plain) > 1 and all(other == plain[0] for other in plain):
            yield f"# Steps {number} to {number + len(plain) * len(steps) - 1}."
            yield f"for _ in range({len(plain)}):\n" + textwrap.indent("\n".join(plain[0]), "    ")
            return
        for statements in rounds:
            yield from statements

    def _step(self, step: Step, number: int) -> Iterator[str]:
        if not self.extent.first <= number <= self.extent.last:
            return
        if self.extent.first < self.extent.last <= FEW_STEPS:
            yield f"# Step {number}: {step.step}."
        if not self.evidence.implementation.keeps_state and isinstance(step, Infer):
            state = states_of(self.evidence.case)[number - 1]
            if not _same(state, self._known):
                yield self._start("dict(initial)" if _same(state, self._initial()) else mapping(state))
        self._known = None
        apart = handed(step)
        if apart:
            yield "owner = live"
        lines = [*self._started_apart(step), *self._performed(step, number)]
        if number not in self.refused or self.extent.raises == number:
            yield from lines
            return
        yield "try:"
        yield textwrap.indent("\n".join(lines), "    ")
        yield "except Exception as error:"
        yield "    traceback.print_exc()"
        if number in self.extent.kept:
            state_read = f", **{self._left(apart)}" if number in self.extent.reads else ""
            yield f'    seen[{number}] = {{"raised": error{state_read}}}'
        if apart:
            yield "live = owner"

    def _started_apart(self, step: Step) -> Iterator[str]:
        """Yield the start of a call of its own, that is handed the state with a part of it in a wrong size."""
        sizes = handed(step)
        if not sizes:
            return
        read = self._function("state", "owner")
        parts = [
            f"{written(name)}: np.resize({read}[{written(name)}], {sizes.get(name, value.shape)})"
            for name, value in self._initial().items()
        ]
        yield self._start(f"{{{', '.join(parts)}}}")

    def _left(self, apart: Mapping[str, tuple[int, ...]]) -> str:
        """Return the expression of the state after a step, without what its call was handed in a wrong size."""
        left, own = self._function("state", "live"), self._function("state", "owner")
        kept = "".join(f", {written(name)}: {own}[{written(name)}]" for name in apart)
        return f"{{**{left}{kept}}}" if apart else left

    def _initial(self) -> Mapping[str, Array]:
        return inputs_of(self.evidence.case).initial

    def _performed(self, step: Step, number: int) -> Iterator[str]:
        state = self._left(handed(step)) if number in self.extent.reads else ""
        match step:
            case Train() | Infer():
                call = self._function(step.step, *self._arguments(step, number))
                if number not in self.extent.kept:
                    yield call
                    return
                yield f"quantities = {call}"
                if state:
                    yield f"after = {state}"
                gives = "{**quantities, **after}" if state else "quantities"
                yield f"seen = {{{number}: {gives}}}" if self._sole else f"seen[{number}] = {gives}"
                return
            case Reload():
                yield f"live = {self._function('reload', 'live')}"
            case Freeze() | Unfreeze():
                yield self._function(step.step, "live")
            case Sgd(learning_rate=rate):
                yield self._function("sgd", f"live, {rate}")
        if state or (number in self.refused and number in self.extent.kept):
            yield f"seen[{number}] = {state or '{}'}"

    def _arguments(self, step: Train | Infer, number: int) -> Iterator[str]:
        """Yield the arguments of a step: what the start gave, the input, the upstream gradient, and others by name."""
        inputs = self.inputs[number - 1]
        assert inputs.input is not None
        names = {"input": self.arrays.name("x", inputs.input, step.input)}
        if inputs.upstream is not None and step.upstream is not None:
            names["upstream"] = self.arrays.name("upstream", inputs.upstream, step.upstream)
        further = {name: self.arrays.name(name, inputs.arrays[name], recipe) for name, recipe in step.arrays.items()}
        self.given[number] = names | further
        yield from ("live", names["input"], str(names.get("upstream")))
        yield from (f"{name}={variable}" for name, variable in further.items())

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
        bound = [ast.unparse(argument) for argument in tree.args]
        keywords = [f"{keyword.arg}={ast.unparse(keyword.value)}" for keyword in tree.keywords]
        return f"{ast.unparse(tree.func)}({', '.join([*bound, *arguments, *keywords])})"

    def call(self) -> tuple[str, bool]:
        """Return the native call, and whether its arrays are still to come."""
        call = self.record.call
        if call is None:
            raise UsageError(f"{self.record.cell}: its native call was not recorded")
        path = self._importable(call.path)
        keywords = ", ".join(f"{name}={value}" for name, value in call.keywords.items())
        try:
            ast.parse(f"{path}({keywords})", mode="eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise UsageError(f"{self.record.cell}: its native call is no Python: {error}") from error
        return (f"{path}, {keywords}".rstrip(", "), True) if call.function else (f"{path}({keywords})", False)

    def _importable(self, path: str) -> str:
        """Return the path by the name under which the adapter's file imports its package."""
        head, dot, rest = path.partition(".")
        for statement in ast.parse(self.source).body:
            for alias in statement.names if isinstance(statement, ast.Import) else []:
                if alias.name == head and alias.asname and dot:
                    return f"{alias.asname}.{rest}"
        return path


def _same(state: Mapping[str, Array], other: Mapping[str, Array] | None) -> bool:
    """Return whether two states are the same arrays, bit for bit."""
    return other is not None and {name: _bits(array) for name, array in state.items()} == {
        name: _bits(array) for name, array in other.items()
    }


def _bits(array: Array) -> tuple[str, tuple[int, ...], bytes]:
    return array.dtype.name, array.shape, array.tobytes()
