"""The order of cells: what compiles the same together, the longest process first."""

from __future__ import annotations

from conformance.planning.costs import Costs
from conformance.planning.order import in_order
from conformance.planning.plan import Selection, plan
from tests.cells import case, key, located, offer, offered


def test_the_process_that_has_most_to_do_comes_first() -> None:
    """What runs in the same process stays together, and so do the cells of one implementation in it."""
    names = {"a": "jax", "b": "torch", "c": "torch", "d": "numpy"}
    offers = [offer(offered(name=f"{name}.Layer"), cases=2, key=key(name=name, shared=names[name])) for name in names]
    cells = list(plan([located(case(id="x.one")), located(case(id="x.two"))], offers, Selection()))
    costs = Costs(seconds={"a.Layer-eager": 3.0, "b.Layer-eager": 1.0, "c.Layer-eager": 2.5, "d.Layer-eager": 0.1})
    assert [f"{cell.implementation.name[0]} {cell.case.id[2:]}" for cell in in_order(cells, costs)] == [
        "b one",
        "b two",
        "c one",
        "c two",
        "a one",
        "a two",
        "d one",
        "d two",
    ]


def test_cells_that_compile_the_same_stand_together_in_the_order_of_the_spec() -> None:
    """Each shape, dtype and mode is compiled once for all of its cases, however few programs a library keeps."""
    shapes = {"x.one": [8, 3], "x.two": [4, 2], "x.three": [8, 3], "x.four": [4, 2]}
    cases = [located(case(id=name, shape=shape)) for name, shape in shapes.items()]
    offers = [offer(offered(modes=("eager", "compiled")), cases=len(cases))]
    cells = list(plan(cases, offers, Selection()))
    assert [f"{cell.mode} {cell.case.id[2:]}" for cell in in_order(cells, Costs())] == [
        "compiled two",
        "compiled four",
        "compiled one",
        "compiled three",
        "eager two",
        "eager four",
        "eager one",
        "eager three",
    ]
