"""CODA-Prompt against its authors' code: rates, losses, gradients and Adam steps over two tasks."""

from pathlib import Path

import pytest
import torch

from baselines.coda_prompt import KINDS, CodaPrompt
from starprompt.data.batch import Batch
from tests.helpers.golden_competitors import Golden, files, load

#: Adam divides by small gradients' roots
ADAM_STEP = 1e-3


@pytest.mark.parametrize("file", files("coda-prompt"), ids=lambda file: file.stem)
def test_steps_and_predictions_are_the_authors(file: Path) -> None:
    golden = Golden(file)
    t, hp = golden.t, golden.hp
    learner = golden.learner(
        CodaPrompt,
        epochs=hp["epochs"],
        lr=hp["lr"],
        components=hp["components"],
        length=hp["length"],
        layers=tuple(hp["layers"]),
        orthogonality=hp["mu"],
    )
    assert golden.tasks()
    for index, name in enumerate(golden.tasks()):
        task = golden.task(index)
        learner.begin_task(task)
        load(learner.head, golden.under(f"{name}.start.head."))
        first, last = index * learner.share, (index + 1) * learner.share
        for kind in KINDS:
            start = t[f"{name}.start.{kind}"].flatten(2)
            if first:
                past = learner.pool[kind][:, :first]
                golden.compare("step", past, start[:, :first], ADAM_STEP, f"{name}.start.{kind}")
                past.copy_(start[:, :first])  # so that no rounding of earlier tasks adds up
            learner.own[kind].data.copy_(start[:, first:last])
        steps = golden.steps(name)
        assert steps
        for epoch in range(hp["epochs"]):
            learner.begin_epoch(epoch)
            rate = learner.optimiser.param_groups[0]["lr"]
            golden.forward(torch.tensor([rate]), f"{name}.lr.epoch{epoch}")
            if epoch >= len(steps):
                continue
            step = steps[epoch]
            batch = golden.batch(step)
            golden.forward(learner.vit(batch.images), f"{step}.query")
            features, _ = learner.features(batch.images)
            logits = learner.head(features)[:, task.past_classes : task.seen_classes]
            golden.forward(logits, f"{step}.logits")
            for part, value in learner.train_step(batch).items():
                # rows that start orthonormal have a penalty of rounding alone
                least = 1e-6 if part == "orthogonality" else 1e-12
                golden.forward(value, f"{step}.{part}", least)
            for kind in KINDS:
                gradient = torch.zeros_like(t[f"{step}.grad.{kind}"].flatten(2))
                gradient[:, first:last] = learner.own[kind].grad
                gradient = gradient.view_as(t[f"{step}.grad.{kind}"])
                golden.gradient(gradient, f"{step}.grad.{kind}")
                after = t[f"{step}.after.{kind}"].flatten(2)[:, :last]
                ours = learner.components()[kind]
                golden.compare("step", ours, after, ADAM_STEP, f"{step}.after.{kind}")
            for part, parameter in learner.head.named_parameters():
                golden.gradient(parameter.grad, f"{step}.grad.head.{part}")
                golden.after(parameter, f"{step}.after.head.{part}", ADAM_STEP)
        learner.end_task(task)
        anonymous = torch.zeros(len(t["test.images"]), dtype=torch.int64)
        logits = learner.predict(Batch(anonymous, anonymous, t["test.images"]))
        expected = t[f"{name}.test.logits"][:, : task.seen_classes]
        golden.compare("forward", logits, expected, ADAM_STEP, f"{name}.test.logits")
