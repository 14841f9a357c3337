"""The data that the pages' scripts read: the index of all cells, and the cells in full."""

from __future__ import annotations

import json
from dataclasses import replace

import msgspec
import pytest

from conformance.report import shards as shards_module
from conformance.report.index import index, words
from conformance.report.shards import shards
from conformance.report.site import site
from conformance.runfile.structs import FirstTry
from tests.report_lines import HOSTILE, case, quantity, record, report_of, run, whole
from tests.run_lines import FLAX, record_line


def flax(verdict: str, status: str = "passed", *, of: str = "a.one") -> dict[str, object]:
    """A cell of flax beside those of torch."""
    return record_line(verdict, of=of, implementation=FLAX, status=status)


def test_the_data_cannot_end_their_element() -> None:
    """They hold no character that HTML or an older script reads."""
    made = report_of(run(record("crashed", "failed", diagnosis=HOSTILE), cases=(case(title=HOSTILE),)))
    documents = {"results": json.dumps([HOSTILE], ensure_ascii=False).encode()}
    files = {path: whole(pieces).decode() for path, pieces in site(made, documents) if path.startswith("data/")}
    assert set(files) == {
        "data/cases-0.js",
        "data/causes.js",
        "data/index.js",
        "data/porting.js",
        "data/results.js",
        "data/words.js",
    }
    for text in files.values():
        assert not set("<>&\u2028\u2029") & set(text)
    told = files["data/cases-0.js"].removeprefix('conformance.receive("cases-0", ').removesuffix(");\n")
    assert json.loads(told)["cases"][0]["title"] == HOSTILE


def test_the_index_holds_the_cells_worst_first() -> None:
    """Each in numbers that the lists beside them explain."""
    made = report_of(run(record("conforms"), record("deviates", "failed", mode="compiled", diagnosis="decay inverted")))
    found, told = index(made), words(made, [])
    assert [told["columns"][each][2] for each in found["column"]] == ["compiled", "eager"]
    codes = [divmod(each, len(told["stands"])) for each in found["code"]]
    assert [told["verdicts"][verdict][0] for verdict, _ in codes] == ["deviates", "conforms"]
    assert [told["stands"][stand][0] for _, stand in codes] == ["unexpected", "agrees"]
    assert [found["texts"][each] for each in found["what"]] == ["decay inverted", ""]
    assert found["case"] == [0, 0]


def test_a_column_has_the_arguments_of_its_calls() -> None:
    """By which the search finds it."""
    calls = [f"torch.nn.BatchNorm1d({name}=1)" for name in ("momentum", "eps")]
    records = [record("conforms", of=f"a.{at}", call=call) for at, call in enumerate(calls)]
    made = report_of(run(*records, cases=(case("a.0"), case("a.1"))))
    assert words(made, [])["columns"][0][6] == "eps momentum"


def test_the_files_of_cases_hold_every_cell_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of the ids, whole cases in each, and the first ids tell where a case is."""
    monkeypatch.setattr(shards_module, "CELLS", 3)
    names = ["b.x", "a.z", "a.B", "c", "a.a", "b.X"]
    records = [record("exact", of=name, mode=mode) for name in names for mode in ("eager", "compiled")]
    found = list(shards(report_of(run(*records, cases=tuple(case(name) for name in names)))))
    held = [[each["id"] for each in shard.value["cases"]] for shard in found]
    assert held == [["a.B", "a.a"], ["a.z", "b.X"], ["b.x", "c"]]
    assert [shard.first for shard in found] == ["a.B", "a.z", "b.x"]
    assert sorted(cell[0] for cell in found[0].value["cells"]) == [0, 0, 1, 1]


def test_zeros_of_either_sign_are_kept_apart() -> None:
    """They are equal, and only one of them is what was observed."""
    cells = []
    for mode, observed in (("eager", 0.0), ("compiled", -0.0)):
        judged = quantity("deviates")
        judged["worst"]["observed"] = observed
        step = {"number": 1, "kind": "infer", "verdict": "deviates", "expected": True, "quantities": [judged]}
        cells.append(record("deviates", "failed", mode=mode, steps=[step]))
    (shard,) = shards(report_of(run(*cells)))
    assert [str(each[4][2]) for each in shard.value["quantities"]] == ["0.0", "-0.0"]


def test_a_dialect_names_its_fields() -> None:
    """The list of cells says which documented field explains the numbers."""
    judged = record("dialect")
    judged["steps"][0]["quantities"][0]["fields"] = ["moving_correction", "update"]
    assert "output as documented: moving_correction, update" in index(report_of(run(judged)))["texts"]


def test_a_score_is_never_rounded_across_its_limit() -> None:
    """A deviation just beyond the bound does not read as one on it."""
    beyond = record("deviates", "failed", score=1.0000001)
    within = record("conforms", mode="compiled", score=0.99999)
    made = report_of(run(beyond, within))
    (shard,) = shards(made)
    assert index(made)["score"] == [1.0000001, 1.0]
    assert [cell[4] for cell in shard.value["cells"]] == [1.0000001, 1.0]


def test_a_cell_of_many_steps_keeps_the_ones_that_decide() -> None:
    """The first, the last and the worst of a hundred steps are shown, and the rest counted."""
    long = record("conforms")
    first = long["steps"][0]
    long["steps"] = [
        {**first, "number": number, "quantities": [quantity("conforms", 0.9 if number == 50 else 0.1)]}
        for number in range(100)
    ]
    (shard,) = shards(report_of(run(long)))
    *_, omitted, steps = shard.value["cells"][0]
    assert [step[0] for step in steps] == [0, 1, 50, 98, 99]
    assert omitted == 95


def test_a_cell_that_was_tried_twice_says_what_it_gave_first() -> None:
    """A verdict that a fresh process gave is no full account of what the first one gave."""
    first = {"verdict": "deviates", "why": "NaN", "before": ["a.zero::numpy.BatchNorm-eager-cpu"]}
    made = run(record("conforms"), record("exact", mode="compiled"))
    told = msgspec.convert(first, FirstTry)
    records = (msgspec.structs.replace(made.records[0], first=told), made.records[1])
    (shard,) = shards(report_of(replace(made, records=records)))
    assert [shard.value["texts"][cell[13]] for cell in shard.value["cells"]] == [
        "deviates after a.zero::numpy.BatchNorm-eager-cpu in one process (NaN): recorded is what a fresh process gave, conforms",
        "",
    ]
