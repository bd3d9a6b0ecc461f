"""Asking a finished run: which images, which prompts, which other data sets."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from starprompt.errors import UserError
from starprompt.finished import ask
from starprompt.finished.loaded_run import load_run
from tests.helpers.finished_calls import called
from tests.helpers.small_stream import digits, prepared


def test_explain_draws_what_each_layer_chose(runs: Path, scans: Path, tmp_path: Path) -> None:
    run = runs / "starprompt" / "seed1993"
    out = tmp_path / "why.png"
    called("predict", run, scans, "--explain", out)
    with Image.open(out) as picture:
        assert picture.width > 500 and picture.height > 500
    loaded = load_run(run)
    files = ask.image_files(scans)
    first = ask.first_stage(loaded)
    assert first is not None
    found = ask.choices(loaded, loaded.predict(files), first.predict(files))
    depth = loaded.learner.vit.depth  # type: ignore[attr-defined]
    for own in found:
        places = [choice.where for choice in own]
        assert places == ["first stage", *(f"layer {layer}" for layer in range(depth))]
        assert all(choice.what in loaded.class_names for choice in own)


def test_a_pool_s_prompts_are_explained_by_number(runs: Path, scans: Path) -> None:
    loaded = load_run(runs / "l2p" / "seed1993")
    assert ask.first_stage(loaded) is None
    (own,) = ask.choices(loaded, loaded.predict([scans / "0.png"]), None)
    assert own and all(choice.what.startswith("prompt ") for choice in own)


def test_what_cannot_be_explained_is_refused(runs: Path, scans: Path, tmp_path: Path) -> None:
    probe = runs / "linear-probe" / "seed1993"
    with pytest.raises(UserError, match="linear-probe selects no prompts"):
        called("predict", probe, scans, "--explain", tmp_path / "why.png")
    with pytest.raises(UserError, match=r"why.txt has no known picture format"):
        called("predict", runs / "l2p" / "seed1993", scans, "--explain", tmp_path / "why.txt")
    assert list(tmp_path.iterdir()) == []


def test_only_images_are_taken_from_a_folder(scans: Path, tmp_path: Path) -> None:
    assert [file.name for file in ask.image_files(scans)] == [f"{row}.png" for row in range(6)]
    for path, says in ((tmp_path, "no image in"), (tmp_path / "x", "There is no")):
        with pytest.raises(UserError, match=says):
            ask.image_files(path)


def test_evaluate_on_the_run_s_own_data_gives_its_accuracy(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ask, "open_prepared", lambda _: prepared())
    run = load_run(runs / "l2p" / "seed1993")
    found = ask.evaluate_on(run, "digits")
    assert found.by_task["accuracy"].to_list() == pytest.approx(run.accuracy.loc[5].to_list())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"class_names": ("zero", "eleven")}, r"lacks .* and has eleven"),
        ({"image_size": 32}, "views of 32 pixels"),
    ],
)
def test_other_classes_and_views_are_refused(
    change: dict[str, Any], says: str, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = change.pop("image_size", 64)
    spec = digits().model_copy(update={"image_size": size})
    monkeypatch.setattr(ask, "open_prepared", lambda _: replace(prepared(), **change))
    monkeypatch.setattr(ask, "load_dataset_spec", lambda _: spec)
    with pytest.raises(UserError, match=says):
        ask.evaluate_on(load_run(runs / "linear-probe" / "seed1993"), "digits")
