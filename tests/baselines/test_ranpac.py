"""RanPAC is ridge regression on all images so far, with a ridge that was chosen."""

import numpy as np
import pytest
import torch

from baselines.ranpac import RanPAC
from starprompt.data.stream import TaskStream
from tests.helpers.competitors import build_competitor, numpy_features
from tests.helpers.small_stream import images_of, learn


def test_ranpac_is_ridge_regression_on_all_images_so_far(
    stream: TaskStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RanPAC, "best_ridge", lambda *_: 100.0)
    learner = build_competitor("ranpac-no-phase-1", stream)
    projected, targets = [], []
    for task in stream.tasks[:2]:
        learn(learner, task)
        features, labels = numpy_features(learner, stream, task.index)
        projected.append(np.maximum(features @ learner.projection.double().numpy(), 0))
        targets.append(np.eye(4)[labels])
    h, y = np.concatenate(projected), np.concatenate(targets)
    weights = np.linalg.inv(h.T @ h + 100.0 * np.eye(h.shape[1])) @ h.T @ y
    batch = images_of(learner, stream, 0, 1)
    answers = learner.projected(batch).double().numpy() @ weights
    assert learner.predict(batch).numpy() == pytest.approx(answers, abs=1e-3)


def test_ranpac_takes_the_ridge_that_fits_what_it_did_not_see(stream: TaskStream) -> None:
    learner = build_competitor("ranpac", stream, ridge_powers=(-2, 6))
    torch.manual_seed(0)
    signal = torch.randn(400, 200)
    one_hot = torch.zeros(400, 10)
    one_hot[torch.arange(400), (signal[:, 0] > 0).long()] = 1
    exact = learner.best_ridge(signal, one_hot)
    noise = torch.zeros(400, 10)
    noise[torch.arange(400), torch.randint(2, (400,))] = 1
    assert learner.best_ridge(signal, noise) > exact  # nothing to learn: shrink all
