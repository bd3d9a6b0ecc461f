"""One step of the second stage, ours against the way in which the released code works.

    python benchmarks/second_stage_step.py                  # the tiny pair, on the CPU
    python benchmarks/second_stage_step.py --full           # ViT-B/16 and ViT-L/14, random weights

B images, C classes seen of which the last are current. The reference, in this file, encodes the
query in float32 with the very same CLIP, encodes the keys of all classes seen again from their
full token length, expands every query to every class in each layer (B x C x d), multiplies
similarities with a mask and the result with all prompts, computes attention by hand, and lets Adam
know the prompts of all classes. On a GPU --full is the default, ours runs in bfloat16, and the
peaks of memory are told too.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from starprompt.backbones.clip import FrozenClip, load_clip
from starprompt.backbones.vit import load_vit, vit_normalisation
from starprompt.continual.learner import Setting
from starprompt.data.batch import Batch, Normalisation, StreamInfo
from starprompt.machine.devices import synchronize
from starprompt.machine.memory import available_bytes, plan
from starprompt.method.starprompt import StarPrompt
from starprompt.precision import products

BATCH, CLASSES, CURRENT = 128, 200, 20
FULL = ("ViT-L-14-quickgelu/random", "vit_base_patch16_224/random")


class Reference(nn.Module):
    """The second stage as it is written in the released code, in float32."""

    def __init__(self, clip: FrozenClip, vit: Any, classes: int, contexts: Tensor) -> None:
        super().__init__()
        self.clip, self.vit, self.contexts = clip, vit.requires_grad_(False), contexts
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
        return self.clip.model.encode_image(self.clip.normalise(images))

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


def best(step: Callable[[], object], repeats: int, device: torch.device) -> float:
    """Seconds of the fastest of some calls, one before them uncounted."""
    times = []
    for _ in range(repeats + 1):
        synchronize(device)
        start = time.perf_counter()
        step()
        synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times[1:])


def peak(step: Callable[[], object], device: torch.device) -> float:
    """GB of tensors at most meanwhile; 0 on the CPU."""
    if device.type != "cuda":
        return 0.0
    torch.cuda.reset_peak_memory_stats(device)
    step()
    return torch.cuda.max_memory_allocated(device) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    cuda = torch.cuda.is_available()
    parser.add_argument("--device", default="cuda" if cuda else "cpu")
    parser.add_argument("--full", action="store_true", default=cuda)
    parser.add_argument("--precision", default="bf16" if cuda else "float32")
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--repeats", type=int, default=10 if cuda else 3)
    options = parser.parse_args()
    torch.manual_seed(0)
    device = torch.device(options.device)
    if device.type == "cpu":
        torch.set_num_threads(2)
    clip_name, vit_name = FULL if options.full else ("tiny", "tiny")
    plain = load_clip(clip_name, device)
    rounded = (
        plain
        if options.precision == "float32"
        else load_clip(clip_name, device, precision=options.precision)
    )
    past = CLASSES - CURRENT
    contexts = 0.02 * torch.randn(CLASSES, plain.text_width, device=device)
    reference = Reference(plain, load_vit(vit_name, device), CLASSES, contexts)
    reference.begin_task(past, CLASSES, lr=0.001)
    ours = fresh_learner(
        rounded,
        vit_name,
        CLASSES,
        reference.keys(),
        device,
        options.precision,
        batch_size=options.batch,
    )
    with torch.no_grad():  # both from the same start
        ours.pool.prompts.copy_(torch.stack([p.detach() for p in reference.prompts]))
        ours.pool.query_weights.copy_(torch.stack([w.detach() for w in reference.weights]))
        ours.head.load_state_dict(reference.head.state_dict())
    ours.begin_task(SimpleNamespace(past_classes=past, seen_classes=CLASSES))

    size = ours.setting.stream.image_size
    images = torch.rand(options.batch, 3, size, size, device=device)
    labels = torch.randint(past, CLASSES, (options.batch,), device=device)
    batch = Batch(torch.arange(options.batch, device=device), labels, images)
    normalised = ours.setting.vit_normalisation(images)
    weight = ours.hp.orthogonality
    planned = plan(
        ours.memory_need(),
        available_bytes(device),
        options.batch,
        "auto",
        splits=True,
        where="ours",
        device=device,
    )
    ours.micro_batch = None if planned.micro_batch == options.batch else planned.micro_batch

    def their_step() -> Tensor:
        return reference.step(images, normalised, labels, weight)

    def our_step() -> Tensor:
        with products(options.precision):
            return ours.train_step(batch)["loss"]

    with products("float32"):
        their_loss, our_loss = float(their_step()), float(our_step())
        peaks = {"reference": peak(their_step, device), "ours": peak(our_step, device)}
        theirs = best(their_step, options.repeats, device)
        query, keys = reference.query(images), reference.keys()
        retrieval = len(reference.prompts) * best(
            lambda: reference.retrieved(0, query, keys), 2, device
        )
        texts = best(reference.keys, 2, device)
        mine = best(our_step, options.repeats, device)
    print(
        f"B {options.batch}, C {CLASSES} ({CURRENT} current), CLIP {clip_name}, ViT {vit_name}, "
        f"{device}"
    )
    print(f"  reference  {1e3 * theirs:9.1f} ms (forward of its retrieval {1e3 * retrieval:.1f},")
    print(f"             of its keys {1e3 * texts:.1f}), float32, peak {peaks['reference']:.1f} GB")
    print(f"  ours       {1e3 * mine:9.1f} ms, {options.precision}, peak {peaks['ours']:.1f} GB")
    print(f"  first losses {their_loss:.6f} and {our_loss:.6f}")
    print(
        json.dumps(
            {
                "name": "second_stage_step",
                "ratio": round(theirs / mine, 2),
                "naive_ms": round(1e3 * theirs, 2),
                "ours_ms": round(1e3 * mine, 2),
                "images_a_second": round(options.batch / mine, 1),
                "peak_gb": {name: round(value, 2) for name, value in peaks.items()},
                "micro_batch": planned.micro_batch,
                "precision": options.precision,
                "loss_difference": abs(their_loss - our_loss) / abs(their_loss),
                "device": str(device),
                "threads": torch.get_num_threads(),
            }
        )
    )


if __name__ == "__main__":
    main()
