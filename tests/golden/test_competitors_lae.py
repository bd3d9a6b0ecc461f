"""LAE against the authors' code: steps, moving average and ensemble, for each kind of module."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from baselines.lae import LAE
from starprompt.data.batch import Batch
from starprompt.data.stream import Task
from tests.helpers.golden_competitors import Golden, files


@pytest.mark.parametrize("file", files("lae"), ids=lambda file: file.stem)
def test_steps_average_and_ensemble_are_the_authors(file: Path) -> None:
    """Each step from the numbers that the authors' code had before it."""
    golden = Golden(file)
    t, hp = golden.t, golden.hp
    learner = golden.learner(
        LAE,
        module=hp["module"],
        size=hp["size"],
        layers=tuple(hp["layers"]),
        epochs=hp["epochs"],
        freeze_epochs=hp["freeze_epochs"],
        decay=hp["decay"],
        lr=hp["lr"],
    )
    names = [f"task{index}" for index in range(len(golden.ends))]
    for index, name in enumerate(names):
        given = [golden.batch(f"{name}.batch{k}") for k in range(2)]
        task = golden.task(index, given)
        learner.begin_task(task)
        put(learner.online, golden.under(f"{name}.start.pet."))
        put_rows(learner.head, golden.under(f"{name}.start.head."), task)
        steps = golden.steps(name)
        assert len(steps) == hp["epochs"] * len(given)
        for k, step in enumerate(steps):
            if k % len(given) == 0:
                learner.begin_epoch(k // len(given))
            check_step(golden, learner, task, given[k % len(given)], step)
        learner.end_task(task)
        test = t["test.images"]
        ensemble = learner.predict(Batch(test, test, test))
        golden.forward(ensemble, f"{name}.test.probabilities")
        online = learner.logits(test, learner.online)[:, : learner.seen]
        golden.forward(online, f"{name}.test.logits")


def check_step(golden: Golden, learner: Any, task: Task, batch: Batch, step: str) -> None:
    rows = slice(task.past_classes, task.seen_classes)
    golden.forward(learner.train_step(batch)["loss"], f"{step}.loss")
    for name in golden.under(f"{step}.grad.pet."):
        golden.gradient(gradient(learner.online, name), f"{step}.grad.pet.{name}")
        golden.after(stack(learner.online, name), f"{step}.after.pet.{name}")
        if task.index:
            golden.after(stack(learner.offline, name), f"{step}.offline.pet.{name}")
    for name, parameter in learner.head.named_parameters():
        golden.gradient(parameter.grad[rows], f"{step}.grad.head.{name}")
        golden.after(parameter[rows], f"{step}.after.head.{name}")
    put(learner.online, golden.under(f"{step}.after.pet."))
    put(learner.offline, golden.under(f"{step}.offline.pet."))
    put_rows(learner.head, golden.under(f"{step}.after.head."), task)


def gradient(modules: nn.ModuleList, name: str) -> Tensor:
    """Of all layers; zeros where the modules are frozen."""
    found = [module.get_parameter(name) for module in modules]
    return torch.stack([torch.zeros_like(p) if p.grad is None else p.grad for p in found])


def stack(modules: nn.ModuleList, name: str) -> Tensor:
    return torch.stack([module.get_parameter(name) for module in modules])


@torch.no_grad()
def put(modules: nn.ModuleList, state: dict[str, Tensor]) -> None:
    """Golden tensors, layers first, into the modules."""
    for name, of_layers in state.items():
        for module, tensor in zip(modules, of_layers, strict=True):
            module.get_parameter(name).copy_(tensor)


@torch.no_grad()
def put_rows(head: nn.Linear, state: dict[str, Tensor], task: Task) -> None:
    head.weight[task.past_classes : task.seen_classes] = state["weight"]
    head.bias[task.past_classes : task.seen_classes] = state["bias"]
