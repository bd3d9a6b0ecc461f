"""The pool of prompts: whose learn, which an image takes, and how they are injected."""

import pytest
import torch
import torch.nn.functional as F

from starprompt.backbones.blocks import Prefix, Residual
from starprompt.method.prompts import PromptPool

LAYERS, CLASSES, QUERY, DIM = 2, 4, 6, 8


@pytest.fixture
def keys() -> torch.Tensor:
    return F.normalize(torch.randn(CLASSES, QUERY, generator=torch.Generator().manual_seed(1)))


@pytest.fixture
def query() -> torch.Tensor:
    return torch.randn(5, QUERY, generator=torch.Generator().manual_seed(2))


def _pool(**options: object) -> PromptPool:
    torch.manual_seed(0)
    return PromptPool(LAYERS, CLASSES, QUERY, DIM, **options)  # type: ignore[arg-type]


def test_prompts_start_as_the_first_third_of_orthogonal_rows() -> None:
    pool = _pool()
    assert pool.prompts.shape == (LAYERS, CLASSES, DIM)
    assert pool.query_weights.shape == (LAYERS, CLASSES, QUERY)
    gram = pool.query_weights @ pool.query_weights.transpose(1, 2)
    torch.testing.assert_close(gram, torch.eye(CLASSES).expand(LAYERS, -1, -1), atol=1e-5, rtol=0)
    assert (pool.prompts.norm(dim=-1) < 1).all(), "two thirds of a unit row are left out"
    assert not torch.equal(pool.prompts[0], pool.prompts[1])


def test_only_the_tasks_classes_are_parameters_and_their_end_keeps_them() -> None:
    pool = _pool()
    before = pool.prompts.clone()
    pool.begin_task(1, 3)
    assert {name: tuple(p.shape) for name, p in pool.named_parameters()} == {
        "prompt": (LAYERS, 2, DIM),
        "query_weight": (LAYERS, 2, QUERY),
    }
    with torch.no_grad():
        pool.prompt.fill_(7)
    assert torch.equal(pool.prompts, before), "kept at the task's end alone"
    pool.end_task()
    assert (pool.prompts[:, 1:3] == 7).all()
    assert torch.equal(pool.prompts[:, [0, 3]], before[:, [0, 3]])
    assert sum(p.numel() for p in pool.parameters()) == 0
    assert (pool.past, pool.seen) == (3, 3)


@pytest.mark.parametrize("query_gradient", ["released", "chosen"])
def test_an_image_takes_the_most_similar_classs_prompt_times_its_similarity(
    keys: torch.Tensor, query: torch.Tensor, query_gradient: str
) -> None:
    pool = _pool(query_gradient=query_gradient)
    pool.begin_task(2, 4)
    found = pool.retrieve(query, keys)
    for layer in range(LAYERS):
        filters = pool.query_weights[layer].softmax(-1)
        similar = 5 * F.cosine_similarity(query[:, None] * filters, keys[None], dim=-1)
        best, chosen = similar.max(1)
        assert found.chosen[:, layer].tolist() == chosen.tolist()
        torch.testing.assert_close(found.similarity[:, layer], best)
        torch.testing.assert_close(
            found.prompts[:, layer], best[:, None] * pool.prompts[layer, chosen]
        )


def test_without_confidence_prompts_come_as_they_are(
    keys: torch.Tensor, query: torch.Tensor
) -> None:
    pool = _pool(confidence=False)
    pool.begin_task(0, 4)
    found = pool.retrieve(query, keys)
    assert torch.equal(found.prompts[:, 0], pool.prompts[0, found.chosen[:, 0]])
    found.prompts.sum().backward()
    assert pool.query_weight.grad is None, "nothing teaches the query weights"


def test_chosen_query_weights_alone_learn_where_that_is_asked(
    keys: torch.Tensor, query: torch.Tensor
) -> None:
    for kind in ("chosen", "released"):
        pool = _pool(query_gradient=kind)
        pool.begin_task(0, 4)
        found = pool.retrieve(query[:1], keys)
        found.prompts.sum().backward()
        assert pool.query_weight.grad is not None
        learned = pool.query_weight.grad[0].abs().sum(1) > 0
        expected = [c == found.chosen[0, 0].item() or kind == "released" for c in range(CLASSES)]
        assert learned.tolist() == expected, kind


@pytest.mark.parametrize("at", ["value", "post_attention"])
def test_residuals_go_where_they_are_meant_to(
    keys: torch.Tensor, query: torch.Tensor, at: str
) -> None:
    pool = _pool(injection=at)
    pool.begin_task(0, 4)
    found = pool.retrieve(query, keys)
    for layer, injection in enumerate(pool.injections(found)):
        assert isinstance(injection, Residual)
        assert injection.at == at
        assert torch.equal(injection.vector, found.prompts[:, layer])


def test_prefixes_are_keys_then_values_and_both_halves_have_their_term(
    keys: torch.Tensor, query: torch.Tensor
) -> None:
    pool = _pool(injection="prefix", prefix_length=2)
    pool.begin_task(0, 4)
    found = pool.retrieve(query, keys)
    first = pool.injections(found)[0]
    assert isinstance(first, Prefix)
    assert torch.equal(first.keys, found.prompts[:, 0, :2])
    assert torch.equal(first.values, found.prompts[:, 0, 2:])
    pool.prompts.zero_()
    pool.begin_task(2, 4)
    assert pool.orthogonality().item() == 2.0, "(0 - 1)^2 of keys and again of values"
    assert _pool().prompts.shape[-1] == DIM


def test_filtered_past_keys_are_made_anew_for_each_task_and_for_keys_that_learn(
    keys: torch.Tensor, query: torch.Tensor
) -> None:
    pool = _pool()
    pool.begin_task(2, 4)
    before, _ = pool.similarities(query, keys)
    again, _ = pool.similarities(query, -keys)
    assert torch.equal(before, again), "constant keys are filtered once"
    learning, _ = pool.similarities(query, (-keys).requires_grad_())
    torch.testing.assert_close(learning, -before)
    pool.begin_task(2, 4)
    turned, _ = pool.similarities(query, -keys)
    torch.testing.assert_close(turned, -before)


def test_loading_takes_copies_and_opens_nothing_for_training() -> None:
    pool, other = _pool(), _pool()
    prompts = torch.ones_like(other.prompts)
    pool.load(prompts, other.query_weights * 0, 3)
    prompts.zero_()
    assert (pool.prompts == 1).all()
    assert not pool.query_weights.any()
    assert (pool.past, pool.seen) == (3, 3)
