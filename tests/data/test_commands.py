"""What `starprompt data` says of a preparation: what was taken, left out and found twice."""

from starprompt.data.commands import listing, specs, summary, where
from tests.helpers.paths import DATASETS


def _manifest(**changes) -> dict:
    return {
        "counts": {"train": 7, "test": 3},
        "counts_per_class": {"train": [4, 3], "test": [2, 1]},
        "source": {"provenance": {}},
        "skipped": {"train": [], "test": []},
        "equal_images": {"train_and_test": {"count": 0}, "across_classes": {"count": 0}},
    } | changes


def test_a_clean_preparation_is_one_line():
    assert summary(_manifest()) == ["  taken: 7 training and 3 test images of 2 classes"]


def test_notes_and_ignored_files_are_told_with_their_number_and_five_names():
    names = [f"{letter}.svg" for letter in "abcdef"]
    facts = {"notes": ["val is not used"], "ignored": {"no images": {"count": 6, "names": names}}}
    assert summary(_manifest(source={"provenance": facts}))[1:] == [
        "  note: val is not used",
        "  ignored, no images: 6 (a.svg, b.svg, c.svg, d.svg, e.svg, ...)",
    ]


def test_what_was_left_out_counts_both_splits():
    skipped = {"train": ["a.png: cut", "b.png: cut"], "test": ["c.png: empty"]}
    assert summary(_manifest(skipped=skipped))[1:] == [
        "  left out, cannot be decoded: 3 (a.png: cut, b.png: cut, c.png: empty)"
    ]


def test_equal_images_are_warned_of_by_kind_with_three_names_of_a_group():
    equal = {
        "train_and_test": {"count": 1, "names": [["a", "b"]]},
        "across_classes": {"count": 4, "names": [["a", "b", "c", "d"]]},
    }
    assert summary(_manifest(equal_images=equal))[1:] == [
        "  warning, test images equal to training images: 1 (a = b)",
        "  warning, images equal to images of another class: 4 (a = b = c)",
    ]


def test_an_older_manifest_without_a_search_for_equal_images_is_summed_up():
    manifest = _manifest()
    del manifest["equal_images"]
    assert len(summary(manifest)) == 1


def test_all_stands_for_every_description_and_a_name_for_one():
    assert [spec.name for spec in specs("cub200", DATASETS)] == ["cub200"]
    every = [spec.name for spec in specs("all", DATASETS)]
    assert len(every) == len(list(DATASETS.glob("*.yaml")))
    assert "digits" in every


def test_a_prepared_name_alone_does_not_make_a_data_set_prepared(tmp_path):
    (tmp_path / "prepared" / "digits").mkdir(parents=True)
    lines = {line.split()[0]: line for line in listing(tmp_path, DATASETS).splitlines()[2:]}
    assert lines["digits"].endswith("ready to prepare")
    assert lines["cub200"].endswith("not fetched")


def test_an_own_folder_lies_below_the_root_with_its_splits_or_without(tmp_path):
    (spec,) = specs("digits", DATASETS)
    source = {"format": {"kind": "image-folder", "folder": "mine", "test_share": 0.5}}
    shared = type(spec).model_validate(spec.model_dump() | {"sources": [source]})
    assert f"  {tmp_path}/mine/CLASS/*.jpg" in where(shared, tmp_path)
    source["format"]["test_share"] = None
    split = type(spec).model_validate(spec.model_dump() | {"sources": [source]})
    assert f"  {tmp_path}/mine/train/CLASS/*.jpg" in where(split, tmp_path)
    assert f"  {tmp_path}/mine/test/CLASS/*.jpg" in where(split, tmp_path)
    assert where(split, tmp_path).endswith(f"prepared into: {tmp_path}/prepared/digits")
