"""A frozen instance with other values is what `dataclasses.replace` makes of it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import pytest

from conformance.operations.frozen import replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Slotted:
    """As nearly all of ours are."""

    name: str
    size: int = 1
    kept: list[int] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Open:
    """With a dictionary of its own."""

    name: str
    size: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """Which refuses some values."""

    name: str
    size: int = 1

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError(self.size)


@pytest.mark.parametrize("instance", [Slotted(name="a"), Open(name="a"), Checked(name="a")])
def test_it_has_the_new_values_and_shares_the_others(instance: Slotted | Open | Checked) -> None:
    made = replace(instance, size=7)
    assert made == dataclasses.replace(instance, size=7)
    assert type(made) is type(instance)
    assert made.name is instance.name
    assert instance.size == 1


def test_what_an_instance_keeps_is_shared() -> None:
    instance = Slotted(name="a")
    assert replace(instance, size=2).kept is instance.kept


def test_it_stays_frozen() -> None:
    made = replace(Slotted(name="a"), size=2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.size = 3  # type: ignore[misc]


def test_a_field_that_there_is_not_is_refused() -> None:
    with pytest.raises(TypeError, match="sise"):
        replace(Slotted(name="a"), sise=2)


def test_what_a_class_checks_itself_is_checked() -> None:
    with pytest.raises(ValueError, match="-1"):
        replace(Checked(name="a"), size=-1)
