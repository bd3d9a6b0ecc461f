"""Glyphs as scans: every font, every character, counted as the scans were."""

import numpy as np
import pytest
import torch
from PIL import Image

from starprompt.backbones.tiny import glyphs

ALL = glyphs.DIGITS + glyphs.LETTERS


@pytest.fixture(scope="module")
def rendered() -> glyphs.GlyphSet:
    return glyphs.render_glyphs()


def test_every_font_draws_every_character(rendered: glyphs.GlyphSet) -> None:
    assert rendered.characters == ALL
    assert len(rendered.fonts) >= 15
    ink = (rendered.distance > 0).flatten(2).sum(2)
    assert ink.shape == (len(ALL), len(rendered.fonts))
    assert ink.min() > 60
    assert torch.isfinite(rendered.distance).all()


def test_symbol_fonts_are_left_out(rendered: glyphs.GlyphSet) -> None:
    excluded = ("cmex10", "cmsy10", "cmmi10", "LastResort", "STIXSiz", "STIXNonUni", "Display")
    assert not [font for font in rendered.fonts if any(part in font for part in excluded)]


def test_different_characters_look_different(rendered: glyphs.GlyphSet) -> None:
    digits = rendered.only(glyphs.DIGITS).distance > 0
    for one in range(10):
        for other in range(one):
            assert (digits[one] != digits[other]).flatten(1).any(1).all()


def draw(rendered: glyphs.GlyphSet, seed: int, count: int = 200) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.arange(count) % len(ALL)
    font = torch.randint(len(rendered.fonts), (count,), generator=generator)
    return glyphs.scan(rendered.distance[rows, font], rendered.radius[rows, font], generator)


def test_scans_are_counts_of_sixteenths_that_fill_the_height(rendered: glyphs.GlyphSet) -> None:
    scans = draw(rendered, seed=1)
    assert scans.shape == (200, 8, 8)
    assert torch.equal((scans * 16).round(), scans * 16)
    assert scans.min() >= 0
    assert scans.max() <= 1
    assert (scans.amax((1, 2)) > 0.4).all()
    assert (scans[:, 0].amax(1) > 0).float().mean() > 0.97
    assert (scans[:, 7].amax(1) > 0).float().mean() > 0.97


def test_scans_repeat_with_the_seed(rendered: glyphs.GlyphSet) -> None:
    assert torch.equal(draw(rendered, seed=3), draw(rendered, seed=3))
    assert not torch.equal(draw(rendered, seed=3), draw(rendered, seed=4))


def test_enlarging_agrees_with_pillow() -> None:
    values = np.random.default_rng(0).integers(0, 17, (20, 8, 8))
    ours = glyphs.enlarge(torch.from_numpy(values / 16).float())
    for image, large in zip(values, ours, strict=True):
        grey = Image.fromarray(np.round(image * 255 / 16).astype(np.uint8))
        theirs = np.asarray(grey.resize((64, 64), Image.Resampling.BICUBIC), dtype=np.float32)
        assert np.abs(large.numpy() * 255 - theirs).max() <= 2
    assert ours.shape == (20, 3, 64, 64)
