"""What is wrong in place of an option's value, by the word that the help has for it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

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


def wrong_values(command: str, name: str, metavar: str) -> tuple[str, ...]:
    """Return what is wrong as the value of that option; nothing where nobody has said it."""
    return _BY_OPTION.get((command, name), BY_METAVAR.get(metavar, ()))
