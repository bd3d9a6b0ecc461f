"""Class statistics have the moments of their samples."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from starprompt.replay.statistics import ClassGaussians, by_class


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


@given(st.lists(st.integers(3, 7), min_size=1, max_size=40))
def test_features_by_class_are_what_a_loop_over_classes_gives(labels: list[int]) -> None:
    """Ragged, in the order of the samples, classes without one empty."""
    of = torch.tensor(labels)
    features = torch.randn(len(labels), 3)
    found = by_class(features, of, range(3, 8))
    assert len(found) == 5
    for label, own in zip(range(3, 8), found, strict=True):
        assert torch.equal(own, features[of == label])
