"""Stored images: rows as a map gives them, each chunk checked at its first use."""

import os

import numpy as np
import pytest

from starprompt.data.store import open_prepared
from starprompt.data.stored_images import CHUNK_ROWS, Digests, StoredImages, chunk_digests
from starprompt.errors import UserError
from tests.helpers.damage import zero_a_tenth


def test_rows_are_read_as_a_map_gives_them(digits_folder):
    stored = open_prepared(digits_folder).train.images
    mapped = np.load(digits_folder / "train_images.npy", mmap_mode="r")
    assert stored.shape == mapped.shape
    assert len(stored) == len(mapped)
    rows = np.random.default_rng(0).permutation(len(mapped))[:100]
    for key in (rows, slice(3, 40), slice(None, None, 97), np.arange(5, 60), np.array([], int)):
        np.testing.assert_array_equal(stored[key], mapped[key])
    for row in (0, -1, np.int64(7)):
        np.testing.assert_array_equal(stored[row], mapped[row])
    np.testing.assert_array_equal(np.asarray(stored), mapped)
    with pytest.raises(IndexError):
        stored[len(mapped)]


def test_the_manifest_has_a_digest_of_every_chunk(digits_folder):
    manifest = open_prepared(digits_folder).manifest
    for split in ("train", "test"):
        path = digits_folder / f"{split}_images.npy"
        assert manifest["chunks"][split] == chunk_digests(path, 1)[0]
        assert len(manifest["chunks"][split]) == -(-manifest["counts"][split] // CHUNK_ROWS)


def test_only_the_chunks_that_are_read_are_checked(copied):
    path = copied / "train_images.npy"
    with path.open("r+b") as file:
        file.seek(-10, os.SEEK_END)
        file.write(b"\x07" * 10)
    stored = open_prepared(copied).train.images
    stored[np.arange(CHUNK_ROWS)]
    with pytest.raises(UserError, match=r"images 1280 and following are not those prepared"):
        stored[len(stored) - 1]


def test_a_file_that_shrinks_or_changes_while_it_is_read_ends_in_a_sentence(copied):
    stored = open_prepared(copied).train.images
    stored[np.arange(20)]
    path = copied / "train_images.npy"
    data = path.read_bytes()
    os.truncate(path, len(data) // 3)
    with pytest.raises(UserError, match="cut short while it was read"):
        stored[np.arange(1000, 1100)]
    path.write_bytes(data)
    stored[np.arange(1000, 1100)]
    zero_a_tenth(path)
    with pytest.raises(UserError, match="are not those prepared"):
        stored[:]


def test_a_file_that_is_no_map_of_images_is_refused_at_once(tmp_path):
    for array in (np.zeros((2, 3, 4)), np.zeros((2, 3, 4, 4)), np.zeros((2, 1, 4, 4), np.uint8)):
        np.save(tmp_path / "x.npy", array)
        with pytest.raises(ValueError, match=r"x\.npy holds"):
            StoredImages(tmp_path / "x.npy", Digests("0" * 64))
