"""Numbers as people type and paste them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from conformance.answers.typed_numbers import of_file, typed
from conformance.errors import UsageError


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.7952,4.1749", [0.7952, 4.1749]),
        ("[[1], [5]]", [[1.0], [5.0]]),
        ("(1, 2)", [1.0, 2.0]),
        ("3", 3.0),
        ("-1e-3", -1e-3),
        ("[[0.79519051]\n [4.17485714]]", [[0.79519051], [4.17485714]]),
        ("array([1., 2.5], dtype=float32)", [1.0, 2.5]),
        ("tensor([[1.5, 2.0]], device='cuda:0', grad_fn=<AddBackward0>)", [[1.5, 2.0]]),
        ("np.array([1, 2])", [1.0, 2.0]),
    ],
)
def test_lists_and_what_libraries_print_are_read(text: str, values: object) -> None:
    assert typed("--data", text).values.tolist() == values


def test_numbers_that_are_none_are_read_too() -> None:
    assert np.isnan(typed("--got", "nan, inf").values).tolist() == [True, False]


@pytest.mark.parametrize(
    ("text", "slack"), [("0.7952", 5e-5), ("1.50", 5e-3), ("2.5e-3", 5e-5), ("-1", 0.0), ("1.", 0.0)]
)
def test_half_a_unit_of_the_last_digit_is_left_open_and_nothing_of_a_whole_number(text: str, slack: float) -> None:
    assert typed("--got", text).slack == pytest.approx(slack)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "expected numbers"),
        ("one", "expected numbers, such as '[[1], [5]]', got 'one'"),
        ("[1, [2", "its brackets do not match"),
        ("[1]]", "its brackets do not match"),
        ("[[1, 2], [3]]", "expected rows of the same length"),
        ("1; import os", "got '; import os'"),
        ("1e400", "expected numbers that float64 holds, got '1e400'"),
        ("1e-400", "expected numbers that float64 holds, got '1e-400'"),
        ("9" * 400, "expected numbers that float64 holds, got '9999"),
        ("٣", "expected numbers, such as"),
    ],
)
def test_what_is_no_number_is_one_line_that_names_the_option(text: str, complaint: str) -> None:
    with pytest.raises(UsageError) as raised:
        typed("--data", text)
    assert str(raised.value).startswith("--data: ")
    assert complaint in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_file_of_numpy_s_is_read(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([[1, 2]], dtype=np.int32))
    assert of_file("--npy", tmp_path / "x.npy").tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize("content", [b"", b"text", None])
def test_a_file_that_is_none_is_one_line(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=r"--npy .*: cannot be read"):
        of_file("--npy", path)


def test_objects_in_a_file_are_never_made(tmp_path: Path) -> None:
    """They would be pickled, and what is pickled runs."""
    np.save(tmp_path / "x.npy", np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(UsageError, match="cannot be read"):
        of_file("--npy", tmp_path / "x.npy")
