"""Long lines as several short ones that say the same."""

from __future__ import annotations

import ast

import pytest

from conformance.reproduce.text import parsed, unparsed
from conformance.reproduce.wrap import WIDTH

LONG = [
    f"x = np.array([{', '.join(str(number / 8) for number in range(60))}], 'float32').reshape(4, 15)",
    f"def f({', '.join(f'parameter_{number}' for number in range(12))}): return 1",
    f"x = {{{', '.join(f'name_{number}: value[{number}, :, 3]' for number in range(9))}, **others(of=many, more=1)}}",
    "return_value = some_function_of_a_long_name(x, y) if some_condition(x) and another_condition(y) else last(1)",
    "x = [f(inner, other) for inner, other in zip(first_of_two_long_names, second_of_two_long_names) if inner]",
    "y = (a_tuple_of_one_element_with_a_very_long_name_indeed_which_goes_on_and_on_until_the_line_is_too_long,)",
    "z = one_long_operand_of_a_sum[:, 1] - another_long_operand_of_a_sum[:, 2] * -a_third_long_operand_of_it",
    f"text = [{'f(1), ' * 30}'with words, if and for, (brackets] and = signs']",
]


@pytest.mark.parametrize("text", LONG)
def test_a_long_line_becomes_short_ones_of_the_same_meaning(text: str) -> None:
    wrapped = unparsed(parsed(text).body)
    assert ast.dump(ast.parse(wrapped)) == ast.dump(ast.parse(text))
    assert max(map(len, wrapped.splitlines())) <= WIDTH + 5 * ("goes_on" in text)


def test_what_is_inside_of_a_string_stays() -> None:
    text = 'x = """one\n\n  # two, (three\n"""\n'
    assert ast.dump(ast.parse(unparsed(parsed(text).body))) == ast.dump(ast.parse(text))


def test_bit_patterns_are_read_in_hexadecimal() -> None:
    assert unparsed(parsed("x = 0x9E3779B97F4A7C15").body) == "x = 0x9e3779b97f4a7c15\n"
