"""Rows as CSV: read back as they were, and no text is a formula."""

import csv
import io

import pytest

from starprompt.record.csv_rows import csv_of, no_formula


def test_rows_are_read_back_by_name() -> None:
    rows = [{"a": 1, "b": 'x, "y"\nz', "c": None}, {"a": -2.5, "b": "", "c": "ü"}]
    found = list(csv.DictReader(io.StringIO(csv_of(rows))))
    assert found == [{"a": "1", "b": rows[0]["b"], "c": ""}, {"a": "-2.5", "b": "", "c": "ü"}]


@pytest.mark.parametrize("text", ["=1+1", "+x", "-x", "@x", "  =x", "\t=x"])
def test_a_text_that_starts_as_a_formula_is_a_text(text: str) -> None:
    assert no_formula(text) == f"'{text}"
    (row,) = csv.DictReader(io.StringIO(csv_of([{"a": text}])))
    assert row["a"] == f"'{text}"


@pytest.mark.parametrize("value", ["", " ", "a=b", -1, -0.5, None, True])
def test_all_else_is_left_alone(value: object) -> None:
    assert no_formula(value) is value
