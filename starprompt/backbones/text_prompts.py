"""Several learned context vectors before a class name, for CLIP's text tower."""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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


def text_parameters(clip: FrozenClip) -> dict[str, nn.Parameter]:
    """By name: the text tower's parameters but for the token embeddings, and the temperature."""
    others = ("visual.", "token_embedding.")
    every = clip.model.named_parameters()
    return {name: p for name, p in every if not name.startswith(others)}


def with_learning_text_tower(clip: FrozenClip) -> FrozenClip:
    """A copy of ``clip`` whose :func:`text_parameters` learn."""
    own = copy.deepcopy(clip)
    for parameter in text_parameters(own).values():
        parameter.requires_grad_()
    return own
