"""Counts of first preparations: kept once, whoever else writes meanwhile."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from starprompt.data.first_counts import first_counts, note_first_counts
from starprompt.errors import UserError


def test_the_first_counts_stay(tmp_path: Path) -> None:
    (tmp_path / "prepared").mkdir()
    note_first_counts(tmp_path, "birds", {"train": 3, "test": 2})
    note_first_counts(tmp_path, "birds", {"train": 4, "test": 2})
    assert first_counts(tmp_path, "birds") == {"train": 3, "test": 2}
    assert first_counts(tmp_path, "cars") == {}


def test_data_sets_prepared_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    (tmp_path / "prepared").mkdir()
    counts = {"train": 1, "test": 0}
    names = [f"set-{number}" for number in range(40)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda name: note_first_counts(tmp_path, name, counts), names))
    assert all(first_counts(tmp_path, name) == counts for name in names)


def test_counts_that_are_not_there_are_none(tmp_path: Path) -> None:
    assert first_counts(tmp_path, "birds") == {}


DAMAGED = [
    "",
    "[]",
    "[1]",
    "[" * 100_000,
    '{"birds": 3}',
    '{"birds": {}}',
    '{"birds": {"train": 3}}',
    '{"birds": {"train": "3", "test": 1}}',
    '{"birds": {"train": true, "test": 1}}',
    '{"birds": {"train": -3, "test": 1}}',
]


@pytest.mark.parametrize("content", [*DAMAGED, None])
def test_damaged_counts_are_named_and_never_written_over(
    content: str | None, tmp_path: Path
) -> None:
    (tmp_path / "prepared").mkdir()
    file = tmp_path / "prepared" / "counts.json"
    file.mkdir() if content is None else file.write_text(content)
    with pytest.raises(UserError, match=r"counts\.json is (damaged|a folder)"):
        first_counts(tmp_path, "birds")
    with pytest.raises(UserError, match=r"counts\.json is (damaged|a folder)"):
        note_first_counts(tmp_path, "birds", {"train": 1, "test": 1})
    assert file.is_dir() if content is None else file.read_text() == content


def test_counts_behind_a_link_that_leads_nowhere_are_not_taken_for_none(tmp_path: Path) -> None:
    (tmp_path / "prepared").mkdir()
    (tmp_path / "prepared" / "counts.json").symlink_to("away")
    with pytest.raises(UserError, match=r"counts\.json"):
        first_counts(tmp_path, "birds")
