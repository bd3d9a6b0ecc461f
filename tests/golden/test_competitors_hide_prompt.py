"""HiDe-Prompt against the authors' code: both stages' steps, centroids, alignment and answers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from baselines.hide_prompt import HiDePrompt
from starprompt.data.batch import Batch
from starprompt.replay.centroids import Centroids
from tests.helpers.golden_competitors import FORWARD, STEP, Golden, files, load


@pytest.mark.parametrize("file", files("hide-prompt"), ids=lambda file: file.stem)
def test_stages_are_the_authors(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step from the numbers that the authors' code had before it."""
    golden = Golden(file)
    t, hp = golden.t, golden.hp
    names = ("epochs", "lr", "head_factor", "identity_lr", "hidden", "length", "momentum")
    names += ("contrast", "clip_gradient", "centroids", "align_epochs", "align_lr")
    names += ("align_batch_size", "identity_align_lr", "identity_align_batch_size")
    given: Any = {name: hp[name] for name in names}
    learner = golden.learner(
        HiDePrompt, layers=tuple(hp["layers"]), identity_epochs=hp["epochs"], **given
    )
    load(learner.head, golden.under("start.head."))
    load(learner.identity, golden.under("start.identity."))
    learner.prompts[0] = t["start.prompt"]
    for index, name in enumerate(golden.tasks()):
        classes = range((0, *golden.ends)[index], golden.ends[index])
        task = golden.task(index, [of_class(golden, label) for label in classes])
        learner.begin_task(task)
        for k, step in enumerate(golden.steps(name)):
            if k % 2 == 0:
                learner.begin_epoch(k // 2)
            check_step(golden, learner, golden.batch(f"{name}.batch{k % 2}"), step)
        monkeypatch.setattr(Centroids, "batches", drawn(golden, name, index))
        learner.end_task(task)
        golden.after(learner.prompts[index], f"{name}.end.prompt")
        check_centroids(golden, learner)
        if index:
            last = golden.steps(f"{name}.align")[-1]
            golden.learned(learner.identity, last, "identity.")
            golden.learned(learner.head, last, "head.")
        test = t["test.images"]
        logits = learner.predict(Batch(test, test, test))
        assert torch.equal(learner.last_selection.chosen[:, 0], t[f"{name}.test.tasks"])
        golden.after(logits, f"{name}.test.logits")


def of_class(golden: Golden, label: int) -> Batch:
    images = golden.t[f"class{label}.images"]
    return Batch(torch.arange(len(images)), torch.full((len(images),), label), images)


def check_step(golden: Golden, learner: Any, batch: Batch, step: str) -> None:
    for number, group in enumerate(learner.optimiser.param_groups[:2]):
        assert group["lr"] == pytest.approx(float(golden.t[f"{step}.lr{number}"]))
    losses = learner.train_step(batch)
    names = {"cross_entropy": "own.cross_entropy", "identity": "identity.cross_entropy"}
    for ours, theirs in {**names, "contrast": "contrast"}.items():
        at = f"{step}.{theirs}"
        golden.compare("forward", losses[ours], golden.t[at], FORWARD, at, least=0.1)
    golden.gradient(learner.prompt.grad, f"{step}.grad.prompt")
    golden.after(learner.prompt, f"{step}.after.prompt")
    golden.learned(learner.head, step, "head.")
    golden.learned(learner.identity, step, "identity.")
    with torch.no_grad():
        learner.prompt.copy_(golden.t[f"{step}.after.prompt"])
    load(learner.head, golden.under(f"{step}.after.head."))
    load(learner.identity, golden.under(f"{step}.after.identity."))


def drawn(golden: Golden, name: str, index: int) -> Any:
    """In place of ``Centroids.batches``: the batches that the authors' code drew, epoch by epoch,
    first for the identity head."""
    parts = [f"{name}.align.identity", f"{name}.align"] if index else []
    steps = iter([step for part in parts for step in sorted_steps(golden, part)])

    def batches(_: Centroids, size: int, count: int) -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(count):
            step = next(steps)
            features, labels = golden.t[f"{step}.features"], golden.t[f"{step}.labels"]
            assert len(features) == size
            yield features, labels

    return batches


def sorted_steps(golden: Golden, part: str) -> list[str]:
    """Steps that hold drawn features, in order."""
    return [step for step in golden.steps(part) if f"{step}.features" in golden.t]


def check_centroids(golden: Golden, learner: Any) -> None:
    for prefix, centroids in (("identity.", learner.plain), ("", learner.prompted)):
        for label in centroids.labels.unique().tolist():
            at = f"{prefix}class{label}"
            rows = centroids.labels == label
            theirs = [golden.t[f"{at}.{part}"] for part in ("means", "variances")]
            ours = [centroids.means[rows], centroids.variances[rows]]
            for mine, golden_part in zip(ours, theirs, strict=True):
                order, their_order = ours[0][:, 0].argsort(), theirs[0][:, 0].argsort()
                pair = mine[order], golden_part[their_order]
                golden.compare("centroids", *pair, STEP, at)
