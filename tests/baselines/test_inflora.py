"""InfLoRA: designed directions, thresholds, and a merge that predicts what was learned."""

import math

import pytest
import torch

from starprompt.data.stream import TaskStream
from starprompt.errors import UserError
from tests.helpers.competitors import build_competitor
from tests.helpers.small_stream import images_of, learn


def test_directions_are_orthonormal_over_the_root_of_three_and_updates_start_at_nothing(
    stream: TaskStream,
) -> None:
    learner = build_competitor("inflora", stream)
    learner.begin_task(stream.tasks[0])
    assert learner.down.shape == (4, 4, 96)
    gram = 3 * learner.down @ learner.down.transpose(1, 2)
    torch.testing.assert_close(gram, torch.eye(4).expand(4, -1, -1), atol=1e-4, rtol=0)
    assert not learner.up.any()
    batch = images_of(learner, stream, 0)
    images = learner.setting.vit_normalisation(batch.images)
    with torch.no_grad():
        assert torch.equal(learner.net(images, learner.updates()), learner.net(images))


def test_moments_are_means_of_outer_products_of_attention_inputs(stream: TaskStream) -> None:
    learner = build_competitor("inflora", stream)
    moments = learner.moments(stream.tasks[0])
    assert moments.shape == (4, 96, 96)
    for layer in (0, 3):
        read = [
            list(learner.net.attention_inputs(learner.setting.vit_normalisation(batch.images)))
            for batch in stream.tasks[0].train.batches(16, augment=True)
        ]
        rows = torch.cat([inputs[layer].flatten(0, 1) for inputs in read])
        expected = torch.einsum("nd,ne->de", rows, rows) / len(rows)
        torch.testing.assert_close(moments[layer], expected, rtol=1e-4, atol=1e-4)


def test_what_a_task_learned_is_merged_and_its_directions_fill_the_space(
    stream: TaskStream,
) -> None:
    learner = build_competitor("inflora", stream, epochs=1)
    task = stream.tasks[0]
    before = [block.attn.qkv.weight.clone() for block in learner.net.vit.blocks]
    learn(learner, task)
    for layer, (old, block) in enumerate(zip(before, learner.net.vit.blocks, strict=True)):
        change = block.attn.qkv.weight - old
        assert not change[:96].any(), "queries stay"
        expected = learner.ups[0, layer, 0] @ learner.downs[0, layer]
        torch.testing.assert_close(change[96:192], expected, atol=1e-6, rtol=1e-3)
    assert learner.spaces[0].basis.shape[1] > 0


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("released", [1.0, 1.0, math.cos(math.pi * 99 / 200 / 3)]), ("cosine", [1.0])],
)
def test_the_released_cosine_lags_by_an_epoch(
    schedule: str, expected: list[float], stream: TaskStream
) -> None:
    learner = build_competitor("inflora", stream, epochs=4, lr=1.0, schedule=schedule)
    learner.begin_task(stream.tasks[0])
    rates = []
    for epoch in range(4):
        learner.begin_epoch(epoch)
        rates.append(learner.optimiser.param_groups[0]["lr"])
    assert rates[: len(expected)] == pytest.approx(expected, rel=1e-6)
    assert rates[1:] == sorted(rates[1:], reverse=True)
    assert (rates[1] == rates[0]) == (schedule == "released")


def test_a_rank_beyond_the_dimensions_is_refused(stream: TaskStream) -> None:
    with pytest.raises(UserError, match="rank 97 exceeds the ViT's 96 dimensions"):
        build_competitor("inflora", stream, rank=97)
