"""The embedding file: what it holds, that it is whole, and that work is not done twice."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from starprompt.backbones.clip import FrozenClip, load_clip
from starprompt.backbones.embedding import embed, read_embedding, write_embedding
from starprompt.errors import UserError


@pytest.fixture(scope="module")
def clip() -> FrozenClip:
    return load_clip("tiny")


@pytest.fixture
def images(tmp_path: Path) -> np.ndarray:
    """Seven images in a memory map, as prepared data is."""
    pixels = np.random.default_rng(0).integers(0, 256, (7, 3, 64, 64), dtype=np.uint8)
    np.save(tmp_path / "images.npy", pixels)
    return np.load(tmp_path / "images.npy", mmap_mode="r")


def as_it_is(batch: Tensor) -> Tensor:
    return batch.float() / 255


def flipped(batch: Tensor) -> Tensor:
    return batch.flip(-1).float() / 255


def test_the_file_holds_both_views_of_both_splits(
    clip: FrozenClip, images: np.ndarray, tmp_path: Path
) -> None:
    out = tmp_path / "features" / "tiny.safetensors"
    write_embedding(out, clip, images, images[:3], flipped, "abc", batch_size=2)
    found = read_embedding(out)
    raw = torch.from_numpy(np.array(images))
    torch.testing.assert_close(found.train["clip"], clip.encode_images(raw / 255))
    torch.testing.assert_close(found.train["query"], clip.encode_images(raw.flip(-1) / 255))
    assert found.test["clip"].shape == (3, clip.dim)
    assert found.train["clip"].dtype == torch.float32
    assert found.metadata["clip"] == "tiny"
    assert found.metadata["clip_digest"] == clip.digest
    assert found.metadata["data_digest"] == "abc"
    assert list(out.parent.iterdir()) == [out]


def test_equal_views_are_encoded_once(
    clip: FrozenClip, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    encode = clip.encode_normalised

    def counting(batch: Tensor) -> Tensor:
        seen.append(len(batch))
        return encode(batch)

    monkeypatch.setattr(clip, "encode_normalised", counting)
    same = embed(clip, images, as_it_is, batch_size=4)
    assert seen == [4, 3]
    assert torch.equal(same["clip"], same["query"])
    embed(clip, images, flipped, batch_size=4)
    assert seen == [4, 3, 4, 4, 3, 3]


def test_views_get_the_original_sizes_where_there_are_any(
    clip: FrozenClip, images: np.ndarray
) -> None:
    seen = []

    def view(batch: Tensor, sizes: Tensor) -> Tensor:
        seen.append(sizes.tolist())
        return batch.float() / 255

    sizes = np.arange(14, dtype=np.int32).reshape(7, 2)
    embed(clip, images, view, batch_size=4, clip_view=view, sizes=sizes)
    assert seen == [sizes[:4].tolist()] * 2 + [sizes[4:].tolist()] * 2


def test_nothing_is_left_where_encoding_fails(
    clip: FrozenClip, images: np.ndarray, tmp_path: Path
) -> None:
    out = tmp_path / "features" / "tiny.safetensors"

    def broken(batch: Tensor) -> Tensor:
        return torch.full(batch.shape, torch.nan)

    with pytest.raises(UserError, match="non-finite"):
        write_embedding(out, clip, images, images, broken, "abc")
    with pytest.raises(UserError, match="no images"):
        write_embedding(out, clip, images, images[:0], as_it_is, "abc")
    assert not out.exists()


def test_files_that_are_no_embedding_are_refused(
    clip: FrozenClip, images: np.ndarray, tmp_path: Path
) -> None:
    out = tmp_path / "tiny.safetensors"
    with pytest.raises(UserError, match="is not there"):
        read_embedding(out)
    write_embedding(out, clip, images, images[:3], as_it_is, "abc")
    out.write_bytes(out.read_bytes()[:-8])
    with pytest.raises(UserError, match="incomplete or damaged"):
        read_embedding(out)
