"""A learner that breaks a demand on methods is found by it, and the message says what to do."""

import re
from typing import Any

import pytest
import torch
from torch import Tensor

from baselines.linear_probe import LinearProbe
from starprompt.continual.learner import Learner
from starprompt.data.batch import Batch
from starprompt.data.stream import Task
from starprompt.training.contract import Verdict, judge, refuse_broken
from starprompt.training.small_stream import make, small_stream


class Settled(LinearProbe):
    def settled(self) -> dict[str, Tensor]:
        return {"weight": self.head.weight[: self.seen].detach()}


class NoState(LinearProbe):
    def state_dict(self) -> dict[str, Tensor]:
        return {}


class NoLoss(LinearProbe):
    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        return {"Loss": super().train_step(batch)["loss"]}


class Raises(LinearProbe):
    def end_task(self, task: Task) -> None:
        self.centroids = {}["centroids"]  # type: ignore[index]


class Detached(LinearProbe):
    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        return {"loss": torch.tensor(1.0)}


class Diverges(LinearProbe):
    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        self.steps = getattr(self, "steps", 0) + 1
        return {"loss": super().train_step(batch)["loss"] * 0 + self.steps}


class Guesses(LinearProbe):
    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        assert batch.images is not None
        return batch.images.flatten(1)[:, : self.seen]


class Forgetful(LinearProbe):
    """Keeps a momentum over tasks that no state holds."""

    def begin_task(self, task: Task) -> None:
        super().begin_task(task)
        if not hasattr(self, "kept"):
            self.kept = torch.zeros_like(self.head.weight)

    def end_task(self, task: Task) -> None:
        self.kept += self.head.weight.detach()
        self.head.weight.data += 0.01 * self.kept


class ForgetfulWithin(LinearProbe):
    def begin_task(self, task: Task) -> None:
        super().begin_task(task)
        self.total = torch.zeros(self.setting.stream.n_classes)

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        self.total += torch.bincount(batch.labels, minlength=len(self.total))
        return super().train_step(batch)

    def end_task(self, task: Task) -> None:
        self.head.bias.data += 0.001 * self.total


class Drops(LinearProbe):
    def predict(self, batch: Batch) -> Tensor:
        return torch.nn.functional.dropout(super().predict(batch), 0.1)


class Unready(LinearProbe):
    """Learns of the classes seen from begin_task alone."""

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        super().load_state_dict(state)
        self.seen = 0


class Votes(LinearProbe):
    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        logits = super().predict(batch)
        return logits - 0.1 * logits.mean(dim=0)


class Cheats(LinearProbe):
    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        logits = super().predict(batch)
        return logits + 0.1 * batch.labels[:, None] * torch.arange(logits.shape[1])


class Indexes(LinearProbe):
    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        known = {label: label for label in range(self.seen)}
        return super().predict(batch) + 0 * known[int(batch.labels[0])]


class Thaws(LinearProbe):
    def end_task(self, task: Task) -> None:
        self.vit.norm.weight.data.mul_(1.001)


class Unsettled(Settled):
    def end_task(self, task: Task) -> None:
        self.head.weight.data[0] += 0.001


class Miscounts(LinearProbe):
    def parameter_counts(self) -> dict[str, int]:
        return {"trained": 1, "storred": 2}


class TrainsNothing(LinearProbe):
    def parameter_counts(self) -> dict[str, int]:
        return {"train": 1}


class CountsHalves(LinearProbe):
    def parameter_counts(self) -> dict[str, Any]:  # type: ignore[override]
        return {"trained": 0.5}


def verdicts(kind: type[Learner]) -> list[Verdict]:
    stream = small_stream([2, 2, 6])
    return list(judge(lambda: make(kind, stream, epochs=3, batch_size=16, lr=0.01), stream))


def test_a_learner_that_keeps_the_contract_passes() -> None:
    found = verdicts(Settled)
    refuse_broken(found)
    assert len(found) == 11
    assert not any("not judged" in one.found for one in found)


@pytest.mark.parametrize(
    ("kind", "demand", "says"),
    [
        (NoState, "runs", "state_dict returns nothing"),
        (NoLoss, "runs", "train_step returned Loss and no 'loss'"),
        (Raises, "runs", "KeyError: 'centroids'"),
        (Detached, "learns", "no tensor of state_dict changes"),
        (Diverges, "learns", "loss 2 to 8"),
        (Guesses, "learns", "training images right"),
        (Forgetful, "resumes between tasks", "weight not equal to"),
        (ForgetfulWithin, "resumes inside a task", "bias not equal to"),
        (Drops, "predicts", "two calls of predict give different logits"),
        (Unready, "predicts from its state", "gives other logits"),
        (Votes, "ignores batch and order", "change when predict gets them 1 at a time"),
        (Cheats, "ignores task and label", "the logits change when ids and labels are hidden"),
        (Indexes, "ignores task and label", "predict raises KeyError"),
        (Thaws, "leaves the frozen alone", "vit has no gradients and yet changed"),
        (Unsettled, "leaves settled parts alone", "weight was settled but changed"),
        (Miscounts, "counts", "returns 'storred'; did you mean 'stored'?"),
        (TrainsNothing, "counts", r"does not return 'trained' \(it has 'train'\)"),
        (CountsHalves, "counts", "returns 0.5 under 'trained'"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_what_breaks_a_demand_is_found(kind: type[Learner], demand: str, says: str) -> None:
    found = verdicts(kind)
    (broken,) = [one for one in found if one.demand == demand]
    assert not broken.passed
    assert re.search(says, broken.found), broken.found
    assert broken.advice
    if demand == "runs":
        assert len(found) == 1


def test_an_error_in_a_method_names_its_own_line() -> None:
    (verdict,) = verdicts(Raises)
    assert "test_contract.py, line " in verdict.advice
