"""What every learner gets from its base: neutral hyperparameters, one step, a task's state."""

from typing import Any, ClassVar

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from starprompt.continual.learner import BaseHyperparameters, Learner
from starprompt.data.batch import Batch
from tests.helpers.continual_toy import ToyStream, setting_of


class Hyperparameters(BaseHyperparameters):
    neutral_defaults: ClassVar[frozenset[str]] = frozenset({"late", "later"})
    lr: float = 0.5
    late: str = "as before"
    later: int = 3


class Line(Learner):
    """Fits w to the mean of the images by plain gradient steps."""

    Hyperparameters = Hyperparameters
    optimiser: torch.optim.Optimizer

    def setup(self) -> None:
        self.w = torch.nn.Parameter(torch.zeros(()))
        self.optimiser = torch.optim.SGD([self.w], lr=self.hp.lr, momentum=0.5)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        assert batch.images is not None
        return {"loss": (self.w - batch.images).square().mean() / 2}

    def predict(self, batch: Batch) -> Tensor:
        return torch.zeros(len(batch), 2)

    def state_dict(self) -> dict[str, Tensor]:
        return {"w": self.w.detach()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.w.data = state["w"]


class Bare(Line):
    """Learns nothing by steps."""

    def setup(self) -> None:
        pass

    loss = Learner.loss


def _batch(value: float) -> Batch:
    return Batch(
        torch.arange(4), torch.zeros(4, dtype=torch.int64), torch.full((4, 3, 2, 2), value)
    )


def _make(kind: type[Line] = Line, **hp: Any) -> Any:
    return kind(kind.Hyperparameters(**hp), setting_of(ToyStream()))


def test_names_at_their_defaults_are_neutral_and_no_others() -> None:
    assert Hyperparameters().neutral() == {"late", "later"}
    assert Hyperparameters(later=4, lr=9).neutral() == {"late"}
    assert BaseHyperparameters().neutral() == frozenset()


@pytest.mark.parametrize("values", [{"lrr": 1}, {"lr": float("nan")}, {"lr": float("inf")}])
def test_unknown_names_and_values_that_are_no_numbers_are_refused(values: dict) -> None:
    with pytest.raises(ValidationError):
        Hyperparameters(**values)
    with pytest.raises(ValidationError):
        Hyperparameters().lr = 1  # type: ignore[misc]


def test_a_step_takes_the_optimisers_way_down_the_loss() -> None:
    learner = _make()
    losses = learner.train_step(_batch(1.0))
    assert losses["loss"].item() == pytest.approx(0.5)
    assert learner.w.item() == pytest.approx(0.5), "0 + 0.5 * 1"
    learner.train_step(_batch(1.0))
    # gradient -0.5, momentum 0.5 * -1: velocity -1
    assert learner.w.item() == pytest.approx(1.0)


def test_a_tasks_state_goes_on_with_its_momentum() -> None:
    straight, stopped = _make(), _make()
    for learner in (straight, stopped):
        learner.train_step(_batch(1.0))
    state = {name: tensor.clone() for name, tensor in stopped.task_state().items()}
    resumed = _make()
    resumed.load_task_state(state)
    for learner in (straight, resumed):
        learner.train_step(_batch(2.0))
    assert resumed.w.item() == straight.w.item()


def test_without_an_optimiser_there_is_no_state_and_no_loss() -> None:
    learner = _make(Bare)
    assert learner.task_state() is None
    with pytest.raises(NotImplementedError, match="Bare has epochs but no train_step"):
        learner.loss(_batch(1.0))


def test_defaults_say_that_nothing_is_learned_by_steps() -> None:
    learner = _make(Bare)
    assert (learner.epochs, learner.batch_size) == (0, 128)
    assert learner.parameter_counts() == {}
    assert learner.diagnostics(None) == {}
    assert not learner.tests_tasks_apart
