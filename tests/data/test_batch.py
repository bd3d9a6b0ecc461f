"""Batches are cut and moved row by row; normalisation and the classes' tasks are as stated."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from starprompt.data.batch import Batch, Normalisation, StreamInfo


def _batch(count: int, features: bool = True) -> Batch:
    ids = torch.arange(count)
    rows = torch.arange(2.0 * count).reshape(count, 2)
    return Batch(
        ids,
        ids + 100,
        ids.view(-1, 1, 1, 1).expand(-1, 3, 2, 2).float(),
        rows if features else None,
        None,
    )


@given(count=st.integers(1, 9), size=st.integers(1, 12))
def test_parts_are_the_batch_in_order_all_of_the_size_but_the_last(count, size):
    batch = _batch(count)
    parts = batch.split(size)
    assert [len(part) for part in parts[:-1]] == [size] * ((count - 1) // size)
    assert 1 <= len(parts[-1]) <= size
    for name in ("ids", "labels", "images", "clip"):
        joined = torch.cat([getattr(part, name) for part in parts])
        assert torch.equal(joined, getattr(batch, name)), name
    assert all(part.query is None for part in parts)


def test_a_batch_without_features_is_cut_too():
    parts = _batch(5, features=False).split(2)
    assert [part.clip for part in parts] == [None, None, None]
    assert parts[2].labels.tolist() == [104]


def test_moving_keeps_values_and_what_is_absent():
    batch = _batch(3)
    moved = batch.to(torch.device("meta"))
    assert moved.query is None
    assert {moved.ids.device.type, moved.images.device.type, moved.clip.device.type} == {"meta"}
    assert torch.equal(batch.to(torch.device("cpu")).images, batch.images)


def test_each_channel_has_its_own_mean_and_spread():
    normal = Normalisation((0.0, 0.5, 1.0), (1.0, 0.5, 0.25))
    images = torch.ones(1, 3, 1, 2)
    assert normal(images)[0, :, 0, 0].tolist() == [1.0, 1.0, 0.0]
    assert normal(images * 0)[0, :, 0, 1].tolist() == [0.0, -1.0, -4.0]
    assert torch.equal(Normalisation()(images), images)


def test_statistics_follow_the_images_precision():
    assert Normalisation()(torch.ones(1, 3, 2, 2, dtype=torch.bfloat16)).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("ends", "expected"),
    [((2, 4), [0, 0, 1, 1]), ((1, 4), [0, 1, 1, 1]), ((3, 4), [0, 0, 0, 1]), ((4,), [0, 0, 0, 0])],
)
def test_a_class_arrives_in_the_task_that_ends_after_it(ends, expected):
    info = StreamInfo("x", tuple("abcd"), ends, 8, Normalisation())
    assert info.task_of_class().tolist() == expected
    assert (info.n_classes, info.n_tasks) == (4, len(ends))


def test_a_batch_is_split_in_order() -> None:
    batch = Batch(torch.arange(5), torch.arange(5), images=torch.rand(5, 3, 2, 2))
    assert batch.split(5) == [batch] and batch.split(9) == [batch]
    parts = batch.split(2)
    assert [len(part) for part in parts] == [2, 2, 1]
    assert torch.equal(torch.cat([p.images for p in parts if p.images is not None]), batch.images)
    assert all(part.query is None for part in parts)
