"""Centroids of classes: what they keep, and what is drawn around them."""

import pytest
import torch

from starprompt.replay.centroids import VARIANCE_FLOOR, Centroids

CPU = torch.device("cpu")


def two_modes(per_mode: int = 10) -> torch.Tensor:
    torch.manual_seed(0)
    modes = torch.tensor([[10.0, 0, 0], [-10.0, 0, 0]])
    return torch.cat([mode + torch.randn(per_mode, 3) for mode in modes])


def test_each_mode_of_a_class_is_a_centroid_with_its_variances() -> None:
    features = two_modes()
    labels = torch.full((20,), 4)
    found = Centroids.none(3, CPU).fit(features, labels, range(4, 5), 2)
    order = found.means[:, 0].argsort(descending=True)
    for mode, row in zip(features.split(10), order, strict=True):
        torch.testing.assert_close(found.means[row], mode.mean(dim=0))
        torch.testing.assert_close(found.variances[row], mode.var(dim=0, correction=0))
    assert found.labels.tolist() == [4, 4]
    assert found.drawn.all()


@pytest.mark.parametrize("images", [1, 3])
def test_a_class_with_fewer_images_has_as_many_centroids_and_is_drawn(images: int) -> None:
    features, labels = two_modes(2)[:images], torch.zeros(images, dtype=torch.int64)
    found = Centroids.none(3, CPU).fit(features, labels, range(1), 5)
    assert len(found.means) == images
    ((drawn, of),) = found.batches(7, 1)
    assert drawn.shape == (7, 3)
    assert of.tolist() == [0] * 7
    assert bool(drawn.isfinite().all())


def test_no_feature_is_drawn_around_a_single_image_of_a_larger_class() -> None:
    features = torch.cat([two_modes()[:10], torch.tensor([[500.0, 0, 0]])])
    found = Centroids.none(3, CPU).fit(features, torch.zeros(11).long(), range(1), 2)
    assert found.drawn.sum() == 1
    (batch,) = found.batches(50, 1)
    assert float(batch[0].max()) < 100


def test_draws_have_the_classes_means_and_variances() -> None:
    features = torch.cat([two_modes(), 5 + two_modes()])
    labels = torch.arange(2).repeat_interleave(20)
    found = Centroids.none(3, CPU).fit(features, labels, range(2), 1)
    (batch,) = found.batches(20000, 1)
    drawn, of = batch
    assert 9000 < int((of == 0).sum()) < 11000
    for label in range(2):
        own = drawn[of == label]
        spread = (found.variances[label] + VARIANCE_FLOOR).sqrt()
        torch.testing.assert_close(own.mean(dim=0), found.means[label], atol=0.5, rtol=0)
        torch.testing.assert_close(own.std(dim=0), spread, rtol=0.05, atol=0)


def test_they_go_through_a_checkpoint() -> None:
    found = Centroids.none(3, CPU).fit(two_modes(), torch.zeros(20).long(), range(1), 3)
    again = Centroids.from_state(found.state("x."), "x.")
    for name, tensor in found.state("").items():
        assert torch.equal(getattr(again, name), tensor)
