"""The tiny pair's accuracy is what its card states."""

import json

import pytest
import sklearn.datasets
import torch

from starprompt.backbones.tiny import measure, models

CARD = json.loads(models.CARD.read_text())


@pytest.mark.parametrize("template", measure.TEMPLATES)
def test_zero_shot_accuracy_on_the_scans(template: str) -> None:
    images, labels = measure.digit_scans()
    found = measure.zero_shot_predictions(models.load_tiny_clip(), images, template)
    accuracy = (found == labels).double().mean().item()
    assert accuracy >= 0.75
    assert accuracy == pytest.approx(CARD["zero_shot_accuracy"][template]["all"], abs=0.003)


def test_scans_are_ink_on_black_with_their_digits() -> None:
    images, labels = measure.digit_scans()
    assert images.shape == (1797, 3, 64, 64)
    assert labels.tolist() == sklearn.datasets.load_digits().target.tolist()
    assert images.min() >= 0
    assert images.max() <= 1
    assert images[:, :, 0, 0].max() < 0.1, "corners are black"


def test_parts_are_four_fifths_and_a_fifth_of_every_digit() -> None:
    labels = torch.arange(10).repeat(20)
    train, test = measure.split(labels)
    assert sorted([*train.tolist(), *test.tolist()]) == list(range(200))
    assert labels[test].bincount().tolist() == [4] * 10


def test_features_come_in_order_from_normalised_images() -> None:
    images = torch.arange(300.0).view(-1, 1, 1, 1).expand(-1, 3, 2, 2)
    found = measure.features(lambda part: part.mean((1, 2, 3)).unsqueeze(1), images)
    torch.testing.assert_close(found[:, 0], (torch.arange(300.0) - 0.3) / 0.35)
