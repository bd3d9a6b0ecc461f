"""From preparation to batches on the digits, and the laws that every stream keeps."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from starprompt.data.store import PreparedDataset, Split
from starprompt.data.stream import TaskStream, class_order
from starprompt.errors import UserError
from tests.helpers.small_stream import SPEC


@pytest.fixture(scope="module")
def embedding(digits, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("embedding") / "tiny.safetensors"
    tensors = {}
    for i, split in enumerate(("train", "test")):
        rows = torch.arange(len(getattr(digits, split)), dtype=torch.float32)
        tensors[f"{split}.clip"] = torch.stack([rows, rows * 0 + i, rows * 0 + 1], 1)
        tensors[f"{split}.query"] = -tensors[f"{split}.clip"]
    save_file(tensors, path, {"data_digest": digits.digest, "clip": "tiny"})
    return path


def test_the_split_is_stratified_and_apart_from_the_runs_seed(digits):
    counts = np.bincount(digits.test.labels)
    assert (np.abs(counts - 36) <= 1).all()
    one, other = TaskStream(digits, SPEC, 1993), TaskStream(digits, SPEC, 1996)
    ids = [np.sort(np.concatenate([t.ids for t in s.test_tasks])) for s in (one, other)]
    assert (ids[0] == ids[1]).all()


@pytest.mark.parametrize("seed", [1993, 1996, 1997])
@pytest.mark.parametrize("classes", [10, 100, 200])
def test_class_orders_are_numpys(seed, classes):
    state = np.random.get_state()
    ours = class_order(classes, seed)
    assert np.random.get_state()[1].tolist() == state[1].tolist()
    np.random.seed(seed)
    assert ours.tolist() == np.random.permutation(classes).tolist()
    np.random.set_state(state)


def test_a_label_becomes_its_place_in_the_order(digits):
    stream = TaskStream(digits, SPEC, 1993)
    for task in stream:
        source = digits.train.labels[task.train.ids]
        assert task.train.labels.tolist() == stream.order[source].tolist()
        names = {stream.info.class_names[y] for y in task.train.labels.tolist()}
        assert names == {digits.class_names[y] for y in source}
        assert set(task.train.labels.tolist()) == set(task.current)


def _small(counts: list[int]) -> PreparedDataset:
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int64)
    images = np.zeros((len(labels), 3, 2, 2), dtype=np.uint8)
    split = Split(images, labels, np.full((len(labels), 2), 2, dtype=np.int32))
    names = tuple(f"c{i}" for i in range(len(counts)))
    return PreparedDataset("small", Path("small"), names, {"digest": "0"}, split, split)


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=5),
    per_class=st.integers(2, 5),
    seed=st.integers(0, 2**32 - 1),
    validation=st.sampled_from([None, 0.2, 0.5]),
)
def test_tasks_partition_classes_and_images(sizes, per_class, seed, validation):
    n_classes = sum(sizes)
    prepared = _small([per_class] * n_classes)
    spec = SPEC.model_copy(update={"tasks": sizes, "classes": n_classes})
    stream = TaskStream(prepared, spec, seed, validation=validation)
    assert sorted(stream.order) == list(range(n_classes))
    assert [len(task.current) for task in stream] == sizes
    train = np.concatenate([task.train.ids for task in stream])
    test = np.concatenate([task.test.ids for task in stream])
    assert len(set(train)) == len(train)
    assert len(set(test)) == len(test)
    if validation is None:
        assert len(train) == len(test) == per_class * n_classes
    else:
        assert not set(train) & set(test)
        assert len(train) + len(test) == per_class * n_classes
    joint = TaskStream(prepared, spec, seed, validation=validation, joint=True)
    assert len(joint) == 1
    assert sorted(joint[0].train.ids) == sorted(train)
    assert [t.ids.tolist() for t in joint.test_tasks] == [t.test.ids.tolist() for t in stream]


def test_batches_depend_on_seed_task_epoch_and_place_alone(digits):
    task = TaskStream(digits, SPEC, 1993)[1]

    def batches(epoch):
        return list(task.train.batches(64, epoch=epoch, augment=True, shuffle=True))

    once, again, later = batches(0), batches(0), batches(1)
    assert sum(len(b) for b in once) == len(task.train)
    for a, b in zip(once, again, strict=True):
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.ids, b.ids)
    assert not torch.equal(once[0].ids, later[0].ids)
    assert not torch.equal(once[0].images, later[0].images)
    assert sorted(torch.cat([b.ids for b in once]).tolist()) == sorted(task.train.ids.tolist())


def test_a_clean_batch_is_the_stored_image(digits):
    task = TaskStream(digits, SPEC, 1997)[0]
    batch = next(task.test.batches(8))
    stored = torch.from_numpy(digits.test.images[batch.ids.numpy()])
    assert torch.equal((batch.images * 255).round().to(torch.uint8), stored)
    assert batch.images.dtype == torch.float32
    assert batch.clip is None


def test_features_follow_the_images(digits, embedding):
    stream = TaskStream(digits, SPEC, 1993, embedding=embedding)
    for batch in stream[2].test.batches(50, inputs=("features",)):
        assert batch.images is None
        assert batch.clip[:, 0].tolist() == batch.ids.tolist()
        assert (batch.clip[:, 1] == 1).all()
        assert torch.equal(batch.query, -batch.clip)
    held = TaskStream(digits, SPEC, 1993, embedding=embedding, validation=0.2)
    assert (held[0].test.features("clip")[:, 1] == 0).all()
    assert held[0].test.features("query")[:, 0].tolist() == (-held[0].test.ids).tolist()


def test_a_stream_abandoned_halfway_leaves_no_reader(digits):
    import threading

    before = threading.active_count()
    for _ in TaskStream(digits, SPEC, 1993)[0].train.batches(10):
        break
    assert threading.active_count() == before


def test_the_digest_tells_streams_apart(digits, embedding):
    streams = [
        TaskStream(digits, SPEC, 1993),
        TaskStream(digits, SPEC, 1996),
        TaskStream(digits, SPEC, 1993, joint=True),
        TaskStream(digits, SPEC, 1993, validation=0.2),
        TaskStream(digits, SPEC, 1993, embedding=embedding),
        TaskStream(digits, SPEC.model_copy(update={"train_transform": []}), 1993),
    ]
    assert len({stream.digest for stream in streams}) == len(streams)
    assert TaskStream(digits, SPEC, 1993).digest == streams[0].digest


def test_methods_on_the_same_images_agree_on_the_data(digits, embedding):
    """Whatever a method reads or how it is trained, its images and test views can be compared."""
    plain = TaskStream(digits, SPEC, 1993).data_digest
    assert TaskStream(digits, SPEC, 1993, embedding=embedding).data_digest == plain
    assert TaskStream(digits, SPEC, 1996, joint=True).data_digest == plain
    assert TaskStream(digits, SPEC, 1993, validation=0.2).data_digest != plain


@pytest.mark.parametrize("seed", [1993.0, "1993", True, None, -1, 2**32])
def test_a_seed_that_is_none_is_refused(digits, seed):
    with pytest.raises(UserError, match="seed"):
        TaskStream(digits, SPEC, seed)


def test_streams_that_cannot_be_are_refused(digits, embedding, tmp_path):
    many = SPEC.model_copy(update={"tasks": 11})
    with pytest.raises(UserError, match="11 tasks are more than the 10 classes"):
        TaskStream(digits, many, 1993)
    no_four = digits.test.labels != 4
    test = Split(digits.test.images[no_four], digits.test.labels[no_four], digits.test.sizes)
    with pytest.raises(UserError, match="'the digit four' has no test image"):
        TaskStream(replace(digits, test=test), SPEC, 1993)
    with pytest.raises(UserError, match="between 0 and 1"):
        TaskStream(digits, SPEC, 1993, validation=1.0)
    with pytest.raises(UserError, match="has no train image"):
        TaskStream(_small([2] * 9 + [1]), SPEC, 1993, validation=0.5)
    other = replace(digits, manifest=digits.manifest | {"digest": "other"})
    with pytest.raises(UserError, match="other images"):
        TaskStream(other, SPEC, 1993, embedding=embedding)
    with pytest.raises(UserError, match="no cached features"):
        TaskStream(digits, SPEC, 1993, embedding=tmp_path / "none.safetensors")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(embedding.read_bytes()[:500])
    with pytest.raises(UserError, match="damaged"):
        TaskStream(digits, SPEC, 1993, embedding=cut)
    with pytest.raises(UserError, match="without an embedding"):
        TaskStream(digits, SPEC, 1993)[0].train.features("clip")


def test_an_order_seed_changes_the_order_alone_and_is_absent_when_it_is_the_seed(digits):
    plain = TaskStream(digits, SPEC, 1993)
    same = TaskStream(digits, SPEC, 1993, order_seed=1993)
    other = TaskStream(digits, SPEC, 1993, order_seed=7)
    assert (same.order == plain.order).all() and same.digest == plain.digest
    assert (other.order == class_order(10, 7)).all() and other.digest != plain.digest
    assert other.seed == 1993 and other.data_digest == plain.data_digest
