"""Prefixes for some layers of a prompted ViT, as DualPrompt and CODA-Prompt place them."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from starprompt.backbones.blocks import Injection, Prefix
from starprompt.errors import UserError


def require_layers(layers: Sequence[int], depth: int, key: str) -> None:
    """Raise :class:`UserError` unless ``layers`` (of hyperparameter ``key``) are of this ViT."""
    if beyond := [layer for layer in layers if not 0 <= layer < depth]:
        raise UserError(
            f"{key} names the layers {beyond}, but this ViT has the layers 0 to {depth - 1}; "
            "name others for this data set or backbone."
        )


def prefixes_at(depth: int, tokens: Mapping[int, Tensor]) -> list[Injection]:
    """One entry a block: a :class:`Prefix` where ``tokens`` names its layer, else nothing.

    tokens  by layer (B, 2, P, D): P keys, then P values
    """
    injections: list[Injection] = [None] * depth
    for layer, prefix in tokens.items():
        injections[layer] = Prefix(prefix[:, 0], prefix[:, 1])
    return injections
