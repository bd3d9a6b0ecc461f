"""Sample buffers: what they keep, how fairly, and that a checkpoint holds all of it."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from starprompt.continual import kept_features as kept_module
from starprompt.replay.buffers import BalancedBuffer, ReservoirBuffer, SampleBuffer
from starprompt.replay.statistics import ClassGaussians, by_class
from starprompt.replay.vae import FeatureVAE

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


def test_gaussians_have_the_moments_of_their_samples() -> None:
    torch.manual_seed(0)
    mixing = torch.randn(3, 3)
    features = torch.randn(4000, 3) @ mixing + torch.tensor([1.0, -2.0, 5.0])
    labels = torch.tensor([0, 1]).repeat(2000)
    gaussians = ClassGaussians.none(3, torch.device("cpu")).fit(features, labels, range(2))
    first = features[::2].double().numpy()
    assert gaussians.means[0].numpy() == pytest.approx(first.mean(axis=0), abs=1e-4)
    assert gaussians.covariances[0].numpy() == pytest.approx(np.cov(first.T), abs=1e-3)
    drawn = gaussians.sample(20000)[1]
    torch.testing.assert_close(drawn.mean(0), gaussians.means[1], atol=0.1, rtol=0)
    torch.testing.assert_close(torch.cov(drawn.T), gaussians.covariances[1], atol=0.3, rtol=0.1)


def test_a_class_of_one_image_has_no_spread() -> None:
    gaussians = ClassGaussians.none(3, torch.device("cpu"))
    gaussians = gaussians.fit(torch.ones(1, 3), torch.zeros(1, dtype=torch.int64), range(1))
    assert bool((gaussians.covariances == 0).all())
    assert bool(gaussians.sample(5).isfinite().all())


def test_a_generator_learns_where_its_class_lies_and_along_what() -> None:
    torch.manual_seed(0)
    centre = torch.tensor([5.0, -3.0, 0.5, 20.0])
    along = torch.tensor([0.1, 1.0, -0.5, 2.0])
    features = centre + along * torch.randn(200, 1) + 0.1 * along * torch.randn(200, 4)
    generator = FeatureVAE(4, 32, 2)
    losses = generator.fit(features, epochs=100, lr=1e-2)
    assert losses[-20:].mean() < 0.9 * losses[0]
    drawn = generator.sample(2000)
    spread = features.std(dim=0)
    assert bool(((drawn.mean(dim=0) - centre).abs() < spread).all())
    correlation = torch.corrcoef(drawn.T)
    assert float(correlation[1, 3]) > 0.7
    assert float(correlation[1, 2]) < -0.7


@given(st.lists(st.integers(3, 7), min_size=1, max_size=40))
def test_features_by_class_are_what_a_loop_over_classes_gives(labels: list[int]) -> None:
    """Ragged, in the order of the samples, classes without one empty."""
    of = torch.tensor(labels)
    features = torch.randn(len(labels), 3)
    found = by_class(features, of, range(3, 8))
    assert len(found) == 5
    for label, own in zip(range(3, 8), found, strict=True):
        assert torch.equal(own, features[of == label])


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.integers(1, 4))
def test_of_every_class_the_first_few_features_are_kept(labels: list[int], few: int) -> None:
    of = torch.tensor(labels)
    features = torch.arange(len(labels), dtype=torch.float32)[:, None]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept_module, "KEPT_PER_CLASS", few)
        kept = kept_module.kept_features("train", features, of)
    expected = [i for i, y in enumerate(labels) if labels[:i].count(y) < few]
    assert kept["train.features"][:, 0].tolist() == expected
    assert kept["train.labels"].tolist() == [labels[i] for i in expected]
