"""Tiers say which cases run in which mode; each adds to the one before, and the last is everything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from conformance.errors import SpecErrors
from conformance.planning.plan import Selection, plan
from conformance.spec.tiers import Tier, Tiers, load_tiers
from tests.cells import case, located, offer, offered

CASES = ["axes.one", "axes.two", "edges.one"]
DECLARED = """
smoke:
  eager: ["edges.*"]
standard:
  eager: ["axes.*"]
  compiled: ["axes.one"]
"""


def loaded(text: str, folder: Path) -> Tiers:
    file = folder / "tiers.yaml"
    file.write_text(text)
    return load_tiers(file, CASES, "tiers.yaml")


@pytest.mark.parametrize(
    ("tier", "case_id", "modes"),
    [
        (Tier.SMOKE, "edges.one", {"eager"}),
        (Tier.SMOKE, "axes.one", set()),
        (Tier.STANDARD, "edges.one", {"eager"}),
        (Tier.STANDARD, "axes.one", {"eager", "compiled"}),
        (Tier.STANDARD, "axes.two", {"eager"}),
        (Tier.FULL, "axes.two", {"eager", "compiled", "xla"}),
    ],
)
def test_a_tier_has_its_own_cases_and_those_of_the_smaller_ones(
    tier: Tier, case_id: str, modes: set[str], tmp_path: Path
) -> None:
    assert loaded(DECLARED, tmp_path).modes(tier, case_id) == modes


OF_A_GROUP = (
    DECLARED
    + """\
  groups:
    jax: {eager: ["axes.two"], compiled: ["*"]}
"""
)


@pytest.mark.parametrize(
    ("group", "case_id", "modes"),
    [
        ("torch", "axes.one", {"eager", "compiled"}),
        ("torch", "axes.two", {"eager"}),
        (None, "axes.two", {"eager"}),
        ("jax", "axes.one", {"compiled"}),
        ("jax", "axes.two", {"eager", "compiled"}),
        ("jax", "edges.one", {"eager", "compiled"}),
    ],
)
def test_what_a_tier_says_of_a_group_holds_there_instead(
    group: str | None, case_id: str, modes: set[str], tmp_path: Path
) -> None:
    """The smaller tiers keep what they say of every group."""
    assert loaded(OF_A_GROUP, tmp_path).modes(Tier.STANDARD, case_id, group) == modes


def test_the_plan_asks_for_the_modes_of_the_process_s_group(tmp_path: Path) -> None:
    implementation = offered(name="fake.Layer", modes=("eager", "compiled"), devices=("cpu",))
    made = offer(implementation, cases=3)
    made = replace(made, key=replace(made.key, group="jax"))
    cases = [located(case(id=each)) for each in CASES]
    cells = plan(cases, [made], Selection(tier=Tier.STANDARD), loaded(OF_A_GROUP, tmp_path))
    assert [cell.id.partition(".Layer-")[0::2] for cell in cells] == [
        ("axes.one::fake", "compiled-cpu"),
        ("axes.two::fake", "eager-cpu"),
        ("axes.two::fake", "compiled-cpu"),
        ("edges.one::fake", "eager-cpu"),
        ("edges.one::fake", "compiled-cpu"),
    ]


def test_without_a_declaration_every_tier_is_everything() -> None:
    assert Tiers().modes(Tier.SMOKE, "axes.one") == {"eager", "compiled", "xla"}


def test_the_plan_has_the_modes_that_the_tier_has(tmp_path: Path) -> None:
    implementation = offered(name="fake.Layer", modes=("eager", "compiled"), devices=("cpu",))
    cases = [located(case(id=each)) for each in CASES]
    cells = plan(cases, [offer(implementation, cases=3)], Selection(tier=Tier.STANDARD), loaded(DECLARED, tmp_path))
    assert [cell.id for cell in cells] == [
        "axes.one::fake.Layer-eager-cpu",
        "axes.one::fake.Layer-compiled-cpu",
        "axes.two::fake.Layer-eager-cpu",
        "edges.one::fake.Layer-eager-cpu",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- smoke", "tiers.yaml:1:1: expected a mapping of the tiers smoke, standard, in this order"),
        ("smoke: {}\n", "tiers.yaml:1:1: expected a mapping of the tiers smoke, standard, in this order"),
        (
            "smoke: {jit: ['*']}\nstandard: {}\n",
            "tiers.yaml:1:1: smoke: expected globs over case ids by mode: eager, compiled, xla",
        ),
        (
            "smoke: {}\nstandard:\n  eager: axes\n",
            "tiers.yaml:3:3: standard.eager: expected a list of globs over case ids",
        ),
        (
            "smoke: {}\nstandard:\n  eager:\n    - axes.*\n    - axis.*\n",
            "tiers.yaml:5:7: standard.eager: no case matches 'axis.*'",
        ),
        (
            "smoke: {}\nstandard:\n  groups:\n    jax:\n      jit: ['*']\n",
            "tiers.yaml:4:5: standard.groups.jax: expected globs over case ids by mode: eager, compiled, xla",
        ),
        (
            "smoke: {}\nstandard:\n  groups:\n    jax:\n      eager: ['axis.*']\n",
            "tiers.yaml:5:15: standard.groups.jax.eager: no case matches 'axis.*'",
        ),
        (
            "smoke: {}\nstandard:\n  groups: jax\n",
            "tiers.yaml:3:3: standard.groups: expected a mapping of framework groups",
        ),
    ],
)
def test_a_mistake_is_one_line_with_its_place(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SpecErrors) as raised:
        loaded(text, tmp_path)
    assert str(raised.value) == message
