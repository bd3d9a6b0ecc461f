"""The tiny frozen pair: what is shipped, what it was shown, and that it can be made again."""

import json
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from starprompt.backbones.tiny import glyphs, measure, models, train
from starprompt.backbones.tiny.captions import TEMPLATES, caption_tokens, name_of
from starprompt.backbones.tiny.tokenizer import CharacterTokenizer
from starprompt.errors import UserError
from starprompt.files import sha256_file

PRINTABLE = st.text(st.characters(min_codepoint=ord(" "), max_codepoint=ord("~")), max_size=38)
TOKENIZER = CharacterTokenizer()
CARD = json.loads(models.CARD.read_text())
ALL = glyphs.DIGITS + glyphs.LETTERS


def card_text() -> str:
    return (models.FOLDER / "MODEL_CARD.md").read_text()


# --- what is shipped ------------------------------------------------------------------------


def test_digests_are_those_of_the_card() -> None:
    measured = {path.name: sha256_file(path) for path in models.WEIGHTS.values()}
    assert measured == CARD["sha256"] == models.shipped_digests()
    assert all(digest in card_text() for digest in measured.values())


def test_the_card_was_made_by_the_recipe_in_the_code() -> None:
    for name, recipe in train.RECIPES.items():
        assert {key: CARD[name][key] for key in vars(recipe)} == vars(recipe)
        assert CARD[name]["characters"] == train.CHARACTERS[name]


def test_both_files_take_less_than_four_megabytes() -> None:
    assert sum(path.stat().st_size for path in models.WEIGHTS.values()) <= 4_000_000


@pytest.mark.parametrize("template", measure.TEMPLATES)
def test_zero_shot_accuracy_on_the_scans(template: str) -> None:
    images, labels = measure.digit_scans()
    found = measure.zero_shot_predictions(models.load_tiny_clip(), images, template)
    accuracy = (found == labels).double().mean().item()
    assert accuracy >= 0.75
    assert accuracy == pytest.approx(CARD["zero_shot_accuracy"][template]["all"], abs=0.003)


def test_the_clip_comes_frozen_in_evaluation_and_float32() -> None:
    clip = models.load_tiny_clip()
    assert not any(module.training for module in clip.modules())
    assert not any(parameter.requires_grad for parameter in clip.parameters())
    assert {parameter.dtype for parameter in clip.parameters()} == {torch.float32}
    images = torch.rand(4, 3, 64, 64)
    torch.testing.assert_close(clip.encode_image(images)[:1], clip.encode_image(images[:1]))


def test_the_vit_is_timms_and_its_head_is_new() -> None:
    from timm.models.vision_transformer import VisionTransformer

    bare, headed = models.load_tiny_vit(), models.load_tiny_vit(10)
    assert type(bare) is VisionTransformer
    assert {parameter.dtype for parameter in headed.parameters()} == {torch.float32}
    images = torch.rand(2, 3, 64, 64)
    assert bare(images).shape == (2, bare.num_features)
    assert headed(images).shape == (2, 10)
    torch.testing.assert_close(
        bare(images), headed.forward_head(headed.forward_features(images), pre_logits=True)
    )


def test_a_missing_or_foreign_weight_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.safetensors is missing"):
        models.load_tiny_clip(tmp_path / "nowhere.safetensors")
    with pytest.raises(UserError, match="does not fit"):
        models.load_tiny_vit(0, models.WEIGHTS["clip"])
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(models.WEIGHTS["vit"].read_bytes()[:1000])
    with pytest.raises(UserError, match="does not hold"):
        models.load_tiny_vit(0, damaged)


# --- what it was shown ----------------------------------------------------------------------


def test_the_vit_is_shown_letters_alone() -> None:
    assert not set(train.CHARACTERS["vit"]) & set(glyphs.DIGITS)
    shown = train.GlyphBatches(train.CHARACTERS["vit"], seed=0).characters
    assert shown == glyphs.LETTERS == CARD["vit"]["characters"]


