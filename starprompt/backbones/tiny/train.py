"""Make the tiny pair from nothing: ``python -m starprompt.backbones.tiny.train --output DIR``.

Both networks see rendered glyphs alone, never a scan. The recipe is fixed and its last step is
what is kept. With the same seed, number of threads, machine and library versions the weight files
come out the same to the byte.
"""

from __future__ import annotations

import argparse
import math
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils import deterministic
from tqdm import trange

from starprompt.backbones.tiny.captions import caption_tokens
from starprompt.backbones.tiny.glyphs import DIGITS, LETTERS, GlyphSet, enlarge, render_glyphs, scan
from starprompt.backbones.tiny.measure import (
    digit_scans,
    linear_probe_accuracy,
    normalise,
    zero_shot_predictions,
)
from starprompt.backbones.tiny.models import (
    WEIGHTS,
    build_tiny_clip,
    build_tiny_vit,
    load_tiny_clip,
    load_tiny_vit,
    save_weights,
)
from starprompt.files import atomic_path, sha256_file, write_json

#: What each network is shown. The ViT knows no digit: to it the demo's classes are new.
CLIP_CHARACTERS = DIGITS + LETTERS
VIT_CHARACTERS = LETTERS


@dataclass(frozen=True)
class Recipe:
    """How one network is trained: AdamW, a warm-up, then a cosine down to nothing."""

    steps: int
    batch_size: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    warmup: int = 100


CLIP_RECIPE = Recipe(steps=2000)
VIT_RECIPE = Recipe(steps=2000, learning_rate=1e-3)


class GlyphBatches:
    """Endless batches of distorted glyphs, their randomness from one seed."""

    def __init__(self, characters: str, seed: int) -> None:
        self.glyphs: GlyphSet = render_glyphs(characters)
        self.generator = torch.Generator().manual_seed(seed)

    def draw(self, size: int) -> tuple[Tensor, Tensor]:
        """Normalised images (size, 3, 64, 64) and indices into the characters (size,)."""
        classes, fonts = self.glyphs.radius.shape
        labels = torch.randint(classes, (size,), generator=self.generator)
        font = torch.randint(fonts, (size,), generator=self.generator)
        small = scan(
            self.glyphs.distance[labels, font], self.glyphs.radius[labels, font], self.generator
        )
        return normalise(enlarge(small)), labels


def contrastive_loss(image: Tensor, text: Tensor, labels: Tensor, scale: Tensor) -> Tensor:
    """CLIP's symmetric loss when several images share a caption.

    Args:
        image: (B, d) unit vectors. text: (K, d) unit vectors, one caption per character.
        labels: int64 (B,), the caption of each image.
        scale: Scalar that multiplies the cosines.

    Each image picks its caption among all; each caption that has images spreads its mass evenly
    over them.
    """
    logits = scale * image @ text.T
    belongs = F.one_hot(labels, len(text)).to(logits.dtype)
    images_of = belongs.sum(dim=0)
    per_caption = -(belongs * logits.log_softmax(dim=0)).sum(dim=0) / images_of.clamp(min=1)
    from_text = per_caption.sum() / (images_of > 0).sum()
    return (F.cross_entropy(logits, labels) + from_text) / 2


def train_clip(recipe: Recipe, seed: int) -> tuple[nn.Module, list[float]]:
    """The tiny CLIP after ``recipe.steps`` contrastive steps, and the loss of each step."""
    torch.manual_seed(seed)
    model = build_tiny_clip().train()
    batches = GlyphBatches(CLIP_CHARACTERS, seed)
    captions = caption_tokens(CLIP_CHARACTERS)

    def loss_of_next_batch() -> Tensor:
        images, labels = batches.draw(recipe.batch_size)
        form = torch.randint(captions.shape[1], (len(captions),), generator=batches.generator)
        texts = model.encode_text(captions[torch.arange(len(captions)), form], normalize=True)
        # A scale above 100 makes the loss brittle; CLIP bounds it likewise (Radford et al. 2021).
        scale = model.logit_scale.clamp(max=math.log(100)).exp()
        return contrastive_loss(model.encode_image(images, normalize=True), texts, labels, scale)

    losses = _descend(model, loss_of_next_batch, recipe, "tiny CLIP")
    return model.eval(), losses


