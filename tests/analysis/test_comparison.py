"""Errors between tasks and within them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starprompt.analysis.comparison import errors_of
from tests.helpers.compared_methods import STREAM, predicted


def test_an_error_is_of_the_task_or_within_it() -> None:
    found = errors_of(predicted([(0, 0), (0, 1), (1, 2), (1, 3), (2, 2), (3, 3)]), STREAM)
    assert found == pytest.approx({"accuracy": 62.5, "task": 75.0, "within": 75.0})


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_a_right_class_is_a_right_task(pairs: list[tuple[int, int]]) -> None:
    found = errors_of(predicted(pairs), STREAM)
    assert found["accuracy"] <= found["task"] + 1e-9
