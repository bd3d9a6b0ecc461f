"""Digits and letters of the fonts that matplotlib ships, distorted until they look scanned.

The demo's real images are handwritten digits that were scanned, normalised in size to 32x32 binary
bitmaps and counted in 4x4 blocks, which leaves 8x8 values from 0 to 16 (Alpaydin and Kaynak,
"Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998). The same road
is taken here, from print instead of ink: distort, normalise the size, threshold at 32x32, count
blocks.

Images are white on black.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

DIGITS = string.digits
DIGIT_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SMALL_LETTERS = string.ascii_lowercase
CAPITAL_LETTERS = string.ascii_uppercase
LETTERS = SMALL_LETTERS + CAPITAL_LETTERS

IMAGE_SIZE = 64
SCAN_SIZE = 8

_CANVAS = 64
_GLYPH = 44
_OVERSAMPLING = 2
_BITMAP = 32


@dataclass(frozen=True)
class GlyphSet:
    """Undistorted glyphs as signed distance fields.

    Attributes:
        characters: The K characters, in the order of the first axis.
        fonts: The F fonts, by file name without suffix, in the order of the second axis.
        distance: float32 (K, F, 64, 64): distance to the outline, positive in the ink, in pixels
            of the canvas, on which the longer side of every glyph measures 44. Thickening a
            stroke is adding a constant.
        radius: float32 (K, F): half the width of the thickest stroke, in the same pixels.
    """

    characters: str
    fonts: tuple[str, ...]
    distance: Tensor
    radius: Tensor

    def only(self, characters: str) -> GlyphSet:
        """The same for some of the characters, in the order given."""
        rows = [self.characters.index(character) for character in characters]
        return GlyphSet(characters, self.fonts, self.distance[rows], self.radius[rows])


def usable_fonts() -> tuple[Path, ...]:
    """matplotlib's fonts in which every digit and letter is mapped to a glyph of that name.

    The names, not the character map alone, tell text fonts from those that draw symbols,
    old-style figures or a placeholder under the letters' codes.
    """
    import matplotlib
    from fontTools.ttLib import TTFont

    expected = {ord(letter): letter for letter in LETTERS}
    expected |= {ord(digit): name for digit, name in zip(DIGITS, DIGIT_WORDS, strict=True)}
    usable = []
    for path in sorted((Path(matplotlib.get_data_path()) / "fonts" / "ttf").glob("*.ttf")):
        with TTFont(path, lazy=True) as font:
            names = font.getBestCmap() or {}
        if all(names.get(code) == name for code, name in expected.items()):
            usable.append(path)
    return tuple(usable)


@lru_cache(maxsize=1)
def render_glyphs() -> GlyphSet:
    """Every digit and letter in every usable font, undistorted; kept in memory (22 MB)."""
    characters, fonts = DIGITS + LETTERS, usable_fonts()
    by_font = [
        np.stack([_distance_field(mask) for mask in _masks(characters, font)]) for font in fonts
    ]
    fields = np.stack(by_font, axis=1)
    distance = torch.from_numpy(fields)
    return GlyphSet(characters, tuple(font.stem for font in fonts), distance, distance.amax((2, 3)))


def _masks(characters: str, font: Path) -> Iterator[NDArray[np.bool_]]:
    """Binary ink (128, 128) of each character, centred with its longer side at 88 pixels."""
    from PIL import Image, ImageDraw, ImageFont

    face = ImageFont.truetype(str(font), 160)
    for character in characters:
        sheet = Image.new("L", (480, 480))
        ImageDraw.Draw(sheet).text((160, 120), character, font=face, fill=255)
        box = sheet.getbbox()
        if box is None:
            raise ValueError(f"{font.name} draws nothing for {character!r}")
        width, height = box[2] - box[0], box[3] - box[1]
        scale = _GLYPH * _OVERSAMPLING / max(width, height)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        glyph = sheet.crop(box).resize(size, Image.Resampling.BICUBIC)
        canvas = Image.new("L", (_CANVAS * _OVERSAMPLING,) * 2)
        canvas.paste(glyph, ((canvas.width - size[0]) // 2, (canvas.height - size[1]) // 2))
        yield np.asarray(canvas) > 127


def _distance_field(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Signed distance to the outline of ``mask``, float32 (64, 64), in canvas pixels."""
    from scipy.ndimage import distance_transform_edt

    signed = distance_transform_edt(mask) - distance_transform_edt(~mask)
    blocks = signed.reshape(_CANVAS, _OVERSAMPLING, _CANVAS, _OVERSAMPLING)
    field: NDArray[np.float32] = (blocks.mean(axis=(1, 3)) / _OVERSAMPLING).astype(np.float32)
    return field


@dataclass(frozen=True)
class Distortion:
    """How far a glyph may be bent. Unless said otherwise a draw is uniform in plus or minus.

    Attributes:
        rotation: In radians.
        shear: Sideways displacement per height.
        aspect: Logarithm of the factor by which width over height changes; half of it each way.
        elastic: Standard deviation of the normal displacement of each knot of a 4x4 grid, in
            half canvas sides.
        stroke: Range of half the width of the thickest stroke, in canvas pixels.
        width: Range of the stretch of the width after the size was normalised.
    """

    rotation: float = 0.26
    shear: float = 0.35
    aspect: float = 0.3
    elastic: float = 0.13
    stroke: tuple[float, float] = (3.0, 6.5)
    width: tuple[float, float] = (0.75, 1.1)


