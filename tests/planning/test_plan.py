"""The cells of a run: every case for everything that is offered, in order, each once."""

from __future__ import annotations

import re
from typing import Any

import pytest

from conformance.errors import UsageError
from conformance.operations import OPERATIONS
from conformance.planning.discovery import limited
from conformance.planning.offer import offer_from
from conformance.planning.plan import Cell, Selection, nothing_planned, plan, thread_keys
from conformance.protocol import Declared
from tests import shipped
from tests.cells import INFER, RELOAD, TRAIN, case, declared, key, located, offer, offered

ID = re.compile(r"[A-Za-z0-9_.+/:-]+")


def ids(*cells: Cell) -> list[str]:
    return [cell.id for cell in cells]


CASES = [located(case(id="a.one")), located(case(id="a.two", dtype="bfloat16")), located(case(id="b.one"))]
BOTH = offered(name="fake.Layer", modes=("eager", "compiled"), devices=("cpu", "gpu"))


def planned(selection: Selection | None = None, *offers: Any, cases: Any = CASES) -> list[str]:
    made = offers or (offer(BOTH, cases=len(cases)),)
    return ids(*plan(cases, made, selection or Selection()))


def test_a_cell_s_id_is_its_case_and_its_column() -> None:
    made = next(plan(CASES, [offer(BOTH, cases=3)], Selection()))
    assert (made.id, made.column) == ("a.one::fake.Layer-eager-cpu", "fake.Layer-eager-cpu")


def test_cells_go_case_by_case_then_by_mode_then_by_device() -> None:
    assert planned()[:5] == [
        "a.one::fake.Layer-eager-cpu",
        "a.one::fake.Layer-eager-gpu",
        "a.one::fake.Layer-compiled-cpu",
        "a.one::fake.Layer-compiled-gpu",
        "a.two::fake.Layer-eager-cpu",
    ]


def test_every_case_meets_every_implementation_mode_and_device_once() -> None:
    assert len(planned()) == 3 * 2 * 2 == len(set(planned()))


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(cases=("a.*",)), {"a.one", "a.two"}),
        (Selection(cases=("*.one",)), {"a.one", "b.one"}),
        (Selection(cases=("a.two", "b.*")), {"a.two", "b.one"}),
        (Selection(cases=("A.*",)), set()),
        (Selection(cases=("one",)), set()),
        (Selection(cases=("?.one",)), {"a.one", "b.one"}),
    ],
)
def test_cases_are_selected_by_globs_on_the_whole_id(selection: Selection, expected: set[str]) -> None:
    assert {each.partition("::")[0] for each in planned(selection)} == expected


@pytest.mark.parametrize(
    ("selection", "columns"),
    [
        (Selection(modes=("eager",)), {"fake.Layer-eager-cpu", "fake.Layer-eager-gpu"}),
        (Selection(modes=("compiled",), devices=("gpu",)), {"fake.Layer-compiled-gpu"}),
        (Selection(implementations=("fake.*",), devices=("cpu",), modes=("eager",)), {"fake.Layer-eager-cpu"}),
        (Selection(implementations=("torch.*",)), set()),
        (Selection(modes=("xla",)), set()),
    ],
)
def test_columns_are_selected_by_implementation_mode_and_device(selection: Selection, columns: set[str]) -> None:
    assert {each.partition("::")[2] for each in planned(selection)} == columns


def test_a_process_that_serves_other_dtypes_has_no_cell() -> None:
    wide = offer(offered(name="wide"), cases=3, key=key(name="wide", dtypes=("bfloat16",)))
    assert planned(None, wide) == ["a.two::wide-eager-cpu"]


def test_the_cell_of_a_dtype_is_run_by_the_process_that_serves_it() -> None:
    names = ("float32", "bfloat16")
    offers = [offer(offered(name="one"), cases=3, key=key(name=name, dtypes=(name,))) for name in names]
    assert [cell.key.name for cell in plan(CASES, offers, Selection())] == ["float32", "bfloat16", "float32"]


LIMITS = (("T", "{threads}"),)
TWINS = [located(case(id="a.any")), located(case(id="a.one", threads=1))]


