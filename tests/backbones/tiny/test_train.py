"""The tiny pair's training: what it is shown, and that it can be repeated."""

import json
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
import torch

from starprompt.backbones.tiny import glyphs, models, train
from starprompt.errors import UserError

CARD = json.loads(models.CARD.read_text())


def test_the_card_was_made_by_the_recipe_in_the_code() -> None:
    for name, recipe in train.RECIPES.items():
        assert {key: CARD[name][key] for key in vars(recipe)} == vars(recipe)
        assert CARD[name]["characters"] == train.CHARACTERS[name]


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
    with pytest.raises(UserError, match="is a file; give a folder"):
        train.make(tmp_path / "file")


def test_captions_that_share_images_share_the_mass() -> None:
    """With every image on the right caption, and evenly, the loss is the entropy of the share."""
    text = torch.eye(3)
    labels = torch.tensor([0, 0, 1])
    loss = train.contrastive_loss(text[labels], text, labels, torch.tensor(100.0))
    # The third caption has no image; of the other two, one spreads over two images.
    assert loss.item() == pytest.approx((0 + np.log(2) / 2) / 2, abs=1e-4)
