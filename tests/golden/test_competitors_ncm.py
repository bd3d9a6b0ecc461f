"""NCM against its authors' toolbox: class means and logits of given features."""

from pathlib import Path

import pytest
import torch

from baselines.ncm import NCM
from starprompt.data.batch import Batch
from tests.helpers.golden_competitors import AsGiven, Golden, files


@pytest.mark.parametrize("file", files("ncm"), ids=lambda file: file.stem)
def test_means_and_logits_are_the_authors(file: Path) -> None:
    golden = Golden(file)
    test = golden.t["test.features"]
    learner = golden.learner(NCM, vit=lambda: AsGiven(test.shape[1]))
    assert golden.tasks()
    for index, name in enumerate(golden.tasks()):
        learner.end_task(golden.task(index, [golden.batch(name, "features")]))
        golden.forward(learner.means, f"{name}.means")
        anonymous = torch.zeros(len(test), dtype=torch.int64)
        logits = learner.predict(Batch(anonymous, anonymous, test))
        golden.forward(logits, f"{name}.test.logits")
