"""Which backbones a run can use: every row of docs/backbones.md, tried with random weights."""

import re
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from starprompt.backbones.blocks import Residual
from starprompt.backbones.fits import check_clip, check_vit
from starprompt.backbones.prompted_vit import PromptedViT
from starprompt.backbones.vit import built_for, load_vit, vit_digest
from starprompt.errors import UserError
from tests.helpers.paths import REPOSITORY

PAGE = (REPOSITORY / "docs" / "backbones.md").read_text(encoding="utf-8")


def rows(title: str) -> list[list[str]]:
    """The cells of the first table under a heading."""
    section = PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]


TAKEN, REFUSED = rows("What can be prompted"), rows("What is refused")


@pytest.mark.parametrize("row", TAKEN, ids=lambda row: row[0])
def test_what_the_page_takes_is_prompted(row: list[str], tmp_path: Path) -> None:
    """Its small variant, with random weights, also from a file, for a view of another size."""
    name, tag, patch, own, tokens = row[1], row[2], int(row[3]), int(row[4]), int(row[5])
    assert timm.models.get_pretrained_cfg(name).tag == tag
    size = 4 * patch
    vit = load_vit(f"{name}/random", image_size=size)
    assert vit.patch_embed.patch_size == (patch, patch)
    assert vit.num_prefix_tokens == tokens
    assert built_for(name, own) == {} and built_for(name, size) == {"image_size": str(size)}
    torch.manual_seed(0)
    images = torch.randn(2, 3, size, size)
    prompted = PromptedViT(vit)
    with torch.no_grad():
        plain = vit(images)
        torch.testing.assert_close(prompted(images), plain, rtol=1e-4, atol=1e-5)
        residuals = [Residual(torch.randn(2, vit.embed_dim)) for _ in range(prompted.depth)]
        assert not torch.allclose(prompted(images, residuals), plain, atol=1e-3)
    # a released file, of the size that the weights were trained on
    whole = timm.create_model(name, pretrained=False, num_classes=0)
    file = tmp_path / "weights.safetensors"
    save_file({key: value.contiguous() for key, value in whole.state_dict().items()}, file)
    loaded = load_vit(f"{name}@{file}", image_size=size)
    ours, theirs = loaded.state_dict(), whole.state_dict()
    assert torch.equal(ours["blocks.0.attn.qkv.weight"], theirs["blocks.0.attn.qkv.weight"])
    patches = (size // patch) ** 2
    assert ours["pos_embed"].shape[1] - patches in (0, tokens)
    assert loaded(images).isfinite().all()


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row[0])
def test_what_the_page_refuses_is_refused(row: list[str]) -> None:
    with pytest.raises(UserError, match=re.escape(row[2])):
        check_vit(f"{row[1]}/random", 224)


def test_deit_iii_s_own_names_of_layer_scales_are_read(tmp_path: Path) -> None:
    whole = timm.create_model("deit3_small_patch16_224", pretrained=False, num_classes=0)
    state = {re.sub(r"ls(\d)\.gamma", r"gamma_\1", k): v for k, v in whole.state_dict().items()}
    assert "blocks.0.gamma_1" in state
    state["blocks.0.gamma_1"] = torch.full_like(state["blocks.0.gamma_1"], 0.5)
    torch.save({"model": state}, tmp_path / "deit.pth")
    loaded = load_vit(f"deit3_small_patch16_224@{tmp_path / 'deit.pth'}")
    assert torch.equal(loaded.blocks[0].ls1.gamma, torch.full((384,), 0.5))


def test_a_bare_name_is_said_in_full(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STARPROMPT_WEIGHTS", str(tmp_path))
    notes = check_vit("vit_base_patch16_224", 224)
    assert notes[0] == (
        "vit: vit_base_patch16_224 means vit_base_patch16_224.augreg2_in21k_ft_in1k; the paper's "
        "weights are vit_base_patch16_224.augreg_in21k"
    )
    assert "a run fetches them from https://huggingface.co/timm/vit_base_patch16_224" in notes[1]
    exact = check_vit("vit_base_patch16_224.augreg_in21k", 224)
    assert len(exact) == 1 and exact[0].startswith(
        "vit: the weights of vit_base_patch16_224.augreg"
    )
    assert any("trained on 384 pixels" in note for note in check_vit("vit_small_patch16_384", 224))
    assert check_vit("tiny", 64) == [] and check_clip("tiny") == []


@pytest.mark.parametrize(
    ("name", "size", "says"),
    [
        ("tiny", 224, "tiny ViT reads views of 64 pixels"),
        ("vit_small_patch14_dinov2/random", 256, "cannot be cut into the patches of 14"),
        ("vit_tiny_patch16_224@/no/such/file.bin", 224, "file.bin is not there"),
        ("vit_tinny_patch16_224", 224, "did you mean"),
    ],
)
def test_what_a_run_would_refuse_is_refused(name: str, size: int, says: str) -> None:
    with pytest.raises(UserError, match=says):
        check_vit(name, size)


def test_texts_that_clip_cannot_read_are_refused() -> None:
    for name, length in (("tiny", 200), ("ViT-B-32/random", 400)):
        assert check_clip(name, ["a photo of a cat."]) == []
        with pytest.raises(
            UserError, match=r"longer than the \d+ tokens|characters, but the tiny CLIP"
        ):
            check_clip(name, ["a photo of a cat.", "word " * length])


def test_a_random_vit_s_digest_is_that_of_the_size_it_is_built_for() -> None:
    digests = {vit_digest("vit_tiny_patch16_224/random", size) for size in (None, 224, 64)}
    assert len(digests) == 2
