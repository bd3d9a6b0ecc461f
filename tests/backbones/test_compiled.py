"""`compile: true`: the same numbers, one batch size, no compiling without end."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from torch._dynamo.utils import counters

from starprompt.backbones import compiled
from starprompt.backbones.blocks import Injection, Prefix, Residual
from starprompt.backbones.clip import FrozenClip
from starprompt.backbones.prompted_vit import PromptedViT
from starprompt.backbones.vit import load_vit


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Traced and differentiated as by default, without the compiler's minute of machine code."""
    monkeypatch.setattr(compiled, "BACKEND", "aot_eager")
    torch.compiler.reset()
    counters.clear()
    yield
    torch.compiler.reset()


def graphs() -> int:
    return counters["stats"]["unique_graphs"]


def prompts(vit: PromptedViT, form: str, batch: int) -> list[Injection]:
    generator = torch.Generator().manual_seed(batch)

    def prompt(*shape: int) -> Any:
        return torch.randn(batch, *shape, generator=generator).requires_grad_()

    if form == "prefix":
        return [Prefix(prompt(2, vit.dim), prompt(2, vit.dim)) for _ in range(vit.depth)]
    at: Any = form
    return [Residual(prompt(vit.dim), at) for _ in range(vit.depth)]


@pytest.mark.parametrize("form", ["value", "post_attention", "prefix"])
def test_a_prompted_vit_computes_the_same_compiled(form: str) -> None:
    plain, fast = (PromptedViT(load_vit("tiny", compile=c)).eval() for c in (False, True))

    def outcome(vit: PromptedViT, batch: int) -> list[torch.Tensor]:
        injected = prompts(vit, form, batch)
        images = torch.rand(batch, 3, 64, 64, generator=torch.Generator().manual_seed(batch))
        features = vit(images, injected)
        features.square().sum().backward()
        own = [getattr(i, "vector", None) for i in injected]
        own = [getattr(i, "keys", v) for i, v in zip(injected, own, strict=True)]
        return [features.detach(), *(v.grad for v in own)]

    for batch in (6, 6, 4, 3, 6):
        for ours, theirs in zip(outcome(fast, batch), outcome(plain, batch), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert 0 < graphs() <= 3  # the first block, whose input has no gradient yet, and the others


def test_smaller_batches_compile_nothing() -> None:
    vit = PromptedViT(load_vit("tiny", compile=True)).eval()
    with torch.no_grad():
        vit(torch.rand(6, 3, 64, 64), prompts(vit, "value", 6))
        compiled_once = graphs()
        assert compiled_once > 0
        for batch in range(1, 12):
            vit(torch.rand(batch, 3, 64, 64), prompts(vit, "value", batch))
    assert graphs() == compiled_once


def test_a_fine_tuned_vit_computes_the_same_compiled() -> None:
    plain, fast = (load_vit("tiny", compile=c).requires_grad_() for c in (False, True))
    images = torch.rand(5, 3, 64, 64)
    for vit in (plain, fast):
        vit(images).square().sum().backward()
    assert graphs() > 0
    for ours, theirs in zip(fast.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-4)
    assert fast.state_dict().keys() == plain.state_dict().keys()


def test_clips_image_tower_computes_the_same_compiled() -> None:
    torch.manual_seed(0)
    model = CLIP(
        32,
        CLIPVisionCfg(layers=3, width=64, head_width=32, patch_size=8, image_size=32),
        CLIPTextCfg(8, 64, width=64, heads=1, layers=1),
    ).eval()
    clip = FrozenClip(model)
    images = torch.rand(4, 3, 32, 32)
    plain = [clip.encode_normalised(images[:n]) for n in (4, 3)]
    clip.compile_image_tower()
    fast = [clip.encode_normalised(images[:n]) for n in (4, 3)]
    assert graphs() == 1
    for ours, theirs in zip(fast, plain, strict=True):
        assert not ours.is_inference()
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
