"""The second stage's step never waits for the device.

On the device "meta" tensors have no numbers: whatever would have to bring one to the host
(`.item()`, `.tolist()`, a mask as an index, a copy to the CPU) raises. So a step that goes through
there goes through a GPU's queue without a stop.
"""

from typing import Any

import pytest
import torch
from torch import Tensor

from starprompt.data.batch import Batch, Normalisation
from starprompt.data.stream import TaskStream
from starprompt.method.keys import LearnedKeys
from starprompt.method.starprompt import StarPrompt
from tests.helpers.small_stream import make, small_stream
from tests.helpers.without_numbers import META, OneDevice

FORMS: dict[str, dict[str, Any]] = {
    "value": {},
    "post_attention": {"injection": "post_attention"},
    "prefix": {"injection": "prefix"},
    "clean": {"query": "clean"},
    "binary": {"confidence": False},
    "chosen": {"query_gradient": "chosen"},
    "learned": {"key_source": "learned"},
}


@pytest.fixture(scope="module")
def stream() -> TaskStream:
    return small_stream([2, 2, 6])


def on_meta(stream: TaskStream, **hp: Any) -> tuple[Any, Batch]:
    """A learner in the middle of its second task, and a batch, without numbers."""
    options = {"epochs": 1, "batch_size": 16, "key_source": "template", **hp}
    learner: Any = make(StarPrompt, stream, **options)
    (batch,) = stream.tasks[1].train.batches(48, inputs=("images", "features"))
    learner.begin_task(stream.tasks[0])
    learner.pool.end_task()
    learner.clip.to(META)
    for module in (learner.vit, learner.pool, learner.head):
        module.to(META)
    if isinstance(learner.keys, LearnedKeys):
        learner.keys.free = torch.nn.Parameter(learner.keys.free.to(META))
    else:
        learner.keys._keys = learner.keys._keys.to(META)
    learner.begin_task(stream.tasks[1])
    return learner, batch.to(META)


@pytest.mark.parametrize(
    ("form", "micro_batch"), [*((form, None) for form in FORMS), ("value", 20)]
)
def test_a_step_brings_nothing_to_the_host(
    form: str, micro_batch: int | None, stream: TaskStream
) -> None:
    learner, batch = on_meta(stream, **FORMS[form])
    learner.micro_batch = micro_batch
    learner.train_step(batch)  # the first one makes the optimiser's state and cached statistics
    with OneDevice(waits=False):
        losses = learner.train_step(batch)
    assert {loss.device for loss in losses.values()} == {META}
    assert learner.pool.prompt.grad.device == META


@pytest.mark.parametrize(
    "wait",
    [
        Tensor.item,
        Tensor.tolist,
        Tensor.cpu,
        bool,
        lambda loss: loss[loss > 0],
        lambda loss: loss.expand(2).nonzero(),
    ],
    ids=["item", "tolist", "cpu", "bool", "mask", "nonzero"],
)
def test_what_waits_raises_there(wait: Any, stream: TaskStream) -> None:
    learner, batch = on_meta(stream)
    loss = learner.train_step(batch)["loss"]
    with pytest.raises((RuntimeError, NotImplementedError)):
        wait(loss)


def test_a_copy_from_the_host_is_noticed() -> None:
    with pytest.raises(AssertionError, match="from cpu to meta"), OneDevice(waits=False):
        torch.ones(2).to(META)
    # the statistics of a data set are copied once, not at every step
    normalise = Normalisation((0.1, 0.2, 0.3), (1.0, 1.0, 1.0))
    images = torch.rand(2, 3, 4, 4, device=META)
    normalise(images)
    with OneDevice(waits=False):
        normalise(images)
