"""A ViT with a linear head over all classes of a stream, every weight of it trained."""

from collections.abc import Callable
from typing import Literal

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

#: how a head's weights start: "linear" as PyTorch's ``nn.Linear``, "truncated_normal" as timm's
HeadStart = Literal["linear", "truncated_normal"]
#: deviation of timm's start; its bounds of +-2 are a hundred deviations away
HEAD_DEVIATION = 0.02


def fresh_head(dim: int, n_classes: int, start: HeadStart = "linear") -> nn.Linear:
    """A linear head from (B, dim) features to (B, n_classes) logits.

    "linear" draws weights and bias uniformly within 1/sqrt(dim); "truncated_normal" draws weights
    with deviation 0.02 and sets the bias to zero.
    """
    head = nn.Linear(dim, n_classes)
    if start == "truncated_normal":
        nn.init.trunc_normal_(head.weight, std=HEAD_DEVIATION)
        nn.init.zeros_(head.bias)
    return head


class Classifier(nn.Module):
    """What full fine-tuning trains: ``vit`` and ``head``.

    vit        a timm ViT without a head, as ``Setting.vit`` makes it
    n_classes  of the whole stream; callers cut the logits to the classes seen
    normalise  the ViT's own statistics, put upon views in [0, 1]
    """

    def __init__(
        self, vit: VisionTransformer, n_classes: int, normalise: Callable[[Tensor], Tensor]
    ) -> None:
        super().__init__()
        self.vit = vit.requires_grad_(True)
        self.head = nn.Linear(vit.num_features, n_classes)
        self.normalise = normalise

    def features(self, images: Tensor) -> Tensor:
        """(B, D) final-norm [CLS] features of un-normalised (B,3,H,W) views."""
        return self.vit(self.normalise(images))

    def forward(self, images: Tensor) -> Tensor:
        """(B, n_classes) logits of un-normalised (B,3,H,W) views."""
        return self.head(self.features(images))


def module_state(module: nn.Module, prefix: str = "") -> dict[str, Tensor]:
    """A module's tensors under ``prefix``, detached, for a checkpoint."""
    return {f"{prefix}{name}": tensor for name, tensor in module.state_dict().items()}


@torch.no_grad()
def load_module_state(module: nn.Module, state: dict[str, Tensor], prefix: str = "") -> None:
    """The inverse of :func:`module_state`; other names in ``state`` are left alone."""
    own = {n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)}
    module.load_state_dict({name: own[name] for name in module.state_dict()})


def count_parameters(*modules: nn.Module) -> int:
    """Numbers in the parameters of ``modules`` that training may change."""
    return sum(p.numel() for m in modules for p in m.parameters() if p.requires_grad)
