"""GDumb against mammoth's re-implementation: the learning rate of every epoch."""

from pathlib import Path

import pytest
import torch

from baselines.gdumb import learning_rate
from tests.helpers.golden_competitors import Golden, files


@pytest.mark.parametrize("file", files("gdumb"), ids=lambda file: file.stem)
def test_rates_are_the_released_ones(file: Path) -> None:
    golden = Golden(file)
    hp = golden.hp
    rates = [learning_rate(epoch, hp["lr"], hp["lr_min"]) for epoch in range(hp["epochs"])]
    golden.forward(torch.tensor(rates), "lr")
