"""Decoding: the pixels are PIL's; damaged, giant and odd images are refused."""

import io
import os
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_image
from torchvision.transforms import v2

from starprompt.data.decode import CorruptImageError, decode, to_stored
from starprompt.data.steps import CenterCrop, Resize
from starprompt.errors import UserError


@pytest.mark.parametrize(
    "form", ["EPS", "PCX", "TGA", "SGI", "ICO", "IM", "PSD", "JPEG2000", "DDS", "PDF", "MSP"]
)
def test_only_the_formats_that_are_meant_are_decoded(form):
    buffer = io.BytesIO()
    image = Image.fromarray(np.zeros((8, 8, 3), np.uint8))
    try:
        (image.convert("1") if form == "MSP" else image).save(buffer, form)
    except (KeyError, OSError):
        buffer.write(b"8BPS\0\1" + bytes(60))  # PIL reads some formats that it doesn't write
    with pytest.raises(
        CorruptImageError, match=r"none of|not an image in one of the formats"
    ) as caught:
        decode(buffer.getvalue())
    assert "BytesIO" not in str(caught.value)


def _png_that_says(width: int, height: int) -> bytes:
    body = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    chunk = len(body[4:]).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    data = b"IDAT" + zlib.compress(bytes(1000))
    chunk += len(data[4:]).to_bytes(4, "big") + data + zlib.crc32(data).to_bytes(4, "big")
    return b"\x89PNG\r\n\x1a\n" + chunk


@pytest.mark.parametrize("size", [(20_000, 20_000), (1, 200_000_000), (2**31 - 1, 2**31 - 1)])
def test_an_image_made_to_fill_the_memory_is_refused_by_its_size(size):
    with pytest.raises(CorruptImageError, match=r"more than 178,956,970 pixels"):
        decode(_png_that_says(*size))


def test_what_stands_where_an_image_should_be_is_named_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "giant.jpg").touch()
    os.truncate(tmp_path / "giant.jpg", 10**12)
    for name, why in {
        "pipe.jpg": "not a regular file",
        "folder.jpg": "not a regular file",
        "giant.jpg": "too many for an image",
    }.items():
        with pytest.raises(CorruptImageError, match=why):
            decode(tmp_path / name)
    with pytest.raises(UserError, match=r"none\.jpg could not be read: No such file"):
        decode(tmp_path / "none.jpg")


def _file(image: Image.Image, form: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=form)
    return buffer.getvalue()


def test_every_kind_of_image_comes_out_as_8_bit_rgb():
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    rgb = np.stack([ramp, ramp[::-1], ramp.T], -1)
    grey = np.stack([ramp] * 3, -1)
    colours = Image.fromarray(rgb)
    alpha = Image.fromarray(np.dstack([rgb, np.full_like(ramp, 128)]))
    deep = Image.fromarray(ramp.astype(np.uint16) * 257)
    palette = Image.fromarray(ramp).convert("P")
    black_and_white = Image.fromarray(ramp).point(lambda v: 255 * (v > 127)).convert("1")
    cases = {
        "rgb": (_file(colours, "PNG"), rgb),
        "grey": (_file(Image.fromarray(ramp), "PNG"), grey),
        "alpha": (_file(alpha, "PNG"), rgb),
        "16 bit": (_file(deep, "PNG"), grey),
        "16 bit tiff": (_file(deep, "TIFF"), grey),
        "32 bit": (_file(Image.fromarray(ramp.astype(np.int32) * 257), "TIFF"), grey),
        "palette": (_file(palette, "PNG"), grey),
        "1 bit": (_file(black_and_white, "PNG"), 255 * (grey > 127)),
        "float array": (ramp / 255 + 1e-6, grey),
        "rgb float array": ((rgb / 255 + 1e-6).astype(np.float32), rgb),
    }
    for name, (raw, expected) in cases.items():
        pixels = decode(raw)
        assert pixels.dtype == np.uint8, name
        np.testing.assert_array_equal(pixels, expected, err_msg=name)
    cmyk = decode(_file(colours.convert("CMYK"), "TIFF"))
    np.testing.assert_array_equal(cmyk, rgb)
    with pytest.raises(CorruptImageError, match="NaN or infinite"):
        decode(np.full((2, 2), np.nan))
    with pytest.raises(CorruptImageError, match="floating-point numbers whose range is unknown"):
        decode(_file(Image.fromarray(ramp.astype(np.float32)), "TIFF"))
    with pytest.raises(CorruptImageError, match="int64"):
        decode(np.zeros((2, 2), np.int64))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 30}, {"restart": 1}])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("shape", [(201, 333), (16, 16), (1, 7)])
def test_jpegs_have_the_pixels_that_pil_gives_them(mode, options, subsampling, shape):
    photo = Image.fromarray(load_sample_image("flower.jpg")[: shape[0], : shape[1]]).convert(mode)
    written = {"restart_marker_rows": options["restart"]} if "restart" in options else options
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", subsampling=subsampling, **written)
    with Image.open(buffer) as image:
        expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(decode(buffer.getvalue()), expected)


def test_what_pil_forgives_in_a_jpeg_is_forgiven_and_what_it_refuses_is_refused(tmp_path):
    data = _file(Image.fromarray(load_sample_image("flower.jpg")[:64, :64]), "JPEG")
    whole = decode(data)
    np.testing.assert_array_equal(decode(data + b"trailing bytes"), whole)
    for cut in (3, len(data) // 2, len(data) - 40):
        with pytest.raises(CorruptImageError):
            decode(data[:cut])
    path = tmp_path / "flower.jpg"
    path.write_bytes(data)
    np.testing.assert_array_equal(decode(path), whole)


@pytest.mark.parametrize("shape", [(300, 401), (257, 255), (100, 340)])
def test_the_stored_size_is_torchvisions(shape):
    """Of tensors exactly; of PIL images a grey level here and there."""
    photo = load_sample_image("china.jpg")[: shape[0], : shape[1]]
    steps = [Resize(step="resize", size=64), CenterCrop(step="center_crop", size=57)]
    bicubic = v2.InterpolationMode.BICUBIC
    transform = v2.Compose([v2.Resize(64, bicubic), v2.CenterCrop(57)])
    ours, shown = to_stored(photo.copy(), steps)
    tensor = torch.from_numpy(photo.copy()).permute(2, 0, 1)
    np.testing.assert_array_equal(ours, transform(tensor).numpy())
    of_pil = np.asarray(transform(Image.fromarray(photo))).astype(int)
    difference = np.abs(ours.transpose(1, 2, 0) - of_pil)
    assert difference.max() <= 2
    assert (difference > 1).mean() < 1e-3
    assert shown == pytest.approx((min(shape) * 57 / 64,) * 2, abs=2)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(10))
def test_exif_orientation_is_that_of_pil(form, orientation):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x112] = orientation
    buffer, as_png = io.BytesIO(), io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, exif=exif)
    Image.fromarray(pixels).save(as_png, "PNG", exif=exif)
    # Pillow 10.0 turns TIFFs when they are loaded, and `exif_transpose` turns them again.
    reference = as_png if form == "TIFF" else buffer
    turned = ImageOps.exif_transpose(Image.open(io.BytesIO(reference.getvalue()))).convert("RGB")
    np.testing.assert_array_equal(decode(buffer.getvalue(), upright=True), np.asarray(turned))
