"""Preparation: own folders, damaged and unusual images, kills, two at once, what it may cost."""

import errno
import io
import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from sklearn.datasets import load_sample_image
from torchvision.transforms import v2

from starprompt.data.decode import CorruptImageError, decode, to_stored
from starprompt.data.image_map import CHUNK
from starprompt.data.prepare import prepare
from starprompt.data.registry import load_dataset_spec
from starprompt.data.steps import CenterCrop, Resize
from starprompt.data.store import open_prepared
from starprompt.data.stream import TaskStream
from starprompt.errors import UserError
from tests.helpers.paths import REPOSITORY
from tests.helpers.source_makers import colour, encoded, picture

MINE = """
name: mine
title: My images
tasks: 2
image_size: 24
sources:
  - format: {kind: image-folder, folder: FOLDER, test_share: 0.25}
stored:
  train: [{step: resize, size: [32, 32]}]
  test: [{step: resize, size: [32, 32]}]
train_transform:
  - {step: random_resized_crop, size: 24}
test_transform:
  - {step: resize, size: 24}
"""


def _mine(tmp_path: Path, folder: Path, **changes):
    value = yaml.safe_load(MINE.replace("FOLDER", str(folder)))
    value["sources"][0]["format"] |= changes
    value["sources"][0]["format"] = {
        k: v for k, v in value["sources"][0]["format"].items() if v is not None
    }
    described = tmp_path / "datasets"
    described.mkdir(exist_ok=True)
    (described / "mine.yaml").write_text(yaml.safe_dump(value))
    return load_dataset_spec("mine", described)


def _images(folder: Path, per_class: int = 4, classes: int = 4, split: str = "train") -> Path:
    for label in range(classes):
        place = folder / f"class_{label}"
        place.mkdir(parents=True)
        for i in range(per_class):
            pixels = picture(split, label, 40 + i, 50)
            (place / f"{i:04}.jpg").write_bytes(encoded(pixels))
    return folder


def test_one_folder_with_a_test_share_becomes_a_stream(tmp_path):
    spec = _mine(tmp_path, _images(tmp_path / "images"))
    prepared = open_prepared(prepare(spec, tmp_path))
    assert prepared.class_names == ("class 0", "class 1", "class 2", "class 3")
    assert prepared.manifest["counts_per_class"] == {"train": [3] * 4, "test": [1] * 4}
    assert prepared.train.sizes[:, 1].tolist() == [50] * 12
    for image, label in zip(prepared.train.images, prepared.train.labels, strict=True):
        assert np.abs(image.mean((1, 2)) - colour("train", label)).max() < 4
    stream = TaskStream(prepared, spec, 1993)
    assert stream.info.task_ends == (2, 4)
    assert next(stream[1].train.batches(9, augment=True)).images.shape == (6, 3, 24, 24)


def test_the_documented_description_of_own_images_works(tmp_path):
    text = (REPOSITORY / "docs" / "data.md").read_text(encoding="utf-8")
    described = text.split("```yaml\n")[1].split("```")[0]
    folder = _images(tmp_path / "images")
    (tmp_path / "mine.yaml").write_text(described.replace("/home/me/images", str(folder)))
    spec = load_dataset_spec("mine", tmp_path)
    stream = TaskStream(open_prepared(prepare(spec, tmp_path)), spec, 1997)
    assert [len(task.train) for task in stream] == [6, 6]
    batch = next(stream[1].train.batches(4, augment=True))
    assert batch.images.shape == (4, 3, 224, 224)
    assert next(stream[0].test.batches(4)).images.shape == (2, 3, 224, 224)


def test_train_and_test_folders_and_a_file_of_names(tmp_path):
    folder = tmp_path / "images"
    _images(folder / "train", 2)
    _images(folder / "test", 1, split="test")
    (folder / "names.txt").write_text("ant\nbee\ncow\ndog\n")
    spec = _mine(tmp_path, folder, test_share=None, class_names="names.txt")
    prepared = open_prepared(prepare(spec, tmp_path))
    assert prepared.class_names == ("ant", "bee", "cow", "dog")
    assert prepared.test.labels.tolist() == [0, 1, 2, 3]
    assert np.abs(prepared.test.images[2].mean((1, 2)) - colour("test", 2)).max() < 4


