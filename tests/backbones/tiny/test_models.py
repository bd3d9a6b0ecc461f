"""The tiny pair as shipped: its card, its size, how it loads."""

import json
from pathlib import Path

import pytest
import torch

from starprompt.backbones.tiny import models
from starprompt.errors import UserError
from starprompt.files import sha256_file

CARD = json.loads(models.CARD.read_text())


def card_text() -> str:
    return (models.FOLDER / "MODEL_CARD.md").read_text()


def test_digests_are_those_of_the_card() -> None:
    measured = {path.name: sha256_file(path) for path in models.WEIGHTS.values()}
    assert measured == CARD["sha256"] == models.shipped_digests()
    assert all(digest in card_text() for digest in measured.values())


def test_both_files_take_less_than_four_megabytes() -> None:
    assert sum(path.stat().st_size for path in models.WEIGHTS.values()) <= 4_000_000


def test_the_clip_comes_frozen_in_evaluation_and_float32() -> None:
    clip = models.load_tiny_clip()
    assert not any(module.training for module in clip.modules())
    assert not any(parameter.requires_grad for parameter in clip.parameters())
    assert {parameter.dtype for parameter in clip.parameters()} == {torch.float32}
    images = torch.rand(4, 3, 64, 64)
    torch.testing.assert_close(clip.encode_image(images)[:1], clip.encode_image(images[:1]))


def test_the_vit_is_timms_and_its_head_is_new() -> None:
    from timm.models.vision_transformer import VisionTransformer

    bare, headed = models.load_tiny_vit(), models.load_tiny_vit(10)
    assert type(bare) is VisionTransformer
    assert {parameter.dtype for parameter in headed.parameters()} == {torch.float32}
    images = torch.rand(2, 3, 64, 64)
    assert bare(images).shape == (2, bare.num_features)
    assert headed(images).shape == (2, 10)
    torch.testing.assert_close(
        bare(images), headed.forward_head(headed.forward_features(images), pre_logits=True)
    )


def test_a_missing_or_foreign_weight_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.safetensors is missing"):
        models.load_tiny_clip(tmp_path / "nowhere.safetensors")
    with pytest.raises(UserError, match="does not fit"):
        models.load_tiny_vit(0, models.WEIGHTS["clip"])
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(models.WEIGHTS["vit"].read_bytes()[:1000])
    with pytest.raises(UserError, match="does not hold"):
        models.load_tiny_vit(0, damaged)
