"""Small data sets in exactly the published formats: one image a class and split, told by colour."""

import hashlib
import io
import json
import pickle
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from PIL import Image
from torchvision.datasets import CIFAR100

from starprompt.data.registry import DatasetSpec, load_dataset_spec
from starprompt.data.sources import Url
from tests.helpers.loopback import Site
from tests.helpers.paths import DATASETS

FOLDER = DATASETS
SPLITS = ("train", "test")


def colour(split: str, label: int) -> np.ndarray:
    """The mean colour of a class's image: no two classes or splits share one."""
    number = 2 * label + (split == "test")
    return np.array([40 + number * 37 % 170, 40 + number * 91 % 170, 40 + number * 53 % 170])


def picture(split: str, label: int, height: int, width: int) -> np.ndarray:
    """(height, width, 3) uint8 of that mean colour, brighter towards the right."""
    slope = np.linspace(-20, 20, width)[None, :, None]
    flat = np.broadcast_to(colour(split, label)[None, None, :], (height, width, 3))
    return np.clip(np.round(flat + slope), 0, 255).astype(np.uint8)


def encoded(pixels: np.ndarray, form: str = "JPEG") -> bytes:
    """The pixels as the bytes of an image file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format=form, **({"quality": 95} if form == "JPEG" else {}))
    return buffer.getvalue()


@dataclass(frozen=True)
class Made:
    """A description whose files a site serves, and the labels in source order."""

    spec: DatasetSpec
    labels: dict[str, list[int]]


def tar_of(members: dict[str, bytes], mode: str = "w") -> bytes:
    """A tar archive of files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def zip_of(members: dict[str, bytes]) -> bytes:
    """A zip archive of files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, data in members.items():
            file.writestr(name, data)
    return buffer.getvalue()


def _shuffled(classes: int, seed: int) -> list[int]:
    return np.random.default_rng(seed).permutation(classes).tolist()


def _labels(classes: int) -> dict[str, list[int]]:
    return {split: _shuffled(classes, seed) for seed, split in enumerate(SPLITS)}


def _at(site: Site, spec: DatasetSpec) -> DatasetSpec:
    """The description with its addresses on the site, checksums those of the served bytes."""
    sources = []
    for source in spec.sources:
        fetches = []
        for fetch in source.fetch:
            if isinstance(fetch, Url):
                data = site.files["/" + fetch.file]
                known = hashlib.sha256(data).hexdigest() if fetch.sha256 else None
                update = {"url": f"{site.url}/{fetch.file}", "sha256": known}
                fetch = fetch.model_copy(update=update)
            fetches.append(fetch)
        sources.append(source.model_copy(update={"fetch": fetches}))
    return spec.model_copy(update={"sources": sources})


def imagenet_r(site: Site, patch: pytest.MonkeyPatch) -> Made:
    """The tar with one folder a WordNet id, and the two split lists."""
    spec, labels, members = load_dataset_spec("imagenet-r", FOLDER), _labels(200), {}
    for split in SPLITS:
        paths = []
        for label in labels[split]:
            path = f"imagenet-r/n{10000000 + label}/{split}_{label}.jpg"
            members[path] = encoded(picture(split, label, 60, 80 + label % 7))
            paths.append(f"data/{path}")
        listing = {"data": paths, "targets": labels[split]}
        site.files[f"/imagenet-r_{split}.yaml"] = yaml.safe_dump(listing).encode()
    site.files["/imagenet-r.tar"] = tar_of(members)
    return Made(_at(site, spec), labels)


def cifar100(site: Site, patch: pytest.MonkeyPatch) -> Made:
    """Python batches in a tar.gz; torchvision's class is told their checksums."""
    spec, labels = load_dataset_spec("cifar100", FOLDER), _labels(100)
    members = {}
    for split in SPLITS:
        images = [picture(split, y, 32, 32).transpose(2, 0, 1).ravel() for y in labels[split]]
        batch = {
            "filenames": [f"{y}.png" for y in labels[split]],
            "batch_label": split,
            "fine_labels": labels[split],
            "coarse_labels": [0] * 100,
            "data": np.stack(images),
        }
        members[f"cifar-100-python/{split}"] = pickle.dumps(batch, protocol=2)
    meta = {"fine_label_names": [f"thing_{y}" for y in range(100)], "coarse_label_names": ["all"]}
    members["cifar-100-python/meta"] = pickle.dumps(meta, protocol=2)
    archive = tar_of(members, "w:gz")
    site.files["/cifar-100-python.tar.gz"] = archive

    def md5(data: bytes) -> str:
        return hashlib.md5(data).hexdigest()

    patch.setattr(CIFAR100, "url", f"{site.url}/cifar-100-python.tar.gz")
    patch.setattr(CIFAR100, "tgz_md5", md5(archive))
    for split in SPLITS:
        known = [[split, md5(members[f"cifar-100-python/{split}"])]]
        patch.setattr(CIFAR100, f"{split}_list", known)
    known_meta = CIFAR100.meta | {"md5": md5(members["cifar-100-python/meta"])}
    patch.setattr(CIFAR100, "meta", known_meta)
    return Made(spec, labels)


