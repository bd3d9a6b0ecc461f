"""The prompts and query weights of all classes in all layers."""

from typing import Literal

import torch
from torch import Tensor, nn

from starprompt.backbones.blocks import Injection, Prefix, Residual
from starprompt.method.retrieval import (
    KeyFilters,
    Retrieved,
    orthogonality,
    rows_of,
    scaled,
    straight_through,
)
from starprompt.precision import exactly

InjectionKind = Literal["value", "post_attention", "prefix"]
#: "chosen": a query weight learns from the images that chose its class (the paper's argmax);
#: "released": every current class's learns from every image, see ``straight_through``
QueryGradient = Literal["released", "chosen"]


class PromptPool(nn.Module):
    """One query weight a (d) and one prompt r per class and layer.

    Prompts are (D) residuals, or (2P, D) prefixes: P keys, then P values. Only the classes of the
    current task are parameters; those of the past are buffers that no optimiser knows, so that
    a step costs the same however many classes went before, and nothing can drift.
    """

    def __init__(
        self,
        layers: int,
        classes: int,
        query_dim: int,
        dim: int,
        injection: InjectionKind = "value",
        prefix_length: int = 5,
        confidence: bool = True,
        query_gradient: QueryGradient = "released",
    ) -> None:
        super().__init__()
        self.query_gradient = query_gradient
        self.injection = injection
        self.prefix_length = prefix_length
        self.confidence = confidence
        prompts, weights = [], []
        for _ in range(layers):
            # The released initialisation: orthogonal over (C, 3 D), of which the first D columns
            # are kept, so that residuals of two classes are not orthogonal at the start.
            if injection == "prefix":
                prompt = nn.init.orthogonal_(torch.empty(classes, 2 * prefix_length, dim))
            else:
                prompt = nn.init.orthogonal_(torch.empty(classes, 3, dim))[:, 0]
            prompts.append(prompt)
            weights.append(nn.init.orthogonal_(torch.empty(classes, query_dim)))
        self.register_buffer("prompts", torch.stack(prompts))
        self.register_buffer("query_weights", torch.stack(weights))
        self.past = self.seen = 0
        self._past_filters: KeyFilters | None = None

    prompts: Tensor
    query_weights: Tensor

    def begin_task(self, past: int, seen: int) -> None:
        """Make the classes past..seen-1 trainable and those before them constant."""
        self.past, self.seen = past, seen
        self.prompt = nn.Parameter(self.prompts[:, past:seen].clone())
        self.query_weight = nn.Parameter(self.query_weights[:, past:seen].clone())
        self._past_filters = None

    @torch.no_grad()
    def load(self, prompts: Tensor, query_weights: Tensor, seen: int) -> None:
        """Take over all classes' prompts and query weights; the first ``seen`` have learned."""
        self.prompts.copy_(prompts)
        self.query_weights.copy_(query_weights)
        self.begin_task(seen, seen)

    @torch.no_grad()
    def end_task(self) -> None:
        """Keep what the task's classes have learned; nothing is trainable any more."""
        self.prompts[:, self.past : self.seen] = self.prompt
        self.query_weights[:, self.past : self.seen] = self.query_weight
        self.begin_task(self.seen, self.seen)

    def similarities(self, query: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """(B, L, P) to the past's classes and (B, L, N) to the current ones.

        query (B, d); keys (P + N, d), unit length. The past's filtered keys are constant and made
        once a task, unless the keys themselves are still learning.
        """
        filters = None if keys.requires_grad else self._past_filters
        if filters is None:
            filters = KeyFilters.of(self.query_weights[:, : self.past], keys[: self.past])
            self._past_filters = filters
        current = KeyFilters.of(self.query_weight, keys[self.past :])
        return filters.similarity(query), current.similarity(query)

    @exactly()
    def retrieve(self, query: Tensor, keys: Tensor) -> Retrieved:
        """Each image's prompt in each layer (Eqs. 4, 5); only current classes get gradients.

        query (B, d): CLIP's image features; keys (P + N, d), unit length.
        """
        of_past, of_current = self.similarities(query, keys)
        similarity, chosen = torch.cat([of_past, of_current], dim=-1).max(dim=-1)
        prompts = rows_of(self.prompts[:, : self.past], self.prompt, chosen)
        if self.confidence and self.query_gradient == "chosen":
            prompts = scaled(prompts, similarity)
        elif self.confidence:
            prompts = scaled(prompts, similarity.detach())
            prompts = straight_through(prompts, self.prompt, of_current)
        return Retrieved(prompts, chosen, similarity.detach())

    def injections(self, retrieved: Retrieved) -> list[Injection]:
        """One injection a layer for the prompted ViT."""
        per_layer = retrieved.prompts.unbind(dim=1)
        if self.injection == "prefix":
            length = self.prefix_length
            return [Prefix(prompt[:, :length], prompt[:, length:]) for prompt in per_layer]
        return [Residual(prompt, at=self.injection) for prompt in per_layer]

    @exactly()
    def orthogonality(self) -> Tensor:
        """The orthogonality term, before its weight; keys and values of prefixes are added."""
        past, current = self.prompts[:, : self.past], self.prompt
        if self.injection != "prefix":
            return orthogonality(past, current)
        halves = zip(
            past.split(self.prefix_length, 2), current.split(self.prefix_length, 2), strict=True
        )
        return torch.stack([orthogonality(p.flatten(2), c.flatten(2)) for p, c in halves]).sum()
