"""How a run saw its images: kept as JSON, taken up again, and the same view of an image."""

import json

import pytest
import torch
from pydantic import ValidationError

from starprompt.data.registry import load_dataset_spec
from starprompt.data.transforms import TestView
from starprompt.data.view_facts import ViewFacts
from tests.helpers.paths import DATASETS


@pytest.mark.parametrize("name", ["digits", "cub200", "imagenet-r"])
def test_facts_go_through_a_record_and_come_back(name: str) -> None:
    spec = load_dataset_spec(name, DATASETS)
    facts = ViewFacts.of(spec)
    assert ViewFacts.model_validate_json(json.dumps(facts.kept())) == facts
    assert facts.image_size == spec.image_size
    assert facts.stored == spec.stored.test, "test images are stored by their own steps"
    assert facts.test_transform == spec.test_transform


def test_the_view_is_the_data_sets_own() -> None:
    spec = load_dataset_spec("cub200", DATASETS)
    images = torch.randint(0, 256, (2, 3, 256, 300), dtype=torch.uint8)
    sizes = torch.tensor([[256, 300]] * 2)
    expected = TestView(tuple(spec.test_transform))(images, sizes)
    assert torch.equal(ViewFacts.of(spec).view(images, sizes), expected)


@pytest.mark.parametrize("exif", [True, False])
def test_images_are_upright_where_the_source_says_so(exif: bool) -> None:
    value = load_dataset_spec("digits", DATASETS).model_dump()
    form = {"kind": "image-folder", "folder": "x", "test_share": 0.5, "exif": exif}
    value["sources"] = [{"format": form}]
    spec = type(load_dataset_spec("digits", DATASETS)).model_validate(value)
    assert ViewFacts.of(spec).upright is exif


def test_unknown_facts_and_sizes_of_nothing_are_refused() -> None:
    kept = ViewFacts.of(load_dataset_spec("digits", DATASETS)).kept()
    for change in ({"more": 1}, {"image_size": 0}):
        with pytest.raises(ValidationError):
            ViewFacts.model_validate_json(json.dumps(kept | change))
