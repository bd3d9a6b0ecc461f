"""What the two stages take: bytes for the plan of a run's memory, numbers for its record."""

from itertools import pairwise
from typing import TYPE_CHECKING

from starprompt.machine.memory import MemoryNeed

if TYPE_CHECKING:
    from starprompt.method.first_stage import FirstStage
    from starprompt.method.starprompt import StarPrompt


def first_stage_parameters(learner: "FirstStage") -> dict[str, int]:
    """Numbers that training changes, and those of the mixtures."""
    stored = sum(mixtures.numel() for mixtures in learner.mixtures)
    return {"trained": learner.contexts.numel(), "stored": stored}


def second_stage_parameters(learner: "StarPrompt") -> dict[str, int]:
    """Numbers that training changes, and those of the mixtures."""
    trained = [learner.pool.prompts, learner.pool.query_weights]
    trained += [*learner.head.parameters(), *learner.keys.parameters()]
    stored = sum(mixtures.numel() for mixtures in learner.mixtures)
    return {"trained": sum(tensor.numel() for tensor in trained), "stored": stored}


def second_stage_memory(learner: "StarPrompt") -> MemoryNeed:
    """Beside the frozen networks: prompts, query weights and their retrieval, and the mixtures."""
    stream, pool = learner.setting.stream, learner.pool
    classes, dim, query_dim = stream.n_classes, learner.vit.dim, learner.clip.dim
    current = max(b - a for a, b in pairwise((0, *stream.task_ends)))
    layers, prompt = len(pool.prompts), pool.prompts[0, 0].numel()
    view = 3 * stream.image_size**2 * 4
    prefix = pool.prefix_length if pool.injection == "prefix" else 0
    vit = learner.vit.activations(residual=not prefix, prefix_length=prefix)
    clip = learner.clip.activations()
    frozen = [learner.clip, learner.vit]
    learned = 4 * (layers * current * (prompt + query_dim) + classes * (dim + 1))
    return MemoryNeed(
        parameters=sum(t.nbytes for m in frozen for t in (*m.parameters(), *m.buffers()))
        + pool.prompts.nbytes
        + pool.query_weights.nbytes
        + 4 * classes * (query_dim + learner.hp.components * (2 * dim + 1)),
        # as parameters, their gradients and Adam's two moments
        learning=4 * learned,
        step=3 * learner.batch_size * view
        + vit.constant
        + clip.constant
        + 4 * layers * query_dim * (2 * classes + 4 * current),
        # two normalised views; similarities; what is gathered, weighed and injected
        image=2 * view
        + vit.kept
        + max(vit.passing, clip.passing)
        + 4 * layers * (6 * classes + 6 * prompt),
    )
