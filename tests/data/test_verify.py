"""Verification: counts against the published ones, or against the first preparation's."""

import json

import pytest

from starprompt.data.prepare import prepare
from starprompt.errors import UserError
from tests.helpers.source_makers import MAKERS


def test_eurosat_counts_the_validation_part_too(site, monkeypatch, tmp_path):
    from starprompt.data.verify import verify

    made = MAKERS["eurosat"](site, monkeypatch)
    prepare(made.spec, tmp_path)
    expected = made.spec.expected.model_copy(update={"total": 30})
    assert verify(made.spec.model_copy(update={"expected": expected}), tmp_path).faults == ()
    assert "30 images (total), 27000" in verify(made.spec, tmp_path).faults[0]


def test_counts_without_a_published_number_are_held_against_the_first(site, monkeypatch, tmp_path):
    from starprompt.data.verify import verify

    made = MAKERS["isic"](site, monkeypatch)
    folder = prepare(made.spec, tmp_path)
    verdict = verify(made.spec, tmp_path)
    assert verdict.faults == ()
    assert "at first preparation" in verdict.expected
    counts = folder.with_name("counts.json")
    counts.write_text(json.dumps({"isic": {"train": 7, "test": 6}}))
    assert "6 images (train), 7 at first preparation" in verify(made.spec, tmp_path).faults[0]
    counts.write_text("[" * 100_000)  # nested without end, which no reader follows
    with pytest.raises(UserError, match=r"counts\.json is damaged"):
        verify(made.spec, tmp_path)
    counts.unlink()
    assert verify(made.spec, tmp_path).expected == "nothing"
    (folder / "test_labels.npy").write_bytes((folder / "train_labels.npy").read_bytes())
    with pytest.raises(
        UserError, match=r"test_labels\.npy is not the file that the manifest names"
    ):
        verify(made.spec, tmp_path)
