"""Pairs of runs with one kind of change each, by what it is."""

from __future__ import annotations

from typing import Any

from conformance.runfile.run import Run
from tests.run_lines import FLAX, Line, case_line, environment_line, record_line, run_of
from tests.runs_with_reasons import named, run_with

CONFORMS = record_line()
DEVIATES = record_line("deviates", 12.5, diagnosis="epsilon outside the root")
KNOWN = record_line("deviates", 12.5, diagnosis="epsilon outside the root", status="xfailed")
EXACT_DATA = case_line("dyadic.one", clauses=["13.4"])
OTHER_SEED = case_line(steps=[{"step": "infer", "input": {"kind": "ramp", "start": 2.0}}])


def rung(grade: str, **other: Any) -> Line:
    """Return a cell of the stability ladder with that grade."""
    return record_line(of="stability.ratio-2-12", grade=grade, **other)


def exact_data(verdict: str) -> Run:
    """Return a run of a case whose results the semantics demand to be exact."""
    return run_of(record_line(verdict, 0.0 if verdict == "exact" else 0.01, of="dyadic.one"), cases=(EXACT_DATA,))


def dialect(*fields: str, said: str = "output", **declared: str | int) -> Run:
    """Return a run whose one cell follows its documented dialect in those fields."""
    record = record_line("dialect", 0.5, diagnosis=f"{said} as documented: {', '.join(fields)}")
    profile = {"update": "zero_debiased", "moving_correction": 1, **declared}
    return run_with((record, (), fields), profile=profile)


#: One fault, shown by cells of many kinds: named, with a second cause, as one of two, named by nothing, listed, and
#: where something else was wrong before.
EPSILON_BEFORE = run_with(
    *(
        (record_line(verdict, of=f"a.{name}"), (), ())
        for name, verdict in zip("bcdefg", ("exact", *["conforms"] * 5), strict=True)
    ),
    (record_line("deviates", 3.0, of="a.h"), (named("moving-not-updated"),), ()),
)
_EPSILON = named("epsilon-outside-root", "output")
EPSILON_AFTER = run_with(
    (record_line("deviates", 5.0, of="a.b"), (_EPSILON,), ()),
    (record_line("deviates", 7.0, of="a.c"), (_EPSILON, named("unexplained", "grad_input", weights="1.01")), ()),
    (record_line("deviates", 6.0, of="a.d"), (named("unexplained", "output"),), ()),
    (record_line("deviates", 9.0, of="a.e"), (named("unexplained", "output"),), ()),
    (record_line("deviates", 8.0, of="a.f", status="xfailed"), (_EPSILON,), ()),
    (record_line("deviates", 4.0, of="a.g"), (named("epsilon-dropped"), _EPSILON), ()),
    (record_line("deviates", 3.0, of="a.h"), (named("moving-not-updated"), _EPSILON), ()),
)

BOTH = (environment_line(), environment_line(FLAX, "0.12.8"))
NOT_STARTED = {"id": "flax", "group": "flax", "adapter": "flax.py", "failed": "ImportError: no jaxlib"}
NOT_BUILT = {"id": "flax", "group": "flax", "adapter": None, "failed": "pip: no matching distribution"}
FLAX_CELL = record_line(implementation=FLAX)
OTHER_CELL = record_line(of="a.two")
#: flax and flax-x64 share a group, which when it is not built is one environment of the group's name.
X64 = environment_line(FLAX, id="flax-x64", group="jax")
X64_CELL = record_line(implementation=FLAX, environment="flax-x64")
JAX_NOT_BUILT = {"id": "jax", "group": "jax", "adapter": None, "failed": "pip: no matching distribution"}

