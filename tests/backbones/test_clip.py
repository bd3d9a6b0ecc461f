"""Frozen CLIP against the released code's numbers and against open_clip's own text tower."""

import json
import os
from pathlib import Path

import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.model import CLIPTextCfg, CLIPVisionCfg
from safetensors.torch import load_file
from torch import Tensor

from starprompt.backbones.clip import FrozenClip, load_clip
from starprompt.errors import UserError
from tests.helpers import paths

GOLDEN = [paths.GOLDEN]


if os.environ.get("STARPROMPT_GOLDEN_DIR"):
    GOLDEN.append(Path(os.environ["STARPROMPT_GOLDEN_DIR"]))


VECTORS = sorted(file for folder in GOLDEN for file in folder.glob("*.safetensors"))


def golden_clip(vectors: dict[str, Tensor]) -> open_clip.CLIP:
    """The released code's random CLIP; every size is read off its tensors (heads are 64 wide)."""
    state = {k.removeprefix("clip."): v for k, v in vectors.items() if k.startswith("clip.")}
    patches = state["visual.conv1.weight"]
    side = round((len(state["visual.positional_embedding"]) - 1) ** 0.5)

    def depth(prefix: str) -> int:
        blocks = {k.removeprefix(prefix).split(".")[0] for k in state if k.startswith(prefix)}
        return len(blocks)

    vocabulary, width = state["token_embedding.weight"].shape
    model = open_clip.CLIP(
        embed_dim=state["text_projection"].shape[1],
        vision_cfg=CLIPVisionCfg(
            layers=depth("visual.transformer.resblocks."),
            width=patches.shape[0],
            head_width=64,
            patch_size=patches.shape[-1],
            image_size=side * patches.shape[-1],
        ),
        text_cfg=CLIPTextCfg(
            context_length=len(state["positional_embedding"]),
            vocab_size=vocabulary,
            width=width,
            heads=max(1, width // 64),
            layers=depth("transformer.resblocks."),
        ),
        quick_gelu=True,
    )
    model.load_state_dict(state)
    return model


def relative(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).detach().abs().max() / theirs.abs().max())


@pytest.fixture(params=VECTORS, ids=lambda file: file.stem)
def golden(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture
def vectors(golden: Path) -> dict[str, Tensor]:
    return load_file(golden)


@pytest.fixture
def lambda1(golden: Path) -> float:
    return json.loads(golden.with_suffix(".json").read_text())["stage1.lambda"]


@pytest.fixture(scope="module")
def tiny() -> FrozenClip:
    return load_clip("tiny")


def test_queries_equal_the_released_codes(vectors: dict[str, Tensor]) -> None:
    clip = FrozenClip(golden_clip(vectors))
    query = clip.encode_normalised(vectors["images"])
    assert relative(query, vectors["stage1.query"]) < 1e-5


def test_keys_equal_the_released_codes(vectors: dict[str, Tensor]) -> None:
    clip = FrozenClip(golden_clip(vectors))
    tokens = clip.embed_tokens(vectors["token_ids"])
    context = vectors["stage1.context"].squeeze(1).clone().requires_grad_()
    keys = clip.encode_prompts(tokens.with_context(context), tokens.eot)
    keys = torch.nn.functional.normalize(keys, dim=-1)
    assert tokens.embeddings.shape[1] < vectors["token_ids"].shape[1], "nothing was cut"
    assert relative(keys, vectors["stage1.keys"]) < 1e-5
    keys[:2].sum().backward()
    assert context.grad is not None
    assert context.grad[:2].abs().max() > 0
    assert context.grad[2:].abs().max() == 0


def test_first_stage_loss_and_gradient_equal_the_released_codes(
    vectors: dict[str, Tensor], lambda1: float
) -> None:
    clip = FrozenClip(golden_clip(vectors))
    tokens = clip.embed_tokens(vectors["token_ids"])
    context = vectors["stage1.context"].squeeze(1).clone().requires_grad_()
    keys = clip.encode_prompts(tokens.with_context(context), tokens.eot)
    query = torch.nn.functional.normalize(vectors["stage1.query"], dim=-1)
    logits = clip.logit_scale * query @ torch.nn.functional.normalize(keys, dim=-1).T
    assert relative(logits, vectors["stage1.logits"]) < 1e-5
    gradient = vectors["stage1.context_grad"].squeeze(1)
    past = int((gradient.abs().amax(1) > 0).nonzero()[0])
    masked = logits.clone()
    masked[:, :past] = -torch.inf
    loss = torch.nn.functional.cross_entropy(masked, vectors["labels"])
    assert relative(loss, vectors["stage1.cross_entropy"]) < 1e-5
    orthogonality = (context[past:] @ context[:past].detach().T).square().mean()
    (loss + lambda1 * orthogonality).backward()
    assert context.grad is not None
    assert relative(context.grad[past:], gradient[past:]) < 1e-4


def test_a_query_may_meet_a_learned_weight(tiny: FrozenClip) -> None:
    weight = torch.zeros(tiny.dim, requires_grad=True)
    (tiny.encode_images(torch.rand(2, 3, 64, 64)) * weight).sum().backward()
    assert weight.grad is not None
    assert weight.grad.abs().max() > 0


@settings(max_examples=25, deadline=None)
@given(
    texts=st.lists(
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=34),
        min_size=1,
        max_size=5,
    )
)
def test_the_cut_is_exact(tiny: FrozenClip, texts: list[str]) -> None:
    uncut = tiny.model.encode_text(tiny.tokenize(texts))
    torch.testing.assert_close(tiny.encode_texts(texts), uncut, rtol=1e-5, atol=1e-5)


