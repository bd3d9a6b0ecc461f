"""Prefixes stand at their own layers, keys before values; layers of another ViT are refused."""

import pytest
import torch

from starprompt.backbones.blocks import Prefix
from starprompt.backbones.prefixes import prefixes_at, require_layers
from starprompt.errors import UserError


def test_keys_come_first_and_other_layers_stay_empty() -> None:
    two = torch.stack([torch.full((3, 5, 8), 1.0), torch.full((3, 5, 8), 2.0)], dim=1)
    first, second, third, last = prefixes_at(4, {1: two, 3: two * 10})
    assert first is None
    assert third is None
    assert isinstance(second, Prefix)
    assert isinstance(last, Prefix)
    assert second.keys.shape == second.values.shape == (3, 5, 8)
    assert (second.keys == 1).all()
    assert (second.values == 2).all()
    assert (last.keys == 10).all()
    assert not second.apart


def test_layers_count_from_nought_to_below_the_depth() -> None:
    require_layers((0, 11), 12, "g_layers")
    require_layers((), 1, "g_layers")
    for layers in ((12,), (0, -1)):
        with pytest.raises(
            UserError, match=rf"g_layers names the layers \[{layers[-1]}\].* 0 to 11"
        ):
            require_layers(layers, 12, "g_layers")
