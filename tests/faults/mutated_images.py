"""Mutated images: `python -m tests.faults.mutated_images` (5,000 trials).

Each is an image in one of the formats that are read, damaged at random. Decoding it must give what
PIL gives under the same rules, or refuse.
"""

import io
import random
import struct
import sys
import warnings
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from starprompt.data.decode import FORMATS, MOST_PIXELS, CorruptImageError, decode, to_stored
from starprompt.data.steps import CenterCrop
from starprompt.errors import UserError
from tests.faults._campaign import Trial, WrongError, main

SHALLOW = {"RGB", "L", "P", "1", "RGBA", "LA", "CMYK"}


@cache
def _images() -> dict[str, bytes]:
    """Small images of all formats, in modes and with options that take different decoders."""
    random_ = np.random.default_rng(0)
    noise = random_.integers(0, 256, (24, 32, 3), dtype=np.uint8)
    slope = np.linspace(0, 255, 24 * 32 * 3).reshape(24, 32, 3).astype(np.uint8)
    colour, smooth = Image.fromarray(noise), Image.fromarray(slope)
    grey, deep = smooth.convert("L"), Image.fromarray(slope[..., 0].astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x112] = 6
    exif[0x10E] = "a picture"
    made = {}

    def save(name: str, image: Image.Image, form: str, **options: object) -> None:
        buffer = io.BytesIO()
        image.save(buffer, form, **options)
        made[f"{form} {name}"] = buffer.getvalue()

    save("photo", smooth, "JPEG", quality=90)
    save("noise", colour, "JPEG", quality=70, subsampling="4:4:4")
    save("progressive", smooth, "JPEG", progressive=True)
    save("cmyk", smooth.convert("CMYK"), "JPEG")
    save("grey", grey, "JPEG")
    save("turned", smooth, "JPEG", exif=exif)
    save("plain", colour, "PNG")
    save("palette", smooth.convert("P"), "PNG")
    save("16 bit", deep, "PNG")
    save("alpha", smooth.convert("RGBA"), "PNG", exif=exif)
    save("plain", colour, "BMP")
    save("palette", smooth.convert("P"), "BMP")
    save("plain", smooth.convert("P"), "GIF")
    save("frames", smooth.convert("P"), "GIF", save_all=True, append_images=[colour.convert("P")])
    save("raw", colour, "TIFF")
    for packed in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        save(packed, smooth, "TIFF", compression=packed)
    save("group 4", grey.convert("1"), "TIFF", compression="group4")
    save("16 bit", deep, "TIFF")
    save("turned", smooth, "TIFF", exif=exif)
    save("lossy", smooth, "WEBP")
    save("lossless", colour.convert("RGBA"), "WEBP", lossless=True)
    save("turned", smooth, "WEBP", exif=exif)
    save("colour", colour, "PPM")
    save("grey", grey, "PPM")
    return made


def _mutated(data: bytes, random_: random.Random) -> tuple[str, bytes]:
    kinds = ("flip", "zero", "cut", "insert", "remove", "number", "header", "splice", "repeat")
    kind = random_.choice(kinds)
    out = bytearray(data)
    place = random_.randrange(len(out))
    size = random_.choice((1, 2, 4, 16, 64, len(out) // 3 or 1))
    if kind == "flip":
        for _ in range(random_.choice((1, 1, 3, 20))):
            out[random_.randrange(len(out))] ^= 1 << random_.randrange(8)
    elif kind == "zero":
        out[place : place + size] = bytes(len(out[place : place + size]))
    elif kind == "cut":
        del out[place:]
    elif kind == "insert":
        out[place:place] = random_.randbytes(size)
    elif kind == "remove":
        del out[place : place + size]
    elif kind == "number":
        number = random_.choice((0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF))
        form = random_.choice((">I", "<I", ">H", "<H"))
        packed = struct.pack(form, number & (0xFFFF if form[1] == "H" else 0xFFFFFFFF))
        out[place : place + len(packed)] = packed
    elif kind == "header":
        for _ in range(random_.choice((1, 2, 5))):
            out[random_.randrange(min(64, len(out)))] = random_.randrange(256)
    elif kind == "splice":
        other = random_.choice(list(_images().values()))
        out[place:] = other[random_.randrange(len(other)) :]
    else:
        out[place:place] = out[place : place + size] * random_.choice((2, 50))
    return kind, bytes(out)


def _by_pil(data: bytes) -> np.ndarray | None:
    """The pixels as PIL alone decodes them; None where it doesn't, or holds deeper values."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                if image.mode not in SHALLOW or image.width * image.height > MOST_PIXELS:
                    return None
                image.load()
                return np.array(image.convert("RGB"))
    except Exception:
        return None


def make(seed: int, number: int) -> Trial:
    """The mutated image of that number."""
    random_ = random.Random(f"{seed} image {number}")
    name, data = random_.choice(sorted(_images().items()))
    kind, data = _mutated(data, random_)
    upright = random_.random() < 0.5

    def act(folder: Path) -> None:
        path = folder / "image"
        path.write_bytes(data)
        try:
            pixels = decode(path if random_.random() < 0.5 else data, upright)
        except CorruptImageError as error:
            raise UserError(f"{path}: {error}") from error
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
            raise WrongError(f"{name}: {pixels.dtype} {pixels.shape}")
        expected = _by_pil(data)
        if expected is not None and not upright and not np.array_equal(pixels, expected):
            raise WrongError(f"{name}: other pixels than PIL's")
        if expected is not None and sorted(pixels.shape) != sorted(expected.shape):
            raise WrongError(f"{name}: {pixels.shape} where PIL has {expected.shape}")
        side = min(pixels.shape[:2])
        stored, _ = to_stored(pixels, [CenterCrop(step="center_crop", size=side)])
        if stored.shape != (3, side, side):
            raise WrongError(f"{name}: stored as {stored.shape}")

    return Trial(f"{name.split()[0]}: {kind}", act)


if __name__ == "__main__":
    sys.exit(main("mutated images", make, 5000, __doc__ or ""))
