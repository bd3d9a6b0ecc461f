"""Bytes of activations by the formula are those that autograd keeps."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import Tensor

from starprompt.backbones.blocks import Injection, Prefix, Residual
from starprompt.backbones.prompted_vit import PromptedViT
from starprompt.backbones.vit import load_vit

FORMS = ("value", "post_attention", "prefix")


def kept_for_backward(forward: Callable[[], object], constant: Iterable[Tensor]) -> int:
    """Bytes that autograd keeps of ``forward``, each storage once, the constants' not counted."""
    known = {tensor.untyped_storage().data_ptr() for tensor in constant}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place not in known:
            kept[place] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = forward()
        assert result is not None
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def injections(vit: PromptedViT, form: str, batch: int) -> list[Injection]:
    def prompt(*shape: int) -> Tensor:
        return torch.zeros(batch, *shape, requires_grad=True)

    if form == "prefix":
        return [Prefix(prompt(5, vit.dim), prompt(5, vit.dim)) for _ in range(vit.depth)]
    at: Any = form
    return [Residual(prompt(vit.dim), at) for _ in range(vit.depth)]


def compare(name: str, form: str, precision: str) -> None:
    loaded = load_vit(name, precision=precision)
    size = loaded.patch_embed.img_size[0]
    if form == "trained":
        net: Any = loaded.requires_grad_(True)
        stated = net.activations()
    else:
        net = PromptedViT(loaded)
        prefix = 5 if form == "prefix" else 0
        stated = net.activations(residual=not prefix, prefix_length=prefix)

    def measured(batch: int) -> int:
        images = torch.rand(batch, 3, size, size)
        prompts = () if form == "trained" else (injections(net, form, batch),)
        constants = [*net.parameters(), *net.buffers()]
        return kept_for_backward(lambda: net(images, *prompts), constants)

    one, two = measured(1), measured(2)
    assert stated.kept == pytest.approx(two - one, rel=0.02)
    assert stated.constant == pytest.approx(2 * one - two, rel=0.1, abs=1e5)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("form", [*FORMS, "trained"])
def test_the_formula_is_what_autograd_keeps(form: str, precision: str) -> None:
    compare("tiny", form, precision)


def test_the_formula_holds_at_full_size() -> None:
    compare("vit_base_patch16_224/random", "value", "float32")
