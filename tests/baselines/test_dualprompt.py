"""DualPrompt: one prompt for all tasks, one for each, found by the nearest key of a task seen."""

import pytest
import torch
import torch.nn.functional as F

from starprompt.data.stream import TaskStream
from tests.helpers.competitors import build_competitor
from tests.helpers.small_stream import images_of, learn


def test_a_new_prompt_starts_as_the_one_before_and_a_key_as_its_own(stream: TaskStream) -> None:
    learner = build_competitor("dualprompt", stream, epochs=1)
    first_key = learner.keys[1].clone()
    learn(learner, stream.tasks[0])
    learner.begin_task(stream.tasks[1])
    assert torch.equal(learner.prompt, learner.prompts[0])
    assert torch.equal(learner.key, first_key)


def test_the_key_is_pulled_to_the_queries(stream: TaskStream) -> None:
    learner = build_competitor("dualprompt", stream, pull=2.0)
    learner.begin_task(stream.tasks[0])
    batch = next(iter(stream.tasks[0].train.batches(16)))
    query = learner.vit(learner.setting.vit_normalisation(batch.images))
    expected = (1 - F.cosine_similarity(query, learner.key[None])).mean()
    losses = learner.train_step(batch)
    torch.testing.assert_close(losses["key_distance"], expected.detach())
    torch.testing.assert_close(losses["loss"], losses["cross_entropy"] + 2 * losses["key_distance"])


@pytest.mark.parametrize("all_keys", [False, True])
def test_an_image_takes_the_prompt_of_the_nearest_key(stream: TaskStream, all_keys: bool) -> None:
    learner = build_competitor("dualprompt", stream, epochs=1, all_keys=all_keys)
    for task in stream.tasks[:2]:
        learn(learner, task)
    batch = images_of(learner, stream, 0)
    images = learner.setting.vit_normalisation(batch.images)
    with torch.no_grad():
        query = learner.vit(images)
    learner.keys[:] = -query.mean(0)
    learner.keys[1] = query[0]
    learner.keys[2] = 100 * query[1]
    keys = learner.keys if all_keys else learner.keys[:2]
    nearest = F.cosine_similarity(query[:, None], keys[None], dim=-1).argmax(1)
    logits = learner.predict(batch)
    assert learner.last_selection.chosen[:, 0].tolist() == nearest.tolist()
    assert (2 in nearest.tolist()) == all_keys, "a task to come is chosen where that is allowed"
    with torch.no_grad():
        expected = learner.head(learner.features(images, learner.prompts[nearest]))[:, :4]
    torch.testing.assert_close(logits, expected)
