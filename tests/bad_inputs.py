"""What a person may give wrongly, made from the command line's own options and from the schema of case files.

    python -m tests.bad_inputs [COMMAND | "case file"]...

tries all of it, or that of those commands, and prints how many there are of each kind and which were not met with one line, exit code 2, within two
seconds, with nothing left behind. The tests try a part each time, and all of it where they search at length.
"""

from __future__ import annotations

import contextlib
import gc
import gzip
import io
import itertools
import json
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import jsonschema
import typer
import yaml

from conformance import cli
from conformance.errors import SpecErrors
from conformance.spec import loader
from conformance.spec.locations import spec_folder
from tests.many_cells import write_many
from tests.mutated_inputs import workless

#: Of processor time, since the machine may be busy with other work.
SECONDS = 2.0
LONG = "x" * 300
#: What stands in the folder of every attempt, made by `furnished`.
_NO_RUNS = (
    "absent.jsonl",
    "folder",
    "empty.jsonl",
    "text.txt",
    "cut.jsonl",
    "noise.jsonl",
    "bomb.jsonl.gz",
    "/dev/zero",
    LONG,
    "",
)
_UNWRITABLE = ("text.txt", "text.txt/x.jsonl", "/dev/null", "folder", f"{LONG}.jsonl", "absent/\x1b[2J/x.jsonl", "")
_NO_FOLDERS = ("text.txt", "text.txt/x", "/dev/null", LONG, "full")
_NO_NUMBERS = ("", "x", "-1", "nan", "inf", "1e400", "1_0", "٣", "9" * 400, "0x10", "1,5", " ")
_NO_COUNTS = (*_NO_NUMBERS, "1.5", "99999999999")
#: By the word that the help has for an option's value: what must be refused in its place.
BY_METAVAR: Mapping[str, tuple[str, ...]] = {
    "GROUP=PATH": ("", "torch", "torch=", "=x", "torch=absent", "torch=folder", "torch=text.txt", "torch=/dev/null", f"torch={LONG}", "nobody=python"),
    "GROUP=LOG": ("", "torch", "torch=", "=x"),
    "GROUP=NAME": ("", "torch", "torch=", "=x", "torch=a"),
    "FILE.py:NAME": ("", "x", "absent.py:ADAPTER", "text.txt:A", "folder:ADAPTER", "no.such.module:ADAPTER", ":", f"{LONG}.py:A"),
    "GLOB": ("no.such.*", "\x1b[2J", LONG),
    "[FILE|FOLDER]...": ("absent.yaml", "text.txt", "run.jsonl", "/dev/zero", "/dev/null", LONG, "noise.jsonl", "bomb.jsonl.gz"),
    "eager|compiled|xla": ("", "x", "EAGER", "eager ", "eagre", "cpu"),
    "cpu|gpu": ("", "x", "CPU", "gup", "eager"),
    "K/N": ("", "x", "1", "0/2", "3/2", "1/0", "-1/2", "1/2/3", "1.5/2", "٣/4", "1/99999999999", "1/"),
    "CHANGE": ("", "x", "regresion"),
    "text|markdown|json|junit": ("", "x", "JSON", "html"),
    "train|infer": ("", "x", "TRAIN", "trian"),
    "NUMBERS": ("", "x", "[", "[1, 2", "[[1], [2, 3]]", "1_0", "٣", "9" * 400, "1e400", "[" * 3000, "null", "{}", "true"),
    "[QUANTITY=]NUMBERS": ("", "x", "[", "nothing=1", "output=", "output=x", "=1", "[" * 3000),
    "AXES": ("", "x", "9", "-9", "1.5", "0,0", "٣"),
    "OPERATION": ("", "x", "batchnorm", "layer norm"),
    "DTYPE": ("", "x", "float99", "int8", "Float32"),
    "SECONDS": _NO_NUMBERS,
    "N": _NO_COUNTS,
    "X": _NO_NUMBERS,
    "NAME": ("", "no.such.Norm", LONG, "\x1b[2J"),
    "IMPLEMENTATION": ("", "no.such.Norm", LONG),
    "VERSION|PATH": ("", "absent.whl", "text.txt", "folder", "x y"),
    "CELL": ("", "x", "::", "a::b", "a.b::no.such.Norm-eager-cpu", LONG),
    "CASE": ("x", "no.such/case", LONG),
    "VECTORS": ("absent", "text.txt", "folder", "/dev/null", LONG),
    "RESULTS": ("absent.json", "folder", "text.txt", "empty.jsonl", "/dev/zero", LONG),
    "RUN…": _NO_RUNS,
    "[RUN…]": _NO_RUNS,
}  # fmt: skip
#: Of those whose word says too little, by command and option.
_BY_OPTION: Mapping[tuple[str, str], tuple[str, ...]] = {
    **dict.fromkeys(itertools.product(("check",), ("--write-calls", "--write-costs")), _NO_RUNS),
    **dict.fromkeys((("compare", "--base"), ("compare", "--new"), ("report", "--baseline"), ("reproduce", "--run")), _NO_RUNS),
    **dict.fromkeys(itertools.product(("run", "merge", "properties", "throughput"), ("--out",)), _UNWRITABLE),
    ("judge", "--out"): _UNWRITABLE,
    **dict.fromkeys((("compare", "--out"), ("reproduce", "--out"), ("explain", "--html")), ("folder", "text.txt/x", f"{LONG}.md", "")),
    ("translate", "--out"): ("folder", "text.txt/x", "x.unknown", ""),
    **dict.fromkeys(itertools.product(("export", "report", "publish"), ("--out",)), _NO_FOLDERS),
    # These leave what is there, and add to it.
    **dict.fromkeys(itertools.product(("fuzz", "regression"), ("--out",)), tuple(name for name in _NO_FOLDERS if name != "full")),
    ("run", "--first-report"): _NO_FOLDERS,
    **dict.fromkeys((("regression", "--environments"), ("cluster", "--environments")), ("text.txt", "text.txt/x", "/dev/null")),
    ("publish", "--reports"): ("text.txt", "/dev/null", "text.txt/x"),
    ("publish", "--docs"): ("absent", "text.txt"),
    ("publish", "--address"): ("x", "javascript:alert(1)", "ftp://x", "https://"),
    ("publish", "--machine"): ("", "../x", "a/b", LONG, "\x1b[2J"),
    ("explain", "--npy"): ("absent.npy", "text.txt", "folder", "/dev/zero", "empty.jsonl", "noise.jsonl"),
    ("translate", "--weights"): ("absent.pt", "text.txt", "folder", "/dev/zero", "noise.pt", "noise.h5", "noise.npz", "noise.keras", "noise.safetensors"),
    ("translate", "--rank"): _NO_COUNTS,
    ("translate", "--features"): _NO_COUNTS,
    ("regression", "--package"): ("", "no-such-package", "x y", LONG),
    ("regression", "--group"): ("", "x", "Torch"),
    ("regression", "--versions"): ("", " ", "x", ">=", "1..2", LONG),
    ("regression", "--every"): ("", "x", "Minor", "patch"),
    ("regression", "--index-url"): ("x", "ftp://x", "file:///x", "javascript:alert(1)"),
    ("report", "--search"): ("absent", "text.txt", "folder", "/dev/null", LONG),
    ("cluster", "--scheduler-file"): ("folder", "text.txt/x", LONG),
    **dict.fromkeys(itertools.product(("run", "fuzz", "regression"), ("--scheduler",)), ("", "x", "127.0.0.1:x", "carrier-pigeon://x", LONG)),
    ("list", "what"): ("", "x", "case", "CASES"),
    **dict.fromkeys(itertools.product(("run", "throughput", "regression"), ("--tier",)), ("", "x", "SMOKE", "full ")),
    **dict.fromkeys(itertools.product(("fuzz", "properties"), ("--examples", "--seed")), _NO_COUNTS),
    **dict.fromkeys(itertools.product(("fuzz",), ("--seconds", "--shrinking", "--cell-seconds")), _NO_NUMBERS),
}  # fmt: skip
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


