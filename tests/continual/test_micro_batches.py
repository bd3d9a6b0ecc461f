"""Micro-batches add up to the batch, for any loss that is a mean over images plus constants."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from starprompt.continual.micro_batches import backward
from starprompt.data.batch import Batch
from starprompt.data.stream import TaskStream
from starprompt.method.starprompt import StarPrompt
from tests.helpers.small_stream import make, small_stream

STAR = {"epochs": 1, "batch_size": 16, "replay_epochs": 1, "replay_samples": 8}
FORMS = ("value", "post_attention", "prefix")


@pytest.fixture(scope="module")
def stream() -> TaskStream:
    return small_stream([2, 2, 6])


@given(images=st.integers(1, 9), size=st.integers(1, 12), seed=st.integers(0, 99))
def test_a_mean_over_images_and_a_term_without_images(images: int, size: int, seed: int) -> None:
    torch.manual_seed(seed)
    weight = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    views = torch.randn(images, 3, 1, 1, dtype=torch.float64)
    batch = Batch(torch.arange(images), torch.randint(4, (images,)), views)
    sizes = []

    def loss(part: Batch) -> dict[str, Tensor]:
        assert part.images is not None
        sizes.append(len(part))
        error = F.cross_entropy(part.images.flatten(1) @ weight.T, part.labels)
        decay = weight.square().sum()
        return {"loss": error + 0.1 * decay, "error": error, "decay": decay}

    whole = loss(batch)
    (expected,) = torch.autograd.grad(whole["loss"], weight)
    sizes.clear()
    losses = backward(loss, batch, size)
    assert sum(sizes) == images and max(sizes) <= size
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad, expected)
    assert losses.keys() == whole.keys()
    for name, value in losses.items():
        assert not value.requires_grad
        torch.testing.assert_close(value, whole[name].detach())


def test_a_whole_batch_is_not_touched() -> None:
    """The gradient and the losses are those of the plain loss, to the bit."""
    weight = torch.randn(4, 12, requires_grad=True)
    batch = Batch(torch.arange(5), torch.randint(4, (5,)), torch.rand(5, 3, 2, 2))

    def loss(part: Batch) -> dict[str, Tensor]:
        assert part.images is not None
        error = F.cross_entropy(part.images.flatten(1) @ weight.T, part.labels)
        return {"loss": error + 0.3 * weight.square().mean()}

    plain = loss(batch)["loss"]
    (expected,) = torch.autograd.grad(plain, weight)
    assert torch.equal(backward(loss, batch)["loss"], plain.detach())
    assert weight.grad is not None
    assert torch.equal(weight.grad, expected)


def doubled(learner: Any, batch: Batch) -> Batch:
    """Learner and batch in float64."""
    for module in (learner.vit, learner.pool, learner.head):
        module.double()
    keys = learner.keys.upto(learner.seen).double()
    learner.keys.upto = lambda n: keys[:n]
    assert batch.images is not None and batch.query is not None
    return Batch(batch.ids, batch.labels, batch.images.double(), None, batch.query.double())


@pytest.mark.parametrize("size", [1, 5, 8])
@pytest.mark.parametrize("form", FORMS)
def test_the_second_stages_micro_batches(form: str, size: int, stream: TaskStream) -> None:
    options = {**STAR, "injection": form, "query": "clean", "key_source": "template"}
    learner: Any = make(StarPrompt, stream, **options)
    learner.begin_task(stream.tasks[0])
    learner.end_task(stream.tasks[0])
    learner.begin_task(stream.tasks[1])  # a past, so that there is orthogonality
    (batch,) = stream.tasks[1].train.batches(48, inputs=learner.train_inputs)
    batch = doubled(learner, batch.split(16)[1])
    parameters = learner.optimiser.param_groups[0]["params"]
    assert len(parameters) == 4
    outcomes = []
    for micro_batch in (None, size):
        learner.optimiser.zero_grad()
        losses = backward(learner.loss, batch, micro_batch)
        outcomes.append([*losses.values(), *(p.grad.clone() for p in parameters)])
    assert losses["orthogonality"] > 0
    for whole, split in zip(*outcomes, strict=True):
        assert float((split - whole).norm()) <= 1e-6 * float(whole.norm())


def test_learned_keys_get_the_whole_batchs_gradient(stream: TaskStream) -> None:
    learner: Any = make(StarPrompt, stream, key_source="learned", **STAR)
    learner.begin_task(stream.tasks[0])
    (batch,) = stream.tasks[0].train.batches(48, inputs=learner.train_inputs)
    gradients = []
    for micro_batch in (None, 7):
        learner.optimiser.zero_grad()
        backward(learner.loss, batch, micro_batch)
        gradients.append(learner.keys.free.grad.clone())
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-6)


def test_a_step_uses_the_planned_size(stream: TaskStream, monkeypatch: pytest.MonkeyPatch) -> None:
    learner: Any = make(StarPrompt, stream, key_source="template", **STAR)
    learner.begin_task(stream.tasks[0])
    sizes = []
    loss = learner.loss

    def counted(batch: Batch) -> dict[str, Tensor]:
        sizes.append(len(batch))
        return loss(batch)

    monkeypatch.setattr(learner, "loss", counted)
    learner.micro_batch = 20
    (batch,) = stream.tasks[0].train.batches(48, inputs=learner.train_inputs)
    learner.train_step(batch)
    assert sizes == [20, 20, 8]
