"""DER++ against the authors' step: loss, gradients and plain SGD steps with the draws given."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from baselines.derpp import DERpp
from tests.helpers.golden_competitors import Golden, files, load


@pytest.mark.parametrize("file", files("derpp"), ids=lambda file: file.stem)
def test_steps_are_the_authors(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    golden = Golden(file)
    t, hp = golden.t, golden.hp
    learner = golden.learner(DERpp, alpha=hp["alpha"], beta=hp["beta"], buffer=1)
    load(learner.net.head, golden.under("start.head."))
    stored: list[Tensor] = []
    monkeypatch.setattr(learner, "offer", lambda batch, logits: stored.append(logits.detach()))
    steps = [f"step{k}" for k in range(len(t)) if f"step{k}.loss" in t]
    assert steps
    tasks_begun = 0
    for step in steps:
        task, place = t[f"{step}.images_are"].tolist()
        if task == tasks_begun:
            learner.begin_task(golden.task(task))
            tasks_begun += 1
        learner.optimiser = torch.optim.SGD(learner.net.parameters(), lr=hp["lr"])
        draws = []
        for d in (0, 1) if f"{step}.draw0.labels" in t else ():
            kept = {name: t[f"{step}.draw{d}.{name}"] for name in ("labels", "logits")}
            # draw d holds the first images of the first task's step d
            draws.append((t[f"task0.step{d}.images"][: len(kept["labels"])], kept))
        learner.buffer.filled = len(draws)
        monkeypatch.setattr(learner, "draw", iter(draws).__next__)
        batch = golden.batch(f"task{task}.step{place}")
        assert torch.equal(batch.labels, t[f"{step}.labels"])
        golden.forward(learner.train_step(batch)["loss"], f"{step}.loss")
        golden.forward(stored[-1], f"{step}.logits")
        golden.forward(stored[-1], f"{step}.stored_logits")
        golden.learned(learner.net, step)
