"""Both stages against what the released implementation computed, number by number.

Every `*.safetensors` in this folder is read, and in the folder that STARPROMPT_GOLDEN_DIR
names where it is set. All shapes come from the files.
"""

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from safetensors.torch import load_file, save_file
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from starprompt.backbones.clip import FrozenClip
from starprompt.continual.learner import Setting
from starprompt.continual.schedules import cosine_factor
from starprompt.data.batch import Batch, Normalisation, StreamInfo
from starprompt.method.first_stage import context_orthogonality
from starprompt.method.retrieval import KeyFilters
from starprompt.method.starprompt import StarPrompt
from starprompt.replay.head_alignment import align_step

FORWARD, GRADIENT = 1e-5, 1e-4

FOLDERS = [Path(__file__).parent]
if os.environ.get("STARPROMPT_GOLDEN_DIR"):
    FOLDERS.append(Path(os.environ["STARPROMPT_GOLDEN_DIR"]))
FILES = [file for folder in FOLDERS for file in sorted(folder.glob("*.safetensors"))]


def assert_equal(ours: Tensor, golden: Tensor, tolerance: float = FORWARD) -> None:
    """Largest difference, relative to the largest golden entry."""
    assert ours.shape == golden.shape
    scale = golden.abs().max().clamp_min(1e-12)
    error = float((ours.detach() - golden).abs().max() / scale)
    assert error <= tolerance, f"relative error {error:.2e} > {tolerance:.0e}"


def build_clip(t: dict[str, Tensor]) -> CLIP:
    state = {name.removeprefix("clip."): x for name, x in t.items() if name.startswith("clip.")}
    width, _, patch, _ = state["visual.conv1.weight"].shape
    grid = round((len(state["visual.positional_embedding"]) - 1) ** 0.5)
    layers = {int(n.split(".")[3]) for n in state if n.startswith("visual.transformer.resblocks")}
    text_layers = {int(n.split(".")[2]) for n in state if n.startswith("transformer.resblocks")}
    vocabulary, text_width = state["token_embedding.weight"].shape
    clip = CLIP(
        embed_dim=state["text_projection"].shape[1],
        vision_cfg=CLIPVisionCfg(
            layers=len(layers),
            width=width,
            head_width=64,
            patch_size=patch,
            image_size=patch * grid,
        ),
        text_cfg=CLIPTextCfg(
            context_length=len(state["positional_embedding"]),
            vocab_size=vocabulary,
            width=text_width,
            heads=text_width // 64,
            layers=len(text_layers),
        ),
        quick_gelu=True,
    )
    clip.load_state_dict(state)
    return clip.eval()


def build_vit(t: dict[str, Tensor], heads: int) -> VisionTransformer:
    state = {name.removeprefix("vit."): x for name, x in t.items() if name.startswith("vit.")}
    dim, _, patch, _ = state["patch_embed.proj.weight"].shape
    tokens = state["pos_embed"].shape[1] - 1
    vit = VisionTransformer(
        img_size=patch * round(tokens**0.5),
        patch_size=patch,
        embed_dim=dim,
        depth=len({n.split(".")[1] for n in state if n.startswith("blocks")}),
        num_heads=heads,
        num_classes=len(state["head.weight"]),
    )
    vit.load_state_dict(state)
    return vit.eval()


@pytest.fixture(scope="module", params=FILES, ids=lambda file: file.stem)
def golden(request: pytest.FixtureRequest) -> SimpleNamespace:
    t = load_file(request.param)
    facts = json.loads(request.param.with_suffix(".json").read_text())
    return SimpleNamespace(t=t, **{name.replace(".", "_"): value for name, value in facts.items()})


@pytest.fixture(scope="module")
def clip(golden: SimpleNamespace) -> FrozenClip:
    return FrozenClip(build_clip(golden.t))


def test_there_are_golden_vectors() -> None:
    assert FILES


# --- first stage


def first_stage_keys(golden: SimpleNamespace, clip: FrozenClip, context: Tensor) -> Tensor:
    """Keys of the seen classes, past ones without gradient, as the learner makes them."""
    past, seen = golden.past, golden.seen
    tokens = clip.embed_tokens(golden.t["token_ids"])
    keys = []
    for classes in (slice(0, past), slice(past, seen)):
        text = tokens.select(classes)
        own = context[classes] if classes.start == past else context[classes].detach()
        keys.append(F.normalize(clip.encode_prompts(text.with_context(own), text.eot), dim=-1))
    return torch.cat(keys)


