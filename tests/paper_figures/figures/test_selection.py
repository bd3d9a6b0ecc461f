"""The figure of choices: sorting and adding up lose none."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paper_figures.collect import collect
from paper_figures.figures import selection
from paper_figures.style import paper_style
from starprompt.analysis import prompt_choices
from tests.helpers import fake_results
from tests.helpers.made_up_runs import small_plan


def test_class_names_are_left_out_where_there_are_too_many(tmp_path: Path) -> None:
    for n_classes, expected in [(10, 10), (100, 0)]:
        plan = fake_results.fake_plan(tmp_path / str(n_classes), methods=2, seeds=1)
        fake_results.write_fake_runs(plan, n_classes=n_classes, n_tasks=5)
        with paper_style():
            axis = selection.class_selection(collect(plan), "set-0").axes[0]
        assert len(axis.get_yticklabels()) == expected


def test_a_figure_of_methods_that_select_nothing_says_so(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, methods=2, datasets=1, seeds=1)
    fake_results.write_selection(plan.run_folder("set-0", "method-0", 1993), {})
    only = replace(plan, methods=plan.methods[:1])
    with paper_style():
        figure = selection.task_selection(collect(only), "set-0")
    assert figure.axes[0].texts[0].get_text() == "No method here selects prompts."


@given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_sorting_and_adding_up_lose_no_choice(tasks: int, per_task: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    n_classes = tasks * per_task
    counts = random.integers(0, 9, (n_classes, n_classes))
    task_of_class = [label // per_task for label in range(n_classes)]
    together = selection.by_task(counts, task_of_class)
    for true in range(tasks):
        for chosen in range(tasks):
            rows = slice(true * per_task, (true + 1) * per_task)
            columns = slice(chosen * per_task, (chosen + 1) * per_task)
            assert together[true, chosen] == counts[rows, columns].sum()
    order = random.permutation(n_classes)
    back = selection.by_source_class(counts, order.tolist())
    for source in range(n_classes):
        assert back[source, source] == counts[order[source], order[source]]
    assert back.sum() == counts.sum()
    shares = prompt_choices.row_percent(counts)
    filled = counts.sum(axis=1) > 0
    assert shares[filled].sum(axis=1) == pytest.approx(100)
    assert np.isnan(shares[~filled]).all()
