"""What a data set's cost depends on."""

import json
from pathlib import Path

import pytest

from starprompt.budget.dataset_facts import described, prepared_bytes
from starprompt.budget.model import expected
from starprompt.config.experiment import load_config

PAPER = load_config(Path("config/paper.yaml"))


@pytest.mark.parametrize("name", ["isic", "chestx", "cropdisease", "eurosat", "resisc45"])
def test_counts_that_only_preparation_knows_are_said_to_be_about(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STARPROMPT_DATA", str(tmp_path))
    assert any("about" in note for note in expected(PAPER, name, "finetune").assumed)
    folder = tmp_path / "elsewhere" / "prepared" / name
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({"counts": {"train": 100, "test": 50}}))
    monkeypatch.setenv("STARPROMPT_DATA", str(tmp_path / "elsewhere"))
    known = expected(PAPER, name, "ncm")
    assert not any("about" in note for note in known.assumed)
    assert known.images["features"] == pytest.approx(100)


def test_the_longest_of_more_texts_is_no_shorter(tmp_path: Path) -> None:
    facts = described("digits", tmp_path)
    lengths = [facts.text_length("tiny", drawn) for drawn in range(1, 11)]
    assert lengths == sorted(lengths)
    # two characters more for start and end, three for "X ", one for the full stop
    assert lengths[-1] == 2 + len("X .") + max(map(len, facts.names))
    assert lengths[0] == pytest.approx(2 + len("X .") + sum(map(len, facts.names)) / 10)


def test_prepared_images_take_three_bytes_a_pixel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STARPROMPT_DATA", str(tmp_path))
    facts = described("digits", tmp_path)
    assert prepared_bytes("digits") == (facts.train + facts.test) * facts.bytes_an_image


@pytest.mark.parametrize("names", ["[" * 100_000, '{"a": 1}', "[1, 2]", "7", "no JSON"])
def test_damaged_class_names_are_no_class_names(
    names: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STARPROMPT_DATA", str(tmp_path))
    folder = tmp_path / "prepared" / "cars196"
    folder.mkdir(parents=True)
    (folder / "class_names.json").write_text(names)
    assert described("cars196", tmp_path).names == ()
