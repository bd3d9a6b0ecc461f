"""Buffers keep whole samples, never too many, each with its due chance."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from starprompt.replay.buffers import BalancedBuffer, ReservoirBuffer, SampleBuffer

KINDS = pytest.mark.parametrize("kind", [ReservoirBuffer, BalancedBuffer])


def offer(buffer: SampleBuffer, labels: list[int], first_id: int = 0) -> None:
    """Samples whose image is their number and whose label is known from it."""
    ids = torch.arange(first_id, first_id + len(labels))
    images = ids.to(torch.uint8)[:, None, None, None].expand(-1, 3, 2, 2)
    buffer.put(buffer.places(torch.tensor(labels)), images=images, labels=torch.tensor(labels))


@KINDS
@given(
    capacity=st.integers(0, 12),
    batches=st.lists(st.lists(st.integers(0, 4), max_size=9), max_size=6),
    seed=st.integers(0, 2**31),
)
def test_it_keeps_whole_samples_and_never_too_many(
    kind: type[SampleBuffer], capacity: int, batches: list[list[int]], seed: int
) -> None:
    torch.manual_seed(seed)
    buffer, everything = kind(capacity), []
    for labels in batches:
        offer(buffer, labels, first_id=len(everything))
        everything += labels
    kept = buffer.draw(capacity + 5)
    if not capacity or not everything:
        assert len(buffer) == 0
        return
    assert len(buffer) == len(kept["labels"]) <= capacity
    if kind is ReservoirBuffer:
        assert len(buffer) == min(capacity, len(everything))
    ids = kept["images"][:, 0, 0, 0].tolist()
    assert len(set(ids)) == len(ids)
    assert [everything[i] for i in ids] == kept["labels"].tolist()
    if kind is BalancedBuffer and len(set(everything)) <= capacity:
        assert set(kept["labels"].tolist()) == set(everything), "a class was crowded out"


@KINDS
def test_a_restored_buffer_goes_on_as_if_nothing_had_happened(kind: type[SampleBuffer]) -> None:
    torch.manual_seed(0)
    straight, restored = kind(7), kind(7)
    offer(straight, [0, 0, 1, 0, 1, 1, 1, 0, 1])
    state = {name: tensor.clone() for name, tensor in straight.state("buffer.").items()}
    restored.load_state(state, "buffer.")
    for buffer in (straight, restored):
        torch.manual_seed(1)
        offer(buffer, [2, 2, 1, 2, 2, 0, 2], first_id=9)
    ours, theirs = restored.state(""), straight.state("")
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_every_sample_has_the_same_chance_of_the_reservoir() -> None:
    torch.manual_seed(0)
    counts, trials = np.zeros(40), 3000
    for _ in range(trials):
        buffer = ReservoirBuffer(10)
        offer(buffer, [0] * 25)
        offer(buffer, [0] * 15, first_id=25)
        counts[buffer.fields["images"][:, 0, 0, 0].numpy()] += 1
    expected = trials * 10 / 40
    deviation = np.sqrt(trials * 0.25 * 0.75)
    assert np.abs(counts - expected).max() < 5 * deviation


def test_the_balanced_buffer_makes_room_for_new_classes() -> None:
    torch.manual_seed(0)
    buffer = BalancedBuffer(12)
    for label in range(4):
        offer(buffer, [label] * 30, first_id=30 * label)
        counts = torch.bincount(buffer.fields["labels"][: len(buffer)])
        assert counts.tolist() == [12 // (label + 1)] * (label + 1)
