"""STAR-Prompt's second stage: class residuals, chosen by the keys, inside a frozen ViT.

Menabue et al., ECCV 2024, Sec. 3.3; released `second_stage_model.py`.
"""

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from starprompt.backbones.prompted_vit import PromptedViT
from starprompt.method.prompts import InjectionKind, PromptPool, QueryGradient
from starprompt.method.retrieval import Retrieved


class SecondStage(nn.Module):
    """A prompted ViT, the pool of prompts, and one linear head over all classes."""

    def __init__(
        self,
        vit: VisionTransformer,
        n_classes: int,
        query_dim: int,
        injection: InjectionKind = "value",
        prefix_length: int = 5,
        confidence: bool = True,
        query_gradient: QueryGradient = "released",
    ) -> None:
        super().__init__()
        self.vit = PromptedViT(vit).eval()
        self.pool = PromptPool(
            self.vit.depth,
            n_classes,
            query_dim,
            self.vit.dim,
            injection,
            prefix_length,
            confidence,
            query_gradient,
        )
        self.head = nn.Linear(self.vit.dim, n_classes)

    def features(self, images: Tensor, query: Tensor, keys: Tensor) -> tuple[Tensor, Retrieved]:
        """[CLS] features (B, D) of normalised images under their own prompts.

        query (B, d): CLIP's features of the images; keys (seen, d): unit keys of seen classes.
        """
        retrieved = self.pool.retrieve(query, keys)
        return self.vit(images, self.pool.injections(retrieved)), retrieved

    def parameters_of_task(self) -> list[nn.Parameter]:
        """What a task trains: its own classes' prompts and query weights, and the head."""
        return [self.pool.prompt, self.pool.query_weight, *self.head.parameters()]

    def masked_logits(self, features: Tensor) -> Tensor:
        """(B, N_t) logits of the current classes; those of the past would be -inf."""
        return self.head(features)[:, self.pool.past : self.pool.seen]

    @torch.no_grad()
    def logits(self, features: Tensor, head: nn.Linear, seen: int) -> Tensor:
        """(B, seen) logits of ``head`` over the classes seen."""
        return head(features)[:, :seen]