def test_a_case_that_names_threads_needs_a_process_of_its_own() -> None:
    free = offer(cases=2, key=key(limits=LIMITS))
    assert thread_keys(TWINS, [free], Selection()) == ()
    free = offer(BOTH, cases=2, key=key(limits=LIMITS, environment=(("A", "0"),)))
    (one,) = thread_keys(TWINS, [free, free], Selection())
    assert (one.name, one.threads, one.environment) == ("fake-threads-1", 1, (("A", "0"), ("T", "1")))


@pytest.mark.parametrize(
    ("fields", "selection"),
    [
        ({}, Selection()),
        ({"limits": LIMITS, "dtypes": ("float64",)}, Selection()),
        ({"limits": LIMITS}, Selection(cases=("a.any",))),
        ({"limits": LIMITS}, Selection(implementations=("other",))),
        ({"limits": LIMITS}, Selection(devices=("gpu",))),
    ],
)
def test_no_process_is_started_that_would_have_no_cell(fields: Any, selection: Selection) -> None:
    assert thread_keys(TWINS, [offer(BOTH, cases=2, key=key(**fields))], selection) == ()


def test_each_twin_runs_in_the_process_with_its_threads() -> None:
    free = key(limits=LIMITS)
    offers = [offer(offered(), cases=2, key=each) for each in (free, limited(free, 1))]
    cells = list(plan(TWINS, offers, Selection()))
    assert [(cell.case.id, cell.key.name, cell.unsupported) for cell in cells] == [
        ("a.any", "fake", None),
        ("a.one", "fake-threads-1", None),
    ]


def test_where_nothing_limits_the_threads_the_cell_says_why() -> None:
    cells = list(plan(TWINS, [offer(offered(), cases=2, key=key(unlimited="it has one"))], Selection()))
    assert [cell.unsupported for cell in cells] == [None, "it has one"]


def test_a_number_of_threads_is_none_of_a_gpu_s() -> None:
    one = offer(offered(devices=("gpu",)), cases=2, key=limited(key(limits=LIMITS), 1))
    (cell,) = plan(TWINS, [one], Selection())
    assert cell.unsupported == "a number of threads is a setting of the CPU"


def test_an_implementation_has_only_the_cases_of_its_operation() -> None:
    cases = [located(case(id="a.norm")), located(case(id="a.centre", op="centering"))]
    assert planned(None, offer(offered(op="centering"), cases=2), cases=cases) == ["a.centre::fake.BatchNorm-eager-cpu"]


def reason(made: Any, *reasons: str | None, **fields: Any) -> str | None:
    described = offer(offered(**fields), reasons={"fake.BatchNorm": list(reasons or (None,))})
    (cell,) = plan([located(made)], [described], Selection())
    return cell.unsupported


def test_what_an_implementation_supports_has_no_reason() -> None:
    assert reason(case()) is None


def test_a_dtype_that_it_does_not_take_is_a_reason() -> None:
    assert reason(case(dtype="float16"), dtypes=("float32",)) == "does not take float16"


def test_steps_that_it_lacks_are_a_reason() -> None:
    made = case(TRAIN, RELOAD, INFER)
    assert reason(made, steps=("train",)) == "has no step infer, reload"


def test_a_step_within_a_repetition_is_a_step() -> None:
    made = case({"step": "repeat", "times": 2, "steps": [TRAIN, RELOAD]})
    assert reason(made, steps=("train",)) == "has no step reload"


HANDED = {**TRAIN, "handed": {"moving_mean": [4]}, "refused": "wrong size"}


def test_a_call_that_is_handed_nothing_cannot_be_asked_about_another_size() -> None:
    made = case(TRAIN, HANDED)
    told = "no call is handed moving_mean, so that none can have another size than the layer's"
    assert reason(made, given=("gamma", "beta")) == told
    assert reason(made, given=("moving_mean",)) is None