@dataclass(frozen=True, slots=True, kw_only=True)
class BadInput:
    """One wrong word of a command line, or one wrong value of a case file."""

    #: The command and its option, or "case file" and the key.
    kind: tuple[str, str]
    value: str
    #: The whole command line; empty for a case file.
    words: tuple[str, ...] = ()
    #: The whole case file.
    text: str = ""

    @property
    def is_file(self) -> bool:
        """Whether it is a case file."""
        return not self.words


def options() -> Iterator[tuple[str, str, str, bool]]:
    """Yield command, option or argument, the help's word for its value, and whether it is an option; no switches."""
    group: Any = typer.main.get_command(cli.app)
    for command, declared in sorted(group.commands.items()):
        for parameter in declared.params:
            is_option = parameter.param_type_name == "option"
            if not (is_option and parameter.is_flag):
                yield command, parameter.opts[0], parameter.metavar or "", is_option


def wrong_values(command: str, name: str, metavar: str) -> tuple[str, ...]:
    """Return what is wrong as the value of that option; nothing where nobody has said it."""
    return _BY_OPTION.get((command, name), BY_METAVAR.get(metavar, ()))


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


# Case files

#: As YAML has them. Whether one is wrong at a key says the schema, which the loader does not read.
_VALUES = (
    "null", "true", "''", "[]", "{}", "-1", "0", "0.5", ".nan", "x", "'0'", "[[]]", "2026-11-30", "{a: b}", "[1, x]", "[null]",
    "1_0.00", "٣", "float99", str(2**63), "!!binary eA==", "[-1]", "[1.5]", "0x10", "1:30",
)  # fmt: skip
#: Of those, texts here, where YAML 1.1 reads a date and numbers.
_TEXTS = ("2026-11-30", "1_0.00", "1:30")
_WITHOUT_POINT = re.compile(r"(?<=[ \[-])\d+(?=e[-+]?\d)")
#: Wrong wherever they stand.
_NOWHERE = (
    "*nowhere",
    "!!python/object:os.system x",
    "{a: 1, a: 2}",
    "9" * 400,
    "1.0e+400",
    "1.0e-400",
    "[",
    "}",
    "'",
)


