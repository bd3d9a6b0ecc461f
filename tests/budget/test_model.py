"""The forecast of costs: its arithmetic, its inputs, and what it says where it can't know."""

import csv
import io
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from starprompt.budget import measured, model, report
from starprompt.budget.model import Cost, Resources, expected, resources
from starprompt.budget.networks import UnknownCostError, clip_of, vit_of
from starprompt.cli import app
from starprompt.config.cost_facts import NAMES, CostFacts, evaluate
from starprompt.config.experiment import Config, Run, load_config
from starprompt.config.methods import MethodSpec, list_methods, load_method
from starprompt.errors import UserError
from starprompt.record.record import (
    MethodRecord,
    Metrics,
    RunRecord,
    StreamRecord,
    TaskTimes,
    write_record,
)

PAPER = load_config(Path("config/paper.yaml"))
DEMO = load_config(Path("config/demo.yaml"))


def changed(config: Config, **values: object) -> Config:
    return Config.model_validate(config.model_dump() | values)


# --- expressions


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        (3, 3),
        ("epochs", 5),
        ("2 * (epochs + 1) - 4 / 2 ** 2", 11),
        ("epochs // 2", 2),
        ("min(epochs, 3) + max(1, 2) + len(layers)", 8),
        ('query == "augmented"', 1),
        ('query == "clean"', 0),
        ("replay * epochs", 5),
    ],
)
def test_an_expression_has_a_value(expression: str, value: float) -> None:
    names = {"epochs": 5, "layers": [0, 1, 2], "query": "augmented", "replay": True}
    assert evaluate(expression, names) == value


@pytest.mark.parametrize(
    "expression", ["epochz", "1 +", "__import__('os')", "epochs.real", "epochs / 0", "'a' * 1.5"]
)
def test_an_expression_of_anything_else_is_refused(expression: str) -> None:
    with pytest.raises(UserError):
        evaluate(expression, {"epochs": 5})


# --- the methods' own facts


@pytest.mark.parametrize("name", list_methods())
def test_every_method_says_what_it_costs(name: str) -> None:
    spec = load_method(name)
    assert spec.cost is not None and spec.cost.phases
    for dataset in (*PAPER.datasets, "digits"):
        config = DEMO if dataset == "digits" else PAPER
        cost = expected(config, dataset, spec)
        assert cost.total_operations > 0 and math.isfinite(cost.seconds)
        assert not any(note.startswith("its YAML") for note in cost.assumed)
        assert ("vit/forward" in cost.operations) == ("vit" in spec.uses)


def test_a_variant_is_counted_with_its_own_hyperparameters() -> None:
    full, clean = (expected(PAPER, "cub200", m) for m in ("starprompt", "starprompt-clean-query"))
    assert full.operations["clip/image"] > 0
    assert "clip/image" not in clean.operations
    assert full.operations["vit/forward"] == clean.operations["vit/forward"]
    prefix = expected(PAPER, "cub200", "starprompt-prefix")
    assert prefix.parameters["trained"] > full.parameters["trained"]
    none = expected(PAPER, "cub200", "starprompt-no-replay-2")
    assert none.parameters["stored"] == 0 and "replay" not in none.images


def test_the_second_stage_is_images_times_operations() -> None:
    """20 epochs and one pass for the features: counted by hand for Split CIFAR-100."""
    cost = expected(PAPER, "cifar100", "starprompt")
    assert cost.images["training"] == 20 * 50_000
    assert cost.images["features"] == 50_000
    assert cost.images["diagnostics"] == 10_000
    assert cost.images["evaluation"] == 10_000 * 55 / 10
    clip, vit = clip_of(PAPER.backbones.clip), vit_of(PAPER.backbones.vit)
    assert cost.operations["clip/image"] == 21 * 50_000 * clip.image_operations
    assert cost.operations["vit/forward"] == 1_115_000 * vit.operations()
    assert cost.parameters["trained"] == 12 * 100 * (768 + 768) + 769 * 100
    assert cost.parameters["stored"] == 100 * 5 * (2 * 768 + 1)


def test_replay_grows_with_the_task() -> None:
    """Alignment: 256 a class, 10 + 5 t epochs from the second task on."""
    spec = load_method("starprompt")
    assert spec.cost is not None
    replay = next(phase for phase in spec.cost.phases if phase.name == "replay")
    names = {**spec.resolve("cifar100"), "seen": 40, "task": 3, "later": 1}
    assert evaluate(replay.items, names) == 256 * 40
    assert evaluate(replay.passes, names) == 25
    assert evaluate(replay.passes, names | {"task": 0, "later": 0}) == 0


# --- what the forecast does not know


def new_method(**facts: object) -> MethodSpec:
    return MethodSpec.model_validate(
        {
            "name": "novel",
            "title": "Novel",
            "learner": "baselines.novel:Novel",
            "description": "A method of two files.",
            "group": "prompt",
            "uses": ["vit", "clip"],
            "hyperparameters": {"epochs": 4, "batch_size": 32},
            **facts,
        }
    )


def test_a_method_that_says_nothing_is_counted_as_a_full_training_and_told_so() -> None:
    cost = expected(PAPER, "cub200", new_method())
    assert cost.images["training"] == pytest.approx(4 * 5994)
    forward = vit_of(PAPER.backbones.vit).operations()
    assert cost.operations["vit/backward"] == pytest.approx(2 * 4 * 5994 * forward, rel=0.1)
    assert any("one full training" in note for note in cost.assumed)


