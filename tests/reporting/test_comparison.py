"""How methods compare: where errors lie, which prompts tasks share, and the page that tells it."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paper_figures.analyses import Analyses
from paper_figures.collect import collect
from paper_figures.pages.comparison import comparison
from paper_figures.plan import MethodRow, Plan
from paper_figures.provenance import read_stamp
from paper_figures.tables.comparison import errors_table
from starprompt.analysis.comparison import errors_of
from starprompt.analysis.prompt_choices import choices_of
from starprompt.config import methods as config_module
from starprompt.config import tuned
from starprompt.config.experiment import load_config
from starprompt.grid import jobs
from starprompt.record.record import PREDICTION_COLUMNS, SELECTION_COLUMNS, StreamRecord
from starprompt.reporting import comparison as command
from tests.helpers import fake_results
from tests.helpers.paths import REPOSITORY

ROOT = REPOSITORY
PLAN = fake_results.fake_plan(Path())
STREAM: StreamRecord = fake_results.fake_record(PLAN, "set-0", "joint", 0, [[50.0, 50.0]]).stream


def predicted(pairs: list[tuple[int, int]]) -> pd.DataFrame:
    """Labels and predictions after the last of two tasks of two classes each."""
    labels, named = np.array(pairs).T
    columns: dict[str, Any] = dict.fromkeys(PREDICTION_COLUMNS, 1)
    return pd.DataFrame({**columns, "label": labels, "prediction": named, "task": labels // 2})


def chosen(rows: list[tuple[int, int]], **columns: Any) -> pd.DataFrame:
    """True class and chosen prompt of a pool, in layer 0 after the last of two tasks."""
    true, prompt = np.array(rows).T
    default: dict[str, Any] = dict.fromkeys(SELECTION_COLUMNS, 1)
    default |= {"layer": 0, "chosen_class": -1, "chosen_task": -1, "weight": 1.0}
    return pd.DataFrame({**default, "true_class": true, "prompt": prompt, **columns})


def test_an_error_is_of_the_task_or_within_it() -> None:
    found = errors_of(predicted([(0, 0), (0, 1), (1, 2), (1, 3), (2, 2), (3, 3)]), STREAM)
    assert found == pytest.approx({"accuracy": 62.5, "task": 75.0, "within": 75.0})


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_a_right_class_is_a_right_task(pairs: list[tuple[int, int]]) -> None:
    found = errors_of(predicted(pairs), STREAM)
    assert found["accuracy"] <= found["task"] + 1e-9


def test_tasks_that_choose_alike_share_all_and_others_nothing() -> None:
    alike = choices_of(chosen([(0, 4), (0, 5), (2, 4), (2, 5)]), STREAM)
    assert alike["shared"] == pytest.approx(100)
    assert alike["prompts"] == alike["effective"] == pytest.approx(2)
    apart = choices_of(chosen([(0, 4), (1, 4), (2, 5), (3, 5)], after_task=[1, 1, 1, 1]), STREAM)
    assert apart["shared"] == pytest.approx(0)
    assert (apart["own"], apart["own_0"], apart["own_1"]) == pytest.approx((100, 100, 100))
    half = choices_of(chosen([(0, 4), (2, 4), (2, 5)]), STREAM)
    assert half["shared"] == pytest.approx(50)


def made_analyses(folder: Path) -> Analyses:
    """Three methods and the joint bound; every error of the first is one of another task."""
    plan = fake_results.fake_plan(folder, methods=4, seeds=2)
    rivals = [
        MethodRow("best", "Best", "It is.", group="feature"),
        MethodRow("prompted", "Prompted", "By prompts.", group="prompt"),
        MethodRow("finetune", "Fine-tuning", "Of all.", bound=True, group="bound"),
    ]
    plan = Plan(
        plan.name, plan.title, plan.runs, (*rivals, plan.methods[-1]), plan.datasets, (0, 1)
    )
    fake_results.write_fake_runs(plan, n_classes=4, n_tasks=2)
    right = {"best": 4, "prompted": 2, "finetune": 1, "joint": 3}
    for method, count in right.items():
        pairs = [(label, label if label < count else (label + 2) % 4) for label in range(4)]
        for seed in plan.seeds:
            path = plan.run_folder("set-0", method, seed)
            frame = predicted(pairs)
            arrays = {
                n: pa.array(frame[n], pa.type_for_alias(t)) for n, t in PREDICTION_COLUMNS.items()
            }
            pq.write_table(pa.table(arrays), path / "predictions.parquet")
            rows = chosen([(0, 1), (2, 1)]) if method == "prompted" else {}
            fake_results.write_selection(path, {n: rows[n].to_numpy() for n in rows})
    command._measure(collect(plan), folder / "analysis")
    return Analyses(plan, "", folder / "analysis", "compare")


def test_the_page_says_what_the_numbers_say(tmp_path: Path) -> None:
    analyses = made_analyses(tmp_path)
    page = comparison(analyses, ["It is made up."], None, {"set-0": "images/use.png"})
    assert "The best continual method is Best (100.0%)." in page
    assert "is not above all: higher ends Best (100.0%), by 25.0 points, in 2 of 2 seeds" in page
    assert "Fine-tuning (25.0%) is below every method that prompts the ViT" in page
    assert "Of 2 continual methods, 1 make more than 90%" in page
    assert "the same prompts serve every task" in page
    assert "![How prompts are used, Data set 0](images/use.png)" in page
    errors, runs = (analyses.table(name, "set-0") for name in ("errors", "comparison"))
    cells = errors_table(analyses.plan, errors, runs).cells.set_index("Method")
    assert cells.loc["Prompted", "Last [%]"] == "50.0 ± 0.0"


def test_the_command_tells_what_was_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    analyses = made_analyses(tmp_path)
    monkeypatch.setattr(config_module, "METHODS", ROOT / "config" / "methods")
    monkeypatch.setattr(tuned, "KEPT", tmp_path / "kept")
    config = load_config(
        {"name": "fake", "title": "t", "datasets": ["digits"], "methods": ["lwf"], "seeds": [0]}
    )
    assert command.searches_table(config) is None
    found = tuned.Searched(
        budget=3,
        tasks=2,
        validation=0.2,
        seed=7,
        ranges={"lr": {"low": 0.001, "high": 0.1, "log": True}, "epochs": {"choices": [5, 10]}},
        own_accuracy=50.0,
        best_accuracy=61.25,
        best={"lr": 0.002, "epochs": 5},
    )
    (tmp_path / "kept" / "digits").mkdir(parents=True)
    (tmp_path / "kept" / "digits" / "lwf.json").write_text(found.model_dump_json())
    table = command.searches_table(config)
    assert table is not None
    page = comparison(analyses, [], table, {})
    assert "lr 0.001 to 0.1; epochs of 5, 10" in page
    assert "lr 0.002, epochs 5" in page
    assert "3 trials a method on the first 2 tasks, in the class order of seed 7" in page


def test_runs_that_are_missing_are_named_and_left_out(tmp_path: Path) -> None:
    analyses = made_analyses(tmp_path)
    plan = analyses.plan
    for method, seed in [("best", 0), ("best", 1), ("joint", 1)]:
        (plan.run_folder("set-0", method, seed) / "record.json").unlink()
    found = collect(plan, {("set-0", "best", 0): "diverged"})
    command._measure(found, analyses.folder)
    page = comparison(analyses, [], None, {})
    assert "Runs that are missing: Best (2: diverged, not run); Joint" in page
    assert "The best continual method is Prompted (50.0%)." in page
    cost = page.partition("## What they cost")[2]
    assert "| Best" in cost and "(n = 1)" in cost


def test_the_command_writes_tables_and_page_under_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    analyses = made_analyses(tmp_path / "runs")
    found = collect(analyses.plan)
    monkeypatch.setattr(command, "finished_runs", lambda _: found)
    monkeypatch.setattr(command, "depends", lambda *_: {"best": "d"})
    config = load_config(
        {"name": "fake", "title": "t", "datasets": ["digits"], "methods": ["lwf"], "seeds": [0]}
    )
    monkeypatch.setattr(command, "load_config", lambda _: config)
    written = command.make_comparison(Path("fake.yaml"), tmp_path)
    assert {path.relative_to(tmp_path).as_posix() for path in written} == {
        *(f"fake/analysis/set-0/{name}.csv" for name in jobs.COMPARISON),
        *(f"fake/analysis/{name}.csv" for name in jobs.STATISTICS),
        *(
            f"fake/comparison/{name}.{form}"
            for name in jobs.STATISTICS_TABLES
            for form in jobs.TABLE_FORMS
        ),
        *(
            f"fake/comparison/{name}.{form}"
            for name in jobs.STATISTICS_FIGURES
            for form in jobs.FIGURE_FORMS
        ),
        "fake/findings.md",
    }
    text = (tmp_path / "fake/findings.md").read_text()
    made_from = read_stamp(text)
    assert made_from is not None and made_from.runs == 8
    assert made_from.depends == {"best": "d"}
    assert f"digest `{made_from.records[:12]}`" in text
    assert found.plan.methods[0].title == made_from.titles["best"]
    assert "## Are the differences real?" in text
