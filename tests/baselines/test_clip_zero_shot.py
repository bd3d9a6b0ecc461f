"""CLIP without learning is open_clip's own classifier."""

import open_clip
import torch

from starprompt.backbones.clip import load_clip
from starprompt.data.stream import TaskStream
from tests.helpers.competitors import build_competitor
from tests.helpers.small_stream import SPEC, images_of


def test_zero_shot_is_open_clips_own_classifier(stream: TaskStream) -> None:
    learner = build_competitor("clip-zero-shot", stream)
    learner.begin_task(stream.tasks[2])
    clip = load_clip("tiny")
    weights = open_clip.build_zero_shot_classifier(
        clip.model, clip.tokenizer, list(stream.info.class_names), list(SPEC.templates)
    )
    batch = images_of(learner, stream, 0, 1, 2)
    assert batch.images is None
    images = torch.cat([next(iter(test.batches(64))).images for test in stream.test_tasks])  # type: ignore[misc]
    features = clip.model.encode_image(clip.normalise(images), normalize=True)
    expected = clip.logit_scale * features @ weights
    torch.testing.assert_close(learner.predict(batch), expected, rtol=1e-4, atol=1e-3)
