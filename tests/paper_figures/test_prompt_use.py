"""Whose prompts were chosen: prompts of classes, of tasks and of a shared pool alike."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paper_figures.collect import collect
from paper_figures.figures import prompt_use
from paper_figures.style import paper_style
from starprompt.analysis import prompt_choices
from starprompt.record.record import SELECTION_COLUMNS
from tests.helpers import fake_results

TASK_OF_CLASS = [0, 0, 1, 1]


def choices(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Rows of selection.parquet, unnamed columns as for a prompt of nobody's in layer 0."""
    default: dict[str, Any] = dict.fromkeys(SELECTION_COLUMNS, 0)
    default |= {"chosen_class": -1, "chosen_task": -1, "weight": 1.0}
    return pd.DataFrame([{**default, **row} for row in rows])


def test_a_classs_or_a_tasks_own_prompt_belongs_to_its_task() -> None:
    rows = choices(
        [
            {"true_class": 0, "chosen_class": 3, "prompt": 3, "after_task": 1},
            {"true_class": 2, "chosen_task": 1, "prompt": 1, "after_task": 1},
        ]
    )
    found = prompt_choices.with_tasks(rows, TASK_OF_CLASS)
    assert found["true_task"].tolist() == [0, 1]
    assert found["prompt_task"].tolist() == [1, 1]
    assert prompt_choices.selected_tasks(found, 2).tolist() == [[0, 1], [0, 1]]


def test_a_shared_prompt_belongs_to_the_task_that_chose_it_most_when_it_was_new() -> None:
    def row(after: int, label: int, prompt: int, times: int) -> list[dict[str, Any]]:
        return [{"after_task": after, "true_class": label, "prompt": prompt}] * times

    rows = choices(
        [
            *row(0, 0, 5, 9),  # just after task 0, its images choose 5, and 6 once
            *row(0, 1, 6, 1),
            *row(1, 2, 6, 3),  # just after task 1, its images choose 6, and 5 once
            *row(1, 3, 5, 1),
            *row(1, 0, 6, 20),  # by then task 0 has gone over to 6, which changes no ownership
            *row(1, 1, 7, 1),  # 7 was nobody's when new: it is task 0's, who chooses it last
        ]
    )
    found = prompt_choices.with_tasks(rows, TASK_OF_CLASS)
    home = found.groupby("prompt")["prompt_task"].unique().map(list).to_dict()
    assert home == {5: [0], 6: [1], 7: [0]}
    assert prompt_choices.selected_tasks(found, 2).tolist() == [[1, 20], [1, 3]]


def test_weights_count_and_layers_keep_their_own_prompts() -> None:
    rows = choices(
        [
            {"true_class": 0, "layer": 0, "prompt": 0, "chosen_task": 0, "weight": 0.25},
            {"true_class": 0, "layer": 0, "prompt": 1, "chosen_task": 1, "weight": 0.75},
            {"true_class": 0, "layer": 1, "prompt": 0, "chosen_task": 0, "weight": 1.0},
        ]
    )
    found = prompt_choices.with_tasks(rows, TASK_OF_CLASS)
    assert prompt_choices.selected_tasks(found, 2).tolist() == [[1.25, 0.75], [0, 0]]
    number = prompt_choices.effective_prompts(found, 2)
    entropy = -(0.25 * np.log(0.25) + 0.75 * np.log(0.75))
    assert number[0] == pytest.approx((np.exp(entropy) + 1) / 2)
    assert np.isnan(number[1])


@given(st.integers(1, 9), st.integers(1, 5))
def test_equally_used_prompts_are_counted(prompts: int, times: int) -> None:
    rows = choices([{"true_class": 2, "prompt": p} for p in range(prompts)] * times)
    found = prompt_choices.with_tasks(rows, TASK_OF_CLASS)
    assert prompt_choices.effective_prompts(found, 2)[1] == pytest.approx(prompts)


def test_the_figure_shows_every_method_that_chooses(tmp_path: Path) -> None:
    plan = fake_results.fake_plan(tmp_path / "runs", methods=3, datasets=1, seeds=2)
    fake_results.write_fake_runs(plan)
    for seed in plan.seeds:  # the second method chooses from a pool
        folder = plan.run_folder("set-0", "method-1", seed)
        stream = collect(plan).records["set-0", "method-1", seed].stream
        n_tasks = max(stream.task_of_class) + 1
        rows = choices(
            [
                {"after_task": t, "true_class": label, "prompt": label % 3}
                for t in range(n_tasks)
                for label, own in enumerate(stream.task_of_class)
                if own <= t
            ]
        )
        fake_results.write_selection(folder, {n: rows[n].to_numpy() for n in SELECTION_COLUMNS})
    with paper_style():
        figure = prompt_use.prompt_use(collect(plan), "set-0")
        figure.draw_without_rendering()
        axes = [axis for part in figure.subfigs for axis in part.axes]
        shown = [axis for axis in axes if axis.get_visible()]
        titles = [axis.get_title().replace("\n", " ") for axis in shown[2:]]
        assert titles == [m.heading for m in plan.methods]
        assert len(shown[0].lines) == 3
        for seed in plan.seeds:
            for method in plan.methods:
                fake_results.write_selection(plan.run_folder("set-0", method.name, seed), {})
        nothing = prompt_use.prompt_use(collect(plan), "set-0")
    assert nothing.axes[0].texts[0].get_text() == "No method here selects prompts."
