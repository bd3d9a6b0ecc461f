"""Networks cost and hold what their formulas say."""

from collections.abc import Iterator

import open_clip
import pytest
import timm
import torch

from starprompt.backbones.activations import vit_activations
from starprompt.backbones.clip import FrozenClip
from starprompt.backbones.tiny.models import build_tiny_clip
from starprompt.backbones.vit import load_vit
from starprompt.budget.networks import clip_of, vit_of
from starprompt.continual.flops import operations


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level("ERROR")
    yield


def parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("name", ["vit_base_patch16_224", "vit_small_patch16_224"])
def test_a_vit_costs_what_its_formula_says(name: str) -> None:
    vit = load_vit(f"{name}/random").to("meta")
    with torch.device("meta"):
        image = torch.empty(1, 3, 224, 224)
        ours = vit_of(f"{name}.augreg_in21k")
        assert operations(lambda: vit(image)) == pytest.approx(ours.operations(), rel=1e-3)
        assert parameters(vit) == ours.parameters
        step = operations(lambda: vit(image).sum().backward())
    # A device without memory attends unfused, in one product less.
    assert step == pytest.approx(ours.operations() + ours.backward("trained"), rel=0.02)


@pytest.mark.parametrize("name", ["ViT-L-14", "ViT-B-16"])
def test_a_clip_costs_what_its_formula_says(name: str) -> None:
    with torch.device("meta"):
        clip = open_clip.create_model(f"{name}-quickgelu", device="meta").eval()
        clip.requires_grad_(False)
        image, text = torch.empty(1, 3, 224, 224), torch.zeros(1, 77, dtype=torch.int64)
        ours = clip_of(f"{name}-quickgelu/openai")
        image_operations = operations(lambda: clip.encode_image(image))
        text_operations = operations(lambda: clip.encode_text(text))
    assert image_operations == pytest.approx(ours.image_operations, rel=1e-3)
    assert text_operations == pytest.approx(ours.text_operations(77, gradient=False), rel=0.01)
    assert parameters(clip) == ours.parameters


def test_the_tiny_pair_costs_what_the_table_says() -> None:
    vit, clip = load_vit("tiny"), build_tiny_clip().eval()
    assert parameters(clip) == clip_of("tiny").parameters
    frozen = FrozenClip(clip)
    image = torch.zeros(1, 3, 64, 64)
    assert operations(lambda: vit(image)) == pytest.approx(vit_of("tiny").operations(), rel=1e-3)
    assert operations(lambda: frozen.encode_images(image)) == clip_of("tiny").image_operations
    assert parameters(vit) == vit_of("tiny").parameters


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("trained", [False, True])
def test_memory_is_forecast_by_the_formula_that_the_memory_rule_uses(
    precision: str, trained: bool
) -> None:
    with torch.device("meta"):
        vit = timm.create_model("vit_base_patch16_224", num_classes=0)
    rule = vit_activations(vit, precision, trained=trained).kept
    forecast = vit_of("vit_base_patch16_224").kept_bytes(trained, 2 if precision == "bf16" else 4)
    assert forecast == pytest.approx(rule, rel=0.05)