PAIRS: dict[str, tuple[Run, Run]] = {
    "nothing": (run_of(CONFORMS, FLAX_CELL), run_of(CONFORMS, FLAX_CELL)),
    "conforms-deviates": (run_of(CONFORMS), run_of(DEVIATES)),
    "conforms-known-deviation": (run_of(CONFORMS), run_of(KNOWN)),
    "conforms-refused": (run_of(CONFORMS), run_of(record_line("refused", None, status="passed"))),
    "conforms-crashed": (run_of(CONFORMS), run_of(record_line("crashed", None))),
    "conforms-timed-out": (run_of(CONFORMS), run_of(record_line("timed_out", None))),
    "conforms-unsupported": (run_of(CONFORMS), run_of(record_line("unsupported", None))),
    "conforms-undecidable": (run_of(CONFORMS), run_of(record_line("not_decidable", 0.5, status="skipped"))),
    "conforms-dialect": (run_of(CONFORMS), run_of(record_line("dialect", 0.5))),
    "dialect-conforms": (dialect("update"), run_of(CONFORMS)),
    "dialect-exact": (dialect("update"), run_of(record_line("exact", 0.0))),
    "dialect-another-dialect": (dialect("moving_correction", "update"), dialect("update")),
    "dialect-another-value": (dialect("update"), dialect("update", update="first_batch")),
    "dialect-reworded": (dialect("update", said="output"), dialect("update", said="moving_mean")),
    "epsilon-moved": (EPSILON_BEFORE, EPSILON_AFTER),
    "refused-deviates": (run_of(record_line("refused", None, status="failed")), run_of(DEVIATES)),
    "deviates-crashed": (run_of(DEVIATES), run_of(record_line("crashed", None))),
    "announced-refusal-deviates": (run_of(record_line("refused", None, status="passed")), run_of(DEVIATES)),
    "undecidable-deviates": (run_of(record_line("not_decidable", 0.5, status="skipped")), run_of(DEVIATES)),
    "unsupported-deviates": (run_of(record_line("unsupported", None)), run_of(DEVIATES)),
    "unsupported-announced-refusal": (
        run_of(record_line("unsupported", None)),
        run_of(record_line("refused", None, status="passed")),
    ),
    "deviates-conforms": (run_of(DEVIATES), run_of(CONFORMS)),
    "crashed-deviates": (run_of(record_line("crashed", None)), run_of(DEVIATES)),
    "exact-conforms": (run_of(record_line("exact", 0.0)), run_of(record_line("conforms", 0.01))),
    "conforms-exact": (run_of(record_line("conforms", 0.01)), run_of(record_line("exact", 0.0))),
    "exact-data-lost": (exact_data("exact"), exact_data("conforms")),
    "drift": (run_of(record_line(score=0.125)), run_of(record_line(score=0.5))),
    "drift-below-the-factor": (run_of(record_line(score=0.3)), run_of(record_line(score=0.5))),
    "drift-below-the-floor": (run_of(record_line(score=0.001)), run_of(record_line(score=0.09))),
    "drift-from-nothing": (run_of(record_line(score=0.0)), run_of(record_line(score=0.5))),
    "drift-of-a-deviation": (run_of(DEVIATES), run_of({**DEVIATES, "score": "Infinity"})),
    "drift-to-nan": (run_of(DEVIATES), run_of({**DEVIATES, "score": "NaN"})),
    "steadier": (run_of(record_line(score=0.5)), run_of(record_line(score=0.125))),
    "steadier-from-nan": (run_of({**DEVIATES, "score": "NaN"}), run_of(DEVIATES)),
    "known-unexpected": (run_of(KNOWN), run_of(DEVIATES)),
    "diagnosed-otherwise": (run_of(DEVIATES), run_of({**DEVIATES, "diagnosis": "decay inverted"})),
    "grade-falls": (run_of(rung("D"), rung("A", mode="compiled")), run_of(rung("W"), rung("A", mode="compiled"))),
    "grade-rises": (run_of(rung("W")), run_of(rung("A"))),
    "harder-rung-added": (
        run_of(rung("A")),
        run_of(rung("A"), record_line(of="stability.new", grade="O"), spec="other"),
    ),
    "implementation-gone": (run_of(CONFORMS, FLAX_CELL, environments=BOTH), run_of(CONFORMS, environments=BOTH)),
    "environment-took-no-part": (run_of(CONFORMS, FLAX_CELL), run_of(CONFORMS)),
    "environment-not-started": (
        run_of(CONFORMS, FLAX_CELL),
        run_of(CONFORMS, environments=(environment_line(), NOT_STARTED), narrowed=True),
    ),
    "environment-not-built": (
        run_of(CONFORMS, FLAX_CELL),
        run_of(CONFORMS, environments=(environment_line(), NOT_BUILT), narrowed=True),
    ),
    "group-not-built": (
        run_of(CONFORMS, X64_CELL, environments=(environment_line(), X64)),
        run_of(CONFORMS, environments=(environment_line(), JAX_NOT_BUILT), narrowed=True),
    ),
    "nothing-left": (
        run_of(FLAX_CELL, environments=BOTH),
        run_of(environments=(environment_line(), NOT_BUILT), narrowed=True),
    ),
    "environment-started-again": (
        run_of(CONFORMS, environments=(environment_line(), NOT_STARTED), narrowed=True),
        run_of(CONFORMS, FLAX_CELL),
    ),
    "environment-of-nothing": (
        run_of(CONFORMS),
        run_of(CONFORMS, environments=(environment_line(), JAX_NOT_BUILT), narrowed=True),
    ),
    # The first of the two letters is the later code point and, in halves of sixteen bits, the earlier.
    "letters-beyond-the-basic-plane": (
        run_of(CONFORMS, OTHER_CELL),
        run_of({**DEVIATES, "diagnosis": "\U0001d11e"}, record_line("deviates", 3.0, of="a.two", diagnosis="\ufb00")),
    ),
    "narrowed": (run_of(CONFORMS, OTHER_CELL), run_of(CONFORMS, narrowed=True)),
    "another-tier": (run_of(CONFORMS, OTHER_CELL, tier="full"), run_of(CONFORMS, cases=(case_line(), case_line("a.two")), tier="standard")),
    "partial": (run_of(CONFORMS, OTHER_CELL), run_of(CONFORMS, planned=2)),
    "case-gone": (run_of(CONFORMS, OTHER_CELL), run_of(CONFORMS, spec="other")),
    "cell-gone": (run_of(CONFORMS, OTHER_CELL), run_of(CONFORMS, cases=(case_line(), case_line("a.two")))),
    "appeared": (run_of(CONFORMS), run_of(CONFORMS, OTHER_CELL, {**DEVIATES, "case": "a.three", "cell": "a.three::torch.nn.BatchNorm-eager-cpu"})),
    "redefined": (
        run_of(CONFORMS, OTHER_CELL),
        run_of(DEVIATES, OTHER_CELL, cases=(OTHER_SEED,), spec="other"),
    ),
    "reworded": (run_of(CONFORMS), run_of(CONFORMS, cases=(case_line(title="In other words."),), spec="other")),
    "another-suite": (run_of(CONFORMS), run_of(CONFORMS, suite="0.2.0")),
    "versions-and-settings": (
        run_of(CONFORMS, FLAX_CELL),
        run_of(
            CONFORMS,
            FLAX_CELL,
            environments=(
                environment_line(version="2.14.0", settings={"threads": "2", "oneDNN": "on"}, versions={"torch": "2.14.0", "numpy": "2.5"}),
                environment_line(FLAX, versions={"flax": "2.13.0", "numpy": "2.5"}, process={"XLA_FLAGS": "x"}, host={}),
            ),
        ),
    ),
}  # fmt: skip