def test_a_name_that_nothing_answers_to_is_told_with_its_file() -> None:
    facts = {"phases": [{"name": "training", "passes": "epochz"}]}
    with pytest.raises(UserError, match=r"novel\.yaml: cost: 'epochz' is neither"):
        expected(PAPER, "cub200", new_method(cost=facts))


def test_an_unknown_backbone_has_no_cost_and_the_scheduler_is_asked_for_the_configurations() -> (
    None
):
    strange = changed(PAPER, backbones={"vit": "vit_pe_core_large_patch14_336", "clip": "tiny"})
    with pytest.raises(UnknownCostError, match="unknown"):
        expected(strange, "cub200", "starprompt")
    assert resources(strange, "cub200", "starprompt") == Resources(32_000, 1_440)
    result = CliRunner().invoke(app, ["cost", "--method", "clip-zero-shot"])
    assert result.exit_code == 0


@pytest.mark.parametrize("name", ["isic", "chestx", "cropdisease", "eurosat", "resisc45"])
def test_counts_that_only_preparation_knows_are_said_to_be_about(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STARPROMPT_DATA", str(tmp_path))
    assert any("about" in note for note in expected(PAPER, name, "finetune").assumed)
    folder = tmp_path / "elsewhere" / "prepared" / name
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({"counts": {"train": 100, "test": 50}}))
    monkeypatch.setenv("STARPROMPT_DATA", str(tmp_path / "elsewhere"))
    known = expected(PAPER, name, "ncm")
    assert not any("about" in note for note in known.assumed)
    assert known.images["features"] == pytest.approx(100)


# --- time and resources


@given(st.floats(1, 2000))
def test_a_faster_machine_takes_no_longer(rate: float) -> None:
    slow, fast = (expected(PAPER, "cub200", "starprompt", r) for r in (rate, 2 * rate))
    assert fast.seconds <= slow.seconds
    assert fast.operations == slow.operations


def test_what_a_job_asks_for_holds_the_forecast_with_a_margin() -> None:
    for method in PAPER.methods:
        cost, asked = expected(PAPER, "cub200", method), resources(PAPER, "cub200", method)
        assert asked.mem_mb * 1e6 >= 1.4 * cost.host_bytes
        assert asked.runtime * 60 >= 1.4 * cost.seconds
        assert asked.mem_mb % 500 == 0 and asked.runtime % 5 == 0


def test_on_a_cpu_the_memory_is_the_hosts() -> None:
    cost = expected(DEMO, "digits", "finetune")
    assert cost.device_bytes == 0
    assert cost.host_bytes > model.PROCESS_BYTES["cpu"]


# --- the whole experiment


def test_an_experiment_is_the_sum_of_its_runs_with_keys_and_features_once() -> None:
    found = report.forecast(DEMO)
    by_name = {line.cost.method: line for line in found.lines}
    assert by_name["embed"].runs == 1
    assert by_name["starprompt-first-stage"].runs == len(DEMO.seeds)
    assert len(found.lines) == len(DEMO.methods) + 1
    totals = found.totals()
    assert totals["operations"] == pytest.approx(
        sum(line.runs * line.cost.total_operations for line in found.lines)
    )
    joint = report.forecast(PAPER, ["cub200"], ["joint-starprompt"])
    assert [line.cost.method for line in joint.lines] == [
        "embed",
        "joint-starprompt",
        "starprompt-first-stage-joint",
    ]


def test_the_command_prints_a_table_csv_and_json() -> None:
    def printed(*options: str) -> str:
        result = CliRunner().invoke(app, ["cost", "--config", "config/paper.yaml", *options])
        assert result.exit_code == 0, result.output
        return result.output

    table = printed("--rate", "400", "--dataset", "cub200")
    assert "At 400 TFLOP/s sustained" in table and "starprompt-first-stage" in table
    rows = list(csv.DictReader(io.StringIO(printed("--csv", "--dataset", "cub200"))))
    assert {row["method"] for row in rows} >= set(PAPER.methods)
    value = json.loads(printed("--json", "--dataset", "isic", "--method", "starprompt"))
    assert value["totals"]["runs"] == 7
    assert value["lines"][1]["operations"]["clip/image"] > 0
    assert "training" in printed("--parts", "--dataset", "isic", "--method", "starprompt")


def test_the_command_refuses_a_name_that_is_not_in_the_experiment() -> None:
    result = CliRunner().invoke(app, ["cost", "--dataset", "cub200"])
    assert isinstance(result.exception, UserError)


def test_a_cost_can_be_written_as_json() -> None:
    value = json.loads(json.dumps(expected(DEMO, "digits", "starprompt").as_dict()))
    assert set(value) > set(Cost.__dataclass_fields__)


def test_the_block_knows_the_names_that_it_documents() -> None:
    """Every documented name can be used in every method that has both backbones."""
    facts = CostFacts.model_validate(
        {"phases": [{"name": "training", "operations": " + ".join(NAMES), "vit": ["forward"]}]}
    )
    assert expected(PAPER, "cub200", new_method(cost=facts.model_dump())).operations["other"] > 0


# --- beside what runs measured


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
