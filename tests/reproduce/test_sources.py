"""The files of an adapter as one text."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.errors import UsageError
from conformance.reproduce.sources import chained, foreign
from conformance.runfile.structs import EnvironmentLine
from conformance.spec.locations import adapter_files

NATIVE = '''"""What rows share."""

from __future__ import annotations

import numpy as np


def twice(x: np.ndarray) -> np.ndarray:
    # Exact.
    return 2 * x
'''
LAYER = '''"""A row."""

from __future__ import annotations

import numpy as np

from conformance_adapters.fake._native import twice

PROCESSES = "fake"


def four_times(x: np.ndarray) -> np.ndarray:
    return twice(twice(x))


ADAPTER = None
'''


def environment(**sources: str) -> EnvironmentLine:
    texts = {f"conformance_adapters.fake.{name}": text for name, text in sources.items()}
    return EnvironmentLine(id="fake", adapter="fake/layer.py", sources=texts)


def test_the_chain_is_one_program_that_needs_none_of_the_files() -> None:
    text = chained(environment(_native=NATIVE, layer=LAYER))
    assert "conformance_adapters" not in text
    assert "# Exact." in text
    names: dict[str, Any] = {}
    exec(compile(text, "chained", "exec"), names)
    assert names["four_times"](3) == 12


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "def twice(x):\n    return x\n",
            "'twice' is of conformance_adapters.fake._native and of conformance_adapters.fake.layer",
        ),
        ("from math import floor as np\n", "'np' is of numpy and of math.floor"),
        ("np = 3\n", "'np' is of numpy and of conformance_adapters.fake.layer"),
    ],
)
def test_a_name_of_two_meanings_is_refused(text: str, said: str) -> None:
    """The later would silently take the place of the earlier."""
    with pytest.raises(UsageError) as caught:
        chained(environment(_native=NATIVE, layer=text))
    assert said in str(caught.value)


def test_the_same_import_in_both_is_no_second_meaning() -> None:
    assert chained(
        environment(_native="import a.b\nfrom c import d\n", layer="import a\nimport a.c\nfrom c import d\n")
    )


def test_an_import_by_condition_gives_the_meaning_of_any_other() -> None:
    """Keras's adapters import the library of their backend."""
    by_condition = "if X:\n    import a.b as c\nelif Y:\n    import d\n"
    assert chained(environment(_native=by_condition, layer="import a.b as c\nimport d\n"))
    with pytest.raises(UsageError, match=r"'c' is of a\.b and of d"):
        chained(environment(_native=by_condition, layer="import d as c\n"))


def test_code_that_the_suite_does_not_ship_is_named() -> None:
    shipped = adapter_files()[0]
    name = f"conformance_adapters.{shipped.parent.name}.{shipped.stem}"
    text = shipped.read_text(encoding="utf-8")
    told = {name: text, "conformance_adapters.fake.layer": LAYER}
    line = EnvironmentLine(id="fake", adapter="fake/layer.py", sources=told)
    assert foreign(line) == ("conformance_adapters.fake.layer",)
    assert foreign(EnvironmentLine(id="fake", adapter="fake/layer.py", sources={name: text + "\n"})) == (name,)