def test_first_stage_forward(golden: SimpleNamespace, clip: FrozenClip) -> None:
    t = golden.t
    query = clip.encode_normalised(t["images"])
    assert_equal(query, t["stage1.query"])
    context = t["stage1.context"][:, 0]
    tokens = clip.embed_tokens(t["token_ids"])
    every = clip.encode_prompts(tokens.with_context(context), tokens.eot)
    assert_equal(F.normalize(every, dim=-1), t["stage1.keys"])
    assert clip.logit_scale == pytest.approx(golden.logit_scale_exp, rel=1e-6)
    keys = first_stage_keys(golden, clip, context)
    assert_equal(clip.logit_scale * F.normalize(query, dim=-1) @ keys.T, t["stage1.logits"])


def test_first_stage_loss_and_gradient(golden: SimpleNamespace, clip: FrozenClip) -> None:
    t, past = golden.t, golden.past
    context = t["stage1.context"][:, 0].clone().requires_grad_()
    keys = first_stage_keys(golden, clip, context)[past:]
    images = F.normalize(t["stage1.query"], dim=-1)
    cross_entropy = F.cross_entropy(clip.logit_scale * images @ keys.T, t["labels"] - past)
    orthogonality = context_orthogonality(context[:past], context[past : golden.seen])
    (cross_entropy + golden.stage1_lambda * orthogonality).backward()
    assert_equal(cross_entropy, t["stage1.cross_entropy"])
    assert_equal(orthogonality, t["stage1.orthogonality"])
    assert_equal(context.grad[:, None], t["stage1.context_grad"], GRADIENT)


def test_first_stage_replay(golden: SimpleNamespace, clip: FrozenClip) -> None:
    t = golden.t
    context = t["stage1.context"][:, 0].clone().requires_grad_()
    keys = first_stage_keys(golden, clip, context)
    images = F.normalize(t["stage1.replay_features"], dim=-1)
    logits = clip.logit_scale * images @ keys.T
    loss = F.cross_entropy(logits, t["stage1.replay_labels"])
    loss.backward()
    assert_equal(loss, t["stage1.replay_loss"])
    assert_equal(context.grad[:, None], t["stage1.replay_context_grad"], GRADIENT)


# --- second stage


def second_stage(
    golden: SimpleNamespace, clip: FrozenClip, folder: Path, form: str, confidence: bool
) -> tuple[StarPrompt, Batch]:
    """Our learner with the golden prompts, query weights, keys and head in it, and its batch.

    The golden images are normalised already, and CLIP sees the same: a query of the clean image.
    """
    t, name = golden.t, "residual_prompt" if form == "residual" else "prefix_prompt"
    names = tuple(f"thing {label}" for label in range(golden.classes))
    size = t["images"].shape[-1]
    setting = Setting(
        stream=StreamInfo("golden", names, (golden.past, golden.seen), size, Normalisation()),
        device=torch.device("cpu"),
        seed=0,
        vit=lambda: build_vit(t, golden.heads),
        clip=lambda: clip,
        vit_normalisation=Normalisation(),
        keys=folder,
    )
    save_file({"keys": t["stage1.keys"]}, folder / "checkpoint.safetensors")
    hyperparameters = StarPrompt.Hyperparameters(
        injection="value" if form == "residual" else "prefix",
        prefix_length=golden.prefix_length,
        confidence=confidence,
        query="clean",
        orthogonality=golden.stage2_lambda,
    )
    learner = StarPrompt(hyperparameters, setting)
    layers = range(golden.depth)
    state = {
        "prompts": torch.stack([t[f"stage2.{name}.{i}"] for i in layers]),
        "query_weights": torch.stack([t[f"stage2.query_weight.{i}"] for i in layers]),
        "head.weight": t["vit.head.weight"],
        "head.bias": t["vit.head.bias"],
        "seen": torch.tensor(golden.past),
    }
    learner.load_state_dict(state)
    task: Any = SimpleNamespace(past_classes=golden.past, seen_classes=golden.seen)
    learner.begin_task(task)
    ids = torch.arange(len(t["labels"]))
    return learner, Batch(ids, t["labels"], t["images"], None, t["stage1.query"])


