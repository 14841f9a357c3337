"""What follows from the literals of a case is written as its value; what does not is left to the script."""

from __future__ import annotations

import pytest

from conformance.reproduce.evaluation import Fields, Names
from tests.reproduce.test_program import short

KNOWN: Names = {"configuration": Fields((("shape", (4, 3)), ("axes", (0,)), ("options", {"shards": [2, 2]})))}


@pytest.mark.parametrize(
    ("expression", "written"),
    [
        ("configuration.shape[0]", "4"),
        ("len(configuration.options['shards'])", "2"),
        ("configuration.options.get('parts', configuration.shape[0])", "4"),
        ("'parts' in configuration.options", "False"),
        ("math.prod(configuration.shape) * 2", "24"),
        ("[1 if a in configuration.axes else n for a, n in enumerate(configuration.shape)]", "[1, 3]"),
        # Nothing is said of what is not known, of what is stored, and of what is an error.
        ("configuration.shape[y]", "(4, 3)[y]"),
        ("configuration.shape[7]", "(4, 3)[7]"),
        ("open(configuration.shape)", "open((4, 3))"),
        ("9 ** configuration.shape[0]", "9 ** 4"),
    ],
)
def test_an_expression_of_known_literals_is_its_value(expression: str, written: str) -> None:
    text = short(
        f"import math\ndef f(configuration):\n    return g({expression})\n", "result = f(configuration)\n", KNOWN
    )
    assert text.splitlines()[-1] == f"result = g({written})"


def test_a_list_is_not_put_in_several_places() -> None:
    head = "def f(configuration):\n    sizes = list(configuration.shape)\n    sizes.append(g())\n    return sizes\n"
    assert "sizes.append" in short(head, "result = f(configuration)\n", KNOWN)


def test_an_entry_of_a_table_stands_for_its_key_where_nothing_asks_for_the_whole_table() -> None:
    table = "TYPES = {'a': m.A, 'b': m.B}\ndef f(x):\n    return g(TYPES['b'], x)\n"
    assert short(table, "result = f(y)\n") == "result = g(m.B, y)\n"
    assert "TYPES" in short(table, "result = (f(y), len(TYPES))\n")
