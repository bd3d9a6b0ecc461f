"""Every method on the device "meta": nothing is left on the host, and no step waits for a GPU.

Two tasks go through each learner that a GPU would see: set-up, steps, their ends, predictions. What
has a size that depends on numbers is answered as if every label were as frequent and every mask all
true (tests/helpers/without_numbers.py).
"""

from typing import Any

import pytest
import torch

from starprompt.backbones.clip import load_clip
from starprompt.backbones.vit import load_vit, vit_normalisation
from starprompt.config.methods import learner_class, list_methods, load_method
from starprompt.continual.learner import Learner, Setting
from starprompt.data.batch import Batch
from starprompt.data.stream import Task, TaskStream
from tests.helpers.small_stream import SPEC, embedding, prepared
from tests.helpers.without_numbers import META, OneDevice, host_tensors

#: hyperparameters that make a task's end short
SHORT = {"projections": 200, "em_iterations": 2, "replay_epochs_per_task": 0}
#: methods whose steps ask the device for a number, and for which
STEPS_THAT_WAIT = {
    "attriclip": "which choices of prompts a batch makes, so that no text is encoded twice"
}
#: methods, by the begin or the end of their names, that go nowhere without numbers, and why
NEED_NUMBERS = {
    "derpp": "its reservoir stores the images that the device's row numbers name",
    "-batch-vote": "which prompts a batch votes for",
}
#: attributes that stay on the host on purpose
ON_THE_HOST = {
    "last_selection.layer": "it names layers, for the recorder",
    "buffer.fields": "stored images go through the same views as the data set's",
    "task": "the data set's labels and prepared features",
    "keys._seen": "empty until the first task",
    "task_of_class": "it names tasks, for what the host counts",
}


def methods() -> list[str]:
    """All methods, and of the variants of STAR-Prompt those that compute something else."""
    chosen = ("-prefix", "-post-attention", "-learned-keys", "-gaussian", "-clean-query")
    return [
        name
        for name in list_methods()
        if (not name.startswith("starprompt-") or name.endswith(("first-stage", *chosen)))
        and not any(name.startswith(part) or name.endswith(part) for part in NEED_NUMBERS)
    ]


@pytest.fixture(scope="module")
def stream() -> TaskStream:
    tasks = SPEC.model_copy(update={"tasks": [2, 2, 6]})
    return TaskStream(prepared(), tasks, 1993, META, embedding=embedding())


def learner_on_meta(name: str, stream: TaskStream) -> Learner:
    spec = load_method(name)
    kind: Any = learner_class(spec)
    fields = kind.Hyperparameters.model_fields
    given = {**spec.resolve("digits"), **{n: v for n, v in SHORT.items() if n in fields}}
    given |= {field: 1 for field in fields if field.endswith("epochs")}
    if given.get("key_source", "first_stage" if "key_source" in fields else "") == "first_stage":
        given["key_source"] = "template"
    setting = Setting(
        stream=stream.info,
        device=META,
        seed=stream.seed,
        vit=lambda: load_vit("tiny", META),
        clip=lambda: load_clip("tiny", META),
        vit_normalisation=vit_normalisation("tiny"),
    )
    with OneDevice(waits=True):
        return kind(kind.Hyperparameters(**given), setting)  # type: ignore[no-any-return]


def left_behind(learner: Learner) -> set[str]:
    attributes = {name: part for name, part in vars(learner).items() if name != "setting"}
    return {path for path in host_tensors(attributes) if not path.startswith(tuple(ON_THE_HOST))}


def first_batch(learner: Learner, task: Task) -> Batch | None:
    batches = task.train.batches(
        learner.batch_size,
        epoch=0,
        inputs=learner.train_inputs,
        augment=learner.augment,
        shuffle=True,
    )
    return next(iter(batches), None) if learner.epochs else None


@pytest.mark.parametrize("name", methods())
def test_all_of_a_method_stays_on_the_device(name: str, stream: TaskStream) -> None:
    learner = learner_on_meta(name, stream)
    assert left_behind(learner) == set()
    for task, test in zip(stream.tasks[:2], stream.test_tasks, strict=False):
        with OneDevice(waits=True):
            learner.begin_task(task)
        batch = first_batch(learner, task)
        if batch is not None:
            learner.begin_epoch(0)
            with OneDevice(waits=True):  # the first one makes the optimiser's state
                learner.train_step(batch)
            with OneDevice(waits=True) as step:
                losses = learner.train_step(batch)
            assert {loss.device for loss in losses.values()} == {META}
            assert bool(step.reasons) == (name in STEPS_THAT_WAIT), step.reasons
        with OneDevice(waits=True):
            learner.end_task(task)
        assert left_behind(learner) == set()
        (tested,) = test.batches(64, inputs=learner.test_inputs)
        with OneDevice(waits=name in STEPS_THAT_WAIT):
            logits = learner.predict(tested)
        assert logits.device == META
        assert logits.shape == (len(tested), task.seen_classes)


def test_a_tensor_left_on_the_host_is_noticed() -> None:
    left = {"net": torch.nn.Linear(2, 2, device=META), "deep": [{"mask": torch.ones(2)}]}
    assert list(host_tensors(left)) == ["deep.0.mask"]
    with pytest.raises(AssertionError, match="cpu and meta"), OneDevice(waits=True):
        torch.ones(2, device=META) + torch.ones(2)
    with pytest.raises(AssertionError, match="cpu and meta"), OneDevice(waits=True):
        torch.ones(2)[torch.zeros(2, dtype=torch.int64, device=META)]
    with OneDevice(waits=True):
        assert (torch.ones(2, device=META) * torch.tensor(2.0)).device == META
