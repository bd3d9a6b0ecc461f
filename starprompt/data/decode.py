"""From a raw image to the pixels that are stored: 8-bit RGB at one size, as PIL decodes them."""

import stat
import warnings
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from starprompt.data.formats import Raw
from starprompt.data.steps import CenterCrop, Resize
from starprompt.errors import reason
from starprompt.files import reading

#: The formats that are read, as PIL names them; it knows many more, with seldom used decoders.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
#: Most pixels of an image: PIL's own limit against images made to fill the memory.
MOST_PIXELS = 178_956_970
#: PIL modes with 16 bits or more a pixel: PIL's own convert would clip them at 255.
_DEEP_MODES = {"I;16", "I;16L", "I;16B", "I;16N", "I"}
#: what a JPEG begins with
_JPEG = b"\xff\xd8\xff"


class CorruptImageError(Exception):
    """An image that cannot be decoded; the message says why."""


def decode(raw: Raw, upright: bool = False) -> NDArray[np.uint8]:
    """Decode to 8-bit RGB pixels (H,W,3).

    upright  turn and mirror the image as its EXIF orientation says; otherwise that is ignored

    Grey becomes three equal channels; palettes, CMYK and alpha are resolved as PIL does; 16-bit
    images keep their most significant 8 bits. Only :data:`FORMATS` are read, and images of at most
    :data:`MOST_PIXELS`. Raises :class:`CorruptImageError`, and :class:`UserError` for a file that
    the system could not read: that says nothing of the image.
    """
    if isinstance(raw, np.ndarray):
        return np.array(_from_array(raw).convert("RGB"))
    if not isinstance(raw, bytes | Path):
        raise CorruptImageError(f"it is a {type(raw).__name__}, not pixels or an encoded image")
    data = raw if isinstance(raw, bytes) else _read(raw)
    try:
        pixels = _photograph(data)
        pixels = _any_image(data) if pixels is None else pixels
        return _turned(pixels, data) if upright else pixels
    except CorruptImageError:
        raise
    except UnidentifiedImageError as error:
        raise CorruptImageError(
            f"it is not an image in one of the formats that are read ({', '.join(FORMATS)})"
        ) from error
    except Image.DecompressionBombError as error:
        raise CorruptImageError(f"it has more than {MOST_PIXELS:,} pixels") from error
    except Exception as error:  # a decoder may raise anything for a damaged image
        what = reason(error)
        raise CorruptImageError(what) from error


def _read(path: Path) -> bytes:
    """The bytes of an image file: a regular file, no larger than an image may be."""
    with reading(path):
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise CorruptImageError("it is not a regular file")
        if status.st_size > MOST_PIXELS * 8:
            raise CorruptImageError(f"it has {status.st_size:,} bytes, too many for an image")
        return path.read_bytes()


def _photograph(data: bytes) -> NDArray[np.uint8] | None:
    """The pixels of a JPEG in the usual colour space; None for anything else and for damage.

    PIL's own library decodes it here too, and to the same pixels (accurate DCT, smooth chroma),
    but straight into an array, in 60% of the time. Whatever it stumbles over is PIL's to judge.
    """
    if not data.startswith(_JPEG):
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        if colours != "YCbCr" or height * width > (Image.MAX_IMAGE_PIXELS or 0):
            return None
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, "RGB", False, False)
    except ValueError:
        return None
    return pixels


def _any_image(data: bytes) -> NDArray[np.uint8]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of damage: it is judged by what comes out
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                raise CorruptImageError(f"it has more than {MOST_PIXELS:,} pixels")
            if image.mode == "F":
                raise CorruptImageError(
                    "its pixels are floating-point numbers whose range is unknown"
                )
            image.load()
            shallow = _eight_bit(image) if image.mode in _DEEP_MODES else image
            return np.array(shallow.convert("RGB"))


def _turned(pixels: NDArray[np.uint8], data: bytes) -> NDArray[np.uint8]:
    """The pixels as the EXIF orientation in ``data`` means them; damaged EXIF says nothing."""
    if data.startswith(_JPEG) and b"Exif\0" not in data[:200_000]:
        return pixels  # most JPEGs: to look for it takes a hundredth of opening the image
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            # PIL turns TIFFs by itself, when their pixels are loaded.
            turned_by_pil = image.format == "TIFF"
            orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # EXIF is parsed apart from the pixels, and as often damaged
        return pixels
    if turned_by_pil or orientation not in _ORIENTATIONS:
        return pixels
    turns, mirrored = _ORIENTATIONS[orientation]
    turned = np.rot90(pixels, -turns)
    return np.ascontiguousarray(turned[:, ::-1] if mirrored else turned)


#: by EXIF orientation: quarter turns clockwise, then whether to mirror left to right
_ORIENTATIONS = {
    2: (0, True),
    3: (2, False),
    4: (2, True),
    5: (1, True),
    6: (1, False),
    7: (3, True),
    8: (3, False),
}


def _from_array(pixels: NDArray[np.generic]) -> Image.Image:
    """Pixels (H,W) or (H,W,3); floating point in [0, 1] is cut, not rounded, as released."""
    if pixels.size == 0:
        raise CorruptImageError("it has no pixels")
    if np.issubdtype(pixels.dtype, np.floating):
        if not np.isfinite(pixels).all():
            raise CorruptImageError("some of its pixels are NaN or infinite")
        pixels = (np.clip(pixels, 0.0, 1.0) * 255).astype(np.uint8)
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or pixels.shape[2:] not in ((), (3,)):
        raise CorruptImageError(f"it holds {pixels.dtype} of shape {pixels.shape}")
    return Image.fromarray(np.ascontiguousarray(pixels))


def _eight_bit(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    return Image.fromarray((np.clip(values, 0, 65535).astype(np.uint32) >> 8).astype(np.uint8))


def to_stored(
    image: NDArray[np.uint8], steps: Sequence[Resize | CenterCrop]
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Bring RGB pixels (H,W,3) uint8 to their stored size.

    Returns (3,H,W) uint8, and the height and width in original pixels of what it shows: the whole
    image, or the part that a centre crop left. The arithmetic is torchvision's on uint8 tensors,
    as of every later resize (thrice PIL's speed; see :mod:`starprompt.data.resample`).
    """
    pixels = image
    shown_height, shown_width = image.shape[:2]
    for step in steps:
        height, width = pixels.shape[:2]
        if isinstance(step, Resize):
            shape = resized_shape(height, width, step.size)
            if shape != (height, width):
                pixels = _resized(pixels, shape)
        else:
            top, left = crop_offset(height, step.size), crop_offset(width, step.size)
            pixels = pixels[top : top + step.size, left : left + step.size]
            shown_height = round(shown_height * step.size / height)
            shown_width = round(shown_width * step.size / width)
    return pixels.transpose(2, 0, 1), (shown_height, shown_width)


def _resized(pixels: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    import torch  # not at the top: it takes seconds, and data without a resize need none of it
    import torch.nn.functional as F

    # The batch's axis comes before channels move: only so does torch see that they lie last, and
    # takes its kernel for that without repacking.
    tensor = torch.from_numpy(pixels)[None].permute(0, 3, 1, 2)
    resized = F.interpolate(tensor, size=shape, mode="bicubic", antialias=True)
    return resized[0].permute(1, 2, 0).numpy()


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
