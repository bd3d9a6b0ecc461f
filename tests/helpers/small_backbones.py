"""Small architectures of both libraries and their weights files."""

from pathlib import Path

import open_clip
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

# The smallest architecture of each library that is loaded as the full-size ones are.
VIT = "test_vit"


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


def low_rank_update(rank: int = 3) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(2, 2, rank, 96), 0.1 * torch.randn(2, 2, 96, rank)