def test_moving_values_that_a_caller_keeps_are_handed_over_in_inference_alone() -> None:
    caller: dict[str, Any] = {"given": ("gamma", "moving_mean"), "profile": (declared("state", "caller"),)}
    told = "its caller keeps moving_mean, and no call in training is handed it"
    assert reason(case(TRAIN, HANDED), **caller) == told
    assert reason(case(TRAIN, {**HANDED, "handed": {"gamma": [4]}}), **caller) is None
    assert reason(case(INFER, {**INFER, "handed": {"moving_mean": [4]}, "refused": "wrong size"}), **caller) is None


def test_its_own_reason_is_told() -> None:
    assert reason(case(), "takes no such axis") == "takes no such axis"


def test_reasons_belong_to_their_cases_though_some_are_not_selected() -> None:
    described = offer(offered(), reasons={"fake.BatchNorm": ["first", "second", None]})
    cells = plan(CASES, [described], Selection(cases=("*.two", "b.*")))
    assert [(cell.case.id, cell.unsupported) for cell in cells] == [("a.two", "second"), ("b.one", None)]


def test_every_shipped_cell_has_an_id_of_its_own_that_pytest_and_globs_take() -> None:
    cases = shipped.spec().cases
    names = ("torch.nn.BatchNorm", "keras.layers.BatchNormalization+jax")
    offers = [
        offer(*(offered(name=name, op=op, modes=("eager", "compiled", "xla")) for name in names), cases=len(cases))
        for op in OPERATIONS
    ]
    found = [cell.id for each in offers for cell in plan(cases, [each], Selection())]
    assert len(found) == len(set(found)) == len(cases) * len(names) * 3
    assert all(ID.fullmatch(each) for each in found)


DESCRIBED: dict[str, Any] = {
    "library": "fake",
    "versions": {"fake": "1"},
    "settings": {"threads": "1"},
    "host": {"python": "3"},
    "sources": {"conformance_adapters.fake": "ADAPTER = None"},
    "implementations": [
        {
            "name": "fake.Layer",
            "op": "batch_norm",
            "modes": ["eager"],
            "devices": ["cpu"],
            "dtypes": ["float32"],
            "steps": ["train"],
            "lacks": ["grad_input"],
            "profile": [
                {
                    "field": "update",
                    "value": "none",
                    "source": "documentation",
                    "where": "p",
                    "error": None,
                    "ranks": [2],
                }
            ],
            "documentation": "page",
            "functions": {"train": "train"},
        }
    ],
}


def test_an_offer_in_json_values_is_read_back_as_it_was_described() -> None:
    found = offer_from(key(), DESCRIBED, {"fake.Layer": [None]}, 1)
    (layer,) = found.implementations
    assert (layer.modes, layer.devices, layer.dtypes, layer.steps) == (("eager",), ("cpu",), ("float32",), ("train",))
    assert (layer.lacks, layer.documentation) == (("grad_input",), "page")
    assert layer.profile == (Declared(field="update", value="none", source="documentation", where="p", ranks=(2,)),)
    assert found.sources == {"conformance_adapters.fake": "ADAPTER = None"}
    assert layer.functions == {"train": "train"}
    assert (found.library, found.versions, found.settings) == ("fake", {"fake": "1"}, {"threads": "1"})


def test_what_is_timed_needs_what_it_is_timed_by() -> None:
    """Without `wait` a call would be timed that has only begun."""
    layer: Any = DESCRIBED["implementations"][0]
    described = {**DESCRIBED, "implementations": [{**layer, "timed": ["get", "infer", "put"]}]}
    with pytest.raises(UsageError, match=r"fake\.Layer: `timed` has no wait"):
        offer_from(key(), described, {"fake.Layer": [None]}, 1)


def test_a_device_that_nothing_computes_on_is_said_to_be_that() -> None:
    """A machine without a GPU, asked for one; of what was not asked for the devices are no help."""
    offers = [offer(offered(name="cpu.only"), offered(name="gpu.too", devices=("cpu", "gpu")))]
    asked = Selection(implementations=("cpu.*",), devices=("gpu",))
    assert nothing_planned(asked, offers) == "nothing selected: --device gpu: nothing here computes on it, only on cpu"
    assert (
        nothing_planned(Selection(devices=("gpu",)), offers) == "nothing selected: no cell of cpu.only, gpu.too matches"
    )
