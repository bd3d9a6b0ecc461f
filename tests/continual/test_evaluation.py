"""Evaluation: all tasks seen in one pass, each image once, as if each task were tested alone."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from starprompt.continual.evaluation import BATCH_SIZE, evaluate
from starprompt.data.stream import TaskData
from starprompt.method.starprompt import StarPrompt
from tests.helpers.small_stream import learn, make, small_stream


def test_all_tasks_seen_go_through_together(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = small_stream()
    options: dict[str, Any] = {"epochs": 1, "batch_size": 16, "replay_epochs": 1}
    learner: Any = make(StarPrompt, stream, key_source="template", replay_samples=8, **options)
    for task in stream.tasks[:4]:
        learn(learner, task)
    sizes: list[int] = []
    predict = learner.predict

    def counted(batch: Any) -> Tensor:
        assert batch.query is not None
        assert not torch.is_grad_enabled()
        sizes.append(len(batch))
        return predict(batch)

    def refuse(view: Tensor) -> Tensor:
        raise AssertionError("CLIP was run although its features are cached")

    monkeypatch.setattr(learner, "predict", counted)
    monkeypatch.setattr(learner.clip, "encode_images", refuse)
    task = stream.tasks[3]
    together = evaluate(learner, task, stream.test_tasks, where="test", progress=False)
    assert sizes == [48] and BATCH_SIZE >= 48
    assert together.accuracy[4] is None and len(together.predictions) == 4
    for index, alone_test in enumerate(stream.test_tasks[:4]):
        alone = evaluate(learner, task, [alone_test], where="test", progress=False)
        ours, theirs = together.predictions[index], alone.predictions[0]
        assert together.accuracy[index] == alone.accuracy[0]
        for column in ("image_id", "label", "prediction"):
            assert ours[column].equals(theirs[column])
        assert set(ours["task"].to_pylist()) == {index}
        np.testing.assert_allclose(ours["score"], theirs["score"], rtol=1e-4)
        selected, chosen = together.selections[index], alone.selections[0]
        assert selected["image_id"].equals(chosen["image_id"])
        assert selected["chosen_class"].equals(chosen["chosen_class"])


def test_only_images_of_one_split_go_together() -> None:
    stream = small_stream()
    whole = TaskData.together(stream.test_tasks)
    assert len(whole) == 60 and set(whole.labels.tolist()) == set(range(10))
    assert whole.features("query").shape == (60, 128)
    with pytest.raises(ValueError, match="one split"):
        TaskData.together([stream.test_tasks[0], stream.tasks[1].train])
