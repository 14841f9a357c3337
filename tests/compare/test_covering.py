"""Cells are gathered under the fewest causes."""

from __future__ import annotations

from collections import Counter
from random import Random

from conformance.compare.covering import covered
from conformance.runfile.reasons import SharedCause


def cause(words: str, *, symptom: bool = False) -> SharedCause:
    return SharedCause(id=words, words=words, symptom=symptom)


def test_the_cause_of_most_items_takes_them_and_a_symptom_comes_last() -> None:
    one, other, sign = cause("one"), cause("other"), cause("sign", symptom=True)
    items = [("a", [one, sign]), ("b", [one, other]), ("c", [one]), ("d", [other]), ("e", [sign]), ("f", [sign])]
    assert list(covered(items)) == [(one, ["a", "b", "c"]), (other, ["d"]), (sign, ["e", "f"])]


def test_every_item_stands_under_the_cause_that_counting_anew_each_time_would_choose() -> None:
    random = Random(5)
    causes = [cause(f"cause {number}", symptom=number % 3 == 0) for number in range(9)]
    for _ in range(200):
        items = [(number, random.sample(causes, random.randint(1, 3))) for number in range(random.randint(0, 12))]
        remaining, expected = items, []
        while remaining:
            counts = Counter(one for _, shared in remaining for one in shared)
            chosen = min(counts, key=lambda one: (one.symptom, -counts[one], one.words, one.id))
            expected.append((chosen, [item for item, shared in remaining if chosen in shared]))
            remaining = [(item, shared) for item, shared in remaining if chosen not in shared]
        assert list(covered(items)) == expected
