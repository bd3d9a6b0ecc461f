"""Published numbers: every row is checked, and a wrong one is named by file and line."""

from pathlib import Path

import pytest

from starprompt.config.methods import list_methods
from starprompt.config.published import PublishedNumber, load_published, read_published
from starprompt.errors import UserError
from tests.helpers.paths import REPOSITORY

HEADER = ",".join(PublishedNumber.model_fields)
ROW = 'l2p,cifar100,final_average_accuracy,83.83,0.5,paper,"A, paper",Table 1,'


def test_the_shipped_numbers_are_valid_and_none_stands_twice() -> None:
    rows = load_published(REPOSITORY / "config" / "published")
    assert len(rows) == 128
    assert len(set(rows)) == len(rows)
    assert {row.method for row in rows} & set(list_methods())
    assert not any(row.dataset == "digits" for row in rows)
    l2p = [row.value for row in rows if (row.method, row.dataset) == ("l2p", "cifar100")]
    assert (min(l2p), max(l2p)) == (82.59, 87.32)


def test_a_row_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"\ufeff{HEADER}\n{ROW}\n")
    (row,) = load_published(tmp_path)
    assert (row.value, row.deviation, row.source) == (83.83, 0.5, "A, paper")
    (tmp_path / "a.csv").write_text(f"{HEADER}\n{ROW.replace('0.5', '')}\n")
    assert load_published(tmp_path)[0].deviation is None


def test_no_folder_is_no_error(tmp_path: Path) -> None:
    assert load_published(tmp_path / "absent") == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("83.83", "183.83", "line 3: value"),
        ("83.83", "nan", "line 3: value"),
        ("83.83", "about 84", "line 3: value"),
        ("0.5", "-1", "line 3: deviation"),
        (",paper,", ",memory,", "line 3: kind"),
        ("l2p", "../l2p", "line 3: method"),
        ("final_average_accuracy", "accuracy", "line 3: metric"),
        ('"A, paper"', "", "line 3: source"),
        (",Table 1,", ",Table 1", "line 3: the row has 8 cells, the header 9"),
        ('"A, paper"', '"A, paper', "line"),
    ],
)
def test_a_wrong_row_is_named_with_file_and_line(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    path = tmp_path / "numbers.csv"
    path.write_text(f"{HEADER}\n{ROW}\n{ROW.replace(old, new)}\n")
    with pytest.raises(UserError, match=rf"numbers\.csv, {said}"):
        read_published(path)


def test_other_columns_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "numbers.csv"
    path.write_text(f"{HEADER},more\n")
    with pytest.raises(UserError, match=r"line 1: the columns must be method, dataset"):
        read_published(path)
