"""Trackers take a run's numbers, and change none of them."""

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from starprompt.continual.runner import run
from starprompt.errors import UserError
from starprompt.training.track import make_tracker
from tests.helpers.continual_toy import (
    ToyLearner,
    ToyStream,
    header_of,
    outcome_of,
    run_toy,
    setting_of,
)
from tests.helpers.small_stream import CPU


class Noted:
    def __init__(self) -> None:
        self.steps: list[tuple[int, dict[str, float]]] = []

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self.steps.append((step, dict(values)))

    def close(self) -> None:
        pass


def test_a_tracker_gets_losses_and_accuracies_and_changes_nothing(tmp_path: Path) -> None:
    run_toy(tmp_path / "plain")
    stream, hp, tracker = ToyStream(), ToyLearner.Hyperparameters(), Noted()
    record = run(
        lambda: ToyLearner(hp, setting_of(stream)),
        stream,  # type: ignore[arg-type]
        tmp_path / "tracked",
        header=header_of(stream, ToyLearner, hp, 1993),
        device=CPU,
        fingerprint="toy",
        tracker=tracker,
    )
    assert outcome_of(tmp_path / "tracked") == outcome_of(tmp_path / "plain")
    losses = [(step, found) for step, found in tracker.steps if "loss/loss" in found]
    assert [step for step, _ in losses] == [3, 6, 9, 12, 15, 18]
    assert [found["loss/loss"] for _, found in losses] == [
        one.losses["loss"] for one in record.losses
    ]
    last = tracker.steps[-1]
    assert last[0] == 18
    assert last[1] == {
        **{f"accuracy/task {i + 1}": a for i, a in enumerate(record.accuracy[-1])},
        "accuracy/tasks seen": pytest.approx(record.metrics.final_average_accuracy),
    }


@pytest.mark.parametrize("kind", ["tensorboard", "wandb"])
def test_a_missing_package_is_one_sentence(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [n for n in sys.modules if n.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, kind, None)
    with pytest.raises(UserError, match=rf'pip install "starprompt\[{kind}\]"'):
        make_tracker(kind, tmp_path / "t", "a run")
    with pytest.raises(
        UserError, match="no tracker named 'tensorbord'; did you mean 'tensorboard'"
    ):
        make_tracker("tensorbord", tmp_path / "t", "a run")
    assert list(tmp_path.iterdir()) == []


def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tracker = make_tracker("tensorboard", tmp_path, "a run")
    for step, value in ((3, 1.5), (6, 0.5)):
        tracker.scalars(step, {"loss/loss": value})
    tracker.close()
    events = EventAccumulator(str(tmp_path)).Reload().Scalars("loss/loss")
    assert [(event.step, event.value) for event in events] == [(3, 1.5), (6, 0.5)]


def test_wandb_writes_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    tracker = make_tracker("wandb", tmp_path, "a run")
    tracker.scalars(3, {"loss/loss": 1.5})
    tracker.close()
    assert list(tmp_path.rglob("offline-run-*/*.wandb"))
