"""Which prompts images choose: whose they are, how many tasks share them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from starprompt.analysis import prompt_choices
from starprompt.analysis.prompt_choices import choices_of
from starprompt.errors import UserError
from tests.helpers import fake_results
from tests.helpers.choices import choices
from tests.helpers.compared_methods import STREAM, chosen
from tests.helpers.made_up_runs import small_plan


def test_tasks_that_choose_alike_share_all_and_others_nothing() -> None:
    alike = choices_of(chosen([(0, 4), (0, 5), (2, 4), (2, 5)]), STREAM)
    assert alike["shared"] == pytest.approx(100)
    assert alike["prompts"] == alike["effective"] == pytest.approx(2)
    apart = choices_of(chosen([(0, 4), (1, 4), (2, 5), (3, 5)], after_task=[1, 1, 1, 1]), STREAM)
    assert apart["shared"] == pytest.approx(0)
    assert (apart["own"], apart["own_0"], apart["own_1"]) == pytest.approx((100, 100, 100))
    half = choices_of(chosen([(0, 4), (2, 4), (2, 5)]), STREAM)
    assert half["shared"] == pytest.approx(50)


TASK_OF_CLASS = [0, 0, 1, 1]


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


def test_only_the_last_evaluation_counts(tmp_path: Path) -> None:
    columns = {
        "after_task": np.array([0, 0, 1, 1, 1]),
        "true_class": np.array([0, 1, 0, 1, 1]),
        "chosen_class": np.array([1, 1, 0, 0, 1]),
    }
    rest = {name: np.zeros(5) for name in fake_results.SELECTION_COLUMNS if name not in columns}
    folder = small_plan(tmp_path, methods=2, seeds=1).run_folder("set-0", "method-0", 1993)
    fake_results.write_selection(folder, columns | rest)
    path = folder / "selection.parquet"
    counts = prompt_choices.selected_classes(prompt_choices.read_choices(path), 2, path)
    assert counts is not None and counts.tolist() == [[1, 0], [1, 1]]


def test_damaged_selections_are_named(tmp_path: Path) -> None:
    folder = small_plan(tmp_path, methods=2, seeds=1).run_folder("set-0", "method-0", 1993)
    path = folder / "selection.parquet"
    path.write_bytes(b"not a table")
    with pytest.raises(UserError, match="not a table of selections"):
        prompt_choices.read_choices(path)
    path.unlink()
    with pytest.raises(UserError, match=r"selection\.parquet cannot be read"):
        prompt_choices.read_choices(path)
