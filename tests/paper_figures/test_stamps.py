"""Every file says what it was made from, and what it says is read back or refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from paper_figures.stamps import (
    Stamp,
    read_stamp,
    side_file,
    stamped,
    stamping,
    unchanged,
    write_side_files,
)
from paper_figures.style import save
from paper_figures.tables.forms import write_table
from paper_figures.tables.table import Table
from starprompt.errors import UserError
from starprompt.files import sealed

STAMP = Stamp("tables", "demo--x", "a" * 64, "b" * 64, 18, "c" * 40 + "-dirty", "0.1.0")
CELLS = pd.DataFrame({"method": ["a", "b"], "value": [1.5, 2.5]})
TABLE = Table("accuracy", "A (caption) -- with <marks>", CELLS.astype(str), CELLS)


def written(folder: Path) -> list[Path]:
    """A table and a figure in every form."""
    with stamping(STAMP):
        paths = [*write_table(TABLE, folder, "demo"), *save(Figure(figsize=(1, 1)), folder, "dot")]
        write_side_files(paths)
    return paths


def test_every_form_says_what_it_was_made_from(tmp_path: Path) -> None:
    paths = written(tmp_path)
    assert {path.suffix for path in paths} == {".csv", ".md", ".tex", ".html", ".pdf", ".png"}
    for path in paths:
        assert read_stamp(path) == STAMP, path


def test_a_csv_stays_what_pandas_reads(tmp_path: Path) -> None:
    written(tmp_path)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "accuracy.csv"), CELLS)
    assert (tmp_path / "accuracy.csv.json").is_file()


def test_outside_the_block_files_are_as_before(tmp_path: Path) -> None:
    written(tmp_path / "with")
    for path in write_table(TABLE, tmp_path / "without", "demo"):
        with pytest.raises(UserError, match="has no provenance stamp"):
            read_stamp(path)
    assert write_side_files([tmp_path / "without/accuracy.csv"]) == []
    assert stamped("md", "text") == "text"


def test_equal_files_of_equal_stamps_have_equal_bytes(tmp_path: Path) -> None:
    for one, other in zip(written(tmp_path / "a"), written(tmp_path / "b"), strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_a_comment_of_markdown_stays_one(tmp_path: Path) -> None:
    written(tmp_path)
    comment = (tmp_path / "accuracy.md").read_text().splitlines()[-1]
    assert "--" not in comment.removeprefix("<!--").removesuffix("-->")


def test_a_csv_that_was_changed_is_refused(tmp_path: Path) -> None:
    written(tmp_path)
    path = tmp_path / "accuracy.csv"
    path.write_text(path.read_text().replace("1.5", "9.5"))
    with pytest.raises(UserError, match="was changed after"):
        read_stamp(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, '{"command": "tables"}'])
def test_a_side_file_that_makes_no_sense_is_refused(tmp_path: Path, text: str) -> None:
    written(tmp_path)
    (tmp_path / "accuracy.csv.json").write_text(text)
    with pytest.raises(UserError, match=r"accuracy\.csv"):
        read_stamp(tmp_path / "accuracy.csv")


@pytest.mark.parametrize(
    "change",
    [
        {"revision": "abc; rm -rf ~"},
        {"experiment": "../../x"},
        {"experiment": "$(x)"},
        {"command": "tables && x"},
        {"records": "zz"},
        {"runs": "18"},
        {"runs": True},
        {"starprompt": None},
        {"more": 1},
    ],
)
def test_no_stamp_holds_what_a_shell_would_run(tmp_path: Path, change: dict) -> None:
    value = json.dumps({**STAMP.__dict__, **change})
    path = tmp_path / "a.tex"
    path.write_text(f"% starprompt-made-from {value}\n")
    with pytest.raises(UserError, match="is not valid"):
        read_stamp(path)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])


@pytest.mark.parametrize("suffix", ["png", "pdf", "html", "md", "tex"])
@pytest.mark.parametrize(
    "damage", [truncated, lambda p: p.write_bytes(b""), lambda p: p.write_bytes(b"\xff\x00" * 50)]
)
def test_a_damaged_file_ends_in_a_sentence(
    tmp_path: Path, suffix: str, damage: Callable[[Path], object]
) -> None:
    """A third of a text may still hold its stamp, whole."""
    (path,) = (p for p in written(tmp_path) if p.suffix == f".{suffix}")
    damage(path)
    try:
        assert read_stamp(path) == STAMP
    except UserError as error:
        assert str(path) in str(error)


def test_what_is_not_there_or_of_another_kind_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no file"):
        read_stamp(tmp_path / "none.pdf")
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(UserError, match="carry no stamp"):
        read_stamp(tmp_path / "a.txt")
    assert sealed({})


def test_two_data_sets_tables_in_each_others_place_are_refused(tmp_path: Path) -> None:
    """Each with what stands beside it, so that the digests are right."""
    stamp = Stamp("analyse", "demo", "c" * 64, "a" * 64, 3, "unknown", "0.1.0")
    paths = [tmp_path / name / "runs.csv" for name in ("digits", "faces")]
    for path in paths:
        path.parent.mkdir()
        path.write_text(f"method,accuracy\n{path.parent.name},1.0\n")
    with stamping(stamp):
        write_side_files(paths)
    assert [unchanged(path) for path in paths] == paths
    for change in (lambda path: path, side_file):
        first, second = map(change, paths)
        kept = first.read_bytes()
        first.write_bytes(second.read_bytes())
        second.write_bytes(kept)
    for path in paths:
        with pytest.raises(ValueError, match=r"was written as .*, and is not this file"):
            unchanged(path)
        assert read_stamp(path) == stamp, "where a copy was made from can still be asked"
