"""Which class's prompt an image takes, in each layer, and with what weight.

Paper, Sec. 3.3 (Eqs. 4, 5); released `Prompter.compute_maps` and `compute_super_prompts`.
With the filter f_c = softmax(a_c), the similarity of query q to the key w_c is

    s_c(q) = 5 cos(q * f_c, w_c),

and only the most similar class gives its prompt. Two exact rewrites make this cheap:

* numerators q . (f_c * w_c) and squared norms q^2 . f_c^2 of all classes are two matrix products
  (4BCd operations a layer; the B x C x d tensor, 79 MB a layer at B=128, C=200, d=768 in float32,
  never exists);
* only the chosen class's prompt enters, so it is gathered, one row an image and layer; and only
  the current classes learn, so no gradient is kept for the past, however many classes it has.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

#: the released code's constant in front of the cosine
SIMILARITY_SCALE = 5.0


@dataclass(frozen=True)
class Retrieved:
    """What each image was given.

    prompts     (B, L, *prompt) the chosen class's prompt in each layer, already weighted
    chosen      (B, L) int64    the chosen class
    similarity  (B, L)          its similarity
    """

    prompts: Tensor
    chosen: Tensor
    similarity: Tensor


@dataclass(frozen=True)
class KeyFilters:
    """Filtered keys of C classes in L layers, ready for the two products.

    products (L, C, d): f * w;  squares (L, C, d): f^2
    """

    products: Tensor
    squares: Tensor

    @classmethod
    def of(cls, query_weight: Tensor, keys: Tensor) -> "KeyFilters":
        """From query weights (L, C, d), before the softmax, and unit keys (C, d)."""
        filters = query_weight.softmax(dim=-1)
        return cls(filters * keys, filters.square())

    def similarity(self, query: Tensor) -> Tensor:
        """(B, L, C) similarities of queries (B, d)."""
        layers, classes, _ = self.products.shape
        numerator = query @ self.products.flatten(0, 1).T
        norm = (query.square() @ self.squares.flatten(0, 1).T).sqrt().clamp_min(1e-12)
        return (SIMILARITY_SCALE * numerator / norm).reshape(len(query), layers, classes)


def rows_of(past: Tensor, current: Tensor, chosen: Tensor) -> Tensor:
    """Rows (B, L, ...) of the chosen classes, with gradients into the current classes alone.

    past (L, P, ...) and current (L, N, ...) hold classes 0..P-1 and P..P+N-1; chosen (B, L).
    """
    n_past, n_current = past.shape[1], current.shape[1]
    layer = torch.arange(len(past), device=chosen.device)
    past = past.detach()
    if n_past == 0:
        return current[layer, chosen]
    if n_current == 0:
        return past[layer, chosen]
    of_past = past[layer, chosen.clamp_max(n_past - 1)]
    of_current = current[layer, (chosen - n_past).clamp_min(0)]
    is_current = (chosen >= n_past).reshape(*chosen.shape, *([1] * (past.dim() - 2)))
    return torch.where(is_current, of_current, of_past)


def scaled(prompts: Tensor, weight: Tensor) -> Tensor:
    """Prompts (B, L, ...) times a weight (B, L): confidence modulation (Eq. 5)."""
    return prompts * weight.reshape(*weight.shape, *([1] * (prompts.dim() - 2)))


def straight_through(injected: Tensor, prompts: Tensor, similarity: Tensor) -> Tensor:
    """The released code's gradient for query weights: ``injected`` (B, L, ...) in value.

    It zeroes the similarities of the classes that were not chosen in place and under `no_grad`
    (`get_masked_clip_out`), which autograd does not record: the similarity of *every* current
    class receives the gradient <dL/d injected, r_c>, chosen or not. Kept, because it decides which
    query weights learn; equal in value, as what is added is zero.

    prompts (L, N, ...) and similarity (B, L, N) of the current classes.
    """
    nothing = similarity - similarity.detach()
    added = torch.einsum("bln,lnd->bld", nothing, prompts.detach().flatten(2))
    return injected + added.reshape(injected.shape)


def orthogonality(past: Tensor, current: Tensor) -> Tensor:
    """Mean over layers of: mean (r_i . r_j)^2 over current i and past j, plus mean (|r_i|^2 - 1)^2
    over current i (released `compute_ortho_loss`).

    past (L, P, D), current (L, N, D), flattened prompts. Zero without past classes.
    """
    if past.shape[1] == 0:
        return current.new_zeros(())
    between = (current @ past.detach().transpose(1, 2)).square().mean()
    length = (current.square().sum(-1) - 1).square().mean()
    return between + length
