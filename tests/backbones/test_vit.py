"""ViTs by name: the weights are the file's, the statistics the weights'."""

from pathlib import Path

import pytest
import torch

from starprompt.backbones.vit import load_vit, vit_digest, vit_normalisation
from starprompt.errors import UserError
from starprompt.files import sha256_file
from tests.helpers.small_backbones import VIT, save_vit

VIT_TAG = "test_vit.r160_in1k"


def test_a_vit_that_does_not_read_its_class_token_is_refused() -> None:
    with pytest.raises(UserError, match="not a plain VisionTransformer"):
        load_vit("test_vit2/random")


def test_a_vit_from_a_local_file_is_that_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.safetensors"
    theirs = save_vit(file)
    vit = load_vit(f"{VIT}@{file}")
    images = torch.rand(2, 3, 160, 160)
    torch.testing.assert_close(
        vit(images), theirs.forward_head(theirs.forward_features(images), pre_logits=True)
    )
    assert vit_digest(f"{VIT}@{file}") == sha256_file(file)
    assert load_vit(f"{VIT}@{file}", num_classes=3)(images).shape == (2, 3)
    torch.save(theirs.state_dict(), tmp_path / "mine.pt")
    torch.testing.assert_close(load_vit(f"{VIT}@{tmp_path / 'mine.pt'}")(images), vit(images))


def test_the_tiny_pair_loads_by_name() -> None:
    vit = load_vit("tiny", num_classes=4)
    view = vit_normalisation("tiny")(torch.rand(2, 3, 64, 64))
    assert vit(view).shape == (2, 4)
    assert not vit.training
    assert len(vit_digest("tiny")) == 64
    assert vit_normalisation(VIT_TAG)(torch.full((1, 3, 2, 2), 0.5)).abs().max() < 1e-6
