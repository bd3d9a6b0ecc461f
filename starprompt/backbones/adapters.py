"""Few trained parameters in a frozen ViT: bottleneck adapters, scales and shifts, prompt tokens.

    adapter      AdaptFormer (Chen et al. 2022): beside each block's MLP
                 x <- x + MLP(LN(x)) + 0.1 W_up dropout(relu(W_down x))
    ssf          Lian et al. 2022: the output of every layer of the ViT times a scale, plus a shift
    vpt-deep     Jia et al. 2022: own tokens behind the image's in each block, cut off after it
    vpt-shallow  the same, once before the first block

All as RanPAC (RanPAC@012927f, ``petl/``) and APER (LAMDA-PILOT@5240714, ``backbone/``) have them.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from starprompt.backbones.activations import Activations
from starprompt.backbones.blocks import BesideMLP, Injection, Tokens
from starprompt.backbones.prompted_vit import PromptedViT

Adaptation = Literal["none", "adapter", "ssf", "vpt-deep", "vpt-shallow"]

#: what a bottleneck adapter's output is multiplied by, and its dropout, in all of the releases
SCALE, DROPOUT = 0.1, 0.1
#: standard deviation of SSF's scales around 1 and of its shifts around 0 at the start
SSF_SPREAD = 0.02


class Adapter(nn.Module):
    """scale (W_up dropout(f(W_down x + b_down)) + b_up) of tokens (..., D); zero at the start.

    Scale 0.1, dropout and f = relu by default. ``learned``: a scale that starts at 1 and learns,
    no dropout and f = gelu, as LAE has it.
    """

    def __init__(self, width: int, bottleneck: int, *, learned: bool = False) -> None:
        super().__init__()
        self.learned = learned
        if learned:
            self.scale = nn.Parameter(torch.tensor(1.0))
        self.down = nn.Linear(width, bottleneck)
        self.up = nn.Linear(bottleneck, width)
        nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5))
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)

    def forward(self, x: Tensor) -> Tensor:
        if self.learned:
            return self.scale * self.up(F.gelu(self.down(x)))
        hidden = F.dropout(F.relu(self.down(x)), DROPOUT, self.training)
        return SCALE * self.up(hidden)


def new_adapters(vit: VisionTransformer, bottleneck: int) -> nn.ModuleList:
    """One :class:`Adapter` for each block of ``vit``, on its device."""
    device = next(vit.parameters()).device
    return nn.ModuleList(Adapter(vit.embed_dim, bottleneck) for _ in vit.blocks).to(device)


def beside_mlps(adapters: nn.ModuleList) -> list[Injection]:
    """Where :class:`PromptedViT` takes the adapters of its blocks."""
    return [BesideMLP(adapter) for adapter in adapters]


@torch.no_grad()
def merge_adapters(into: nn.Module, adapters: Iterable[nn.Module]) -> None:
    """Set ``into`` to what is strongest in all ``adapters``, sets of the same shape (TUNA).

    Of every weight: the sign of the mean, and the largest magnitude among those of this sign.
    """
    sets = [dict(one.named_parameters()) for one in adapters]
    for name, parameter in into.named_parameters():
        weights = torch.stack([one[name] for one in sets])
        sign = torch.where(weights.mean(dim=0) > 0, 1.0, -1.0)
        parameter.copy_(sign * (weights * sign).clamp_min(0).amax(dim=0))


def likeness(ours: Any, theirs: Any) -> Tensor:
    """How alike two sets of adapters are (TUNA's orthogonality loss), a scalar: the mean over
    blocks of |mean over d, e of u_d . v_e|, rows of their up-projections, normalised."""
    means = [
        F.normalize(own.up.weight, dim=1).mean(0) @ F.normalize(other.up.weight, dim=1).mean(0)
        for own, other in zip(ours, theirs, strict=True)
    ]
    return torch.stack(means).abs().mean()


class ScaleShift(nn.Module):
    """SSF: forward hooks on a ViT's own layers, which keep their names; without effect where
    ``on`` is False."""

    def __init__(self, vit: VisionTransformer) -> None:
        super().__init__()
        self.on = True
        self.scales, self.shifts = nn.ParameterList(), nn.ParameterList()
        for number, (layer, width) in enumerate(_ssf_layers(vit)):
            self.scales.append(1 + SSF_SPREAD * torch.randn(width))
            self.shifts.append(SSF_SPREAD * torch.randn(width))
            layer.register_forward_hook(partial(self._scaled, number))

    def _scaled(self, number: int, layer: nn.Module, given: Any, output: Tensor) -> Tensor:
        return output * self.scales[number] + self.shifts[number] if self.on else output


def _ssf_layers(vit: Any) -> list[tuple[nn.Module, int]]:
    """The layers that SSF follows, in the order an image meets them, and their widths."""
    width = vit.embed_dim
    layers = [(vit.patch_embed.norm, width)]  # after the patches are in a row
    for block in vit.blocks:
        layers += [(block.norm1, width), (block.attn.qkv, 3 * width), (block.attn.proj, width)]
        layers += [(block.norm2, width), (block.mlp.fc1, block.mlp.fc1.out_features)]
        layers += [(block.mlp.fc2, width)]
    return [*layers, (vit.norm, width)]


class AdaptedViT(nn.Module):
    """A frozen ViT and what adapts it; only the latter has gradients.

    vit         a timm ViT without a head, as ``Setting.vit`` makes it
    bottleneck  width of the adapters
    prompts     VPT's tokens, in each block or before the first
    normalise   the ViT's own statistics, put upon views in [0, 1]
    """

    def __init__(
        self,
        vit: VisionTransformer,
        adaptation: Adaptation,
        normalise: Callable[[Tensor], Tensor],
        *,
        bottleneck: int = 64,
        prompts: int = 5,
    ) -> None:
        super().__init__()
        self.vit = PromptedViT(vit).eval()
        self.adaptation: Adaptation = adaptation
        self.normalise = normalise
        self.adapters: nn.ModuleList | None = None
        self.scale_shift: ScaleShift | None = None
        self.prompts: nn.Parameter | None = None
        device, depth = next(vit.parameters()).device, len(vit.blocks)
        if adaptation == "adapter":
            self.adapters = new_adapters(vit, bottleneck)
        elif adaptation == "ssf":
            self.scale_shift = ScaleShift(vit).to(device)
        elif adaptation in ("vpt-deep", "vpt-shallow"):
            layers = depth if adaptation == "vpt-deep" else 1
            self.prompts = nn.Parameter(torch.zeros(layers, prompts, vit.embed_dim, device=device))

    @property
    def dim(self) -> int:
        """Width of the features, D."""
        return self.vit.dim

    def forward(self, images: Tensor) -> Tensor:
        """(B, D) final-norm [CLS] features, adapted, of un-normalised (B,3,H,W) views."""
        images = self.normalise(images)
        if self.adapters is not None:
            return self.vit(images, beside_mlps(self.adapters))
        if self.prompts is None:
            return self.vit(images)
        tokens = self.prompts[:, None].expand(-1, len(images), -1, -1)
        if self.adaptation == "vpt-deep":
            return self.vit(images, [Tokens(own) for own in tokens])
        before = tokens.shape[2]
        return self.vit.tokens(images, prepended=tokens[0], leading=before + 1)[:, before]

    @torch.no_grad()
    def frozen(self, images: Tensor) -> Tensor:
        """(B, D) features of the ViT as it was pretrained, of un-normalised (B,3,H,W) views."""
        if self.scale_shift is not None:
            self.scale_shift.on = False
        try:
            return self.vit(self.normalise(images))
        finally:
            if self.scale_shift is not None:
                self.scale_shift.on = True

    def train(self, mode: bool = True) -> "AdaptedViT":
        """The adapters' dropout on or off; the ViT stays in evaluation mode."""
        super().train(mode)
        self.vit.eval()
        return self

    def trained(self) -> dict[str, nn.Parameter]:
        """What adapts the ViT, by name."""
        return {name: p for name, p in self.named_parameters() if not name.startswith("vit.")}

    def activations(self) -> Activations:
        """What an image takes in it until the backward pass: the prompted ViT's, and the inputs of
        what is trained."""
        found = self.vit.activations()
        if self.adaptation == "none":
            return replace(found, kept=0)
        vit: Any = self.vit.vit
        size = 2 if self.vit.precision == "bf16" else 4
        tokens, blocks = vit.patch_embed.num_patches + vit.num_prefix_tokens, vit.blocks
        numbers = 0
        if self.adapters is not None:
            adapter: Any = self.adapters[0]
            numbers = 3 * len(blocks) * adapter.down.out_features
        if self.scale_shift is not None:
            numbers = sum(len(scale) for scale in self.scale_shift.scales)
        kept = found.kept + size * tokens * numbers
        if self.prompts is not None:
            kept += found.kept * self.prompts.shape[1] // tokens
        return replace(found, kept=kept)
