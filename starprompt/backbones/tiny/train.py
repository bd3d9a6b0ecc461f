"""Make the tiny pair from nothing: ``python -m starprompt.backbones.tiny.train --output DIR``.

Both networks see rendered glyphs alone, never a scan. The recipe is fixed and its last step is
what is kept. With the same seed, machine and library versions the weight files come out the same
to the byte, on one core or two: each network learns on one thread.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import trange

from starprompt.backbones.tiny.captions import caption_tokens
from starprompt.backbones.tiny.glyphs import DIGITS, LETTERS, enlarge, render_glyphs, scan
from starprompt.backbones.tiny.measure import measure_pair, normalise
from starprompt.backbones.tiny.models import (
    CARD,
    WEIGHTS,
    build_tiny_clip,
    build_tiny_vit,
    save_weights,
)
from starprompt.errors import UserError
from starprompt.files import atomic_path, sha256_file, write_json

#: What each network is shown. The ViT knows no digit: to it the demo's classes are new.
CHARACTERS = {"clip": DIGITS + LETTERS, "vit": LETTERS}

#: How much of what CLIP sees are digits, so that ten classes are not lost among 52 letters.
DIGIT_SHARE = 0.35


@dataclass(frozen=True)
class Recipe:
    """How one network is trained: AdamW, a warm-up, then a cosine down to zero."""

    steps: int
    batch_size: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    warmup: int = 100


RECIPES = {"clip": Recipe(steps=1200), "vit": Recipe(steps=2000)}


class GlyphBatches:
    """Endless batches of distorted glyphs, their randomness from one seed."""

    def __init__(self, characters: str, seed: int) -> None:
        self.characters = characters
        self.glyphs = render_glyphs().only(characters)
        self.frequencies = _frequencies(characters)
        self.generator = torch.Generator().manual_seed(seed)

    def draw(self, size: int) -> tuple[Tensor, Tensor]:
        """Normalised images (size, 3, 64, 64) and indices into the characters (size,)."""
        labels = torch.multinomial(self.frequencies, size, True, generator=self.generator)
        font = torch.randint(len(self.glyphs.fonts), (size,), generator=self.generator)
        distance, radius = self.glyphs.distance[labels, font], self.glyphs.radius[labels, font]
        return normalise(enlarge(scan(distance, radius, self.generator))), labels


def _frequencies(characters: str) -> Tensor:
    """Relative frequency of each character: even, but for the digits' share beside letters."""
    is_digit = torch.tensor([character in DIGITS for character in characters])
    share = torch.where(is_digit, DIGIT_SHARE, 1 - DIGIT_SHARE)
    return share / torch.where(is_digit, is_digit.sum(), (~is_digit).sum())


