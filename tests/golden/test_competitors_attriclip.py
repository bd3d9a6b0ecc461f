"""AttriCLIP against its authors' code: choices, losses, gradients and steps over two tasks."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from baselines.attriclip import AttriCLIP
from starprompt.data.batch import Batch
from tests.helpers.golden_competitors import Golden, files


def features_of(golden: Golden, step: str) -> Batch:
    labels = golden.t[f"{step}.labels"]
    return Batch(labels, labels, clip=golden.t[f"{step}.image_features"])


def learner_of(golden: Golden, batch: int, steps: int, **switches: bool | str) -> AttriCLIP:
    hp = golden.hp
    learner = golden.learner(
        AttriCLIP,
        epochs=steps,
        batch_size=batch,
        lr=hp["lr"],
        lr_batch=batch,
        bank=hp["bank"],
        tokens=hp["tokens"],
        top_k=hp["top_k"],
        key_weight=hp["key_weight"],
        similarity_weight=hp["similarity_weight"],
        **switches,
    )
    with torch.no_grad():
        learner.prompts.copy_(golden.t["start.prompts"])
        learner.keys.copy_(golden.t["start.keys"])
    return learner


@pytest.mark.parametrize("file", files("attriclip"), ids=lambda file: file.stem)
def test_steps_and_predictions_are_the_authors(file: Path) -> None:
    golden = Golden(file)
    t = golden.t
    every = [golden.steps(name) for name in golden.tasks()]
    batch = len(t[f"{every[0][0]}.labels"])
    learner = learner_of(golden, batch, len(every[0]))
    for index, (name, steps) in enumerate(zip(golden.tasks(), every, strict=True)):
        assert steps
        # as many images as one batch: every step is an epoch, and the rate falls over them all
        learner.begin_task(golden.task(index, [features_of(golden, steps[0])]))
        for step in steps:
            rate = learner.optimiser.param_groups[0]["lr"]
            golden.forward(torch.tensor([rate]), f"{step}.lr")
            given = features_of(golden, step)
            images = F.normalize(given.clip, dim=-1)
            _, chosen = learner.choose(images)
            assert torch.equal(chosen, t[f"{step}.chosen"])
            classes = slice(learner.past, learner.seen)
            texts = learner.class_features(chosen, classes)
            golden.forward(learner.logits(images[:, None], texts)[:, 0], f"{step}.logits")
            for part, value in learner.train_step(given).items():
                golden.forward(value, f"{step}.{part}")
            for part in ("keys", "prompts"):
                golden.gradient(getattr(learner, part).grad, f"{step}.grad.{part}")
                golden.after(getattr(learner, part), f"{step}.after.{part}")
        test = t["test.image_features"]
        anonymous = torch.zeros(len(test), dtype=torch.int64)
        golden.forward(
            learner.predict(Batch(anonymous, anonymous, clip=test)), f"{name}.test.logits"
        )


@pytest.mark.parametrize("file", files("attriclip"), ids=lambda file: file.stem)
def test_the_papers_choice_is_what_cosines_choose(file: Path) -> None:
    golden = Golden(file)
    learner = learner_of(golden, 1, 1, choice="cosine")
    for name in golden.tasks():
        for step in golden.steps(name):
            images = F.normalize(golden.t[f"{step}.image_features"], dim=-1)
            assert torch.equal(learner.choose(images)[1], golden.t[f"{step}.chosen.cosine"])
            with torch.no_grad():
                learner.keys.copy_(golden.t[f"{step}.after.keys"])
