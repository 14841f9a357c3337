"""Whatever a person gives wrongly is met with one line and exit code 2, at once, and nothing is left behind."""

from __future__ import annotations

import random

import pytest

from tests.bad_inputs.bad_input import BadInput
from tests.bad_inputs.command_lines import options
from tests.bad_inputs.trying import everything, tried
from tests.bad_inputs.wrong_words import BY_METAVAR, wrong_values

#: Of every run, drawn anew from all of them when there are others.
FEW = 60


def failures(inputs: list[BadInput]) -> list[str]:
    return [f"{' '.join(bad.kind)} {bad.value[:60]!r}: {fault}" for bad, fault in tried(inputs) if fault]


def test_every_option_that_takes_a_value_is_given_wrong_ones() -> None:
    """A new option whose value is of no kind that is known here would be tried by nobody."""
    assert [
        (command, name) for command, name, metavar, _ in options() if not wrong_values(command, name, metavar)
    ] == []


def test_there_are_more_than_five_hundred_of_each_and_each_is_another() -> None:
    inputs = everything()
    assert sum(not bad.is_file for bad in inputs) > 500
    assert sum(bad.is_file for bad in inputs) > 500
    assert len({(bad.words, bad.text) for bad in inputs}) == len(inputs)
    assert {metavar for _, _, metavar, _ in options()} >= BY_METAVAR.keys()


def test_some_wrong_inputs_are_met_with_one_line() -> None:
    assert failures(random.Random(18).sample(everything(), FEW)) == []


@pytest.mark.search
def test_every_wrong_input_is_met_with_one_line() -> None:
    assert failures(list(everything())) == []
