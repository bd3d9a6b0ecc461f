"""Several contexts before a class name: where they stand, what they encode to, what may learn."""

import pytest
import torch

from starprompt.backbones.clip import FrozenClip, load_clip
from starprompt.backbones.text_prompts import (
    encode_with_contexts,
    text_parameters,
    with_contexts,
    with_learning_text_tower,
)
from starprompt.errors import UserError

NAMES = ["cat", "a longer name"]


@pytest.fixture(scope="module")
def clip() -> FrozenClip:
    return load_clip("tiny")


def test_contexts_stand_between_the_start_and_the_name(clip: FrozenClip) -> None:
    texts = clip.prompt_tokens(NAMES)
    contexts = torch.arange(2.0 * 3 * clip.text_width).view(2, 3, -1)
    made = with_contexts(clip, texts, contexts)
    assert made.embeddings.shape[1] == texts.embeddings.shape[1] + 2
    assert made.eot.tolist() == [end + 2 for end in texts.eot.tolist()]
    assert torch.equal(made.embeddings[:, 0], texts.embeddings[:, 0])
    assert torch.equal(made.embeddings[:, 1:4], contexts)
    assert torch.equal(made.embeddings[:, 4:], texts.embeddings[:, 2:])


def test_the_letters_embeddings_as_contexts_give_the_written_texts_features(
    clip: FrozenClip,
) -> None:
    written = clip.embed_tokens(clip.tokenize([f"XYZ {name}." for name in NAMES]))
    features = encode_with_contexts(clip, clip.prompt_tokens(NAMES), written.embeddings[:, 1:4])
    expected = clip.encode_prompts(written.embeddings, written.eot)
    torch.testing.assert_close(features, expected / expected.norm(dim=1, keepdim=True))
    torch.testing.assert_close(features.norm(dim=1), torch.ones(2))


def test_gradients_reach_each_context_of_its_own_text_alone(clip: FrozenClip) -> None:
    contexts = torch.randn(2, 3, clip.text_width, generator=torch.Generator().manual_seed(0))
    contexts.requires_grad_()
    encode_with_contexts(clip, clip.prompt_tokens(NAMES), contexts)[0].sum().backward()
    assert contexts.grad is not None
    assert (contexts.grad[0].abs().sum(1) > 0).all()
    assert not contexts.grad[1].any()


def test_the_longest_text_that_fits_is_taken_and_one_more_is_refused(clip: FrozenClip) -> None:
    texts = clip.prompt_tokens(NAMES)
    most = clip.context_length - int(texts.eot.max())
    with_contexts(clip, texts, torch.zeros(2, most, clip.text_width))
    with pytest.raises(UserError, match=rf"{most + 1} context tokens .* {clip.context_length + 1}"):
        with_contexts(clip, texts, torch.zeros(2, most + 1, clip.text_width))


def test_a_copys_text_tower_learns_and_the_original_stays_frozen(clip: FrozenClip) -> None:
    own = with_learning_text_tower(clip)
    learning = {name for name, p in own.model.named_parameters() if p.requires_grad}
    assert learning == set(text_parameters(own))
    assert "logit_scale" in learning
    assert "text_projection" in learning
    assert not any(name.startswith(("visual.", "token_embedding.")) for name in learning)
    assert not any(p.requires_grad for p in clip.parameters())
    with torch.no_grad():
        text_parameters(own)["text_projection"].zero_()
    assert text_parameters(clip)["text_projection"].any()
