"""A program made short does what it did, whatever it is: functions, branches on what is known, loops, things that happen."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from conformance.reproduce import evaluation
from conformance.reproduce.evaluation import Value
from conformance.reproduce.program import Program, specialize
from tests.drawing import drawn, fails
from tests.reproduce.test_program import result


class Drawing:
    """Draws the statements of a program whose every name has a value where it is read."""

    def __init__(self, draw: Any) -> None:
        self.draw = draw
        #: The functions so far, by the number of their arguments.
        self.functions: dict[str, int] = {}

    def pick(self, *options: Any) -> Any:
        return self.draw(st.sampled_from(options))

    def expression(self, names: list[str], depth: int = 2) -> str:
        kind = self.pick("number", "name", "name", *(("sum", "product", "choice", "call", "noted") if depth else ()))
        match kind:
            case "number":
                return str(self.pick(0, 1, 2, 3, -1))
            case "name":
                return str(self.pick(*names))
            case "sum" | "product":
                sign = "+" if kind == "sum" else "*"
                return f"({self.expression(names, depth - 1)} {sign} {self.expression(names, depth - 1)})"
            case "choice":
                first, second = (self.expression(names, depth - 1) for _ in range(2))
                return f"({first} if {self.test(names)} else {second})"
            case "noted":
                return f"noted({self.expression(names, depth - 1)})"
            case _ if not self.functions:
                return "N"
            case _:
                name = self.pick(*self.functions)
                given = [self.expression(names, depth - 1) for _ in range(self.functions[name])]
                return f"{name}({', '.join(given)})"

    def test(self, names: list[str]) -> str:
        return str(self.pick('BACKEND == "jax"', 'BACKEND != "jax"', "N > 2", f"{self.pick(*names)} > 1"))

    def block(self, names: list[str], count: int) -> list[str]:
        """Statements that read no other names than those, and whatever they give a value first."""
        names, lines = list(names), []
        for _ in range(count):
            kind = self.pick("assign", "assign", "if", "loop", "note")
            value = self.expression(names)
            match kind:
                case "assign":
                    name = self.pick("x", "y", "z")
                    lines.append(f"{name} = {value}")
                    names.append(name)
                case "if":
                    name = self.pick(*names)
                    name = name if name in "xyzab" else "x"
                    before = [] if name in names else [f"{name} = 0"]
                    names += [name] * bool(before)
                    lines += [*before, f"if {self.test(names)}:", f"    {name} = {value}"]
                    lines += self.pick([], ["else:", f"    {name} = {self.expression(names)}"])
                case "loop":
                    lines += ["z = 0", f"for i in range({self.pick(0, 1, 3)}):", f"    z = z + {value}"]
                    names.append("z")
                case _:
                    lines.append(f"noted({value})")
        self.last = names
        return lines

    def function(self, name: str) -> str:
        parameters = ["a", "b"][: self.pick(1, 2)]
        lines = self.block([*parameters, "N"], self.pick(0, 1, 2, 3))
        body = "\n".join([*lines, f"return {self.expression(self.last)}"])
        self.functions[name] = len(parameters)
        return f"def {name}({', '.join(parameters)}):\n{textwrap.indent(body, '    ')}\n"


HEAD = """BACKEND = ["jax"][0]
N = [3][0]
LOG = []
def noted(value):
    LOG.append(value)
    return value
"""


@st.composite
def programs(draw: Any) -> tuple[str, str]:
    """Draw definitions and what is done with them."""
    drawing = Drawing(draw)
    functions = [drawing.function(name) for name in ("f", "g", "h")[: drawing.pick(1, 2, 3)]]
    lines = drawing.block(["N"], drawing.pick(1, 2, 3, 4))
    return HEAD + "".join(functions), "\n".join([*lines, f"result = ({', '.join([*drawing.last, 'LOG'])})", ""])


def short(definitions: str, main: str) -> str:
    program = specialize(Program(definitions=definitions, main=main), {}, {"BACKEND": Value("jax")})
    return program.definitions + program.main


def does_the_same(program: tuple[str, str]) -> None:
    definitions, main = program
    text = short(definitions, main)
    assert repr(result(text)) == repr(result(definitions + main)), text
    assert "BACKEND ==" not in text


#: A branch of nothing but an assignment to itself, which a script leaves out: the block must stay one.
ITSELF = ("def f(a):\n    if N > 2:\n        a = a\n    return a\n", "x = f(1)\nresult = (x, LOG)\n")


@drawn(4)
@given(programs())
@example((HEAD + ITSELF[0], ITSELF[1]))
def test_a_program_made_short_does_what_it_did(program: tuple[str, str]) -> None:
    does_the_same(program)


def test_a_branch_taken_wrongly_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every comparison that can be decided is decided the other way: the property above is red."""
    right = evaluation.Value
    monkeypatch.setitem(globals(), "Value", lambda _: right("torch"))
    assert fails(does_the_same, programs())