def case_files() -> Iterator[BadInput]:
    """Yield a case file for every key of the format and every value that may be wrong there; `is_wrong` says whether it is."""
    for key, (case, path) in _bearers().items():
        for value in (*_VALUES, *_NOWHERE):
            yield BadInput(kind=("case file", key), value=value, text=_with(case, path, value))
    whole, _ = _bearers()["case: decay"]
    for text in ("", "x", "{}", "null", "- x", "[[]]", "- {}", "\x00", "\t- id", "- id: a.b\n- id: a.b"):
        yield BadInput(kind=("case file", "the whole"), value=text, text=text)
    for key in whole:
        left = {name: value for name, value in whole.items() if name != key}
        yield BadInput(kind=("case file", "a key that is missing"), value=key, text=json.dumps([left], indent=1))
        misspelt = {name[1:] if name == key else name: value for name, value in whole.items()}
        yield BadInput(kind=("case file", "a misspelt key"), value=key, text=json.dumps([misspelt], indent=1))


def is_wrong(bad: BadInput) -> bool:
    """Return whether the input is wrong: of a case file that YAML can be read from, its schema says so."""
    if not bad.is_file or bad.value in _NOWHERE:
        return True
    try:
        text = bad.text.replace(bad.value, json.dumps(bad.value)) if bad.value in _TEXTS else bad.text
        # YAML 1.1 takes 1e-06 for a text, and 1.0e-06 for a number.
        value = yaml.safe_load(_WITHOUT_POINT.sub(r"\g<0>.0", text))
    except (yaml.YAMLError, ValueError):
        return True
    return not _schema().is_valid(value)


@cache
def _schema() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(loader.file_schema())


@cache
def _bearers() -> dict[str, tuple[dict[str, Any], tuple[str | int, ...]]]:
    """Return, for every key of the format, the first shipped case that has it, and where."""
    first: dict[str, tuple[dict[str, Any], tuple[str | int, ...]]] = {}
    for located in _shipped().cases:
        case = located.case.model_dump(mode="json", exclude_unset=True)
        case["id"] = f"own.{located.case.id.partition('.')[2]}"
        for key, path in _keys(case, "case", ()):
            first.setdefault(key, (case, path))
    return first


def _keys(value: Any, of: str, path: tuple[str | int, ...]) -> Iterator[tuple[str, tuple[str | int, ...]]]:
    if isinstance(value, dict):
        of = str(value.get("step", value.get("kind", of)))
        for name, item in value.items():
            yield f"{of}: {name}", (*path, name)
            inner = f"options of {value['op']}" if name == "options" else name
            yield from _keys(item, inner, (*path, name))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            if isinstance(item, dict):
                yield from _keys(item, of, (*path, position))


def _with(case: dict[str, Any], path: tuple[str | int, ...], value: str) -> str:
    """Return the text of a file with that case, in which that value stands there."""
    place = "@here@"
    copied = json.loads(json.dumps(case))
    inner = copied
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = place
    return json.dumps([copied], indent=1, ensure_ascii=False).replace(json.dumps(place), value)


