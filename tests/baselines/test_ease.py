"""EASE: subspaces weighed, and old prototypes made up from similar new ones."""

import pytest
import torch
import torch.nn.functional as F

from baselines.ease import synthesised
from starprompt.data.stream import TaskStream
from tests.helpers.competitors import build_competitor
from tests.helpers.small_stream import images_of, learn


def test_ease_weighs_a_classes_own_subspace_most(stream: TaskStream) -> None:
    """Logits written out class by class and subspace by subspace (Eq. 10 and 11)."""
    learner = build_competitor("ease", stream, alpha=0.3, beta=0.5)
    for task in stream.tasks:
        learn(learner, task)
    batch = images_of(learner, stream, 0, 1)
    features, prototypes = learner.subspaces(batch), learner.prototypes
    logits = torch.zeros(len(batch), 10)
    for label, own in enumerate([0, 0, 1, 1, *[2] * 6]):
        logits[:, label] = 0.5 * F.cosine_similarity(features[0], prototypes[0, label][None])
        for task in range(3):
            cosine = F.cosine_similarity(features[task + 1], prototypes[task + 1, label][None])
            logits[:, label] += cosine if task == own else 0.3 / 2 * cosine
    torch.testing.assert_close(learner.predict(batch), logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("recalculate", [True, False])
def test_ease_makes_up_old_prototypes_from_similar_new_ones(recalculate: bool) -> None:
    torch.manual_seed(0)
    prototypes, tasks = torch.randn(3, 6, 5), torch.tensor([0, 0, 1, 1, 2, 2])
    made = synthesised(prototypes, tasks, recalculate)
    for own in range(3):
        for label in (tasks == own).nonzero().flatten().tolist():
            for later in range(3):
                if later <= own:
                    assert torch.equal(made[later, label], prototypes[later, label])
                    continue
                newer = [
                    k for k in range(6) if tasks[k] == later or (recalculate and tasks[k] > later)
                ]
                cosines = [
                    F.cosine_similarity(prototypes[own, label], prototypes[own, k], dim=0)
                    for k in newer
                ]
                weights = torch.stack(cosines).softmax(dim=0)
                expected = sum(
                    w * prototypes[later, k] for w, k in zip(weights, newer, strict=True)
                )
                torch.testing.assert_close(made[later, label], expected)
