"""The loop: what it calls in which order, what it refuses, and what it leaves behind."""

import errno
import logging
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from starprompt.continual.prediction_files import PREDICTION_SCHEMA, SELECTION_SCHEMA
from starprompt.data.batch import Batch
from starprompt.errors import UserError
from starprompt.machine import environment
from starprompt.record.record import read_record
from tests.helpers.continual_toy import ToyLearner, ToyStream, outcome_of, run_toy


def test_calls_come_in_the_order_of_the_protocol(tmp_path: Path) -> None:
    calls: list[Any] = []

    class Watched(ToyLearner):
        def setup(self) -> None:
            calls.append("setup")
            super().setup()

        def begin_task(self, task: Any) -> None:
            calls.append(("begin", task.index))
            super().begin_task(task)

        def begin_epoch(self, epoch: int) -> None:
            calls.append(("epoch", epoch))

        def train_step(self, batch: Batch) -> dict[str, Tensor]:
            calls.append("step")
            return super().train_step(batch)

        def end_task(self, task: Any) -> None:
            calls.append(("end", task.index))
            super().end_task(task)

        def predict(self, batch: Batch) -> Tensor:
            assert not torch.is_grad_enabled()
            calls.append("predict")
            return super().predict(batch)

    run_toy(tmp_path, Watched, ToyStream(n_tasks=2), batch_size=16)

    def task(index: int) -> list[Any]:
        epochs = [call for e in (0, 1) for call in (("epoch", e), "step", "step")]
        return [("begin", index), *epochs, ("end", index), "predict"]  # all tasks seen at once

    counted = "predict"  # once more, for the operations that it takes
    assert calls == ["setup", *task(0), *task(1), counted]


def test_a_learner_gets_the_batches_it_asks_for(tmp_path: Path) -> None:
    asked: list[dict[str, Any]] = []

    class Stream(ToyStream):
        def __init__(self) -> None:
            super().__init__(n_tasks=1)
            train, batches = self.tasks[0].train, self.tasks[0].train.batches

            def watched(batch_size: int, **options: Any) -> Any:
                asked.append({"batch_size": batch_size, **options})
                return batches(batch_size, **options)

            train.batches = watched  # type: ignore[method-assign]

    class Features(ToyLearner):
        train_inputs = ("features", "images")
        augment = False

        def end_task(self, task: Any) -> None: ...

    run_toy(tmp_path, Features, Stream(), batch_size=24)
    common = {"batch_size": 24, "inputs": ("features", "images"), "augment": False, "shuffle": True}
    assert asked == [{**common, "epoch": epoch, "first": 0} for epoch in (0, 1)]


def test_the_files_agree_with_each_other(tmp_path: Path) -> None:
    record = run_toy(tmp_path)
    assert read_record(tmp_path / "record.json") == record
    predictions = pd.read_parquet(tmp_path / "predictions.parquet")
    selection = pd.read_parquet(tmp_path / "selection.parquet")
    assert pa.parquet.read_schema(tmp_path / "predictions.parquet").equals(PREDICTION_SCHEMA)
    assert pa.parquet.read_schema(tmp_path / "selection.parquet").equals(SELECTION_SCHEMA)

    right = predictions.label == predictions.prediction
    table = right.groupby([predictions.after_task, predictions.task]).mean() * 100
    for after, row in enumerate(record.accuracy):
        for task, value in enumerate(row):
            if task > after:
                assert value is None and (after, task) not in table.index
            else:
                assert value == pytest.approx(table[after, task])
    assert predictions.score.between(0, 1).all()
    counts = predictions[predictions.after_task == 2].groupby("task").size()
    assert counts.tolist() == record.stream.test_counts
    tasks = pd.Series(record.stream.task_of_class)[predictions.label].to_numpy()
    assert (tasks == predictions.task).all()

    assert len(selection) == len(predictions) * ToyLearner.n_layers
    last = selection[(selection.after_task == 2) & (selection.layer == 1)]
    merged = last.merge(predictions[predictions.after_task == 2], on="image_id")
    assert len(merged) == len(last)
    assert (merged.chosen_class == merged.prediction).all()
    assert (merged.true_class == merged.label).all()

    state = load_file(tmp_path / "checkpoint.safetensors")
    assert set(state) == {"head.weight", "head.bias", "memory", "memory_labels", "seen"}
    assert [(loss.task, loss.epoch) for loss in record.losses] == [
        (task, epoch) for task in range(3) for epoch in range(2)
    ]
    assert all(set(loss.losses) == {"loss", "norm"} for loss in record.losses)
    assert [times.steps for times in record.times] == [6, 6, 6]
    for times in record.times:
        assert times.step_operations >= 2 * 2 * 8 * 6 * 48  # forward, and the weights' gradient
        assert times.operations_a_second == pytest.approx(6 * times.step_operations / times.train)
    linear = 6 * 48 + 6
    assert record.parameters == {"trained": linear, "operations": 2 * 6 * 48}
    assert record.attempts == 1 and record.peak_memory_bytes > 2**20


