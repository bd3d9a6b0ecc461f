"""Experts beside CLIP's MLPs: without effect at their start, weighted by a router, in transformers
alone."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

from starprompt.backbones.clip import FrozenClip, load_clip
from starprompt.backbones.expert_clip import ExpertClip, Experts
from starprompt.errors import UserError

SIZES: dict[str, Any] = {"experts": 2, "top_k": 2, "bottleneck": 4}
VISION = CLIPVisionCfg(layers=2, width=16, head_width=8, patch_size=4, image_size=8)


def small_clip(vision: CLIPVisionCfg = VISION) -> FrozenClip:
    torch.manual_seed(0)
    words = CLIPTextCfg(context_length=8, vocab_size=20, width=16, heads=2, layers=2)
    return FrozenClip(CLIP(embed_dim=12, vision_cfg=vision, text_cfg=words, quick_gelu=True))


def test_new_experts_leave_clip_as_it_is() -> None:
    clip = small_clip()
    net = ExpertClip(clip, **SIZES)
    images, ids = torch.rand(3, 3, 8, 8), torch.tensor([[18, 3, 4, 19, 0, 0, 0, 0]])
    torch.testing.assert_close(net.images(images), F.normalize(clip.encode_images(images), dim=-1))
    texts = clip.embed_tokens(ids)
    theirs = F.normalize(clip.encode_prompts(texts.embeddings, texts.eot), dim=-1)
    torch.testing.assert_close(net.texts(texts), theirs)


def test_experts_learn_and_clip_does_not() -> None:
    net = ExpertClip(small_clip(), **SIZES)
    (net.images(torch.rand(3, 3, 8, 8))[:, 0].sum()).backward()
    assert all(p.grad is None for p in net.clip.parameters())
    every: Any = net.experts["image"]
    assert all(float(one.adapters[0].up.weight.grad.abs().sum()) > 0 for one in every)
    assert all(one.adapters[0].up.weight.grad is None for one in net.experts["text"])  # type: ignore[union-attr]


def test_the_largest_logits_share_the_weight() -> None:
    torch.manual_seed(0)
    experts = Experts(6, 4, 2, 3).eval()
    torch.nn.init.normal_(experts.router)
    first = torch.randn(5, 6)
    gates, logits = experts.gates(first), first @ experts.router
    assert (gates > 0).sum(dim=1).tolist() == [2] * 5
    torch.testing.assert_close(gates.sum(dim=1), torch.ones(5))
    for row, own in zip(gates, logits, strict=True):
        two = own.topk(2)
        torch.testing.assert_close(row[two.indices], two.values.softmax(dim=0))


def test_a_routers_noise_is_for_training() -> None:
    torch.manual_seed(0)
    experts, first = Experts(6, 2, 2, 3), torch.randn(5, 6)
    assert not torch.equal(experts.train().gates(first), experts.gates(first))
    assert torch.equal(experts.eval().gates(first), torch.full((5, 2), 0.5))


def test_a_resnet_has_no_experts() -> None:
    net = ExpertClip(load_clip("tiny"), **SIZES)
    assert list(net.experts) == ["text"]
    images = torch.rand(2, 3, 64, 64)
    assert torch.equal(net.images(images), F.normalize(net.clip.encode_images(images), dim=-1))
    assert net.activations() == net.clip.activations()


def test_an_images_activations_are_those_of_its_blocks() -> None:
    vision = CLIPVisionCfg(layers=4, width=64, head_width=8, patch_size=4, image_size=32)
    net = ExpertClip(small_clip(vision), **SIZES)
    kept: list[torch.Tensor] = []
    images = torch.rand(8, 3, 32, 32)

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        net.images(images)
    weights = {p.untyped_storage().data_ptr() for p in net.parameters()}
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage() for t in kept}
    real = sum(one.nbytes() for at, one in storages.items() if at not in weights) / len(images)
    assert net.activations().kept == pytest.approx(real, rel=0.05)


def test_blocks_of_another_kind_are_refused() -> None:
    clip = small_clip()
    clip.model.transformer.resblocks[0] = torch.nn.Identity()
    with pytest.raises(UserError, match="need plain transformer blocks"):
        ExpertClip(clip, **SIZES)
