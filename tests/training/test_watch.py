"""The watch over a run: what it measures of a task, warns of, and sums up for the record."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from starprompt.config.thresholds import Thresholds
from starprompt.continual.evaluation import Evaluation
from starprompt.continual.learner import Selection
from starprompt.continual.prediction_files import selection_table
from starprompt.training.watch import SignatureWatch

TASK_OF_CLASS = (0, 0, 1, 1)
SECOND: Any = SimpleNamespace(index=1)


@pytest.fixture
def watch() -> SignatureWatch:
    return SignatureWatch(TASK_OF_CLASS, Thresholds(), "a run")


def _evaluation(true: list[int], chosen: list[int], of: Any = "class") -> Evaluation:
    labels = torch.tensor(true)
    selection = Selection(torch.tensor(chosen)[:, None], torch.zeros(len(true), 1), of=of)
    return Evaluation([], [], [selection_table(1, torch.arange(len(true)), labels, selection)])


def test_old_images_that_choose_newer_classes_are_warned_of(
    watch: SignatureWatch, caplog: pytest.LogCaptureFixture
) -> None:
    # two of four old images; the new ones do not count
    found = watch.after_task(SECOND, _evaluation([0, 0, 1, 1, 2, 3], [0, 2, 3, 0, 2, 0]), {}, {})
    assert found == {"selection_confusion": 0.5}
    (record,) = caplog.records
    assert record.getMessage() == (
        "a run: after task 2 50% of the old tasks' images choose a newer task's prompt "
        "(selection_confusion, threshold 0.2)"
    )


def test_below_the_threshold_nothing_is_said(
    watch: SignatureWatch, caplog: pytest.LogCaptureFixture
) -> None:
    found = watch.after_task(SECOND, _evaluation([0] * 10, [0] * 9 + [2]), {}, {})
    assert found == {"selection_confusion": pytest.approx(0.1)}
    assert not caplog.records


def test_prompts_of_no_class_can_not_be_confused(watch: SignatureWatch) -> None:
    assert watch.after_task(SECOND, _evaluation([0, 1], [5, 7], of="pool"), {}, {}) == {}


def test_norms_and_mixtures_are_measured_where_they_are(watch: SignatureWatch) -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(400, 3, generator=generator)
    diagnostics = {
        "injected_norm": torch.tensor([1.0, 6.0]),
        "attention_norm": torch.tensor([1.0, 2.0]),
        "train.features": features.half(),
        "train.labels": (torch.arange(400) % 2).short(),
    }
    state = {
        "mixtures.weights": torch.ones(2, 1),
        "mixtures.means": torch.zeros(2, 1, 3),
        "mixtures.variances": torch.full((2, 1, 3), 0.01),
    }
    found = watch.after_task(SECOND, Evaluation([], [], []), diagnostics, state)
    assert found["residual_saturation"] == 3
    assert found["variance_collapse"] == pytest.approx(0.01, rel=0.3)
    without = watch.after_task(SECOND, Evaluation([], [], []), diagnostics, {})
    assert set(without) == {"residual_saturation"}


def test_the_record_gets_all_tasks_and_the_worst_ones_sentence(watch: SignatureWatch) -> None:
    by_task = [{}, {"selection_confusion": 0.3}, {"selection_confusion": 0.25}]
    summed = watch.summary(by_task)["signatures"]
    assert summed["tasks"] == by_task
    assert summed["thresholds"]["selection_confusion"] == 0.2
    assert [said[:21] for said in summed["shown"]] == ["after task 2 30% of t"]
    assert watch.summary([{}, {}]) == {}