def test_the_cut_is_exact_with_byte_pairs_and_an_eos_pooled_tower() -> None:
    torch.manual_seed(0)
    text = CLIPTextCfg(width=64, heads=1, layers=2, pool_type="eos", eos_id=49407)
    model = open_clip.CLIP(32, CLIPVisionCfg(1, 64, patch_size=16, image_size=32), text)
    clip = FrozenClip(model, open_clip.SimpleTokenizer())
    texts = ["a", "a photo of a chambered nautilus.", "X keeshond."]
    torch.testing.assert_close(
        clip.encode_texts(texts), model.encode_text(clip.tokenize(texts)), rtol=1e-5, atol=1e-5
    )
    assert clip.prompt_tokens(["keeshond", "tench"]).embeddings.shape[1] < 12


def test_prompt_tokens_hold_the_placeholder_where_the_context_goes(tiny: FrozenClip) -> None:
    tokens = tiny.prompt_tokens(["the digit zero", "six"])
    ids = tiny.tokenize(["X the digit zero.", "X six."])
    width = tiny.text_width
    torch.testing.assert_close(tokens.embeddings[:, 1], tiny.model.token_embedding(ids[:, 1]))
    assert (tokens.eot == ids.argmax(1)).all()
    context = torch.randn(2, width)
    replaced = tokens.with_context(context)
    assert torch.equal(replaced[:, 1], context)
    assert torch.equal(replaced[:, 2:], tokens.embeddings[:, 2:])
    six = tokens.select(slice(1, 2))
    assert six.embeddings.shape[1] == int(tokens.eot[1]) + 1
    torch.testing.assert_close(
        tiny.encode_prompts(six.embeddings, six.eot),
        tiny.encode_prompts(tokens.embeddings, tokens.eot)[1:],
        rtol=1e-5,
        atol=1e-5,
    )


def test_a_class_name_that_does_not_fit_is_refused(tiny: FrozenClip) -> None:
    with pytest.raises(UserError):
        tiny.prompt_tokens(["a" * 100])
    model = open_clip.CLIP(
        32, CLIPVisionCfg(1, 64, patch_size=16, image_size=32), CLIPTextCfg(8, width=64, heads=1)
    )
    clip = FrozenClip(model, open_clip.SimpleTokenizer(), name="short")
    assert len(clip.prompt_tokens(["a b c d"])) == 1  # SOT X a b c d . EOT: eight, just
    with pytest.raises(UserError, match="longer than the 8 tokens that short reads"):
        clip.prompt_tokens(["a b c d e"])


def test_it_stays_frozen_and_in_evaluation(tiny: FrozenClip) -> None:
    holder = torch.nn.Sequential(tiny)
    holder.train()
    assert not any(module.training for module in tiny.modules())
    assert not any(parameter.requires_grad for parameter in tiny.parameters())


def test_sizes_of_the_tiny_clip(tiny: FrozenClip) -> None:
    features = tiny.encode_images(torch.rand(3, 3, 48, 48))
    assert features.shape == (3, tiny.dim)
    assert features.dtype == torch.float32
    assert tiny.encode_texts(["one", "two"]).shape == (2, tiny.dim)
    assert tiny.encode_texts([]).shape == (0, tiny.dim)
    assert tiny.logit_scale == pytest.approx(float(tiny.model.logit_scale.exp()))
    assert tiny.image_size == 64
    assert len(tiny.digest) == 64


def test_bfloat16_reaches_the_image_tower_alone(tiny: FrozenClip) -> None:
    view = torch.rand(4, 3, 64, 64)
    bf16 = load_clip("tiny", precision="bf16")
    features, reference = bf16.encode_images(view), tiny.encode_images(view)
    assert features.dtype == torch.float32
    assert not torch.equal(features, reference)
    assert torch.nn.functional.cosine_similarity(features, reference).min() > 0.99
    assert torch.equal(bf16.encode_texts(["six"]), tiny.encode_texts(["six"]))
    with pytest.raises(UserError, match="float32, tf32, bf16"):
        load_clip("tiny", precision="half")


def test_a_text_tower_of_another_kind_is_refused() -> None:
    text = CLIPTextCfg(8, 64, width=64, heads=1, layers=1, no_causal_mask=True)
    model = open_clip.CLIP(32, CLIPVisionCfg(1, 64, patch_size=16, image_size=32), text)
    with pytest.raises(UserError, match="learned prompts need"):
        FrozenClip(model)
    custom = open_clip.CustomTextCLIP(
        32, CLIPVisionCfg(1, 64, patch_size=16, image_size=32), CLIPTextCfg(8, 64, 64, 1, 1)
    )
    with pytest.raises(UserError, match="learned prompts need"):
        FrozenClip(custom)
