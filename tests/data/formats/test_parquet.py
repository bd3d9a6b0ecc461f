"""Images in parquet files are found by name, whatever their order, and read at their places."""

import errno
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from starprompt.data.formats.parquet import ParquetBlob, read
from starprompt.data.sources import ParquetImages
from starprompt.errors import UserError

IMAGES = {"a.jpg": b"first", "b.jpg": b"", "c.jpg": b"the third", "d.jpg": b"4"}


def _table(path: Path, **columns: list) -> None:
    pq.write_table(pa.table(columns), path)


def _two_files(folder: Path) -> None:
    names = list(IMAGES)
    _table(folder / "0.parquet", name=names[2:], image=[IMAGES[n] for n in names[2:]])
    _table(folder / "1.parquet", name=names[:2], image=[IMAGES[n] for n in names[:2]])


def _gather(folder: Path, name: str | None = "name") -> ParquetBlob:
    (folder / "work").mkdir(exist_ok=True)
    return ParquetBlob.gather(folder, "*.parquet", "image", name, folder / "work")


def test_images_of_several_files_come_in_the_order_asked_for(tmp_path):
    _two_files(tmp_path)
    chosen = _gather(tmp_path).select(["d.jpg", "a.jpg", "b.jpg", "c.jpg"], tmp_path)
    assert len(chosen) == 4
    assert chosen.take(0, 4) == [b"4", b"first", b"", b"the third"]
    assert chosen.take(1, 2) == [b"first"]
    assert chosen.name(3) == "c.jpg"


def test_the_hubs_form_holds_bytes_and_path_in_one_column(tmp_path):
    rows = [{"bytes": data, "path": f"some/folder/{name}"} for name, data in IMAGES.items()]
    _table(tmp_path / "x.parquet", image=rows)
    assert _gather(tmp_path, None).select(["c.jpg"], tmp_path).take(0, 1) == [b"the third"]


def test_lists_choose_images_and_labels(tmp_path):
    _two_files(tmp_path)
    (tmp_path / "train.json").write_text('{"data": ["x/c.jpg", "x/a.jpg"], "labels": [2, 0]}')
    (tmp_path / "test.json").write_text('{"data": ["x/d.jpg"], "labels": [1]}')
    form = ParquetImages(
        kind="parquet-images",
        files="*.parquet",
        name="name",
        image="image",
        train="train.json",
        test="test.json",
    )
    (tmp_path / "work").mkdir()
    listing = read(form, tmp_path, tmp_path / "work")
    assert listing.train.images.take(0, 2) == [b"the third", b"first"]
    assert listing.train.labels.tolist() == [2, 0]
    assert listing.test.images.take(0, 1) == [b"4"]
    assert listing.class_names == ("0", "1", "2")


def test_what_an_interrupted_preparation_streamed_out_is_taken_up(tmp_path):
    _two_files(tmp_path)
    first = _gather(tmp_path)
    for path in tmp_path.glob("*.parquet"):
        path.unlink()
    assert _gather(tmp_path) == first


def test_a_missing_image_names_the_list_and_how_many_more(tmp_path):
    _two_files(tmp_path)
    with pytest.raises(UserError, match=r"list\.json lists 'x\.jpg' and 1 more"):
        _gather(tmp_path).select(["x.jpg", "a.jpg", "y.jpg"], Path("list.json"))


def test_two_images_of_one_name_are_refused(tmp_path):
    _two_files(tmp_path)
    _table(tmp_path / "2.parquet", name=["folder/a.jpg"], image=[b"other"])
    with pytest.raises(UserError, match=r"2\.parquet has the image 'a\.jpg' again"):
        _gather(tmp_path)
    assert not (tmp_path / "work" / "images.json").exists()


@pytest.mark.parametrize(
    "columns",
    [{"name": ["a"]}, {"name": [1], "image": [b"x"]}, {"name": ["a"], "image": ["text"]}],
)
def test_a_parquet_of_other_columns_is_refused(tmp_path, columns):
    _table(tmp_path / "x.parquet", **columns)
    with pytest.raises(UserError, match="not a Parquet file with the columns name, image"):
        _gather(tmp_path)


def test_a_file_of_images_that_was_cut_short_is_seen(tmp_path):
    _two_files(tmp_path)
    chosen = _gather(tmp_path).select(list(IMAGES), tmp_path)
    path = tmp_path / "work" / "images.bin"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(UserError, match="are incomplete"):
        chosen.take(0, 4)


@pytest.mark.parametrize("index", ["[" * 100_000, "[]", '{"a.jpg": [0, 5]}', "no JSON", None])
def test_what_was_streamed_out_and_changed_since_is_streamed_out_anew(tmp_path, index):
    _two_files(tmp_path)
    first = _gather(tmp_path)
    if index is None:
        path = tmp_path / "work" / "images.bin"
        path.write_bytes(path.read_bytes().replace(b"first", b"other"))
    else:
        (tmp_path / "work" / "images.json").write_text(index)
    again = _gather(tmp_path)
    assert again == first
    assert again.select(["a.jpg"], tmp_path).take(0, 1) == [b"first"]


def test_a_parquet_that_could_not_be_read_is_not_damaged(tmp_path, monkeypatch):
    _two_files(tmp_path)
    blob = _gather(tmp_path).select(["d.jpg", "a.jpg"], tmp_path)

    def fails(*args, **kwargs):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("os.pread", fails)
    with pytest.raises(UserError, match=r"images\.bin could not be read: Input/output error"):
        blob.take(0, 2)
    monkeypatch.setattr(pq, "ParquetFile", fails)
    with pytest.raises(UserError, match=r"0\.parquet could not be read: Input/output error"):
        ParquetBlob.gather(tmp_path, "*.parquet", "image", "name", tmp_path)
