"""APER against its authors' code: the first session's steps for adapters, scales and shifts and
prompts, features, class means and cosines."""

from pathlib import Path

import pytest
import torch

import starprompt.backbones.adapters
from baselines.aper import Aper
from starprompt.data.batch import Batch
from tests.helpers.golden_adapters import first_session, session_hp
from tests.helpers.golden_competitors import Golden, files

PAIRS = files("aper")


def test_every_adaptation_has_a_pair() -> None:
    kinds = {Golden(file).hp["adaptation"] for file in PAIRS}
    assert kinds == {"adapter", "ssf", "vpt-deep", "vpt-shallow"}


@pytest.mark.parametrize("file", PAIRS, ids=lambda file: file.stem)
def test_steps_means_and_logits_are_the_authors(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    golden = Golden(file)
    t = golden.t
    monkeypatch.setattr(starprompt.backbones.adapters, "DROPOUT", 0.0)
    learner = golden.learner(Aper, **session_hp(golden))
    first_session(learner, golden)
    for index, name in enumerate(golden.tasks()):
        batch = golden.batch(name)
        task = golden.task(index, [batch])
        if index:
            learner.begin_task(task)
            assert learner.epochs == 0
        learner.end_task(task)
        golden.forward(learner.features(batch), f"{name}.features")
        golden.forward(learner.means, f"{name}.means")
        anonymous = torch.zeros(len(t["test.images"]), dtype=torch.int64)
        logits = learner.predict(Batch(anonymous, anonymous, t["test.images"]))
        golden.forward(logits, f"{name}.test.logits")
