"""MoE-Adapters: a rate that warms up step by step, texts made anew, experts that start unseen."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from baselines.moe_adapters import rate_factor
from starprompt.data.stream import TaskStream
from starprompt.errors import UserError
from tests.helpers.competitors import build_competitor
from tests.helpers.small_stream import images_of, learn


def test_the_rate_rises_to_one_and_falls_along_half_a_cosine() -> None:
    assert [rate_factor(step, 4, 12) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert rate_factor(4, 4, 12) == 1
    assert rate_factor(8, 4, 12) == pytest.approx(0.5)
    assert rate_factor(6, 4, 12) == pytest.approx((1 + math.cos(math.pi / 4)) / 2)
    assert rate_factor(12, 4, 12) == pytest.approx(0)
    assert rate_factor(0, 0, 1) == 1


@given(warmup=st.integers(0, 20), steps=st.integers(1, 40), step=st.integers(0, 40))
def test_no_rate_is_above_one_or_below_nothing(warmup: int, steps: int, step: int) -> None:
    assert 0 <= rate_factor(min(step, steps), warmup, steps) <= 1


def test_predictions_are_cosines_to_all_seen_classes_texts_of_todays_experts(
    stream: TaskStream,
) -> None:
    learner = build_competitor("moe-adapters", stream)
    for task in stream.tasks[:2]:
        learn(learner, task)
    assert learner.texts.shape[0] == 4
    with torch.no_grad():
        texts = learner.net.texts(learner.tokens.select(slice(0, 4)))
        batch = images_of(learner, stream, 0, 1)
        images = learner.net.images(batch.images)
    torch.testing.assert_close(learner.texts, texts)
    torch.testing.assert_close(images.norm(dim=1), torch.ones(len(batch)))
    expected = learner.net.clip.logit_scale * images @ texts.T
    torch.testing.assert_close(learner.predict(batch), expected)


def test_more_experts_may_not_answer_than_there_are(stream: TaskStream) -> None:
    with pytest.raises(UserError, match="top_k 3 exceeds the number of experts, 2"):
        build_competitor("moe-adapters", stream, top_k=3)
