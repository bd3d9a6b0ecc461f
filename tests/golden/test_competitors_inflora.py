"""InfLoRA against the authors' code: designed subspaces, steps, gradient spaces and logits."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from baselines.inflora import InfLoRA
from starprompt.data.batch import Batch
from starprompt.data.stream import Task
from starprompt.replay.gradient_space import GradientSpace
from tests.helpers.golden_competitors import GRADIENT, Golden, files, load

FILES = pytest.mark.parametrize("file", files("inflora"), ids=lambda file: file.stem)


@FILES
def test_subspaces_and_steps_are_the_authors(file: Path) -> None:
    """Every part of every task from the numbers that the authors' code had before it.

    Rows of A are singular vectors, whose sign is arbitrary: it turns that of B's columns.
    """
    golden = Golden(file)
    t, hp = golden.t, golden.hp
    learner = golden.learner(
        InfLoRA, rank=hp["rank"], threshold=hp["lamb"], epochs=hp["epochs"], lr=hp["lr"]
    )
    load(learner.head, golden.under("head."))
    assert len(golden.tasks()) == hp["tasks"]
    for index, name in enumerate(golden.tasks()):
        given = batches(golden, name)
        task = golden.task(index, given)
        learner.begin_task(task)
        sign = (learner.down * t[f"{name}.down"]).sum(dim=-1, keepdim=True).sign()
        golden.forward(learner.down * sign, f"{name}.down")
        learner.down = t[f"{name}.down"].clone()
        steps = golden.steps(name)
        assert len(steps) == hp["epochs"] * len(given)
        for k, step in enumerate(steps):
            if k % len(given) == 0:
                learner.begin_epoch(k // len(given))
            check_step(golden, learner, task, given[k % len(given)], step)
        check_end_of_task(golden, learner, task, name)
        test = t["test.images"]
        golden.forward(learner.predict(Batch(test, test, test)), f"{name}.test.logits")


def batches(golden: Golden, task: str) -> list[Batch]:
    images, labels = golden.t[f"{task}.images"], golden.t[f"{task}.labels"]
    return Batch(torch.arange(len(labels)), labels, images).split(golden.hp["batch"])


def check_step(golden: Golden, learner: Any, task: Task, batch: Batch, step: str) -> None:
    rows = slice(task.past_classes, task.seen_classes)
    assert learner.optimiser.param_groups[0]["lr"] == pytest.approx(float(golden.t[f"{step}.lr"]))
    golden.forward(learner.train_step(batch)["loss"], f"{step}.loss")
    golden.gradient(learner.up.grad, f"{step}.grad.up")
    golden.after(learner.up, f"{step}.after.up")
    parts = dict(learner.head.named_parameters())
    for name, parameter in parts.items():
        golden.gradient(parameter.grad[rows], f"{step}.grad.head.{name}")
        golden.after(parameter[rows], f"{step}.after.head.{name}")
    with torch.no_grad():
        learner.up.copy_(golden.t[f"{step}.after.up"])
        for name, parameter in parts.items():
            parameter[rows] = golden.t[f"{step}.after.head.{name}"]


def check_end_of_task(golden: Golden, learner: Any, task: Task, name: str) -> None:
    """Moments of the inputs, and what the layers' gradient spaces span afterwards."""
    moments = learner.moments(task, learner.updates())
    learner.end_task(task)
    complements = golden.t[f"{name}.end.complement"].tolist()
    theirs = [golden.t[f"{name}.end.basis{layer}"] for layer in range(len(complements))]
    for layer, (moment, space) in enumerate(zip(moments, learner.spaces, strict=True)):
        golden.forward(moment, f"{name}.end.moment{layer}")
        assert space.complement == complements[layer]
        assert space.basis.shape == theirs[layer].shape
        projectors = [projector(space.basis), projector(theirs[layer])]
        golden.compare("step", *projectors, GRADIENT, f"{name}.end.basis{layer}")
    learner.spaces = [
        GradientSpace(basis, complement)
        for basis, complement in zip(theirs, complements, strict=True)
    ]


def projector(basis: Tensor) -> Tensor:
    return basis @ basis.T
