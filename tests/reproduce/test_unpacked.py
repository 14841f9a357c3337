"""The fields of what a start returns become variables, where nothing asks for the whole of it."""

from __future__ import annotations

from tests.reproduce.test_program import same

START = """
from types import SimpleNamespace
LOG = []
def start(layer):
    LOG.append(layer)
    return SimpleNamespace(layer=layer, step=len(LOG), gradients={})
def train(live, x):
    live.gradients = {"x": x + live.step}
    live.step += 1
    return (live.layer, live.step, x)
"""


def test_fields_are_variables_where_every_use_is_of_a_field() -> None:
    text = same(START, 'live = start("a")\nresult = (train(live, 1), live.gradients)\n')
    assert [word for word in ("SimpleNamespace", "live", "def ") if word in text] == []


def test_a_field_keeps_clear_of_names_in_use() -> None:
    text = same(START, 'layer = "b"\nlive = start("a")\nresult = (layer, layer, train(live, 1), live.gradients)\n')
    assert "SimpleNamespace" not in text


def test_a_namespace_that_is_asked_for_as_a_whole_stays() -> None:
    assert "SimpleNamespace" in same(START, 'live = start("a")\nresult = (train(live, 1), len(vars(live)))\n')


def test_two_starts_stay_two_namespaces() -> None:
    main = 'live = start("a")\nfirst = train(live, 1)\nlive = start("b")\nresult = (first, train(live, 1), live.step)\n'
    assert "SimpleNamespace" in same(START, main)


def test_a_value_that_is_given_another_before_it_is_read_is_left_out() -> None:
    assert "{}" not in same(START, 'live = start("a")\nresult = (train(live, 1), live.gradients)\n')
