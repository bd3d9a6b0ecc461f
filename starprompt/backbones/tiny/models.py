"""The two networks of the tiny pair, and their weights.

Both take float images (B, 3, 64, 64) that were normalised with ``NORMALISATION``.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save
from torch import nn

from starprompt.backbones.tiny.glyphs import IMAGE_SIZE
from starprompt.backbones.tiny.tokenizer import CharacterTokenizer
from starprompt.errors import UserError
from starprompt.files import sha256_file

if TYPE_CHECKING:
    from open_clip.model import CLIP
    from timm.models.vision_transformer import VisionTransformer

FOLDER = Path(__file__).parent
WEIGHTS = {"clip": FOLDER / "tiny-clip.safetensors", "vit": FOLDER / "tiny-vit.safetensors"}
CARD = FOLDER / "card.json"

#: Mean and standard deviation per channel that both networks expect their images divided by.
MEAN = (0.3, 0.3, 0.3)
STD = (0.35, 0.35, 0.35)
NORMALISATION = {"clip": (MEAN, STD), "vit": (MEAN, STD)}


def tiny_clip_config() -> dict[str, Any]:
    """The tiny CLIP as open_clip describes a model: the arguments of ``open_clip.model.CLIP``."""
    tokenizer = CharacterTokenizer()
    return {
        "embed_dim": 128,
        "vision_cfg": {"image_size": IMAGE_SIZE, "layers": [1, 1, 1, 1], "width": 8},
        "text_cfg": {
            "context_length": tokenizer.context_length,
            "vocab_size": tokenizer.vocab_size,
            "width": 64,
            "heads": 2,
            "layers": 2,
        },
    }


def build_tiny_clip() -> CLIP:
    """An untrained tiny CLIP: a ModifiedResNet and a causal text transformer, 128 dimensions.

    Its weights come from torch's global generator.
    """
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

    config = tiny_clip_config()
    return CLIP(
        config["embed_dim"],
        CLIPVisionCfg(**config["vision_cfg"]),
        CLIPTextCfg(**config["text_cfg"]),
    )


def build_tiny_vit(num_classes: int = 0) -> VisionTransformer:
    """An untrained tiny ViT: timm's own, patches of 16, width 96, 4 blocks of 3 heads.

    Its weights come from torch's global generator. ``num_classes=0`` leaves the head out.
    """
    from timm.models.vision_transformer import VisionTransformer

    return VisionTransformer(
        img_size=IMAGE_SIZE,
        patch_size=16,
        embed_dim=96,
        depth=4,
        num_heads=3,
        num_classes=num_classes,
    )


def tiny_tokenizer() -> CharacterTokenizer:
    """The tokenizer that the tiny CLIP was trained with."""
    return CharacterTokenizer()


def load_tiny_clip(weights: Path = WEIGHTS["clip"]) -> CLIP:
    """The trained tiny CLIP: float32, frozen, in evaluation mode.

    Raises:
        UserError: the file is missing, damaged or of another architecture.
    """
    model = build_tiny_clip()
    _load(model, weights)
    # Convolutions with so few channels are faster when a pixel's channels are adjacent.
    model.visual.to(memory_format=torch.channels_last)
    return model.eval().requires_grad_(False)


def load_tiny_vit(num_classes: int = 0, weights: Path = WEIGHTS["vit"]) -> VisionTransformer:
    """The trained tiny ViT: float32, in evaluation mode, with a fresh head of ``num_classes``.

    Raises:
        UserError: the file is missing, damaged or of another architecture.
    """
    model = build_tiny_vit(num_classes)
    _load(model, weights, fresh=("head.weight", "head.bias") if num_classes else ())
    return model.eval()


def shipped_digests() -> dict[str, str]:
    """SHA-256 of the shipped weight files by file name, as their card states them."""
    return dict(json.loads(CARD.read_text(encoding="utf-8"))["sha256"])


def save_weights(model: nn.Module, path: Path) -> None:
    """Write a model's weights as float16 safetensors, without a classification head."""
    state = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in model.state_dict().items()
        if not name.startswith("head.")
    }
    path.write_bytes(save(state))


def _load(model: nn.Module, weights: Path, fresh: tuple[str, ...] = ()) -> None:
    if not weights.is_file():
        folder = shlex.quote(str(weights.parent))
        raise UserError(
            f"{weights} is missing: make it with "
            f"`python -m starprompt.backbones.tiny.train --output {folder}`"
        )
    if weights.parent == FOLDER and sha256_file(weights) != shipped_digests().get(weights.name):
        raise UserError(
            f"{weights} is damaged: its SHA-256 differs from the one in {CARD}; install the "
            "package again"
        )
    try:
        stored = load_file(weights)
        state = {name: t.float() if t.is_floating_point() else t for name, t in stored.items()}
        found = model.load_state_dict(state, strict=False)
    except Exception as error:
        raise UserError(f"{weights} does not hold the tiny pair's weights: {error}") from error
    wrong = [name for name in found.missing_keys if name not in fresh] + found.unexpected_keys
    if wrong:
        raise UserError(f"{weights} does not fit the tiny pair: {', '.join(sorted(wrong)[:3])}")