@pytest.mark.parametrize("name", train.TRAINERS)
def test_training_never_opens_the_scans(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a scan was read while a network learned")

    monkeypatch.setattr(sklearn.datasets, "load_digits", refuse)
    _, losses = train.TRAINERS[name](train.Recipe(steps=2, batch_size=8), seed=0)
    assert np.isfinite(losses).all()


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


# --- the tokenizer --------------------------------------------------------------------------


@given(PRINTABLE)
def test_text_survives_the_round_trip(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text
    assert TOKENIZER.decode(TOKENIZER(text)[0]) == text


@given(st.lists(PRINTABLE, max_size=4))
def test_tokens_open_close_and_pad(texts: list[str]) -> None:
    tokens = TOKENIZER(texts)
    assert tokens.shape == (len(texts), TOKENIZER.context_length)
    assert tokens.dtype == torch.long
    for text, row in zip(texts, tokens, strict=True):
        assert row[0] == TOKENIZER.sot_token_id
        assert row.argmax() == len(text) + 1
        assert row.max() == TOKENIZER.eot_token_id == TOKENIZER.vocab_size - 1
        assert not row[len(text) + 2 :].any()


@given(PRINTABLE.filter(lambda name: len(name) <= 30))
def test_the_placeholder_of_a_prompt_is_one_token(name: str) -> None:
    (placeholder,) = TOKENIZER.encode("X")
    assert TOKENIZER.encode(f"X {name}.") == [placeholder, *TOKENIZER.encode(f" {name}.")]


@given(PRINTABLE.filter(lambda text: len(text) > 10))
def test_a_text_that_does_not_fit_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="characters"):
        TOKENIZER(text, context_length=len(text) + 1)


def test_a_character_beyond_ascii_is_named() -> None:
    with pytest.raises(UserError, match="'é'"):
        TOKENIZER.encode("café")


def test_every_caption_fits_and_differs() -> None:
    tokens = caption_tokens(ALL)
    assert tokens.shape == (len(ALL), len(TEMPLATES), TOKENIZER.context_length)
    assert len({tuple(row.tolist()) for row in tokens.flatten(0, 1)}) == len(ALL) * len(TEMPLATES)
    assert [name_of(char) for char in "7gG"] == [
        "the digit seven",
        "the small letter g",
        "the capital letter G",
    ]


# --- making it again ------------------------------------------------------------------------

SHORT = train.Recipe(steps=3, batch_size=16)


def test_making_it_twice_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Measuring what three steps taught would take longer than they do.
    monkeypatch.setattr(train, "measure_pair", lambda *_: {})
    cards = {
        threads: train.make(tmp_path / str(threads), clip=SHORT, vit=SHORT, threads=threads)
        for threads in (1, 2)
    }
    for path in models.WEIGHTS.values():
        one, two = (tmp_path / threads / path.name for threads in "12")
        assert one.read_bytes() == two.read_bytes()
    assert cards[1]["sha256"] == cards[2]["sha256"]
    assert sorted(path.name for path in (tmp_path / "1").iterdir()) == sorted(
        [*(path.name for path in models.WEIGHTS.values()), "card.json"]
    )
    other = train.make(tmp_path / "other", clip=SHORT, vit=SHORT, threads=1, seed=1)
    assert not set(other["sha256"].values()) & set(cards[1]["sha256"].values())


def test_nothing_is_left_when_training_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the power went")

    monkeypatch.setitem(train.TRAINERS, "vit", fail)
    with pytest.raises(RuntimeError, match="the power went"):
        train.make(tmp_path, clip=SHORT, vit=SHORT, threads=1)
    assert not list(tmp_path.iterdir())


def test_bad_requests_are_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="0 steps"):
        train.make(tmp_path, clip=train.Recipe(steps=0))
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="needs a folder"):
        train.make(tmp_path / "file")


def test_captions_that_share_images_share_the_mass() -> None:
    """With every image on the right caption, and evenly, the loss is the entropy of the share."""
    text = torch.eye(3)
    labels = torch.tensor([0, 0, 1])
    loss = train.contrastive_loss(text[labels], text, labels, torch.tensor(100.0))
    # The third caption has no image; of the other two, one spreads over two images.
    assert loss.item() == pytest.approx((0 + np.log(2) / 2) / 2, abs=1e-4)
