"""Counted operations are those of the formulas; counting changes nothing."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from starprompt.backbones.clip import load_clip
from starprompt.backbones.tiny.models import build_tiny_vit
from starprompt.budget.networks import Transformer, clip_of
from starprompt.continual.flops import StepCounter, counted, operations


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level("ERROR")
    yield


def test_attention_is_counted_in_every_form_that_a_cpu_computes() -> None:
    """Fused attention and the fused module: 4 n^2 D, and 8 n D^2 for the module's layers."""
    x = torch.randn(2, 10, 64)
    module = torch.nn.MultiheadAttention(64, 4, batch_first=True).eval()

    def attend() -> Tensor:
        heads = x.view(2, 10, 4, 16).transpose(1, 2)
        return torch.nn.functional.scaled_dot_product_attention(heads, heads, heads)

    assert operations(attend) == 2 * 4 * 10**2 * 64
    whole = 2 * (8 * 10 * 64**2 + 4 * 10**2 * 64)
    assert operations(lambda: module(x, x, x, need_weights=False)) == whole
    with torch.inference_mode():  # the fused module
        assert operations(lambda: module(x, x, x, need_weights=False)) == whole


def test_a_backward_pass_through_frozen_weights_is_counted() -> None:
    """One product for the input's gradient; attention's two become five."""
    block = Transformer(96, 4, 17)
    vit = build_tiny_vit().requires_grad_(False)
    tokens = torch.randn(1, 17, 96, requires_grad=True)
    _, forward = counted(lambda: vit.blocks(tokens))
    assert forward == block.operations()
    total = operations(lambda: vit.blocks(tokens).sum().backward())
    assert total - forward == block.backward(trained=False)
    vit.requires_grad_(True)
    total = operations(lambda: vit.blocks(tokens).sum().backward())
    assert total - forward == block.backward(trained=True)


def test_counting_changes_no_bit_and_takes_the_second_step() -> None:
    images = torch.randn(4, 3, 64, 64)
    clip = load_clip("tiny")
    plain = clip.encode_normalised(images)
    counter = StepCounter()
    results = [counter.take(lambda: clip.encode_normalised(images)) for _ in range(3)]
    assert all(torch.equal(result, plain) for result in results)
    assert counter.operations == 4 * clip_of("tiny").image_operations
