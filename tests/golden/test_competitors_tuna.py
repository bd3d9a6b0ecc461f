"""TUNA against its authors' code: three tasks' steps, merged adapters, means, covariances, the
head's alignment with the draws given, and the sum of two softmaxes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import starprompt.backbones.adapters
from baselines.tuna import Tuna
from starprompt.data.batch import Batch
from tests.helpers.golden_competitors import GRADIENT, Golden, files

PAIRS = files("tuna")
#: of a block's adapter: the authors' names and ours
LAYERS = {"down_proj": "down", "up_proj": "up"}


def stacked(adapters: Any, gradient: bool = False) -> dict[str, Tensor]:
    """Adapters of all blocks, (layers, ...), by the authors' names; or their gradients."""
    found = {}
    for theirs, ours in LAYERS.items():
        for kind in ("weight", "bias"):
            own = [getattr(getattr(adapter, ours), kind) for adapter in adapters]
            found[f"{theirs}.{kind}"] = torch.stack([p.grad if gradient else p for p in own])
    return found


@torch.no_grad()
def begin(learner: Tuna, golden: Golden, name: str) -> None:
    """Put the task's start into the learner: the first adapters, and the new rows of the head."""
    own: Any = learner.adapters[learner.task]
    for theirs, ours in LAYERS.items():
        for kind in ("weight", "bias"):
            start = golden.t[f"{name}.start.adapters.{theirs}.{kind}"]
            for adapter, value in zip(own, start, strict=True):
                parameter = getattr(getattr(adapter, ours), kind)
                if learner.task:  # a task's adapters start as the last task's
                    golden.compare("step", parameter, value, GRADIENT, name)
                parameter.copy_(value)
    heads = [golden.t[f"{name}.start.head.{task}"] for task in range(learner.task + 1)]
    past = torch.cat(heads)[: learner.past]
    if learner.past:
        golden.compare("step", learner.head[: learner.past], past, GRADIENT, name)
    learner.head.copy_(torch.cat(heads))


def take_steps(learner: Tuna, golden: Golden, name: str) -> None:
    for epoch, step in enumerate(golden.steps(name)):
        learner.begin_epoch(epoch)
        rate = learner.optimiser.param_groups[0]["lr"]
        assert rate == pytest.approx(float(golden.t[f"{step}.lr"]), rel=1e-6)
        losses = learner.train_step(golden.batch(step))
        golden.forward(losses["cross_entropy"], f"{step}.cross_entropy")
        own: Any = learner.adapters[learner.task]
        for theirs, gradient in stacked(own, gradient=True).items():
            golden.gradient(gradient, f"{step}.grad.adapters.{theirs}")
        for theirs, after in stacked(own).items():
            golden.after(after, f"{step}.after.adapters.{theirs}")
        after_heads = golden.under(f"{step}.after.head.")
        whole = torch.cat([after_heads[str(task)] for task in range(learner.task + 1)])
        golden.compare("step", learner.head, whole, GRADIENT, step)
        if learner.hp.orthogonality and learner.task:
            factor = learner.hp.orthogonality * torch.exp(torch.tensor(-(learner.task + 1.0)))
            ours = (losses["loss"] - losses["cross_entropy"]) / factor
            golden.check("orthogonality", ours, f"{step}.orthogonality", 1e-3)
        for earlier in range(learner.task):
            if (moved := f"{step}.after.old.{earlier}.up_proj.weight") in golden.t:
                adapters: Any = learner.adapters[earlier]
                golden.after(stacked(adapters)["up_proj.weight"], moved)


@pytest.mark.parametrize("file", PAIRS, ids=lambda file: file.stem)
def test_steps_merging_alignment_and_answers_are_the_authors(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    golden = Golden(file)
    t = golden.t
    monkeypatch.setattr(starprompt.backbones.adapters, "DROPOUT", 0.0)
    learner = golden.learner(Tuna, **golden.hp)
    anonymous = torch.zeros(len(t["test.images"]), dtype=torch.int64)
    test = Batch(anonymous, anonymous, t["test.images"])
    drawn: Iterator[tuple[Tensor, Tensor]] = iter(())
    seen = 0

    def given(samples: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(seen):
            yield next(drawn)

    monkeypatch.setattr("starprompt.replay.head_alignment.shuffled_batches", given)
    for index, name in enumerate(golden.tasks()):
        task = golden.task(index, [golden.batch(name)])
        learner.begin_task(task)
        begin(learner, golden, name)
        take_steps(learner, golden, name)
        seen, aligned = task.seen_classes, golden.steps(f"{name}.align")
        drawn = iter([(t[f"{step}.features"], t[f"{step}.labels"]) for step in aligned])
        learner.end_task(task)
        assert next(drawn, None) is None  # as many steps as theirs
        if index:
            golden.compare(
                "step", learner.head, t[f"{aligned[-1]}.after.head"], GRADIENT, f"{name}.align"
            )
            factors = learner.mean_factors(len(task.current))[:, None]
            golden.forward(learner.gaussians.means * factors, f"{name}.align.means")
            floor = 1e-4 * torch.eye(learner.net.dim)
            golden.forward(learner.gaussians.covariances + floor, f"{name}.align.covariances")
            for theirs, ours in stacked(learner.universal).items():
                golden.forward(ours, f"{name}.merged.{theirs}")
            golden.forward(learner.answers(test, learner.universal), f"{name}.test.merged")
            golden.forward(learner.predict(test), f"{name}.test.logits")
        else:
            adapters = learner.adapters[0]
            golden.forward(learner.cosines(learner.features(test, adapters)), f"{name}.test.logits")


def test_both_forms_of_the_release_have_a_pair() -> None:
    shrinks = {Golden(file).hp["shrink"] for file in PAIRS}
    assert shrinks == {"released", "none"}