def with_zeros(gradient: Tensor | None, golden: SimpleNamespace, like: Tensor) -> Tensor:
    """The current classes' gradient among all classes; the others have none."""
    full = torch.zeros_like(like)
    if gradient is not None:
        full[golden.past : golden.seen] = gradient
    return full


def test_similarity(golden: SimpleNamespace) -> None:
    t = golden.t
    weights = torch.stack([t[f"stage2.query_weight.{i}"] for i in range(golden.depth)])
    filters = KeyFilters.of(weights[:, : golden.seen], t["stage1.keys"][: golden.seen])
    similarity = filters.similarity(t["stage1.query"])
    for layer in range(golden.depth):
        assert_equal(similarity[:, layer], t[f"stage2.similarity.{layer}"])


@pytest.mark.parametrize("confidence", [True, False], ids=["modulated", "binary"])
@pytest.mark.parametrize("form", ["residual", "concat"])
def test_second_stage(
    golden: SimpleNamespace, clip: FrozenClip, form: str, confidence: bool, tmp_path: Path
) -> None:
    t = golden.t
    at = f"stage2.{form}.{'modulated' if confidence else 'binary'}"
    learner, batch = second_stage(golden, clip, tmp_path, form, confidence)
    assert batch.query is not None
    features, retrieved = learner.features(batch, batch.query)
    for layer in range(golden.depth):
        prompt = retrieved.prompts[:, layer]
        if form == "residual":
            assert_equal(prompt, t[f"{at}.retrieved.{layer}"])
        else:
            key, value = prompt.split(golden.prefix_length, dim=1)
            assert_equal(key, t[f"{at}.retrieved_key.{layer}"])
            assert_equal(value, t[f"{at}.retrieved_value.{layer}"])
    assert_equal(features, t[f"{at}.features"])
    assert_equal(learner.predict(batch), t[f"{at}.logits"])

    losses = learner.loss(batch)
    losses["loss"].backward()  # type: ignore[no-untyped-call]
    assert_equal(losses["cross_entropy"], t[f"{at}.cross_entropy"])
    assert_equal(losses["orthogonality"], t[f"{at}.orthogonality"])
    assert_equal(learner.head.weight.grad, t[f"{at}.grad.head.weight"], GRADIENT)
    assert_equal(learner.head.bias.grad, t[f"{at}.grad.head.bias"], GRADIENT)
    pool = learner.pool
    for layer in range(golden.depth):
        for ours, name in ((pool.prompt, "prompt"), (pool.query_weight, "query_weight")):
            expected = t[f"{at}.grad.{name}.{layer}"]
            gradient = None if ours.grad is None else ours.grad[layer]
            assert_equal(with_zeros(gradient, golden, expected), expected, GRADIENT)


def test_without_confidence_query_weights_get_no_gradient(
    golden: SimpleNamespace, clip: FrozenClip, tmp_path: Path
) -> None:
    learner, batch = second_stage(golden, clip, tmp_path, "residual", confidence=False)
    learner.loss(batch)["loss"].backward()  # type: ignore[no-untyped-call]
    assert learner.pool.query_weight.grad is None
    assert learner.pool.prompt.grad is not None


# --- head alignment and schedule


def test_head_alignment(golden: SimpleNamespace) -> None:
    t = golden.t
    head = nn.Linear(t["vit.head.weight"].shape[1], golden.classes)
    head.load_state_dict({"weight": t["vit.head.weight"], "bias": t["vit.head.bias"]})
    optimiser = torch.optim.SGD(head.parameters(), lr=golden.align_lr)
    losses = [
        align_step(head, optimiser, features, labels, golden.seen)
        for features, labels in zip(t["align.features"], t["align.labels"], strict=True)
    ]
    assert_equal(torch.stack(losses), t["align.losses"])
    assert_equal(head.weight, t["align.head.weight"])
    assert_equal(head.bias, t["align.head.bias"])


def test_cosine_schedule(golden: SimpleNamespace) -> None:
    schedules = {n: v for n, v in vars(golden).items() if n.startswith("cosine_schedule_")}
    assert schedules
    for name, factors in schedules.items():
        epochs = int(name.rsplit("_", 1)[1])
        assert [cosine_factor(e, epochs) for e in range(epochs)] == pytest.approx(factors, rel=1e-5)
