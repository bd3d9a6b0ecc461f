"""A forecast beside what finished runs counted."""

import json
from pathlib import Path

import pytest

from starprompt.budget import measured
from starprompt.budget.model import expected
from starprompt.config.experiment import Run, load_config
from starprompt.errors import UserError
from starprompt.record.record import (
    MethodRecord,
    Metrics,
    RunRecord,
    StreamRecord,
    TaskTimes,
    write_record,
)

DEMO = load_config(Path("config/demo.yaml"))


def fake_record(method: str, times: list[TaskTimes]) -> RunRecord:
    """The record of a run over five tasks that took so long."""
    return RunRecord(
        config="demo",
        method=MethodRecord(name=method, title=method, learner="made:Up", hyperparameters={}),
        stream=StreamRecord(
            dataset="digits",
            title="digits",
            seed=1993,
            class_names=[str(label) for label in range(10)],
            class_order=list(range(10)),
            task_of_class=[label // 2 for label in range(10)],
            train_counts=[287] * 5,
            test_counts=[72] * 5,
            data_digest="d",
        ),
        accuracy=[[50.0] * (t + 1) + [None] * (4 - t) for t in range(len(times))],
        metrics=Metrics(
            final_average_accuracy=50.0,
            final_weighted_accuracy=50.0,
            average_incremental_accuracy=50.0,
            forgetting=0.0,
            backward_transfer=0.0,
        ),
        times=times,
        losses=[],
        parameters={"trained": 9930, "stored": 9650},
        backbones={},
        keys=None,
        device={"type": "cpu"},
        peak_memory_bytes=800_000_000,
        versions={},
        git_revision="",
        started="2024-01-01T00:00:00+00:00",
        finished="2024-01-01T00:01:00+00:00",
        attempts=1,
        fingerprint="f",
    )


def test_a_forecast_stands_beside_what_finished_runs_counted(tmp_path: Path) -> None:
    forecast = expected(DEMO, "digits", "starprompt")
    counted = round(1.02 * forecast.step_operations[-1])
    times = TaskTimes(train=2.0, end=1.0, evaluate=0.5, steps=30, step_operations=counted)
    record = fake_record("starprompt", [times] * 5)
    path = tmp_path / DEMO.run_folder(Run("digits", "starprompt", 1993)) / "record.json"
    path.parent.mkdir(parents=True)
    write_record(path, record)
    (row,) = measured.measured(DEMO, tmp_path)
    assert row.seeds == 1
    assert row.step_operations == pytest.approx((counted / 1.02, counted), rel=1e-6)
    assert row.parameters == (9930 + 9650, 9930 + 9650)
    assert row.rate == pytest.approx(30 * counted / 2.0 / 1e12)
    assert row.seconds[1] == pytest.approx(5 * 3.5)
    at_that_rate = expected(DEMO, "digits", "starprompt", row.rate)
    assert row.seconds[0] == pytest.approx(sum(at_that_rate.phases.values()))
    assert "starprompt" in measured.as_text([row])
    assert json.loads(measured.as_json([row]))[0]["measured_seconds"] == row.seconds[1]
    assert "forecast_step_operations" in measured.as_csv([row])


def test_without_a_finished_run_there_is_nothing_to_compare(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No run of demo has finished"):
        measured.measured(DEMO, tmp_path)


def test_runs_of_searched_values_stand_beside_their_forecast_too(tmp_path: Path) -> None:
    config = load_config(Path("config/demo-baselines.yaml"))
    run = Run("digits", "linear-probe-searched", 1993)
    assert run in list(config.searched_runs())
    folder = tmp_path / config.run_folder(run)
    folder.mkdir(parents=True)
    times = [TaskTimes(train=2.0, end=1.0, evaluate=0.5, steps=10, step_operations=1e9)] * 5
    write_record(folder / "record.json", fake_record(run.method, times))
    assert [row.method for row in measured.measured(config, tmp_path)] == [run.method]
