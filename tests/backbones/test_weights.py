"""Names, weights files and the hub: what loads, what is refused, and in which words."""

import http.server
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import open_clip
import pytest
import timm
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from starprompt.backbones import checkpoints, names, weights
from starprompt.backbones.cli import app
from starprompt.backbones.clip import load_clip
from starprompt.backbones.names import parse, parse_clip, parse_vit
from starprompt.backbones.preprocess import CLIP_STATISTICS
from starprompt.backbones.vit import load_vit, vit_digest, vit_normalisation
from starprompt.errors import UserError
from starprompt.files import sha256_file

# The smallest architecture of each library that is loaded as the full-size ones are.
VIT = "test_vit"
VIT_TAG = "test_vit.r160_in1k"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty weights folder, and a hub that cannot be reached."""
    monkeypatch.setenv("STARPROMPT_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(weights, "_in_hub_cache", lambda source: None)
    monkeypatch.setattr(weights, "_why_unreachable", lambda: "the hub is shut")
    return tmp_path


@pytest.fixture
def small_clip(monkeypatch: pytest.MonkeyPatch) -> dict:
    """ViT-B-32 shrunk in open_clip's own registry, with and without QuickGELU."""
    from open_clip import factory

    for name, quick in (("ViT-B-32", False), ("ViT-B-32-quickgelu", True)):
        config = {
            "embed_dim": 16,
            "quick_gelu": quick,
            "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
            "text_cfg": {
                "context_length": 77,
                "vocab_size": 49408,
                "width": 32,
                "heads": 2,
                "layers": 1,
            },
        }
        monkeypatch.setitem(factory._MODEL_CONFIGS, name, config)
    return config


def save_clip(path: Path) -> open_clip.CLIP:
    torch.manual_seed(7)
    model = open_clip.CLIP(**open_clip.get_model_config("ViT-B-32"))
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, path)
    return model


def save_vit(path: Path) -> torch.nn.Module:
    torch.manual_seed(7)
    model = timm.create_model(VIT, num_classes=5)
    save_file(model.state_dict(), path)
    return model.eval()


# --- names


def test_the_papers_pair_is_known() -> None:
    clip, vit = (parse(name) for name in names.PAPER_PAIR)
    assert (clip.kind, clip.hub_id) == ("clip", "timm/vit_large_patch14_clip_224.openai")
    assert clip.quick_gelu is True
    assert clip.statistics == (CLIP_STATISTICS.mean, CLIP_STATISTICS.std)
    assert (vit.kind, vit.hub_id) == ("vit", "timm/vit_base_patch16_224.augreg_in21k")
    assert vit.hub_files[0] == "model.safetensors"
    assert vit.statistics == ((0.5,) * 3, (0.5,) * 3)


