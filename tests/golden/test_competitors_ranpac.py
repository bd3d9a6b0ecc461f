"""RanPAC against its authors' code: the first session's steps, Gram matrix, targets, ridge errors,
weights and logits.

Pairs without a ViT give features, so that no adapter takes part.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import starprompt.backbones.adapters
from baselines.ranpac import RanPAC
from starprompt.data.batch import Batch
from starprompt.replay.ridge import held_out_errors, ridge_solution
from tests.helpers.golden_adapters import first_session, session_hp
from tests.helpers.golden_competitors import GRADIENT, AsGiven, Golden, files

RIDGES = [10.0**power for power in range(-8, 9)]
PAIRS = {file: Golden(file) for file in files("ranpac")}
OF_FEATURES = [file for file, golden in PAIRS.items() if not golden.under("vit.")]
WHOLE = [file for file, golden in PAIRS.items() if golden.under("vit.")]


class GivenFeatures(AsGiven):
    """In the adapted ViT's place: images are features already."""

    def __init__(self, vit: AsGiven, *_: Any, **__: Any) -> None:
        super().__init__(vit.num_features)

    def trained(self) -> dict[str, Tensor]:
        return {}


def test_there_are_both_kinds() -> None:
    assert OF_FEATURES
    assert WHOLE


@pytest.mark.parametrize("file", OF_FEATURES, ids=lambda file: file.stem)
def test_statistics_weights_and_logits_are_the_authors(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    golden = Golden(file)
    t = golden.t
    dim, m = t["projection"].shape
    monkeypatch.setattr("baselines.ranpac.AdaptedViT", GivenFeatures)
    learner = golden.learner(RanPAC, vit=lambda: AsGiven(dim), adaptation="none", projections=m)
    learner.projection.copy_(t["projection"])
    monkeypatch.setattr(learner, "row_order", torch.arange)
    assert golden.tasks()
    for index, name in enumerate(golden.tasks()):
        task = golden.task(index, [golden.batch(name, "features")])
        learner.begin_task(task)
        learner.end_task(task)
        golden.forward(learner.gram, f"{name}.gram")
        golden.forward(learner.targets.T, f"{name}.targets")
        golden.forward(learner.weights[:, : task.seen_classes].T, f"{name}.weights")
        anonymous = torch.zeros(len(t["test.features"]), dtype=torch.int64)
        test = Batch(anonymous, anonymous, t["test.features"])
        golden.forward(learner.predict(test), f"{name}.test.logits")


@pytest.mark.parametrize("file", WHOLE, ids=lambda file: file.stem)
def test_the_first_session_and_all_after_it_are_the_authors(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights and logits to 1e-4: both sides solve a system of condition 1e4 in float32."""
    golden = Golden(file)
    t = golden.t
    monkeypatch.setattr(starprompt.backbones.adapters, "DROPOUT", 0.0)
    learner = golden.learner(RanPAC, **session_hp(golden), projections=golden.hp["M"])
    learner.projection.copy_(t["projection"])
    monkeypatch.setattr(learner, "row_order", torch.arange)
    first_session(learner, golden)
    for index, name in enumerate(golden.tasks()):
        task = golden.task(index, [golden.batch(name)])
        if index:
            learner.begin_task(task)
            assert learner.epochs == 0
        learner.end_task(task)
        golden.forward(learner.net(t[f"{name}.images"]), f"{name}.features")
        golden.forward(learner.gram, f"{name}.gram")
        golden.forward(learner.targets.T, f"{name}.targets")
        weights = learner.weights[:, : task.seen_classes].T
        golden.check("solution", weights, f"{name}.weights", GRADIENT)
        anonymous = torch.zeros(len(t["test.images"]), dtype=torch.int64)
        logits = learner.predict(Batch(anonymous, anonymous, t["test.images"]))
        golden.check("solution", logits, f"{name}.test.logits", GRADIENT)


@pytest.mark.parametrize("file", PAIRS, ids=lambda file: file.stem)
def test_ridge_errors_are_the_authors(file: Path) -> None:
    """Of a fit to the first four fifths of the task's own images, judged on the rest.

    With fewer images than projections the release's system is singular but for the ridge; there a
    ridge counts that is ten times what float32 resolves, and the choice in any case.
    """
    golden = Golden(file)
    t = golden.t
    for name in golden.tasks():
        rows = F.relu(t[f"{name}.features"] @ t["projection"])
        one_hot = F.one_hot(t[f"{name}.labels"], t[f"{name}.targets"].shape[0]).float()
        fit = int(0.8 * len(rows))
        errors = torch.tensor(
            held_out_errors((rows[:fit], one_hot[:fit]), (rows[fit:], one_hot[fit:]), RIDGES)
        )
        best = RIDGES[int(errors.argmin())]
        assert best == pytest.approx(float(t[f"{name}.ridge"]))
        theirs = t[f"{name}.ridge_errors"]
        if fit < rows.shape[1]:
            resolved = torch.finfo(torch.float32).eps * float(rows[:fit].square().sum())
            solved = torch.tensor(RIDGES) > 10 * resolved
            assert int(solved.sum()) > 8
            golden.compare("ridge", errors[solved], theirs[solved], 1e-3, name)
        else:
            golden.compare("forward", errors, theirs, 1e-4, name)


def test_the_solution_is_that_of_the_large_system() -> None:
    (golden, *_) = PAIRS.values()
    gram, targets = golden.t["task1.gram"], golden.t["task1.targets"].T
    ridge = float(golden.t["task1.ridge"])
    exact = torch.linalg.solve(
        gram.double() + ridge * torch.eye(len(gram)).double(), targets.double()
    )
    golden.compare("solution", ridge_solution(gram, targets, ridge), exact.float(), 1e-4, "task1")
