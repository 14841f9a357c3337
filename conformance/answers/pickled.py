"""What a PyTorch checkpoint pickles, read without an unpickler: no name of the file is looked up, nothing is called.

`torch.save` writes a small part of the language of pickles. Its opcodes build plain values here: mappings, lists,
numbers, and tensors that name their storage. The three calls that a `state_dict` is made of stand for such values too;
any other call is refused, and was never made.
https://docs.python.org/3/library/pickletools.html
"""

from __future__ import annotations

import pickletools
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """Something that the file calls by its module and name: here a text and no more."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """Where values lie: the kind of their storage, its key in the archive, and how many it holds."""

    kind: str
    key: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """A view of a storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Mark:
    """Where the values of a tuple, or the items of a list or mapping, begin on the stack."""


def value_of(content: bytes) -> Any:
    """Return what a pickle describes. Raises `ValueError` where it is more than plain values and tensors."""
    machine = _Machine()
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name == "STOP":
            return machine.pop()
        machine.perform(opcode.name, argument)
    raise ValueError("its pickle does not end")


class _Machine:
    """The stack and the memory of a pickle."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memory: dict[int, Any] = {}

    def pop(self) -> Any:
        """Take the top of the stack off. Raises `ValueError` where there is none."""
        if not self._stack:
            raise ValueError("its pickle takes from an empty stack")
        return self._stack.pop()

    def perform(self, opcode: str, argument: Any) -> None:
        """Perform one opcode. Raises `ValueError`, also for those that `torch.save` does not write."""
        match opcode:
            case "PROTO" | "FRAME":
                pass
            case "MARK":
                self._stack.append(_Mark())
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                self._stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[opcode])
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT" | "BINUNICODE" | "SHORT_BINUNICODE":
                self._stack.append(argument)
            case "BINPUT" | "LONG_BINPUT":
                self._memory[argument] = self._top()
            case "MEMOIZE":
                self._memory[len(self._memory)] = self._top()
            case "BINGET" | "LONG_BINGET":
                if argument not in self._memory:
                    raise ValueError("its pickle remembers what it never had")
                self._stack.append(self._memory[argument])
            case "GLOBAL":
                module, _, name = argument.partition(" ")
                self._stack.append(Named(module=module, name=name))
            case _:
                self._build(opcode)

    def _build(self, opcode: str) -> None:
        """Make something of what is on the stack."""
        match opcode:
            case "EMPTY_DICT" | "EMPTY_LIST" | "EMPTY_TUPLE":
                self._stack.append({"EMPTY_DICT": {}, "EMPTY_LIST": [], "EMPTY_TUPLE": ()}[opcode])
            case "TUPLE":
                self._stack.append(tuple(self._since_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                self._stack.append(tuple(reversed([self.pop() for _ in range(int(opcode[-1]))])))
            case "APPEND" | "APPENDS":
                items = [self.pop()] if opcode == "APPEND" else self._since_mark()
                self._expected(list).extend(items)
            case "SETITEM" | "SETITEMS":
                items = [self.pop(), self.pop()][::-1] if opcode == "SETITEM" else self._since_mark()
                if len(items) % 2 or not all(isinstance(key, str | int) for key in items[::2]):
                    raise ValueError("its pickle has a mapping by something else than texts and whole numbers")
                self._expected(dict).update(zip(items[::2], items[1::2], strict=True))
            case "BINPERSID":
                self._stack.append(_storage(self.pop()))
            case "REDUCE":
                arguments, what = self.pop(), self.pop()
                self._stack.append(_called(what, arguments))
            case "BUILD":
                # Of the mapping of a state: the versions of its layers.
                self.pop()
                self._expected(dict)
            case _:
                raise ValueError(f"its pickle has the opcode {opcode}, which no state_dict needs")

    def _top(self) -> Any:
        self._stack.append(value := self.pop())
        return value

    def _expected(self, kind: type) -> Any:
        if type(self._top()) is not kind:
            raise ValueError(f"its pickle changes something that is no {kind.__name__}")
        return self._top()

    def _since_mark(self) -> list[Any]:
        values: list[Any] = []
        while not isinstance(value := self.pop(), _Mark):
            values.append(value)
        return values[::-1]


def _storage(named: Any) -> Storage:
    match named:
        case ("storage", Named(module="torch", name=kind), str(key), str(), int(size)):
            return Storage(kind=kind, key=key, size=size)
        case _:
            raise ValueError("its pickle refers to something that is no storage of a tensor")


def _called(what: Any, arguments: Any) -> Any:
    """Return what one of the calls that a `state_dict` is made of stands for. Raises `ValueError` at any other."""
    match str(what), arguments:
        case "collections.OrderedDict", ():
            return {}
        case "torch.Size", (tuple(sizes),):
            return sizes
        case "torch._utils._rebuild_parameter", (Tensor() as tensor, *_):
            return tensor
        case (
            "torch._utils._rebuild_tensor_v2" | "torch._utils._rebuild_tensor",
            (Storage() as storage, int(offset), tuple(shape), tuple(strides), *_),
        ) if all(isinstance(number, int) for number in (*shape, *strides)):
            return Tensor(storage=storage, offset=offset, shape=shape, strides=strides)
        case _:
            known = what if isinstance(what, Named) else "something"
            raise ValueError(f"it calls {known}, which no state_dict does; nothing of it was called")