def test_a_changed_folder_is_prepared_again_and_an_absent_one_is_not_missed(tmp_path):
    folder = _images(tmp_path / "images")
    spec = _mine(tmp_path, folder)
    first = open_prepared(prepare(spec, tmp_path)).digest
    assert open_prepared(prepare(spec, tmp_path)).digest == first
    (folder / "class_0" / "new.png").write_bytes(encoded(picture("test", 9, 30, 30), "PNG"))
    second = open_prepared(prepare(spec, tmp_path))
    assert second.digest != first
    assert sum(second.manifest["counts"].values()) == 17
    folder.rename(tmp_path / "away")
    assert open_prepared(prepare(spec, tmp_path)).digest == second.digest


def test_mistakes_in_an_own_folder_are_one_sentence(tmp_path):
    with pytest.raises(UserError, match="no folder of images at"):
        prepare(_mine(tmp_path, tmp_path / "none"), tmp_path)
    folder = tmp_path / "images"
    folder.mkdir()
    with pytest.raises(UserError, match="has no class folders"):
        prepare(_mine(tmp_path, folder), tmp_path)
    _images(folder)
    with pytest.raises(UserError, match="no train and test folders"):
        prepare(_mine(tmp_path, folder, test_share=None), tmp_path)
    (folder / "names.txt").write_text("one\n")
    with pytest.raises(UserError, match="1 names for 4 class folders"):
        prepare(_mine(tmp_path, folder, class_names="names.txt"), tmp_path)
    spec = _mine(tmp_path, folder).model_copy(update={"classes": 5})
    with pytest.raises(UserError, match=r"description means 5 classes, .* has 4"):
        prepare(spec, tmp_path)
    unstored = _mine(tmp_path, folder)
    unstored = unstored.model_copy(update={"stored": type(unstored.stored)()})
    with pytest.raises(UserError, match="give the data set a `stored` size"):
        prepare(unstored, tmp_path)


@pytest.mark.parametrize("damage", ["cut", "empty", "text"])
def test_a_corrupt_image_is_named_and_left_out_on_request(tmp_path, damage):
    folder = _images(tmp_path / "images")
    bad = folder / "class_1" / "0002.jpg"
    data = bad.read_bytes()
    bad.write_bytes({"cut": data[: len(data) // 2], "empty": b"", "text": b"<html>"}[damage])
    spec = _mine(tmp_path, folder)
    with pytest.raises(UserError, match=r"class_1/0002\.jpg.*--skip-corrupt"):
        prepare(spec, tmp_path)
    assert not (tmp_path / "prepared" / "mine").exists()
    prepared = open_prepared(prepare(spec, tmp_path, skip_corrupt=True))
    assert sum(prepared.manifest["counts"].values()) == 15
    skipped = prepared.manifest["skipped"]["train"] + prepared.manifest["skipped"]["test"]
    assert len(skipped) == 1
    assert "class_1/0002.jpg" in skipped[0]
    for split in (prepared.train, prepared.test):
        assert len(split.images) == len(split.labels) == len(split.sizes)
        for image, label in zip(split.images, split.labels, strict=True):
            assert np.abs(image.mean((1, 2)) - colour("train", label)).max() < 4


def _file(image: Image.Image, form: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=form)
    return buffer.getvalue()


def test_every_kind_of_image_comes_out_as_8_bit_rgb():
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    rgb = np.stack([ramp, ramp[::-1], ramp.T], -1)
    grey = np.stack([ramp] * 3, -1)
    colours = Image.fromarray(rgb)
    alpha = Image.fromarray(np.dstack([rgb, np.full_like(ramp, 128)]))
    deep = Image.fromarray(ramp.astype(np.uint16) * 257)
    palette = Image.fromarray(ramp).convert("P")
    black_and_white = Image.fromarray(ramp).point(lambda v: 255 * (v > 127)).convert("1")
    cases = {
        "rgb": (_file(colours, "PNG"), rgb),
        "grey": (_file(Image.fromarray(ramp), "PNG"), grey),
        "alpha": (_file(alpha, "PNG"), rgb),
        "16 bit": (_file(deep, "PNG"), grey),
        "16 bit tiff": (_file(deep, "TIFF"), grey),
        "32 bit": (_file(Image.fromarray(ramp.astype(np.int32) * 257), "TIFF"), grey),
        "palette": (_file(palette, "PNG"), grey),
        "1 bit": (_file(black_and_white, "PNG"), 255 * (grey > 127)),
        "float array": (ramp / 255 + 1e-6, grey),
        "rgb float array": ((rgb / 255 + 1e-6).astype(np.float32), rgb),
    }
    for name, (raw, expected) in cases.items():
        pixels = decode(raw)
        assert pixels.dtype == np.uint8, name
        np.testing.assert_array_equal(pixels, expected, err_msg=name)
    cmyk = decode(_file(colours.convert("CMYK"), "TIFF"))
    np.testing.assert_array_equal(cmyk, rgb)
    with pytest.raises(CorruptImageError, match="no numbers"):
        decode(np.full((2, 2), np.nan))
    with pytest.raises(CorruptImageError, match="floating-point numbers of no stated range"):
        decode(_file(Image.fromarray(ramp.astype(np.float32)), "TIFF"))
    with pytest.raises(CorruptImageError, match="int64"):
        decode(np.zeros((2, 2), np.int64))
    with pytest.raises(CorruptImageError, match="missing"):
        decode(Path("nowhere.png"))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 30}, {"restart": 1}])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("shape", [(201, 333), (16, 16), (1, 7)])
