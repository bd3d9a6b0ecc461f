"""Faults of the network: after each, a file is whole, or there is one sentence and no half file."""

import hashlib
import os
import subprocess
import sys

import pytest
from huggingface_hub import constants

import starprompt.data.download as module
from starprompt.data.download import download, raw_folder
from starprompt.data.prepare import prepare
from starprompt.data.registry import DatasetSpec
from starprompt.errors import UserError
from tests.helpers.loopback import serving

DATA = os.urandom(300_000)


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setattr(module, "STALL_SECONDS", 1.0)
    monkeypatch.setattr(module, "RETRIES", 2)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 1)
    with serving() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        running.files["/one.bin"] = DATA
        running.repository("some/where", {"one.bin": DATA})
        yield running


def _spec(*fetches: dict) -> DatasetSpec:
    sources = [{"fetch": [fetch], "format": {"kind": "pickled-arrays"}} for fetch in fetches]
    values = {"name": "thing", "title": "Thing", "tasks": 1, "sources": sources}
    return DatasetSpec.model_validate(values)


def _url(site, known: str | None = "right") -> dict:
    sha256 = {"right": hashlib.sha256(DATA).hexdigest(), "wrong": "0" * 64, None: None}[known]
    return {"kind": "url", "url": f"{site.url}/one.bin", "file": "one.bin", "sha256": sha256}


HUB = {"kind": "hub", "repository": "some/where", "files": ["one.bin"]}
HUB_PATH = f"/datasets/some/where/resolve/{'0123456789abcdef0123456789abcdef01234567'}/one.bin"


def _nothing_but_hidden(folder) -> bool:
    """No file under a final name: what begins with a dot, or lies in such a folder, is none."""
    return not module.find_files(folder, "*")


@pytest.mark.parametrize(
    "faults", [["half"], ["garbled"], [500, 500], ["stall"], ["to:/elsewhere.bin"], [503]]
)
def test_an_address_is_tried_again_until_the_file_is_whole(site, tmp_path, faults):
    site.files["/elsewhere.bin"] = DATA
    site.faults["/one.bin"] = list(faults)
    site.stall_seconds = 3.0
    download(_spec(_url(site)), tmp_path)
    assert (raw_folder(tmp_path, "thing") / "one.bin").read_bytes() == DATA


@pytest.mark.parametrize("known", ["right", None])
@pytest.mark.parametrize("faults", [["half"] * 9, [404] * 9, [500] * 9])
def test_an_address_that_never_works_leaves_no_half_file(site, tmp_path, faults, known):
    site.faults["/one.bin"] = list(faults)
    with pytest.raises(UserError, match=r"one\.bin into .*raw/thing by hand") as caught:
        download(_spec(_url(site, known)), tmp_path)
    assert "\n" not in str(caught.value)
    assert _nothing_but_hidden(raw_folder(tmp_path, "thing"))


def test_a_wrong_checksum_leaves_no_file(site, tmp_path):
    with pytest.raises(UserError, match="hash"):
        download(_spec(_url(site, "wrong")), tmp_path)
    assert _nothing_but_hidden(raw_folder(tmp_path, "thing"))


def test_a_file_put_there_by_hand_must_have_the_published_checksum(site, tmp_path):
    folder = raw_folder(tmp_path, "thing")
    folder.mkdir(parents=True)
    (folder / "one.bin").write_bytes(DATA[:-1])
    with pytest.raises(UserError, match="does not have the published checksum"):
        download(_spec(_url(site)), tmp_path)
    (folder / "one.bin").write_bytes(DATA)
    download(_spec(_url(site)), tmp_path)
    assert site.requests == []


@pytest.mark.parametrize("faults", [["half"], [500, 500], ["stall"], [503]])
def test_a_hub_is_tried_again_until_the_file_is_whole(site, tmp_path, faults):
    site.faults[HUB_PATH] = list(faults)
    site.stall_seconds = 3.0
    download(_spec(HUB), tmp_path)
    assert (raw_folder(tmp_path, "thing") / "one.bin").read_bytes() == DATA


@pytest.mark.parametrize("faults", [["garbled"], [404] * 9, [500] * 30, ["half"] * 60])
def test_a_hub_that_never_works_leaves_no_half_file(site, tmp_path, faults):
    site.faults[HUB_PATH] = list(faults)
    with pytest.raises(UserError, match=r"some/where@main.*one\.bin into .*raw/thing by hand"):
        download(_spec(HUB), tmp_path)
    assert _nothing_but_hidden(raw_folder(tmp_path, "thing"))


def test_the_second_source_serves_where_the_first_does_not(site, tmp_path):
    site.faults[HUB_PATH] = [404] * 9
    download(_spec(HUB, _url(site)), tmp_path)
    assert (raw_folder(tmp_path, "thing") / "one.bin").read_bytes() == DATA


def test_a_repository_without_the_file_is_named(site, tmp_path):
    with pytest.raises(UserError, match=r"some/where has no file two\.bin"):
        download(_spec(HUB | {"files": ["two.bin"]}), tmp_path)


@pytest.mark.parametrize(
    "name", ["../../out.bin", "/tmp/out.bin", "a/../../out.bin", ".hidden.bin"]
)
def test_a_name_that_a_hub_gives_stays_below_the_raw_folder(site, tmp_path, name):
    site.repository("some/evil", {name: DATA})
    spec = _spec(HUB | {"repository": "some/evil", "files": ["*.bin"]})
    with pytest.raises(UserError, match=r"lists a file with the name .* nothing was downloaded"):
        download(spec, tmp_path / "root")
    assert not list(tmp_path.rglob("*.bin"))


def test_a_link_in_the_raw_folder_is_never_written_through(site, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "one.bin").write_bytes(b"mine")
    folder = raw_folder(tmp_path / "root", "thing")
    folder.mkdir(parents=True)
    (folder / "sub").symlink_to(outside)
    site.repository("some/evil", {"sub/one.bin": DATA})
    spec = _spec(HUB | {"repository": "some/evil", "files": ["sub/one.bin"]})
    with pytest.raises(UserError, match="leads out of"):
        download(spec, tmp_path / "root")
    (folder / "one.bin").symlink_to(outside / "one.bin")
    with pytest.raises(UserError, match="leads out of"):
        download(_spec(_url(site)), tmp_path / "root")
    assert (outside / "one.bin").read_bytes() == b"mine"


def test_with_no_network_the_message_says_what_to_put_where(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"put one\.bin into .*thing by hand \(`starprompt data"):
        prepare(_spec(HUB), tmp_path)


def test_a_process_killed_while_it_fetches_leaves_no_half_file(tmp_path):
    with serving() as site:
        site.files["/one.bin"] = DATA
        site.faults["/one.bin"] = ["stall"]
        site.stall_seconds = 30.0
        spec = _spec(_url(site)).model_dump_json()
        code = (
            "import sys; from pathlib import Path\n"
            "from starprompt.data.download import download\n"
            "from starprompt.data.registry import DatasetSpec\n"
            "download(DatasetSpec.model_validate_json(sys.argv[1]), Path(sys.argv[2]))\n"
        )
        process = subprocess.Popen([sys.executable, "-c", code, spec, str(tmp_path)])
        try:
            for _ in range(300):
                if any(request.startswith("GET") for request in site.requests):
                    break
                with pytest.raises(subprocess.TimeoutExpired):
                    process.wait(0.1)
        finally:
            process.kill()
            process.wait()
        assert not (raw_folder(tmp_path, "thing") / "one.bin").exists()
        download(_spec(_url(site)), tmp_path)
        assert (raw_folder(tmp_path, "thing") / "one.bin").read_bytes() == DATA
