"""The page of throughput: what is a score, what compares, and what is said of the rest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from conformance.errors import UsageError
from conformance.report import write
from conformance.report.model import TimedLine
from conformance.report.throughput import DISTURBANCES, HIGH, LOW, drawn, throughput
from conformance.runfile.reading import read
from conformance.runfile.throughput_structs import ThroughputLine, TimingStanding
from conformance.throughput.contention import Disturbance
from tests.many_cells import decoded
from tests.report_lines import HOSTILE, page, record, run
from tests.run_lines import FLAX, LIBRARIES, TORCH, environment_line, run_of, write_run

Line = dict[str, Any]


def timed(implementation: str = TORCH, seconds: float = 0.01, standing: str = "scored", **other: Any) -> Line:
    """Return a line of a pass that was timed."""
    mode, name = other.get("mode", "eager"), other.get("pass", "infer")
    return {
        "timed": f"throughput.one::{implementation}-{mode}-cpu::{name}",
        "case": "throughput.one", "implementation": implementation, "mode": mode, "device": "cpu", "pass": name,
        "environment": LIBRARIES[implementation], "op": "batch_norm",
        "dtype": "float32", "shape": [65536, 256], "standing": standing, "why": "", "seconds": seconds,
        "fractions": {"compulsory": 0.5, "streaming": 0.75}, "warmed": {"first": 1.5, "peak": 64_000_000},
        "score": 0.01, "verdict": "conforms", **other,
    }  # fmt: skip


def unmeasured(why: str, **other: Any) -> Line:
    kept = ("timed", "case", "implementation", "mode", "device", "pass", "environment", "op", "dtype", "shape")
    return {
        **{key: value for key, value in timed(**{"mode": "compiled", **other}).items() if key in kept},
        "standing": "unmeasured",
        "why": why,
    }


def lines_of(*lines: Line) -> list[TimedLine]:
    """Return the lines as a report has them: each with its framework."""
    return [TimedLine(framework=line["environment"], line=line_of(line)) for line in lines]


def line_of(line: Line) -> ThroughputLine:
    """Return a line that is told as format 1 had it, and what only format 2 has: void samples."""
    made = decoded("throughput", {key: value for key, value in line.items() if key != "voided"})
    voided = tuple(tuple(reasons) for reasons in line.get("voided", ()))
    standing = "voided" if voided and made.measurement is None else made.standing
    return cast("ThroughputLine", msgspec.structs.replace(made, voided=voided, standing=standing))


def test_each_is_compared_with_the_fastest_of_its_case_and_pass() -> None:
    (case,) = throughput(
        lines_of(timed(seconds=0.02), timed(FLAX, 0.01), timed(FLAX, 0.03, **{"pass": "train"}), timed(mode="compiled"))
    ).cases
    found = [(each.line.pass_, each.line.implementation, each.ratio) for each in case.timings]
    assert found == [("infer", FLAX, 1.0), ("infer", TORCH, 1.0), ("infer", TORCH, 2.0), ("train", FLAX, 1.0)]


def test_a_case_in_two_shapes_is_two_that_do_not_compare() -> None:
    """Of two machines: one has twice the cache of the other."""
    found = throughput(lines_of(timed(seconds=0.02), timed(FLAX, 0.01, shape=[32768, 256]))).cases
    assert [(each.shape, [timing.ratio for timing in each.timings]) for each in found] == [
        ("65536×256", [1.0]),
        ("32768×256", [1.0]),
    ]


def test_scores_come_first_by_the_limit_and_then_the_others_by_their_seconds() -> None:
    near, far = {"compulsory": 0.9, "streaming": 0.9}, {"compulsory": 0.2, "streaming": 0.2}
    (case,) = throughput(
        lines_of(
            timed(seconds=0.001, standing="invalid"), timed(seconds=0.002, standing="cached"),
            timed(seconds=0.04, fractions=far), timed(FLAX, 0.01, fractions=near),
        )
    ).cases  # fmt: skip
    assert [each.line.standing for each in case.timings] == ["scored", "scored", "cached", "invalid"]
    assert [each.measurement.seconds for each in case.timings] == [0.01, 0.04, 0.002, 0.001]


def test_the_spread_is_that_of_single_calls_over_all_batches() -> None:
    shared = {"min": 0.008, "max": 0.02, "rounds": 9, "iterations": 1}
    batches = [
        {**shared, "q1": 0.009, "median": 0.01, "q3": 0.011},
        {**shared, "q1": 0.0095, "median": 0.01, "q3": 0.012},
    ]
    (case,) = throughput(lines_of(timed(statistics=batches))).cases
    assert [each.spread for each in case.timings] == [(0.009, 0.012)]
    assert throughput(lines_of(timed())).cases[0].timings[0].spread is None


def test_what_has_another_number_of_threads_is_a_row_and_a_share_of_its_own(tmp_path: Path) -> None:
    own = line_of(timed())
    (limited,) = [msgspec.structs.replace(own, timed=f"{own.timed}::4-threads", threads=4)]
    found = throughput([TimedLine(framework="torch", line=line) for line in (own, limited)])
    assert [each.column for each in found.cases[0].timings] == ["eager cpu", "eager cpu, 4 threads"]
    assert [each.column for each in found.shares] == ["eager cpu", "eager cpu, 4 threads"]


def test_a_row_that_was_measured_beside_another_bandwidth_says_so(tmp_path: Path) -> None:
    usual = {"seconds": 0.01, "before": 1e10, "after": 1e10}
    lines = (
        timed(batches=[usual, usual]), timed(FLAX, batches=[usual]),
        timed(FLAX, mode="compiled", batches=[{**usual, "before": 7e9, "after": 7e9}]),
    )  # fmt: skip
    (case,) = throughput(lines_of(*lines)).cases
    assert [each.apart is not None for each in case.timings if each.line.mode == "compiled"] == [True]
    text = page(made(tmp_path, *lines), "throughput.html").text
    assert text.count("the memory moved 7 GB/s, 30 % less than beside the others of this table") == 1


def test_the_calls_of_a_warm_up_and_what_holding_costs_are_shown(tmp_path: Path) -> None:
    """A run of before they were told shows neither."""
    calls = {"first": 1.5, "second": 0.02, "calls": [1.5, 0.02, 0.0101], "freed": 0.01, "held": 0.013}
    told, untold = throughput(lines_of(warmed(calls), timed(FLAX))).cases[0].timings
    assert told.cold == 2
    assert told.held == pytest.approx(1.3)
    assert told.warming == pytest.approx(1.52)
    assert (untold.cold, untold.held, untold.warming) == (None, None, None)
    slow = warmed({**calls, "calls": [1.5, 0.02]})
    text = page(made(tmp_path, warmed(calls), {**slow, "timed": f"{slow['timed']}-2"}), "throughput.html").text
    assert "2 1.52e+03 ms 1.30" in text
    assert "more than 2 1.30" in text


def warmed(calls: Line) -> Line:
    return {**timed(), "warmed": calls}


def never_quiet(**other: Any) -> Line:
    why = "this machine was never quiet: 2 of 2 samples are void (2 queue)"
    return {**unmeasured(why, **other), "voided": [["queue"], ["queue", "uneven"]]}


def test_void_samples_are_counted_by_what_disturbed_them(tmp_path: Path) -> None:
    batch = {"seconds": 0.01, "before": 1e10, "after": 1e10}
    lines = (timed(voided=[["drift"]], batches=[batch, batch]), never_quiet())
    found = throughput(lines_of(*lines)).contention
    assert (found.samples, found.void) == (5, 3)
    assert found.reasons == {"drift": 1, "queue": 2, "uneven": 1}
    text = page(made(tmp_path, *lines), "throughput.html").text
    assert "Of 5 samples 3 were void" in text
    assert "2 beside more at work than there are cores" in text
    assert "Of 1 passes none was quiet: they have no number" in text
    assert "this machine was never quiet: 2 of 2 samples are void" in text
    assert "those of this machine, and of no other" in text


def test_every_disturbance_has_its_words() -> None:
    assert set(DISTURBANCES) == set(Disturbance)


@pytest.mark.parametrize("standing", ["invalid", "voided"])
def test_what_cannot_be_right_is_nobody_s_fastest(standing: str) -> None:
    (case,) = throughput(lines_of(timed(seconds=0.02), timed(FLAX, 0.001, standing))).cases
    assert [each.ratio for each in case.timings] == [1.0, None]


def test_only_scores_are_drawn_and_counted() -> None:
    found = throughput(
        lines_of(timed(), timed(FLAX, standing="launch_bound"), timed(mode="compiled", standing="voided"))
    )
    assert [each.framework for each in found.scattered] == ["torch"]
    assert {title: [curve.points for curve in curves] for title, curves in found.scattered[0].curves.items()} == {
        "eager, cpu, float32": [((-2.0, 0.5),)]
    }
    shares = {(each.implementation, each.column): dict(each.fractions) for each in found.shares}
    assert shares == {
        (TORCH, "eager cpu"): {"infer": (0.5, 0.75, 1)},
        (TORCH, "compiled cpu"): {},
        (FLAX, "eager cpu"): {},
    }


@pytest.mark.parametrize(
    ("score", "place"), [(1.0, 0.0), (0.0, LOW), (1e-9, LOW), (1e9, HIGH), ("Infinity", HIGH), (None, HIGH)]
)
def test_a_score_is_drawn_by_its_power_of_ten_within_the_axis(score: Any, place: float) -> None:
    assert drawn(score) == place


def test_what_was_not_measured_is_counted_by_reason() -> None:
    found = throughput(lines_of(timed(), unmeasured("offers none"), unmeasured("offers none")))
    assert found.unmeasured == {(TORCH, "offers none"): 2}


def made(folder: Path, *lines: Line) -> Path:
    """Write a run of cells and one of throughput, and the report of both."""
    judged = write_run(run(record("conforms")), folder)
    times = run_of(name="throughput.jsonl", environments=(environment_line(), environment_line(FLAX)),
                   throughput={"planned": len(lines)})  # fmt: skip
    given = tuple(each.line for each in lines_of(*lines))
    file = write_run(replace(times, throughput=given), folder)
    write([read(judged), read(file)], folder / "pages", partial=False)
    return folder / "pages"


def test_the_page_shows_fraction_ratio_error_and_standing(tmp_path: Path) -> None:
    folder = made(tmp_path, timed(), timed(FLAX, 0.02, "voided", why="the bandwidth drifted"), unmeasured("has none"))
    text = page(folder, "throughput.html").text
    assert "1 scored, 1 void, 1 not measured" in text
    assert "the bandwidth drifted" in text
    assert "has none" in text
    assert "10 1.00 0.50 0.75 0.01 1.5e+03 64" in text


def test_a_run_of_throughput_adds_no_cell_and_no_environment(tmp_path: Path) -> None:
    folder = made(tmp_path, timed())
    assert "flax" not in page(folder, "environments.html").text
    assert "throughput.one" not in page(folder, "index.html").text


def test_words_of_a_framework_stay_words(tmp_path: Path) -> None:
    folder = made(tmp_path, timed(), unmeasured(HOSTILE))
    tags = {tag for tag, _ in page(folder, "throughput.html").elements}
    assert "b" not in tags


def test_a_report_without_throughput_says_how_to_get_some(tmp_path: Path) -> None:
    write([run(record("conforms"))], tmp_path / "pages", partial=False)
    assert "none of these files is a run of conformance throughput" in page(tmp_path / "pages", "throughput.html").text


def test_a_run_of_throughput_alone_makes_a_report(tmp_path: Path) -> None:
    made(tmp_path, timed())
    write([read(tmp_path / "throughput.jsonl")], tmp_path / "alone", partial=False)
    assert "Fraction of the limit" in page(tmp_path / "alone", "throughput.html").text


@pytest.mark.parametrize(("standing", "voided"), [("voided", ()), ("scored", (("queue",),)), ("cached", ())])
def test_a_line_without_numbers_that_is_no_void_one_is_refused(
    tmp_path: Path, standing: TimingStanding, voided: tuple[tuple[str, ...], ...]
) -> None:
    made(tmp_path, timed())
    run = read(tmp_path / "throughput.jsonl")
    (line,) = run.throughput
    numberless = msgspec.structs.replace(line, measurement=None, standing=standing, voided=voided)
    with pytest.raises(UsageError, match=f"is {standing}, which its numbers deny"):
        read(write_run(replace(run, throughput=(numberless,)), tmp_path / "numberless"))


def test_a_run_of_throughput_that_did_not_end_is_partial(tmp_path: Path) -> None:
    made(tmp_path, timed())
    file = tmp_path / "throughput.jsonl"
    lines = [line for line in file.read_text().splitlines() if '"kind":"throughput"' not in line]
    file.write_text("\n".join(lines) + "\n")
    assert not read(file).complete
