"""What every frozen network does to a view before it looks: its size and its channel statistics."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tvf

from starprompt.backbones.names import Channels


@lru_cache(maxsize=64)
def _column(values: Channels, device: torch.device, dtype: torch.dtype) -> Tensor:
    """(1,3,1,1) of ``values``, kept: making it anew would copy from the host at every step."""
    with torch.inference_mode(False):
        return torch.tensor(values, device=device, dtype=dtype).view(1, 3, 1, 1)


@dataclass(frozen=True)
class ChannelStatistics:
    """Normalises (B,3,H,W) images in [0, 1]: (image - mean) / std, each channel by its own."""

    mean: Channels
    std: Channels

    def __call__(self, images: Tensor) -> Tensor:
        mean = _column(self.mean, images.device, images.dtype)
        return (images - mean) / _column(self.std, images.device, images.dtype)


#: OpenAI's CLIP, https://github.com/openai/CLIP (clip/clip.py)
CLIP_STATISTICS = ChannelStatistics(
    (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
)


def fit_view(view: Tensor, size: int, *, squash: bool = False) -> Tensor:
    """A (B,3,H,W) view in [0, 1] as (B,3,size,size), the way CLIP's own preprocessing does it.

    The shorter side is resized to ``size`` (bicubic with antialiasing, overshoot clipped) and the
    centre is cropped; ``squash`` resizes both sides instead. A view of that size goes untouched.
    """
    height, width = view.shape[-2:]
    if (height, width) == (size, size):
        return view
    resized = tvf.resize(
        view,
        [size, size] if squash else [size],
        interpolation=InterpolationMode.BICUBIC,
        antialias=True,
    )
    return tvf.center_crop(resized.clamp(0, 1), [size, size])
