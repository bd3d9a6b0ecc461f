"""Several learned context vectors before a class name, for frozen CLIP's text tower."""

import torch
import torch.nn.functional as F
from torch import Tensor

from starprompt.backbones.clip import FrozenClip, PromptTokens
from starprompt.errors import UserError


def with_contexts(clip: FrozenClip, texts: PromptTokens, contexts: Tensor) -> PromptTokens:
    """The texts "X <name>." with K context vectors each in the placeholder's place.

    texts (n); contexts (n, K, width). Every text becomes K - 1 tokens longer. Differentiable with
    respect to ``contexts``. Raises :class:`UserError` when a text no longer fits.
    """
    extra = contexts.shape[1] - 1
    longest = int(texts.eot.max()) + 1 + extra
    if longest > clip.context_length:
        raise UserError(
            f"{contexts.shape[1]} context tokens make a text of {longest} tokens, but {clip.name} "
            f"reads {clip.context_length}; take fewer or shorter prompts, or shorter class names."
        )
    embeddings = torch.cat([texts.embeddings[:, :1], contexts, texts.embeddings[:, 2:]], dim=1)
    return PromptTokens(embeddings, texts.eot + extra)


def encode_with_contexts(clip: FrozenClip, texts: PromptTokens, contexts: Tensor) -> Tensor:
    """(n, d) unit text features of :func:`with_contexts`."""
    prompts = with_contexts(clip, texts, contexts)
    return F.normalize(clip.encode_prompts(prompts.embeddings, prompts.eot), dim=-1)
