"""Retrieval against its formula written out: similarities, the chosen rows, their gradients."""

import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from starprompt.method.retrieval import (
    KeyFilters,
    orthogonality,
    rows_of,
    scaled,
    straight_through,
)


def _random(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 5), st.integers(0, 9))
def test_two_products_give_the_cosine_of_each_image_class_and_layer(
    layers: int, classes: int, images: int, seed: int
) -> None:
    weights, query = _random(layers, classes, 6, seed=seed), _random(images, 6, seed=seed + 10)
    keys = F.normalize(_random(classes, 6, seed=seed + 20), dim=1)
    found = KeyFilters.of(weights, keys).similarity(query)
    assert found.shape == (images, layers, classes)
    for layer in range(layers):
        for c in range(classes):
            filtered = query * weights[layer, c].softmax(0)
            expected = 5 * F.cosine_similarity(filtered, keys[c].expand_as(filtered))
            torch.testing.assert_close(found[:, layer, c], expected)


def test_a_query_of_nothing_is_like_no_key() -> None:
    filters = KeyFilters.of(torch.zeros(1, 2, 4), torch.eye(2, 4))
    assert filters.similarity(torch.zeros(1, 4)).tolist() == [[[0.0, 0.0]]]


def test_rows_are_those_of_the_chosen_class_and_only_current_ones_learn() -> None:
    past = torch.arange(4.0).view(2, 2, 1).requires_grad_()
    current = torch.arange(10.0, 16.0).view(2, 3, 1).requires_grad_()
    rows = rows_of(past, current, torch.tensor([[1, 4], [2, 0]]))
    assert rows.squeeze(2).tolist() == [[1.0, 15.0], [10.0, 2.0]]
    rows.sum().backward()
    assert past.grad is None
    assert current.grad is not None
    assert current.grad.squeeze(2).tolist() == [[1, 0, 0], [0, 0, 1]]


def test_without_past_or_current_classes_rows_are_of_the_others() -> None:
    some, none = torch.arange(4.0).view(1, 4, 1), torch.empty(1, 0, 1)
    chosen = torch.tensor([[3], [0]])
    assert rows_of(none, some, chosen).flatten().tolist() == [3, 0]
    assert rows_of(some, none, chosen).flatten().tolist() == [3, 0]


def test_weights_scale_each_image_and_layer() -> None:
    prompts = torch.ones(2, 3, 4, 5)
    weight = torch.arange(6.0).view(2, 3)
    assert torch.equal(scaled(prompts, weight)[..., 2, 1], weight)


def test_the_released_gradient_reaches_every_current_class_and_changes_no_value() -> None:
    """dL/d s_c = <dL/d injected, r_c> for every class, chosen or not."""
    injected, prompts = _random(2, 1, 3), _random(1, 4, 3, seed=1).requires_grad_()
    similarity = _random(2, 1, 4, seed=2).requires_grad_()
    made = straight_through(injected, prompts, similarity)
    torch.testing.assert_close(made, injected)
    upstream = _random(2, 1, 3, seed=3)
    (made * upstream).sum().backward()
    expected = torch.einsum("bld,lcd->blc", upstream, prompts.detach())
    torch.testing.assert_close(similarity.grad, expected)
    assert prompts.grad is None


def test_orthogonality_is_a_mean_of_squares_of_products_and_of_lengths_less_one() -> None:
    past = torch.tensor([[[1.0, 0.0], [0.0, 2.0]]])
    current = torch.tensor([[[3.0, 0.0]]])
    # products 3 and 0: mean (9 + 0) / 2; length 9: (9 - 1)^2
    assert orthogonality(past, current).item() == 4.5 + 64
    two_layers = orthogonality(past.repeat(2, 1, 1), torch.cat([current, 0 * current]))
    assert two_layers.item() == (4.5 + 64 + 0 + 1) / 2
    assert orthogonality(past[:, :0], current).item() == 0