def test_jpegs_have_the_pixels_that_pil_gives_them(mode, options, subsampling, shape):
    photo = Image.fromarray(load_sample_image("flower.jpg")[: shape[0], : shape[1]]).convert(mode)
    written = {"restart_marker_rows": options["restart"]} if "restart" in options else options
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", subsampling=subsampling, **written)
    with Image.open(buffer) as image:
        expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(decode(buffer.getvalue()), expected)


def test_what_pil_forgives_in_a_jpeg_is_forgiven_and_what_it_refuses_is_refused(tmp_path):
    data = _file(Image.fromarray(load_sample_image("flower.jpg")[:64, :64]), "JPEG")
    whole = decode(data)
    np.testing.assert_array_equal(decode(data + b"trailing bytes"), whole)
    for cut in (3, len(data) // 2, len(data) - 40):
        with pytest.raises(CorruptImageError):
            decode(data[:cut])
    path = tmp_path / "flower.jpg"
    path.write_bytes(data)
    np.testing.assert_array_equal(decode(path), whole)


@pytest.mark.parametrize("shape", [(300, 401), (257, 255), (100, 340)])
def test_the_stored_size_is_torchvisions(shape):
    """Of tensors exactly; of PIL images a grey level here and there."""
    photo = load_sample_image("china.jpg")[: shape[0], : shape[1]]
    steps = [Resize(step="resize", size=64), CenterCrop(step="center_crop", size=57)]
    bicubic = v2.InterpolationMode.BICUBIC
    transform = v2.Compose([v2.Resize(64, bicubic), v2.CenterCrop(57)])
    ours, shown = to_stored(photo.copy(), steps)
    tensor = torch.from_numpy(photo.copy()).permute(2, 0, 1)
    np.testing.assert_array_equal(ours, transform(tensor).numpy())
    of_pil = np.asarray(transform(Image.fromarray(photo))).astype(int)
    difference = np.abs(ours.transpose(1, 2, 0) - of_pil)
    assert difference.max() <= 2
    assert (difference > 1).mean() < 1e-3
    assert shown == pytest.approx((min(shape) * 57 / 64,) * 2, abs=2)


SCRIPT = """
import sys
from pathlib import Path
from starprompt.data.prepare import prepare
from starprompt.data.registry import load_dataset_spec
prepare(load_dataset_spec("mine", Path(sys.argv[1])), Path(sys.argv[2]), workers=1)
"""


def _start(described: Path, root: Path) -> subprocess.Popen:
    command = [sys.executable, "-c", SCRIPT, str(described), str(root)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def test_killed_at_any_moment_it_goes_on_and_ends_the_same(tmp_path):
    spec = _mine(tmp_path, _images(tmp_path / "images", per_class=500))
    whole = open_prepared(prepare(spec, tmp_path / "whole")).digest
    root = tmp_path / "killed"
    progress = root / "prepared" / ".mine.work" / "progress.json"
    done = 0
    for _ in range(3):
        process = _start(tmp_path / "datasets", root)
        while process.poll() is None:
            try:
                state = json.loads(progress.read_text())["splits"]["train"]["done"]
            except (OSError, KeyError):
                continue
            if state > done:
                done = state
                break
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert done >= 2 * CHUNK
    assert not (root / "prepared" / "mine").exists()
    assert open_prepared(prepare(spec, root)).digest == whole


def test_two_at_once_wait_for_each_other(tmp_path):
    spec = _mine(tmp_path, _images(tmp_path / "images", per_class=60))
    root = tmp_path / "data"
    processes = [_start(tmp_path / "datasets", root) for _ in range(2)]
    other = threading.Thread(target=prepare, args=(spec, root))
    other.start()
    errors = [process.communicate(timeout=120)[1] for process in processes]
    other.join()
    assert [process.returncode for process in processes] == [0, 0], errors
    assert sum(open_prepared(root / "prepared" / "mine").manifest["counts"].values()) == 240


def test_a_full_disk_is_one_sentence_and_costs_nothing_that_was_there(tmp_path, monkeypatch):
    def full(descriptor, offset, size):
        raise OSError(errno.ENOSPC, "No space left on device")

    spec = _mine(tmp_path, _images(tmp_path / "images"))
    with monkeypatch.context() as patch:
        patch.setattr("os.posix_fallocate", full, raising=False)
        with pytest.raises(UserError, match=r"disk is full: .* needs .* GB"):
            prepare(spec, tmp_path)
    assert open_prepared(prepare(spec, tmp_path)).manifest["counts"]["train"] == 12


def test_memory_stays_bounded_whatever_the_folders_size(tmp_path):
    """Peak of a process that prepares 400 images of 4 MB each, decoded."""
    folder = tmp_path / "images"
    data = encoded(picture("train", 0, 1000, 1400))
    for label in range(2):
        (folder / f"c{label}").mkdir(parents=True)
        for i in range(200):
            (folder / f"c{label}" / f"{i}.jpg").write_bytes(data)
    _mine(tmp_path, folder)
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("no /proc here to read the peak from")
    code = SCRIPT + "print(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])"
    command = [sys.executable, "-c", code, str(tmp_path / "datasets"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 900_000  # kilobytes, torch's 400 among them; all at once are 1.7 GB


@pytest.mark.parametrize("code", ["EROFS", "EIO", "EACCES", "ENOSPC"])
def test_a_place_that_stops_taking_what_is_written_ends_in_a_sentence(tmp_path, monkeypatch, code):
    def refuse(*args, **kwargs):
        raise OSError(getattr(errno, code), "no", str(tmp_path / "x"))

    spec = _mine(tmp_path, _images(tmp_path / "images"))
    with monkeypatch.context() as patch:
        patch.setattr("starprompt.data.image_map.open_memmap", refuse)
        with pytest.raises(UserError, match=r"could not be written"):
            prepare(spec, tmp_path)
    assert open_prepared(prepare(spec, tmp_path)).manifest["counts"]["train"] == 12


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"identity": 1, "splits": []}', "[[[", "null"])
@pytest.mark.parametrize("name", [".mine.work/progress.json", "counts.json"])
def test_damaged_notes_of_a_preparation_are_written_anew(tmp_path, name, text):
    note = tmp_path / "prepared" / name
    note.parent.mkdir(parents=True)
    note.write_text(text)
    spec = _mine(tmp_path, _images(tmp_path / "images"))
    assert open_prepared(prepare(spec, tmp_path)).manifest["counts"]["train"] == 12


@pytest.mark.parametrize("name", ["mine", ".mine.work", ".mine.lock", "."])
def test_a_file_where_a_folder_should_be_and_the_reverse_are_one_sentence(tmp_path, name):
    spec = _mine(tmp_path, _images(tmp_path / "images"))
    place = tmp_path / "prepared" / name
    place.parent.mkdir(exist_ok=True)
    if name == ".mine.lock":
        place.mkdir()
    elif name == ".":
        (tmp_path / "prepared").rmdir() if (tmp_path / "prepared").is_dir() else None
        (tmp_path / "prepared").touch()
    else:
        place.touch()
    with pytest.raises(UserError, match="prepared"):
        prepare(spec, tmp_path)


def test_rows_altered_between_two_attempts_are_decoded_again(tmp_path, monkeypatch):
    spec = _mine(tmp_path, _images(tmp_path / "images", per_class=100))
    whole = open_prepared(prepare(spec, tmp_path / "whole")).digest
    monkeypatch.setattr("starprompt.data.prepare.finish_split", lambda *a: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        prepare(spec, tmp_path / "cut")
    monkeypatch.undo()
    images = tmp_path / "cut" / "prepared" / ".mine.work" / "train_images.npy"
    with images.open("r+b") as file:
        file.seek(-1000, 2)
        file.write(b"\x07" * 500)
    assert open_prepared(prepare(spec, tmp_path / "cut")).digest == whole
