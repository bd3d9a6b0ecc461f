"""RanPAC against its authors' code: Gram matrix, targets, ridge errors, weights and logits.

Features are given, so that no adapter takes part.
"""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from golden_competitors import AsGiven, Golden, files

from baselines.ranpac import RanPAC, ridge_solution
from starprompt.data.batch import Batch

RIDGES = [10.0**power for power in range(-8, 9)]


@pytest.mark.parametrize("file", files("ranpac"), ids=lambda file: file.stem)
def test_statistics_weights_and_logits_are_the_authors(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    golden = Golden(file)
    t = golden.t
    dim, m = t["projection"].shape
    learner = golden.learner(RanPAC, vit=lambda: AsGiven(dim), projections=m)
    learner.projection.copy_(t["projection"])
    assert golden.tasks()
    for index, name in enumerate(golden.tasks()):
        task = golden.task(index, [golden.batch(name, "features")])
        monkeypatch.setattr(learner, "best_ridge", lambda *_, at=name: float(t[f"{at}.ridge"]))
        learner.begin_task(task)
        learner.end_task(task)
        golden.forward(learner.gram, f"{name}.gram")
        golden.forward(learner.targets.T, f"{name}.targets")
        golden.forward(learner.weights[:, : task.seen_classes].T, f"{name}.weights")
        anonymous = torch.zeros(len(t["test.features"]), dtype=torch.int64)
        test = Batch(anonymous, anonymous, t["test.features"])
        golden.forward(learner.predict(test), f"{name}.test.logits")


@pytest.mark.parametrize("file", files("ranpac"), ids=lambda file: file.stem)
def test_ridge_errors_are_the_authors(file: Path) -> None:
    """Of a fit to the first four fifths of the task's own images, judged on the rest."""
    golden = Golden(file)
    t = golden.t
    for name in golden.tasks():
        projected = F.relu(t[f"{name}.features"] @ t["projection"])
        classes = t[f"{name}.targets"].shape[0]
        one_hot = F.one_hot(t[f"{name}.labels"], classes).float()
        fit = int(0.8 * len(projected))
        gram, targets = (projected[:fit].T @ x for x in (projected[:fit], one_hot[:fit]))
        errors = torch.stack(
            [
                F.mse_loss(projected[fit:] @ ridge_solution(gram, targets, r), one_hot[fit:])
                for r in RIDGES
            ]
        )
        best = RIDGES[int(errors.argmin())]
        assert best == pytest.approx(float(t[f"{name}.ridge"]))
        golden.forward(errors, f"{name}.ridge_errors")
