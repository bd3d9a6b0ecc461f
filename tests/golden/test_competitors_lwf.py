"""LwF against mammoth's re-implementation: teacher, loss, gradients and plain SGD steps."""

from pathlib import Path

import pytest
import torch

from baselines.lwf import LwF
from tests.helpers.golden_competitors import Golden, files, load


@pytest.mark.parametrize("file", files("lwf"), ids=lambda file: file.stem)
def test_steps_are_the_released_ones(file: Path) -> None:
    golden = Golden(file)
    hp = golden.hp
    learner = golden.learner(LwF, weight=hp["weight"], temperature=hp["temperature"])
    load(learner.net.head, golden.under("start.head."))
    learner.begin_task(golden.task(1))
    load(learner.before.head, golden.under("teacher.head."))
    learner.optimiser = torch.optim.SGD(learner.net.parameters(), lr=hp["lr"])
    steps = golden.steps("task1")
    assert steps
    for step in steps:
        batch = golden.batch(step)
        golden.forward(learner.before(batch.images), f"{step}.teacher_logits")
        golden.forward(learner.train_step(batch)["loss"], f"{step}.loss")
        golden.learned(learner.net, step)
