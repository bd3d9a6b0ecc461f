"""How the tiny pair does on the handwritten digits, which neither network was trained on.

A measurement for the model card. Nothing here is called while a network learns, and no step, weight
or checkpoint depends on it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from starprompt.backbones.tiny.captions import DIGIT_WORDS
from starprompt.backbones.tiny.glyphs import enlarge
from starprompt.backbones.tiny.models import MEAN, STD, tiny_tokenizer


def digit_scans() -> tuple[Tensor, Tensor]:
    """scikit-learn's 1,797 scans: images float32 (n, 3, 64, 64) in [0, 1], labels int64 (n,)."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return enlarge(torch.from_numpy(bunch.images).float() / 16), torch.from_numpy(bunch.target)


def normalise(images: Tensor) -> Tensor:
    """Images in [0, 1] as both networks take them."""
    return (images - MEAN[0]) / STD[0]


@torch.no_grad()
def features(encode: nn.Module, images: Tensor) -> Tensor:
    """What ``encode`` makes of images (n, 3, 64, 64) in [0, 1]: float32 (n, width)."""
    return torch.cat([encode(normalise(part)) for part in images.split(256)])


@torch.no_grad()
def zero_shot_predictions(clip: nn.Module, images: Tensor, template: str = "{}") -> Tensor:
    """The digit whose text is nearest, for images in [0, 1]: int64 (n,)."""
    texts = [template.format(f"the digit {word}") for word in DIGIT_WORDS]
    keys = clip.encode_text(tiny_tokenizer()(texts), normalize=True)
    return (features(clip.visual, images) @ keys.T).argmax(dim=1)


def linear_probe_accuracy(vit: nn.Module) -> dict[str, float]:
    """Accuracy of a logistic regression over all ten digits on the ViT's features.

    Fitted on four fifths of the scans and scored on the last fifth, stratified; and on raw pixels,
    for comparison.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    images, labels = digit_scans()
    fit, score = train_test_split(
        range(len(labels)), test_size=0.2, stratify=labels, random_state=0
    )
    accuracy = {}
    for name, inputs in (
        ("vit_features", features(vit.eval(), images)),
        ("pixels", images[:, 0, 4::8, 4::8].flatten(1)),
    ):
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
        probe.fit(inputs[fit].numpy(), labels[fit].numpy())
        accuracy[name] = float(probe.score(inputs[score].numpy(), labels[score].numpy()))
    return accuracy
