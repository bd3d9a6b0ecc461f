"""CODA-Prompt: components start orthonormal, shares are absolute weights, rates lag."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from baselines.coda_prompt import CodaPrompt, component_weights
from starprompt.data.stream import TaskStream
from tests.helpers.competitors import build_competitor
from tests.helpers.small_stream import images_of, learn, make


def test_coda_prompt_shares_are_the_components_absolute_weights(stream: TaskStream) -> None:
    learner = build_competitor("coda-prompt", stream)
    for task in stream.tasks[:2]:
        learn(learner, task)
    batch = images_of(learner, stream, 0)
    learner.predict(batch)
    images = learner.setting.vit_normalisation(batch.images)
    query = learner.vit(images)
    attention, keys = learner.pool["attention"][1][:6], learner.pool["keys"][1][:6]
    weights = F.cosine_similarity(query[:, None] * attention, keys[None], dim=-1)
    torch.testing.assert_close(component_weights(query, attention, keys), weights)
    chosen = learner.last_selection
    of_second_layer = chosen.weight[:, 2:]
    total = weights.abs().sum(1, keepdim=True)
    expected = torch.stack([weights[:, :3].abs().sum(1), weights[:, 3:].abs().sum(1)], 1) / total
    torch.testing.assert_close(of_second_layer, expected)
    assert chosen.layer.tolist() == [0, 0, 2, 2]


def test_coda_prompts_components_start_orthonormal_in_every_task(stream: TaskStream) -> None:
    learner = build_competitor("coda-prompt", stream, epochs=1)
    learn(learner, stream.tasks[0])
    learner.begin_task(stream.tasks[1])
    for kind, own in learner.own.items():
        for layer in range(2):
            gram = own[layer] @ own[layer].T
            torch.testing.assert_close(gram, torch.eye(3), atol=1e-5, rtol=0)
            past = learner.pool[kind][layer, :3]
            assert float((own[layer].detach() @ F.normalize(past, dim=-1).T).abs().max()) < 1e-5


@pytest.mark.parametrize(
    ("schedule", "expected"), [("released", [1.0, 1.0, 0.71]), ("cosine", [1.0, 0.71, 0.016])]
)
def test_coda_prompts_cosine_may_lag_by_an_epoch(
    schedule: str, expected: list[float], stream: TaskStream
) -> None:
    shape: dict[str, Any] = {"components": 9, "layers": (0,), "length": 2}
    learner = make(CodaPrompt, stream, epochs=3, lr=1.0, schedule=schedule, **shape)
    learner.begin_task(stream.tasks[0])
    rates = []
    for epoch in range(3):
        learner.begin_epoch(epoch)
        rates.append(learner.optimiser.param_groups[0]["lr"])
    assert rates == pytest.approx(expected, abs=5e-3)
