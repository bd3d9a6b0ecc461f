"""Failure modes of one task, measured while a run learns. Their names and thresholds stand in
``starprompt/config/thresholds.py``."""

from collections.abc import Mapping

import numpy as np

from starprompt.analysis.mixtures import Mixtures
from starprompt.analysis.replay_quality import FEWEST, halves, linear_accuracy, ratios


def selection_confusion(
    true_class: np.ndarray, chosen_class: np.ndarray, task_of_class: np.ndarray, after_task: int
) -> dict[str, float]:
    """Share of old tasks' images (and layers) that choose the prompt of a newer task than theirs.

    true_class, chosen_class (N,) stream labels of all choices after ``after_task``. Empty while
    there is no old task.
    """
    own = task_of_class[true_class]
    old = own < after_task
    if not old.any():
        return {}
    newer = task_of_class[chosen_class[old]] > own[old]
    return {"selection_confusion": float(newer.mean())}


def residual_saturation(diagnostics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """What prompts add over the attention's own output, in the worst layer. Empty without norms."""
    if "injected_norm" not in diagnostics:
        return {}
    return {"residual_saturation": float(norm_ratios(diagnostics).max())}


def norm_ratios(diagnostics: Mapping[str, np.ndarray]) -> np.ndarray:
    """(L,) norm of what the prompts add over the norm of the attention's output, by layer."""
    return diagnostics["injected_norm"] / np.maximum(diagnostics["attention_norm"], 1e-12)


def generation_collapse(
    features: np.ndarray, labels: np.ndarray, mixtures: Mixtures, seed: int = 0
) -> dict[str, float]:
    """Generated against real features of the task's classes: means over classes, and what a linear
    classifier among them loses by learning from generated ones.

    features (N, d) real ones, labels (N,); mixture c is class c's. Half of the real features
    stand beside as many generated ones; both are held against the other half. Empty when no class
    has enough features.
    """
    found: list[dict[str, float]] = []
    real: list[tuple[np.ndarray, np.ndarray, np.ndarray, int]] = []
    for label in np.unique(labels):
        own = features[labels == label]
        if len(own) < FEWEST:
            continue
        first, second = halves(own)
        generated = mixtures.draw(int(label), len(first), np.random.default_rng([seed, int(label)]))
        found.append(ratios(first, second, generated))
        real.append((first, second, generated, int(label)))
    if not found:
        return {}
    mean = {name: float(np.mean([one[name] for one in found])) for name in found[0]}
    first, second, generated = (np.concatenate([one[i] for one in real]) for i in range(3))
    names = np.repeat([one[3] for one in real], [len(one[0]) for one in real])
    by_real = linear_accuracy(first, names, second, names)
    by_generated = linear_accuracy(generated, names, second, names)
    return {
        "variance_collapse": mean["variance_ratio"],
        "rank_collapse": mean["rank_ratio"],
        "far_from_real": mean["nearest_ratio"],
        "replay_gap": max(0.0, by_real - by_generated),
    }
