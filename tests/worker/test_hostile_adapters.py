"""The table of what an adapter must not declare or give, a kind a row: each is one line that says what and where.

Kinds that end a process, or leave something behind in it, are in `tests/execution` and `tests/run`, where they do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from conformance.errors import UsageError
from conformance.planning.offer import offer_from
from conformance.protocol import Adapter, Call, Declared, Implementation
from conformance.worker import wire
from conformance.worker.given import UnfitError, count_of, quantities_of, reason_of, state_of
from conformance.worker.offer import describe, named
from tests.fake_cells import key


def function(*_: Any, **__: Any) -> Any:
    """Stand for every function of an implementation."""


DECLARED = Declared(field="empty_batch", value="error", source="documentation", where="a page", error="ValueError")
LAYER = Implementation(
    name="own.Layer",
    op="batch_norm",
    profile=(DECLARED,),
    modes=("eager",),
    dtypes=("float32",),
    supports=function,
    call=lambda configuration: Call(path="own.Layer", keywords={}),
    start=function,
    state=function,
    steps={"train": function},
)
OWN = Adapter(library="own", versions={"own": "1"}, implementations=(LAYER,))


def declared(**changed: Any) -> Declared:
    """Return a declaration whose fields are of any type: what an adapter's author may write."""
    return replace(DECLARED, **changed)


def complaint(adapter: Any) -> str:
    """Return what is said of a declaration on its way from the adapter's file to the run; empty where it is taken."""
    module = ModuleType("own")
    module.__file__ = __file__
    vars(module)["ADAPTER"] = adapter
    try:
        described = wire.take(bytearray(wire.encode(describe(named(module, "ADAPTER"), Counter(), module))))
        offer_from(key(), described, {}, 0)
    except (UnfitError, UsageError) as error:
        return str(error)
    return ""


#: Field of the implementation -> what it must not be, with a part of what is said.
OF_LAYER: dict[str, list[tuple[Any, str]]] = {
    "name": [
        *((name, "cannot be the name") for name in (
            "", " ", "a/b", "a::b", "a<b", "a\nb", "a\tb", "ü", "x" * 101, "../../x", "a b", "-a", "a,b", "a[b]", "a*b", "a=b",
            "\x1b[2J", "a'b", ".",
        )),
        *((name, "name: gave ") for name in (None, 3, b"own", ["own"], np.array(["own"]))),
    ],
    "op": [("bath_norm", "did you mean batch_norm?"), ("", "op: '' is unknown"), (None, "op: gave None"), (3, "op: gave int")],
    "modes": [
        (("egaer",), "did you mean eager?"), ((), "modes: expected some of"), ("eager", "modes: gave the text"),
        (["eager"], "modes: gave list"), ((1,), "modes: gave int"), (None, "modes: gave None"), (np.array(["eager"]), "gave an array"),
    ],
    "devices": [(("cuda",), "devices: 'cuda' is unknown"), ((), "devices: expected some of"), ("cpu", "devices: gave the text")],
    "dtypes": [
        (("float33",), "did you mean float32?"), ((), "dtypes: expected some of"), ((np.float32,), "dtypes: gave type"),
        (("x" * 3_000,), "dtypes"), ("float32", "dtypes: gave the text"),
    ],
    "lacks": [(("outptu",), "did you mean output?"), (None, "lacks: gave None"), ("output", "lacks: gave the text")],
    "profile": [
        (None, "profile: gave None"), ([DECLARED], "profile: gave list"), (("x",), "profile: gave the text 'x'"),
        ((declared(field="emtpy_batch"),), "did you mean empty_batch?"), ((declared(value="sometimes"),), "expected one of"),
        ((declared(value=None),), "gave None"), ((declared(value=[1]),), "gave list"),
        ((declared(where=None),), "where: gave None"), ((declared(source="rumour"),), "source"),
        ((declared(ranks=[2]),), "ranks: gave list"), ((declared(ranks=("2",)),), "ranks: gave the text"),
        ((declared(error=3),), "error: gave int"), ((declared(where="x" * 3_000),), "where"),
    ],
    "documentation": [(None, "documentation: gave None"), (3, "documentation: gave int"), ("x" * 3_000, "documentation")],
    "supports": [(None, "supports: gave None"), ("yes", "supports: gave the text"), (True, "supports: gave bool")],
    "call": [(None, "call: gave None"), ("torch.nn", "call: gave the text")],
    "start": [(None, "start: gave None"), ({}, "start: gave dict")],
    "state": [(None, "state: gave None"), ({}, "state: gave dict")],
    "compilations": [(3, "compilations: gave int"), ("1", "compilations: gave the text")],
    "steps": [
        (None, "steps: gave None"), ([function], "steps: gave list"), ({}, "steps: expected some of"), ({1: function}, "steps: gave int"),
        ({"trian": function}, "did you mean train?"), ({"train": None}, "train: gave None"), ({"train": 3}, "train: gave int"),
    ],
    "timed": [(None, "timed: gave None"), ({"get": function}, "`timed` has no put, wait"), ({"gte": function}, "did you mean get?")],
    "names": [
        (None, "names: gave None"), ({"gamma": object()}, "names: gamma: gave object"), ({1: "weight"}, "names: gave int"),
        ({"gamma": ["weight"]}, "names: gamma: gave list"), ({"gamma": "x" * 3_000}, "names"),
    ],
}  # fmt: skip
#: The same of the adapter.
OF_ADAPTER: dict[str, list[tuple[Any, str]]] = {
    "library": [(None, "library: gave None"), (3, "library: gave int"), ("", "library"), ("x" * 101, "library")],
    "versions": [
        (None, "versions: gave None"), (["1"], "versions: gave list"), ({"own": object()}, "own: gave object"), ({1: "1"}, "gave int"),
        ({"own": None}, "own: gave None"), ({"own": np.zeros(3)}, "own: gave an array"), ({"own": "x" * 3_000}, "versions"),
    ],
    "settings": [(None, "settings: gave None"), ({"tf32": np.zeros(3)}, "tf32: gave an array"), ({"x": [1]}, "x: gave list")],
    "pool": [(3, "pool: gave int"), (b"x", "pool: gave bytes")],
    "compiling": [(3.0, "compiling: gave float"), (list, "compiling(): gave list, expected seconds")],
    "implementations": [
        ((), "gave none"), ([LAYER], "implementations: gave list"), ((None,), "implementations: gave None"), (None, "gave None"),
        (("own.Layer",), "gave the text"), ((LAYER, LAYER), "is the name of 2 implementations"),
        (tuple(replace(LAYER, name=f"own.{number}") for number in range(1_001)), "1000"),
    ],
}  # fmt: skip
NO_ADAPTERS: list[Any] = [None, 3, "own", {}, Adapter, LAYER, [OWN]]


