"""Names of backbones: what they mean, and what is refused with which words."""

import pytest

from starprompt.backbones import names
from starprompt.backbones.names import parse, parse_clip, parse_vit
from starprompt.backbones.preprocess import CLIP_STATISTICS
from starprompt.errors import UserError


def test_the_papers_pair_is_known() -> None:
    clip, vit = (parse(name) for name in names.PAPER_PAIR)
    assert (clip.kind, clip.hub_id) == ("clip", "timm/vit_large_patch14_clip_224.openai")
    assert clip.quick_gelu is True
    assert clip.statistics == (CLIP_STATISTICS.mean, CLIP_STATISTICS.std)
    assert (vit.kind, vit.hub_id) == ("vit", "timm/vit_base_patch16_224.augreg_in21k")
    assert vit.hub_files[0] == "model.safetensors"
    assert vit.statistics == ((0.5,) * 3, (0.5,) * 3)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ViT-L-41/openai", "did you mean .*'ViT-L-14'"),
        ("ViT-L-14/openia", "did you mean 'openai'"),
        ("ViT-L-14", "ViT-L-14/random"),
        ("ViT-L-14/random@file.pt", "choose one"),
        ("ViT-L-14@", "ends in '@'"),
        ("coca_ViT-B-32/x", "learned prompts"),
        ("ViT-B-16-SigLIP/webli", "learned prompts"),
    ],
)
def test_clip_names_that_are_refused(name: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        parse_clip(name)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("vit_base_patch16_224.augreg_in21", "did you mean 'vit_base_patch16_224.augreg_in21k'"),
        ("vit_bass_patch16_224", "did you mean 'vit_base_patch16_224"),
        ("vit_base_patch16_224/openai", "There is no ViT named"),
        ("resnet50", "not a plain VisionTransformer"),
        ("vit_huge_patch14_gap_224.in22k_ijepa", "no published weights"),
    ],
)
def test_vit_names_that_are_refused(name: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        parse_vit(name)
