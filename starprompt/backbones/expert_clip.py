"""CLIP with a mixture of adapters beside every MLP of both its transformers (MoE-Adapters).

CLIP's own weights stay frozen, and other learners may share them; only the walk through its
blocks is ours. In each block

    x <- x + attention(LN(x))
    x <- x + MLP(LN(x)) + sum_e gate_e(x_0) adapter_e(x)

where x_0 is the first token: [CLS] of an image, start-of-text of a text, which is the same for all.
As JiazuoYu/MoE-Adapters4CL@4572d97 has them (``cil/clip/model.py``). An image encoder that is no
transformer, such as a ResNet, has no experts there, and has none here.
"""

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import Tensor, nn

from starprompt.backbones.activations import Activations, prompted_clip_activations
from starprompt.backbones.adapters import Adapter
from starprompt.backbones.clip import FrozenClip, PromptTokens
from starprompt.errors import UserError
from starprompt.precision import in_tower

#: least standard deviation of the noise on a router's logits
LEAST_NOISE = 1e-2


class Experts(nn.Module):
    """Adapters (B, N, D) -> (B, N, D), weighted by a router that reads each item's first token.

    The ``top_k`` adapters of the largest logits share the weight by a softmax. In training the
    logits are noisy: + noise * (softplus(x_0 W_noise) + 0.01). Router and noise start at zero.
    """

    def __init__(self, width: int, experts: int, top_k: int, bottleneck: int) -> None:
        super().__init__()
        self.top_k = top_k
        self.adapters = nn.ModuleList(Adapter(width, bottleneck) for _ in range(experts))
        self.router = nn.Parameter(torch.zeros(width, experts))
        self.spread = nn.Parameter(torch.zeros(width, experts))

    def gates(self, first: Tensor) -> Tensor:
        """(B, experts) weights, 0 or a softmax's, of first tokens (B, D)."""
        logits = first @ self.router
        if self.training:
            deviation = F.softplus(first @ self.spread) + LEAST_NOISE
            logits = logits + torch.randn_like(logits) * deviation
        most, which = logits.topk(self.top_k, dim=1)
        return torch.zeros_like(logits).scatter(1, which, most.softmax(dim=1).to(logits.dtype))

    def forward(self, x: Tensor) -> Tensor:
        weights = self.gates(x[:, 0]).T[:, :, None, None]
        return sum(w * adapter(x) for w, adapter in zip(weights, self.adapters, strict=True))  # type: ignore[return-value]


class ExpertClip(nn.Module):
    """A frozen CLIP, and :class:`Experts` for each block of its image and its text transformer.

    Raises :class:`UserError` where a transformer's blocks are not the plain pre-norm ones.
    """

    def __init__(self, clip: FrozenClip, *, experts: int, top_k: int, bottleneck: int) -> None:
        super().__init__()
        self.clip = clip
        model: Any = clip.model
        found = {"text": model.transformer}
        if isinstance(model.visual, VisionTransformer):
            found["image"] = model.visual.transformer
        for transformer in found.values():
            _require_plain_blocks(transformer, clip.name)
        self.experts = nn.ModuleDict(
            {
                side: nn.ModuleList(
                    Experts(found[side].width, experts, top_k, bottleneck)
                    for _ in found[side].resblocks
                )
                for side in sorted(found)
            }
        ).to(clip.device)

    def images(self, view: Tensor) -> Tensor:
        """(B, d) unit features of un-normalised (B, 3, H, W) views in [0, 1]."""
        if "image" not in self.experts:
            return F.normalize(self.clip.encode_images(view), dim=-1)
        visual: Any = self.clip.model.visual
        images = self.clip.normalise(view)
        with in_tower(self.clip.precision, images.device):
            x = self._through("image", visual.transformer.resblocks, visual._embeds(images))
            pooled, _ = visual._pool(x)
            features = pooled if visual.proj is None else pooled @ visual.proj
        return F.normalize(features.float(), dim=-1)

    def texts(self, texts: PromptTokens) -> Tensor:
        """(n, d) unit features of embedded texts."""
        model: Any = self.clip.model
        length = texts.embeddings.shape[1]
        x = texts.embeddings + model.positional_embedding[:length]
        mask = model.attn_mask[:length, :length]
        x = self._through("text", model.transformer.resblocks, x, mask)
        x = model.ln_final(x[torch.arange(len(x), device=x.device), texts.eot])
        projection = model.text_projection
        features = projection(x) if isinstance(projection, nn.Linear) else x @ projection
        return F.normalize(features, dim=-1)

    def _through(self, side: str, blocks: Any, x: Tensor, mask: Tensor | None = None) -> Tensor:
        every: Any = self.experts[side]
        for block, experts in zip(blocks, every, strict=True):
            x = x + block.ls_1(block.attention(block.ln_1(x), attn_mask=mask))
            x = x + block.ls_2(block.mlp(block.ln_2(x))) + experts(x)
        return x

    def activations(self) -> Activations:
        """What an image takes in it until the backward pass."""
        if "image" not in self.experts:
            return self.clip.activations()
        visual: Any = self.clip.model.visual
        kept = prompted_clip_activations(visual, self.clip.precision)
        every: Any = self.experts["image"]
        hidden = sum(adapter.down.out_features for one in every for adapter in one.adapters)
        outputs = sum(len(one.adapters) for one in every) * visual.transformer.width
        size = 2 if self.clip.precision == "bf16" else 4
        tokens = len(visual.positional_embedding)
        return replace(kept, kept=kept.kept + size * tokens * (3 * hidden + outputs))


def _require_plain_blocks(transformer: Any, name: str) -> None:
    if not transformer.batch_first or any(
        type(block) is not ResidualAttentionBlock for block in transformer.resblocks
    ):
        raise UserError(
            f"Experts need plain transformer blocks, which {name} does not have; choose a "
            "CLIP such as 'ViT-L-14-quickgelu/openai'."
        )
