"""Variance components as a table and in sentences: roots, shares, and what pairs tell."""

from pathlib import Path

import pytest

from paper_figures.tables.variance import variance_sentences, variance_table
from tests.helpers.fake_results import fake_plan
from tests.helpers.variances import components

PLAN = fake_plan(Path(), methods=3)
FIRST, SECOND = (row.title for row in PLAN.methods[:2])


def test_cells_are_deviations_with_their_share_of_the_variance() -> None:
    table = variance_table(PLAN, components())
    first, second, difference = table.cells.to_dict("records")
    assert first["Method"] == FIRST
    assert difference["Method"] == f"{FIRST} − {SECOND}"
    assert (first["Mean [%]"], first["A run"]) == ("90.00", "5.00")
    assert first["Class order"] == "4.00 (64%)"
    assert first["Training"] == "3.00 (36%)"
    assert second["Class order"] == "12.00 (100%)"
    assert difference["Rounding"] == "3.00 (100%)"
    assert "Data set" not in first
    assert table.rules == {2}, "differences stand apart"
    assert "4 class orders times 3 training seeds times 2 roundings" in table.notes[0]


def test_without_differences_there_is_no_rule_and_without_spread_no_share() -> None:
    frame = components().iloc[:1].assign(order=0.0, seed=0.0)
    table = variance_table(PLAN, frame)
    assert table.rules == frozenset()
    assert table.cells["Training"].tolist() == ["0.00"]


def test_a_sentence_says_what_pairing_gains_and_what_three_pairs_know() -> None:
    """Apart: sqrt(25 + 144) = 13. Three pairs: t(0.975, 2) = 4.3027 over sqrt 3, times 3."""
    (said,) = variance_sentences(PLAN, components())
    assert said.startswith(f"{FIRST} minus {SECOND}, run by run: +10.00 points")
    assert "standard deviation of 3.00, below the 13.00 of runs that share neither" in said
    assert "100% of its variance comes from rounding" in said
    assert "known to ± 7.45 points (95%)" in said
    assert said.endswith("gives it a deviation of 1.73.")


@pytest.mark.parametrize(("total", "said"), [(12.9, "below the"), (13.1, "not below the")])
def test_pairing_may_gain_nothing(total: float, said: str) -> None:
    frame = components()
    frame.loc[2, "total"] = total
    assert f"deviation of {total:.2f}, {said} 13.00" in variance_sentences(PLAN, frame)[0]
