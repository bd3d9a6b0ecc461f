"""Images in the report are of the prepared data that the runs saw, or a sentence says why not."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from paper_figures.collect import Results, collect
from starprompt.data.store import PreparedDataset, Split
from starprompt.errors import UserError
from starprompt.reporting import data_sheets
from tests.helpers import fake_results


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Results:
    plan = fake_results.fake_plan(tmp_path_factory.mktemp("runs"), methods=1, datasets=2)
    fake_results.write_fake_runs(replace(plan, datasets=plan.datasets[:1]))
    return collect(plan)


def prepared(found: Results) -> PreparedDataset:
    """Two training images of each class, as red as ten times the class's place in the source."""
    stream = found.stream("set-0")
    assert stream is not None
    count = len(stream.class_names)
    labels = np.repeat(np.arange(count), 2)
    images = np.zeros((len(labels), 3, 8, 8), np.uint8)
    images[:, 0] = 10 * labels[:, None, None]
    split = Split(images, labels, np.full((len(labels), 2), 8, np.int32))
    names = tuple(stream.class_names[label] for label in stream.class_order)
    return PreparedDataset("set-0", Path("x"), names, {"digest": "0"}, split, split)


def test_classes_stand_in_the_tasks_of_the_first_seed_with_their_own_images(
    found: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = prepared(found)
    monkeypatch.setattr(data_sheets, "_seen_by", lambda stream: data)
    sheet, none = data_sheets.data_sheets(found)
    assert none.tasks == () and "No run on this data set has finished." in none.said
    stream = found.stream("set-0")
    assert stream is not None and f"in the tasks of seed {stream.seed}" in sheet.said
    assert "of each class" in sheet.said
    names = [strip.name for _, strips in sheet.tasks for strip in strips]
    assert names == stream.class_names
    assert [number for number, _ in sheet.tasks] == [t + 1 for t in range(len(stream.test_counts))]
    for number, strips in sheet.tasks:
        for strip in strips:
            label = stream.class_names.index(strip.name)
            assert stream.task_of_class[label] == number - 1
            with Image.open(BytesIO(strip.jpeg)) as image:
                assert image.size == (2 * data_sheets.SIDE, data_sheets.SIDE)
                red = np.asarray(image)[..., 0].mean()
            assert abs(red - 10 * stream.class_order.index(label)) < 4


def test_of_many_classes_some_are_shown(found: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    data = prepared(found)
    monkeypatch.setattr(data_sheets, "_seen_by", lambda stream: data)
    monkeypatch.setattr(data_sheets, "CLASSES", 4)
    sheet, _ = data_sheets.data_sheets(found)
    assert sum(len(strips) for _, strips in sheet.tasks) == 4
    assert "of 4 of the classes" in sheet.said


def test_what_is_not_there_or_is_other_data_is_said(
    found: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STARPROMPT_DATA", str(tmp_path))
    sheet, _ = data_sheets.data_sheets(found)
    assert sheet.tasks == () and "'set-0' is not prepared" in sheet.said


def test_other_images_than_the_runs_saw_are_not_shown(
    found: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = found.stream("set-0")
    assert stream is not None
    monkeypatch.setattr("starprompt.data.store.open_prepared", lambda folder: prepared(found))
    monkeypatch.setattr("starprompt.data.registry.load_dataset_spec", lambda name: None)
    monkeypatch.setattr("starprompt.data.store.data_digest", lambda *parts: "other")
    with pytest.raises(UserError, match="other images than the runs saw"):
        data_sheets._seen_by(stream)
    monkeypatch.setattr("starprompt.data.store.data_digest", lambda *parts: stream.data_digest)
    assert data_sheets._seen_by(stream).name == "set-0"
