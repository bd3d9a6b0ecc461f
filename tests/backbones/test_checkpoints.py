"""Weights files into models: the right file, the right activation, nothing foreign."""

import shutil
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from starprompt.backbones import checkpoints, weights
from starprompt.backbones.clip import load_clip
from starprompt.backbones.names import parse_clip
from starprompt.backbones.vit import load_vit, vit_digest
from starprompt.errors import UserError
from starprompt.files import sha256_file
from tests.helpers.small_backbones import VIT, save_clip, save_vit


def test_the_openai_tag_brings_quickgelu_whatever_the_models_name(small_clip: dict) -> None:
    from open_clip.transformer import QuickGELU

    plain = checkpoints.build_clip(parse_clip("ViT-B-32/openai"))
    assert any(isinstance(module, QuickGELU) for module in plain.modules())
    laion = checkpoints.build_clip(parse_clip("ViT-B-32/laion2b_s34b_b79k"))
    assert not any(isinstance(module, QuickGELU) for module in laion.modules())


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