def rows(table: dict[str, list[tuple[Any, str]]]) -> list[Any]:
    return [
        pytest.param(field, value, said, id=f"{field}-{number}")
        for field, kinds in table.items()
        for number, (value, said) in enumerate(kinds)
    ]


def test_a_sound_declaration_is_taken() -> None:
    assert complaint(OWN) == ""


@pytest.mark.parametrize(("field", "value", "said"), rows(OF_LAYER))
def test_what_an_implementation_must_not_declare_is_one_line(field: str, value: Any, said: str) -> None:
    told = complaint(replace(OWN, implementations=(replace(LAYER, **{field: value}),)))
    assert said in told
    assert one_short_line(told)


@pytest.mark.parametrize(("field", "value", "said"), rows(OF_ADAPTER))
def test_what_an_adapter_must_not_declare_is_one_line(field: str, value: Any, said: str) -> None:
    told = complaint(replace(OWN, **{field: value}))
    assert said in told
    assert one_short_line(told)


@pytest.mark.parametrize("value", NO_ADAPTERS, ids=lambda value: type(value).__name__)
def test_what_is_no_adapter_is_one_line(value: Any) -> None:
    told = complaint(value)
    assert "expected a conformance.protocol.Adapter" in told
    assert one_short_line(told)


class Unspeakable:
    """A thing of a library that says nothing of itself."""

    def __repr__(self) -> str:
        raise RuntimeError("no text")


NAMES = ("output", "moving_mean")
#: What a step must not give in place of an array of numbers.
NO_NUMBERS = [
    None, object(), Unspeakable(), "text", "", b"bytes", {1.0}, {"a": 1.0}, 10**400, ["a"], [None], lambda: 1.0,
    np.array(["a"]), np.array([b"a"]), np.array([None]), np.zeros(3, [("a", "f4")]), np.zeros(3, "datetime64[s]"), np.zeros(3, "V4"),
]  # fmt: skip
#: What a step must not give in place of quantities by name.
NO_QUANTITIES = [3, 1.5, "output", b"", [1.0], (1.0, 2.0), np.zeros(3), object(), Unspeakable(), True, {"output"}]
#: What no quantity is called.
NO_NAMES = ["outptu", "", "OUTPUT", "output ", "x" * 5_000, "\ud800", 3, None, b"output", ("output",)]
#: What `state` must not give in place of an array of NumPy.
NO_STATE = [
    None,
    1.0,
    [1.0],
    (1.0,),
    "text",
    object(),
    Unspeakable(),
    True,
    {"a": 1.0},
    np.array([None]),
    np.zeros(3, [("a", "f4")]),
]
NO_COUNTS = [None, True, -1, 1.5, "1", b"1", np.zeros(3), [1], object(), Unspeakable()]
NO_REASONS = [True, False, 0, 1, "", "  ", "\n", b"no", [], ["no"], np.zeros(3), object(), Unspeakable()]


@pytest.mark.parametrize(
    ("check", "given"),
    [
        *((quantities_of, {"output": value}) for value in NO_NUMBERS),
        *((quantities_of, value) for value in NO_QUANTITIES),
        *((quantities_of, {name: np.zeros(3)}) for name in NO_NAMES),
        *((state_of, {"moving_mean": value}) for value in NO_STATE),
        *((state_of, value) for value in (None, *NO_QUANTITIES)),
        *((state_of, {name: np.zeros(3)}) for name in NO_NAMES),
    ],
)
def test_what_a_function_must_not_give_is_one_line(check: Callable[..., Any], given: Any) -> None:
    with pytest.raises(UnfitError) as caught:
        check(given, NAMES)
    assert one_short_line(str(caught.value))


@pytest.mark.parametrize("given", NO_COUNTS, ids=lambda value: type(value).__name__)
def test_what_is_no_number_of_graphs_is_one_line(given: Any) -> None:
    with pytest.raises(UnfitError, match="expected a number of graphs") as caught:
        count_of(given)
    assert one_short_line(str(caught.value))


@pytest.mark.parametrize("given", NO_REASONS, ids=lambda value: type(value).__name__)
def test_what_is_no_reason_is_one_line(given: Any) -> None:
    with pytest.raises(UnfitError, match="expected None or a reason") as caught:
        reason_of(given, "own.Layer")
    assert one_short_line(str(caught.value))


def one_short_line(text: str) -> bool:
    """Return whether a text is one line that a person reads to its end."""
    return "\n" not in text and len(text) < 500
