"""Cached features: damaged, swapped or foreign ones are refused."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from starprompt.backbones.clip import load_clip
from starprompt.backbones.embedding import write_embedding
from starprompt.data.features import Features
from starprompt.data.store import open_prepared
from starprompt.data.stream import TaskStream, view_digest
from starprompt.data.transforms import TestView
from starprompt.errors import UserError
from tests.helpers.damage import add, cut, flip_a_bit, replace_by_folder, zero_a_tenth
from tests.helpers.small_stream import SPEC


@pytest.fixture(scope="module")
def features(digits_folder, tmp_path_factory) -> Path:
    data = open_prepared(digits_folder)
    return write_embedding(
        tmp_path_factory.mktemp("embedding") / "tiny.safetensors",
        load_clip("tiny"),
        data.train.images,
        data.test.images,
        TestView(tuple(SPEC.test_transform)),
        data.digest,
        progress=False,
        view_digest=view_digest(SPEC),
    )


def _resaved(path: Path, out: Path, change, keep_digest: bool = True) -> Path:
    """The features with changed tensors under the old header, as damage has it."""
    metadata = Features.describe(path)
    if not keep_digest:
        del metadata["sha256"]
    tensors = load_file(path)
    save_file({k: v.contiguous() for k, v in change(tensors).items()}, out, metadata=metadata)
    return out


def _zeroed(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    tensors["train.clip"][:143] = 0
    return tensors


def _kinds_swapped(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    tensors["train.clip"], tensors["train.query"] = tensors["train.query"], tensors["train.clip"]
    tensors["train.query"][0] += 1
    return tensors


def _rows_swapped(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    tensors["train.clip"] = tensors["train.clip"].flip(0)
    return tensors


def _one_number(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    tensors["test.query"][5, 3] += 1e-6
    return tensors


def _lost(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in tensors.items() if name != "test.query"}


def _short(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return tensors | {"train.clip": tensors["train.clip"][:-1]}


@pytest.mark.parametrize(
    "change", [_zeroed, _kinds_swapped, _rows_swapped, _one_number, _lost, _short]
)
def test_changed_features_are_never_trained_upon(digits_folder, features, tmp_path, change):
    changed = _resaved(features, tmp_path / "x.safetensors", change)
    with pytest.raises(
        UserError, match=r"x\.safetensors are damaged .* run `starprompt embed` again"
    ):
        TaskStream(open_prepared(digits_folder), SPEC, 1993, embedding=changed)


@pytest.mark.parametrize("damage", [zero_a_tenth, flip_a_bit, cut, add, replace_by_folder])
def test_a_damaged_file_of_features_is_one_sentence(digits_folder, features, tmp_path, damage):
    path = Path(shutil.copy(features, tmp_path / "x.safetensors"))
    damage(path)
    with pytest.raises(UserError, match=r"x\.safetensors"):
        TaskStream(open_prepared(digits_folder), SPEC, 1993, embedding=path)


def test_features_of_another_view_are_refused(digits_folder, features):
    step = {"step": "center_crop", "size": 64}
    from starprompt.data.steps import CenterCrop

    other = SPEC.model_copy(update={"test_transform": [CenterCrop.model_validate(step)]})
    with pytest.raises(UserError, match="with another test view"):
        TaskStream(open_prepared(digits_folder), other, 1993, embedding=features)


def test_features_of_an_earlier_version_are_read_and_the_worst_damage_is_seen(
    digits_folder, features, tmp_path, caplog
):
    caplog.set_level("INFO")
    old = _resaved(features, tmp_path / "x.safetensors", lambda tensors: tensors, False)
    TaskStream(open_prepared(digits_folder), SPEC, 1993, embedding=old)
    assert "has no checksum; run `starprompt embed` to write one" in caplog.text
    _resaved(features, old, _zeroed, False)
    with pytest.raises(UserError, match="zero throughout"):
        TaskStream(open_prepared(digits_folder), SPEC, 1993, embedding=old)


def test_giant_features_are_refused_by_their_size(digits_folder, features, tmp_path):
    path = Path(shutil.copy(features, tmp_path / "x.safetensors"))
    os.truncate(path, 10**13)
    with pytest.raises(UserError, match="another size than its features"):
        TaskStream(open_prepared(digits_folder), SPEC, 1993, embedding=path)
