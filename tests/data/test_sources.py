"""All nine data sets from sources in their true formats, through real servers, to a stream."""

import os

import numpy as np
import pytest

from starprompt.data.download import raw_folder
from starprompt.data.prepare import prepare
from starprompt.data.store import open_prepared
from starprompt.data.stream import TaskStream
from tests.helpers.loopback import COMMIT
from tests.helpers.source_makers import MAKERS, colour


@pytest.mark.parametrize("name", MAKERS)
def test_the_whole_way_from_download_to_stream(name, site, monkeypatch, tmp_path):
    made = MAKERS[name](site, monkeypatch)
    spec = made.spec
    prepared = open_prepared(prepare(spec, tmp_path))
    grey = name == "chestx"
    for split in ("train", "test"):
        part = getattr(prepared, split)
        assert part.labels.tolist() == made.labels[split]
        for image, label in zip(part.images, part.labels, strict=True):
            expected = colour(split, label)
            if grey:
                expected = expected[:1].repeat(3)
            assert np.abs(image.mean((1, 2)) - expected).max() < 4
    assert prepared.n_classes == spec.classes
    if spec.class_names is not None:
        assert list(prepared.class_names) == spec.class_names
    stream = TaskStream(prepared, spec, 1993)
    for source_label in range(spec.classes):
        stream_name = stream.info.class_names[stream.order[source_label]]
        assert stream_name == prepared.class_names[source_label]
    for batch in (
        next(stream[0].train.batches(4, augment=True, shuffle=True)),
        next(stream[-1].test.batches(4)),
    ):
        assert batch.images.shape[1:] == (3, 224, 224)
        assert 0 <= batch.images.min() <= batch.images.max() <= 1
    facts = prepared.manifest["source"]["provenance"]
    assert all(len(checksum) == 64 for checksum in facts["sha256"].values())
    if name not in ("imagenet-r", "cifar100"):
        assert set(facts["commits"].values()) == {COMMIT}
    assert not list(tmp_path.glob("prepared/.*.unpacked"))
    asked = len(site.requests)
    assert prepare(spec, tmp_path) == prepared.folder
    assert len(site.requests) == asked


def test_class_names_of_a_source_are_used_where_the_description_has_none(
    site, monkeypatch, tmp_path
):
    for name, wanted in (
        ("eurosat", "Land number 3"),
        ("cifar100", "thing 3"),
        ("cars196", "car 3"),
    ):
        made = MAKERS[name](site, monkeypatch)
        assert open_prepared(prepare(made.spec, tmp_path)).class_names[3] == wanted


def test_a_raw_folder_filled_by_hand_needs_no_network(site, monkeypatch, tmp_path):
    made = MAKERS["cropdisease"](site, monkeypatch)
    folder = raw_folder(tmp_path, "cropdisease")
    folder.mkdir(parents=True)
    for name, data in site.repositories["aimagelab-ta/cropdisease", "main"].items():
        (folder / name).write_bytes(data)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert open_prepared(prepare(made.spec, tmp_path)).manifest["counts"]["train"] == 35


def test_a_read_only_share_serves_prepared_data(site, monkeypatch, tmp_path):
    made = MAKERS["isic"](site, monkeypatch)
    folder = prepare(made.spec, tmp_path)
    paths = [tmp_path, *tmp_path.rglob("*")]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert prepare(made.spec, tmp_path) == folder
        stream = TaskStream(open_prepared(folder), made.spec, 1996)
        assert len(next(stream[0].train.batches(2)).labels) == 2
        if os.geteuid() != 0:  # root may write anywhere
            renamed = made.spec.model_copy(update={"class_names": list("abcdef")})
            with pytest.raises(Exception, match="cannot be written"):
                prepare(renamed, tmp_path)
    finally:
        for path in paths:
            path.chmod(0o755 if path.is_dir() else 0o644)
