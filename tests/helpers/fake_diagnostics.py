"""What a method leaves for analyses, made up: clustered features, keys that turn, mixtures."""

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from starprompt.record.record import RunRecord

DIM, LAYERS, SAMPLES = 6, 4, 30


def class_means(n_classes: int, apart: float = 4.0) -> np.ndarray:
    """(C, DIM) means of the made-up features, the same for all runs."""
    return apart * np.random.default_rng(7).standard_normal((n_classes, DIM))


def made_up_features(
    random: np.random.Generator, labels: range, means: np.ndarray, samples: int = SAMPLES
) -> tuple[np.ndarray, np.ndarray]:
    """(n, DIM) float16 features around their class's mean, and (n,) int16 labels."""
    names = np.repeat(np.asarray(labels), samples)
    noise = random.standard_normal((len(names), DIM))
    return (means[names] + noise).astype(np.float16), names.astype(np.int16)


def write_fake_diagnostics(folder: Path, record: RunRecord, drift: float = 0.0) -> None:
    """diagnostics.safetensors and checkpoint.safetensors of a run that prompts and remembers.

    drift turns every key by so much (of a random unit vector) with each later task.
    """
    task_of_class = np.asarray(record.stream.task_of_class)
    random = np.random.default_rng([record.stream.seed, 1])
    n_classes = len(task_of_class)
    means = class_means(n_classes)
    keys = means / np.linalg.norm(means, axis=1, keepdims=True)
    tensors: dict[str, np.ndarray] = {}
    for task in range(len(record.accuracy)):
        if len(record.accuracy) > 1:
            seen = int((task_of_class <= task).sum())
            own = range(int((task_of_class < task).sum()), seen)
        else:
            seen, own = n_classes, range(n_classes)
        found = {
            "keys": keys[:seen].astype(np.float32),
            "injected_norm": random.uniform(0.5, 1, LAYERS).astype(np.float32),
            "attention_norm": np.full(LAYERS, 1.0, np.float32),
            "train_operations": np.float32(3e6).reshape(()),
        }
        for split in ("train", "test"):
            features, labels = made_up_features(random, own, means)
            found |= {f"{split}.features": features, f"{split}.labels": labels}
        tensors |= {f"task{task}.{name}": np.asarray(v, order="C") for name, v in found.items()}
        turned = keys + drift * random.standard_normal(keys.shape) / np.sqrt(DIM)
        keys = turned / np.linalg.norm(turned, axis=1, keepdims=True)
    save_file(tensors, folder / "diagnostics.safetensors")
    save_file(
        {
            "mixtures.weights": np.ones((n_classes, 1), np.float32),
            "mixtures.means": means[:, None].astype(np.float32),
            "mixtures.variances": np.ones((n_classes, 1, DIM), np.float32),
        },
        folder / "checkpoint.safetensors",
    )
