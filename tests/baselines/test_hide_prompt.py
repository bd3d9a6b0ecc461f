"""HiDe-Prompt: mixed prompts, contrast with old centroids, rates that lag, a task's own prefix."""

import math

import pytest
import torch

from baselines.hide_prompt import contrast
from starprompt.data.stream import TaskStream
from tests.helpers.competitors import build_competitor
from tests.helpers.small_stream import images_of, learn


def test_contrast_tells_each_row_from_all_others_means_first() -> None:
    features, means = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    # products over 0.8: of the mean 5 and 0, of the feature 0 and 1.25
    expected = (math.log(1 + math.exp(-5)) + math.log(1 + math.exp(-1.25))) / 2
    assert contrast(features, means).item() == pytest.approx(expected, rel=1e-5)
    assert contrast(features, means[:0]).item() == 0


def test_a_share_of_the_past_prompts_mean_is_mixed_in(stream: TaskStream) -> None:
    learner = build_competitor("hide-prompt", stream, momentum=0.25)
    learner.begin_task(stream.tasks[0])
    assert torch.equal(learner.mixed(), learner.prompt)
    learner.prompts[0], learner.prompts[1] = 1.0, 3.0
    learner.begin_task(stream.tasks[2])
    assert torch.equal(learner.prompt, torch.full_like(learner.prompt, 3.0))
    torch.testing.assert_close(learner.mixed(), torch.full_like(learner.prompt, 2.75))


def test_rates_lag_by_an_epoch_and_the_identity_head_learns_in_the_first_alone(
    stream: TaskStream,
) -> None:
    learner = build_competitor(
        "hide-prompt",
        stream,
        epochs=40,
        identity_epochs=2,
        lr=1.0,
        head_factor=0.5,
        identity_lr=0.3,
    )
    learner.begin_task(stream.tasks[0])
    rates = {}
    for epoch in (0, 1, 2, 30, 31):
        learner.begin_epoch(epoch)
        rates[epoch] = [group["lr"] for group in learner.optimiser.param_groups]
        assert learner.infers == (epoch < 2)
    assert rates[0] == rates[30] == pytest.approx([1.0, 0.5, 0.3])
    assert rates[31] == pytest.approx([0.1, 0.05, 0.3])


def test_an_image_gets_the_prefix_of_the_task_whose_class_the_identity_head_names(
    stream: TaskStream,
) -> None:
    learner = build_competitor("hide-prompt", stream, epochs=1, align_epochs=1)
    for task in stream.tasks[:2]:
        learn(learner, task)
    batch = images_of(learner, stream, 0, 1)
    images = learner.setting.vit_normalisation(batch.images)
    logits = learner.predict(batch)
    with torch.no_grad():
        named = learner.identity(learner.vit(images))[:, :4].argmax(1)
        task = named // 2
        expected = learner.head(learner.features(images, learner.prompts[task]))[:, :4]
    assert learner.last_selection.chosen[:, 0].tolist() == task.tolist()
    torch.testing.assert_close(logits, expected)
