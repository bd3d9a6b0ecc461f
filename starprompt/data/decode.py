"""From a raw image to the pixels that are stored: 8-bit RGB at one size, as PIL decodes them."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from starprompt.data.formats import Raw
from starprompt.data.steps import CenterCrop, Resize

#: PIL modes with 16 bits or more a pixel: PIL's own convert would clip them at 255.
_DEEP_MODES = {"I;16", "I;16L", "I;16B", "I;16N", "I", "F"}


class CorruptImageError(Exception):
    """An image that cannot be decoded; the message says why."""


def decode(raw: Raw) -> Image.Image:
    """Decode to an 8-bit RGB image.

    Grey becomes three equal channels; palettes, CMYK and alpha are resolved as PIL does; 16-bit
    images keep their most significant 8 bits. Raises :class:`CorruptImageError`.
    """
    if isinstance(raw, np.ndarray):
        return _from_array(raw).convert("RGB")
    try:
        with Image.open(BytesIO(raw) if isinstance(raw, bytes) else Path(raw)) as image:
            image.load()
            if image.mode == "RGB":  # convert would copy it
                return image
            shallow = _eight_bit(image) if image.mode in _DEEP_MODES else image
            return shallow.convert("RGB")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError) as error:
        if isinstance(error, FileNotFoundError):
            raise CorruptImageError("the file is missing") from error
        raise CorruptImageError(str(error) or type(error).__name__) from error
    except Image.DecompressionBombError as error:
        raise CorruptImageError("too many pixels to be a photograph") from error


def _from_array(pixels: NDArray[np.generic]) -> Image.Image:
    """Pixels (H,W) or (H,W,3); floating point in [0, 1] is cut, not rounded, as released."""
    if np.issubdtype(pixels.dtype, np.floating):
        if not np.isfinite(pixels).all():
            raise CorruptImageError("it has pixels that are no numbers")
        pixels = (np.clip(pixels, 0.0, 1.0) * 255).astype(np.uint8)
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or pixels.shape[2:] not in ((), (3,)):
        raise CorruptImageError(f"it holds {pixels.dtype} of shape {pixels.shape}")
    return Image.fromarray(np.ascontiguousarray(pixels))


def _eight_bit(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    if image.mode == "F":
        return Image.fromarray(np.clip(np.round(values), 0, 255).astype(np.uint8))
    return Image.fromarray((np.clip(values, 0, 65535).astype(np.uint32) >> 8).astype(np.uint8))


def to_stored(
    image: Image.Image, steps: Sequence[Resize | CenterCrop]
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Bring an RGB image to its stored size.

    Returns (3,H,W) uint8, and the height and width in original pixels of what it shows: the whole
    image, or the part that a centre crop left. The arithmetic is torchvision's on uint8 tensors,
    as of every later resize (thrice PIL's speed; see :mod:`starprompt.data.resample`).
    """
    pixels = _as_array(image)
    shown_height, shown_width = image.height, image.width
    for step in steps:
        height, width = pixels.shape[1:]
        if isinstance(step, Resize):
            shape = resized_shape(height, width, step.size)
            if shape != (height, width):
                pixels = _resized(pixels, shape)
        else:
            top, left = crop_offset(height, step.size), crop_offset(width, step.size)
            pixels = pixels[:, top : top + step.size, left : left + step.size]
            shown_height = round(shown_height * step.size / height)
            shown_width = round(shown_width * step.size / width)
    return pixels, (shown_height, shown_width)


def _as_array(image: Image.Image) -> NDArray[np.uint8]:
    """(3,H,W) uint8 pixels of an RGB image, in memory as PIL has them: channels last."""
    return np.array(image).transpose(2, 0, 1)


def _resized(pixels: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    import torch  # not at the top: it takes seconds, and data without a resize need none of it
    import torch.nn.functional as F

    tensor = torch.from_numpy(pixels)[None]
    return F.interpolate(tensor, size=shape, mode="bicubic", antialias=True)[0].numpy()


def resized_shape(height: int, width: int, size: int | tuple[int, int]) -> tuple[int, int]:
    """(height, width) after a resize, as torchvision computes them."""
    if isinstance(size, tuple):
        return size
    if height <= width:
        return size, int(size * width / height)
    return int(size * height / width), size


def crop_offset(side: int, crop: int) -> int:
    """Where a central crop begins: torchvision's rounding (half to even)."""
    return round((side - crop) / 2.0)
