"""RAPF against its authors' code: three tasks' neighbours, steps with the draws given, Gaussians,
what is drawn from them, the fusion and the logits."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from baselines.rapf import RAPF
from starprompt.data.batch import Batch
from tests.helpers.golden_competitors import GivenData, Golden, files

PAIRS = files("rapf")


def test_both_forms_of_the_covariance_have_a_pair() -> None:
    assert {Golden(file).hp["shrink"] for file in PAIRS} == {True, False}


class GivenFeatures(GivenData):
    def features(self, kind: str) -> Tensor:
        assert kind == "clip"
        return torch.cat([batch.clip for batch in self.given])  # type: ignore[misc]


def learner_of(golden: Golden) -> Any:
    texts = golden.t["texts"]
    clip = SimpleNamespace(
        dim=texts.shape[1],
        logit_scale=float(golden.t["logit_scale"]),
        encode_texts=lambda names: texts,
    )
    hp = {k: tuple(v) if isinstance(v, list) else v for k, v in golden.hp.items()}
    return golden.learner(RAPF, clip=lambda: clip, **hp)


def batches_of(golden: Golden, task: str) -> list[Batch]:
    features, labels = golden.t[f"{task}.features"], golden.t[f"{task}.labels"]
    parts = zip(features.split(4), labels.split(4), strict=True)
    return [Batch(torch.arange(len(y)), y, clip=x) for x, y in parts]


@pytest.mark.parametrize("file", PAIRS, ids=lambda file: file.stem)
def test_steps_gaussians_fusion_and_logits_are_the_authors(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    golden = Golden(file)
    t, learner = golden.t, learner_of(golden)
    given: list[Tensor] = []
    monkeypatch.setattr(learner, "draw", lambda classes, samples: given.pop(0))
    orders: list[Tensor] = []
    monkeypatch.setattr(torch, "randperm", lambda n: orders.pop(0))
    test = t["test.features"]
    anonymous = torch.zeros(len(test), dtype=torch.int64)
    for index, name in enumerate(golden.tasks()):
        batches = batches_of(golden, name)
        task = golden.task(index)
        task.train.__class__ = GivenFeatures
        task.train.given.extend(batches)
        epochs = range(learner.epochs)
        past = task.past_classes
        orders = [t[f"{name}.order{e}"] if past else torch.arange(0) for e in epochs]
        if not index:
            with torch.no_grad():
                learner.adapter.weight.copy_(t[f"{name}.start.adapter"])
        learner.begin_task(task)
        golden.check("step", learner.adapter.weight, f"{name}.start.adapter", 1e-4)
        if index:
            pairs = learner.pairs[(learner.pairs[:, 1]).argsort(stable=True)]
            theirs = t[f"{name}.pairs"]
            assert torch.equal(pairs, theirs[theirs[:, 1].argsort(stable=True)])
            assert torch.equal(learner.pairs, theirs)  # draws come in this order
        for number, step in enumerate(golden.steps(name)):
            learner.begin_epoch(number // len(batches))
            rate = learner.optimiser.param_groups[0]["lr"]
            assert rate == pytest.approx(float(t[f"{step}.lr"]), rel=1e-6)
            old = t[f"{step}.targets"][4 :: learner.hp.replay_samples]
            assert learner.replayed[number].tolist() == old.tolist()
            given = [t.get(f"{step}.drawn", test[:0])]
            if len(learner.pairs):
                given.append(t[f"{step}.pairs_drawn"])
            losses = learner.train_step(batches[number % len(batches)])
            assert not given
            golden.forward(losses["cross_entropy"], f"{step}.cross_entropy")
            if f"{step}.hinge" in t:
                golden.forward(losses["hinge"], f"{step}.hinge", least=1e-3)
            golden.gradient(learner.adapter.weight.grad, f"{step}.grad.adapter")
            golden.after(learner.adapter.weight, f"{step}.after.adapter")
        learner.end_task(task)
        golden.check("step", learner.adapter.weight, f"{name}.end.adapter", 1e-4)
        floor = 1e-4 * torch.eye(test.shape[1])
        golden.forward(learner.gaussians.means, f"{name}.means")
        golden.forward(learner.gaussians.covariances + floor, f"{name}.covariances")
        golden.forward(
            learner.predict(Batch(anonymous, anonymous, clip=test)), f"{name}.test.logits"
        )


@pytest.mark.parametrize("file", PAIRS, ids=lambda file: file.stem)
def test_a_draw_is_the_authors(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    golden = Golden(file)
    t, learner = golden.t, learner_of(golden)
    last = golden.tasks()[-1]
    learner.gaussians.means = t[f"{last}.means"]
    floor = 1e-4 * torch.eye(t["texts"].shape[1])
    learner.gaussians.covariances = t[f"{last}.covariances"] - floor
    task = golden.task(0)
    learner.begin_task(task)
    monkeypatch.setattr(torch, "randn", lambda *_, **__: t["draw.noise"][None])
    golden.check("step", learner.draw(torch.tensor([1]), 6), "draw.samples", 1e-4)
    assert F.normalize(t["texts"], dim=1).equal(learner.texts)
