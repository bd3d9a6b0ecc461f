"""Switches where the released code parts from this one: schedule, head's start, replay's order."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from starprompt.backbones.classifier import fresh_head
from starprompt.continual.learner import Learner
from starprompt.continual.runner import run
from starprompt.continual.seeding import seed_everything
from starprompt.data.stream import TaskStream
from starprompt.method import first_stage, starprompt
from starprompt.method.first_stage import FirstStage
from starprompt.method.starprompt import StarPrompt
from starprompt.replay.feature_replay import replay_epoch
from starprompt.replay.mixture import Mixtures
from tests.helpers.continual_toy import header_of
from tests.helpers.small_stream import CPU, learn, make, small_stream

EPOCHS = 3
SMALL = {"epochs": EPOCHS, "batch_size": 24, "replay_epochs": 2, "replay_samples": 8}


@pytest.fixture(scope="module")
def stream() -> TaskStream:
    return small_stream([2, 2, 6])


# --- schedule


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


# --- the head's start


def test_a_head_starts_as_pytorchs_by_default() -> None:
    seed_everything(1)
    plain = nn.Linear(48, 10)
    seed_everything(1)
    head = fresh_head(48, 10)
    assert torch.equal(head.weight, plain.weight) and torch.equal(head.bias, plain.bias)


def test_the_released_start_is_narrow_and_without_bias() -> None:
    seed_everything(1)
    head = fresh_head(768, 200, "truncated_normal").requires_grad_(False)
    assert not bool(head.bias.any())
    assert float(head.weight.std()) == pytest.approx(0.02, rel=0.01)
    assert abs(float(head.weight.mean())) < 2e-4
    excess = (head.weight / head.weight.std()).pow(4).mean()
    assert float(excess) == pytest.approx(3, rel=0.05), "a normal distribution, not a uniform one"


@pytest.mark.parametrize("start", ["linear", "truncated_normal"])
def test_the_learners_head_starts_as_asked(start: str, stream: TaskStream) -> None:
    learner: Any = make(StarPrompt, stream, key_source="template", head_start=start)
    assert bool(learner.head.bias.any()) == (start == "linear")
    again: Any = make(StarPrompt, stream, key_source="template", head_start=start)
    assert torch.equal(again.head.weight, learner.head.weight)
    default: Any = make(StarPrompt, stream, key_source="template")
    assert torch.equal(default.head.weight, learner.head.weight) == (start == "linear")
    assert torch.equal(default.pool.prompts, learner.pool.prompts)


# --- the replay's order


@given(classes=st.integers(1, 4), samples=st.integers(2, 9), size=st.integers(1, 12))
def test_the_same_order_whatever_is_drawn(classes: int, samples: int, size: int) -> None:
    mixtures = Mixtures(
        torch.ones(classes, 1), torch.zeros(classes, 1, 3), torch.ones(classes, 1, 3)
    )
    epochs = [list(replay_epoch(mixtures, samples, size, order_seed=7)) for _ in range(2)]
    labels = [torch.cat([y for _, y in epoch]) for epoch in epochs]
    assert torch.equal(labels[0], labels[1])
    assert labels[0].bincount().tolist() == [samples] * classes
    drawn = [torch.cat([x for x, _ in epoch]) for epoch in epochs]
    assert not torch.equal(drawn[0], drawn[1]), "fresh draws in every epoch"
    assert all(len(x) == size for x, _ in epochs[0][:-1])


def test_an_order_of_its_own_leaves_the_draws_alone() -> None:
    """The switch moves no random number that the draws come from."""
    mixtures = Mixtures(torch.ones(3, 1), torch.zeros(3, 1, 2), torch.ones(3, 1, 2))
    torch.manual_seed(0)
    plain = torch.cat([x for x, _ in replay_epoch(mixtures, 20, 8)])
    torch.manual_seed(0)
    ordered = torch.cat([x for x, _ in replay_epoch(mixtures, 20, 8, order_seed=1)])
    assert torch.equal(plain.sort(dim=0).values, ordered.sort(dim=0).values)


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
