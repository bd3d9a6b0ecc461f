"""Decoding into a map: kills, full disks and altered rows cost nothing that was done."""

import errno
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from starprompt.data.image_map import CHUNK
from starprompt.data.prepare import prepare
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
        raise OSError(getattr(errno, code), "no", str(tmp_path / "x"))

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
    import starprompt.data.image_map as module

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
