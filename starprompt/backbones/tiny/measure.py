"""How the tiny pair does on the handwritten digits, which neither network was trained on.

A measurement for the model card. Nothing here is called while a network learns, and no step, weight
or checkpoint depends on it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from starprompt.backbones.tiny.glyphs import DIGIT_WORDS, enlarge
from starprompt.backbones.tiny.models import (
    MEAN,
    STD,
    load_tiny_clip,
    load_tiny_vit,
    tiny_tokenizer,
)

TEMPLATES = ("{}", "{}.", "X {}.", "a photo of {}.")


def digit_scans() -> tuple[Tensor, Tensor]:
    """scikit-learn's 1,797 scans: images float32 (n, 3, 64, 64) in [0, 1], labels int64 (n,)."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return enlarge(torch.from_numpy(bunch.images).float() / 16), torch.from_numpy(bunch.target)


def split(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of the demo's training part (four fifths, stratified) and of its test part."""
    from sklearn.model_selection import train_test_split

    rows = torch.arange(len(labels))
    train, test = train_test_split(rows, test_size=0.2, random_state=0, stratify=labels)
    return train, test


def normalise(images: Tensor) -> Tensor:
    """Images in [0, 1] as both networks take them."""
    return (images - MEAN[0]) / STD[0]


@torch.no_grad()
def features(encode: Any, images: Tensor) -> Tensor:
    """What the module ``encode`` makes of images (n, 3, 64, 64) in [0, 1]: float32 (n, width)."""
    return torch.cat([encode(normalise(part)) for part in images.split(256)])


@torch.no_grad()
def zero_shot_predictions(clip: Any, images: Tensor, template: str = "{}") -> Tensor:
    """The digit whose text is nearest to each image in [0, 1]: int64 (n,)."""
    texts = [template.format(f"the digit {word}") for word in DIGIT_WORDS]
    keys = clip.encode_text(tiny_tokenizer()(texts), normalize=True)
    return (features(clip.visual, images) @ keys.T).argmax(dim=1)


def zero_shot_accuracy(clip: Any) -> dict[str, dict[str, float]]:
    """Zero-shot accuracy by template, on all scans and on the demo's two parts of them."""
    images, labels = digit_scans()
    train, test = split(labels)
    table = {}
    for template in TEMPLATES:
        right = (zero_shot_predictions(clip, images, template) == labels).double()
        table[template] = {
            "all": round(right.mean().item(), 4),
            "train": round(right[train].mean().item(), 4),
            "test": round(right[test].mean().item(), 4),
        }
    return table


def linear_probe_accuracy(vit: Any) -> dict[str, float]:
    """Accuracy of a logistic regression over all ten digits on the ViT's [CLS] features.

    Fitted on the demo's training part and scored on its test part; beside it the same on the
    8x8 values themselves.
    """
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    images, labels = digit_scans()
    train, test = (rows.numpy() for rows in split(labels))
    accuracy = {}
    for name, inputs in (
        ("vit_features", features(vit, images).numpy()),
        ("pixels", load_digits().data),
    ):
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
        probe.fit(inputs[train], labels[train].numpy())
        accuracy[name] = round(float(probe.score(inputs[test], labels[test].numpy())), 4)
    return accuracy


def measure_pair(clip: Path, vit: Path) -> dict[str, Any]:
    """All of the above for two weight files, as the card states it."""
    return {
        "zero_shot_accuracy": zero_shot_accuracy(load_tiny_clip(clip)),
        "linear_probe_accuracy": linear_probe_accuracy(load_tiny_vit(0, vit)),
    }
