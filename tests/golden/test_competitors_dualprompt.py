"""DualPrompt against its authors' code, without a vote: two tasks, with and without clipping."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import baselines.dualprompt
from baselines.dualprompt import DualPrompt
from starprompt.backbones.prompt_pools import limit_gradients
from starprompt.data.batch import Batch
from tests.helpers.golden_competitors import FORWARD, Golden, files, load

#: a limit that no gradient reaches
NO_LIMIT = 1e9


def learner_of(golden: Golden, limit: float = NO_LIMIT, clip_frozen: bool = False) -> DualPrompt:
    hp = golden.hp
    learner = golden.learner(
        DualPrompt,
        batch_size=golden.net["batch"],
        lr=hp["lr_per_256"],
        g_length=hp["g"],
        e_length=hp["e"],
        g_layers=tuple(hp["gl"]),
        e_layers=tuple(hp["el"]),
        pull=hp["pull"],
        clip_gradient=limit,
        clip_frozen=clip_frozen,
        all_keys=True,
    )
    assert not learner.head.weight.any(), "the head starts at zero, as released"
    take_up(learner, golden.under("start."))
    return learner


def take_up(learner: DualPrompt, state: dict[str, Tensor]) -> None:
    """Let the learner go on from golden parts."""
    load(learner.head, {n.removeprefix("head."): x for n, x in state.items() if "head." in n})
    learner.shared["g"].data.copy_(state["g_prompts"])
    learner.prompts, learner.keys = state["e_prompts"].clone(), state["keys"].clone()


def trained(learner: DualPrompt, task: int) -> dict[str, tuple[Tensor, Tensor]]:
    """By golden name: all of a part, with what the task has learned so far, and its gradient."""
    found = {"g_prompts": (learner.shared["g"], learner.shared["g"].grad)}
    for name, every, own in (
        ("e_prompts", learner.prompts, learner.prompt),
        ("keys", learner.keys, learner.key),
    ):
        values, gradient = every.clone(), torch.zeros_like(every)
        values[task], gradient[task] = own.detach(), own.grad
        found[name] = (values, gradient)
    for name, parameter in learner.head.named_parameters():
        found[f"head.{name}"] = (parameter, parameter.grad)
    return found


def check_steps(golden: Golden, learner: DualPrompt, index: int, prefix: str = "") -> None:
    """Take the steps of a task; parts after them, and gradients where the pair has them."""
    for step in golden.steps(f"task{index}"):
        batch, at = golden.batch(step), f"{prefix}{step}"
        if not prefix:
            golden.forward(learner.vit(batch.images), f"{step}.query")
            prompts = learner.prompt.expand(len(batch), *learner.prompt.shape)
            logits = learner.head(learner.features(batch.images, prompts))
            golden.forward(logits[:, learner.past : learner.seen], f"{step}.logits")
        losses = learner.train_step(batch)
        if not prefix:
            pull = golden.hp["pull"]
            golden.forward(losses["cross_entropy"], f"{step}.cross_entropy")
            golden.forward(1 - losses["key_distance"], f"{step}.nearness")
            golden.forward(losses["loss"] - pull, f"{step}.loss")
        for part, (values, gradient) in trained(learner, index).items():
            if not prefix:
                golden.gradient(gradient, f"{step}.grad.{part}")
            golden.after(values, f"{at}.after.{part}")


@pytest.mark.parametrize("file", files("dualprompt"), ids=lambda file: file.stem)
def test_steps_and_predictions_are_the_authors(file: Path) -> None:
    golden = Golden(file)
    t = golden.t
    learner = learner_of(golden)
    assert golden.tasks()
    for index, name in enumerate(golden.tasks()):
        task = golden.task(index)
        learner.begin_task(task)
        check_steps(golden, learner, index)
        learner.end_task(task)
        anonymous = torch.zeros(len(t["test.images"]), dtype=torch.int64)
        logits = learner.predict(Batch(anonymous, anonymous, t["test.images"]))
        expected = t[f"{name}.test.logits"][:, : task.seen_classes]
        golden.compare("forward", logits, expected, FORWARD, f"{name}.test.logits")
        assert torch.equal(learner.last_selection.chosen, t[f"{name}.test.chosen"])


@pytest.mark.parametrize("file", files("dualprompt"), ids=lambda file: file.stem)
def test_clipping_over_all_gradients_is_the_authors(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The norm of all gradients, the frozen ViT's included, is limited.

    Each task starts from what the pair holds at the end of the one before. A task whose steps the
    pair took under another task's mask, as its moved E-prompt tells, is left out.
    """
    golden = Golden(file)
    t = golden.t
    learner = learner_of(golden, limit=golden.clip_limit, clip_frozen=True)
    norms: list[Tensor] = []

    def watched(of: list[nn.Parameter], limit: float, counted: nn.Module | None) -> None:
        norms.append(nn.utils.get_total_norm([p.grad for p in of if p.grad is not None]))
        norms.append(limit_gradients(of, limit, counted))

    monkeypatch.setattr(baselines.dualprompt, "limit_gradients", watched)
    before, compared = "start", 0
    for index, name in enumerate(golden.tasks()):
        steps = golden.steps(name)
        take_up(learner, golden.under(f"{before}."))
        before = f"clipped.{steps[-1]}.after"
        moved = t[f"clipped.{steps[0]}.after.keys"] - learner.keys
        if int(moved.abs().amax(dim=1).argmax()) != index:
            continue
        learner.begin_task(golden.task(index))
        check_steps(golden, learner, index, "clipped.")
        for step, trained_norm, norm in zip(steps, norms[::2], norms[1::2], strict=True):
            golden.norm(trained_norm, f"clipped.{step}.grad_norm_trained")
            golden.norm(norm, f"clipped.{step}.grad_norm_all")
        norms.clear()
        compared += len(steps)
    assert compared
