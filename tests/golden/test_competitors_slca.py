"""SLCA against its authors' code: both stages over two tasks, with the alignment's draws given."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import baselines.slca
from baselines.slca import SLCA, scaled_logits
from starprompt.replay.statistics import COVARIANCE_FLOOR
from tests.helpers.golden_competitors import STEP, Golden, files


def learner_of(golden: Golden) -> SLCA:
    hp = golden.hp
    return golden.learner(
        SLCA,
        epochs=hp["epochs"],
        lr=hp["lr"],
        backbone_factor=hp["backbone_factor"],
        momentum=hp["momentum"],
        weight_decay=hp["weight_decay"],
        milestones=tuple(hp["milestones"]),
        align_epochs=hp["ca_epochs"],
        align_lr=hp["lr"],
        align_samples=hp["n"],
        align_batch_size=hp["n"],
        align_momentum=hp["momentum"],
        temperature=hp["temperature"],
    )


def set_head(head: nn.Linear, weight: Tensor, bias: Tensor) -> None:
    with torch.no_grad():
        head.weight[-len(weight) :], head.bias[-len(bias) :] = weight, bias


@pytest.mark.parametrize("file", files("slca"), ids=lambda file: file.stem)
def test_both_stages_are_the_authors(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    golden = Golden(file)
    t = golden.t
    learner = learner_of(golden)
    for index in range(len(golden.ends)):
        name, task = f"task{index}", golden.task(index)
        past = task.past_classes
        learner.begin_task(task)
        start = golden.under(f"{name}.start.head.")
        set_head(learner.own_head, start["weight"][past:], start["bias"][past:])
        if past:
            old = learner.net.head.weight[:past]
            golden.compare("step", old, start["weight"][:past], STEP, name)
        steps = golden.steps(name)
        assert steps
        for epoch, step in enumerate(steps):
            learner.begin_epoch(epoch)
            rates = torch.tensor([group["lr"] for group in learner.optimiser.param_groups])
            golden.forward(rates, f"{step}.lr")
            batch = golden.batch(step)
            golden.forward(learner.own_head(learner.net.features(batch.images)), f"{step}.logits")
            golden.forward(learner.train_step(batch)["loss"], f"{step}.loss")
            golden.learned(learner.net.vit, step, "vit.")
            for part in ("weight", "bias"):
                own = getattr(learner.own_head, part)
                golden.gradient(own.grad, f"{step}.grad.head.{part}")
                every = torch.cat([getattr(learner.net.head, part)[:past], own])
                golden.after(every, f"{step}.after.head.{part}")
        features = t[f"{name}.class_features"]
        labels = torch.arange(past, task.seen_classes).repeat_interleave(features.shape[1])
        monkeypatch.setattr(learner, "_fit_gaussians", lambda task: None)
        learner.gaussians = learner.gaussians.fit(features.flatten(0, 1), labels, task.current)
        golden.forward(learner.gaussians.means, f"{name}.means")
        floor = COVARIANCE_FLOOR * torch.eye(features.shape[2])
        golden.forward(learner.gaussians.covariances + floor, f"{name}.covariances")
        if index < len(golden.ends) - 1:
            learner.end_task(task)
        else:
            align(learner, golden, task, monkeypatch)
        recalled = t[f"{name}.recalled.head.weight"]
        golden.compare("step", learner.net.head.weight[: task.seen_classes], recalled, STEP, name)


def align(learner: SLCA, golden: Golden, task: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """End the last task with the golden draws, each step checked."""
    t, steps = golden.t, golden.steps("align")
    an_epoch = golden.ends[-1]
    assert len(steps) == an_epoch * golden.hp["ca_epochs"]
    waiting, seen = iter(steps), golden.ends[-1]
    sizes = [end - start for start, end in zip((0, *golden.ends), golden.ends, strict=False)]
    own_step = learner._align_step

    def given(*_: object) -> list[tuple[str, Tensor]]:
        return [(at, t[f"{at}.labels"]) for _, at in zip(range(an_epoch), waiting, strict=False)]

    def checked(optimiser: torch.optim.Optimizer, at: str, labels: Tensor) -> Tensor:
        features, head = t[f"{at}.features"], learner.head_for_prediction
        if at == steps[0]:
            golden.check("step", head.weight[:seen], "align.start.head.weight", STEP)
        golden.forward(torch.tensor([optimiser.param_groups[0]["lr"]]), f"{at}.lr")
        scaled = scaled_logits(head(features)[:, :seen], sizes, golden.hp["temperature"])
        golden.forward(scaled, f"{at}.scaled_logits")
        loss = own_step(optimiser, features, labels)
        golden.forward(loss, f"{at}.loss")
        golden.after(head.weight[:seen], f"{at}.after.head.weight")
        golden.after(head.bias[:seen], f"{at}.after.head.bias")
        return loss

    monkeypatch.setattr(baselines.slca, "shuffled_batches", given)
    monkeypatch.setattr(learner, "_align_step", checked)
    learner.end_task(task)
    assert next(waiting, None) is None