def cars196(site: Site, patch: pytest.MonkeyPatch) -> Made:
    """Tensors of 224x224 images, and names by number."""
    spec, labels, files = load_dataset_spec("cars196", FOLDER), _labels(196), {}
    for split in SPLITS:
        images = np.stack([picture(split, y, 224, 224).transpose(2, 0, 1) for y in labels[split]])
        for part, value in (("images", images), ("labels", np.array(labels[split]))):
            buffer = io.BytesIO()
            torch.save(torch.from_numpy(value), buffer)
            files[f"{split}_{part}.pt"] = buffer.getvalue()
    files["class_names.json"] = json.dumps({str(y): f"car {y}" for y in range(196)}).encode()
    site.repository("aimagelab-ta/cars196", files)
    return Made(spec, labels)


def cub200(site: Site, patch: pytest.MonkeyPatch) -> Made:
    """Archives of object arrays, as the images' sizes differ."""
    spec, labels, files = load_dataset_spec("cub200", FOLDER), _labels(200), {}
    for split in SPLITS:
        data = np.empty(200, dtype=object)
        for row, label in enumerate(labels[split]):
            data[row] = picture(split, label, 70 + label % 5, 90)
        segments = np.empty(200, dtype=object)
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            data=data,
            targets=np.array(labels[split]),
            classes=np.array(["bird"] * 200),
            segs=segments,
        )
        files[f"{split}_data.npz"] = buffer.getvalue()
    site.repository("aimagelab-ta/cub200", files)
    return Made(spec, labels)


def _eurosat_split() -> tuple[dict[str, list], dict[str, list[int]]]:
    labels = _labels(10)
    table: dict[str, list] = {"train": [], "val": [], "test": []}
    for split in (*SPLITS, "val"):
        for label in labels.get(split, range(10)):
            path = f"Land{label}/Land{label}_{split}.jpg"
            table[split].append([path, label, f"Land number {label}"])
    return table, labels


def eurosat(site: Site, patch: pytest.MonkeyPatch) -> Made:
    """split.json on main, and the hub's own parquet of the images, in another order."""
    spec = load_dataset_spec("eurosat", FOLDER)
    table, labels = _eurosat_split()
    rows = [
        {"bytes": encoded(picture(split, label, 64, 64)), "path": Path(path).name}
        for split in ("val", "test", "train")
        for path, label, _ in table[split]
    ]
    files = {}
    for number, part in enumerate((rows[:14], rows[14:])):
        columns = {"image": part, "label": [0] * len(part)}
        files[f"default/train/{number:04}.parquet"] = _parquet(columns)
    site.repository("aimagelab-ta/eurosat-rgb", {"split.json": json.dumps(table).encode()})
    site.repository("aimagelab-ta/eurosat-rgb", files, "refs/convert/parquet")
    return Made(spec, labels)