def test_the_openai_tag_brings_quickgelu_whatever_the_models_name(small_clip: dict) -> None:
    from open_clip.transformer import QuickGELU

    plain = checkpoints.build_clip(parse_clip("ViT-B-32/openai"))
    assert any(isinstance(module, QuickGELU) for module in plain.modules())
    laion = checkpoints.build_clip(parse_clip("ViT-B-32/laion2b_s34b_b79k"))
    assert not any(isinstance(module, QuickGELU) for module in laion.modules())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ViT-L-41/openai", "did you mean .*'ViT-L-14'"),
        ("ViT-L-14/openia", "did you mean 'openai'"),
        ("ViT-L-14", "ViT-L-14/random"),
        ("ViT-L-14/random@file.pt", "choose one"),
        ("ViT-L-14@", "ends in '@'"),
        ("coca_ViT-B-32/x", "learned prompts"),
        ("ViT-B-16-SigLIP/webli", "learned prompts"),
    ],
)
def test_clip_names_that_are_refused(name: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        parse_clip(name)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("vit_base_patch16_224.augreg_in21", "did you mean 'vit_base_patch16_224.augreg_in21k'"),
        ("vit_bass_patch16_224", "did you mean 'vit_base_patch16_224"),
        ("vit_base_patch16_224/openai", "There is no ViT named"),
        ("resnet50", "not a plain vision transformer"),
        ("vit_huge_patch14_gap_224.in22k_ijepa", "No weights are published"),
    ],
)
def test_vit_names_that_are_refused(name: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        parse_vit(name)


def test_a_vit_that_does_not_read_its_class_token_is_refused() -> None:
    with pytest.raises(UserError, match="not a plain VisionTransformer"):
        load_vit("test_vit2/random")


# --- local files


def test_a_clip_from_a_local_file_is_that_file(small_clip: dict, tmp_path: Path) -> None:
    file = tmp_path / "mine.safetensors"
    theirs = save_clip(file)
    clip = load_clip(f"ViT-B-32@{file}")
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(clip.encode_normalised(images), theirs.encode_image(images))
    texts = ["a", "a photo of a keeshond"]
    tokens = open_clip.get_tokenizer("ViT-B-32")(texts)
    torch.testing.assert_close(
        clip.encode_texts(texts), theirs.encode_text(tokens), rtol=1e-5, atol=1e-5
    )
    assert clip.digest == sha256_file(file)
    assert clip.image_size == 32


def test_a_vit_from_a_local_file_is_that_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.safetensors"
    theirs = save_vit(file)
    vit = load_vit(f"{VIT}@{file}")
    images = torch.rand(2, 3, 160, 160)
    torch.testing.assert_close(
        vit(images), theirs.forward_head(theirs.forward_features(images), pre_logits=True)
    )
    assert vit_digest(f"{VIT}@{file}") == sha256_file(file)
    assert load_vit(f"{VIT}@{file}", num_classes=3)(images).shape == (2, 3)
    torch.save(theirs.state_dict(), tmp_path / "mine.pt")
    torch.testing.assert_close(load_vit(f"{VIT}@{tmp_path / 'mine.pt'}")(images), vit(images))


def test_the_weights_folder_is_looked_into_first(small_clip: dict, folder: Path) -> None:
    save_clip(folder / "ViT-B-32.openai.safetensors")
    assert load_clip("ViT-B-32/openai").digest == sha256_file(
        folder / "ViT-B-32.openai.safetensors"
    )
    save_vit(folder / f"{VIT_TAG}.safetensors")
    assert load_vit(VIT_TAG).embed_dim == load_vit(VIT).embed_dim


def test_openais_weights_without_quickgelu_are_refused(small_clip: dict, tmp_path: Path) -> None:
    file = tmp_path / "openai" / "ViT-B-32.safetensors"
    save_clip(file)
    with pytest.raises(UserError, match=f"write ViT-B-32-quickgelu@{file}"):
        load_clip(f"ViT-B-32@{file}")
    quick = load_clip(f"ViT-B-32-quickgelu@{file}")
    tagged = load_clip(f"ViT-B-32/openai@{file}")
    plain = load_clip(f"ViT-B-32/laion2b_s34b_b79k@{file}")
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(quick.encode_normalised(images), tagged.encode_normalised(images))
    assert not torch.equal(quick.encode_normalised(images), plain.encode_normalised(images))


def test_float16_values_under_a_name_without_quickgelu_are_remarked_on(
    small_clip: dict, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = save_clip(tmp_path / "full.safetensors")
    load_clip(f"ViT-B-32@{tmp_path / 'full.safetensors'}")
    assert "float16" not in caplog.text
    half = {name: tensor.half().contiguous() for name, tensor in model.state_dict().items()}
    save_file(half, tmp_path / "half.safetensors")
    load_clip(f"ViT-B-32@{tmp_path / 'half.safetensors'}")
    assert "write ViT-B-32-quickgelu" in caplog.text


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
def test_files_that_are_no_weights_are_refused(small_clip: dict, tmp_path: Path) -> None:
    vit_file = tmp_path / "vit.safetensors"
    save_vit(vit_file)
    clip_file = tmp_path / "clip.safetensors"
    save_clip(clip_file)
    torn = tmp_path / "torn.safetensors"
    torn.write_bytes(clip_file.read_bytes()[:1000])
    script = tmp_path / "script.pt"
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(script))
    code = tmp_path / "code.pt"
    torch.save({"state_dict": Path}, code)
    for name, words in [
        (f"ViT-B-32@{vit_file}", "does not hold readable weights of ViT-B-32"),
        (f"ViT-B-32@{torn}", "does not hold readable weights of ViT-B-32"),
        (f"ViT-B-32@{code}", "does not hold readable weights of ViT-B-32"),
        (f"ViT-B-32@{script}", "TorchScript"),
        (f"ViT-B-32@{tmp_path / 'none.pt'}", "is not there"),
        (f"ViT-B-32@{shutil.copy(torn, tmp_path / 'torn.ckpt')}", "none of the known endings"),
    ]:
        with pytest.raises(UserError, match=words):
            load_clip(name)
    for name, words in [
        (f"{VIT}@{clip_file}", f"does not hold readable weights of {VIT}"),
        (f"{VIT}@{torn}", f"does not hold readable weights of {VIT}"),
        (f"{VIT}@{script}", "TorchScript"),
    ]:
        with pytest.raises(UserError, match=words):
            load_vit(name)


def test_random_weights_are_equal_at_every_call_and_disturb_no_generator(small_clip: dict) -> None:
    torch.manual_seed(3)
    first = load_clip("ViT-B-32/random"), load_vit(f"{VIT}/random")
    drawn = torch.rand(1)
    second = load_clip("ViT-B-32/random"), load_vit(f"{VIT}/random")
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(1))
    assert first[0].digest == second[0].digest
    assert weights.state_digest(first[1]) == weights.state_digest(second[1])
    assert vit_digest(f"{VIT}/random") == weights.state_digest(second[1])
    with torch.no_grad():
        second[0].model.text_projection[0, 0] += 1
    assert weights.state_digest(second[0].model) != first[0].digest


