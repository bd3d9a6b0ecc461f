"""Numbers as tables show them, and which of them stand out."""

import pytest

from paper_figures.tables.table import number, ranked, with_interval


@pytest.mark.parametrize(
    ("value", "digits", "sign", "text"),
    [(-0.04, 1, True, "0.0"), (1234.5, 0, False, "1,234"), (-2.25, 1, False, "−2.2")],
)
def test_numbers_as_they_are_read(value: float, digits: int, sign: bool, text: str) -> None:
    assert number(value, digits, sign) == text
    assert number(float("nan"), 1) == "–"
    assert with_interval(1.5, float("nan"), float("nan")) == "+1.5"


@pytest.mark.parametrize(
    ("values", "best", "second"),
    [
        ([2.675, 2.674, 1.0], {0, 1}, set()),  # both are written 2.67 in binary: both are best
        ([2.675, 2.68, 1.0], {1}, {0}),
        ([3.0, 2.0, 2.0], {0}, {1, 2}),
        ([3.0, 2.0], {0}, set()),
        ([3.0], set(), set()),
    ],
)
def test_what_stands_out_follows_the_numbers_as_written(
    values: list[float], best: set[int], second: set[int]
) -> None:
    shown = {row: number(value, 2) for row, value in enumerate(values)}
    assert ranked(shown, highest=True) == (best, second)
