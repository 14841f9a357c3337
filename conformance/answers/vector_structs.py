"""Test vectors as typed values: the format of what `export` writes and of the results that `judge` reads.

A number is a text that loses nothing: a hexadecimal float (`0x1.8p+1`), `nan`, `inf` or `-inf`. Arrays are in row-major
order.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import UNSET, Struct, UnsetType, field

from conformance.runfile.structs import CaseLine
from conformance.spec.case import Unfit

FORMAT = 1
Mapping: TypeAlias = dict[str, "VectorArray"]


class VectorArray(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An array: its values, or the name under which the safetensors file beside has it."""

    dtype: Literal["float64", "float32", "float16", "bfloat16", "bool", "int8", "uint8", "int32", "int64"]
    shape: tuple[int, ...]
    #: Numbers are read too, where a program writes no hexadecimal floats.
    values: tuple[str | float | bool, ...] | UnsetType = UNSET
    tensor: str | UnsetType = UNSET


class ExpectedNumbers(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one quantity must be: |got - value - rest| <= bound, element by element."""

    #: Rounded to float64. Where it is not finite, a right number is not finite either.
    value: VectorArray
    #: How far every healthy algorithm stays within; 0 demands the number itself, infinity allows any finite one.
    bound: VectorArray
    #: What `value` lacks of the exact number; left out where nothing is judged by so little.
    rest: VectorArray | UnsetType = UNSET
    #: Where an overflow in between is possible, so that a number that is not finite is no fault; left out: nowhere.
    may_overflow: VectorArray | UnsetType = UNSET


class DialectNumbers(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the quantities that differ must be where one field of the dialect has another value."""

    field: str
    value: str | int | bool | None
    expected: dict[str, ExpectedNumbers]


class VectorStep(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One step by itself: what it starts from, what it is given, and what it must give and leave."""

    number: int
    kind: Literal["train", "infer", "reload", "freeze", "unfreeze", "sgd"]
    #: `input`, `upstream`, and further arrays such as `mask`.
    arrays: dict[str, VectorArray]
    #: The state that it starts from: what the reference leaves, rounded as it is stored.
    before: dict[str, VectorArray]
    #: Whether the layer is frozen, and how many train steps have moved the moving values.
    frozen: bool
    trained: int
    expected: dict[str, ExpectedNumbers]
    dialects: tuple[DialectNumbers, ...]
    #: Of `sgd`: the rate, and the gradients that the last train step left.
    learning_rate: float | UnsetType = UNSET
    gradients: dict[str, VectorArray] | UnsetType = UNSET
    #: Why the step must be refused: its input does not fit, no number of it is right, and the state stays.
    refused: Unfit | UnsetType = UNSET
    #: What of `before` the call is handed in a wrong size instead.
    handed: dict[str, VectorArray] | UnsetType = UNSET


class Vector(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One case as test vectors."""

    format: int
    id: str
    #: The case itself: title, source, clauses, configuration and recipes.
    case: CaseLine
    steps: tuple[VectorStep, ...]
    #: The safetensors file with its arrays, beside this one; left out where all are here.
    tensors: str | UnsetType = UNSET


class IndexEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One case of the index."""

    id: str
    op: str
    file: str
    title: str
    dtype: str
    shape: tuple[int, ...]
    feature_axes: tuple[int, ...]
    #: One checksum for each step, of its inputs' bits; empty where a step has none.
    inputs: tuple[str, ...]


class VectorIndex(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The index of a folder of vectors."""

    format: int
    suite: str
    spec: str
    cases: tuple[IndexEntry, ...]
    #: By operation, the dialect that `expected` is in.
    dialects: dict[str, dict[str, str | int | bool | None]]


class ResultsHeader(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first line of a file of results: whose they are."""

    #: The name of the row, such as `mylib.BatchNorm`.
    implementation: str
    library: str
    version: str
    #: `vectors`: each step started from the state in the vectors. `own`: from what the step before it left, which is
    #: among its results.
    state: Literal["vectors", "own"]
    op: str = "batch_norm"
    mode: Literal["eager", "compiled", "xla"] = "eager"
    device: Literal["cpu", "gpu"] = "cpu"
    #: What it documents to do otherwise: fields of a dialect.
    dialect: dict[str, str | int | bool] = field(default_factory=dict)


class StepResults(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What came of one step: quantities by name, or the message with which it was refused."""

    quantities: dict[str, VectorArray] = field(default_factory=dict)
    refused: str | UnsetType = UNSET


class CaseResults(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of results: those of a case, or why it cannot be expressed."""

    case: str
    steps: tuple[StepResults, ...] = ()
    unsupported: str = ""
    #: A safetensors file beside, for arrays that name a tensor.
    tensors: str | UnsetType = UNSET
