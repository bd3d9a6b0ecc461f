"""L2P against its authors' code, without a vote: two tasks, with and without clipping."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import baselines.l2p
from baselines.l2p import L2P
from starprompt.backbones.prompt_pools import limit_gradients
from starprompt.data.batch import Batch
from tests.helpers.golden_competitors import FORWARD, STEP, Golden, files, load

#: a limit that no gradient reaches
NO_LIMIT = 1e9
PARTS = ("prompts", "keys", "head.weight", "head.bias")


def learner_of(golden: Golden, limit: float = NO_LIMIT, clip_frozen: bool = False) -> L2P:
    hp = golden.hp
    learner = golden.learner(
        L2P,
        batch_size=golden.net["batch"],
        lr=hp["lr_per_256"],
        pool=hp["pool"],
        length=hp["length"],
        top_k=hp["top_k"],
        pull=hp["pull"],
        clip_gradient=limit,
        clip_frozen=clip_frozen,
    )
    assert not learner.head.weight.any(), "the head starts at zero, as released"
    load(learner.pool, golden.under("start."))
    load(learner.head, golden.under("start.head."))
    return learner


def parts(learner: L2P) -> dict[str, nn.Parameter]:
    ours = {name.removeprefix("pool."): p for name, p in learner.net.named_parameters()}
    assert tuple(ours) == PARTS
    return ours


@pytest.mark.parametrize("file", files("l2p"), ids=lambda file: file.stem)
def test_steps_and_predictions_are_the_authors(file: Path) -> None:
    golden = Golden(file)
    t = golden.t
    learner = learner_of(golden)
    assert golden.tasks()
    for index, name in enumerate(golden.tasks()):
        task = golden.task(index)
        learner.begin_task(task)
        for step in golden.steps(name):
            batch = golden.batch(step)
            golden.forward(learner.vit(batch.images), f"{step}.query")
            features, _, chosen = learner.features(batch)
            assert torch.equal(chosen, t[f"{step}.chosen"])
            logits = learner.head(features)[:, task.past_classes : task.seen_classes]
            golden.forward(logits, f"{step}.logits")
            for part, value in learner.train_step(batch).items():
                golden.forward(value, f"{step}.{part}")
            for part, parameter in parts(learner).items():
                golden.gradient(parameter.grad, f"{step}.grad.{part}")
                golden.after(parameter, f"{step}.after.{part}")
        anonymous = torch.zeros(len(t["test.images"]), dtype=torch.int64)
        logits = learner.predict(Batch(anonymous, anonymous, t["test.images"]))
        expected = t[f"{name}.test.logits"][:, : task.seen_classes]
        golden.compare("forward", logits, expected, FORWARD, f"{name}.test.logits")
        assert torch.equal(learner.last_selection.chosen, t[f"{name}.test.chosen"])


@pytest.mark.parametrize("file", files("l2p"), ids=lambda file: file.stem)
def test_clipping_over_all_gradients_is_the_authors(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The norm of all gradients, the frozen ViT's included, is limited."""
    golden = Golden(file)
    learner = learner_of(golden, limit=golden.clip_limit, clip_frozen=True)
    norms: list[Tensor] = []

    def watched(trained: list[nn.Parameter], limit: float, counted: nn.Module | None) -> None:
        norms.append(nn.utils.get_total_norm([p.grad for p in trained if p.grad is not None]))
        norms.append(limit_gradients(trained, limit, counted))

    monkeypatch.setattr(baselines.l2p, "limit_gradients", watched)
    for index, name in enumerate(golden.tasks()):
        learner.begin_task(golden.task(index))
        for step in golden.steps(name):
            learner.train_step(golden.batch(step))
            golden.norm(norms[-2], f"clipped.{step}.grad_norm_trained")
            golden.norm(norms[-1], f"clipped.{step}.grad_norm_all")
            for part, parameter in parts(learner).items():
                golden.after(parameter, f"clipped.{step}.after.{part}", STEP)
