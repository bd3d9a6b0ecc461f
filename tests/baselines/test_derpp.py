"""DER++ replays what it stored."""

import torch

from starprompt.data.stream import TaskStream
from tests.helpers.competitors import build_competitor
from tests.helpers.small_stream import learn


def test_derpp_replays_what_it_stored(stream: TaskStream) -> None:
    learner = build_competitor("derpp", stream, buffer=200)
    learn(learner, stream.tasks[0])
    kept = learner.buffer.draw(200)
    assert set(kept["labels"].tolist()) == {0, 1}
    assert kept["images"].dtype == torch.uint8
    assert kept["images"].shape[1:] == (3, 64, 64)
    assert kept["logits"].shape[1] == 10
    images = {
        bytes(image.numpy())
        for image in stream.tasks[0].train.stored(torch.from_numpy(stream.tasks[0].train.ids))[0]
    }
    assert {bytes(image.numpy()) for image in kept["images"]} <= images
