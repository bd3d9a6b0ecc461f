"""Archives of runs: whole, verified, and refused in every way in which one can be wrong."""

import hashlib
import json
import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from starprompt.config.experiment import Config, Run
from starprompt.errors import UserError
from starprompt.files import SEAL, sealed
from starprompt.record.archive import MANIFEST, pack, same_run, unpack
from starprompt.record.run_files import LARGE_FILES, RECORD, RUN_FILES
from tests.helpers.whole_runs import write_whole_run

NAME = "small/digits/finetune/seed1993"
CONFIG = Config(name="small", title="s", datasets=["digits"], methods=["finetune"], seeds=[1993])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / NAME
    write_whole_run(CONFIG, Run("digits", "finetune", 1993), folder)
    return folder


@pytest.fixture
def archive(run: Path, tmp_path: Path) -> Path:
    pack({NAME: run}, tmp_path / "runs.zip", checkpoints=True)
    return tmp_path / "runs.zip"


@pytest.mark.parametrize("checkpoints", [True, False])
def test_what_is_packed_is_unpacked(run: Path, tmp_path: Path, checkpoints: bool) -> None:
    count = pack({NAME: run}, tmp_path / "a.zip", checkpoints)
    assert count == (5 if checkpoints else 3)
    found = unpack(tmp_path / "a.zip", tmp_path / "out")
    assert list(found) == [NAME]
    assert same_run(tmp_path / "out" / NAME, run)
    there = {file.name for file in (tmp_path / "out" / NAME).iterdir()}
    assert there == set(RUN_FILES) - (set() if checkpoints else set(LARGE_FILES))


def test_equal_runs_give_equal_bytes(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    pack({NAME: run}, tmp_path / "a.zip")
    pack({NAME: copy}, tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_a_damaged_run_is_not_packed(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    (copy / "predictions.parquet").write_bytes(b"no parquet")
    with pytest.raises(UserError, match=r"predictions\.parquet"):
        pack({NAME: copy}, tmp_path / "a.zip")
    assert not (tmp_path / "a.zip").exists()


def rewritten(archive: Path, edit: Callable[[dict[str, bytes]], object], fit: bool) -> None:
    """Edit members by name; with a manifest that says what the members now are."""
    with zipfile.ZipFile(archive) as packed:
        members = {name: packed.read(name) for name in packed.namelist()}
    edit(members)
    if fit:
        files = {
            name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in members.items()
            if name != MANIFEST
        }
        members[MANIFEST] = json.dumps(sealed({"schema_version": 1, "files": files})).encode()
    with zipfile.ZipFile(archive, "w") as packed:
        for name, data in members.items():
            packed.writestr(name, data)


def in_record(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, bytes]], None]:
    def edit(members: dict[str, bytes]) -> None:
        value = json.loads(members[f"{NAME}/{RECORD}"])
        del value[SEAL]
        change(value)
        members[f"{NAME}/{RECORD}"] = json.dumps(sealed(value)).encode()

    return edit


def in_manifest(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, bytes]], None]:
    def edit(members: dict[str, bytes]) -> None:
        value = json.loads(members[MANIFEST])
        del value[SEAL]
        change(value)
        members[MANIFEST] = json.dumps(sealed(value)).encode()

    return edit


def renamed(old: str, new: str) -> Callable[[dict[str, bytes]], None]:
    return lambda members: members.update({new: members.pop(old)})


