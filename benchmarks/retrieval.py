"""Similarity and retrieval of one layer, forward and backward: two products instead of B x C x d.

The naive form expands every query to every class, as the released code does: at B = 128, C = 200,
d = 768 that tensor has 19.7 million entries (79 MB), and its product, its normalisation and their
gradients read and write it some ten times. Ours multiplies (B x d)(d x C) twice, 79 million
operations, and gathers. Half way through a stream of ten tasks 20 of the classes are current.
"""

import torch
import torch.nn.functional as F
from _timing import best, report
from torch import Tensor

from starprompt.method.prompts import PromptPool

BATCH, CLASSES, CURRENT, DIM = 128, 200, 20, 768


def naive(query: Tensor, weight: Tensor, keys: Tensor, prompts: Tensor, past: int) -> Tensor:
    """The expanded form: (B, C, d) filtered queries, a mask over classes, a product with it."""
    filters = torch.cat([weight[:past].detach(), weight[past:]]).softmax(dim=-1)
    expanded = query[:, None, :] * filters[None]
    similarity = 5 * torch.einsum("bcd,cd->bc", F.normalize(expanded, dim=-1), keys)
    mask = F.one_hot(similarity.argmax(dim=1), len(keys)).to(similarity.dtype)
    masked = similarity + (similarity * mask - similarity).detach()  # the released gradient
    masked = torch.cat([masked[:, :past].detach(), masked[:, past:]], dim=1)
    return masked @ torch.cat([prompts[:past].detach(), prompts[past:]])


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(2)
    past = CLASSES - CURRENT
    query = torch.randn(BATCH, DIM)
    keys = F.normalize(torch.randn(CLASSES, DIM), dim=-1)
    upstream = torch.randn(BATCH, DIM)
    pool = PromptPool(1, CLASSES, DIM, DIM)
    pool.query_weights.normal_()
    pool.begin_task(past, CLASSES)
    weight = pool.query_weights[0].clone().requires_grad_()
    prompts = pool.prompts[0].clone().requires_grad_()

    def naive_step() -> Tensor:
        weight.grad = prompts.grad = None
        injected = naive(query, weight, keys, prompts, past)
        injected.backward(upstream)
        return injected

    def our_step() -> Tensor:
        pool.query_weight.grad = pool.prompt.grad = None
        injected = pool.retrieve(query, keys).prompts[:, 0]
        injected.backward(upstream)
        return injected

    theirs, ours = naive_step().detach(), our_step().detach()

    def error(a: Tensor, b: Tensor) -> float:
        return float((a - b).abs().max() / b.abs().max())

    def gradient(parameter: Tensor) -> Tensor:
        assert parameter.grad is not None
        return parameter.grad

    errors = {
        "injected": error(ours, theirs),
        "prompt gradient": error(gradient(pool.prompt)[0], gradient(prompts)[past:]),
        "query weight gradient": error(gradient(pool.query_weight)[0], gradient(weight)[past:]),
    }
    naive_seconds, our_seconds = best(naive_step, 4, wall=True), best(our_step, 30, wall=True)
    print(f"B {BATCH}, C {CLASSES} ({CURRENT} current), d = D = {DIM}, forward and backward")
    print(f"  expanded  {1e3 * naive_seconds:8.1f} ms")
    print(f"  ours      {1e3 * our_seconds:8.1f} ms")
    for name, value in errors.items():
        print(f"  {name}: relative error {value:.1e}")
    report(
        "retrieval",
        round(naive_seconds / our_seconds, 1),
        naive_ms=round(1e3 * naive_seconds, 2),
        ours_ms=round(1e3 * our_seconds, 3),
        largest_relative_error=max(errors.values()),
        threads=torch.get_num_threads(),
    )


if __name__ == "__main__":
    main()
