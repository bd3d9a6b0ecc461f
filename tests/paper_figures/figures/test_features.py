"""The figure of real and generated features: whose runs it takes, and what it shows of them."""

from pathlib import Path

import pytest
from matplotlib.colors import to_rgba

from paper_figures.collect import Results, collect
from paper_figures.figures.features import features
from paper_figures.plan import Plan
from starprompt.errors import UserError
from starprompt.record.origins import write_origin
from starprompt.record.record import read_record, write_record
from starprompt.record.run_files import CHECKPOINT, DIAGNOSTICS, RECORD
from tests.helpers import fake_results
from tests.helpers.fake_diagnostics import write_fake_diagnostics


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Four methods, of which the second keeps mixtures and the third makes its keys."""
    plan = fake_results.fake_plan(tmp_path, methods=4, datasets=1, seeds=2)
    fake_results.write_fake_runs(plan)
    for seed in plan.seeds:
        for method in ("method-1", "method-2"):
            folder = plan.run_folder("set-0", method, seed)
            record = read_record(folder / RECORD)
            record.method.hyperparameters["components"] = 1
            record.keys = {"method": "method-2", "digest": "0" * 64} if method[-1] == "1" else None
            write_fake_diagnostics(folder, record)
            write_record(folder / RECORD, record.model_copy(update={"digests": {}}))
    return plan


def titles(results: Results) -> list[str]:
    return [axis.get_title() for axis in features(results, "set-0").axes]


def test_a_method_and_the_run_of_its_keys_have_a_panel_each(plan: Plan) -> None:
    results = collect(plan)
    assert titles(results) == [method.title for method in plan.methods[1:3]]
    panel = features(results, "set-0").axes[0]
    names = results.records["set-0", "method-1", 1993].stream.class_names
    shown = [text.get_text().rstrip("…") for text in panel.texts]
    assert all(name.startswith(text) for name, text in zip(names, shown, strict=True))
    hollow, filled = panel.collections[:2]
    assert len(hollow.get_facecolors()) == 0
    assert to_rgba(filled.get_facecolors()[0]) == to_rgba(hollow.get_edgecolors()[0])
    assert len(hollow.get_offsets()) == len(filled.get_offsets()) > 0


def test_keys_whose_method_is_not_in_the_tables_are_shown_too(plan: Plan) -> None:
    fewer = Plan(plan.name, plan.title, plan.runs, plan.methods[:2], plan.datasets, plan.seeds)
    assert titles(collect(fewer)) == [plan.methods[1].title, "method-2"]


def test_a_joint_run_gives_way_to_one_that_learns_task_by_task(plan: Plan) -> None:
    results = collect(plan)
    for seed in plan.seeds:
        joint = results.records["set-0", "method-1", seed]
        joint.accuracy[1:] = []
        joint.keys = None
    assert titles(results) == [plan.methods[at].title for at in (2, 1)]


def without_diagnostics(plan: Plan, seed: int) -> None:
    for method in ("method-1", "method-2"):
        (plan.run_folder("set-0", method, seed) / DIAGNOSTICS).unlink()


def test_imported_runs_without_the_files_give_way_to_the_next_seed_or_to_a_sentence(
    plan: Plan,
) -> None:
    for seed in plan.seeds:
        for method in ("method-1", "method-2"):
            write_origin(plan.run_folder("set-0", method, seed), "lab-b", "0" * 64)
    results = collect(plan)
    without_diagnostics(plan, plan.seeds[0])
    assert len(titles(results)) == 2
    without_diagnostics(plan, plan.seeds[1])
    (axis,) = features(results, "set-0").axes
    assert "keeps mixtures" in axis.texts[0].get_text().replace("\n", " ")


def test_a_run_made_here_without_the_files_is_named(plan: Plan) -> None:
    without_diagnostics(plan, plan.seeds[0])
    with pytest.raises(UserError, match=f"method-1.*{DIAGNOSTICS} cannot be read"):
        features(collect(plan), "set-0")


def test_a_damaged_file_is_named(plan: Plan) -> None:
    path = plan.run_folder("set-0", "method-1", 1993) / CHECKPOINT
    path.write_bytes(b"damaged")
    with pytest.raises(UserError, match=f"method-1.*{CHECKPOINT} is missing or damaged"):
        features(collect(plan), "set-0")