def test_the_record_names_scipy_and_scikit_learn_and_the_fingerprint_does_not_know_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run_toy(tmp_path, fingerprint=None)
    assert {"scipy", "scikit-learn", "torch"} <= first.versions.keys()
    monkeypatch.setattr(environment, "ALSO_RECORDED", ())
    again = run_toy(tmp_path, fingerprint=None)
    assert again == first, "the run is finished, although its environment says less"


def test_a_joint_stream_is_tested_on_every_task(tmp_path: Path) -> None:
    record = run_toy(tmp_path, stream=ToyStream(joint=True))
    assert len(record.accuracy) == 1 and None not in record.accuracy[0]
    assert record.metrics.forgetting is None and record.metrics.backward_transfer is None
    assert record.stream.train_counts == [24, 24, 24]
    assert record.stream.task_of_class == [0, 0, 1, 1, 2, 2]


def test_the_toy_learns_what_it_sees(tmp_path: Path) -> None:
    """Else equality of runs would say little."""
    record = run_toy(tmp_path, stream=ToyStream(joint=True, n=30), epochs=20)
    assert record.metrics.final_average_accuracy > 80


class Selecting(ToyLearner):
    def predict(self, batch: Batch) -> Tensor:
        logits = super().predict(batch)
        self.last_selection = None
        return logits


def test_without_selection_its_file_has_columns_and_no_rows(tmp_path: Path) -> None:
    run_toy(tmp_path, Selecting)
    table = pa.parquet.read_table(tmp_path / "selection.parquet")
    assert table.num_rows == 0 and table.schema.equals(SELECTION_SCHEMA)


class Diagnosing(ToyLearner):
    def diagnostics(self, task: Any) -> dict[str, Tensor]:
        return {"norm": self.head.weight.detach().norm(dim=1)[: task.seen_classes]}


def test_diagnostics_are_kept_for_every_task_and_change_nothing(tmp_path: Path) -> None:
    run_toy(tmp_path / "a", Diagnosing)
    run_toy(tmp_path / "b")
    found = load_file(tmp_path / "a" / "diagnostics.safetensors")
    shapes = {name: tensor.shape for name, tensor in found.items()}
    assert shapes == {"task0.norm": (2,), "task1.norm": (4,), "task2.norm": (6,)}
    weight = load_file(tmp_path / "a" / "checkpoint.safetensors")["head.weight"]
    assert torch.equal(found["task2.norm"], weight.norm(dim=1))
    a, b = outcome_of(tmp_path / "a"), outcome_of(tmp_path / "b")
    for name in ("predictions.parquet", "selection.parquet", "checkpoint.safetensors"):
        assert a[name] == b[name]


class WithoutSteps(ToyLearner):
    train_step = ToyLearner.__mro__[1].train_step  # the protocol's, which refuses to be called