@cache
def _shipped() -> loader.Spec:
    return loader.load(spec_folder())


# What comes of them


def furnished(folder: Path) -> None:
    """Make what the lines name."""
    (folder / "folder").mkdir()
    (folder / "full").mkdir()
    (folder / "full" / "thesis.txt").write_text("a text\n")
    (folder / "text.txt").write_text("a text\n")
    for name in ("empty.jsonl",):
        (folder / name).touch()
    for suffix in ("jsonl", "pt", "h5", "npz", "keras", "safetensors"):
        (folder / f"noise.{suffix}").write_bytes(bytes(range(256)) * 8)
    whole = write_many(folder / "run.jsonl", 20).read_bytes()
    (folder / "cut.jsonl").write_bytes(whole[: len(whole) // 2])
    with gzip.open(folder / "bomb.jsonl.gz", "wb") as packed:
        for _ in range(40):
            packed.write(b" " * 2**20)
    (folder / "results.jsonl").write_text('{"kind": "header"}\n')


def complaint(bad: BadInput, folder: Path) -> str:
    """Return how the input was met otherwise than with one line, exit code 2, at once and leaving nothing; else nothing."""
    before, began = _tree(folder), time.process_time()
    code, told = _met(bad, folder)
    seconds = time.process_time() - began
    left = sorted(_tree(folder) ^ before)
    for name, _, _ in left:
        _remove(folder / name)
    lines_told = told.strip().splitlines()
    faults = {
        f"exit code {code}": code != 2,
        f"{len(lines_told)} lines": not 1 <= len(lines_told) <= (20 if bad.is_file else 1),
        "a traceback": "Traceback" in told,
        "taken for right": "work begins" in told,
        "raw control characters": "\x1b" in told,
        f"{seconds:.1f} s": seconds > SECONDS,
        f"left {[name for name, _, _ in left]}": bool(left),
    }
    failed = [fault for fault, is_so in faults.items() if is_so]
    return f"{', '.join(failed)}: {told[-600:]!r}" if failed else ""


def _met(bad: BadInput, folder: Path) -> tuple[object, str]:
    if bad.is_file:
        file = folder / "own.yaml"
        file.write_bytes(bad.text.encode(errors="surrogatepass"))
        try:
            loader.load_file(file, _shipped().clauses)
        except SpecErrors as errors:
            return 2, str(errors)
        else:
            return 0, "work begins"
        finally:
            file.unlink()
    said, code = io.StringIO(), None
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(said),
        workless(),
        patch.object(sys, "argv", ["conformance", *bad.words]),
    ):
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code
    gc.enable()
    return code, said.getvalue()


def _tree(folder: Path) -> set[tuple[str, int, int]]:
    """Return the files and folders with their sizes and times, but for the suite's own logs."""
    paths = (path for path in folder.rglob("*") if ".conformance" not in path.parts)
    return {
        (str(path.relative_to(folder)), path.lstat().st_size if path.is_file() else 0, path.lstat().st_mtime_ns)
        for path in paths
        if path.is_file() or not any(path.iterdir())
    }


def _remove(path: Path) -> None:
    """Remove what was left, unless it was there before."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    elif path.name.startswith("new"):
        path.unlink(missing_ok=True)


def everything() -> tuple[BadInput, ...]:
    """Return all that may be wrong, each once."""
    by_input = {(bad.words, bad.text): bad for bad in itertools.chain(lines(), case_files())}
    return tuple(by_input.values())


def tried(inputs: Iterable[BadInput]) -> Iterator[tuple[BadInput, str]]:
    """Yield each that is wrong, with what was wrong about how it was met; empty where nothing was."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        furnished(folder)
        for bad in filter(is_wrong, inputs):
            yield bad, complaint(bad, folder)


def main(*commands: str) -> None:
    """Try all, or those of the commands named, and tell."""
    counts: Counter[str] = Counter()
    failed = 0
    for bad, fault in tried(bad for bad in everything() if not commands or bad.kind[0] in commands):
        counts[bad.kind[0]] += 1
        if fault:
            failed += 1
            print(f"--- {' '.join(bad.kind)} {bad.value[:60]!r}: {fault}", flush=True)
    print(dict(counts), f"{sum(counts.values())} tried, {failed} failed")


if __name__ == "__main__":
    main(*sys.argv[1:])
