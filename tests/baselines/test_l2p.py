"""L2P: its key loss, its choice of prompts, and the frozen ViT."""

import math

import pytest
import torch
import torch.nn.functional as F

from baselines.l2p import L2P, PromptPool
from starprompt.data.stream import TaskStream
from tests.helpers.competitors import build_competitor
from tests.helpers.small_stream import images_of, learn, make


def test_a_frozen_vit_that_is_counted_in_the_norm_stays_frozen(stream: TaskStream) -> None:
    learner = make(L2P, stream, epochs=1, batch_size=16, clip_frozen=True)
    before = {name: x.clone() for name, x in learner.vit.state_dict().items()}
    learn(learner, stream.tasks[0])
    assert all(torch.equal(x, before[name]) for name, x in learner.vit.state_dict().items())
    assert all(parameter.grad is None for parameter in learner.vit.parameters())


def test_the_nearest_keys_are_chosen_nearest_first_whatever_their_length() -> None:
    pool = PromptPool(3, 2, 2, (0.0, 0.01))
    pool.keys.data = torch.tensor([[0.0, 5.0], [100.0, 100.0], [1.0, 0.0]])
    similarity, chosen = pool.choose(torch.tensor([[3.0, 0.1]]), 2)
    assert chosen.tolist() == [[2, 1]]
    assert similarity[0, 0].item() == pytest.approx(3 / math.hypot(3, 0.1))
    assert similarity[0, 1].item() == pytest.approx(3.1 / math.hypot(3, 0.1) / math.sqrt(2))


def test_features_are_means_over_the_prompts_tokens_before_the_image(stream: TaskStream) -> None:
    learner = build_competitor("l2p", stream)
    learner.begin_task(stream.tasks[0])
    batch = images_of(learner, stream, 0)
    images = learner.setting.vit_normalisation(batch.images)
    with torch.no_grad():
        query = learner.vit(images)
        cosines = F.cosine_similarity(query[:, None], learner.pool.keys[None], dim=-1)
        chosen = cosines.topk(3).indices
        prompts = learner.pool.prompts[chosen].reshape(len(batch), 3 * 2, -1)
        tokens = learner.vit.tokens(images, prepended=prompts)
        features, similarity, found = learner.features(batch)
    assert torch.equal(found, chosen)
    torch.testing.assert_close(features, tokens[:, :6].mean(1))
    torch.testing.assert_close(similarity, cosines.gather(1, chosen))


def test_chosen_keys_are_pulled_by_a_tenth_and_the_rate_is_for_256_images(
    stream: TaskStream,
) -> None:
    learner = build_competitor("l2p", stream)
    learner.begin_task(stream.tasks[0])
    assert learner.optimiser.param_groups[0]["lr"] == pytest.approx(0.3 * 16 / 256)
    losses = learner.train_step(next(iter(stream.tasks[0].train.batches(16))))
    expected = losses["cross_entropy"] - 0.1 * losses["nearness"]
    torch.testing.assert_close(losses["loss"], expected)
    assert 0 < losses["nearness"] <= 3
