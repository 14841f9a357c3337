"""Each cut that makes a script short, and beside it what it must leave alone: a cut that changes what runs is red."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.reproduce.evaluation import Fields, Names, NotNone, Value
from conformance.reproduce.program import Program, specialize


def short(definitions: str, main: str, names: Names | None = None, constants: Names | None = None) -> str:
    """Return the program made short, as one text."""
    program = specialize(Program(definitions=definitions, main=main), names or {}, constants or {})
    return program.definitions + program.main


def result(text: str) -> Any:
    """Return what a text gives the name `result`."""
    names: dict[str, Any] = {}
    exec(compile(text, "short", "exec"), names)
    return names["result"]


def same(definitions: str, main: str, **names: Any) -> str:
    """Return the program made short, after seeing that it gives what it gave."""
    text = short(definitions, main, **names)
    assert repr(result(text)) == repr(result(definitions + "\n" + main)), text
    return text


BACKENDS = """
BACKEND = choose()
if BACKEND == "jax":
    import json as tool
elif BACKEND == "torch":
    import pickle as tool
def prepare(x):
    match BACKEND:
        case "torch" if x:
            return tool.loads(x)
        case "jax":
            return tool.dumps(x)
        case _:
            return x
"""


def test_a_constant_that_is_known_leaves_the_branch_of_its_value_and_that_import() -> None:
    text = short(BACKENDS, "result = prepare(y)\n", constants={"BACKEND": Value("jax")})
    assert text == "import json as tool\nresult = tool.dumps(y)\n"


def test_a_constant_of_another_value_takes_another_branch() -> None:
    assert "pickle" in short(BACKENDS, "result = prepare(y)\n", {"y": NotNone()}, {"BACKEND": Value("torch")})


def test_a_constant_that_is_not_known_keeps_every_branch() -> None:
    text = short(BACKENDS, "result = prepare(y)\n")
    assert all(word in text for word in ("choose()", "json", "pickle", "case _"))


KEPT = """
KEPT = {}
def prepare(layer, mode):
    key = (layer, mode)
    if key not in KEPT:
        KEPT[key] = layer, [mode]
    layer, step = KEPT[key]
    return step
"""


def test_what_was_kept_for_another_cell_is_not_asked_for() -> None:
    text = same(KEPT, 'result = prepare("a", "b")\n')
    assert "KEPT" not in text
    assert "key" not in text


def test_what_several_starts_share_stays_shared() -> None:
    """Read by more than one key, or by something that is no question, a dictionary is more than a cache."""
    assert "KEPT" in short(KEPT + "def size():\n    return len(KEPT)\n", 'live = prepare("a", "b")\nresult = size()\n')
    assert "KEPT" in short(KEPT, 'for number in range(9):\n    live = prepare("a", "b")\n')


def test_a_counter_of_cells_is_left_out_and_any_other_condition_stays() -> None:
    counter = (
        "import itertools\nCOUNT = itertools.count(1)\ndef go(x):\n    if next(COUNT) % 9 == 0:\n        forget()\n"
    )
    assert "forget" not in same(counter + "    return x\n", "result = go(3)\n")
    assert "forget" in short("def go(x):\n    if x % 9 == 0:\n        forget()\n    return x\n", "result = go(y)\n")


def test_a_function_called_once_stands_where_it_is_called() -> None:
    text = same("def twice(x):\n    y = x + x\n    return y * 1\n", "result = twice(4)\n")
    assert "def " not in text


@pytest.mark.parametrize(
    ("definitions", "main"),
    [
        # A local name is in use where the body is to stand.
        ("def f(a):\n    x = a + 1\n    x = x * 2\n    return x\n", "x = 10\nresult = f(x) + 0 * x\nresult = (result, x)\n"),
        ("def f(a):\n    x = a + 1\n    x = x * x\n    return x\n", "x = 10\ny = f(x)\nresult = (x, y)\n"),
        # A parameter is given another value, which its argument must not get.
        ("def f(a):\n    a = a + 1\n    return a\n", "x = 10\ny = f(x)\nresult = (x, y)\n"),
        # A comprehension's variable has the name of the argument.
        ("def f(a):\n    return [a for x in (1, 2)]\n", "x = 10\nresult = f(x)\n"),
        # The argument is evaluated once, and before what the function does.
        ("LOG = []\ndef g(x):\n    LOG.append(x)\n    return x\ndef f(a):\n    return (g(1), a, a)\n", "result = (f(g(2)), LOG)\n"),
        # It returns in two places.
        ("def f(a):\n    if a > N:\n        return 1\n    return 2\nN = [3][0]\n", "y = f(5)\nresult = y\n"),
        # It calls itself.
        ("def f(a):\n    return 1 if a < 1 else a * f(a - 1)\n", "y = f(5)\nresult = y\n"),
        # What is called may not be called at all.
        ("LOG = []\ndef g(x):\n    LOG.append(x)\n    return x\ndef f(a, b):\n    return a and b\n", "result = (f(0, g(2)), LOG)\n"),
        # A name of the file is another one inside of the caller.
        ("N = [2][0]\ndef f(a):\n    return a * N\ndef h(N):\n    return f(N) + N\n", "result = h(5) + h(6)\n"),
        # What a variable carries is asked for again.
        ("def f(a):\n    b = list(a)\n    c = b\n    c.append(1)\n    return b\n", "result = f([3])\n"),
        # It changes between the two statements that would be one.
        ("LOG = [1]\ndef f():\n    b = LOG[0]\n    LOG[0] = 5\n    return b + LOG[0]\n", "y = f()\nresult = y\n"),
    ],
)  # fmt: skip
def test_what_is_evaluated_stays_as_it_is(definitions: str, main: str) -> None:
    same(definitions, main)


SPACE = """
from types import SimpleNamespace
def start(layer):
    return SimpleNamespace(layer=layer, mode="eager", count=0, log=[])
def train(live, x):
    live.log = [x]
    return (live.layer, live.mode, x)
"""


def test_fields_that_nothing_reads_are_left_out_and_those_of_one_value_are_that_value() -> None:
    text = same(SPACE, 'live = start("a")\nresult = [train(live, 1), train(live, 2)]\n')
    assert [word for word in ("log", "count", "mode") if word in text] == []


def test_fields_that_are_read_by_their_dictionary_stay() -> None:
    assert "count" in same(SPACE, 'live = start("a")\nresult = [train(live, 1), train(live, 2), vars(live)]\n')


def test_a_field_that_is_given_another_value_is_not_folded() -> None:
    changing = SPACE + "def change(live):\n    live.mode = live.mode + live.mode\n"
    same(changing, 'live = start("a")\nchange(live)\nresult = [train(live, 1), train(live, 2)]\n')


def test_what_is_known_of_a_configuration_is_worked_in() -> None:
    known: Names = {"configuration": Fields((("axes", (0, 2)), ("scale", True)))}
    text = short("def f(configuration, x):\n    return x.sum(configuration.axes) if configuration.scale else x\n",
                 "result = f(configuration, x)\n", known)  # fmt: skip
    assert text == "result = x.sum((0, 2))\n"


def test_comments_stay_with_what_they_are_above_and_go_with_it() -> None:
    definitions = (
        "# Of f.\ndef f(x):\n    # Why.\n    y = x + N\n    return y  # at last\n\n\n# Of g.\ndef g():\n    pass\n"
    )
    text = short(definitions, "result = f(1) + f(2)\n")
    assert [word in text for word in ("# Of f.", "    # Why.", "    # at last", "# Of g.")] == [True, True, True, False]
