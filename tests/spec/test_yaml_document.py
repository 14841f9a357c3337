"""A YAML document is plain values, each with its place."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from conformance.errors import SpecError
from conformance.spec.budgets import DEPTH
from conformance.spec.yaml_document import load, parse


def value(text: str) -> Any:
    return parse(text, "spec.yaml").value


def complaint(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        parse(text, "spec.yaml")
    return str(caught.value)


# The right-hand sides are those of YAML 1.2.2, section 10.3.2, not of PyYAML's 1.1.
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-5", 1e-5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("-2.", -2.0),
        ("+12", 12),
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("true", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("no", "no"),
        ("on", "on"),
        ("yes", "yes"),
        ("inf", "inf"),
        ("nan", "nan"),
        ("1_000", "1_000"),
        ("0b1", "0b1"),
        ("12:30:45", "12:30:45"),
        ("2001-12-14", "2001-12-14"),
        ("=", "="),
    ],
)
def test_plain_scalars_follow_yaml_1_2(text: str, expected: object) -> None:
    found = value(f"key: {text}\n")["key"]
    assert (type(found), found) == (type(expected), expected)


def test_nan_is_a_number() -> None:
    assert math.isnan(value("[.nan]")[0])


@pytest.mark.parametrize("text", ["'1e-5'", '"1e-5"', "|-\n  1e-5", ">-\n  1e-5"])
def test_a_quoted_or_block_scalar_stays_text(text: str) -> None:
    assert value(f"key: {text}\n") == {"key": "1e-5"}


def test_keys_are_text() -> None:
    assert value("1: a\ntrue: b\n") == {"1": "a", "true": "b"}


def test_an_empty_file_is_none() -> None:
    assert value("") is None


def test_duplicate_keys_are_refused_with_line_and_column() -> None:
    assert complaint("a: 1\nb:\n  c: 1\n  c: 2\n") == "spec.yaml:4:3: c: stands twice in this mapping"


def test_a_quoted_key_is_a_duplicate_of_a_plain_one() -> None:
    assert complaint('a: 1\n"a": 2\n') == "spec.yaml:2:1: a: stands twice in this mapping"


def test_a_python_tag_is_refused_and_not_run(tmp_path: Path) -> None:
    made = tmp_path / "made"
    message = complaint(f"a: !!python/object/apply:os.system ['touch {made}']\n")
    assert message.startswith("spec.yaml:1:4: the tag tag:yaml.org,2002:python/object/apply:os.system is refused")
    assert not made.exists()


# Reading `!!str 5` as a number, or `!!int "5"` as text, would be a silent misreading.
@pytest.mark.parametrize("text", ["a: !!str 5", 'a: !!int "5"', "a: ! 5", "!!omap [a: 1]", "a: !own {}", "!!set {a}"])
def test_every_tag_is_refused(text: str) -> None:
    assert "is refused: only plain values may stand here" in complaint(text)


def test_an_alias_stands_for_its_anchor() -> None:
    assert value("a: &x [1, 2]\nb: *x\n") == {"a": [1, 2], "b": [1, 2]}


def test_an_alias_bomb_is_refused_in_one_line() -> None:
    bomb = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
    bomb += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    message = complaint(bomb)
    assert message.endswith("expands to more than 200,000 values")
    assert "\n" not in message


@pytest.mark.parametrize("text", ["&a [*a]", "&a [*a, *a]", "a: &x\n  b: *x\n", "&a [[*a], {k: *a}]"])
def test_an_alias_of_itself_is_refused_in_one_line(text: str) -> None:
    message = complaint(text)
    assert message.endswith(f"expands to more than {DEPTH} levels")
    assert "\n" not in message


# libyaml's composer recurses without a limit: the third of these used to end the process.
@pytest.mark.parametrize("text", ["[" * 50, "{a: " * 1000, "[" * 100_000, "- " * 100_000])
def test_deep_nesting_is_refused(text: str) -> None:
    assert f"nests more than {DEPTH} levels" in complaint(text)


@pytest.mark.parametrize("depth", [DEPTH + 1, 60, 1_000])
def test_a_parser_that_refuses_deep_nesting_itself_before_any_event_leaves_the_message_ours(
    depth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    parse = yaml.parse

    def strict(text: str, Loader: Any) -> Iterator[yaml.Event]:
        if len(text) > depth:
            raise yaml.scanner.ScannerError(problem="too much", problem_mark=yaml.Mark("", depth, 0, depth, "", 0))
        return iter(parse(text, Loader=Loader))

    monkeypatch.setattr(yaml, "parse", strict)
    message = complaint("[" * 2_000)
    assert message == f"spec.yaml:1:{DEPTH + 1}: nests more than {DEPTH} levels"


def test_what_else_the_parser_refuses_keeps_its_words_and_its_place() -> None:
    assert complaint("a: [1, 2]\nb: ]\n").startswith("spec.yaml:2:4: not YAML: ")


def test_nesting_up_to_the_limit_is_read() -> None:
    assert value("[" * DEPTH + "]" * DEPTH)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a:\n\t- 1\n", "spec.yaml:2:1: not YAML: "),
        ("a: [1, 2\nb: 3\n", "spec.yaml:2:2: not YAML: "),
        ("a: 'open\n", "spec.yaml:2:1: not YAML: "),
        ("a: *missing\n", "spec.yaml:1:4: not YAML: "),
        ("a: 1\n---\nb: 2\n", "spec.yaml:2:1: not YAML: "),
        ("? [1]\n: 2\n", "spec.yaml:1:3: a key must be a plain word"),
        ("<<: {a: 1}\n", "spec.yaml:1:1: a key must be a plain word"),
    ],
)
def test_what_is_no_plain_yaml_is_refused_with_line_and_column(text: str, place: str) -> None:
    message = complaint(text)
    assert message.startswith(place)
    assert "\n" not in message


def test_a_control_character_is_refused_in_one_line() -> None:
    message = complaint("a: \x00")
    assert message.startswith("spec.yaml:1:1: not YAML: ")
    assert "\n" not in message


def test_an_integer_of_five_thousand_digits_is_refused_with_its_place() -> None:
    assert complaint(f"a: {'9' * 5000}").startswith("spec.yaml:1:4: not a number to read")


def test_an_absent_file_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"^absent\.yaml:1:1: cannot be read: "):
        load(tmp_path / "absent.yaml", "absent.yaml")


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "latin.yaml"
    file.write_bytes("ä: ö".encode("latin-1"))
    with pytest.raises(SpecError, match="cannot be read"):
        load(file)


def test_a_value_knows_its_place() -> None:
    document = parse("a:\n  - 1\n  - b: 2\n", "spec.yaml")
    assert str(document.place(("a", 1, "b"))) == "spec.yaml:3:5"


def test_a_path_that_the_file_lacks_has_the_place_of_its_parent() -> None:
    document = parse("a:\n  - 1\n  - b: 2\n", "spec.yaml")
    assert str(document.place(("a", 1, "missing", 0))) == "spec.yaml:3:5"


def test_an_error_at_a_path_names_place_and_key() -> None:
    document = parse("a:\n  b: 1\n", "spec.yaml")
    assert str(document.error(("a", "b"), "is wrong")) == "spec.yaml:2:3: a.b: is wrong"


def test_a_file_of_too_many_bytes_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    file = tmp_path / "large.yaml"
    file.write_text("#" * (4 * 2**20 + 1))
    with pytest.raises(SpecError, match="has more than 4 MiB"):
        load(file)


def test_too_many_values_are_refused_before_they_are_composed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conformance.spec.yaml_document.yaml.compose", None)
    assert complaint("[" + "1," * 700_000 + "]").endswith("has more than 200,000 values")
