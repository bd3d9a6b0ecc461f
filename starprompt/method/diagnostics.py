"""What analyses ask of the two stages after a task; names and shapes are in docs/analysis.md.

The evaluation keeps the test images' features by itself. Nothing here changes the method.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from starprompt.continual.flops import COUNTED, operations
from starprompt.continual.kept_features import kept_features
from starprompt.data.stream import Task

if TYPE_CHECKING:
    from starprompt.method.first_stage import FirstStage
    from starprompt.method.starprompt import StarPrompt


def first_stage_diagnostics(learner: "FirstStage", task: Task) -> dict[str, Tensor]:
    """Keys of the seen classes and CLIP's own features of the task's training images."""
    features = task.train.features("clip")
    labels = task.train.labels.to(features.device)
    return {"keys": learner.keys[: learner.seen]} | kept_features("train", features, labels)


@torch.no_grad()
def second_stage_diagnostics(learner: "StarPrompt", task: Task) -> dict[str, Tensor]:
    """Keys as they are now, features that the mixtures were fitted on, norms, operations."""
    found = {"keys": learner.keys.upto(learner.seen).detach()}
    if learner.task_features is not None:
        one_pass = len(task.train)
        features, labels = learner.task_features
        found |= kept_features("train", features[:one_pass], labels[:one_pass])
    found |= _norms(learner, task)
    if learner.seen == learner.setting.stream.n_classes:
        found |= _operations(learner, task)
    return found


def _norms(learner: "StarPrompt", task: Task) -> dict[str, Tensor]:
    """What one batch of the task's test images has injected, and attended to, in each layer."""
    batch = next(iter(task.test.batches(learner.batch_size, inputs=learner.test_inputs)))
    assert batch.images is not None and batch.query is not None
    retrieved = learner.pool.retrieve(batch.query, learner.keys.upto(learner.seen))
    images = learner.setting.vit_normalisation(batch.images)
    injections = learner.pool.injections(retrieved)
    changed, attended = learner.vit.injected_norms(images, injections)
    return {"injected_norm": changed, "attention_norm": attended}


def _operations(learner: "StarPrompt", task: Task) -> dict[str, Tensor]:
    """Floating-point operations per image of a step of the last task."""
    batch = next(iter(task.test.batches(COUNTED, inputs=learner.test_inputs)))
    pool = learner.pool

    def step() -> None:
        features, _ = learner.features(batch, learner.training_query(batch))
        learner.head(features)[:, task.past_classes :].sum().backward()

    pool.begin_task(task.past_classes, task.seen_classes)
    with torch.enable_grad():
        count = operations(step)
    pool.begin_task(task.seen_classes, task.seen_classes)
    learner.head.zero_grad()
    return {"train_operations": torch.tensor(count / len(batch))}
