"""Views are resized, cropped and normalised as CLIP's own preprocessing does."""

import os
from pathlib import Path

import open_clip
import torch

from starprompt.backbones.preprocess import CLIP_STATISTICS, fit_view
from tests.helpers import paths

GOLDEN = [paths.GOLDEN]


if os.environ.get("STARPROMPT_GOLDEN_DIR"):
    GOLDEN.append(Path(os.environ["STARPROMPT_GOLDEN_DIR"]))


def test_images_are_fitted_and_normalised_as_clips_own_preprocessing_does() -> None:
    import numpy as np
    from PIL import Image

    pixels = np.random.default_rng(0).integers(80, 170, (48, 80, 3), dtype=np.uint8)
    pixels = np.array(Image.fromarray(pixels).resize((160, 96), Image.Resampling.BICUBIC))
    theirs = open_clip.image_transform(
        64, is_train=False, mean=CLIP_STATISTICS.mean, std=CLIP_STATISTICS.std
    )(Image.fromarray(pixels))
    view = torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0) / 255
    ours = CLIP_STATISTICS(fit_view(view, 64))
    # PIL rounds to 8 bits after each of its two passes; the deviation is 0.26.
    assert float((ours[0] - theirs).abs().max()) < 2.1 / 255 / 0.26
    assert fit_view(view, 64, squash=True).shape == (1, 3, 64, 64)
    fitted = torch.rand(2, 3, 64, 64)
    assert fit_view(fitted, 64) is fitted
