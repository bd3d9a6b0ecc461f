"""Thresholds of failure modes and their sentences."""

from starprompt.config import thresholds as leaf
from starprompt.config.thresholds import Thresholds


def test_a_signature_is_told_at_its_worst_task_with_its_threshold() -> None:
    by_task = [
        {"selection_confusion": 0.5, "variance_collapse": 0.9},
        {"selection_confusion": 0.6, "variance_collapse": 0.4},
        {"selection_confusion": 0.3, "variance_collapse": 0.7},
    ]
    first, second = leaf.shown(by_task, Thresholds(selection_confusion=0.55))
    assert first.startswith("after task 2 60% of the old") and "threshold 0.55" in first
    assert second.startswith("after task 2 generated features have 40%")
    assert leaf.shown(by_task, Thresholds(selection_confusion=0.7, variance_collapse=0.1)) == []


def test_every_threshold_has_its_sentence() -> None:
    assert set(Thresholds.model_fields) == set(leaf.SENTENCES)
    assert set(leaf.LOW) < set(leaf.SENTENCES)
