"""The forecast's operations and parameters against counted ones, of real models and steps."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import open_clip
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from starprompt.backbones.activations import vit_activations
from starprompt.backbones.clip import load_clip
from starprompt.backbones.tiny.models import build_tiny_clip, build_tiny_vit
from starprompt.budget.model import expected
from starprompt.budget.networks import Transformer, clip_of, vit_of
from starprompt.config.experiment import load_config
from starprompt.config.methods import learner_class, load_method
from starprompt.continual.flops import StepCounter, counted, operations
from starprompt.data.stream import TaskStream
from starprompt.method.first_stage import FirstStage
from tests.helpers.small_stream import learn, make, small_stream

DEMO = load_config(Path("config/demo-baselines.yaml"))


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level("ERROR")
    yield


def parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


# --- the counter


def test_attention_is_counted_in_every_form_that_a_cpu_computes() -> None:
    """Fused attention and the fused module: 4 n^2 D, and 8 n D^2 for the module's layers."""
    x = torch.randn(2, 10, 64)
    module = torch.nn.MultiheadAttention(64, 4, batch_first=True).eval()

    def attend() -> Tensor:
        heads = x.view(2, 10, 4, 16).transpose(1, 2)
        return torch.nn.functional.scaled_dot_product_attention(heads, heads, heads)

    assert operations(attend) == 2 * 4 * 10**2 * 64
    whole = 2 * (8 * 10 * 64**2 + 4 * 10**2 * 64)
    assert operations(lambda: module(x, x, x, need_weights=False)) == whole
    with torch.inference_mode():  # the fused module
        assert operations(lambda: module(x, x, x, need_weights=False)) == whole


def test_a_backward_pass_through_frozen_weights_is_counted() -> None:
    """One product for the input's gradient; attention's two become five."""
    block = Transformer(96, 4, 17)
    vit = build_tiny_vit().requires_grad_(False)
    tokens = torch.randn(1, 17, 96, requires_grad=True)
    _, forward = counted(lambda: vit.blocks(tokens))
    assert forward == block.operations()
    total = operations(lambda: vit.blocks(tokens).sum().backward())
    assert total - forward == block.backward(trained=False)
    vit.requires_grad_(True)
    total = operations(lambda: vit.blocks(tokens).sum().backward())
    assert total - forward == block.backward(trained=True)


def test_counting_changes_no_bit_and_takes_the_second_step() -> None:
    images = torch.randn(4, 3, 64, 64)
    clip = load_clip("tiny")
    plain = clip.encode_normalised(images)
    counter = StepCounter()
    results = [counter.take(lambda: clip.encode_normalised(images)) for _ in range(3)]
    assert all(torch.equal(result, plain) for result in results)
    assert counter.operations == 4 * clip_of("tiny").image_operations


# --- backbones


@pytest.mark.parametrize("name", ["vit_base_patch16_224", "vit_small_patch16_224"])
def test_a_vit_costs_what_its_formula_says(name: str) -> None:
    with torch.device("meta"):
        vit, image = timm.create_model(name, num_classes=0).eval(), torch.empty(1, 3, 224, 224)
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
    vit, clip = build_tiny_vit(), build_tiny_clip().eval()
    image = torch.zeros(1, 3, 64, 64)
    assert operations(lambda: vit(image)) == pytest.approx(vit_of("tiny").operations(), rel=1e-3)
    assert operations(lambda: clip.encode_image(image)) == clip_of("tiny").image_operations
    assert parameters(vit) == vit_of("tiny").parameters
    assert parameters(clip) == clip_of("tiny").parameters


# --- methods


@pytest.fixture(scope="module")
def stream() -> TaskStream:
    return small_stream()


@pytest.fixture(scope="module")
def keys(stream: TaskStream, tmp_path_factory: pytest.TempPathFactory) -> Path:
    learner = make(FirstStage, stream, epochs=1, replay_epochs=1, replay_samples=8)
    for task in stream.tasks[:2]:
        learn(learner, task)
    folder = tmp_path_factory.mktemp("keys")
    save_file(
        {name: tensor.contiguous() for name, tensor in learner.state_dict().items()},
        folder / "checkpoint.safetensors",
    )
    return folder


def spec_with(name: str, **hyperparameters: Any) -> Any:
    spec = load_method(name)
    values = {**spec.resolve("digits"), **hyperparameters}
    return spec.model_copy(update={"hyperparameters": values, "datasets": {}})


STEPPING = [
    "finetune",
    "lwf",
    "derpp-100",
    "linear-probe",
    "slca",
    "ease",
    "tuna",
    "l2p",
    "dualprompt",
    "coda-prompt",
    "inflora",
    "lae",
    "hide-prompt",
    "moe-adapters",
    "rapf",
    "starprompt-first-stage",
    "starprompt",
    "starprompt-clean-query",
    "starprompt-post-attention",
]


@pytest.mark.parametrize("name", STEPPING)
def test_a_step_costs_what_the_forecast_says(name: str, stream: TaskStream, keys: Path) -> None:
    """Of the second task, counted on the tiny pair: within 5%."""
    batch = {"batch_size": 16, "epochs": 1}
    if name.startswith("derpp"):
        batch["replay_batch_size"] = 16
    if name == "lae":
        batch["freeze_epochs"] = 0
    if name == "rapf":
        batch["threshold"] = 0  # no neighbours, of which the forecast assumes a number
    spec = spec_with(name, **batch)
    learner = make(learner_class(spec), stream, keys, **spec.resolve("digits"))
    learn(learner, stream.tasks[0])
    counter = StepCounter()
    task = stream.tasks[1]
    learner.begin_task(task)
    learner.begin_epoch(0)
    for step, images in enumerate(task.train.batches(16, inputs=learner.train_inputs)):
        counter.take(partial(learner.train_step, images))
        if step == 1:
            break
    forecast = expected(DEMO, "digits", spec)
    assert counter.operations == pytest.approx(forecast.step_operations[1], rel=0.05)
    assert learner.parameter_counts()["trained"] == forecast.parameters["trained"]


@pytest.mark.parametrize("adaptation", ["adapter", "ssf", "vpt-deep", "vpt-shallow"])
@pytest.mark.parametrize("name", ["ranpac", "aper"])
def test_a_first_session_costs_what_the_forecast_says(
    name: str, adaptation: str, stream: TaskStream
) -> None:
    """A step of the first task, counted on the tiny pair: within 5%; later tasks have none."""
    spec = spec_with(name, batch_size=16, epochs=1, adaptation=adaptation)
    learner = make(learner_class(spec), stream, **spec.resolve("digits"))
    counter = StepCounter()
    task = stream.tasks[0]
    learner.begin_task(task)
    learner.begin_epoch(0)
    for images in task.train.batches(16, inputs=learner.train_inputs):
        counter.take(partial(learner.train_step, images))
    forecast = expected(DEMO, "digits", spec)
    assert counter.operations == pytest.approx(forecast.step_operations[0], rel=0.05)
    assert learner.parameter_counts()["trained"] == forecast.parameters["trained"]
    assert forecast.images["training"] == pytest.approx(1437 / 5, rel=0.01)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("trained", [False, True])
def test_memory_is_forecast_by_the_formula_that_the_memory_rule_uses(
    precision: str, trained: bool
) -> None:
    with torch.device("meta"):
        vit = timm.create_model("vit_base_patch16_224", num_classes=0)
    rule = vit_activations(vit, precision, trained=trained).kept
    body = vit_of("vit_base_patch16_224").body
    forecast = body.kept_bytes(trained, 2 if precision == "bf16" else 4)
    assert forecast == pytest.approx(rule, rel=0.05)
