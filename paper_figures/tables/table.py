"""The one type of table: cells of text, numbers in full beside them, and what stands out."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

MINUS = "\u2212"
#: what stands in a cell without a number
NOTHING = "–"

#: (row, column) of a cell, both from 0; the heading row does not count
Place = tuple[int, int]


@dataclass(frozen=True)
class Table:
    """A table before it takes a form; :mod:`paper_figures.tables.forms` writes it.

    cells    unescaped text, its columns the headings
    numbers  the same in full, for the CSV, under a machine's column names
    notes    footnotes, each a sentence or two
    best     cells in bold
    second   underlined cells
    marks    by cell, the letter of its footnote
    rules    rows above which a rule stands
    spans    headings above headings: title and number of columns, from the left; "" for none
    """

    name: str
    caption: str
    cells: pd.DataFrame
    numbers: pd.DataFrame
    notes: Sequence[str] = ()
    best: frozenset[Place] = frozenset()
    second: frozenset[Place] = frozenset()
    marks: Mapping[Place, str] = field(default_factory=dict)
    rules: frozenset[int] = frozenset()
    spans: Sequence[tuple[str, int]] = ()

    def __post_init__(self) -> None:
        if self.spans and sum(count for _, count in self.spans) != len(self.cells.columns):
            raise ValueError(f"the spans of {self.name} do not cover its columns")


def number(value: float | None, digits: int, sign: bool = False) -> str:
    """A number for reading, with a true minus and thousands apart; a dash for none."""
    if value is None or math.isnan(value):
        return NOTHING
    text = f"{value:+,.{digits}f}" if sign else f"{value:,.{digits}f}"
    if not any(c in "123456789" for c in text):  # nothing left of it: no sign either
        text = text.lstrip("+-")
    return text.replace("-", MINUS)


def read_number(text: str) -> float:
    """The value that a text of :func:`number` shows."""
    return float(text.replace(MINUS, "-").replace(",", ""))


def with_deviation(mean: float, deviation: float, digits: int = 1) -> str:
    """A mean and its sample deviation: 85.7 ± 4.9; the mean alone where there is none."""
    text = number(mean, digits)
    return text if math.isnan(deviation) else f"{text} ± {number(deviation, digits)}"


def with_interval(mean: float, low: float, high: float, digits: int = 1) -> str:
    """A difference and its interval: +1.2 [−0.3, +2.7]."""
    text = number(mean, digits, sign=True)
    if math.isnan(low):
        return text
    return f"{text} [{number(low, digits, sign=True)}, {number(high, digits, sign=True)}]"


def spread(values: pd.Series, digits: int = 1) -> str:
    """Mean ± sample deviation of values; a dash for none."""
    values = values.dropna()
    if values.empty:
        return NOTHING
    return with_deviation(float(values.mean()), float(values.std()), digits)


def ranked(shown: Mapping[int, str], highest: bool) -> tuple[set[int], set[int]]:
    """Rows whose number, as written, is the best and the second best.

    shown  by row, the number as the cell shows it, so that equal cells rank alike

    Nothing is best of fewer than two; of two values, the lower one is no second best.
    """
    values = {row: read_number(text) for row, text in shown.items()}
    if len(values) < 2:
        return set(), set()
    levels = [*sorted(set(values.values()), reverse=highest), math.nan]
    best, second = (
        {row for row, value in values.items() if value == level} for level in levels[:2]
    )
    return best, second if len(best) == 1 and len(values) > 2 else set()
