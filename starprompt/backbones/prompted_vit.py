"""A timm Vision Transformer with prompts injected layer by layer.

The transformer itself is timm's, weights unchanged; only the walk through its blocks is ours,
because a prompt enters in the middle of the attention (``blocks.py``).
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from timm.layers.attention import Attention
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from starprompt.backbones.activations import Activations, vit_activations
from starprompt.backbones.blocks import Injection, attended, block_output, embedded
from starprompt.backbones.compiled import FirstSize, compiled
from starprompt.errors import UserError
from starprompt.precision import in_tower


class PromptedViT(nn.Module):
    """A frozen timm ViT whose blocks take an :data:`Injection` each.

    Without injections its features equal timm's own ``forward_features``. Raises
    :class:`UserError` for a transformer whose blocks are not the plain pre-norm ones that the
    method is defined on.
    """

    def __init__(self, vit: VisionTransformer) -> None:
        super().__init__()
        _require_plain_blocks(vit)
        self.vit = vit.requires_grad_(False)
        #: where the transformer was loaded to run compiled
        self.first_size: FirstSize | None = getattr(vit, "first_size", None)
        self._block = compiled(block_output) if self.first_size else block_output

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return len(self.vit.blocks)

    @property
    def dim(self) -> int:
        """Width of the features, D."""
        return self.vit.embed_dim

    @property
    def precision(self) -> str:
        """Of the products, as the transformer was loaded (``starprompt.precision``)."""
        return getattr(self.vit, "precision", "float32")

    def activations(self, residual: bool = False, prefix_length: int = 0) -> Activations:
        """What an image takes in it, with residuals from the first block on, or with prefixes;
        by default with any other prompts."""
        return vit_activations(
            self.vit,
            self.precision,
            prompted_before_attention=not residual,
            prefix_length=prefix_length,
        )

    def forward(self, images: Tensor, injections: Sequence[Injection] | None = None) -> Tensor:
        """Final-norm [CLS] feature of normalised images.

        images      (B, 3, H, W), normalised for this ViT
        injections  one entry a block, or None for the plain transformer
        returns     (B, D)
        """
        return self.tokens(images, injections, leading=1)[:, 0]

    def tokens(
        self,
        images: Tensor,
        injections: Sequence[Injection] | None = None,
        prepended: Tensor | None = None,
        leading: int | None = None,
    ) -> Tensor:
        """All tokens after the final norm, float32: (B, 1 + N, D), or (B, P + 1 + N, D) where
        ``prepended`` (B, P, D) stands before [CLS] from the first block on (L2P).

        ``leading``: the first so many alone, (B, leading, D), which spares the last block most of
        its work. Compiled blocks compute all, so that one compiled block serves all.
        """
        if injections is not None and len(injections) != self.depth:
            raise ValueError(f"{len(injections)} injections for {self.depth} blocks")
        of_size = self.first_size(len(images)) if self.first_size else nullcontext()
        with in_tower(self.precision, images.device), of_size:
            x = embedded(self.vit, images)
            if prepended is not None:
                x = torch.cat([prepended, x], dim=1)
            last = self.depth - 1
            for layer, block in enumerate(self.vit.blocks):
                of_layer = None if injections is None else injections[layer]
                few = leading if layer == last and not self.first_size else None
                x = self._block(block, x, of_layer, few)
            return self.vit.norm(x[:, :leading])

    @torch.no_grad()
    def attention_inputs(
        self, images: Tensor, injections: Sequence[Injection] | None = None
    ) -> Iterator[Tensor]:
        """What each block's attention reads, layer by layer: (B, N, D) after its first norm."""
        x = embedded(self.vit, images)
        blocks: Any = self.vit.blocks
        for layer, block in enumerate(blocks):
            yield block.norm1(x)
            x = block_output(block, x, None if injections is None else injections[layer])

    @torch.no_grad()
    def injected_norms(
        self, images: Tensor, injections: Sequence[Injection]
    ) -> tuple[Tensor, Tensor]:
        """How much the injections change the attention's output, layer by layer.

        Returns (L,) mean norm over images and tokens of the change, and (L,) that of the output
        without the layer's own injection, its input being the prompted one.
        """
        changes, outputs = [], []
        x = embedded(self.vit, images)
        blocks: Any = self.vit.blocks
        for block, injection in zip(blocks, injections, strict=True):
            without, prompted = attended(block, x, None), attended(block, x, injection)
            changes.append((prompted - without).norm(dim=-1).mean())
            outputs.append(without.norm(dim=-1).mean())
            x = block_output(block, x, injection)
        return torch.stack(changes), torch.stack(outputs)


def _require_plain_blocks(vit: nn.Module) -> None:
    plain = (
        isinstance(vit, VisionTransformer)
        and vit.cls_token is not None
        and all(
            type(block) is Block
            and type(block.attn) is Attention
            and getattr(block.attn, "gate", None) is None
            and isinstance(getattr(block.attn, "norm", nn.Identity()), nn.Identity)
            for block in vit.blocks
        )
    )
    if not plain:
        raise UserError(
            f"{type(vit).__name__} can't be prompted: STAR-Prompt needs a timm VisionTransformer "
            "with a [CLS] token and plain pre-norm blocks, such as vit_base_patch16_224."
        )
