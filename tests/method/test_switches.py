"""Switches where the released code parts from this one: schedule, head's start, replay's order."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_pre_hook

from starprompt.continual.learner import Learner
from starprompt.continual.runner import run
from starprompt.data.stream import TaskStream
from starprompt.method import first_stage, starprompt
from starprompt.method.first_stage import FirstStage
from starprompt.method.starprompt import StarPrompt
from tests.helpers.continual_toy import header_of
from tests.helpers.small_stream import CPU, learn, make, small_stream

EPOCHS = 3
SMALL = {"epochs": EPOCHS, "batch_size": 24, "replay_epochs": 2, "replay_samples": 8}


@pytest.fixture(scope="module")
def stream() -> TaskStream:
    return small_stream([2, 2, 6])


def rates_in_a_run(stream: TaskStream, folder: Path, **hp: Any) -> list[float]:
    """Learning rates that Adam has at its steps in a real run, in order."""
    options = {**SMALL, "key_source": "template", "lr": 0.01, **hp}
    header = header_of(stream, StarPrompt, StarPrompt.Hyperparameters(**options), stream.seed)
    rates: list[float] = []

    def look(optimiser: torch.optim.Optimizer, *_: Any) -> None:
        if isinstance(optimiser, torch.optim.Adam):
            rates.extend(group["lr"] for group in optimiser.param_groups)

    handle = register_optimizer_step_pre_hook(look)
    try:
        run(
            lambda: make(StarPrompt, stream, **options),
            stream,
            folder,
            header=header,
            device=CPU,
            progress=False,
        )
    finally:
        handle.remove()
    return rates


def test_the_cosine_schedule_is_applied_by_the_runner(stream: TaskStream, tmp_path: Path) -> None:
    """Every step of an epoch has the epoch's rate, and every task begins at the full one."""
    rates = rates_in_a_run(stream, tmp_path)
    assert "schedule" not in SMALL, "this is the default"
    expected = []
    for task in stream.tasks:
        steps = math.ceil(len(task.train) / 24)
        for epoch in range(EPOCHS):
            expected += steps * [0.01 * math.cos(99 * math.pi * epoch / (200 * (EPOCHS - 1)))]
    assert rates == pytest.approx(expected)
    assert min(rates) < 0.02 * max(rates)


def test_a_constant_rate_stays(stream: TaskStream, tmp_path: Path) -> None:
    rates = rates_in_a_run(stream, tmp_path, schedule="constant")
    assert len(rates) == EPOCHS * sum(math.ceil(len(task.train) / 24) for task in stream.tasks)
    assert set(rates) == {0.01}


@pytest.mark.parametrize("start", ["linear", "truncated_normal"])
def test_the_learners_head_starts_as_asked(start: str, stream: TaskStream) -> None:
    learner: Any = make(StarPrompt, stream, key_source="template", head_start=start)
    assert bool(learner.head.bias.any()) == (start == "linear")
    again: Any = make(StarPrompt, stream, key_source="template", head_start=start)
    assert torch.equal(again.head.weight, learner.head.weight)
    default: Any = make(StarPrompt, stream, key_source="template")
    assert torch.equal(default.head.weight, learner.head.weight) == (start == "linear")
    assert torch.equal(default.pool.prompts, learner.pool.prompts)


@pytest.mark.parametrize("order", ["new", "same"])
@pytest.mark.parametrize(
    ("kind", "module"), [(FirstStage, first_stage), (StarPrompt, starprompt)], ids=["one", "two"]
)
def test_both_stages_replay_in_the_order_asked(
    kind: type[Learner],
    module: Any,
    order: str,
    stream: TaskStream,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    epochs: list[Tensor] = []
    plain = module.replay_epoch

    def watched(*arguments: Any, **options: Any) -> Any:
        batches = list(plain(*arguments, **options))
        epochs.append(torch.cat([labels for _, labels in batches]))
        return iter(batches)

    monkeypatch.setattr(module, "replay_epoch", watched)
    options = {**SMALL, "epochs": 1, "replay_order": order}
    if kind is StarPrompt:
        options["key_source"] = "template"
    learner = make(kind, stream, **options)
    for task in stream.tasks[:2]:
        learn(learner, task)
    last = epochs[-2:]
    assert len(last[0]) == 4 * 8
    assert torch.equal(last[0], last[1]) == (order == "same")