def scan(
    distance: Tensor, radius: Tensor, generator: torch.Generator, how: Distortion | None = None
) -> Tensor:
    """Distorted, size-normalised 8x8 scans of glyphs.

    Args:
        distance: float32 (B, 64, 64), rows of ``GlyphSet.distance``.
        radius: float32 (B,), their ``GlyphSet.radius``.
        generator: Source of every random number.

    Returns:
        float32 (B, 8, 8), multiples of 1/16 from 0 (black) to 1 (white, ink).
    """
    how = how or Distortion()
    bent = F.grid_sample(
        distance[:, None],
        _bent_grid(len(distance), generator, how),
        padding_mode="border",
        align_corners=False,
    )[:, 0]
    # Thinning stops at a quarter of the radius: the hairlines of a serif font must survive.
    wanted = _uniform(len(distance), *how.stroke, generator)
    ink = bent + torch.maximum(wanted - radius, -0.25 * radius)[:, None, None]
    bitmap = _normalise_size(ink, _uniform(len(distance), *how.width, generator))
    return F.avg_pool2d((bitmap > 0).float(), _BITMAP // SCAN_SIZE)


def _uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(count, generator=generator)


def _bent_grid(count: int, generator: torch.Generator, how: Distortion) -> Tensor:
    """Where each canvas pixel looks: float32 (count, 64, 64, 2), affine plus elastic."""
    angle = _uniform(count, -how.rotation, how.rotation, generator)
    shear = _uniform(count, -how.shear, how.shear, generator)
    stretch = _uniform(count, -how.aspect / 2, how.aspect / 2, generator).exp()
    cosine, sine, zero = angle.cos(), angle.sin(), torch.zeros(count)
    # 1.1 leaves a margin on the canvas for what rotation and bending push outwards.
    affine = 1.1 * torch.stack(
        [
            torch.stack([cosine / stretch, (shear * cosine - sine) * stretch, zero], dim=1),
            torch.stack([sine / stretch, (shear * sine + cosine) * stretch, zero], dim=1),
        ],
        dim=1,
    )
    grid = F.affine_grid(affine, [count, 1, _CANVAS, _CANVAS], align_corners=False)
    knots = how.elastic * torch.randn(count, 2, 4, 4, generator=generator)
    bend = F.interpolate(knots, size=(_CANVAS, _CANVAS), mode="bicubic", align_corners=True)
    return grid + bend.permute(0, 2, 3, 1)


def _normalise_size(ink: Tensor, width: Tensor) -> Tensor:
    """Scale what is positive in ``ink`` (B, 64, 64) until it fills the height of (B, 32, 32).

    Proportions are kept, save for the factor ``width`` (B,); a glyph that would become wider than
    the frame is squeezed into it.
    """
    left, right = _extent((ink > 0).any(dim=1))
    top, bottom = _extent((ink > 0).any(dim=2))
    half_height = (bottom - top) / 2
    half_width = torch.maximum(half_height / width, (right - left) / 2)
    theta = torch.zeros(len(ink), 2, 3)
    theta[:, 0, 0], theta[:, 0, 2] = half_width, (left + right) / 2
    theta[:, 1, 1], theta[:, 1, 2] = half_height, (top + bottom) / 2
    grid = F.affine_grid(theta, [len(ink), 1, _BITMAP, _BITMAP], align_corners=False)
    return F.grid_sample(ink[:, None], grid, padding_mode="border", align_corners=False)[:, 0]


def _extent(occupied: Tensor) -> tuple[Tensor, Tensor]:
    """Both ends of what is true in each row of (B, N), in grid_sample's units (-1 to 1)."""
    count = occupied.shape[1]
    first = occupied.int().argmax(dim=1)
    last = count - occupied.flip(1).int().argmax(dim=1)
    return 2 * first / count - 1, 2 * last / count - 1


@lru_cache(maxsize=1)
def _bicubic_matrix() -> Tensor:
    """Rows of weights that enlarge 8 pixels to 64, float32 (64, 8), as Pillow's BICUBIC does."""
    centres = (torch.arange(IMAGE_SIZE, dtype=torch.float64) + 0.5) * SCAN_SIZE / IMAGE_SIZE
    away = (centres[:, None] - torch.arange(SCAN_SIZE) - 0.5).abs()
    # Keys' cubic kernel with a = -0.5, weights outside the image dropped and the rest rescaled.
    near = (1.5 * away - 2.5) * away.square() + 1
    far = ((-0.5 * away + 2.5) * away - 4) * away + 2
    weights = torch.where(away < 1, near, torch.where(away < 2, far, torch.zeros_like(away)))
    return (weights / weights.sum(dim=1, keepdim=True)).float()


def enlarge(scans: Tensor) -> Tensor:
    """Scans (B, 8, 8) in [0, 1] as the networks' images: float32 (B, 3, 64, 64) in [0, 1]."""
    matrix = _bicubic_matrix()
    wide = (scans @ matrix.T).clamp(0, 1)
    large = (matrix @ wide).clamp(0, 1)
    return large[:, None].expand(-1, 3, -1, -1).contiguous()
