"""Counts of first preparations: kept once, whoever else writes meanwhile."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from starprompt.data.first_counts import first_counts, note_first_counts


def test_the_first_counts_stay(tmp_path: Path) -> None:
    (tmp_path / "prepared").mkdir()
    note_first_counts(tmp_path, "birds", {"train": 3, "test": 2})
    note_first_counts(tmp_path, "birds", {"train": 4, "test": 2})
    assert first_counts(tmp_path, "birds") == {"train": 3, "test": 2}
    assert first_counts(tmp_path, "cars") == {}


def test_data_sets_prepared_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    (tmp_path / "prepared").mkdir()
    names = [f"set-{number}" for number in range(40)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda name: note_first_counts(tmp_path, name, {"train": 1}), names))
    assert all(first_counts(tmp_path, name) == {"train": 1} for name in names)


@pytest.mark.parametrize("content", ["", "[1]", '{"birds": 3}', '{"birds": {"train": "3"}}'])
def test_damaged_counts_are_none(content: str, tmp_path: Path) -> None:
    (tmp_path / "prepared").mkdir()
    (tmp_path / "prepared" / "counts.json").write_text(content)
    assert first_counts(tmp_path, "birds") == {}
