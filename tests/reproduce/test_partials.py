"""What `functools.partial` adds to a call is worked into the call, and what it may not be worked into stays."""

from __future__ import annotations

import pytest

from tests.reproduce.test_program import same, short

HEAD = "import functools\nLOG = []\ndef f(a, b, c=0):\n    LOG.append(a)\n    return a + b * c + a\n"


def test_a_partial_that_is_only_called_is_the_function() -> None:
    text = same(HEAD, "g = functools.partial(f, 1, c=2)\nresult = (g(3), g(4, c=5), LOG)\n")
    assert "partial" not in text


def test_what_a_partial_holds_is_evaluated_where_it_was_made() -> None:
    text = same(HEAD, "LOG.append(7)\ng = functools.partial(f, LOG.pop())\nLOG.append(8)\nresult = (g(3), LOG)\n")
    assert "partial" not in text


@pytest.mark.parametrize(
    "main",
    [
        # It is passed on, and so is another.
        "g = functools.partial(f, 1)\nresult = [list(map(h, (1, 2))) for h in (g, functools.partial(f, 2))]\n",
        # It is two things.
        "g = functools.partial(f, 1)\ny = g(1)\ng = functools.partial(f, 2)\nresult = (y, g(1))\n",
    ],
)
def test_a_partial_that_is_more_than_its_calls_stays(main: str) -> None:
    assert "partial" in same(HEAD, main)


def test_what_a_partial_holds_is_what_it_was_when_it_was_made() -> None:
    same(HEAD, "x = len(LOG)\ng = functools.partial(f, x)\nx = 10\nresult = (g(3), g(x))\n")


def test_what_the_only_partial_of_a_function_holds_is_worked_into_it() -> None:
    text = same(HEAD, "x = 4\nx2 = x + LOG.count(0)\nresult = list(map(functools.partial(f, x2), (1, 2)))\n")
    assert "map(f, (1, 2))" in text
    assert "x2 + b" in text


def test_what_a_loop_gives_a_name_again_is_not_worked_in() -> None:
    main = "steps = []\nfor x in (1, 2):\n    steps.append(functools.partial(f, x))\nresult = [step(1) for step in steps]\n"
    assert "partial(f, x)" in same(HEAD, main)


def test_a_function_whose_own_name_hides_what_a_partial_holds_is_left_alone() -> None:
    hidden = "import functools\ndef f(a, b):\n    x = b + 1\n    return [a, x, x]\n"
    assert "partial(f, x)" in same(hidden, "x = list((4,))\nresult = list(map(functools.partial(f, x), (1, 2)))\n")


def test_the_native_call_stays_as_the_record_has_it() -> None:
    assert "native = functools.partial(f, 1)" in short(
        HEAD, "native = functools.partial(f, 1)\nresult = native(native(2))\n"
    )


def test_a_partial_of_the_file_of_what_a_library_has_is_that_with_what_it_holds() -> None:
    head = "import functools, math\nNEAR = functools.partial(math.isclose, abs_tol=0.5)\ndef f(x):\n    return NEAR(x, 1.25)\n"
    assert same(head, "result = f(1.0)\n").endswith("result = math.isclose(1.0, 1.25, abs_tol=0.5)\n")
    assert "NEAR" in same(head, "result = (f(1.0), list(map(NEAR, [1.0], [3.0])))\n")
