"""CLIP's ResNets, prepared once for many passes without gradients; what they compute stays.

A frozen batch norm is a scale and a shift a channel, which the convolution before it takes over:
W <- W gamma / sqrt(var + eps), b = beta - mean gamma / sqrt(var + eps).
"""

from typing import cast

import torch
from open_clip.modified_resnet import ModifiedResNet
from torch import Tensor, nn


def prepare_resnet(visual: ModifiedResNet) -> None:
    """Fold the batch norms of ``visual`` into its convolutions, in place.

    Its features equal those before to rounding, 1e-6 of the largest. It can be trained no more.
    """
    for module in list(visual.modules()):
        parts = dict(module.named_children())
        for name, convolution in parts.items():
            # conv1 and bn1, ...; "0" and "1" of a shortcut
            follower = name.replace("conv", "bn") if name.startswith("conv") else "1"
            norm = parts.get(follower)
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                _fold(norm, convolution)
                setattr(module, follower, nn.Identity())


@torch.no_grad()
def _fold(norm: nn.BatchNorm2d, convolution: nn.Conv2d) -> None:
    """Let the convolution do what both did, computed in float64."""
    variance, mean = cast(Tensor, norm.running_var), cast(Tensor, norm.running_mean)
    scale = norm.weight.double() / (variance.double() + norm.eps).sqrt()
    weight = convolution.weight
    convolution.weight = nn.Parameter(
        (weight.double() * scale.view(-1, 1, 1, 1)).to(weight.dtype), requires_grad=False
    )
    shift = norm.bias.double() - mean.double() * scale
    convolution.bias = nn.Parameter(shift.to(weight.dtype), requires_grad=False)
