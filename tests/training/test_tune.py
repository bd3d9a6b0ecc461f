"""The search for hyperparameters: fair, repeatable, and blind to what tables show."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from starprompt.config import methods as config_module
from starprompt.config import tuned
from starprompt.config.experiment import Config, Run
from starprompt.config.methods import load_method
from starprompt.data.stream import TaskStream
from starprompt.errors import DivergedError, UserError
from starprompt.grid.jobs import Grid
from starprompt.record.record import read_record
from starprompt.reporting.plan import make_plan
from starprompt.training import run as experiment
from starprompt.training import tune as search
from tests.helpers.paths import REPOSITORY
from tests.helpers.small_stream import CPU, SPEC, prepared, small_stream

ROOT = REPOSITORY


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Config:
    """The demo's configuration, its results under a temporary folder."""
    monkeypatch.setattr(config_module, "METHODS", ROOT / "config" / "methods")
    monkeypatch.setattr(search, "RESULTS", tmp_path)
    monkeypatch.setattr(tuned, "KEPT", tmp_path / "kept")
    return Config(
        name="t", title="t", datasets=["digits"], methods=["lwf"], seeds=[1993], device="cpu"
    )


def pretend(monkeypatch: pytest.MonkeyPatch, calls: list[dict[str, Any]]) -> None:
    """Trials that take no time and are best where lr is 0.001 and weight 3."""

    class Record:
        def __init__(self, accuracy: float) -> None:
            self.times: list[Any] = []
            self.metrics = type("Metrics", (), {"final_average_accuracy": accuracy})

    def run(config: Config, cell: Any, *, hyperparameters: dict[str, Any], **rest: Any) -> Record:
        calls.append({"cell": cell, **hyperparameters, **rest})
        if hyperparameters["lr"] > 0.002:
            raise DivergedError("it diverged")
        away = abs(np.log10(hyperparameters["lr"] / 0.001)) + abs(hyperparameters["weight"] - 3)
        return Record(90 - 10 * float(away))

    monkeypatch.setattr(experiment, "run", run)