@pytest.mark.parametrize(
    ("edit", "fit", "why"),
    [
        (lambda m: m.update({"../escape": b""}), True, "no file of a run"),
        (lambda m: m.update({"/etc/passwd": b""}), True, "no file of a run"),
        (lambda m: m.update({f"{NAME}/../../{RECORD}": b""}), True, "no file of a run"),
        (lambda m: m.update({f"{NAME}/notes.txt": b""}), True, "no file of a run"),
        (lambda m: m.update({f"{NAME}/": b""}), True, "no file of a run"),
        (renamed(f"{NAME}/{RECORD}", f"small/digits/finetune/seed01/{RECORD}"), True, "no file of"),
        (lambda m: m.pop(MANIFEST), False, "has no manifest"),
        (lambda m: m.pop(f"{NAME}/{RECORD}"), False, "in the manifest or the archive alone"),
        (lambda m: m.pop(f"{NAME}/{RECORD}"), True, "lacks record.json"),
        (lambda m: m.update({f"{NAME}/{RECORD}": b"{}"}), False, "another size"),
        (
            lambda m: m.update({f"{NAME}/{RECORD}": b" " * len(m[f"{NAME}/{RECORD}"])}),
            False,
            "is not the file that its manifest says",
        ),
        (lambda m: m.update({f"{NAME}/{RECORD}": b"{}"}), True, "record schema None"),
        (lambda m: m.update({MANIFEST: b"["}), False, "manifest.json is damaged"),
        (lambda m: m.update({MANIFEST: b"[" * 100_000}), False, "manifest.json is damaged"),
        (
            lambda m: m.update({MANIFEST: m[MANIFEST].replace(b'"size": ', b'"size": 1')}),
            False,
            "changed after it was written",
        ),
        (in_manifest(lambda v: v.update(schema_version=2)), False, "schema 2, this version"),
        (in_manifest(lambda v: v.update(more=1)), False, "is not valid: more"),
        (in_manifest(lambda v: v.update(files={})), False, "is not valid: files"),
        (
            in_manifest(lambda v: v["files"][f"{NAME}/{RECORD}"].update(size=-1)),
            False,
            "is not valid",
        ),
        (
            in_manifest(lambda v: v["files"][f"{NAME}/{RECORD}"].update(size=10**15)),
            False,
            "is not valid",
        ),
        (in_record(lambda r: r.update(schema_version=7)), True, "record schema 7"),
        (in_record(lambda r: r.update(config="other")), True, "of the experiment 'other'"),
        (in_record(lambda r: r["stream"].update(seed=7)), True, "in the folder of"),
        (in_record(lambda r: r["metrics"].update(forgetting=1e9)), True, "metrics.forgetting"),
        (in_record(lambda r: r["times"][0].update(train=float("nan"))), True, "times.0.train"),
        (
            in_record(
                lambda r: r["stream"].update(task_of_class=r["stream"]["task_of_class"][::-1])
            ),
            True,
            "labels of another task",
        ),
    ],
)
def test_what_contradicts_itself_is_refused_by_name(
    archive: Path,
    tmp_path: Path,
    edit: Callable[[dict[str, bytes]], object],
    fit: bool,
    why: str,
) -> None:
    rewritten(archive, edit, fit)
    with pytest.raises(UserError, match=why) as refused:
        unpack(archive, tmp_path / "out")
    assert "runs.zip" in str(refused.value)
    assert "Traceback" not in str(refused.value)
    assert not (tmp_path / "escape").exists()


@pytest.mark.parametrize("how", ["truncated", "empty", "text", "folder", "absent"])
def test_what_is_no_archive_is_refused(archive: Path, tmp_path: Path, how: str) -> None:
    data = archive.read_bytes()
    archive.unlink()
    if how == "folder":
        archive.mkdir()
    elif how != "absent":
        archive.write_bytes(
            {"truncated": data[: len(data) // 2], "empty": b"", "text": b"no zip"}[how]
        )
    with pytest.raises(UserError, match=r"runs\.zip"):
        unpack(archive, tmp_path / "out")


def test_links_and_doubles_are_refused(archive: Path, tmp_path: Path) -> None:
    link = zipfile.ZipInfo(f"{NAME}/record.json")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr(link, "/etc/passwd")
    with pytest.raises(UserError, match="no regular file"):
        unpack(archive, tmp_path / "out")
    with (
        pytest.warns(UserWarning, match="Duplicate"),
        zipfile.ZipFile(archive, "w") as packed,
    ):
        packed.writestr(f"{NAME}/{RECORD}", "{}")
        packed.writestr(f"{NAME}/{RECORD}", "{}")
    with pytest.raises(UserError, match="there twice"):
        unpack(archive, tmp_path / "out")


def test_a_flipped_byte_anywhere_is_no_traceback(archive: Path, tmp_path: Path) -> None:
    """Damage ends in a sentence, or the archive still unpacks to the very same files."""
    data = archive.read_bytes()
    for at in range(0, len(data), len(data) // 60):
        archive.write_bytes(data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :])
        out = tmp_path / f"out-{at}"
        try:
            assert list(unpack(archive, out)) == [NAME]
        except UserError as error:
            assert "runs.zip" in str(error)