def train_vit(recipe: Recipe, seed: int) -> tuple[nn.Module, list[float]]:
    """The tiny ViT after ``recipe.steps`` steps of telling letters apart, and its losses."""
    torch.manual_seed(seed)
    batches = GlyphBatches(VIT_CHARACTERS, seed)
    model = build_tiny_vit(num_classes=len(VIT_CHARACTERS)).train()

    def loss_of_next_batch() -> Tensor:
        images, labels = batches.draw(recipe.batch_size)
        return F.cross_entropy(model(images), labels)

    losses = _descend(model, loss_of_next_batch, recipe, "tiny ViT")
    return model.eval(), losses


def _descend(
    model: nn.Module, loss_of_next_batch: Callable[[], Tensor], recipe: Recipe, title: str
) -> list[float]:
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed}, {"params": plain, "weight_decay": 0.0}],
        lr=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
    )

    def share_of_rate(step: int) -> float:
        warm = min(1.0, (step + 1) / recipe.warmup)
        return warm * (1 + math.cos(math.pi * step / recipe.steps)) / 2

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share_of_rate)
    losses = []
    bar = trange(recipe.steps, desc=title, disable=not sys.stderr.isatty())
    for _ in bar:
        loss = loss_of_next_batch()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        bar.set_postfix(loss=f"{losses[-1]:.3f}", refresh=False)
    return losses


@contextmanager
def _reproducibly(threads: int) -> Iterator[None]:
    """A fixed number of threads and deterministic kernels inside; as before afterwards."""
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    filled = deterministic.fill_uninitialized_memory
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    # Filling memory that is about to be written anyway finds bugs, at a price per allocation.
    deterministic.fill_uninitialized_memory = False
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])
        deterministic.fill_uninitialized_memory = filled


def make(
    output: Path,
    *,
    clip: Recipe = CLIP_RECIPE,
    vit: Recipe = VIT_RECIPE,
    threads: int = 2,
    seed: int = 0,
) -> dict[str, Any]:
    """Train both networks and write their weights and ``card.json``.

    Each file appears whole or not at all; the card is written last.

    Returns:
        What the card holds: recipes, seconds, losses, accuracies on the scans, digests.
    """
    output = Path(output)
    paths = {name: output / path.name for name, path in WEIGHTS.items()}
    card: dict[str, Any] = {"seed": seed, "threads": threads, "versions": _versions()}
    with _reproducibly(threads):
        for name, train, recipe in (("clip", train_clip, clip), ("vit", train_vit, vit)):
            start = time.perf_counter()
            model, losses = train(recipe, seed)
            last = losses[-100:]
            card[name] = asdict(recipe) | {
                "seconds": round(time.perf_counter() - start, 1),
                "parameters": sum(p.numel() for p in model.parameters()),
                "loss_first": round(losses[0], 4),
                "loss_mean_of_last_100": round(sum(last) / len(last), 4),
            }
            with atomic_path(paths[name]) as part:
                save_weights(model, part)
        images, labels = digit_scans()
        trained = load_tiny_clip(paths["clip"])
        card["zero_shot_accuracy"] = {
            template: round(float((found == labels).float().mean()), 4)
            for template in ("{}", "{}.", "X {}.", "a photo of {}.")
            for found in [zero_shot_predictions(trained, images, template)]
        }
        card["linear_probe_accuracy"] = linear_probe_accuracy(load_tiny_vit(0, paths["vit"]))
    card["sha256"] = {path.name: sha256_file(path) for path in paths.values()}
    write_json(output / "card.json", card)
    return card


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    packages = ("torch", "open_clip_torch", "timm", "matplotlib", "pillow", "scipy", "numpy")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Make the tiny CLIP and the tiny ViT.")
    parser.add_argument("--output", type=Path, required=True, help="folder for the three files")
    parser.add_argument("--steps", type=int, help="steps of both, for a quick trial")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    changed = {} if given.steps is None else {"steps": given.steps}
    make(
        given.output,
        clip=Recipe(**asdict(CLIP_RECIPE) | changed),
        vit=Recipe(**asdict(VIT_RECIPE) | changed),
        threads=given.threads,
        seed=given.seed,
    )


if __name__ == "__main__":
    main()
