"""The second stage as the released code computes it, and ours with the same networks.

The reference encodes the query in float32 with the very same CLIP, encodes the keys of all classes
seen again from their full token length, expands every query to every class in each layer
(B x C x d), multiplies similarities with a mask and the result with all prompts, computes
attention by hand, and its Adam holds the prompts of all classes.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from starprompt.backbones.clip import FrozenClip
from starprompt.backbones.tiny.models import load_tiny_clip
from starprompt.backbones.vit import load_vit, vit_normalisation
from starprompt.continual.learner import Setting
from starprompt.data.batch import Normalisation, StreamInfo
from starprompt.method.starprompt import StarPrompt

#: classes of the last task, unless a stream's own tasks are given
CURRENT = 20


class Reference(nn.Module):
    """The second stage as it is written in the released code, in float32."""

    def __init__(self, clip: FrozenClip, vit: Any, classes: int, contexts: Tensor) -> None:
        super().__init__()
        self.clip, self.vit, self.contexts = clip, vit.requires_grad_(False), contexts
        # Its images go through the tiny CLIP as it was trained, with batch norms of their own.
        self.encoder = load_tiny_clip() if clip.name == "tiny" else clip.model
        depth, device = len(vit.blocks), contexts.device
        self.prompts = nn.ParameterList(
            nn.init.orthogonal_(torch.empty(classes, 3, vit.embed_dim))[:, 0].to(device)
            for _ in range(depth)
        )
        self.weights = nn.ParameterList(
            nn.init.orthogonal_(torch.empty(classes, clip.dim)).to(device) for _ in range(depth)
        )
        self.head = nn.Linear(vit.embed_dim, classes).to(device)

    def begin_task(self, past: int, seen: int, lr: float) -> None:
        self.past, self.seen = past, seen
        learned = [*self.prompts, *self.weights, *self.head.parameters()]
        self.optimiser = torch.optim.Adam(learned, lr=lr)

    @torch.no_grad()
    def keys(self) -> Tensor:
        """(C, d) unit keys of all classes seen, from their texts of full length."""
        names = [f"thing {label}" for label in range(self.seen)]
        ids = self.clip.tokenize([f"X {name}." for name in names])
        embedded = self.clip.model.token_embedding(ids)
        own = self.contexts[: self.seen, None]
        embedded = torch.cat([embedded[:, :1], own, embedded[:, 2:]], dim=1)
        ends = self.clip.embed_tokens(ids).eot
        return F.normalize(self.clip.encode_prompts(embedded, ends), dim=-1)

    @torch.no_grad()
    def query(self, images: Tensor) -> Tensor:
        return self.encoder.encode_image(self.clip.normalise(images))

    def retrieved(self, layer: int, query: Tensor, keys: Tensor) -> Tensor:
        """(B, D): similarities times mask times prompts, past ones without gradient."""
        past, weight, prompt = self.past, self.weights[layer], self.prompts[layer]
        weight = torch.cat([weight[:past].detach(), weight[past : self.seen]])
        prompt = torch.cat([prompt[:past].detach(), prompt[past : self.seen]])
        expanded = query[:, None, :].repeat(1, self.seen, 1) * weight.softmax(dim=-1)[None]
        similarity = 5 * torch.einsum("bcd,cd->bc", F.normalize(expanded, dim=-1), keys)
        mask = F.one_hot(similarity.argmax(dim=1), self.seen).to(similarity.dtype)
        masked = similarity + (similarity * mask - similarity).detach()
        masked = torch.cat([masked[:, :past].detach(), masked[:, past:]], dim=1)
        return masked @ prompt

    def features(self, images: Tensor, query: Tensor, keys: Tensor) -> Tensor:
        """(B, D): timm's blocks with the residual added to every value vector."""
        vit = self.vit
        x = vit.norm_pre(vit._pos_embed(vit.patch_embed(images)))
        for layer, block in enumerate(vit.blocks):
            residual = self.retrieved(layer, query, keys)
            attn, y = block.attn, block.norm1(x)
            qkv = attn.qkv(y).reshape(*y.shape[:2], 3, attn.num_heads, attn.head_dim)
            q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
            v = v + residual.view(len(x), attn.num_heads, 1, attn.head_dim)
            share = ((q * attn.scale) @ k.transpose(-2, -1)).softmax(dim=-1)
            x = x + attn.proj((share @ v).transpose(1, 2).flatten(2))
            x = x + block.mlp(block.norm2(x))
        return vit.norm(x)[:, 0]

    def orthogonality(self) -> Tensor:
        if self.past == 0:
            return self.prompts[0].new_zeros(())
        terms = []
        for prompt in self.prompts:
            past, current = prompt[: self.past].detach(), prompt[self.past : self.seen]
            length = (torch.norm(current, dim=-1).square() - 1).square().mean()
            terms.append((current @ past.T).square().mean() + length)
        return torch.stack(terms).mean()

    def step(self, images: Tensor, normalised: Tensor, labels: Tensor, weight: float) -> Tensor:
        logits = self.head(self.features(normalised, self.query(images), self.keys()))
        logits[:, : self.past] = -float("inf")
        loss = F.cross_entropy(logits[:, : self.seen], labels) + weight * self.orthogonality()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return loss.detach()


def fresh_learner(
    clip: FrozenClip,
    vit: str,
    classes: int,
    keys: Tensor,
    device: torch.device,
    precision: str = "float32",
    task_ends: Sequence[int] | None = None,
    **hp: Any,
) -> Any:
    """STAR-Prompt on a stream of ``classes`` classes whose first stage left ``keys``."""
    size = load_vit(vit).patch_embed.img_size[0]
    names = tuple(f"thing {label}" for label in range(classes))
    info = StreamInfo(
        "random", names, tuple(task_ends or (classes - CURRENT, classes)), size, Normalisation()
    )
    with tempfile.TemporaryDirectory() as folder:
        save_file({"keys": keys.cpu().contiguous()}, Path(folder) / "checkpoint.safetensors")
        setting = Setting(
            stream=info,
            device=device,
            seed=7,
            vit=lambda: load_vit(vit, device, precision=precision),
            clip=lambda: clip,
            vit_normalisation=vit_normalisation(vit),
            keys=Path(folder),
            precision=precision,
        )
        learner: Any = StarPrompt(StarPrompt.Hyperparameters(**hp), setting)
        learner.keys.reveal(classes)
    learner.keys.reveal = lambda seen: None  # the folder is gone; all keys were read before
    return learner
