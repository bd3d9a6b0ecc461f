"""Descriptions of transforms: torchvision's defaults, and the numbers that a YAML may not hold."""

import pytest
from pydantic import TypeAdapter, ValidationError
from torchvision.transforms import v2

from starprompt.data.steps import RandomResizedCrop, Step, StoredShape

STEP = TypeAdapter(Step)


def test_defaults_are_torchvisions():
    ours = STEP.validate_json('{"step": "random_resized_crop", "size": 8}')
    theirs = v2.RandomResizedCrop(8)
    assert isinstance(ours, RandomResizedCrop)
    assert ours.scale == theirs.scale
    assert ours.ratio == theirs.ratio
    assert (
        STEP.validate_json('{"step": "horizontal_flip"}').probability == v2.RandomHorizontalFlip().p
    )


@pytest.mark.parametrize(
    "text",
    [
        '{"step": "resize", "size": 1}',
        '{"step": "resize", "size": 4096}',
        '{"step": "resize", "size": [1, 4096]}',
        '{"step": "random_resized_crop", "size": 8, "scale": [1.0, 1.0]}',
        '{"step": "random_resized_crop", "size": 8, "ratio": [0.01, 100.0]}',
        '{"step": "horizontal_flip", "probability": 0.0}',
        '{"step": "horizontal_flip", "probability": 1.0}',
    ],
)
def test_bounds_themselves_are_admitted(text):
    STEP.validate_json(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"step": "resize", "size": 0}',
        '{"step": "resize", "size": 4097}',
        '{"step": "resize", "size": [8, 0]}',
        '{"step": "resize", "size": [8, 8, 8]}',
        '{"step": "center_crop", "size": [8, 8]}',
        '{"step": "center_crop", "size": "8"}',
        '{"step": "random_resized_crop", "size": 8, "scale": [0.0, 1.0]}',
        '{"step": "random_resized_crop", "size": 8, "scale": [0.5, 1.1]}',
        '{"step": "random_resized_crop", "size": 8, "scale": [0.9, 0.5]}',
        '{"step": "random_resized_crop", "size": 8, "ratio": [2.0, 1.0]}',
        '{"step": "horizontal_flip", "probability": 1.01}',
        '{"step": "horizontal_flip", "chance": 0.5}',
        '{"step": "rotate", "size": 8}',
    ],
)
def test_other_numbers_keys_and_steps_are_refused(text):
    with pytest.raises(ValidationError):
        STEP.validate_json(text)


def test_images_are_stored_by_steps_without_chance():
    flip = '{"train": [{"step": "horizontal_flip"}]}'
    with pytest.raises(ValidationError, match="horizontal_flip"):
        StoredShape.model_validate_json(flip)
