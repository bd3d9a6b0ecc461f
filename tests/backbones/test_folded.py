"""A prepared ResNet of CLIP computes what it computed."""

import copy

import open_clip
import pytest
import torch
from torch import nn

from starprompt.backbones.clip import FrozenClip
from starprompt.backbones.tiny.models import load_tiny_clip, tiny_tokenizer


@pytest.mark.parametrize("name", ["tiny", "RN50"])
def test_features_are_those_of_the_model_as_it_came(name: str) -> None:
    torch.manual_seed(0)
    if name == "tiny":
        model = load_tiny_clip()
    else:
        model = open_clip.create_model(name, pretrained=None).eval()
        for module in model.visual.modules():
            if isinstance(module, nn.BatchNorm2d):  # as if trained: none is the identity
                assert module.running_mean is not None and module.running_var is not None
                nn.init.normal_(module.running_mean)
                nn.init.uniform_(module.running_var, 0.5, 2.0)
                nn.init.normal_(module.weight, 1.0, 0.2)
                nn.init.normal_(module.bias, std=0.2)
    images = torch.rand(3, 3, *[model.visual.image_size] * 2)
    with torch.no_grad():
        before = copy.deepcopy(model).encode_image(images)
    prepared = FrozenClip(model, tiny_tokenizer(), name=name)
    after = prepared.encode_normalised(images)
    largest = before.abs().max().item()
    torch.testing.assert_close(after, before, rtol=0, atol=2e-6 * largest)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in prepared.modules())


def test_the_digest_is_that_of_the_weights_as_they_came() -> None:
    first, second = FrozenClip(load_tiny_clip()), load_tiny_clip()
    for module in second.visual.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps *= 2  # no weight: the digest is of weights
    assert first.digest == FrozenClip(second).digest
