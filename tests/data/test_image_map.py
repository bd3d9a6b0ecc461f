"""Decoding into a map: kills, full disks and altered rows cost nothing that was done."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from starprompt.data import image_map as module
from starprompt.data.decode import CorruptImageError
from starprompt.data.image_map import CHUNK
from starprompt.data.prepare import prepare
from starprompt.data.steps import StoredShape
from starprompt.data.store import open_prepared
from starprompt.errors import UserError
from tests.helpers.own_images import SCRIPT, own_images, own_spec, start_preparing
from tests.helpers.small_stream import SPEC
from tests.helpers.source_makers import encoded, picture


def test_killed_at_any_moment_it_goes_on_and_ends_the_same(tmp_path):
    spec = own_spec(tmp_path, own_images(tmp_path / "images", per_class=500))
    whole = open_prepared(prepare(spec, tmp_path / "whole")).digest
    root = tmp_path / "killed"
    progress = root / "prepared" / ".mine.work" / "progress.json"
    done = 0
    for _ in range(3):
        process = start_preparing(tmp_path / "datasets", root)
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


def test_a_full_disk_is_one_sentence_and_costs_nothing_that_was_there(tmp_path, monkeypatch):
    def full(descriptor, offset, size):
        raise OSError(errno.ENOSPC, "No space left on device")

    spec = own_spec(tmp_path, own_images(tmp_path / "images"))
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
    own_spec(tmp_path, folder)
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
        raise OSError(getattr(errno, code), "no", str(tmp_path / "prepared" / "x"))

    spec = own_spec(tmp_path, own_images(tmp_path / "images"))
    with monkeypatch.context() as patch:
        patch.setattr("starprompt.data.image_map.open_memmap", refuse)
        with pytest.raises(UserError, match=r"could not be written"):
            prepare(spec, tmp_path)
    assert open_prepared(prepare(spec, tmp_path)).manifest["counts"]["train"] == 12


def test_rows_altered_between_two_attempts_are_decoded_again(tmp_path, monkeypatch):
    spec = own_spec(tmp_path, own_images(tmp_path / "images", per_class=100))
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


def test_a_preparation_that_was_killed_goes_on_where_it_was(digits, tmp_path, monkeypatch):
    root = tmp_path / "data"
    real, seen = module.to_stored, []

    def dies(image, steps):
        seen.append(1)
        if len(seen) == 700:
            raise KeyboardInterrupt
        return real(image, steps)

    monkeypatch.setattr(module, "to_stored", dies)
    with pytest.raises(KeyboardInterrupt):
        prepare(SPEC, root, workers=1)
    assert not (root / "prepared" / "digits").exists()
    seen.clear()
    monkeypatch.setattr(module, "to_stored", lambda *a: (seen.append(1), real(*a))[1])
    assert open_prepared(prepare(SPEC, root)).digest == digits.digest
    assert len(seen) < 1797 - 256


def failing_for(name: str, code: str):
    """A stand-in for ``Path.read_bytes`` that fails for files of one name, as a disk may."""
    real = Path.read_bytes

    def read_bytes(self: Path) -> bytes:
        if self.name == name:
            raise OSError(getattr(errno, code), os.strerror(getattr(errno, code)), str(self))
        return real(self)

    return read_bytes


@pytest.mark.parametrize("code", ["EACCES", "EIO", "ESTALE", "ENOENT"])
@pytest.mark.parametrize("skip_corrupt", [False, True])
@pytest.mark.parametrize("name", ["0000.jpg", "0077.jpg"])
def test_an_image_that_could_not_be_read_once_is_read_again(
    tmp_path, monkeypatch, code, skip_corrupt, name
):
    spec = own_spec(tmp_path, own_images(tmp_path / "images", per_class=100))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", failing_for(name, code))
        with pytest.raises(UserError, match=rf"{name} could not be read: .*{code_text(code)}"):
            prepare(spec, tmp_path, skip_corrupt=skip_corrupt)
    manifest = open_prepared(prepare(spec, tmp_path, skip_corrupt=skip_corrupt)).manifest
    assert sum(manifest["counts"].values()) == 400
    assert manifest["skipped"] == {"train": [], "test": []}


def code_text(code: str) -> str:
    return os.strerror(getattr(errno, code))


@pytest.mark.parametrize("stored", [True, False])
def test_rows_that_were_left_out_are_tried_again(tmp_path, monkeypatch, stored):
    """As earlier versions left them, which took any failed read for a damaged image."""
    folder = own_images(tmp_path / "images", per_class=100, sides=(40, 50))
    spec = own_spec(tmp_path, folder)
    if not stored:
        spec = spec.model_copy(update={"stored": StoredShape()})
    whole = open_prepared(prepare(spec, tmp_path / "whole")).digest
    real = module.decode
    seen = []

    def decode(raw, upright):
        seen.append(raw)
        if raw.name in ("0000.jpg", "0001.jpg", "0077.jpg"):
            raise CorruptImageError("Permission denied")
        return real(raw, upright)

    monkeypatch.setattr(module, "decode", decode)
    with pytest.raises(UserError, match="12 of its images cannot be decoded"):
        prepare(spec, tmp_path)
    progress = json.loads((tmp_path / "prepared/.mine.work/progress.json").read_text())
    assert sum(len(split["skipped"]) for split in progress["splits"].values()) == 12
    seen.clear()
    with pytest.raises(UserError, match="12 of its images cannot be decoded"):
        prepare(spec, tmp_path)
    assert len(seen) == 12
    monkeypatch.setattr(module, "decode", lambda raw, up: seen.append(raw) or real(raw, up))
    seen.clear()
    assert open_prepared(prepare(spec, tmp_path, skip_corrupt=True)).digest == whole
    assert len(seen) == 12


def test_where_every_row_was_left_out_the_stored_shape_is_looked_for_again(tmp_path, monkeypatch):
    spec = own_spec(tmp_path, own_images(tmp_path / "images", sides=(40, 50)))
    spec = spec.model_copy(update={"stored": StoredShape()})

    def decode(raw, upright):
        raise CorruptImageError("Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(module, "decode", decode)
        with pytest.raises(UserError, match="16 of its images cannot be decoded"):
            prepare(spec, tmp_path)
    assert open_prepared(prepare(spec, tmp_path)).manifest["counts"] == {"train": 12, "test": 4}