def contrastive_loss(image: Tensor, text: Tensor, labels: Tensor, scale: Tensor) -> Tensor:
    """CLIP's symmetric loss when several images share a caption.

    Each image picks its caption among all; each caption that has images spreads its mass evenly
    over them.

    Args:
        image: float32 (B, d), unit vectors.
        text: float32 (K, d), unit vectors, one caption per character.
        labels: int64 (B,), the row of ``text`` that describes each image.
        scale: Scalar by which cosines are multiplied.
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
    # Convolutions with so few channels are half again as fast when a pixel's channels are adjacent.
    model = build_tiny_clip().to(memory_format=torch.channels_last).train()
    batches = GlyphBatches(CHARACTERS["clip"], seed)
    captions = caption_tokens(CHARACTERS["clip"])
    rows = torch.arange(len(captions))

    def loss_of_next_batch() -> Tensor:
        images, labels = batches.draw(recipe.batch_size)
        form = torch.randint(captions.shape[1], (len(captions),), generator=batches.generator)
        texts = model.encode_text(captions[rows, form], normalize=True)
        # A scale above 100 makes the loss brittle; CLIP bounds it likewise (Radford et al. 2021).
        scale = model.logit_scale.clamp(max=math.log(100)).exp()
        return contrastive_loss(model.encode_image(images, normalize=True), texts, labels, scale)

    losses = _descend(model, loss_of_next_batch, recipe, "tiny CLIP")
    return model.eval(), losses


def train_vit(recipe: Recipe, seed: int) -> tuple[nn.Module, list[float]]:
    """The tiny ViT after ``recipe.steps`` steps of telling letters apart, and its losses."""
    torch.manual_seed(seed)
    batches = GlyphBatches(CHARACTERS["vit"], seed)
    model = build_tiny_vit(num_classes=len(batches.characters)).train()

    def loss_of_next_batch() -> Tensor:
        images, labels = batches.draw(recipe.batch_size)
        return F.cross_entropy(model(images), labels)

    losses = _descend(model, loss_of_next_batch, recipe, "tiny ViT")
    return model.eval(), losses


def _descend(
    model: nn.Module, loss_of_next_batch: Callable[[], Tensor], recipe: Recipe, title: str
) -> list[float]:
    groups: list[dict[str, Any]] = [
        {"params": [p for p in model.parameters() if p.ndim > 1]},
        {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)

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


TRAINERS = {"clip": train_clip, "vit": train_vit}


def make(
    output: Path,
    *,
    clip: Recipe = RECIPES["clip"],
    vit: Recipe = RECIPES["vit"],
    threads: int = 2,
    seed: int = 0,
) -> dict[str, Any]:
    """Train both networks and write their weights and ``card.json``.

    Nothing appears in ``output`` before both are trained; the card comes last.

    Args:
        output: Folder, made if need be.
        threads: With 2 or more the networks learn side by side, a process each; with 1 one after
            the other. The weights are the same.

    Returns:
        What the card holds: recipes, seconds, losses, accuracies on the scans, digests.

    Raises:
        UserError: ``output`` is a file, or a recipe has no step.
    """
    output = Path(output)
    recipes = {"clip": clip, "vit": vit}
    if output.exists() and not output.is_dir():
        raise UserError(f"{output} is a file; give a folder with --output")
    for name, recipe in recipes.items():
        if recipe.steps < 1:
            raise UserError(
                f"the tiny {name} cannot be trained for {recipe.steps} steps; give 1 or more"
            )
    with tempfile.TemporaryDirectory(prefix="tiny-pair-") as staging:
        paths = {name: Path(staging) / path.name for name, path in WEIGHTS.items()}
        jobs = [(name, recipes[name], seed, paths[name]) for name in recipes]
        if threads > 1:
            spawn = get_context("spawn")
            with ProcessPoolExecutor(len(jobs), spawn, initializer=_end_with_parent) as pool:
                trained = list(pool.map(_train_one, *zip(*jobs, strict=True)))
        else:
            trained = [_train_one(*job) for job in jobs]
        card = {
            "seed": seed,
            **dict(zip(recipes, trained, strict=True)),
            **measure_pair(paths["clip"], paths["vit"]),
            "sha256": {path.name: sha256_file(path) for path in paths.values()},
            "versions": _versions(),
        }
        for path in paths.values():
            with atomic_path(output / path.name) as part:
                shutil.copyfile(path, part)
    write_json(output / CARD.name, card)
    return card


def _end_with_parent() -> None:
    """Let this process end when the one that started it is killed, not minutes later."""

    def wait() -> None:
        parent = parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _train_one(name: str, recipe: Recipe, seed: int, path: Path) -> dict[str, Any]:
    """Train the network ``name``, write its weights to ``path``, and say how it went."""
    start = time.perf_counter()
    with _reproducibly():
        model, losses = TRAINERS[name](recipe, seed)
    save_weights(model, path)
    last = losses[-100:]
    return {
        "characters": CHARACTERS[name],
        **asdict(recipe),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "seconds": round(time.perf_counter() - start),
        "loss_of_first_step": round(losses[0], 4),
        "loss_of_last_100_steps": round(sum(last) / len(last), 4),
    }


@contextmanager
def _reproducibly() -> Iterator[None]:
    """One thread and deterministic kernels inside; everything as before afterwards."""
    settings: Any = torch.utils.deterministic
    threads, filled = torch.get_num_threads(), settings.fill_uninitialized_memory
    deterministic = torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    # Filling memory that is about to be written anyway finds bugs, at a price per allocation.
    settings.fill_uninitialized_memory = False
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)
        settings.fill_uninitialized_memory = filled


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
    recipes = {name: Recipe(**asdict(recipe) | changed) for name, recipe in RECIPES.items()}
    try:
        make(given.output, **recipes, threads=given.threads, seed=given.seed)
    except UserError as mistake:
        parser.exit(2, f"{mistake}\n")


if __name__ == "__main__":
    main()
