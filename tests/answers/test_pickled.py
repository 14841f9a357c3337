"""Pickles of PyTorch, read without an unpickler."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest

from conformance.answers.pickled import Named, Storage, Tensor, value_of


class Calling:
    """Unpickled, it would run a command."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def rebuilt(storage: str, arguments: str) -> bytes:
    """Return the pickle of a tensor: the call of PyTorch's own function, with a storage that is named."""
    return (f"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n({storage}{arguments}tR.").encode("latin-1")


STORAGE = "(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x04tQ"


def test_plain_values_come_back() -> None:
    """What a checkpoint has beside its tensors: numbers, texts, lists, tuples, and the same thing in two places."""
    shared = {"a": [1, 300, 70000, -5, 10**12, 0.5, True, None], 3: ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4))}
    value = {"one": shared, "two": shared, "list": [[]]}
    assert value_of(pickle.dumps(value, protocol=2)) == value


def test_a_tensor_names_its_storage() -> None:
    tensor = value_of(rebuilt(STORAGE, "K\x01K\x03\x85K\x01\x85\x89ccollections\nOrderedDict\n)R"))
    assert tensor == Tensor(storage=Storage(kind="FloatStorage", key="0", size=4), offset=1, shape=(3,), strides=(1,))


def test_an_ordered_mapping_is_a_mapping_and_the_rest_of_it_is_left_out() -> None:
    """PyTorch keeps the versions of the layers beside it."""
    assert value_of(b"\x80\x02ccollections\nOrderedDict\n)R}X\x01\0\0\0aK\x01sb.") == {}


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_a_call_is_refused_and_never_made(protocol: int, tmp_path: Path) -> None:
    """Whatever the protocol; what Python's own unpickler does with it shows that it would have been."""
    content = pickle.dumps({"bn.weight": Calling(f"touch {tmp_path / 'called'}")}, protocol=protocol)
    with pytest.raises(ValueError, match=r"calls posix\.system|opcode"):
        value_of(content)
    assert not (tmp_path / "called").exists()
    pickle.loads(content)
    assert (tmp_path / "called").exists()


def test_what_is_no_state_is_refused_by_name() -> None:
    """An object of a class, and a call that nothing says the name of."""
    with pytest.raises(ValueError, match=r"calls collections\.Counter"):
        value_of(b"\x80\x02ccollections\nCounter\n)R.")
    with pytest.raises(ValueError, match="calls something"):
        value_of(b"\x80\x02K\x01)R.")
    assert value_of(b"\x80\x02cos\nsystem\n.") == Named(module="os", name="system")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x02",
        b"\x80\x02.",
        b"\x80\x02)\x86.",
        b"\x80\x02h\x05.",
        b"\x80\x02}K\x01s.",
        b"\x80\x02}(K\x01K\x02K\x03u.",
        b"\x80\x02}()K\x02u.",
        b"\x80\x02K\x01K\x01a.",
        b"\x80\x02K\x01Q.",
        b"\x80\x02K\x01K\x01b.",
        rebuilt(STORAGE, "K\x01"),
        b"\x80\x02r\xff\xff\xff\xff.",
    ],
)
def test_what_is_no_pickle_is_refused(content: bytes) -> None:
    """Taken from an empty stack, changed what is no list or mapping, cut off."""
    with pytest.raises(ValueError, match=r"."):
        value_of(content)


def test_a_far_place_in_the_memory_takes_no_room() -> None:
    """Python's own unpickler makes a list as long as that."""
    assert value_of(b"\x80\x02K\x01r\xff\xff\xff\x7f.") == 1


def test_ordered_mappings_with_items_are_read_as_well() -> None:
    """Filled after they are made, as PyTorch's are."""
    assert value_of(pickle.dumps({"x": {"y": 1}}, protocol=2)) == {"x": {"y": 1}}
    with pytest.raises(ValueError, match="OrderedDict"):
        value_of(pickle.dumps(OrderedDict, protocol=2)[:-1] + b"K\x01\x85R.")
