"""Parts of prompt pools: a vote over a batch, starts of heads and of rows, a limit on gradients.

Those of L2P and DualPrompt as in the authors' released code (google-research/l2p).
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn


def voted(chosen: Tensor, size: int, voters: int) -> Tensor:
    """(B, n) indices, the same for every ``voters`` consecutive images: the n that most of these
    chose.

    chosen (B, n) int64, the indices below ``size`` that each image chose, no two of an image alike.
    A tie goes to the lower index (``models/prompt.py``, ``batchwise_prompt``, where the images of
    one device vote).
    """
    elected = []
    for choices in chosen.split(voters):
        votes = choices.flatten().bincount(minlength=size)
        most = votes.argsort(descending=True, stable=True)[: chosen.shape[1]]
        elected.append(most.expand_as(choices))
    return torch.cat(elected)


def head_of(dim: int, classes: int, start: Literal["zero", "uniform"]) -> nn.Linear:
    """A linear head that starts at zero, as released (``models/vit.py``), or as nn.Linear does."""
    head = nn.Linear(dim, classes)
    if start == "zero":
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
    return head


def limit_gradients(
    trained: Sequence[nn.Parameter], limit: float, counted: nn.Module | None = None
) -> Tensor:
    """Scale the gradients of ``trained`` so that their norm is at most ``limit``.

    Returns the norm before. The gradients of ``counted`` belong to the norm, and are dropped: the
    released ``train_step`` takes it over all parameters, the frozen ViT's included.
    """
    others = [] if counted is None else list(counted.parameters())
    norm = nn.utils.clip_grad_norm_([*trained, *others], limit)
    for parameter in others:
        parameter.grad = None
    return norm


def orthonormal_rows(n: int, given: Tensor) -> Tensor:
    """(n, D) random unit rows, orthogonal to each other and to all rows of ``given`` (m, D).

    Gram-Schmidt in double precision, twice over ("twice is enough"), so that rounding leaves no
    trace; m + n may be D at most.
    """
    basis = torch.linalg.qr(given.double().T).Q if len(given) else given.double().T
    drawn = torch.randn(given.shape[1], n, dtype=torch.float64).to(given.device)
    for _ in range(2):
        drawn = torch.linalg.qr(drawn - basis @ (basis.T @ drawn)).Q
    return drawn.T.to(given.dtype)
