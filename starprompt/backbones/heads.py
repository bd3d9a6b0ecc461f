"""Heads that start as timm's do: weights truncated normal (0.02), biases zero."""

from torch import Tensor, nn


def linear_head(dim: int, classes: int) -> nn.Linear:
    """A linear layer (D to C)."""
    head = nn.Linear(dim, classes)
    nn.init.trunc_normal_(head.weight, std=0.02)
    nn.init.zeros_(head.bias)
    return head


class MappedHead(nn.Module):
    """Logits W LN(x + MLP(x)) of features x (B, D), the MLP ``factor`` times as wide."""

    def __init__(self, dim: int, factor: int, classes: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            linear_head(dim, factor * dim), nn.GELU(), linear_head(factor * dim, dim)
        )
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = linear_head(dim, classes)

    def forward(self, features: Tensor) -> Tensor:
        return self.head(self.norm(features + self.mlp(features)))
