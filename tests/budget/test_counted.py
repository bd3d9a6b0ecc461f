"""The forecast's operations and parameters of a step against counted ones."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from starprompt.budget.model import expected
from starprompt.config.experiment import load_config
from starprompt.config.methods import learner_class, load_method
from starprompt.continual.flops import StepCounter
from starprompt.data.stream import TaskStream
from starprompt.method.first_stage import FirstStage
from tests.helpers.small_stream import learn, make, small_stream

DEMO = load_config(Path("config/demo-baselines.yaml"))


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level("ERROR")
    yield


@pytest.fixture(scope="module")
def stream() -> TaskStream:
    return small_stream()


@pytest.fixture(scope="module")
def keys(stream: TaskStream, tmp_path_factory: pytest.TempPathFactory) -> Path:
    learner = make(FirstStage, stream, epochs=1, replay_epochs=1, replay_samples=8)
    for task in stream.tasks[:2]:
        learn(learner, task)
    folder = tmp_path_factory.mktemp("keys")
    save_file(
        {name: tensor.contiguous() for name, tensor in learner.state_dict().items()},
        folder / "checkpoint.safetensors",
    )
    return folder


def spec_with(name: str, **hyperparameters: Any) -> Any:
    spec = load_method(name)
    values = {**spec.resolve("digits"), **hyperparameters}
    return spec.model_copy(update={"hyperparameters": values, "datasets": {}})


STEPPING = [
    "finetune",
    "lwf",
    "derpp-100",
    "linear-probe",
    "slca",
    "ease",
    "tuna",
    "l2p",
    "dualprompt",
    "coda-prompt",
    "inflora",
    "lae",
    "hide-prompt",
    "moe-adapters",
    "rapf",
    "starprompt-first-stage",
    "starprompt",
    "starprompt-clean-query",
    "starprompt-post-attention",
]


@pytest.mark.parametrize("name", STEPPING)
def test_a_step_costs_what_the_forecast_says(name: str, stream: TaskStream, keys: Path) -> None:
    """Of the second task, counted on the tiny pair: within 5%."""
    batch = {"batch_size": 16, "epochs": 1}
    if name.startswith("derpp"):
        batch["replay_batch_size"] = 16
    if name == "lae":
        batch["freeze_epochs"] = 0
    if name == "rapf":
        batch["threshold"] = 0  # no neighbours, of which the forecast assumes a number
    spec = spec_with(name, **batch)
    learner = make(learner_class(spec), stream, keys, **spec.resolve("digits"))
    learn(learner, stream.tasks[0])
    counter = StepCounter()
    task = stream.tasks[1]
    learner.begin_task(task)
    learner.begin_epoch(0)
    for step, images in enumerate(task.train.batches(16, inputs=learner.train_inputs)):
        counter.take(partial(learner.train_step, images))
        if step == 1:
            break
    forecast = expected(DEMO, "digits", spec)
    assert counter.operations == pytest.approx(forecast.step_operations[1], rel=0.05)
    assert learner.parameter_counts()["trained"] == forecast.parameters["trained"]


@pytest.mark.parametrize("adaptation", ["adapter", "ssf", "vpt-deep", "vpt-shallow"])
@pytest.mark.parametrize("name", ["ranpac", "aper"])
def test_a_first_session_costs_what_the_forecast_says(
    name: str, adaptation: str, stream: TaskStream
) -> None:
    """A step of the first task, counted on the tiny pair: within 5%; later tasks have none."""
    spec = spec_with(name, batch_size=16, epochs=1, adaptation=adaptation)
    learner = make(learner_class(spec), stream, **spec.resolve("digits"))
    counter = StepCounter()
    task = stream.tasks[0]
    learner.begin_task(task)
    learner.begin_epoch(0)
    for images in task.train.batches(16, inputs=learner.train_inputs):
        counter.take(partial(learner.train_step, images))
    forecast = expected(DEMO, "digits", spec)
    assert counter.operations == pytest.approx(forecast.step_operations[0], rel=0.05)
    assert learner.parameter_counts()["trained"] == forecast.parameters["trained"]
    assert forecast.images["training"] == pytest.approx(1437 / 5, rel=0.01)
