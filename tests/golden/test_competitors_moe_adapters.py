"""MoE-Adapters against its authors' code: steps of both encoders' experts and routers with the
noise given, rates, features and logits."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import starprompt.backbones.adapters
from baselines.moe_adapters import MoEAdapters
from starprompt.data.batch import Batch
from tests.helpers.golden_competitors import Golden, files

LAYERS = {"down_proj": "down", "up_proj": "up"}


def stacked(every: Any, gradient: bool = False) -> dict[str, Tensor]:
    """One encoder's experts by the names of the pair, layers first."""

    def of(parameter: Any) -> Tensor:
        return parameter.grad if gradient else parameter

    found = {
        "router": torch.stack([of(one.router) for one in every]),
        "spread": torch.stack([of(one.spread) for one in every]),
    }
    for theirs, ours in LAYERS.items():
        for kind in ("weight", "bias"):
            found[f"adapters.{theirs}.{kind}"] = torch.stack(
                [
                    torch.stack([of(getattr(getattr(adapter, ours), kind)) for adapter in adapters])
                    for adapters in (one.adapters for one in every)
                ]
            )
    return found


@torch.no_grad()
def begin(every: Any, start: dict[str, Tensor]) -> None:
    """Put the pair's experts into one encoder."""
    for layer, one in enumerate(every):
        one.router.copy_(start["router"][layer])
        one.spread.copy_(start["spread"][layer])
        for number, adapter in enumerate(one.adapters):
            for theirs, ours in LAYERS.items():
                for kind in ("weight", "bias"):
                    own = start[f"adapters.{theirs}.{kind}"][layer, number]
                    getattr(getattr(adapter, ours), kind).copy_(own)


@pytest.mark.parametrize("file", files("moe-adapters"), ids=lambda file: file.stem)
def test_steps_features_and_logits_are_the_authors(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    golden = Golden(file)
    t = golden.t
    monkeypatch.setattr(starprompt.backbones.adapters, "DROPOUT", 0.0)
    hp = {k: v for k, v in golden.hp.items() if k in MoEAdapters.Hyperparameters.model_fields}
    learner = golden.learner(MoEAdapters, **hp)
    towers = {tower: learner.net.experts[tower] for tower in ("image", "text")}
    for tower, every in towers.items():
        begin(every, golden.under(f"start.{tower}."))
    noise: Iterator[Tensor] = iter(())
    monkeypatch.setattr(torch, "randn_like", lambda _: next(noise))
    test = t["test.images"]
    anonymous = torch.zeros(len(test), dtype=torch.int64)
    for index, name in enumerate(golden.tasks()):
        steps = golden.steps(name)
        learner.begin_task(golden.task(index, [golden.batch(step) for step in steps]))
        for step in steps:
            golden.forward(torch.tensor(learner.optimiser.param_groups[0]["lr"]), f"{step}.lr")
            noise = iter([*t[f"{step}.noise.image"], *t[f"{step}.noise.text"]])
            golden.forward(learner.train_step(golden.batch(step))["loss"], f"{step}.loss")
            assert next(noise, None) is None
            for tower, every in towers.items():
                if f"{step}.grad.{tower}.router" in t:
                    for part, gradient in stacked(every, gradient=True).items():
                        golden.gradient(gradient, f"{step}.grad.{tower}.{part}")
                for part, after in stacked(every).items():
                    golden.after(after, f"{step}.after.{tower}.{part}")
        learner.end_task(golden.task(index))
        with torch.no_grad():
            golden.forward(learner.net.images(test), f"{name}.test.image_features")
        logits = learner.predict(Batch(anonymous, anonymous, test))
        golden.forward(logits, f"{name}.test.logits")