def let_trials_raise(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def run(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(experiment, "run", run)


def test_it_finds_the_better_values_and_keeps_every_trial(
    config: Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls: list[dict[str, Any]] = []
    pretend(monkeypatch, calls)
    table = pd.read_csv(search.search(config, "lwf", "digits", budget=25, tasks=2))
    assert len(table) == len(calls) == 25
    own = table[table["trial"] == 0].iloc[0]
    assert {name: own[name] for name in ("lr", "weight")} == {
        name: load_method("lwf").resolve("digits")[name] for name in ("lr", "weight")
    }
    assert table["validation_accuracy"].dropna().is_monotonic_decreasing
    assert table.iloc[0]["validation_accuracy"] > own["validation_accuracy"] + 5
    assert (table["failure"].notna() == (table["lr"] > 0.002)).all()
    for call in calls:
        assert call["cell"].seed == search.SEED
        assert call["cell"].seed not in config.seeds
        assert call["validation"] == search.VALIDATION
        assert call["first_tasks"] == 2
    kept = json.loads((tmp_path / "search/digits/lwf.json").read_text())
    assert kept["best"]["lr"] == pytest.approx(table.iloc[0]["lr"])
    assert (kept["budget"], kept["tasks"], kept["validation"]) == (25, 2, 0.2)
    assert kept["own_accuracy"] == own["validation_accuracy"]
    assert kept["best_accuracy"] == table.iloc[0]["validation_accuracy"]
    assert kept["ranges"]["lr"] == {"low": 0.00003, "high": 0.003, "log": True}
    assert tuned.kept_search("digits", "lwf") is None


def test_what_is_tried_is_what_the_methods_file_can_hold(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two significant digits: the value that was trained with is the one that is written down."""
    calls: list[dict[str, Any]] = []
    pretend(monkeypatch, calls)
    search.search(config, "lwf", "digits", budget=9)
    assert all(float(f"{call['lr']:.1e}") == call["lr"] for call in calls)


def test_a_kept_search_is_told_under_the_tables(
    config: Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls: list[dict[str, Any]] = []
    pretend(monkeypatch, calls)
    config = config.model_copy(update={"methods": ["lwf", "ncm"]})
    before = Grid(config).paper_depends()
    assert not [note for note in make_plan(config).notes if "trials each" in note]
    out = search.search(config, "lwf", "digits", budget=3, tasks=2, keep=True)
    assert (tmp_path / "kept/digits/lwf.csv").read_text() == out.read_text()
    found = tuned.kept_search("digits", "lwf")
    assert found is not None
    assert found.best.keys() == load_method("lwf").search.keys()
    assert isinstance(found.best["epochs"], int)
    notes = " ".join(make_plan(config).notes)
    assert (
        "Searched on Handwritten digits, 3 trials each on the first 2 tasks in the class order of "
        "seed 7, judged on 20% of their training images: LwF (lr, epochs, weight). The values "
        "found stand in the table of searches; this one shows what the methods' files hold."
    ) in notes
    assert Grid(config).paper_depends() != before, "the workflow would not make the tables again"
    (tmp_path / "kept/digits/lwf.json").write_text('{"budget": 3}')
    with pytest.raises(UserError, match=r"lwf\.json"):
        make_plan(config)


def test_searched_values_are_runs_of_their_own(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They stand beside the own ones, are in no list of methods, and tables do not show them."""
    pretend(monkeypatch, [])
    config = config.model_copy(update={"methods": ["lwf", "ncm"]})
    before, runs = Grid(config).paper_depends(), list(config.runs())
    with pytest.raises(UserError, match="lwf-searched"):
        load_method("lwf-searched")
    search.search(config, "lwf", "digits", budget=9, keep=True)
    best = tuned.kept_search("digits", "lwf").best  # type: ignore[union-attr]
    spec = load_method("lwf-searched")
    assert spec.resolve("digits") == load_method("lwf").resolve("digits") | best
    assert spec.resolve("cifar100") == load_method("lwf").resolve("cifar100")
    assert "lwf-searched" not in config_module.list_methods()
    assert list(config.searched_runs()) == []
    both = config.model_copy(update={"values": "both"})
    assert list(both.searched_runs()) == [Run("digits", "lwf-searched", 1993)]
    assert list(both.runs()) == runs
    grid = Grid(both)
    assert grid.searched_run_files("record") == [
        str(both.run_folder(Run("digits", "lwf-searched", 1993)) / "record.json")
    ]
    assert set(grid.searched_run_files()) & set(grid.finished_run_files()) == set()
    assert any("lwf-searched" in rule.methods for rule in grid.train_rules())
    assert Grid(config).run_depends("digits", "lwf") == grid.run_depends("digits", "lwf")
    assert grid.paper_depends() != before


def test_what_was_not_searched_is_found(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, [])
    config = config.model_copy(update={"methods": ["lwf", "ncm", "finetune"]})
    assert search.unsearched(config, "digits") == ["lwf", "finetune"]  # NCM has nothing to search
    search.search(config, "lwf", "digits", budget=1, keep=True)
    assert search.unsearched(config, "digits") == ["finetune"]


def test_values_that_a_search_left_as_they_were_need_no_run(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, [])
    search.search(config, "lwf", "digits", budget=1, keep=True)
    both = config.model_copy(update={"values": "both"})
    assert list(both.searched_runs()) == []


def test_the_same_search_asks_for_the_same_trials(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    first: list[dict[str, Any]] = []
    again: list[dict[str, Any]] = []
    pretend(monkeypatch, first)
    search.search(config, "lwf", "digits", budget=8)
    pretend(monkeypatch, again)
    search.search(config, "lwf", "digits", budget=12)
    assert [c["folder"] for c in again[:8]] == [c["folder"] for c in first]


def test_keys_are_learned_once_from_the_same_images(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[dict[str, Any]] = []

    def run(config: Config, cell: Any, **rest: Any) -> Any:
        calls.append({"method": cell.method, **rest})
        metrics = type("Metrics", (), {"final_average_accuracy": 50.0})
        return type("Record", (), {"times": [], "metrics": metrics})

    monkeypatch.setattr(experiment, "run", run)
    search.search(config, "starprompt", "digits", budget=3, tasks=2)
    keys, *trials = calls
    assert keys["method"] == "starprompt-first-stage"
    assert keys["hyperparameters"] == {} and keys["keys_folder"] is None
    assert [call["method"] for call in trials] == ["starprompt"] * 3
    assert all(call["keys_folder"] == keys["folder"] for call in trials)
    same = ("validation", "first_tasks")
    assert all(call[name] == keys[name] for call in trials for name in same)


@pytest.mark.parametrize(
    ("method", "budget", "seeds", "says"),
    [
        ("lwf", 0, [1993], "budget of 1 or more"),
        ("ncm", 3, [1993], "says nothing to search"),
        ("lwf", 3, [7], "shows seed 7"),
    ],
)
def test_what_cannot_be_searched_is_refused(
    config: Config, method: str, budget: int, seeds: list[int], says: str
) -> None:
    config = config.model_copy(update={"seeds": seeds})
    with pytest.raises(UserError, match=says):
        search.search(config, method, "digits", budget)


def test_a_search_without_a_success_says_why(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_trials_raise(monkeypatch, DivergedError("it diverged"))
    with pytest.raises(UserError, match="No trial of lwf succeeded; the first: it diverged"):
        search.search(config, "lwf", "digits", budget=2)


def test_a_mistake_in_a_trial_ends_the_search_without_a_traceback_on_the_screen(
    config: Config, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    let_trials_raise(monkeypatch, UserError("the data set is not prepared"))
    with pytest.raises(UserError, match="the data set is not prepared"):
        search.search(config, "lwf", "digits", budget=2)
    assert capfd.readouterr() == ("", "")


def test_the_first_trial_has_the_own_values_to_the_last_digit(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = load_method("lwf")
    exact = spec.model_copy(update={"hyperparameters": spec.hyperparameters | {"lr": 0.00028125}})
    assert exact.resolve("cifar100")["lr"] == 0.00028125
    monkeypatch.setattr(search, "load_method", lambda name: exact)
    calls: list[dict[str, Any]] = []
    pretend(monkeypatch, calls)
    search.search(config, "lwf", "cifar100", budget=3)
    assert calls[0]["lr"] == 0.00028125
    assert all(call["lr"] == float(f"{call['lr']:.2g}") for call in calls[1:])


@pytest.mark.parametrize("joint", [False, True])
def test_a_stream_of_the_first_tasks_holds_no_image_of_the_others(joint: bool) -> None:
    whole = small_stream()
    short = TaskStream(prepared(), SPEC, 1993, CPU, joint=joint, validation=0.25, first_tasks=2)
    assert short.info == whole.info
    assert len(short.test_tasks) == 2
    assert len(short.tasks) == (1 if joint else 2)
    assert short.digest != whole.digest
    labels = np.concatenate([task.train.labels.numpy() for task in short.tasks])
    assert set(labels) == set(range(4))
    tested = {int(i) for test in short.test_tasks for i in test.ids}
    trained = {int(i) for task in short.tasks for i in task.train.ids}
    every = {int(i) for task in whole.tasks[:2] for i in task.train.ids}
    assert tested | trained == every
    assert not tested & trained
    with pytest.raises(UserError, match="nothing to train on"):
        TaskStream(prepared(), SPEC, 1993, CPU, first_tasks=0)


def test_a_real_search_learns_the_first_tasks_on_training_images(
    config: Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(experiment, "open_prepared", lambda _: prepared())
    method = config_module.load_method("linear-probe")
    quick = {**method.hyperparameters, "epochs": 1}
    quick_method = method.model_copy(update={"hyperparameters": quick, "datasets": {}})
    monkeypatch.setattr(experiment, "load_method", lambda _: quick_method)
    out = search.search(config, "linear-probe", "digits", budget=2, tasks=2)
    assert len(pd.read_csv(out)) == 2
    records = [read_record(p) for p in (tmp_path / "search").rglob("record.json")]
    assert len(records) == 2
    for record in records:
        assert record.stream.test_counts == [10, 10]  # a fifth of 24 images, two classes a task
        assert record.stream.train_counts == [38, 38]
        assert record.extra["validation"] == search.VALIDATION
