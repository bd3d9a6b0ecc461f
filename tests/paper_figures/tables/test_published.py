"""Published numbers beside ours: every source with range, difference and verdict."""

from dataclasses import replace
from pathlib import Path

import pytest

from paper_figures.collect import collect
from paper_figures.figures.published import published
from paper_figures.plan import Published
from paper_figures.style import paper_style
from paper_figures.tables.forms import to_latex, to_markdown
from paper_figures.tables.published import NONE_PUBLISHED, published_frame, published_table
from tests.helpers import fake_results
from tests.helpers.published_results import results_with

METRIC = "final_average_accuracy"


def test_every_source_is_shown_with_range_difference_and_verdict(tmp_path: Path) -> None:
    plain = results_with(tmp_path)
    own = plain.runs[plain.runs["method"] == "method-0"][METRIC]
    mean, deviation = own.mean(), own.std()
    near = Published("method-0", "set-0", METRIC, mean - 1.9 * deviation, None, "paper", "A")
    far = Published("method-0", "set-0", METRIC, mean - 2.1 * deviation, None, "rerun", "B", "T1")
    wide = replace(far, deviation=float(deviation), source="C", protocol="other backbone")
    absent = replace(far, method="not-here")
    found = replace(plain, plan=replace(plain.plan, published=(near, far, wide, absent)))
    frame = published_frame(found)
    assert list(frame["within"]) == [True, False, True]
    assert frame["difference"].iloc[0] == pytest.approx(1.9 * deviation)
    assert frame["combined"].iloc[2] == pytest.approx(2**0.5 * deviation)
    table = published_table(found)
    assert list(table.cells["Within 2 s"]) == ["yes", "no", "yes"]
    assert " to " in table.cells["Range"][0] and table.cells["Ours"][0].endswith("(n = 3)")
    text = to_markdown(table)
    for said in ("paper: A", "rerun: B, T1", "rerun: C, T1 (other backbone)"):
        assert said in text
    assert to_latex(table, "x").count(r"\textsuperscript{a}") == 2


def test_one_seed_against_a_source_without_deviation_is_not_judged(tmp_path: Path) -> None:
    plan = fake_results.fake_plan(tmp_path, methods=2, seeds=1)
    fake_results.write_fake_runs(plan)
    one = Published("method-0", "set-0", METRIC, 50.0, None, "authors", "A")
    table = published_table(collect(replace(plan, published=(one,))))
    assert list(table.cells["Within 2 s"]) == ["–"]


def test_a_method_that_has_not_run_shows_what_others_report(tmp_path: Path) -> None:
    found = results_with(tmp_path, Published("method-1", "set-0", METRIC, 50, 1, "authors", "A"))
    without = found.runs[found.runs["method"] != "method-1"]
    table = published_table(replace(found, runs=without))
    assert table.cells["Ours"][0] == "–" and table.cells["Difference"][0] == "–"


def test_an_experiment_without_published_numbers_says_so(tmp_path: Path) -> None:
    found = results_with(tmp_path)
    assert NONE_PUBLISHED in to_markdown(published_table(found))
    assert r"\bottomrule" in to_latex(published_table(found), "x")
    with paper_style():
        assert published(found, "set-0").axes[0].texts
