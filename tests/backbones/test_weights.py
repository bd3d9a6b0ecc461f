"""Where weights come from: the folder first, then the hub, else one sentence."""

import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from starprompt.backbones.clip import load_clip
from starprompt.backbones.vit import load_vit
from starprompt.errors import UserError
from starprompt.files import sha256_file
from tests.helpers.small_backbones import VIT, save_clip, save_vit

VIT_TAG = "test_vit.r160_in1k"


def test_the_weights_folder_is_looked_into_first(small_clip: dict, folder: Path) -> None:
    save_clip(folder / "ViT-B-32.openai.safetensors")
    assert load_clip("ViT-B-32/openai").digest == sha256_file(
        folder / "ViT-B-32.openai.safetensors"
    )
    save_vit(folder / f"{VIT_TAG}.safetensors")
    assert load_vit(VIT_TAG).embed_dim == load_vit(VIT).embed_dim


def test_missing_weights_end_in_one_sentence(folder: Path) -> None:
    with pytest.raises(UserError) as clip:
        load_clip("ViT-L-14-quickgelu/openai")
    assert str(folder / "ViT-L-14-quickgelu.openai.safetensors") in str(clip.value)
    assert "open_clip_model.safetensors" in str(clip.value)
    with pytest.raises(UserError) as vit:
        load_vit("vit_base_patch16_224.augreg_in21k")
    assert str(folder / "vit_base_patch16_224.augreg_in21k.safetensors") in str(vit.value)
    assert "the hub is shut" in str(vit.value)


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the Hugging Face hub as a download asks for; counts what it was asked."""

    files: dict[str, bytes]
    asked: list[str]

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        self.asked.append(f"{self.command} {self.path}")
        content = self.files.get(self.path)
        if self.path == "/":
            content = b""
        self.send_response(200 if content is not None else 404)
        if content is None:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("ETag", '"abc"')
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        if body and content:
            self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[tuple[str, type[Hub]]]:
    handler = type("OneHub", (Hub,), {"files": {}, "asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    thread.join()
    server.server_close()


def python(code: str, tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``code`` in a process of its own: the hub's address is read when it is imported."""
    base = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    return subprocess.run(
        [sys.executable, "-c", code],
        env=base | {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


FETCH = f"""
from starprompt.backbones.names import Source
from starprompt.backbones.weights import resolve
from starprompt.errors import UserError
files = ("model.safetensors", "pytorch_model.bin")
try:
    print("found", resolve(Source("{VIT_TAG}", "vit", "{VIT}", "{VIT_TAG}",
                                  hub_id="timm/{VIT_TAG}", hub_files=files)))
except UserError as error:
    print("refused", error)
"""


@pytest.mark.parametrize("shut", [{"HF_ENDPOINT": "http://127.0.0.1:9"}, {"HF_HUB_OFFLINE": "1"}])
def test_an_unreachable_hub_is_given_up_without_retries(
    shut: dict[str, str], tmp_path: Path
) -> None:
    done = python(FETCH, tmp_path, STARPROMPT_WEIGHTS=str(tmp_path / "w"), **shut)
    assert done.stdout.startswith("refused"), done.stderr
    assert str(tmp_path / "w" / f"{VIT_TAG}.safetensors") in done.stdout
    assert len(done.stdout.strip().splitlines()) == 1
    assert done.stderr == "", "it retried or complained"


def test_weights_come_from_the_hub_and_then_from_its_cache(
    hub: tuple[str, type[Hub]], tmp_path: Path
) -> None:
    address, handler = hub
    save_vit(tmp_path / "file.safetensors")
    path = f"/timm/{VIT_TAG}/resolve/main/model.safetensors"
    handler.files[path] = (tmp_path / "file.safetensors").read_bytes()
    given = {"HF_ENDPOINT": address, "STARPROMPT_WEIGHTS": str(tmp_path / "w")}
    done = python(FETCH, tmp_path, **given)
    assert done.stdout.startswith("found"), done.stdout + done.stderr
    asked = len(handler.asked)
    assert any(line.startswith("GET") for line in handler.asked)
    load_and_copy = f"""
from timm.models.vision_transformer import VisionTransformer
from starprompt.backbones.cli import app
from starprompt.backbones.vit import load_vit
print("loaded", isinstance(load_vit("{VIT_TAG}"), VisionTransformer))
app(["download", "{VIT_TAG}"])
"""
    done = python(load_and_copy, tmp_path, **given)
    assert done.stdout.startswith("loaded True"), done.stdout + done.stderr
    assert len(handler.asked) == asked, "the cache was not enough"
    assert (tmp_path / "w" / f"{VIT_TAG}.safetensors").read_bytes() == handler.files[path]


def test_the_second_form_of_a_file_is_taken_where_the_first_is_missing(
    hub: tuple[str, type[Hub]], tmp_path: Path
) -> None:
    address, handler = hub
    given = {"HF_ENDPOINT": address, "STARPROMPT_WEIGHTS": str(tmp_path / "w")}
    assert "has no such file" in python(FETCH, tmp_path, **given).stdout
    handler.files[f"/timm/{VIT_TAG}/resolve/main/pytorch_model.bin"] = b"weights"
    done = python(FETCH, tmp_path, **given)
    assert done.stdout.strip().endswith("pytorch_model.bin"), done.stdout + done.stderr
