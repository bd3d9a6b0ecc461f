"""EASE against its authors' code: three tasks' steps, features, prototypes and logits."""

from pathlib import Path

import pytest
import torch

import starprompt.backbones.adapters
from baselines.ease import Ease
from starprompt.data.batch import Batch
from tests.helpers.golden_adapters import adapters_by_theirs, take_steps
from tests.helpers.golden_competitors import Golden, files

PAIRS = files("ease")


def test_with_and_without_the_frozen_vit() -> None:
    assert {Golden(file).hp["beta"] > 0 for file in PAIRS} == {True, False}


@pytest.mark.parametrize("file", PAIRS, ids=lambda file: file.stem)
def test_steps_prototypes_and_logits_are_the_authors(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    golden = Golden(file)
    t = golden.t
    monkeypatch.setattr(starprompt.backbones.adapters, "DROPOUT", 0.0)
    learner = golden.learner(Ease, **golden.hp)
    first = 0 if golden.hp["beta"] else 1  # the frozen ViT's features stand first
    anonymous = torch.zeros(len(t["test.images"]), dtype=torch.int64)
    test = Batch(anonymous, anonymous, t["test.images"])
    for index, name in enumerate(golden.tasks()):
        task = golden.task(index, [golden.batch(name)])
        learner.begin_task(task)
        head = learner.session.head
        named = adapters_by_theirs(learner.adapters[index], "adapters.{}")
        named |= {"head.weight": head.weight, "head.sigma": head.sigma}
        take_steps(learner, golden, name, named)
        learner.end_task(task)
        features = learner.subspaces(test)[first:]
        golden.forward(features.transpose(0, 1).flatten(1), f"{name}.test.features")
        prototypes = learner.prototypes[first : index + 2, : task.seen_classes]
        golden.forward(prototypes.transpose(0, 1).flatten(1), f"{name}.prototypes")
        golden.forward(learner.predict(test), f"{name}.test.logits")
