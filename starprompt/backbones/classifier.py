"""A ViT with a linear head over all classes of a stream, every weight of it trained."""

from collections.abc import Callable

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn


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