def test_a_method_without_epochs_takes_no_step(tmp_path: Path) -> None:
    record = run_toy(tmp_path, WithoutSteps, epochs=0)
    assert record.losses == [] and all(times.steps == 0 for times in record.times)
    assert all(times.operations_a_second is None for times in record.times)


@pytest.mark.parametrize("bad", [(0, 0, 0), (1, 1, 2), (2, 0, 1)])
def test_a_loss_not_finite_is_refused_by_its_place(bad: tuple[int, ...], tmp_path: Path) -> None:
    class Diverging(ToyLearner):
        def begin_task(self, task: Any) -> None:
            super().begin_task(task)
            self.task = task.index

        def begin_epoch(self, epoch: int) -> None:
            self.epoch, self.step = epoch, -1

        def train_step(self, batch: Batch) -> dict[str, Tensor]:
            self.step += 1
            losses = super().train_step(batch)
            if (self.task, self.epoch, self.step) == bad:
                losses["loss"] = losses["loss"] * float("nan")
            return losses

    place = f"task {bad[0] + 1} of 3, epoch {bad[1] + 1} of 2, step {bad[2] + 1};"
    with pytest.raises(UserError, match=f"diverging on toy, seed 1993, {place}"):
        run_toy(tmp_path, Diverging)
    assert not (tmp_path / "record.json").exists()


def test_a_learner_that_really_diverges_is_refused(tmp_path: Path) -> None:
    class Diverging(ToyLearner):
        def train_step(self, batch: Batch) -> dict[str, Tensor]:
            with torch.no_grad():
                self.head.weight.mul_(1e12)
            return super().train_step(batch)

    with pytest.raises(UserError, match=r"became (nan|inf) in diverging on toy, .* epoch 1 of 2"):
        run_toy(tmp_path, Diverging)


def test_logits_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    class Broken(ToyLearner):
        def predict(self, batch: Batch) -> Tensor:
            return super().predict(batch) * float("nan")

    with pytest.raises(UserError, match=r"broken on toy, seed 1993, task 1 of 3 .*NaN or infinite"):
        run_toy(tmp_path, Broken)


def test_a_class_may_be_ruled_out_by_minus_infinity(tmp_path: Path) -> None:
    class Masking(ToyLearner):
        def predict(self, batch: Batch) -> Tensor:
            return super().predict(batch).index_fill(1, torch.tensor([0]), -torch.inf)

    record = run_toy(tmp_path, Masking)
    assert record.accuracy[0][0] == pytest.approx(50.0)


def test_logits_of_another_shape_are_refused(tmp_path: Path) -> None:
    class AllClasses(ToyLearner):
        def predict(self, batch: Batch) -> Tensor:
            return self.head(batch.images.flatten(1))  # type: ignore[union-attr]

    with pytest.raises(UserError, match=r"shape \(14, 6\).*\(14, 2\)"):
        run_toy(tmp_path, AllClasses)


def test_a_full_disk_ends_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Path.write_bytes

    def full(self: Path, data: bytes) -> int:
        if self.name == "state.safetensors" and "task-001" in str(self):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(UserError, match="The disk is full"):
            run_toy(tmp_path / "a")
    kept = {path.name for path in (tmp_path / "a" / "work").iterdir()}
    assert kept - {"progress.json"} == {"run.json", "task-000"}
    assert run_toy(tmp_path / "a").attempts == 2
    run_toy(tmp_path / "b")
    assert outcome_of(tmp_path / "a") == outcome_of(tmp_path / "b")


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file/run could not be written"):
        run_toy(tmp_path / "file" / "run")


def test_each_task_is_logged_and_bars_are_quiet_off_a_terminal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.INFO, logger="starprompt"):
        run_toy(tmp_path)
    lines = [record.getMessage() for record in caplog.records]
    for task in (1, 2, 3):
        assert any(f"task {task} of 3" in line and "steps" in line for line in lines)
    assert "final average accuracy" in lines[-1]
    assert capfd.readouterr().err.count("\r") == 0
