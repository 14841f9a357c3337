"""Every wrong command line, made from the command line's own options."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import typer

from conformance import cli
from tests.bad_inputs.bad_input import BadInput
from tests.bad_inputs.wrong_words import LONG, wrong_values

#: A line of each command that would be in order, to which the wrong word is added.
_BASES: Mapping[str, tuple[str, ...]] = {
    "cluster": ("--local", "1"),
    "compare": ("--base", "run.jsonl", "--new", "run.jsonl"),
    "export": ("--out", "new"),
    "judge": ("vectors", "results.jsonl", "--out", "new.jsonl"),
    "list": ("implementations",),
    "merge": ("run.jsonl", "--out", "new.jsonl"),
    "regression": ("--package", "flax", "--head", "0.12.0"),
    "report": ("run.jsonl", "--out", "new"),
    "reproduce": ("edges.empty-then-train::numpy.BatchNorm-eager-cpu",),
    "translate": ("--from", "keras", "--to", "torch"),
}
_EXPLAINED = ("--data", "[[1], [5]]")


def options() -> Iterator[tuple[str, str, str, bool]]:
    """Yield command, option or argument, the help's word for its value, and whether it is an option; no switches."""
    group: Any = typer.main.get_command(cli.app)
    for command, declared in sorted(group.commands.items()):
        for parameter in declared.params:
            is_option = parameter.param_type_name == "option"
            if not (is_option and parameter.is_flag):
                yield command, parameter.opts[0], parameter.metavar or "", is_option


def lines() -> Iterator[BadInput]:
    """Yield every wrong command line."""
    for command, name, metavar, is_option in options():
        for value in wrong_values(command, name, metavar):
            yield BadInput(kind=(command, name), value=value, words=_line(command, name, value, is_option=is_option))
    for command in sorted({command for command, *_ in options()}):
        # Into the folder where it stands, a regression may write.
        for value in ("--no-such-option", "--jsno", *(() if command == "regression" else ("--out=",))):
            yield BadInput(kind=(command, "an unknown option"), value=value, words=(command, *_base(command), value))
    for value in ("rnu", "", "Run", "--run", LONG, "\x1b[2J"):
        yield BadInput(kind=("conformance", "an unknown command"), value=value, words=(value,))


def _line(command: str, name: str, value: str, *, is_option: bool) -> tuple[str, ...]:
    """Return the command's line in order, but for that option or argument."""
    base = list(_base(command))
    if command == "explain" and name in {"--npy", "case", "--data"}:
        base = []
    if command == "compare" and name.endswith("-python"):
        base = []
    if not is_option:
        position = {"results": 1}.get(name, 0)
        if command in {"judge", "list", "merge", "report", "reproduce"}:
            base[position] = value
            return (command, *base)
        return (command, *base, value)
    if name in base:
        base[base.index(name) + 1] = value
        return (command, *base)
    return (command, *base, name, value)


def _base(command: str) -> tuple[str, ...]:
    return _EXPLAINED if command == "explain" else _BASES.get(command, ())