def test_the_tiny_pair_loads_by_name() -> None:
    vit = load_vit("tiny", num_classes=4)
    view = vit_normalisation("tiny")(torch.rand(2, 3, 64, 64))
    assert vit(view).shape == (2, 4)
    assert not vit.training
    assert len(vit_digest("tiny")) == 64
    assert vit_normalisation(VIT_TAG)(torch.full((1, 3, 2, 2), 0.5)).abs().max() < 1e-6


# --- without a network, and with one


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


# --- the command line


def test_where_verify_and_download(folder: Path) -> None:
    run = CliRunner().invoke
    said = run(app, ["where", VIT_TAG, "tiny"]).output.replace("\n", "")
    assert "not here" in said
    assert "tiny-clip.safetensors" in said
    assert isinstance(run(app, ["verify", VIT_TAG]).exception, UserError)
    assert isinstance(run(app, ["download", VIT_TAG]).exception, UserError)
    assert isinstance(run(app, ["verify", f"{VIT}/random"]).exception, UserError)
    file = folder / f"{VIT_TAG}.safetensors"
    save_vit(file)
    assert str(file) in run(app, ["where", VIT_TAG]).output
    verified = run(app, ["verify", VIT_TAG, "tiny"])
    assert sha256_file(file) in verified.output
    assert verified.output.count("tiny:") == 2
    assert run(app, ["download", VIT_TAG]).exit_code == 0
    file.write_bytes(file.read_bytes()[:-100])
    assert isinstance(run(app, ["verify", VIT_TAG]).exception, UserError)


def test_the_command_line_imports_nothing_heavy() -> None:
    code = (
        "import sys, starprompt.backbones.cli; "
        "print(sorted({'torch', 'timm', 'open_clip', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
