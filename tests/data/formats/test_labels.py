"""Labels of every source are whole numbers, or refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from starprompt.data.formats import class_numbers, numbered_names, stratified_split
from starprompt.errors import UserError


@pytest.mark.parametrize(
    "labels",
    [
        [0.7, 1.9],
        [0, 1.0],
        ["0", "1"],
        [True, False],
        [None, 1],
        [[0], [1]],
        [-1, 0],
        [0, 2**70],
        [0, 10**6],
        np.array([0.0, 1.0]),
        np.array([[0, 1], [1, 0]]),
        np.array(["0", "1"]),
        {"0": 1},
        7,
        "01",
    ],
)
def test_labels_are_whole_numbers_and_never_made_so(labels):
    with pytest.raises(UserError, match=r"The labels in x\.json"):
        class_numbers(labels, "in x.json")


def test_rows_and_columns_of_whole_numbers_are_labels():
    for labels in (
        [1, 0],
        (1, 0),
        np.array([1, 0], np.uint8),
        np.array([[1], [0]]),
        [np.int8(1), 0],
    ):
        assert class_numbers(labels, "in x.json").tolist() == [1, 0]
    assert class_numbers([], "in x.json").tolist() == []


@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=60),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 9),
)
def test_a_stratified_split_takes_its_share_of_every_class_and_leaves_one(labels, share, seed):
    array = np.array(labels)
    train, test = stratified_split(array, share, seed)
    assert sorted([*train, *test]) == list(range(len(labels)))
    assert (np.diff(train) > 0).all()
    assert (np.diff(test) > 0).all()
    for label in set(labels):
        count, taken = labels.count(label), (array[test] == label).sum()
        if count == 1:
            assert taken == 0
        else:
            assert abs(taken - share * count) <= 1
            assert 1 <= taken <= count - 1


def test_a_split_depends_on_its_seed_alone():
    labels = np.repeat([0, 1], 20)
    first, again, other = (stratified_split(labels, 0.5, seed)[1] for seed in (1, 1, 2))
    assert first.tolist() == again.tolist() != other.tolist()


def test_classes_without_names_are_called_by_their_numbers():
    assert numbered_names(np.array([0, 2]), np.array([3, 1])) == ("0", "1", "2", "3")
    assert numbered_names(np.array([], int), np.array([0])) == ("0",)