def eurosat_zenodo(site: Site, patch: pytest.MonkeyPatch) -> Made:
    """The hub without parquet, so that the archive is fetched."""
    spec = load_dataset_spec("eurosat", FOLDER)
    table, labels = _eurosat_split()
    members = {
        f"EuroSAT_RGB/{path}": encoded(picture(split, label, 64, 64))
        for split in table
        for path, label, _ in table[split]
    }
    site.files["/EuroSAT_RGB.zip"] = zip_of(members)
    site.repository("aimagelab-ta/eurosat-rgb", {"split.json": json.dumps(table).encode()})
    return Made(_at(site, spec), labels)


def resisc45(site: Site, patch: pytest.MonkeyPatch) -> Made:
    """A tar.gz of class folders and two lists with one folder more before the paths."""
    spec, labels, members, files = load_dataset_spec("resisc45", FOLDER), _labels(45), {}, {}
    for split in SPLITS:
        paths = []
        for label in labels[split]:
            path = f"scene_{label}/scene_{label}_{split}.jpg"
            members[f"NWPU-RESISC45/{path}"] = encoded(picture(split, label, 256, 256))
            paths.append(f"images/{path}")
        listing = {"data": paths, "targets": labels[split]}
        files[f"resisc45_{split}.yaml"] = yaml.safe_dump(listing).encode()
    files["resisc45_images.tar.gz"] = tar_of(members, "w:gz")
    site.repository("aimagelab-ta/resisc45", files)
    return Made(spec, labels)


def _parquet(columns: dict[str, list]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, row_group_size=8)
    return buffer.getvalue()


def cropdisease(site: Site, patch: pytest.MonkeyPatch) -> Made:
    """Two parquets of file names and bytes; lists in JSON."""
    spec, labels, files = load_dataset_spec("cropdisease", FOLDER), _labels(35), {}
    for split in SPLITS:
        names = [f"leaf_{split}_{label}.JPG" for label in labels[split]]
        images = [encoded(picture(split, label, 256, 256)) for label in labels[split]]
        columns = {"filename": names[::-1], "image_bytes": images[::-1]}
        files[f"{split}.parquet"] = _parquet(columns)
        listing = {"data": [f"{split}/{name}" for name in names], "labels": labels[split]}
        files[f"{split}.json"] = json.dumps(listing).encode()
    site.repository("aimagelab-ta/cropdisease", files)
    return Made(spec, labels)


def _pickles(site: Site, name: str, grey: bool, side: int) -> Made:
    spec, labels, files = load_dataset_spec(name, FOLDER), _labels(6), {}
    for split in SPLITS:
        images = [picture(split, label, side, side) / 255 for label in labels[split]]
        stack = np.stack(images).astype(np.float32)
        stack = stack[..., 0] if grey else stack
        files[f"{split}_images.pkl"] = pickle.dumps(stack)
        files[f"{split}_labels.pkl"] = pickle.dumps(labels[split], protocol=2)
    site.repository(f"aimagelab-ta/{name}", files)
    return Made(spec, labels)


def isic(site: Site, patch: pytest.MonkeyPatch) -> Made:
    """RGB pickles of floats."""
    return _pickles(site, "isic", grey=False, side=224)


def chestx(site: Site, patch: pytest.MonkeyPatch) -> Made:
    """Grey pickles of floats."""
    return _pickles(site, "chestx", grey=True, side=150)


MAKERS = {
    "imagenet-r": imagenet_r,
    "cifar100": cifar100,
    "cars196": cars196,
    "cub200": cub200,
    "eurosat": eurosat,
    "eurosat-zenodo": eurosat_zenodo,
    "resisc45": resisc45,
    "cropdisease": cropdisease,
    "isic": isic,
    "chestx": chestx,
}
