"""Rows as CSV for machines and spreadsheets, no text of which becomes a formula."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any


def csv_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """A line for each row behind a line of names.

    rows  one at least, all of the same keys in one order
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: no_formula(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def no_formula(value: Any) -> Any:
    """A text that a spreadsheet takes for a formula gets an apostrophe in front; else unchanged."""
    formula = isinstance(value, str) and value.lstrip()[:1] in ("=", "+", "-", "@") and value
    return f"'{value}" if formula else value
