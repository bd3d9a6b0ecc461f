"""Sources of pixels: what their files may hold, and what is refused."""

import errno
import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import CIFAR100

from starprompt.data.decode import CorruptImageError, decode
from starprompt.data.formats.arrays import read
from starprompt.data.sources import Cifar100, NumpyArchives, PickledArrays, TorchTensors
from starprompt.errors import UserError
from starprompt.files import write_trouble
from tests.helpers.hostile_pickles import Reduces, marker


@pytest.mark.parametrize("private", ["text", "bytes of a path", "objects of text"])
def test_an_array_source_never_names_a_file(tmp_path, private):
    """A file of strangers that names an image of ours must not have its pixels prepared."""
    image = tmp_path / "private.png"
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(image)
    data = {
        "text": np.array([str(image)]),
        "bytes of a path": np.array([str(image).encode()]),
        "objects of text": np.array([str(image)], dtype=object),
    }[private]
    for split in ("train", "test"):
        np.savez(tmp_path / f"{split}_data.npz", data=data, targets=np.zeros(1, np.int64))
    with pytest.raises(UserError, match=r"train_data\.npz"):
        read(NumpyArchives(kind="numpy-archives"), tmp_path, tmp_path)
    with pytest.raises(CorruptImageError, match="not pixels or an encoded image"):
        decode(str(image))  # type: ignore[arg-type]
    with pytest.raises(CorruptImageError, match=r"not an image|none of the formats"):
        decode(str(image).encode())


def test_a_torch_file_with_anything_but_tensors_is_refused(tmp_path):
    harm = Reduces(os.system, (f"touch {marker(tmp_path)}",))
    for split in ("train", "test"):
        torch.save(torch.zeros(1, 3, 2, 2, dtype=torch.uint8), tmp_path / f"{split}_images.pt")
        torch.save(torch.zeros(1, dtype=torch.int64), tmp_path / f"{split}_labels.pt")
    (tmp_path / "class_names.json").write_text('["one"]')
    form = TorchTensors(kind="torch-tensors")
    assert read(form, tmp_path, tmp_path).class_names == ("one",)
    torch.save(harm, tmp_path / "test_images.pt")
    with pytest.raises(UserError, match=r"test_images\.pt is damaged or unsafe"):
        read(form, tmp_path, tmp_path)
    assert not marker(tmp_path).exists()
    torch.save(OrderedDict(a=torch.zeros(1)), tmp_path / "test_images.pt")
    with pytest.raises(UserError, match="does not hold a tensor"):
        read(form, tmp_path, tmp_path)


def test_a_link_that_leads_out_of_the_raw_folder_is_not_read(tmp_path):
    raw, private = tmp_path / "raw", tmp_path / "private.pkl"
    raw.mkdir()
    private.write_bytes(pickle.dumps(np.zeros((2, 4, 4, 3), np.uint8)))
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        (raw / f"{name}.pkl").symlink_to(private)
    with pytest.raises(UserError, match="a link that leads out of"):
        read(PickledArrays(kind="pickled-arrays"), raw, tmp_path)


@pytest.mark.parametrize("kind", ["pickle", "npz", "tensors"])
def test_a_file_that_could_not_be_read_is_not_damaged(tmp_path, monkeypatch, kind):
    form, reader = {
        "pickle": (
            PickledArrays(kind="pickled-arrays"),
            "starprompt.data.safe_pickle._Machine.run",
        ),
        "npz": (NumpyArchives(kind="numpy-archives"), "zipfile.ZipFile.__init__"),
        "tensors": (TorchTensors(kind="torch-tensors"), "torch.load"),
    }[kind]
    for split in ("train", "test"):
        for name in ("images.pkl", "labels.pkl", "images.pt", "labels.pt", "data.npz"):
            (tmp_path / f"{split}_{name}").write_bytes(b"x")

    def fails(*args, **kwargs):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(reader, fails)
    with pytest.raises(UserError, match=r"train_.* could not be read: Input/output error") as said:
        read(form, tmp_path, tmp_path)
    assert "damaged" not in str(said.value)
    assert "download" not in str(said.value)


@pytest.mark.parametrize("code", ["EIO", "ENOSPC"])
def test_a_disk_that_fails_does_not_make_cifars_archive_a_damaged_one(tmp_path, monkeypatch, code):
    def fails(*args, **kwargs):
        raise OSError(getattr(errno, code), os.strerror(getattr(errno, code)))

    archive = tmp_path / CIFAR100.filename
    form = Cifar100(kind="cifar100")
    with pytest.raises(UserError, match=r"tar\.gz could not be read: No such file"):
        read(form, tmp_path, tmp_path / "work")
    archive.write_bytes(b"x")
    monkeypatch.setattr(CIFAR100, "__init__", fails)
    with pytest.raises(OSError, match=r"tar\.gz") as caught:
        read(form, tmp_path, tmp_path / "work")
    said = write_trouble(tmp_path / "prepared", caught.value)
    assert ("disk is full" in str(said)) if code == "ENOSPC" else said is None
