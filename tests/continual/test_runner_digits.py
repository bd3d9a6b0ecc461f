"""The runner on the real task stream: handwritten digits, prepared, augmented and permuted."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from starprompt.data.prepare import prepare
from starprompt.data.registry import load_dataset_spec
from starprompt.data.store import PreparedDataset, open_prepared
from starprompt.data.stream import TaskStream
from starprompt.record.record import RunRecord
from tests.helpers.continual_toy import ToyLearner, outcome_of, run_toy
from tests.helpers.paths import DATASETS

SPEC = load_dataset_spec("digits", DATASETS)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    return open_prepared(prepare(SPEC, tmp_path_factory.mktemp("data")))


def learn(
    folder: Path, digits: PreparedDataset, learner: type[ToyLearner] = ToyLearner, **options: Any
) -> RunRecord:
    stream = TaskStream(digits, SPEC, 1993, "cpu", **options)
    return run_toy(folder, learner, stream, learning_rate=0.002, batch_size=32, epochs=1)


class Stopping(ToyLearner):
    def begin_task(self, task: Any) -> None:
        if task.index == 3:
            raise KeyboardInterrupt
        super().begin_task(task)


Stopping.__name__ = "ToyLearner"


def test_digits_resumed_equal_digits_undisturbed(digits: PreparedDataset, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        learn(tmp_path / "a", digits, Stopping)
    record = learn(tmp_path / "a", digits)
    undisturbed = learn(tmp_path / "b", digits)
    assert (record.attempts, undisturbed.attempts) == (2, 1)
    assert outcome_of(tmp_path / "a") == outcome_of(tmp_path / "b")

    assert record.stream.task_of_class == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert sum(record.stream.train_counts) == 1437 and sum(record.stream.test_counts) == 360
    order = record.stream.class_order
    assert record.stream.class_names[order[0]] == "the digit zero"
    # two classes at first, one of which is told from the other far better than by chance
    assert record.accuracy[0][0] is not None and record.accuracy[0][0] > 80

    predictions = pd.read_parquet(tmp_path / "a" / "predictions.parquet")
    last = predictions[predictions.after_task == 4]
    assert sorted(last.image_id) == list(range(360))
    source = digits.test.labels[last.image_id.to_numpy()]
    assert (last.label.to_numpy() == pd.Series(order)[source].to_numpy()).all()


def test_joint_digits_are_tested_task_by_task(digits: PreparedDataset, tmp_path: Path) -> None:
    record = learn(tmp_path, digits, joint=True)
    assert len(record.accuracy) == 1 and len(record.accuracy[0]) == 5
    assert sum(record.stream.train_counts) == 1437
    assert record.metrics.final_average_accuracy > 60


def test_a_validation_stream_never_tests_on_the_test_split(
    digits: PreparedDataset, tmp_path: Path
) -> None:
    record = learn(tmp_path, digits, validation=0.2)
    assert sum(record.stream.train_counts) + sum(record.stream.test_counts) == 1437
